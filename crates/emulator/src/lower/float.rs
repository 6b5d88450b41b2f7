//! Floating point (ISA 9.7.3, of 16 bits 9.7.4) and its comparisons (9.7.6, 9.7.7).
//!
//! Sums, products, quotients and roots of types up to f32 are made in f64 and rounded once more: f64
//! has more than twice their bits and two, so the result is the correctly rounded one (Figueroa
//! 1995). Approximate functions are computed well; the manual only bounds their error.

use super::format::{decode, encode, flush, half, is_number, is_pair};
use super::format::{odd_sum, relued, saturated, truth};
use super::integer::{self, holds};
use super::{F1, F2, F3};
use quickpick_ptx::{Cmp, DivMode, Type};

fn known(ty: Type) -> bool {
    is_pair(ty) || is_number(ty)
}

/// A function of numbers as one of registers, for one number or each of two.
pub(super) fn unary(ty: Type, ftz: bool, saturate: bool, f: fn(f64) -> f64) -> Option<F1> {
    let one = move |a| encode(ty, ftz, saturated(saturate, f(decode(ty, ftz, a))));
    known(ty).then(|| -> F1 {
        if is_pair(ty) {
            return Box::new(move |a| one(a) | one(a >> 16) << 16);
        }
        Box::new(one)
    })
}

/// The same of two: `add`, `sub`, `mul`, `div`, `min`, `max` (9.7.3.3 to 9.7.3.12, 9.7.4.1 to
/// 9.7.4.8).
pub(super) fn binary(ty: Type, ftz: bool, saturate: bool, f: fn(f64, f64) -> f64) -> Option<F2> {
    let one =
        move |a, b| encode(ty, ftz, saturated(saturate, f(decode(ty, ftz, a), decode(ty, ftz, b))));
    known(ty).then(|| -> F2 {
        if is_pair(ty) {
            return Box::new(move |a, b| one(a, b) | one(a >> 16, b >> 16) << 16);
        }
        Box::new(one)
    })
}

/// `fma`: a·b + c, rounded once (9.7.3.6, 9.7.4.4). f64 holds a·b of the narrower types.
pub(super) fn fma(ty: Type, ftz: bool, saturate: bool, relu: bool) -> Option<F3> {
    let one = move |a: u64, b: u64, c: u64| {
        let [a, b, c] = [a, b, c].map(|x| decode(ty, ftz, x));
        let sum = if ty == Type::F64 { a.mul_add(b, c) } else { odd_sum(a * b, c) };
        encode(ty, ftz, relued(relu, saturated(saturate, sum)))
    };
    known(ty).then(|| -> F3 {
        if is_pair(ty) {
            return Box::new(move |a, b, c| one(a, b, c) | one(a >> 16, b >> 16, c >> 16) << 16);
        }
        Box::new(one)
    })
}

/// `div` (9.7.3.8).
pub(super) fn div(ty: Type, mode: DivMode, ftz: bool) -> Option<F2> {
    match mode {
        DivMode::Approx => binary(ty, ftz, false, fast_quotient),
        DivMode::Plain | DivMode::Full | DivMode::Rn => binary(ty, ftz, false, |a, b| a / b),
        DivMode::Rz | DivMode::Rm | DivMode::Rp => None,
    }
}

/// `div.approx` is a · (1/b), and 1/b is zero for finite b beyond 2^126.
fn fast_quotient(a: f64, b: f64) -> f64 {
    const FAR: f64 = 1.0 / f32::MIN_POSITIVE as f64;
    if b.is_finite() && b.abs() > FAR { a * 0f64.copysign(b) } else { a / b }
}

/// `max` (9.7.3.12, 9.7.4.8): the greater, +0 above −0; the other where one is NaN.
pub(super) fn greater(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == b && a.is_sign_positive() => a,
        _ if a == b => b,
        _ => a.max(b),
    }
}

/// `min` (9.7.3.11, 9.7.4.7): the same of the lesser.
pub(super) fn lesser(a: f64, b: f64) -> f64 {
    -greater(-a, -b)
}

/// `max.NaN` (9.7.3.12, 9.7.4.8): NaN where one is.
pub(super) fn greater_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { greater(a, b) }
}

/// `min.NaN` (9.7.3.11, 9.7.4.7).
pub(super) fn lesser_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { lesser(a, b) }
}

/// `neg` and `abs` (9.7.3.9, 9.7.3.10, 9.7.4.5, 9.7.4.6) touch the sign alone, of NaN too.
pub(super) fn sign(ty: Type, ftz: bool, f: fn(u64, u64) -> u64) -> Option<F1> {
    if !known(ty) {
        return None;
    }
    let one = half(ty);
    if is_pair(ty) {
        return Some(Box::new(move |a| {
            let flushed = flush(one, ftz, a & 0xFFFF) | flush(one, ftz, a >> 16) << 16;
            f(flushed, 1 << 31 | 1 << 15)
        }));
    }
    let mask = 1 << (ty.bits() - 1);
    Some(Box::new(move |a| f(flush(one, ftz, a), mask)))
}

/// `copysign`: the magnitude of b with the sign of a (9.7.3.2).
pub(super) fn copysign(ty: Type) -> Option<F2> {
    let sign = 1 << (ty.bits() - 1);
    Some(Box::new(move |a, b| a & sign | b & !sign))
}

/// `setp` (9.7.6.2, 9.7.7.2).
pub(super) fn setp(ty: Type, cmp: Cmp, ftz: bool) -> Option<F2> {
    if !is_number(ty) {
        return None;
    }
    Some(Box::new(move |a, b| {
        let (a, b) = (decode(ty, ftz, a), decode(ty, ftz, b));
        u64::from(holds(cmp, a.partial_cmp(&b)))
    }))
}

/// `set`: all ones, or 1.0 of a float type, where the comparison holds; of pairs for each (9.7.6.1,
/// 9.7.7.1).
pub(super) fn set(to: Type, from: Type, cmp: Cmp, ftz: bool) -> Option<F2> {
    let compare = match from.is_float() {
        true => setp(half(from), cmp, ftz)?,
        false => integer::setp(from, cmp)?,
    };
    let yes = truth(to, if is_pair(from) { 16 } else { to.bits() });
    let one = move |a, b| if compare(a, b) == 1 { yes } else { 0 };
    if is_pair(from) {
        return Some(Box::new(move |a, b| {
            one(a & 0xFFFF, b & 0xFFFF) | one(a >> 16, b >> 16) << 16
        }));
    }
    Some(Box::new(one))
}
