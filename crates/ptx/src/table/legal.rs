//! Which modifiers go together. What each instruction allows stands in its section of the manual.

use super::Inst;
use super::types::{HALVES, WORDS};
use crate::modifier::*;
use crate::operand::Arg;

use Type::*;

/// `Ok` if it holds.
fn when(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_string()) }
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

/// `.ftz` stands only beside these types.
fn flush(ty: Type, ftz: Ftz, with_ftz: &[Type]) -> Result<(), String> {
    when(ftz == Ftz::No || with_ftz.contains(&ty), &format!(".ftz is not for .{ty}"))
}

fn extremum(ty: Type, ftz: Ftz, nan: Nan) -> Result<(), String> {
    flush(ty, ftz, &[F16, F16x2, F32])?;
    when(nan == Nan::No || HALVES.contains(&ty) || ty == F32, &format!(".NaN is not for .{ty}"))
}

fn root(round: RootMode, ftz: Ftz, ty: Type) -> Result<(), String> {
    flush(ty, ftz, &[F32])?;
    when(ty == F32 || round != RootMode::Approx, "no such approximation of .f64")
}

fn compare(cmp: Cmp, ftz: Ftz, ty: Type) -> Result<(), String> {
    use Cmp::*;
    flush(ty, ftz, &[F16, F16x2, F32])?;
    let fits = match cmp {
        Eq | Ne => true,
        Lt | Le | Gt | Ge => !ty.is_bits(),
        Lo | Ls | Hi | Hs => matches!(ty, U16 | U32 | U64),
        _ => ty.is_float(),
    };
    when(fits, &format!(".{cmp} is not for .{ty}"))
}

/// Whether each integer of the one type is one of the other.
fn holds(ty: Type, other: Type) -> bool {
    match (ty.is_signed(), other.is_signed()) {
        (true, false) => ty.bits() > other.bits(),
        (false, true) => false,
        _ => ty.bits() >= other.bits(),
    }
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
    if dty == Tf32 {
        let from = (ftz, sat, aty) == (Ftz::No, Sat::No, F32);
        let nearest = round == Rna && relu == Relu::No;
        return when(
            from && (nearest || matches!(round, Rn | Rz)),
            "to .tf32 leads .rna, .rn or .rz from .f32",
        );
    }
    let (from_float, to_float) = (aty.is_float(), dty.is_float());
    let to_integral = matches!(round, Rni | Rzi | Rmi | Rpi);
    let rounded = matches!(round, Rn | Rz | Rm | Rp);
    let narrows = to_float && (!from_float || dty.bits() < aty.bits());
    let half = |ty| matches!(ty, F16 | Bf16);
    when(sat == Sat::No || from_float || to_float || !holds(dty, aty), "nothing to clamp")?;
    when(ftz == Ftz::No || dty == F32 || aty == F32, ".ftz is for .f32")?;
    when(
        relu == Relu::No || (half(dty) && aty == F32 && (ftz, sat) == (Ftz::No, Sat::No)),
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

fn arrive(space: Space, d: &Arg) -> Result<(), String> {
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

fn by_sixteen(size: &Arg) -> Result<(), String> {
    let fits = !matches!(size, Arg::Int(bytes) if bytes % 16 != 0);
    when(fits, "bulk copies take multiples of 16 bytes")
}

/// Where a bulk copy may lead.
fn loaded(space: Space, multicast: Multicast) -> Result<(), String> {
    let to = matches!(space, Space::SharedCta | Space::SharedCluster);
    when(to, "to .shared::cta or .shared::cluster")?;
    let many = multicast == Multicast::Yes;
    when(!many || space == Space::SharedCluster, "multicast is for .shared::cluster")
}

fn clamped(sat: Satfinite, sum: Type) -> Result<(), String> {
    when(sat == Satfinite::No || sum == S32, ".satfinite is for integers")
}

impl Inst {
    /// Whether its modifiers go together, else why not.
    pub(super) fn legal(&self) -> Result<(), String> {
        match self {
            Self::Mov { ty, d, a } => {
                let vectors = [d, a].iter().filter(|x| matches!(x, Arg::Vector(_))).count();
                when(vectors < 2, "one of the two is a vector, not both")?;
                when(vectors == 0 || ty.is_bits(), &format!("no vector for .{ty}"))?;
                let dropped = |x: &Arg| x.elements().iter().all(|e| *e == Arg::Sink);
                when(!dropped(d), "nothing is kept")?;
                when(!a.elements().contains(&Arg::Sink), "`_` is no value")
            }
            Self::Redux { op, ty, .. } => {
                use ReduxOp::*;
                let bits = matches!(op, And | Or | Xor);
                let fits = if bits { *ty == B32 } else { matches!(ty, U32 | S32) };
                when(fits, &format!(".{op} is not for .{ty}"))
            }
            Self::Ld { order, space, cache, vec, ty, d, .. } => {
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
            Self::MbarArrive { space, d, .. }
            | Self::MbarArriveCount { space, d, .. }
            | Self::MbarArriveExpectTx { space, d, .. } => arrive(*space, d),
            Self::MbarExpectTx { space, .. } => {
                when(!matches!(space, Space::Global | Space::Param), &format!("not for {space}"))
            }
            Self::BulkStore { size, .. } | Self::BulkCopy { size, .. } => by_sixteen(size),
            Self::BulkLoad { space, multicast, size, .. } => {
                by_sixteen(size)?;
                loaded(*space, *multicast)
            }
            Self::TensorLoad { space, multicast, .. } => loaded(*space, *multicast),
            Self::TensorPrefetchMap { space, .. } => {
                when(matches!(space, Space::Generic | Space::Param), &format!("not for {space}"))
            }
            Self::FenceProxyAsync { space } => {
                when(!matches!(space, Space::Param | Space::Shared), &format!("not for {space}"))
            }
            Self::BarSync { kind, aligned, .. } => bar(*kind, *aligned),
            Self::BarSyncCount { kind, aligned, count, .. }
            | Self::BarArrive { kind, aligned, count, .. } => {
                bar(*kind, *aligned)?;
                let whole = !matches!(count, Arg::Int(n) if *n <= 0 || n % 32 != 0);
                when(whole, "threads come by warps: a multiple of 32 is wanted")
            }
            Self::Atom { space, op, ty, .. } => {
                when(*space != Space::Param, "not for .param")?;
                atomic(*op, *ty, false)
            }
            Self::Red { order, space, op, ty, .. } => {
                let order =
                    matches!(order, AtomOrder::Plain | AtomOrder::Relaxed | AtomOrder::Release);
                when(order, "red is relaxed or release")?;
                when(*space != Space::Param, "not for .param")?;
                atomic(*op, *ty, true)
            }
            Self::AtomCas { space, .. } => when(*space != Space::Param, "not for .param"),
            Self::Mma { sat, dty, .. } => clamped(*sat, *dty),
            Self::MmaSp { sat, dty, .. } => clamped(*sat, *dty),
            Self::Wgmma { shape, sat, dty, .. } | Self::WgmmaSp { shape, sat, dty, .. } => {
                clamped(*sat, *dty)?;
                let fits = *dty != S32 || shape.n <= 24 || shape.n.is_multiple_of(16);
                when(fits, &format!("n{} is not for integers", shape.n))
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
                when((*round, *ftz) == (Round::Plain, Ftz::No), "integers are not rounded")?;
                when(*sat == Sat::No || *ty == S32, ".sat is for .s32")
            }
            Self::Mul { mode, round, ftz, sat, ty, .. } => {
                if ty.is_float() {
                    when(*mode == MulMode::Plain, "floats have no such part")?;
                    return float(*round, *ftz, *sat, *ty);
                }
                let plain = (*round, *ftz, *sat) == (Round::Plain, Ftz::No, Sat::No);
                when(plain, "integers are not rounded")?;
                when(*mode != MulMode::Plain, ".lo, .hi or .wide is wanted")?;
                when(*mode != MulMode::Wide || ty.bits() < 64, "nothing is wider than 64 bits")
            }
            Self::Mad { mode, sat, ty, .. } => {
                when(*mode != MadMode::Wide || ty.bits() < 64, "nothing is wider than 64 bits")?;
                when(*sat == Sat::No || (*mode, *ty) == (MadMode::Hi, S32), ".sat is for .hi.s32")
            }
            Self::Fma { round, ftz, sat, relu, ty, .. } => {
                float(*round, *ftz, *sat, *ty)?;
                when(*round != Round::Plain, "fma names its rounding")?;
                when(*relu == Relu::No || HALVES.contains(ty), ".relu is for 16-bit floats")?;
                when(*relu == Relu::No || *sat == Sat::No, ".relu and .sat exclude each other")
            }
            Self::Div { mode, ftz, ty, .. } => {
                flush(*ty, *ftz, &[F32])?;
                let fits = match mode {
                    DivMode::Plain => !ty.is_float(),
                    DivMode::Approx | DivMode::Full => *ty == F32,
                    _ => ty.is_float(),
                };
                when(fits, &format!("{mode} is not for .{ty}: floats name their rounding"))
            }
            Self::Min { ftz, nan, ty, .. } | Self::Max { ftz, nan, ty, .. } => {
                extremum(*ty, *ftz, *nan)
            }
            Self::Neg { ftz, ty, .. } | Self::Abs { ftz, ty, .. } => {
                flush(*ty, *ftz, &[F16, F16x2, F32])
            }
            Self::Sqrt { round, ftz, ty, .. } | Self::Rcp { round, ftz, ty, .. } => {
                root(*round, *ftz, *ty)
            }
            Self::Rsqrt { ftz, ty, .. } => flush(*ty, *ftz, &[F32]),
            Self::Ex2 { ftz, ty, .. } => {
                flush(*ty, *ftz, &[F32, Bf16, Bf16x2])?;
                let bf16 = matches!(ty, Bf16 | Bf16x2);
                when(!bf16 || *ftz == Ftz::Yes, "ex2 of .bf16 says .ftz")
            }
            Self::Lg2 { ftz, ty, .. } | Self::Sin { ftz, ty, .. } | Self::Cos { ftz, ty, .. } => {
                flush(*ty, *ftz, &[F32])
            }
            Self::Lop3 { lut, .. } => when(lut.0 < 256, "a table has eight bits"),
            Self::Setp { cmp, ftz, ty, .. } | Self::SetpBool { cmp, ftz, ty, .. } => {
                compare(*cmp, *ftz, *ty)
            }
            Self::Set { cmp, ftz, aty, .. } => compare(*cmp, *ftz, *aty),
            Self::Cvt { round, ftz, relu, sat, dty, aty, .. } => {
                convert(*round, *ftz, *relu, *sat, *dty, *aty)
            }
            Self::Cvt2 { round, .. } => {
                when(matches!(round, CvtRound::Rn | CvtRound::Rz), ".rn or .rz is wanted")
            }
            _ => Ok(()),
        }
    }
}
