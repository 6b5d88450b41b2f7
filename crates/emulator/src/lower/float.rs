//! Floating point (ISA 9.7.3 to 9.7.5) and conversions (9.7.9.22).
//!
//! Sums, products, quotients and roots of types up to f32 are made in f64 and rounded once more: f64
//! has more than twice their bits and two, so the result is the correctly rounded one (Figueroa
//! 1995). Approximate functions are computed well; the manual only bounds their error.

use super::integer::{cut, extend, holds, number};
use super::{F1, F2, F3};
use half::{bf16, f16};
use quickpick_ptx::{Cmp, CvtRound, Type};

/// The number that the low bits are; subnormal ones are zero with `ftz`.
fn decode(ty: Type, ftz: bool, bits: u64) -> f64 {
    let (value, least) = match ty {
        Type::F16 | Type::F16x2 => {
            (f64::from(f16::from_bits(bits as u16).to_f32()), f64::from(f16::MIN_POSITIVE.to_f32()))
        }
        Type::Bf16 | Type::Bf16x2 => {
            (f64::from(bf16::from_bits(bits as u16).to_f32()), f64::from(f32::MIN_POSITIVE))
        }
        Type::F64 => return f64::from_bits(bits),
        _ => (f64::from(f32::from_bits(bits as u32)), f64::from(f32::MIN_POSITIVE)),
    };
    flush(ftz, least, value)
}

fn flush(ftz: bool, least: f64, value: f64) -> f64 {
    if ftz && value.abs() < least { 0f64.copysign(value) } else { value }
}

/// The nearest number of the type, ties to even.
fn encode(ty: Type, ftz: bool, value: f64) -> u64 {
    match ty {
        Type::F16 | Type::F16x2 => {
            let value = flush(ftz, f64::from(f16::MIN_POSITIVE.to_f32()), value);
            u64::from(f16::from_f64(value).to_bits())
        }
        Type::Bf16 | Type::Bf16x2 => u64::from(bf16::from_f64(value).to_bits()),
        Type::F64 => value.to_bits(),
        _ => {
            let value = f64::from(value as f32);
            u64::from((flush(ftz, f64::from(f32::MIN_POSITIVE), value) as f32).to_bits())
        }
    }
}

/// `.sat`: into 0..=1, NaN to 0.
fn saturated(saturate: bool, value: f64) -> f64 {
    match saturate {
        true if value.is_nan() => 0.0,
        true => value.clamp(0.0, 1.0),
        false => value,
    }
}

/// Two in a register, or one.
fn is_pair(ty: Type) -> bool {
    matches!(ty, Type::F16x2 | Type::Bf16x2)
}

fn known(ty: Type) -> bool {
    is_pair(ty) || matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64)
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

/// a·b + c, rounded once (of 16-bit types twice, the first time to 53 bits).
pub(super) fn fma(ty: Type, ftz: bool, saturate: bool, relu: bool) -> Option<F3> {
    let one = move |a: u64, b: u64, c: u64| {
        let [a, b, c] = [a, b, c].map(|x| decode(ty, ftz, x));
        let sum = match ty {
            Type::F32 => f64::from((a as f32).mul_add(b as f32, c as f32)),
            _ => a.mul_add(b, c),
        };
        let sum = saturated(saturate, sum);
        encode(ty, ftz, if relu && sum < 0.0 { 0.0 } else { sum })
    };
    known(ty).then(|| -> F3 {
        if is_pair(ty) {
            return Box::new(move |a, b, c| one(a, b, c) | one(a >> 16, b >> 16, c >> 16) << 16);
        }
        Box::new(one)
    })
}

/// 9.7.3.11: the greater, +0 above −0; the other where one is NaN.
pub(super) fn greater(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == b => {
            if a.is_sign_positive() {
                a
            } else {
                b
            }
        }
        _ => a.max(b),
    }
}

pub(super) fn lesser(a: f64, b: f64) -> f64 {
    -greater(-a, -b)
}

/// With `.NaN`: NaN where one is.
pub(super) fn greater_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { greater(a, b) }
}

pub(super) fn lesser_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { lesser(a, b) }
}

/// −a and |a| touch the sign alone, of NaN too.
pub(super) fn sign(ty: Type, ftz: bool, f: fn(u64, u64) -> u64) -> Option<F1> {
    let mask = match ty {
        Type::F16 | Type::Bf16 => 1 << 15,
        Type::F16x2 | Type::Bf16x2 => 1 << 31 | 1 << 15,
        Type::F32 => 1 << 31,
        Type::F64 => 1 << 63,
        _ => return None,
    };
    let flushes = ftz && ty == Type::F32;
    Some(Box::new(move |a| {
        let a = if flushes { encode(ty, true, decode(ty, true, a)) } else { a };
        f(a, mask)
    }))
}

/// The magnitude of b with the sign of a (9.7.3.2).
pub(super) fn copysign(ty: Type) -> Option<F2> {
    let bits = ty.bits();
    Some(Box::new(move |a, b| {
        let sign = 1 << (bits - 1);
        a & sign | b & !sign
    }))
}

pub(super) fn setp(ty: Type, cmp: Cmp, ftz: bool) -> Option<F2> {
    if is_pair(ty) || !known(ty) {
        return None;
    }
    Some(Box::new(move |a, b| {
        let (a, b) = (decode(ty, ftz, a), decode(ty, ftz, b));
        holds(cmp, a.partial_cmp(&b)) as u64
    }))
}

/// 9.7.6.1, 9.7.7.1: all ones, or 1.0 of a float type, where the comparison holds; of pairs for each.
pub(super) fn set(to: Type, from: Type, cmp: Cmp, ftz: bool) -> Option<F2> {
    let half = match from {
        Type::F16x2 => Type::F16,
        Type::Bf16x2 => Type::Bf16,
        other => other,
    };
    let compare = match from.is_float() {
        true => setp(half, cmp, ftz)?,
        false => super::integer::setp(from, cmp)?,
    };
    let bits = if is_pair(from) { 16 } else { to.bits() };
    let yes = if to.is_float() { encode(to, false, 1.0) } else { cut(bits, u64::MAX) };
    let one = move |a, b| if compare(a, b) == 1 { yes } else { 0 };
    if is_pair(from) {
        return Some(Box::new(move |a, b| {
            one(a & 0xFFFF, b & 0xFFFF) | one(a >> 16, b >> 16) << 16
        }));
    }
    Some(Box::new(one))
}

fn is_number(ty: Type) -> bool {
    matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64)
}

/// How a conversion rounds.
pub(super) struct Rounding {
    pub round: CvtRound,
    pub ftz: bool,
    pub relu: bool,
    pub saturate: bool,
}

pub(super) fn cvt(to: Type, from: Type, how: Rounding) -> Option<F1> {
    let Rounding { round, ftz, relu, saturate } = how;
    match (is_number(from), is_number(to)) {
        (false, false) if to == Type::Tf32 && from == Type::F32 => tf32(round),
        (true, _) if to == Type::Tf32 => tf32(round),
        (false, false) => Some(Box::new(move |a| {
            let value = number(from, a);
            if saturate { clamp(to, value) } else { integer(to, value as u64) }
        })),
        (false, true) => int_to_float(to, from, round, saturate),
        (true, false) => {
            let f = whole(round)?;
            Some(Box::new(move |a| {
                let value = decode(from, ftz, a);
                // NaN is 0, and what does not fit is the nearest that does
                clamp(to, if value.is_nan() { 0 } else { f(value) as i128 })
            }))
        }
        (true, true) => {
            let narrows = to.bits() < from.bits() || to != from && to.bits() == 16;
            let f: fn(f64) -> f64 = match round {
                CvtRound::Rn | CvtRound::Plain => |x| x,
                CvtRound::Rz if to.bits() == 16 => {
                    return Some(Box::new(move |a| towards_zero(to, decode(from, ftz, a))));
                }
                _ if narrows => return None,
                _ => whole(round)?,
            };
            Some(Box::new(move |a| {
                let value = saturated(saturate, f(decode(from, ftz, a)));
                encode(to, ftz, if relu && value < 0.0 { 0.0 } else { value })
            }))
        }
    }
}

/// Two f32 to one register; `a` goes to the high half.
pub(super) fn cvt2(to: Type, round: CvtRound, relu: bool) -> Option<F2> {
    let one = move |x: u64| {
        let value = f64::from(f32::from_bits(x as u32));
        let value = if relu && value < 0.0 { 0.0 } else { value };
        match round {
            CvtRound::Rz => towards_zero(to, value),
            _ => encode(to, false, value),
        }
    };
    let fits = is_pair(to) && matches!(round, CvtRound::Rn | CvtRound::Rz);
    fits.then(|| -> F2 { Box::new(move |a, b| one(a) << 16 | one(b)) })
}

fn whole(round: CvtRound) -> Option<fn(f64) -> f64> {
    match round {
        CvtRound::Rni => Some(f64::round_ties_even),
        CvtRound::Rzi => Some(f64::trunc),
        CvtRound::Rmi => Some(f64::floor),
        CvtRound::Rpi => Some(f64::ceil),
        _ => None,
    }
}

/// The number of a 16-bit type next to it on the side of zero.
fn towards_zero(to: Type, value: f64) -> u64 {
    let nearest = encode(to, false, value);
    let back = decode(to, false, nearest);
    if back.abs() > value.abs() { nearest - 1 } else { nearest }
}

fn int_to_float(to: Type, from: Type, round: CvtRound, saturate: bool) -> Option<F1> {
    if round != CvtRound::Rn && !(round == CvtRound::Plain && to == Type::F64) {
        return None;
    }
    Some(Box::new(move |a| match to {
        Type::F32 => {
            u64::from((saturated(saturate, f64::from(number(from, a) as f32)) as f32).to_bits())
        }
        _ => encode(to, false, saturated(saturate, number(from, a) as f64)),
    }))
}

/// 9.7.9.22: 10 bits of fraction; `.rna` rounds ties away from zero.
fn tf32(round: CvtRound) -> Option<F1> {
    match round {
        CvtRound::Rna => Some(Box::new(|a| {
            let a = a as u32;
            let finite = a & 0x7F80_0000 != 0x7F80_0000;
            u64::from(if finite { a.wrapping_add(0x1000) & 0xFFFF_E000 } else { a })
        })),
        _ => None,
    }
}

/// An integer's bits in a register that may be wider: signed ones spread their sign.
fn integer(to: Type, value: u64) -> u64 {
    if to.is_signed() { extend(to.bits(), value) as u64 } else { cut(to.bits(), value) }
}

/// The nearest integer of the type.
fn clamp(to: Type, value: i128) -> u64 {
    let bits = to.bits();
    let (least, most) = if to.is_signed() {
        (-1i128 << (bits - 1), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    };
    integer(to, value.clamp(least, most) as u64)
}
