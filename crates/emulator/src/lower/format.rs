//! Numbers and their bits in the floating-point types (ISA 5.2.2, 5.2.3), and how they are rounded.
//!
//! f64 holds every number of the narrower types; what comes out of f64 arithmetic is rounded once
//! more, by [`encode`] to nearest, or by [`rounded`] in another direction. NaN become the canonical one
//! of the type: which NaN results of f32 are, the manual leaves open (9.7.3), and that of 16-bit types
//! is canonical (9.7.4.7).

use super::integer::cut;
use crate::mma::{Element, to_bf16, to_f16, to_f32};
use quickpick_ptx::Type;
use std::cmp::Ordering;

/// Two in a register, or one.
pub(super) fn is_pair(ty: Type) -> bool {
    matches!(ty, Type::F16x2 | Type::Bf16x2)
}

/// One number in a register.
pub(super) fn is_number(ty: Type) -> bool {
    matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64)
}

/// The type of one number of a pair.
pub(super) fn half(ty: Type) -> Type {
    match ty {
        Type::F16x2 => Type::F16,
        Type::Bf16x2 => Type::Bf16,
        other => other,
    }
}

/// The sign of a number, and its exponent.
fn masks(ty: Type) -> (u64, u64) {
    match half(ty) {
        Type::F16 => (1 << 15, 0x7C00),
        Type::Bf16 => (1 << 15, 0x7F80),
        Type::F64 => (1 << 63, 0x7FF << 52),
        _ => (1 << 31, 0xFF << 23),
    }
}

/// `.ftz`: a subnormal number as the zero of its sign.
pub(super) fn flush(ty: Type, ftz: bool, bits: u64) -> u64 {
    let (sign, exponent) = masks(ty);
    if ftz && bits & exponent == 0 { bits & sign } else { bits }
}

/// The number that the low bits are; subnormal ones are zero with `ftz`.
pub(super) fn decode(ty: Type, ftz: bool, bits: u64) -> f64 {
    let bits = flush(ty, ftz, bits);
    match half(ty) {
        Type::F16 => f64::from(Element::F16.value(bits as u32)),
        Type::Bf16 => f64::from(Element::Bf16.value(bits as u32)),
        Type::F64 => f64::from_bits(bits),
        _ => f64::from(f32::from_bits(bits as u32)),
    }
}

/// The nearest number of the type, ties to even; if that is subnormal, zero with `ftz`.
pub(super) fn encode(ty: Type, ftz: bool, value: f64) -> u64 {
    let bits = match half(ty) {
        Type::F16 => u64::from(to_f16(value)),
        Type::Bf16 => u64::from(to_bf16(value)),
        Type::F64 => value.to_bits(),
        _ => u64::from(to_f32(value)),
    };
    flush(ty, ftz, bits)
}

/// Where a number goes that the type has not (ISA 9.7.9.21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toward {
    /// `.rn`, ties to even.
    Nearest,
    /// `.rz`
    Zero,
    /// `.rm`
    Below,
    /// `.rp`
    Above,
}

/// A number rounded in a direction.
pub(super) fn rounded(ty: Type, toward: Toward, value: f64) -> u64 {
    let nearest = encode(ty, false, value);
    match decode(ty, false, nearest).partial_cmp(&value) {
        Some(order) => turned(ty, toward, nearest, order),
        None => nearest,
    }
}

/// The nearest number of the type, or its neighbour in the direction; `order` compares the nearest
/// with what is rounded.
pub(super) fn turned(ty: Type, toward: Toward, nearest: u64, order: Ordering) -> u64 {
    let negative = nearest & masks(ty).0 != 0;
    let outward = |order: Ordering| (order == Ordering::Less) != negative;
    match (toward, order) {
        (_, Ordering::Equal) | (Toward::Nearest, _) => nearest,
        (Toward::Below, Ordering::Less) | (Toward::Above, Ordering::Greater) => nearest,
        // nearer to zero than what is rounded
        (Toward::Zero, order) if outward(order) => nearest,
        (Toward::Zero, _) => nearest - 1,
        // the bits of a magnitude grow with it
        (_, order) if outward(order) => nearest + 1,
        _ => nearest - 1,
    }
}

/// a + b rounded to odd: where it is not exact, the neighbour whose last bit is one. Rounding that
/// once more to a type with two bits less is the same as rounding a + b (Boldo and Melquiond 2008).
pub(super) fn odd_sum(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if !sum.is_finite() {
        return sum;
    }
    // what the sum lacks, exactly (Knuth's TwoSum)
    let part = sum - a;
    odd(sum, (a - (sum - part)) + (b - part))
}

/// An integer rounded to odd.
pub(super) fn odd_integer(value: i128) -> f64 {
    let near = value as f64;
    odd(near, (value - near as i128) as f64)
}

/// The neighbour with an odd last bit on the side of what is missing.
fn odd(near: f64, missing: f64) -> f64 {
    let bits = near.to_bits();
    if missing == 0.0 || bits & 1 == 1 {
        return near;
    }
    f64::from_bits(if (missing > 0.0) == (near > 0.0) { bits + 1 } else { bits - 1 })
}

/// `.sat`: into 0..=1, NaN to +0 (9.7.3).
pub(super) fn saturated(saturate: bool, value: f64) -> f64 {
    match saturate {
        // not `clamp`, which leaves −0
        true if value > 0.0 => value.min(1.0),
        true => 0.0,
        false => value,
    }
}

/// `.relu`: nothing negative (9.7.4.4, 9.7.9.21).
pub(super) fn relued(relu: bool, value: f64) -> f64 {
    if relu && value < 0.0 { 0.0 } else { value }
}

/// 1.0 of a float type; all ones of another (9.7.6.1, 9.7.7.1).
pub(super) fn truth(ty: Type, bits: u32) -> u64 {
    if ty.is_float() { encode(ty, false, 1.0) } else { cut(bits, u64::MAX) }
}
