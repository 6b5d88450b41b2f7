//! The 8-bit float of Hopper's tensor cores.

use crate::{DType, Element};

/// OCP FP8 E4M3, the form without infinities (OCP 8-bit floating point specification, 2023, §5; PTX
/// `.e4m3`): a sign, 4 bits of exponent with bias 7, 3 of mantissa. ±448 is the largest, 2⁻⁶ the least
/// normal, 2⁻⁹ the least subnormal; only `0x7F` and `0xFF` are NaN.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct E4m3(u8);

/// Exponents of f32 and of E4M3 differ by as much: 127 − 7.
const REBIAS: u32 = 120;

impl E4m3 {
    /// The largest value, 448.
    pub const MAX: Self = Self(0x7E);
    /// Not a number.
    pub const NAN: Self = Self(0x7F);

    /// The value with these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The nearest value, ties to even; beyond ±448 that, NaN becomes `0x7F`.
    pub const fn from_f32(value: f32) -> Self {
        /// Its ulp is 2⁻⁹, so that a sum with it is rounded to a multiple of that.
        const SUBNORMAL: f32 = (1 << 14) as f32;
        /// 2⁻⁶.
        const LEAST_NORMAL: f32 = 1.0 / 64.0;
        let magnitude = value.abs();
        let bits = if value.is_nan() {
            return Self::NAN;
        } else if magnitude >= Self::MAX.to_f32() {
            Self::MAX.0 as u32
        } else if magnitude < LEAST_NORMAL {
            (magnitude + SUBNORMAL).to_bits() - SUBNORMAL.to_bits()
        } else {
            // the mantissa loses 20 of its 23 bits; a carry goes into the exponent, as it should
            let bits = magnitude.to_bits();
            ((bits + 0x7_FFFF + (bits >> 20 & 1)) >> 20) - (REBIAS << 3)
        };
        Self((value.to_bits() >> 24 & 0x80) as u8 | bits as u8)
    }

    /// The same value, exactly.
    pub const fn to_f32(self) -> f32 {
        /// 2¹²⁰: an exact product, which puts subnormals right as well.
        const SCALE: f32 = f32::from_bits((127 + REBIAS) << 23);
        let (sign, rest) = ((self.0 as u32 & 0x80) << 24, self.0 as u32 & 0x7F);
        let magnitude = match rest {
            0x7F => f32::NAN,
            _ => f32::from_bits(rest << 20) * SCALE,
        };
        f32::from_bits(sign | magnitude.to_bits())
    }
}

/// As floats compare: −0 equals 0, NaN nothing.
impl PartialEq for E4m3 {
    fn eq(&self, other: &Self) -> bool {
        self.to_f32() == other.to_f32()
    }
}

impl Element for E4m3 {
    const DTYPE: DType = DType::E4M3;

    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
    fn to_f32(self) -> f32 {
        Self::to_f32(self)
    }
}
