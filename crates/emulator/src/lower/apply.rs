//! How rows of arithmetic become steps: a function, its destination and its sources.

use super::float;
use super::integer;
use super::names::{Names, special};
use super::{F1, F2, F3, Lowered};
use crate::code::Op;
use quickpick_ptx::{Arg, Cmp, Ftz, RootMode, Round, Sat, Type};

/// A combination that the text allows and we have no meaning for.
pub(super) fn none<T>(what: Option<T>) -> Result<T, String> {
    what.ok_or_else(|| "this combination is not modelled".to_string())
}

impl Names {
    pub(super) fn unary(&self, f: Option<F1>, d: &Arg, a: &Arg, bits: u32) -> Lowered {
        Ok(Op::Unary { f: none(f)?, d: self.dst(d)?, a: self.src(a, bits)? })
    }

    pub(super) fn binary(&self, f: Option<F2>, d: &Arg, [a, b]: [(&Arg, u32); 2]) -> Lowered {
        let (a, b) = (self.src(a.0, a.1)?, self.src(b.0, b.1)?);
        Ok(Op::Binary { f: none(f)?, d: self.dst(d)?, a, b })
    }

    pub(super) fn ternary(&self, f: Option<F3>, d: &Arg, [a, b, c]: [(&Arg, u32); 3]) -> Lowered {
        let a = [self.src(a.0, a.1)?, self.src(b.0, b.1)?, self.src(c.0, c.1)?];
        Ok(Op::Ternary { f: none(f)?, d: self.dst(d)?, a })
    }

    /// Arithmetic of floats with f64 in between, or else of integers.
    pub(super) fn arithmetic(
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

    /// `sqrt` and `rcp` (9.7.3.13, 9.7.3.15).
    pub(super) fn root(
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

    /// A function of one number (9.7.3.16 to 9.7.3.22, 9.7.4.9, 9.7.4.10).
    pub(super) fn real(
        &self,
        (ftz, ty): (Ftz, Type),
        f: fn(f64) -> f64,
        d: &Arg,
        a: &Arg,
    ) -> Lowered {
        self.unary(float::unary(ty, ftz == Ftz::Yes, false, f), d, a, ty.bits())
    }

    /// `mov` (9.7.9.3), also into and out of vectors (9.7.9.4): the first part is lowest.
    pub(super) fn mov(&self, ty: Type, d: &Arg, a: &Arg) -> Lowered {
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

    /// `and`, `or`, `xor` (9.7.8.1 to 9.7.8.3).
    pub(super) fn bits(&self, ty: Type, f: F2, d: &Arg, a: &Arg, b: &Arg) -> Lowered {
        self.binary(Some(f), d, [(a, ty.bits()), (b, ty.bits())])
    }
}

/// Arithmetic is rounded to nearest only (9.7.3).
pub(super) fn nearest(round: Round) -> Result<(), String> {
    match round {
        Round::Plain | Round::Rn => Ok(()),
        other => Err(format!("rounding `{other}` is not modelled")),
    }
}

/// `setp` (9.7.6.2, 9.7.7.2).
pub(super) fn compare(cmp: Cmp, ftz: Ftz, ty: Type) -> Option<F2> {
    if ty.is_float() { float::setp(ty, cmp, ftz == Ftz::Yes) } else { integer::setp(ty, cmp) }
}
