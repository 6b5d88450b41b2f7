//! The meaning of each row of the table (PTX ISA chapter 9.7).

use super::float::{self, Rounding};
use super::integer;
use super::names::{Names, bytes, space, special};
use super::{F1, F2, F3};
use crate::code::{Bulk, Mbar, Multiply, Op, Src, Take, Tile};
use crate::mma::{Acc, Element, Form, Sparsity};
use crate::order::{Memory, Order};
use quickpick_ptx::*;

type Lowered = Result<Op, String>;

/// A combination that the text allows and we have no meaning for.
fn none<T>(what: Option<T>) -> Result<T, String> {
    what.ok_or_else(|| "this combination is not modelled".to_string())
}

impl Names {
    fn unary(&self, f: Option<F1>, d: &Arg, a: &Arg, bits: u32) -> Lowered {
        Ok(Op::Unary { f: none(f)?, d: self.dst(d)?, a: self.src(a, bits)? })
    }

    fn binary(&self, f: Option<F2>, d: &Arg, [a, b]: [(&Arg, u32); 2]) -> Lowered {
        let (a, b) = (self.src(a.0, a.1)?, self.src(b.0, b.1)?);
        Ok(Op::Binary { f: none(f)?, d: self.dst(d)?, a, b })
    }

    fn ternary(&self, f: Option<F3>, d: &Arg, [a, b, c]: [(&Arg, u32); 3]) -> Lowered {
        let a = [self.src(a.0, a.1)?, self.src(b.0, b.1)?, self.src(c.0, c.1)?];
        Ok(Op::Ternary { f: none(f)?, d: self.dst(d)?, a })
    }

    /// Arithmetic of floats with f64 in between, or else of integers.
    fn arithmetic(
        &self,
        (round, ftz, sat, ty): (Round, Ftz, Sat, Type),
        (real, whole): (fn(f64, f64) -> f64, Option<F2>),
        d: &Arg,
        (a, b): (&Arg, &Arg),
    ) -> Lowered {
        let f = if ty.is_float() {
            nearest(round)?;
            float::binary(ty, ftz == Ftz::Yes, sat == Sat::Yes, real)
        } else {
            whole
        };
        self.binary(f, d, [(a, ty.bits()), (b, ty.bits())])
    }

    fn root(
        &self,
        (round, ftz, ty): (RootMode, Ftz, Type),
        f: fn(f64) -> f64,
        d: &Arg,
        a: &Arg,
    ) -> Lowered {
        match round {
            RootMode::Rn | RootMode::Approx => self.real((ftz, ty), f, d, a),
            other => Err(format!("rounding `{other}` is not modelled")),
        }
    }

    fn real(&self, (ftz, ty): (Ftz, Type), f: fn(f64) -> f64, d: &Arg, a: &Arg) -> Lowered {
        self.unary(float::unary(ty, ftz == Ftz::Yes, false, f), d, a, ty.bits())
    }

    fn mov(&self, ty: Type, d: &Arg, a: &Arg) -> Lowered {
        let part = |n: usize| ty.bits() / n.max(1) as u32;
        match (d, a) {
            (Arg::Vector(parts), a) => Ok(Op::Unpack {
                d: self.dsts(d)?,
                a: self.src(a, ty.bits())?,
                bits: part(parts.len()),
            }),
            (d, Arg::Vector(parts)) => {
                let bits = part(parts.len());
                Ok(Op::Pack { d: self.dst(d)?, a: self.srcs(a, bits)?, bits })
            }
            (d, Arg::Special(which)) => {
                Ok(Op::Special { d: self.dst(d)?, which: special(*which)? })
            }
            (d, a) => self.unary(Some(Box::new(|a| a)), d, a, ty.bits()),
        }
    }

    /// The meaning of an instruction; the error says what is not modelled.
    pub(super) fn op(&self, inst: &Inst) -> Lowered {
        match inst {
            Inst::Mov { ty, d, a } => self.mov(*ty, d, a),
            Inst::Prmt { mode, d, a, b, c } => match mode {
                PrmtMode::Plain => {
                    self.ternary(Some(Box::new(integer::prmt)), d, [(a, 32), (b, 32), (c, 32)])
                }
                other => Err(format!("prmt mode `{other}` is not modelled")),
            },
            Inst::Shfl { mode, d, p, a, b, c, mask } => Ok(Op::Shuffle {
                mode: *mode,
                d: self.maybe(d)?,
                p: self.maybe(p)?,
                a: self.src(a, 32)?,
                b: self.src(b, 32)?,
                c: self.src(c, 32)?,
                members: self.src(mask, 32)?,
            }),
            Inst::Selp { ty, d, a, b, p } => {
                let f: F3 = Box::new(|a, b, p| if p == 1 { a } else { b });
                self.ternary(Some(f), d, [(a, ty.bits()), (b, ty.bits()), (p, 1)])
            }
            Inst::Vote { mode, d, a, mask } => {
                let (a, negated) = self.pred(a)?;
                Ok(Op::Vote {
                    mode: *mode,
                    d: self.dst(d)?,
                    a,
                    negated,
                    members: self.src(mask, 32)?,
                })
            }
            Inst::Activemask { d } => Ok(Op::ActiveMask { d: self.dst(d)? }),
            Inst::Elect { d, p, mask } => {
                Ok(Op::Elect { d: self.maybe(d)?, p: self.dst(p)?, members: self.src(mask, 32)? })
            }
            Inst::Redux { op, ty, d, a, mask } => Ok(Op::Reduce {
                f: none(integer::redux(*op, *ty))?,
                d: self.dst(d)?,
                a: self.src(a, 32)?,
                members: self.src(mask, 32)?,
            }),

            Inst::Ld { order, space: s, cache, vec: _, ty, d, a } => Ok(Op::Load {
                space: space(*s),
                order: Order { constant: cache.is_nc(), ..load_order(*order) },
                d: self.dsts(d)?,
                size: bytes(*ty),
                signed: ty.is_signed(),
                a: self.at(a)?,
            }),
            Inst::St { order, space: s, cache: _, vec: _, ty, a, b } => Ok(Op::Store {
                space: space(*s),
                order: store_order(*order),
                b: self.srcs(b, ty.bits())?,
                size: bytes(*ty),
                a: self.at(a)?,
            }),
            Inst::Ldmatrix { num: _, trans, space: _, d, a } => {
                Ok(Op::Ldmatrix { trans: *trans == Trans::Yes, d: self.slots(d)?, a: self.at(a)? })
            }
            Inst::Stmatrix { num: _, trans, space: _, a, b } => Ok(Op::Stmatrix {
                trans: *trans == Trans::Yes,
                b: self.srcs(b, 32)?,
                a: self.at(a)?,
            }),
            Inst::Movmatrix { d, a } => Ok(Op::Movmatrix { d: self.dst(d)?, a: self.src(a, 32)? }),
            Inst::CvtaTo { space: s, d, a } => {
                Ok(Op::FromGeneric { space: space(*s), d: self.dst(d)?, a: self.src(a, 64)? })
            }
            Inst::Cvta { space: s, d, a } => {
                Ok(Op::ToGeneric { space: space(*s), d: self.dst(d)?, a: self.src(a, 64)? })
            }
            Inst::Mapa { d, a, b } => {
                Ok(Op::Mapa { d: self.dst(d)?, a: self.src(a, 32)?, rank: self.src(b, 32)? })
            }

            Inst::CpAsync { cache: _, space: _, prefetch: _, d, a, size } => {
                self.copy(d, a, *size, Take::All)
            }
            Inst::CpAsyncFill { cache: _, space: _, prefetch: _, d, a, size, bytes } => {
                self.copy(d, a, *size, Take::Bytes(self.src(bytes, 32)?))
            }
            Inst::CpAsyncIgnore { cache: _, space: _, prefetch: _, d, a, size, p } => {
                self.copy(d, a, *size, Take::Unless(self.dst(p)?))
            }
            Inst::CpAsyncCommit {} => Ok(Op::CopyCommit),
            Inst::CpAsyncWait { pending } => Ok(Op::CopyWait(Some(pending.0 as usize))),
            Inst::CpAsyncWaitAll {} => Ok(Op::CopyWait(None)),
            Inst::CpAsyncMbarrierArrive { noinc, space: _, a } => {
                Ok(Op::CopyArrive { a: self.at(a)?, noinc: *noinc == Noinc::Yes })
            }
            Inst::BulkLoad {
                space: s,
                multicast: _,
                hint: _,
                d,
                a,
                size,
                bar,
                mask,
                policy: _,
            } => Ok(Op::BulkLoad {
                space: space(*s),
                to: self.at(d)?,
                from: Bulk::Linear(self.at(a)?, self.src(size, 32)?),
                bar: self.at(bar)?,
                mask: self.optional(mask, 16)?,
            }),
            Inst::BulkCopy { d, a, size, bar } => Ok(Op::BulkShared {
                to: self.at(d)?,
                from: self.at(a)?,
                size: self.src(size, 32)?,
                bar: self.at(bar)?,
            }),
            Inst::BulkStore { hint: _, d, a, size, policy: _ } => Ok(Op::BulkStore {
                to: Bulk::Linear(self.at(d)?, self.src(size, 32)?),
                from: self.at(a)?,
            }),
            Inst::TensorLoad {
                dims: _,
                tile: _,
                space: s,
                multicast: _,
                hint: _,
                d,
                map,
                coords,
                bar,
                mask,
                policy: _,
            } => Ok(Op::BulkLoad {
                space: space(*s),
                to: self.at(d)?,
                from: Bulk::Tensor(Tile { map: self.map(map)?, coords: self.srcs(coords, 32)? }),
                bar: self.at(bar)?,
                mask: self.optional(mask, 16)?,
            }),
            Inst::TensorStore { dims: _, tile: _, hint: _, map, coords, a, policy: _ } => {
                let tile = Tile { map: self.map(map)?, coords: self.srcs(coords, 32)? };
                Ok(Op::BulkStore { to: Bulk::Tensor(tile), from: self.at(a)? })
            }
            Inst::TensorPrefetchMap { space: _, a: _ } => Ok(Op::Nop),
            Inst::BulkCommit {} => Ok(Op::BulkCommit),
            Inst::BulkWait { read, pending } => {
                Ok(Op::BulkWait { pending: pending.0 as usize, read: *read == Read::Yes })
            }

            Inst::BarSync { kind, aligned, id } => Ok(Op::Barrier {
                id: self.src(id, 32)?,
                count: None,
                aligned: is_aligned(*kind, *aligned),
                arrive: false,
            }),
            Inst::BarSyncCount { kind, aligned, id, count } => Ok(Op::Barrier {
                id: self.src(id, 32)?,
                count: Some(self.src(count, 32)?),
                aligned: is_aligned(*kind, *aligned),
                arrive: false,
            }),
            Inst::BarArrive { kind, aligned, id, count } => Ok(Op::Barrier {
                id: self.src(id, 32)?,
                count: Some(self.src(count, 32)?),
                aligned: is_aligned(*kind, *aligned),
                arrive: true,
            }),
            Inst::BarWarpSync { mask } => Ok(Op::WarpSync { members: self.src(mask, 32)? }),
            Inst::ClusterArrive { sem, aligned: _ } => {
                Ok(Op::ClusterArrive { relaxed: *sem == ClusterSem::Relaxed })
            }
            Inst::ClusterWait { acquire: _, aligned: _ } => Ok(Op::ClusterWait),
            Inst::Fence { sem: _, scope } => {
                Ok(Op::Fence { block_only: *scope == FenceScope::Cta })
            }
            Inst::Membar { level } => Ok(Op::Fence { block_only: *level == MembarLevel::Cta }),
            Inst::FenceMbarrierInit {} => Ok(Op::FenceInit),
            Inst::FenceProxyAsync { space } => Ok(Op::FenceProxy(fenced(*space))),

            Inst::MbarInit { space: s, a, count } => {
                self.mbarrier(*s, a, None, Mbar::Init(self.src(count, 32)?))
            }
            Inst::MbarInval { space: s, a } => self.mbarrier(*s, a, None, Mbar::Inval),
            Inst::MbarArrive { order, space: s, d, a } => {
                let op = Mbar::Arrive {
                    count: Src::Const(1),
                    expect: None,
                    relaxed: is_relaxed(*order),
                };
                self.mbarrier(*s, a, self.maybe(d)?, op)
            }
            Inst::MbarArriveCount { order, space: s, d, a, count } => {
                let count = self.src(count, 32)?;
                let op = Mbar::Arrive { count, expect: None, relaxed: is_relaxed(*order) };
                self.mbarrier(*s, a, self.maybe(d)?, op)
            }
            Inst::MbarExpectTx { order: _, space: s, a, bytes } => {
                self.mbarrier(*s, a, None, Mbar::Expect(self.src(bytes, 32)?))
            }
            Inst::MbarArriveExpectTx { order, space: s, d, a, bytes } => {
                let expect = Some(self.src(bytes, 32)?);
                let op = Mbar::Arrive { count: Src::Const(1), expect, relaxed: is_relaxed(*order) };
                self.mbarrier(*s, a, self.maybe(d)?, op)
            }
            Inst::MbarTryWaitParity { order, space: s, d, a, parity } => {
                self.test((*order, *s), d, a, (parity, 32), true)
            }
            Inst::MbarTryWaitParityHint { order, space: s, d, a, parity, hint: _ } => {
                self.test((*order, *s), d, a, (parity, 32), true)
            }
            Inst::MbarTestWaitParity { order, space: s, d, a, parity } => {
                self.test((*order, *s), d, a, (parity, 32), false)
            }
            Inst::MbarTryWait { order, space: s, d, a, state } => {
                self.test((*order, *s), d, a, (state, 64), true)
            }
            Inst::MbarTestWait { order, space: s, d, a, state } => {
                self.test((*order, *s), d, a, (state, 64), false)
            }

            Inst::Atom { order, scope, space: s, op, ty, d, a, b } => {
                self.atomic((*order, *scope, *s), (*op, *ty), self.maybe(d)?, a, b)
            }
            Inst::Red { order, scope, space: s, op, ty, a, b } => {
                self.atomic((*order, *scope, *s), (*op, *ty), None, a, b)
            }
            Inst::AtomCas { order, scope, space: s, ty, d, a, b, c } => Ok(Op::Atomic {
                space: space(*s),
                order: atom_order(*order, *scope),
                f: Box::new(|old, b, c| if old == b { c } else { old }),
                size: bytes(*ty),
                d: self.maybe(d)?,
                a: self.at(a)?,
                b: self.src(b, ty.bits())?,
                c: self.src(c, ty.bits())?,
            }),

            Inst::Bra { uni, to } => {
                Ok(Op::Branch { uniform: *uni == Uni::Yes, target: self.label(*to)? })
            }
            Inst::Ret {} | Inst::Exit {} => Ok(Op::Exit),
            Inst::Trap {} => Ok(Op::Trap),
            Inst::Nanosleep { a: _ } | Inst::Pragma { text: _ } => Ok(Op::Nop),

            Inst::Mma { shape, sat, dty, aty, bty, cty, d, a, b, c } => {
                let types = (*dty, *cty, *aty, *bty);
                let form = warp_form(shape.k() as u32, types, Sparsity::Dense, *sat)?;
                self.multiply(form, d, (a, b, c), None)
            }
            Inst::MmaSp { ordered, shape, sat, dty, aty, bty, cty, d, a, b, c, meta, selector } => {
                let types = (*dty, *cty, *aty, *bty);
                let sparsity = Sparsity::Sparse { ordered: *ordered == Ordered::Yes };
                let form = warp_form(shape.k() as u32, types, sparsity, *sat)?;
                self.multiply(form, d, (a, b, c), Some((self.src(meta, 32)?, selector.0)))
            }
            Inst::Wgmma { shape, sat, dty, aty, bty, d, a, b, scale, imms } => {
                let form = group_form(*shape, (*dty, *aty, *bty), Sparsity::Dense, *sat)?;
                self.group(form, d, (a, b), None, scale, imms)
            }
            Inst::WgmmaSp { shape, sat, dty, aty, bty, d, a, b, meta, selector, scale, imms } => {
                let sparsity = Sparsity::Sparse { ordered: false };
                let form = group_form(*shape, (*dty, *aty, *bty), sparsity, *sat)?;
                self.group(form, d, (a, b), Some((self.src(meta, 32)?, selector.0)), scale, imms)
            }
            Inst::WgmmaFence {} => Ok(Op::GroupFence),
            Inst::WgmmaCommit {} => Ok(Op::GroupCommit),
            Inst::WgmmaWait { pending } => Ok(Op::GroupWait(pending.0 as usize)),
            Inst::Setmaxnreg { dir: _, count } => Ok(Op::SetMaxRegisters { count: count.0 }),

            Inst::Add { round, ftz, sat, ty, d, a, b } => {
                let whole = integer::add(*ty, *sat == Sat::Yes);
                self.arithmetic((*round, *ftz, *sat, *ty), (|a, b| a + b, whole), d, (a, b))
            }
            Inst::Sub { round, ftz, sat, ty, d, a, b } => {
                let whole = integer::sub(*ty, *sat == Sat::Yes);
                self.arithmetic((*round, *ftz, *sat, *ty), (|a, b| a - b, whole), d, (a, b))
            }
            Inst::Mul { mode, round, ftz, sat, ty, d, a, b } => {
                let whole = integer::mul(*ty, *mode);
                self.arithmetic((*round, *ftz, *sat, *ty), (|a, b| a * b, whole), d, (a, b))
            }
            Inst::Mad { mode, sat, ty, d, a, b, c } => {
                let f = integer::mad(*ty, *mode, *sat == Sat::Yes);
                let wide = if *mode == MadMode::Wide { 2 * ty.bits() } else { ty.bits() };
                self.ternary(f, d, [(a, ty.bits()), (b, ty.bits()), (c, wide)])
            }
            Inst::Fma { round, ftz, sat, relu, ty, d, a, b, c } => {
                nearest(*round)?;
                let how = (*ftz == Ftz::Yes, *sat == Sat::Yes, *relu == Relu::Yes);
                let f = float::fma(*ty, how.0, how.1, how.2);
                self.ternary(f, d, [(a, ty.bits()), (b, ty.bits()), (c, ty.bits())])
            }
            Inst::Div { mode, ftz, ty, d, a, b } => {
                let f = match (ty.is_float(), mode) {
                    (false, _) => integer::div(*ty),
                    (true, DivMode::Rz | DivMode::Rm | DivMode::Rp) => None,
                    (true, _) => float::binary(*ty, *ftz == Ftz::Yes, false, |a, b| a / b),
                };
                self.binary(f, d, [(a, ty.bits()), (b, ty.bits())])
            }
            Inst::Rem { ty, d, a, b } => {
                self.binary(integer::rem(*ty), d, [(a, ty.bits()), (b, ty.bits())])
            }
            Inst::Min { ftz, nan, ty, d, a, b } => {
                let real = if *nan == Nan::Yes { float::lesser_or_nan } else { float::lesser };
                let how = (Round::Plain, *ftz, Sat::No, *ty);
                self.arithmetic(how, (real, integer::min(*ty)), d, (a, b))
            }
            Inst::Max { ftz, nan, ty, d, a, b } => {
                let real = if *nan == Nan::Yes { float::greater_or_nan } else { float::greater };
                let how = (Round::Plain, *ftz, Sat::No, *ty);
                self.arithmetic(how, (real, integer::max(*ty)), d, (a, b))
            }
            Inst::Neg { ftz, ty, d, a } => {
                let f = match ty.is_float() {
                    true => float::sign(*ty, *ftz == Ftz::Yes, |a, sign| a ^ sign),
                    false => integer::neg(*ty),
                };
                self.unary(f, d, a, ty.bits())
            }
            Inst::Abs { ftz, ty, d, a } => {
                let f = match ty.is_float() {
                    true => float::sign(*ty, *ftz == Ftz::Yes, |a, sign| a & !sign),
                    false => integer::abs(*ty),
                };
                self.unary(f, d, a, ty.bits())
            }
            Inst::Copysign { ty, d, a, b } => {
                self.binary(float::copysign(*ty), d, [(a, ty.bits()), (b, ty.bits())])
            }
            Inst::Sqrt { round, ftz, ty, d, a } => self.root((*round, *ftz, *ty), f64::sqrt, d, a),
            Inst::Rcp { round, ftz, ty, d, a } => self.root((*round, *ftz, *ty), f64::recip, d, a),
            Inst::Rsqrt { ftz, ty, d, a } => self.real((*ftz, *ty), |a| 1.0 / a.sqrt(), d, a),
            Inst::Ex2 { ftz, ty, d, a } => self.real((*ftz, *ty), f64::exp2, d, a),
            Inst::Lg2 { ftz, ty, d, a } => self.real((*ftz, *ty), f64::log2, d, a),
            Inst::Sin { ftz, ty, d, a } => self.real((*ftz, *ty), f64::sin, d, a),
            Inst::Cos { ftz, ty, d, a } => self.real((*ftz, *ty), f64::cos, d, a),
            Inst::Tanh { ty, d, a } => self.real((Ftz::No, *ty), f64::tanh, d, a),
            Inst::Shl { ty, d, a, b } => {
                self.binary(integer::shl(*ty), d, [(a, ty.bits()), (b, 32)])
            }
            Inst::Shr { ty, d, a, b } => {
                self.binary(integer::shr(*ty), d, [(a, ty.bits()), (b, 32)])
            }
            Inst::Shf { dir, mode, d, a, b, c } => {
                self.ternary(Some(integer::shf(*dir, *mode)), d, [(a, 32), (b, 32), (c, 32)])
            }
            Inst::And { ty, d, a, b } => self.bits(*ty, Box::new(|a, b| a & b), d, a, b),
            Inst::Or { ty, d, a, b } => self.bits(*ty, Box::new(|a, b| a | b), d, a, b),
            Inst::Xor { ty, d, a, b } => self.bits(*ty, Box::new(|a, b| a ^ b), d, a, b),
            Inst::Not { ty, d, a } => self.unary(Some(Box::new(|a| !a)), d, a, ty.bits()),
            Inst::Lop3 { d, a, b, c, lut } => {
                self.ternary(Some(integer::lop3(lut.0)), d, [(a, 32), (b, 32), (c, 32)])
            }
            Inst::Bfe { ty, d, a, b, c } => {
                self.ternary(integer::bfe(*ty), d, [(a, ty.bits()), (b, 32), (c, 32)])
            }
            Inst::Bfi { ty, d, a, b, c, e } => {
                let bits = ty.bits();
                let sources = [(a, bits), (b, bits), (c, 32), (e, 32)];
                let mut all = [Src::Const(0); 4];
                for (slot, (arg, bits)) in all.iter_mut().zip(sources) {
                    *slot = self.src(arg, bits)?;
                }
                Ok(Op::Quaternary { f: none(integer::bfi(*ty))?, d: self.dst(d)?, a: all })
            }
            Inst::Brev { ty, d, a } => self.unary(integer::brev(*ty), d, a, ty.bits()),
            Inst::Clz { ty, d, a } => self.unary(integer::clz(*ty), d, a, ty.bits()),
            Inst::Popc { ty, d, a } => self.unary(integer::popc(*ty), d, a, ty.bits()),
            Inst::Bfind { shift, ty, d, a } => {
                self.unary(integer::bfind(*ty, *shift == ShiftAmt::Yes), d, a, ty.bits())
            }
            Inst::Dp4a { aty, bty, d, a, b, c } => {
                let f = integer::dp4a(aty.is_signed(), bty.is_signed());
                self.ternary(Some(f), d, [(a, 32), (b, 32), (c, 32)])
            }
            Inst::Setp { cmp, ftz, ty, d, a, b } => {
                self.binary(compare(*cmp, *ftz, *ty), d, [(a, ty.bits()), (b, ty.bits())])
            }
            Inst::Set { cmp, ftz, dty, aty, d, a, b } => {
                let f = float::set(*dty, *aty, *cmp, *ftz == Ftz::Yes);
                self.binary(f, d, [(a, aty.bits()), (b, aty.bits())])
            }
            Inst::SetpBool { cmp, bool: op, ftz, ty, d, a, b, c } => {
                let compare = none(compare(*cmp, *ftz, *ty))?;
                let (c, negated) = self.pred(c)?;
                let op = *op;
                let f: F3 = Box::new(move |a, b, c| {
                    integer::boolean(op, compare(a, b), c ^ u64::from(negated))
                });
                let (a, b) = (self.src(a, ty.bits())?, self.src(b, ty.bits())?);
                Ok(Op::Ternary { f, d: self.dst(d)?, a: [a, b, c] })
            }
            Inst::Cvt { round, ftz, relu, sat, dty, aty, d, a } => {
                let how = Rounding {
                    round: *round,
                    ftz: *ftz == Ftz::Yes,
                    relu: *relu == Relu::Yes,
                    saturate: *sat == Sat::Yes,
                };
                self.unary(float::cvt(*dty, *aty, how), d, a, aty.bits())
            }
            Inst::Cvt2 { round, relu, dty, d, a, b } => {
                let f = float::cvt2(*dty, *round, *relu == Relu::Yes);
                self.binary(f, d, [(a, 32), (b, 32)])
            }
        }
    }

    fn bits(&self, ty: Type, f: F2, d: &Arg, a: &Arg, b: &Arg) -> Lowered {
        self.binary(Some(f), d, [(a, ty.bits()), (b, ty.bits())])
    }

    fn optional(&self, arg: &Arg, bits: u32) -> Result<Option<Src>, String> {
        if *arg == Arg::Sink { Ok(None) } else { self.src(arg, bits).map(Some) }
    }

    fn copy(&self, d: &Address, a: &Address, size: Imm, take: Take) -> Lowered {
        Ok(Op::Copy { to: self.at(d)?, from: self.at(a)?, size: size.0 as usize, take })
    }

    fn mbarrier(&self, s: Space, a: &Address, d: Option<usize>, op: Mbar) -> Lowered {
        Ok(Op::Mbarrier { space: space(s), a: self.at(a)?, d, op })
    }

    fn test(
        &self,
        (order, s): (WaitOrder, Space),
        d: &Arg,
        a: &Address,
        (phase, bits): (&Arg, u32),
        blocking: bool,
    ) -> Lowered {
        let relaxed = matches!(order, WaitOrder::RelaxedCta | WaitOrder::RelaxedCluster);
        let phase = self.src(phase, bits)?;
        let op = Mbar::Test { phase, token: bits == 64, blocking, relaxed };
        self.mbarrier(s, a, Some(self.dst(d)?), op)
    }

    fn atomic(
        &self,
        (order, scope, s): (AtomOrder, AtomScope, Space),
        (op, ty): (AtomOp, Type),
        d: Option<usize>,
        a: &Address,
        b: &Arg,
    ) -> Lowered {
        let real = |f| float::binary(ty, false, false, f);
        let f = match op {
            AtomOp::Add | AtomOp::AddNoftz if ty.is_float() => real(|a, b| a + b),
            AtomOp::Add | AtomOp::AddNoftz => integer::add(ty, false),
            AtomOp::Min if ty.is_float() => real(float::lesser),
            AtomOp::Max if ty.is_float() => real(float::greater),
            AtomOp::Min => integer::min(ty),
            AtomOp::Max => integer::max(ty),
            AtomOp::And => Some(Box::new(|a, b| a & b) as F2),
            AtomOp::Or => Some(Box::new(|a, b| a | b) as F2),
            AtomOp::Xor => Some(Box::new(|a, b| a ^ b) as F2),
            AtomOp::Exch => Some(Box::new(|_, b| b) as F2),
            AtomOp::Inc => Some(Box::new(|a: u64, b| if a >= b { 0 } else { a + 1 }) as F2),
            AtomOp::Dec => {
                Some(Box::new(|a: u64, b| if a == 0 || a > b { b } else { a - 1 }) as F2)
            }
        };
        let f = none(f)?;
        Ok(Op::Atomic {
            space: space(s),
            order: atom_order(order, scope),
            f: Box::new(move |old, b, _| f(old, b)),
            size: bytes(ty),
            d,
            a: self.at(a)?,
            b: self.src(b, ty.bits())?,
            c: Src::Const(0),
        })
    }

    fn multiply(
        &self,
        form: Form,
        d: &Arg,
        (a, b, c): (&Arg, &Arg, &Arg),
        metadata: Option<(Src, u32)>,
    ) -> Lowered {
        let d = self.slots(d)?;
        let (a, b, c) = (self.srcs(a, 32)?, self.srcs(b, 32)?, self.srcs(c, 32)?);
        let want = [form.a_registers(), form.b_registers(), form.d_registers()];
        if [a.len(), b.len(), c.len()] != want || d.len() != c.len() {
            return Err(format!("{form} takes {want:?} registers of A, B and C"));
        }
        let none = (None, [false; 2], [false; 2]);
        let (scale_d, negate, transposed) = none;
        Ok(Op::Multiply(Box::new(Multiply {
            form,
            d,
            a,
            b,
            c,
            metadata,
            scale_d,
            negate,
            transposed,
        })))
    }

    fn group(
        &self,
        form: Form,
        d: &Arg,
        (a, b): (&Arg, &Arg),
        metadata: Option<(Src, u32)>,
        scale: &Arg,
        imms: &Imms,
    ) -> Lowered {
        let d = self.slots(d)?;
        let registers = matches!(a, Arg::Vector(_));
        let (a, b) = (self.srcs(a, if registers { 32 } else { 64 })?, self.srcs(b, 64)?);
        if d.len() != form.d_registers() || registers && a.len() != form.a_registers() {
            let (want_d, want_a) = (form.d_registers(), form.a_registers());
            return Err(format!("{form} takes {want_d} registers of D, {want_a} of A"));
        }
        // after the signs: trans-a, if A is in shared memory, then trans-b (9.7.15.5.2)
        let signs = imms.0.get(..2).unwrap_or(&[1, 1]);
        let trans = imms.0.get(2..).unwrap_or(&[]);
        let transposed = match (trans, registers) {
            ([], _) => [false; 2],
            ([b], true) => [false, *b == 1],
            ([a, b], false) => [*a == 1, *b == 1],
            _ => return Err(format!("{} constants after scale-d", imms.0.len())),
        };
        Ok(Op::Group(Box::new(Multiply {
            form,
            d,
            a,
            b,
            c: Vec::new(),
            metadata,
            scale_d: Some(self.src(scale, 1)?),
            negate: [signs[0] == -1, signs[1] == -1],
            transposed,
        })))
    }
}

fn nearest(round: Round) -> Result<(), String> {
    match round {
        Round::Plain | Round::Rn => Ok(()),
        other => Err(format!("rounding `{other}` is not modelled")),
    }
}

fn compare(cmp: Cmp, ftz: Ftz, ty: Type) -> Option<F2> {
    if ty.is_float() { float::setp(ty, cmp, ftz == Ftz::Yes) } else { integer::setp(ty, cmp) }
}

/// Without a space, of all memory (9.7.13.4).
fn fenced(space: Space) -> &'static [Memory] {
    match space {
        Space::Global => &[Memory::Global],
        Space::Generic | Space::Param => &[Memory::Global, Memory::Shared],
        Space::Shared | Space::SharedCta | Space::SharedCluster => &[Memory::Shared],
    }
}

/// `bar` is `barrier.aligned` (9.7.13.1).
fn is_aligned(kind: BarKind, aligned: Aligned) -> bool {
    matches!(kind, BarKind::Bar | BarKind::BarCta) || aligned == Aligned::Yes
}

fn is_relaxed(order: ArriveOrder) -> bool {
    matches!(order, ArriveOrder::RelaxedCta | ArriveOrder::RelaxedCluster)
}

fn strong(acquire: bool, release: bool, block_only: bool) -> Order {
    Order { strong: true, acquire, release, block_only, constant: false }
}

/// `.volatile` is relaxed, with system scope (8.4).
fn load_order(order: LoadOrder) -> Order {
    match order {
        LoadOrder::Plain | LoadOrder::Weak => Order::default(),
        LoadOrder::RelaxedCta => strong(false, false, true),
        LoadOrder::Volatile
        | LoadOrder::RelaxedCluster
        | LoadOrder::RelaxedGpu
        | LoadOrder::RelaxedSys => strong(false, false, false),
        LoadOrder::AcquireCta => strong(true, false, true),
        LoadOrder::AcquireCluster | LoadOrder::AcquireGpu | LoadOrder::AcquireSys => {
            strong(true, false, false)
        }
    }
}

fn store_order(order: StoreOrder) -> Order {
    match order {
        StoreOrder::Plain | StoreOrder::Weak => Order::default(),
        StoreOrder::RelaxedCta => strong(false, false, true),
        StoreOrder::Volatile
        | StoreOrder::RelaxedCluster
        | StoreOrder::RelaxedGpu
        | StoreOrder::RelaxedSys => strong(false, false, false),
        StoreOrder::ReleaseCta => strong(false, true, true),
        StoreOrder::ReleaseCluster | StoreOrder::ReleaseGpu | StoreOrder::ReleaseSys => {
            strong(false, true, false)
        }
    }
}

/// Without an order relaxed, without a scope `.gpu` (9.7.13.5).
fn atom_order(order: AtomOrder, scope: AtomScope) -> Order {
    let acquire = matches!(order, AtomOrder::Acquire | AtomOrder::AcqRel);
    let release = matches!(order, AtomOrder::Release | AtomOrder::AcqRel);
    strong(acquire, release, scope == AtomScope::Cta)
}

fn element(ty: Type) -> Result<Element, String> {
    Ok(match ty {
        Type::F16 => Element::F16,
        Type::Bf16 => Element::Bf16,
        Type::Tf32 => Element::Tf32,
        Type::S8 => Element::S8,
        Type::U8 => Element::U8,
        Type::E4m3 => Element::E4m3,
        Type::E5m2 => Element::E5m2,
        other => return Err(format!("multiplies of {other} are not modelled")),
    })
}

fn accumulator(ty: Type) -> Result<Acc, String> {
    Ok(match ty {
        Type::F16 => Acc::F16,
        Type::F32 => Acc::F32,
        Type::S32 => Acc::S32,
        other => return Err(format!("accumulators of {other} are not modelled")),
    })
}

fn warp_form(
    k: u32,
    (d, c, a, b): (Type, Type, Type, Type),
    sparsity: Sparsity,
    sat: Satfinite,
) -> Result<Form, String> {
    if d != c {
        return Err(format!("C of {c} and D of {d} are not modelled"));
    }
    Form::warp(k, element(a)?, element(b)?, accumulator(d)?, sparsity, sat == Satfinite::Yes)
}

fn group_form(
    shape: WgmmaShape,
    (d, a, b): (Type, Type, Type),
    sparsity: Sparsity,
    sat: Satfinite,
) -> Result<Form, String> {
    let (n, k) = (u32::from(shape.n), u32::from(shape.k));
    let (a, b, d) = (element(a)?, element(b)?, accumulator(d)?);
    Form::group(n, k, a, b, d, sparsity, sat == Satfinite::Yes)
}
