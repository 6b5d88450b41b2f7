//! The meaning of each row of the table (PTX ISA chapter 9.7).

use super::access::cas;
use super::apply::{compare, nearest, none};
use super::convert::{self, Rounding};
use super::forms::{group_form, warp_form};
use super::names::{Names, bytes, space};
use super::orders::{atom_order, fenced, is_aligned, is_relaxed, load_order, store_order};
use super::{F3, Lowered, float, integer};
use crate::code::{Bulk, Mbar, Op, Src, Take, Tile};
use crate::mma::Sparsity;
use crate::order::Order;
use quickpick_ptx::*;

impl Names {
    /// The meaning of an instruction; the error says what is not modelled.
    pub(super) fn op(&self, inst: &Inst) -> Lowered {
        match inst {
            // data movement within and between threads (9.7.9, 9.7.13.9 to 9.7.13.14)
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

            // memory (9.7.9.8, 9.7.9.11), its matrices (9.7.14.5.15 to 9.7.14.5.17) and addresses
            // (9.7.9.20, 9.7.9.23)
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

            // asynchronous copies (9.7.9.25); those that arrive at an mbarrier 9.7.13.15.15
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

            // barriers and fences (9.7.13.1 to 9.7.13.4)
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

            // mbarriers (9.7.13.15)
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

            // atomics (9.7.13.5, 9.7.13.6)
            Inst::Atom { order, scope, space: s, op, ty, d, a, b } => {
                self.atomic((*order, *scope, *s), (*op, *ty), self.maybe(d)?, a, b)
            }
            Inst::Red { order, scope, space: s, op, ty, a, b } => {
                self.atomic((*order, *scope, *s), (*op, *ty), None, a, b)
            }
            Inst::AtomCas { order, scope, space: s, ty, d, a, b, c } => Ok(Op::Atomic {
                space: space(*s),
                order: atom_order(*order, *scope),
                f: Box::new(cas),
                size: bytes(*ty),
                d: self.maybe(d)?,
                a: self.at(a)?,
                b: self.src(b, ty.bits())?,
                c: self.src(c, ty.bits())?,
            }),

            // control flow (9.7.12), and what changes nothing here (9.7.19)
            Inst::Bra { uni, to } => {
                Ok(Op::Branch { uniform: *uni == Uni::Yes, target: self.label(*to)? })
            }
            Inst::Ret {} | Inst::Exit {} => Ok(Op::Exit),
            Inst::Trap {} => Ok(Op::Trap),
            Inst::Nanosleep { a: _ } | Inst::Pragma { text: _ } => Ok(Op::Nop),

            // multiplies of a warp (9.7.14) and of a warpgroup (9.7.15); setmaxnreg 9.7.19.5
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

            // arithmetic (9.7.1, 9.7.3, 9.7.4)
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
                let f = match ty.is_float() {
                    false => integer::div(*ty),
                    true => float::div(*ty, *mode, *ftz == Ftz::Yes),
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
            // bits (9.7.8, 9.7.1.14 to 9.7.1.23)
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
            // comparisons (9.7.6, 9.7.7) and conversions (9.7.9.21)
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
                self.unary(convert::cvt(*dty, *aty, how), d, a, aty.bits())
            }
            Inst::Cvt2 { round, relu, dty, d, a, b } => {
                let f = convert::cvt2(*dty, *round, *relu == Relu::Yes);
                self.binary(f, d, [(a, 32), (b, 32)])
            }
            Inst::CvtFloat8 { aty, d, a } => self.unary(convert::float8(*aty), d, a, 16),
        }
    }
}
