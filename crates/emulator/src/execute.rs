//! The meaning of each instruction, from the PTX manual (chapter 9.7). No wildcard: a new row of
//! the table without a meaning does not compile.

use crate::block::Block;
use crate::memory::Clash;
use crate::mma::{self, Acc, Element, Form, Metadata, Sparsity};
use crate::trap::Fault;
use crate::warp::{State, Warp, lanes};
use quickpick_ptx::{B32, Class, Cmp, Half, Inst, Int, Reg, Shuffle, Special, Src};

pub(crate) type Done = Result<(), Clash>;

/// The lanes of a whole warp.
pub(crate) const ALL: u32 = u32::MAX;

fn f(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn bits(value: f32) -> u64 {
    value.to_bits() as u64
}

/// Subnormals are zero, for `.ftz`.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// m16n8kK, summed in f32.
fn form(ty: Half, k: u32, sparsity: Sparsity) -> Result<Form, Fault> {
    let element = match ty {
        Half::F16 => Element::F16,
        Half::BF16 => Element::Bf16,
    };
    Form::warp(k, element, element, Acc::F32, sparsity, false).map_err(Fault::Launch)
}

fn encode(ty: Half, x: f32) -> u64 {
    match ty {
        Half::F16 => half::f16::from_f32(x).to_bits() as u64,
        Half::BF16 => half::bf16::from_f32(x).to_bits() as u64,
    }
}

fn compare<T: PartialOrd>(cmp: Cmp, a: T, b: T) -> u64 {
    let holds = match cmp {
        Cmp::Eq => a == b,
        Cmp::Ne => a != b,
        Cmp::Lt => a < b,
        Cmp::Le => a <= b,
        Cmp::Gt => a > b,
        Cmp::Ge => a >= b,
    };
    holds as u64
}

/// Whole-warp instructions ask for every lane.
pub(crate) fn together(here: u32, guarded: u32) -> Result<(), Fault> {
    if here == ALL && guarded == ALL {
        Ok(())
    } else {
        Err(Fault::Divergent { mask: guarded & here })
    }
}

impl Block<'_> {
    /// Executes the instruction at `pc` for the lanes `here` whose guard holds, and moves them on.
    pub(crate) fn execute(&mut self, warp: &mut Warp<'_>, pc: usize, here: u32) -> Done {
        let Some(step) = self.program.code.get(pc) else {
            return Err(Fault::Launch("a lane ran past the last instruction".into()).into());
        };
        let mut mask = here;
        if let Some(guard) = step.guard {
            for lane in lanes(here) {
                if (warp.get(guard.pred, lane)? == 1) == guard.negated {
                    mask &= !(1 << lane);
                }
            }
        }
        for lane in lanes(here) {
            warp.pcs[lane] = Some(pc + 1);
        }
        if mask == 0 {
            return Ok(()); // no lane's guard holds: nothing happens
        }
        let w = warp;
        /// Sets `$d` of each active lane.
        macro_rules! each {
            ($d:expr, $lane:ident => $value:expr) => {{
                for $lane in lanes(mask) {
                    let value: u64 = $value;
                    w.set($d, $lane, value)?;
                }
            }};
        }
        match step.inst {
            Inst::MovB32 { d, a } => each!(d, l => w.src(a, l)?),
            Inst::MovB64 { d, a } => each!(d, l => w.src(a, l)?),
            Inst::MovF32 { d, a } => each!(d, l => w.src(a, l)?),
            Inst::F32ToBits { d, a } => each!(d, l => w.get(a, l)?),
            Inst::F32FromBits { d, a } => each!(d, l => w.get(a, l)?),
            Inst::MovSpecial { d, a } => each!(d, l => self.special(a, w.number, l) as u64),
            Inst::MovSymbol { d, a: _ } => each!(d, _l => 0), // the one array starts at 0
            Inst::PackB16 { d, a } => each!(d, l => w.get(a[0], l)? | w.get(a[1], l)? << 16),
            Inst::UnpackB16 { d, a } => {
                each!(d[0], l => w.get(a, l)?);
                each!(d[1], l => w.get(a, l)? >> 16);
            }
            Inst::PackB32 { d, a } => each!(d, l => w.get(a[0], l)? | w.get(a[1], l)? << 32),
            Inst::UnpackB32 { d, a } => {
                each!(d[0], l => w.get(a, l)?);
                each!(d[1], l => w.get(a, l)? >> 32);
            }
            Inst::Prmt { d, a, b, c } => each!(d, l => {
                let pool = w.get(a, l)? | w.src(b, l)? << 32;
                prmt(pool, w.src(c, l)?)
            }),
            Inst::ShflB32 { mode, d, a, b, c, mask: members } => {
                shuffle(w, mode, d, a, [b, c, members], mask)?;
            }
            Inst::ShflF32 { mode, d, a, b, c, mask: members } => {
                shuffle(w, mode, d, a, [b, c, members], mask)?;
            }
            Inst::SelpB32 { d, a, b, p } => each!(d, l => select(w, a, b, p, l)?),
            Inst::SelpB64 { d, a, b, p } => each!(d, l => select(w, a, b, p, l)?),
            Inst::SelpF32 { d, a, b, p } => each!(d, l => select(w, a, b, p, l)?),
            Inst::LdParamU32 { d, a } => each!(d, _l => self.param(a.0)?),
            Inst::LdParamU64 { d, a } => each!(d, _l => self.param(a.0)?),
            Inst::LdParamF32 { d, a } => each!(d, _l => self.param(a.0)?),
            Inst::CvtaToGlobal { d, a } => each!(d, l => w.get(a, l)?),

            Inst::LdGlobalB16 { cache: _, d, a } => self.load_global::<_, 2>(w, [d], a, mask)?,
            Inst::LdGlobalB32 { cache: _, d, a } => self.load_global::<_, 4>(w, [d], a, mask)?,
            Inst::LdGlobalB64 { cache: _, d, a } => self.load_global::<_, 8>(w, [d], a, mask)?,
            Inst::LdGlobalF32 { cache: _, d, a } => self.load_global::<_, 4>(w, [d], a, mask)?,
            Inst::LdGlobalV2B32 { cache: _, d, a } => self.load_global::<_, 8>(w, d.0, a, mask)?,
            Inst::LdGlobalV4B32 { cache: _, d, a } => self.load_global::<_, 16>(w, d.0, a, mask)?,
            Inst::LdGlobalV2F32 { cache: _, d, a } => self.load_global::<_, 8>(w, d.0, a, mask)?,
            Inst::LdGlobalV4F32 { cache: _, d, a } => self.load_global::<_, 16>(w, d.0, a, mask)?,
            Inst::StGlobalB16 { a, b } => self.store_global(w, a, [b], 2, mask)?,
            Inst::StGlobalB32 { a, b } => self.store_global(w, a, [b], 4, mask)?,
            Inst::StGlobalB64 { a, b } => self.store_global(w, a, [b], 8, mask)?,
            Inst::StGlobalF32 { a, b } => self.store_global(w, a, [b], 4, mask)?,
            Inst::StGlobalV2B32 { a, b } => self.store_global(w, a, b.0, 4, mask)?,
            Inst::StGlobalV4B32 { a, b } => self.store_global(w, a, b.0, 4, mask)?,
            Inst::StGlobalV2F32 { a, b } => self.store_global(w, a, b.0, 4, mask)?,
            Inst::StGlobalV4F32 { a, b } => self.store_global(w, a, b.0, 4, mask)?,

            Inst::LdSharedB16 { d, a } => self.load_shared::<_, 2>(w, pc, [d], a, mask)?,
            Inst::LdSharedB32 { d, a } => self.load_shared::<_, 4>(w, pc, [d], a, mask)?,
            Inst::LdSharedF32 { d, a } => self.load_shared::<_, 4>(w, pc, [d], a, mask)?,
            Inst::LdSharedV2B32 { d, a } => self.load_shared::<_, 8>(w, pc, d.0, a, mask)?,
            Inst::LdSharedV4B32 { d, a } => self.load_shared::<_, 16>(w, pc, d.0, a, mask)?,
            Inst::LdSharedV2F32 { d, a } => self.load_shared::<_, 8>(w, pc, d.0, a, mask)?,
            Inst::LdSharedV4F32 { d, a } => self.load_shared::<_, 16>(w, pc, d.0, a, mask)?,
            Inst::StSharedB16 { a, b } => self.store_shared(w, pc, a, [b], 2, mask)?,
            Inst::StSharedB32 { a, b } => self.store_shared(w, pc, a, [b], 4, mask)?,
            Inst::StSharedF32 { a, b } => self.store_shared(w, pc, a, [b], 4, mask)?,
            Inst::StSharedV2B32 { a, b } => self.store_shared(w, pc, a, b.0, 4, mask)?,
            Inst::StSharedV4B32 { a, b } => self.store_shared(w, pc, a, b.0, 4, mask)?,
            Inst::StSharedV2F32 { a, b } => self.store_shared(w, pc, a, b.0, 4, mask)?,
            Inst::StSharedV4F32 { a, b } => self.store_shared(w, pc, a, b.0, 4, mask)?,
            Inst::LdmatrixX1 { trans, d, a } => {
                self.ldmatrix(w, pc, trans, d.0, a, (here, mask))?
            }
            Inst::LdmatrixX2 { trans, d, a } => {
                self.ldmatrix(w, pc, trans, d.0, a, (here, mask))?
            }
            Inst::LdmatrixX4 { trans, d, a } => {
                self.ldmatrix(w, pc, trans, d.0, a, (here, mask))?
            }
            Inst::Movmatrix { d, a } => {
                together(here, mask)?;
                let [rows] = w.all([a].into())?;
                let halves: Vec<u32> =
                    (0..64).map(|i| rows[i / 2] >> (16 * (i % 2)) & 0xFFFF).collect();
                let turned = std::array::from_fn(|lane: usize| {
                    let (row, col) = (lane / 4, 2 * (lane % 4));
                    halves[8 * col + row] | halves[8 * (col + 1) + row] << 16
                });
                w.set_all([d].into(), &[turned])?;
            }

            Inst::CpAsyncCg { prefetch: _, d, a } => {
                self.copy(w, pc, d, a, 16, |_, _| Ok(16), mask)?
            }
            Inst::CpAsyncCgFill { prefetch: _, d, a, bytes } => {
                self.copy(w, pc, d, a, 16, |w, l| w.src(bytes, l), mask)?;
            }
            Inst::CpAsyncCgIgnore { prefetch: _, d, a, p } => {
                self.copy(w, pc, d, a, 16, |w, l| Ok(16 * (1 - w.get(p, l)?)), mask)?;
            }
            Inst::CpAsyncCa { prefetch: _, d, a, size } => {
                self.copy(w, pc, d, a, size.0, |_, _| Ok(size.0 as u64), mask)?;
            }
            Inst::CpAsyncCaFill { prefetch: _, d, a, size, bytes } => {
                self.copy(w, pc, d, a, size.0, |w, l| w.src(bytes, l), mask)?;
            }
            Inst::CpAsyncCommit {} => {
                for l in lanes(mask) {
                    let group = std::mem::take(&mut w.open[l]);
                    w.groups[l].push_back(group);
                }
            }
            Inst::CpAsyncWait { pending } => self.wait(w, pc, pending.0 as usize, mask),
            Inst::CpAsyncWaitAll {} => {
                for l in lanes(mask) {
                    let group = std::mem::take(&mut w.open[l]);
                    w.groups[l].push_back(group);
                }
                self.wait(w, pc, 0, mask);
            }

            Inst::BarSync { id } => {
                together(here, mask)?;
                w.state = State::Waiting(id.0);
            }
            Inst::BarWarpSync { mask: members } => meet(w, members, mask)?,
            Inst::FenceAcqRelGpu {} => {} // blocks run one after the other here
            Inst::AtomAddAcqRel { d, a, b } => each!(d, l => self.add(w, a, b, l)?),
            Inst::RedAdd { a, b } => {
                for l in lanes(mask) {
                    self.add(w, a, b, l)?;
                }
            }

            Inst::Mma16816 { ty, d, a, b, c } => {
                together(here, mask)?;
                self.report.multiplies += 1;
                let form = form(ty, 16, Sparsity::Dense)?;
                let mut out = [[0; 32]; 4];
                mma::warp(&form, &w.all(a)?, &w.all(b)?, &w.all(c)?, None, &mut out)?;
                w.set_all(d, &out)?;
            }
            Inst::MmaSp16832 { ty, d, a, b, c, meta, selector } => {
                together(here, mask)?;
                self.report.multiplies += 1;
                let [metadata] = w.all([meta].into())?;
                let (a, b, c) = (w.all(a)?, w.all(b)?, w.all(c)?);
                let form = form(ty, 32, Sparsity::Sparse { ordered: true })?;
                let meta = Metadata { word: &metadata, selector: selector.0, tolerant: false };
                let mut out = [[0; 32]; 4];
                mma::warp(&form, &a, &b, &c, Some(meta), &mut out)?;
                w.set_all(d, &out)?;
            }

            Inst::AddU32 { d, a, b } => each!(d, l => w.src(a, l)?.wrapping_add(w.src(b, l)?)),
            Inst::SubU32 { d, a, b } => each!(d, l => w.src(a, l)?.wrapping_sub(w.src(b, l)?)),
            Inst::MulLoU32 { d, a, b } => each!(d, l => w.src(a, l)?.wrapping_mul(w.src(b, l)?)),
            Inst::MulHiU32 { d, a, b } => each!(d, l => (w.src(a, l)? * w.src(b, l)?) >> 32),
            Inst::MadLoU32 { d, a, b, c } => {
                each!(d, l => w.src(a, l)?.wrapping_mul(w.src(b, l)?).wrapping_add(w.src(c, l)?));
            }
            // by zero: unspecified; all ones, as the hardware's division of unsigned gives
            Inst::DivU32 { d, a, b } => {
                each!(d, l => w.src(a, l)?.checked_div(w.src(b, l)?).unwrap_or(u32::MAX as u64));
            }
            Inst::RemU32 { d, a, b } => each!(d, l => {
                let a = w.src(a, l)?;
                a.checked_rem(w.src(b, l)?).unwrap_or(a)
            }),
            Inst::Min { ty, d, a, b } => each!(d, l => {
                let (a, b) = (w.src(a, l)? as u32, w.src(b, l)? as u32);
                match ty {
                    Int::U32 => a.min(b) as u64,
                    Int::S32 => (a as i32).min(b as i32) as u32 as u64,
                }
            }),
            Inst::Max { ty, d, a, b } => each!(d, l => {
                let (a, b) = (w.src(a, l)? as u32, w.src(b, l)? as u32);
                match ty {
                    Int::U32 => a.max(b) as u64,
                    Int::S32 => (a as i32).max(b as i32) as u32 as u64,
                }
            }),
            Inst::MulWide { ty, d, a, b } => each!(d, l => wide(ty, w.get(a, l)?, w.src(b, l)?)),
            Inst::MadWide { ty, d, a, b, c } => {
                each!(d, l => wide(ty, w.get(a, l)?, w.src(b, l)?).wrapping_add(w.src(c, l)?));
            }
            Inst::AddU64 { d, a, b } => each!(d, l => w.src(a, l)?.wrapping_add(w.src(b, l)?)),
            Inst::SubU64 { d, a, b } => each!(d, l => w.src(a, l)?.wrapping_sub(w.src(b, l)?)),
            Inst::MulLoU64 { d, a, b } => each!(d, l => w.src(a, l)?.wrapping_mul(w.src(b, l)?)),
            Inst::MadLoU64 { d, a, b, c } => {
                each!(d, l => w.src(a, l)?.wrapping_mul(w.src(b, l)?).wrapping_add(w.src(c, l)?));
            }
            Inst::NegS32 { d, a } => each!(d, l => w.get(a, l)?.wrapping_neg()),

            Inst::ShlB32 { d, a, b } => {
                each!(d, l => w.src(a, l)?.checked_shl(w.src(b, l)? as u32).unwrap_or(0));
            }
            Inst::Shr { ty, d, a, b } => each!(d, l => {
                let (a, by) = (w.src(a, l)? as u32, w.src(b, l)?.min(32) as u32);
                match ty {
                    Int::U32 => a.checked_shr(by).unwrap_or(0) as u64,
                    Int::S32 => (a as i32 >> by.min(31)) as u32 as u64,
                }
            }),
            Inst::ShlB64 { d, a, b } => {
                each!(d, l => w.src(a, l)?.checked_shl(w.src(b, l)? as u32).unwrap_or(0));
            }
            Inst::ShrU64 { d, a, b } => {
                each!(d, l => w.src(a, l)?.checked_shr(w.src(b, l)? as u32).unwrap_or(0));
            }
            Inst::AndB32 { d, a, b } => each!(d, l => w.src(a, l)? & w.src(b, l)?),
            Inst::OrB32 { d, a, b } => each!(d, l => w.src(a, l)? | w.src(b, l)?),
            Inst::XorB32 { d, a, b } => each!(d, l => w.src(a, l)? ^ w.src(b, l)?),
            Inst::NotB32 { d, a } => each!(d, l => !w.get(a, l)?),
            Inst::Lop3 { d, a, b, c, lut } => each!(d, l => {
                let (a, b, c) = (w.src(a, l)?, w.src(b, l)?, w.src(c, l)?);
                (0..8u32).filter(|i| lut.0 >> i & 1 == 1).fold(0, |out, i| {
                    let pick = |x: u64, bit: u32| if i >> bit & 1 == 1 { x } else { !x };
                    out | (pick(a, 2) & pick(b, 1) & pick(c, 0))
                })
            }),
            Inst::BfeU32 { d, a, b, c } => each!(d, l => {
                let (from, count) = (w.src(b, l)? as u32 & 255, w.src(c, l)? as u32 & 255);
                let field = w.get(a, l)?.checked_shr(from).unwrap_or(0);
                field & 1u64.checked_shl(count).unwrap_or(0).wrapping_sub(1)
            }),

            Inst::Setp { cmp, ty, d, a, b } => each!(d, l => {
                let (a, b) = (w.get(a, l)? as u32, w.src(b, l)? as u32);
                match ty {
                    Int::U32 => compare(cmp, a, b),
                    Int::S32 => compare(cmp, a as i32, b as i32),
                }
            }),
            Inst::SetpU64 { cmp, d, a, b } => {
                each!(d, l => compare(cmp, w.get(a, l)?, w.src(b, l)?))
            }
            Inst::SetpF32 { cmp, d, a, b } => each!(d, l => {
                let (a, b) = (f(w.get(a, l)?), f(w.src(b, l)?));
                // `ne` is ordered too: false with a NaN
                if a.is_nan() || b.is_nan() { 0 } else { compare(cmp, a, b) }
            }),
            Inst::AndPred { d, a, b } => each!(d, l => w.get(a, l)? & w.get(b, l)?),
            Inst::OrPred { d, a, b } => each!(d, l => w.get(a, l)? | w.get(b, l)?),
            Inst::NotPred { d, a } => each!(d, l => 1 - w.get(a, l)?),

            Inst::AddF32 { d, a, b } => each!(d, l => bits(f(w.src(a, l)?) + f(w.src(b, l)?))),
            Inst::SubF32 { d, a, b } => each!(d, l => bits(f(w.src(a, l)?) - f(w.src(b, l)?))),
            Inst::MulF32 { d, a, b } => each!(d, l => bits(f(w.src(a, l)?) * f(w.src(b, l)?))),
            Inst::FmaF32 { d, a, b, c } => {
                each!(d, l => bits(f(w.src(a, l)?).mul_add(f(w.src(b, l)?), f(w.src(c, l)?))));
            }
            Inst::DivF32 { d, a, b } => each!(d, l => bits(f(w.src(a, l)?) / f(w.src(b, l)?))),
            Inst::MaxF32 { d, a, b } => each!(d, l => bits(f(w.src(a, l)?).max(f(w.src(b, l)?)))),
            Inst::MinF32 { d, a, b } => each!(d, l => bits(f(w.src(a, l)?).min(f(w.src(b, l)?)))),
            Inst::NegF32 { d, a } => each!(d, l => bits(-f(w.get(a, l)?))),
            Inst::AbsF32 { d, a } => each!(d, l => bits(f(w.get(a, l)?).abs())),
            Inst::SqrtF32 { d, a } => each!(d, l => bits(f(w.get(a, l)?).sqrt())),
            Inst::Ex2 { d, a } => each!(d, l => bits(flush(flush(f(w.get(a, l)?)).exp2()))),
            Inst::Rcp { d, a } => each!(d, l => bits(flush(1.0 / flush(f(w.get(a, l)?))))),
            Inst::Rsqrt { d, a } => each!(d, l => {
                bits(flush((1.0 / (flush(f(w.get(a, l)?)) as f64).sqrt()) as f32))
            }),
            Inst::Tanh { d, a } => each!(d, l => bits(f(w.get(a, l)?).tanh())),

            Inst::CvtU64U32 { d, a } => each!(d, l => w.get(a, l)?),
            Inst::CvtS64S32 { d, a } => each!(d, l => w.get(a, l)? as u32 as i32 as i64 as u64),
            Inst::CvtU32U64 { d, a } => each!(d, l => w.get(a, l)?),
            Inst::CvtU32U16 { d, a } => each!(d, l => w.get(a, l)?),
            Inst::CvtU16U32 { d, a } => each!(d, l => w.get(a, l)?),
            Inst::CvtF32Int { ty, d, a } => each!(d, l => {
                let a = w.get(a, l)? as u32;
                match ty {
                    Int::U32 => bits(a as f32),
                    Int::S32 => bits(a as i32 as f32),
                }
            }),
            Inst::CvtIntF32 { ty, d, a } => each!(d, l => {
                let a = f(w.get(a, l)?);
                match ty {
                    Int::U32 => a as u32 as u64,
                    Int::S32 => a as i32 as u32 as u64,
                }
            }),
            Inst::CvtF32F16 { d, a } => {
                each!(d, l => bits(half::f16::from_bits(w.get(a, l)? as u16).to_f32()));
            }
            Inst::CvtHalfF32 { ty, d, a } => each!(d, l => encode(ty, f(w.get(a, l)?))),
            Inst::CvtHalf2F32 { ty, d, a, b } => {
                each!(d, l => encode(ty, f(w.get(a, l)?)) << 16 | encode(ty, f(w.get(b, l)?)));
            }

            Inst::Bra { to } | Inst::BraUni { to } => {
                let uniform = matches!(step.inst, Inst::BraUni { .. });
                if uniform && mask != 0 && mask != here {
                    return Err(Fault::Divergent { mask }.into());
                }
                let target = self.program.target(to.0);
                for l in lanes(mask) {
                    w.pcs[l] = target;
                }
            }
            Inst::Ret {} => {
                for l in lanes(mask) {
                    w.pcs[l] = None;
                }
            }
        }
        Ok(())
    }

    fn special(&self, which: Special, warp: u32, lane: usize) -> u32 {
        let lane = lane as u32;
        match which {
            Special::TidX => warp * 32 + lane,
            Special::NtidX => self.launch.block,
            Special::CtaidX => self.at[0],
            Special::CtaidY => self.at[1],
            Special::CtaidZ => self.at[2],
            Special::NctaidX => self.launch.grid[0],
            Special::NctaidY => self.launch.grid[1],
            Special::NctaidZ => self.launch.grid[2],
            Special::LaneId => lane,
        }
    }

    fn param(&self, name: quickpick_ptx::Name) -> Result<u64, Fault> {
        let value = self.params.get(&name).copied();
        value.ok_or_else(|| Fault::Launch(format!("no parameter {name}")))
    }
}

fn select<C: Class>(
    w: &Warp<'_>,
    a: Src<C>,
    b: Src<C>,
    p: Reg<quickpick_ptx::Pred>,
    lane: usize,
) -> Result<u64, Fault> {
    if w.get(p, lane)? == 1 { w.src(a, lane) } else { w.src(b, lane) }
}

fn wide(ty: Int, a: u64, b: u64) -> u64 {
    match ty {
        Int::U32 => a * b,
        Int::S32 => (a as u32 as i32 as i64 * b as u32 as i32 as i64) as u64,
    }
}

/// ISA 9.7.9.7: nibble i of `control` chooses byte i of the result from the pool of eight; its
/// fourth bit spreads the sign of that byte.
fn prmt(pool: u64, control: u64) -> u64 {
    (0..4).fold(0, |out, i| {
        let nibble = control >> (4 * i) & 15;
        let byte = pool >> (8 * (nibble & 7)) & 255;
        let byte = if nibble & 8 == 0 { byte } else { (byte >> 7) * 255 };
        out | byte << (8 * i)
    })
}

/// All lanes that the mask names must be here, and the mask must name all that are.
fn meet(w: &Warp<'_>, members: Src<B32>, mask: u32) -> Result<(), Fault> {
    for lane in lanes(mask) {
        if w.src(members, lane)? as u32 != mask {
            return Err(Fault::Divergent { mask });
        }
    }
    Ok(())
}

/// ISA 9.7.9.6, its pseudocode.
fn shuffle<C: Class>(
    w: &mut Warp<'_>,
    mode: Shuffle,
    d: Reg<C>,
    a: Reg<C>,
    [b, c, members]: [Src<B32>; 3],
    mask: u32,
) -> Result<(), Fault> {
    meet(w, members, mask)?;
    let mut out = [0; 32];
    for lane in lanes(mask) {
        let b = w.src(b, lane)? as u32 & 31;
        let c = w.src(c, lane)? as u32;
        let (clamp, segment) = (c & 31, c >> 8 & 31);
        let me = lane as u32;
        let (least, most) = (me & segment, (me & segment) | (clamp & !segment));
        let (from, within) = match mode {
            Shuffle::Up => (me.wrapping_sub(b), me as i32 - b as i32 >= most as i32),
            Shuffle::Down => (me + b, me + b <= most),
            Shuffle::Bfly => (me ^ b, me ^ b <= most),
            Shuffle::Idx => (least | (b & !segment), least | (b & !segment) <= most),
        };
        let from = if within { from } else { me };
        if mask >> from & 1 == 0 {
            return Err(Fault::Divergent { mask });
        }
        out[lane] = w.get(a, from as usize)?;
    }
    for lane in lanes(mask) {
        w.set(d, lane, out[lane])?;
    }
    Ok(())
}
