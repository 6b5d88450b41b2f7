//! Which modifiers go together. What each instruction allows stands in its section of the manual.

use super::Inst;
use crate::modifier::*;
use crate::operand::{Arg, Imms};

use Type::*;

const INTEGERS: &[Type] = &[U16, U32, U64, S16, S32, S64];
const WORDS: &[Type] = &[U32, U64, S32, S64];
const HALVES: &[Type] = &[F16, F16x2, Bf16, Bf16x2];
const MEMORY: &[Type] = &[B8, B16, B32, B64, U8, U16, U32, U64, S8, S16, S32, S64, F32, F64];

/// `Ok` if it holds.
fn when(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_string()) }
}

/// The type is one of these.
fn one_of(ty: Type, lists: &[&[Type]]) -> Result<(), String> {
    when(lists.iter().any(|l| l.contains(&ty)), &format!("not for .{ty}"))
}

/// Rounding, subnormals and clamping of a sum or product.
fn float(round: Round, ftz: Ftz, sat: Sat, ty: Type) -> Result<(), String> {
    let nearest = matches!(round, Round::Plain | Round::Rn);
    match ty {
        F32 => Ok(()),
        F64 => when(ftz == Ftz::No && sat == Sat::No, "not for .f64"),
        F16 | F16x2 => when(nearest, "16-bit floats are rounded to nearest"),
        Bf16 | Bf16x2 => {
            when(nearest && ftz == Ftz::No && sat == Sat::No, &format!("not for .{ty}"))
        }
        _ => Err(format!("not for .{ty}")),
    }
}

/// A function of one type that has no modifier but `.ftz`, and that for some of its types.
fn unary(ty: Type, ftz: Ftz, types: &[&[Type]], with_ftz: &[Type]) -> Result<(), String> {
    one_of(ty, types)?;
    when(ftz == Ftz::No || with_ftz.contains(&ty), &format!(".ftz is not for .{ty}"))
}

fn extremum(ty: Type, ftz: Ftz, nan: Nan) -> Result<(), String> {
    unary(ty, ftz, &[INTEGERS, HALVES, &[F32, F64]], &[F16, F16x2, F32])?;
    when(nan == Nan::No || HALVES.contains(&ty) || ty == F32, &format!(".NaN is not for .{ty}"))
}

fn root(round: RootMode, ftz: Ftz, ty: Type) -> Result<(), String> {
    unary(ty, ftz, &[&[F32, F64]], &[F32])?;
    when(ty == F32 || round != RootMode::Approx, "no such approximation of .f64")
}

fn compare(cmp: Cmp, ftz: Ftz, ty: Type) -> Result<(), String> {
    use Cmp::*;
    unary(ty, ftz, &[INTEGERS, &[B16, B32, B64, F16, Bf16, F32, F64]], &[F16, F32])?;
    let fits = match cmp {
        Eq | Ne => true,
        Lt | Le | Gt | Ge => !ty.is_bits(),
        Lo | Ls | Hi | Hs => matches!(ty, U16 | U32 | U64),
        _ => ty.is_float(),
    };
    when(fits, &format!(".{cmp} is not for .{ty}"))
}

fn convert(
    round: CvtRound,
    ftz: Ftz,
    relu: Relu,
    sat: Sat,
    dty: Type,
    aty: Type,
) -> Result<(), String> {
    use CvtRound::*;
    let types: &[&[Type]] = &[INTEGERS, &[U8, S8, F16, Bf16, F32, F64]];
    if dty == Tf32 {
        let plain = (ftz, relu, sat, aty) == (Ftz::No, Relu::No, Sat::No, F32);
        return when(plain && round == Rna, "to .tf32 comes only .rna from .f32");
    }
    one_of(dty, types)?;
    one_of(aty, types)?;
    let (from_float, to_float) = (aty.is_float(), dty.is_float());
    let to_integral = matches!(round, Rni | Rzi | Rmi | Rpi);
    let rounded = matches!(round, Rn | Rz | Rm | Rp);
    let narrows = to_float && (!from_float || dty.bits() < aty.bits());
    let half = |ty| matches!(ty, F16 | Bf16);
    when(ftz == Ftz::No || dty == F32 || aty == F32, ".ftz is for .f32")?;
    when(
        relu == Relu::No || (half(dty) && aty == F32 && rounded && sat == Sat::No),
        ".relu is for 16-bit floats from .f32",
    )?;
    if [dty, aty].contains(&Bf16) {
        when(ftz == Ftz::No && sat == Sat::No, ".ftz and .sat are not for .bf16")?;
        when(dty != F64 && aty != F64, "no conversion between .bf16 and .f64")?;
        when(dty != aty && !(half(dty) && half(aty)), "no conversion between 16-bit floats")?;
    }
    let fits = match (from_float, to_float) {
        (false, false) => round == Plain && ftz == Ftz::No,
        (true, false) => to_integral,
        (false, true) => rounded,
        (true, true) if narrows => rounded,
        (true, true) if dty == aty => round == Plain || to_integral,
        (true, true) => round == Plain,
    };
    when(fits, &format!("{round} does not lead from .{aty} to .{dty}"))?;
    let narrow_half = half(dty) && aty == F32 && !matches!(round, Rn | Rz);
    when(!narrow_half, "16-bit floats from .f32 are rounded by .rn or .rz")
}

fn atomic(op: AtomOp, ty: Type, red: bool) -> Result<(), String> {
    use AtomOp::*;
    let fits = match op {
        Add => matches!(ty, U32 | S32 | U64 | F32 | F64),
        AddNoftz => HALVES.contains(&ty),
        Min | Max => WORDS.contains(&ty),
        And | Or | Xor => matches!(ty, B32 | B64),
        Exch => !red && matches!(ty, B32 | B64),
        Inc | Dec => ty == U32,
    };
    when(fits, &format!(".{op} is not for .{ty}"))
}

fn memory_order(scoped: bool, scope: AtomScope) -> Result<(), String> {
    // the manual's grammar lets either stand alone
    let _ = (scoped, scope);
    Ok(())
}

fn bar(kind: BarKind, aligned: Aligned) -> Result<(), String> {
    let plain = matches!(kind, BarKind::Bar | BarKind::BarCta);
    when(!plain || aligned == Aligned::No, "`bar` is aligned, and does not say so")
}

fn in_block(space: Space) -> Result<(), String> {
    when(
        matches!(space, Space::Generic | Space::Shared | Space::SharedCta),
        &format!("not for {space}"),
    )
}

fn in_shared(space: Space) -> Result<(), String> {
    when(space.is_own_shared(), "to or from shared memory of the block only")
}

fn arrive(order: ArriveOrder, space: Space, d: &Arg) -> Result<(), String> {
    let _ = order;
    when(!matches!(space, Space::Global | Space::Param), &format!("not for {space}"))?;
    when(
        space != Space::SharedCluster || *d == Arg::Sink,
        "another block's barrier gives no state: `_` is wanted",
    )
}

fn copy(cache: CopyCache, space: Space, size: u32) -> Result<(), String> {
    in_shared(space)?;
    let fits = size == 16 || (cache == CopyCache::Ca && matches!(size, 4 | 8));
    when(fits, &format!("{size} bytes are not copied: .ca takes 4, 8 or 16, .cg 16"))
}

fn wgmma(
    shape: (u16, u16),
    sat: Satfinite,
    [dty, aty, bty]: [Type; 3],
    a: &Arg,
    imms: &Imms,
    sparse: bool,
) -> Result<(), String> {
    let (n, k) = shape;
    let depth = k / if sparse { 2 } else { 1 };
    let in_registers = matches!(a, Arg::Vector(_));
    let eight = |ty| matches!(ty, E4m3 | E5m2);
    let (bits, transposed) = match (dty, aty, bty) {
        (F16 | F32, F16, F16) | (F32, Bf16, Bf16) => (16, if in_registers { 1 } else { 2 }),
        (F32, Tf32, Tf32) => (32, 0),
        (F16 | F32, a, b) if eight(a) && eight(b) => (8, 0),
        (S32, S8 | U8, S8 | U8) => (8, 0),
        _ => return Err(format!("no product .{dty}.{aty}.{bty}")),
    };
    when(depth * bits == 256, &format!("k{k} does not fit .{aty}"))?;
    let integer = dty == S32;
    when(sat == Satfinite::No || integer, ".satfinite is for integers")?;
    when(!integer || n <= 24 || n % 16 == 0, &format!("n{n} is not for integers"))?;
    let want = if integer { 0 } else { 2 + transposed };
    let have = imms.0.len();
    when(have == want, &format!("{want} constants are wanted at the end, not {have}"))?;
    let (signs, flips) = imms.0.split_at(have.min(2));
    when(
        signs.iter().all(|s| s.abs() == 1) && flips.iter().all(|t| *t >= 0),
        "signs are -1 or 1, transpositions 0 or 1",
    )
}

fn mma(
    shape: MmaShape,
    sat: Satfinite,
    [dty, aty, bty, cty]: [Type; 4],
    sparse: bool,
) -> Result<(), String> {
    let eight = |ty| matches!(ty, E4m3 | E5m2);
    // one of the two depths of each width: 128 or 256 bits of a row of A as it is stored
    let depth = shape.k() as u32 * aty.bits() / if sparse { 2 } else { 1 };
    let types = match (aty, bty) {
        (F16, F16) => matches!((dty, cty), (F16, F16) | (F32, F32)),
        (Bf16, Bf16) | (Tf32, Tf32) => (dty, cty) == (F32, F32),
        (a, b) if eight(a) && eight(b) => (dty, cty) == (F32, F32) && depth == 256,
        (S8 | U8, S8 | U8) => (dty, cty) == (S32, S32),
        _ => false,
    };
    when(types, &format!("no {shape} product .{dty}.{aty}.{bty}.{cty}"))?;
    when(matches!(depth, 128 | 256), &format!("{shape} is not for .{aty}"))?;
    when(sat == Satfinite::No || dty == S32, ".satfinite is for integers")
}

impl Inst {
    /// Whether its modifiers go together, else why not.
    pub(super) fn legal(&self) -> Result<(), String> {
        match self {
            Self::Mov { ty, d, a } => {
                one_of(*ty, &[INTEGERS, &[Pred, B16, B32, B64, F32, F64]])?;
                let vectors = [d, a].iter().filter(|x| matches!(x, Arg::Vector(_))).count();
                when(vectors < 2, "one of the two is a vector, not both")?;
                when(vectors == 0 || ty.is_bits(), &format!("no vector for .{ty}"))?;
                let dropped = |x: &Arg| x.elements().iter().all(|e| *e == Arg::Sink);
                when(!dropped(d), "nothing is kept")?;
                when(!a.elements().contains(&Arg::Sink), "`_` is no value")
            }
            Self::Selp { ty, .. } => one_of(*ty, &[INTEGERS, &[B16, B32, B64, F32, F64]]),
            Self::Redux { op, ty, .. } => {
                use ReduxOp::*;
                let bits = matches!(op, And | Or | Xor);
                let fits = if bits { *ty == B32 } else { matches!(ty, U32 | S32) };
                when(fits, &format!(".{op} is not for .{ty}"))
            }
            Self::Ld { order, space, cache, vec, ty, d, .. } => {
                one_of(*ty, &[MEMORY])?;
                when(vec.count() as u32 * ty.bits() <= 128, "at most 128 bits at once")?;
                let weak = matches!(order, LoadOrder::Plain | LoadOrder::Weak);
                when(weak || *cache == Cache::Default, "caches are for weak loads")?;
                when(!cache.is_nc() || *space == Space::Global, ".nc is for .global")?;
                when(!cache.is_nc() || *order == LoadOrder::Plain, ".nc has no order")?;
                let usual = *cache == Cache::Default || cache.is_operator();
                let levels = matches!(space, Space::Global | Space::Generic);
                when(usual || levels, "cache levels are for .global")?;
                when(
                    *space != Space::Param || (weak && *cache == Cache::Default),
                    "not for .param",
                )?;
                let kept = d.elements().iter().any(|e| *e != Arg::Sink);
                when(kept, "nothing is kept")
            }
            Self::St { order, space, cache, vec, ty, .. } => {
                one_of(*ty, &[MEMORY])?;
                when(vec.count() as u32 * ty.bits() <= 128, "at most 128 bits at once")?;
                when(*space != Space::Param, "parameters are not written")?;
                let weak = matches!(order, StoreOrder::Plain | StoreOrder::Weak);
                when(weak || *cache == StoreCache::Default, "caches are for weak stores")?;
                let operator = cache.text().len() <= 3;
                let levels = matches!(space, Space::Global | Space::Generic);
                when(operator || levels, "cache levels are for .global")
            }
            Self::Ldmatrix { space, .. } | Self::Stmatrix { space, .. } => in_shared(*space),
            Self::CvtaTo { space, .. } | Self::Cvta { space, .. } => {
                when(*space != Space::Generic, "a space is wanted")
            }
            Self::CpAsync { cache, space, size, .. }
            | Self::CpAsyncIgnore { cache, space, size, .. } => copy(*cache, *space, size.0),
            Self::CpAsyncFill { cache, space, size, bytes, .. } => {
                copy(*cache, *space, size.0)?;
                match bytes {
                    Arg::Int(bytes) if !(0..=size.0 as i64).contains(bytes) => {
                        Err(format!("{bytes} of {} bytes", size.0))
                    }
                    _ => Ok(()),
                }
            }
            Self::CpAsyncMbarrierArrive { space, .. }
            | Self::MbarInit { space, .. }
            | Self::MbarInval { space, .. }
            | Self::MbarTryWait { space, .. }
            | Self::MbarTryWaitParity { space, .. }
            | Self::MbarTryWaitParityHint { space, .. }
            | Self::MbarTestWait { space, .. }
            | Self::MbarTestWaitParity { space, .. } => in_block(*space),
            Self::MbarArrive { order, space, d, .. }
            | Self::MbarArriveCount { order, space, d, .. }
            | Self::MbarArriveExpectTx { order, space, d, .. } => arrive(*order, *space, d),
            Self::MbarExpectTx { space, .. } => {
                when(!matches!(space, Space::Global | Space::Param), &format!("not for {space}"))
            }
            Self::BulkLoad { space, multicast, .. } | Self::TensorLoad { space, multicast, .. } => {
                let to = matches!(space, Space::SharedCta | Space::SharedCluster);
                when(to, "to .shared::cta or .shared::cluster")?;
                let many = *multicast == Multicast::Yes;
                when(!many || *space == Space::SharedCluster, "multicast is for .shared::cluster")
            }
            Self::TensorPrefetchMap { space, .. } => {
                when(matches!(space, Space::Generic | Space::Param), &format!("not for {space}"))
            }
            Self::FenceProxyAsync { space } => when(*space != Space::Param, "not for .param"),
            Self::BarSync { kind, aligned, .. }
            | Self::BarSyncCount { kind, aligned, .. }
            | Self::BarArrive { kind, aligned, .. } => bar(*kind, *aligned),
            Self::Atom { order, scope, space, op, ty, .. } => {
                memory_order(*order != AtomOrder::Plain, *scope)?;
                when(*space != Space::Param, "not for .param")?;
                atomic(*op, *ty, false)
            }
            Self::Red { order, scope, space, op, ty, .. } => {
                memory_order(*order != AtomOrder::Plain, *scope)?;
                let order =
                    matches!(order, AtomOrder::Plain | AtomOrder::Relaxed | AtomOrder::Release);
                when(order, "red is relaxed or release")?;
                when(*space != Space::Param, "not for .param")?;
                atomic(*op, *ty, true)
            }
            Self::AtomCas { space, ty, .. } => {
                when(*space != Space::Param, "not for .param")?;
                one_of(*ty, &[&[B16, B32, B64]])
            }
            Self::Mma { shape, sat, dty, aty, bty, cty, .. } => {
                mma(*shape, *sat, [*dty, *aty, *bty, *cty], false)
            }
            Self::MmaSp { shape, sat, dty, aty, bty, cty, selector, .. } => {
                mma(*shape, *sat, [*dty, *aty, *bty, *cty], true)?;
                selects(selector.0, shape.k() as u32 * aty.bits(), aty.bits())
            }
            Self::Wgmma { shape, sat, dty, aty, bty, a, imms, .. } => {
                wgmma((shape.n, shape.k), *sat, [*dty, *aty, *bty], a, imms, false)
            }
            Self::WgmmaSp { shape, sat, dty, aty, bty, a, imms, selector, .. } => {
                wgmma((shape.n, shape.k), *sat, [*dty, *aty, *bty], a, imms, true)?;
                selects(selector.0, shape.k as u32 * aty.bits(), aty.bits())
            }
            Self::WgmmaWait { pending } => when(pending.0 <= 7, "at most 7 groups"),
            Self::Setmaxnreg { count, .. } => {
                when((24..=256).contains(&count.0) && count.0 % 8 == 0, "24 to 256, by 8")
            }
            other => other.legal_arithmetic(),
        }
    }

    fn legal_arithmetic(&self) -> Result<(), String> {
        match self {
            Self::Add { round, ftz, sat, ty, .. } | Self::Sub { round, ftz, sat, ty, .. } => {
                if ty.is_float() {
                    return float(*round, *ftz, *sat, *ty);
                }
                one_of(*ty, &[INTEGERS])?;
                when((*round, *ftz) == (Round::Plain, Ftz::No), "integers are not rounded")?;
                when(*sat == Sat::No || *ty == S32, ".sat is for .s32")
            }
            Self::Mul { mode, round, ftz, sat, ty, .. } => {
                if ty.is_float() {
                    when(*mode == MulMode::Plain, "floats have no such part")?;
                    return float(*round, *ftz, *sat, *ty);
                }
                one_of(*ty, &[INTEGERS])?;
                let plain = (*round, *ftz, *sat) == (Round::Plain, Ftz::No, Sat::No);
                when(plain, "integers are not rounded")?;
                when(*mode != MulMode::Plain, ".lo, .hi or .wide is wanted")?;
                when(*mode != MulMode::Wide || ty.bits() < 64, "nothing is wider than 64 bits")
            }
            Self::Mad { mode, sat, ty, .. } => {
                one_of(*ty, &[INTEGERS])?;
                when(*mode != MadMode::Wide || ty.bits() < 64, "nothing is wider than 64 bits")?;
                when(*sat == Sat::No || (*mode, *ty) == (MadMode::Hi, S32), ".sat is for .hi.s32")
            }
            Self::Fma { round, ftz, sat, relu, ty, .. } => {
                float(*round, *ftz, *sat, *ty)?;
                when(*round != Round::Plain, "fma names its rounding")?;
                when(*relu == Relu::No || HALVES.contains(ty), ".relu is for 16-bit floats")?;
                when(*relu == Relu::No || *sat == Sat::No, ".relu and .sat exclude each other")
            }
            Self::Div { mode, ftz, ty, .. } => match mode {
                DivMode::Plain => unary(*ty, *ftz, &[INTEGERS], &[]),
                DivMode::Approx | DivMode::Full => unary(*ty, *ftz, &[&[F32]], &[F32]),
                _ => unary(*ty, *ftz, &[&[F32, F64]], &[F32]),
            },
            Self::Rem { ty, .. } => one_of(*ty, &[INTEGERS]),
            Self::Min { ftz, nan, ty, .. } | Self::Max { ftz, nan, ty, .. } => {
                extremum(*ty, *ftz, *nan)
            }
            Self::Neg { ftz, ty, .. } | Self::Abs { ftz, ty, .. } => {
                unary(*ty, *ftz, &[&[S16, S32, S64, F32, F64], HALVES], &[F16, F16x2, F32])
            }
            Self::Copysign { ty, .. } => one_of(*ty, &[&[F32, F64]]),
            Self::Sqrt { round, ftz, ty, .. } | Self::Rcp { round, ftz, ty, .. } => {
                root(*round, *ftz, *ty)
            }
            Self::Rsqrt { ftz, ty, .. } => unary(*ty, *ftz, &[&[F32, F64]], &[F32]),
            Self::Ex2 { ftz, ty, .. } => {
                unary(*ty, *ftz, &[&[F32], HALVES], &[F32, Bf16, Bf16x2])?;
                let bf16 = matches!(ty, Bf16 | Bf16x2);
                when(!bf16 || *ftz == Ftz::Yes, "ex2 of .bf16 says .ftz")
            }
            Self::Lg2 { ftz, ty, .. } | Self::Sin { ftz, ty, .. } | Self::Cos { ftz, ty, .. } => {
                unary(*ty, *ftz, &[&[F32]], &[F32])
            }
            Self::Tanh { ty, .. } => one_of(*ty, &[&[F32], HALVES]),
            Self::Shl { ty, .. } => one_of(*ty, &[&[B16, B32, B64]]),
            Self::Shr { ty, .. } => one_of(*ty, &[&[B16, B32, B64], INTEGERS]),
            Self::And { ty, .. }
            | Self::Or { ty, .. }
            | Self::Xor { ty, .. }
            | Self::Not { ty, .. } => one_of(*ty, &[&[Pred, B16, B32, B64]]),
            Self::Lop3 { lut, .. } => when(lut.0 < 256, "a table has eight bits"),
            Self::Bfe { ty, .. } => one_of(*ty, &[WORDS]),
            Self::Bfi { ty, .. }
            | Self::Brev { ty, .. }
            | Self::Clz { ty, .. }
            | Self::Popc { ty, .. } => one_of(*ty, &[&[B32, B64]]),
            Self::Bfind { ty, .. } => one_of(*ty, &[WORDS]),
            Self::Dp4a { aty, bty, .. } => {
                one_of(*aty, &[&[U32, S32]])?;
                one_of(*bty, &[&[U32, S32]])
            }
            Self::Setp { cmp, ftz, ty, .. } | Self::SetpBool { cmp, ftz, ty, .. } => {
                compare(*cmp, *ftz, *ty)
            }
            Self::Cvt { round, ftz, relu, sat, dty, aty, .. } => {
                convert(*round, *ftz, *relu, *sat, *dty, *aty)
            }
            Self::Cvt2 { round, dty, .. } => {
                one_of(*dty, &[&[F16x2, Bf16x2]])?;
                when(matches!(round, CvtRound::Rn | CvtRound::Rz), ".rn or .rz is wanted")
            }
            _ => Ok(()),
        }
    }
}

/// Which selectors there are: four bits of metadata for each group, 32 bits in a lane.
fn selects(selector: u32, row_bits: u32, bits: u32) -> Result<(), String> {
    // a group is four elements, or two of 32 bits
    let groups = row_bits / bits / if bits == 32 { 2 } else { 4 };
    // 16 rows of so many groups fill this many of the 32 lanes, in each four of them
    let lanes = 16 * groups * 4 / 32 / 8;
    when(lanes > 0 && selector < 4 / lanes, &format!("no selector {selector} for this shape"))
}
