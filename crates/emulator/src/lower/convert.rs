//! `cvt` (ISA 9.7.9.21).

use super::format::{Toward, decode, flush, half, is_number, is_pair};
use super::format::{odd_integer, relued, rounded, saturated, turned};
use super::integer::{cut, extend, number};
use super::{F1, F2};
use crate::mma::{Element, to_f16};
use quickpick_ptx::{CvtRound, Type};

/// How a conversion rounds.
pub(super) struct Rounding {
    pub round: CvtRound,
    pub ftz: bool,
    pub relu: bool,
    pub saturate: bool,
}

/// `cvt` of one value (9.7.9.21). `.ftz` is for the sides that are f32.
pub(super) fn cvt(to: Type, from: Type, how: Rounding) -> Option<F1> {
    let Rounding { round, ftz, relu, saturate } = how;
    let (ftz_from, ftz_to) = (ftz && from == Type::F32, ftz && to == Type::F32);
    if to == Type::Tf32 {
        return tf32(round, relu);
    }
    match (is_number(from), is_number(to)) {
        (false, false) => Some(Box::new(move |a| {
            let value = number(from, a);
            if saturate { clamp(to, value) } else { register(to, value as u64) }
        })),
        (false, true) => {
            let toward = direction(round)?;
            Some(Box::new(move |a| {
                let value = number(from, a);
                let value = if saturate { value.clamp(0, 1) } else { value };
                from_integer(to, toward, value)
            }))
        }
        (true, false) => {
            let f = whole(round)?;
            Some(Box::new(move |a| {
                let value = decode(from, ftz_from, a);
                if value.is_nan() { not_a_number(to, from) } else { clamp(to, f(value) as i128) }
            }))
        }
        (true, true) => {
            let (f, toward): (fn(f64) -> f64, _) = match (whole(round), round) {
                (Some(f), _) => (f, Toward::Nearest),
                (None, CvtRound::Plain) => (|x| x, Toward::Nearest),
                (None, _) => (|x| x, direction(round)?),
            };
            Some(Box::new(move |a| {
                let value = saturated(saturate, f(decode(from, ftz_from, a)));
                flush(to, ftz_to, rounded(to, toward, relued(relu, value)))
            }))
        }
    }
}

/// `cvt` of two f32 to one register; `a` goes to the high half.
pub(super) fn cvt2(to: Type, round: CvtRound, relu: bool) -> Option<F2> {
    let toward = direction(round)?;
    let one = move |x| rounded(half(to), toward, relued(relu, decode(Type::F32, false, x)));
    is_pair(to).then(|| -> F2 { Box::new(move |a, b| one(a) << 16 | one(b)) })
}

/// `cvt` of two 8-bit floats to f16, which has all of their numbers.
pub(super) fn float8(from: Type) -> Option<F1> {
    let element = match from {
        Type::E4m3x2 => Element::E4m3,
        Type::E5m2x2 => Element::E5m2,
        _ => return None,
    };
    let one = move |a: u64| u64::from(to_f16(element.value(a as u32).into()));
    Some(Box::new(move |a| one(a >> 8) << 16 | one(a)))
}

/// Floating-point rounding.
fn direction(round: CvtRound) -> Option<Toward> {
    match round {
        CvtRound::Rn => Some(Toward::Nearest),
        CvtRound::Rz => Some(Toward::Zero),
        CvtRound::Rm => Some(Toward::Below),
        CvtRound::Rp => Some(Toward::Above),
        _ => None,
    }
}

/// Integer rounding.
fn whole(round: CvtRound) -> Option<fn(f64) -> f64> {
    match round {
        CvtRound::Rni => Some(f64::round_ties_even),
        CvtRound::Rzi => Some(f64::trunc),
        CvtRound::Rmi => Some(f64::floor),
        CvtRound::Rpi => Some(f64::ceil),
        _ => None,
    }
}

/// f64 is compared with the integer itself, which it may not hold; to the narrower types leads an
/// f64 rounded to odd.
fn from_integer(to: Type, toward: Toward, value: i128) -> u64 {
    if to == Type::F64 {
        let nearest = value as f64;
        return turned(to, toward, nearest.to_bits(), (nearest as i128).cmp(&value));
    }
    rounded(to, toward, odd_integer(value))
}

/// 11 bits of precision in the high bits of an f32; `.rna` takes ties away from zero.
fn tf32(round: CvtRound, relu: bool) -> Option<F1> {
    const LOW: u32 = (1 << 13) - 1;
    let add: fn(u32) -> u32 = match round {
        CvtRound::Rna => |_| 1 << 12,
        CvtRound::Rn => |a| (LOW >> 1) + (a >> 13 & 1),
        CvtRound::Rz => |_| 0,
        _ => return None,
    };
    Some(Box::new(move |a| {
        let a = a as u32;
        let value = f32::from_bits(a);
        u64::from(match value.is_finite() {
            _ if value.is_nan() => 0x7FFF_FFFF,
            _ if relu && value < 0.0 => 0,
            true => a.wrapping_add(add(a)) & !LOW,
            false => a,
        })
    }))
}

/// An integer's bits in a register that may be wider: signed ones spread their sign.
fn register(to: Type, value: u64) -> u64 {
    if to.is_signed() { extend(to.bits(), value) as u64 } else { cut(to.bits(), value) }
}

/// The nearest integer of the type: conversions from floats clamp, `.sat` or not.
fn clamp(to: Type, value: i128) -> u64 {
    let bits = to.bits();
    let (least, most) = if to.is_signed() {
        (-1i128 << (bits - 1), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    };
    register(to, value.clamp(least, most) as u64)
}

/// NaN as an integer: 0, but with 64 bits on either side the top bit alone.
fn not_a_number(to: Type, from: Type) -> u64 {
    if from == Type::F64 || to.bits() == 64 { register(to, 1 << (to.bits() - 1)) } else { 0 }
}
