//! Types of matrix elements, and the numbers that their bits are.

use super::Lanes;

/// The type of A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// An f32 whose low 13 bits are ignored.
    Tf32,
    /// Two's complement.
    S8,
    /// Unsigned.
    U8,
    /// 4 bits of exponent, 3 of mantissa; 0x7F and 0xFF are NaN, there is no infinity.
    E4m3,
    /// 5 bits of exponent, 2 of mantissa; infinity and NaN as in binary16.
    E5m2,
}

/// The type of C and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acc {
    /// Two to a register.
    F16,
    /// IEEE binary32.
    F32,
    /// Two's complement.
    S32,
}

impl Element {
    /// As PTX writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Tf32 => "tf32",
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::E4m3 => "e4m3",
            Self::E5m2 => "e5m2",
        }
    }

    /// Bits of one element.
    pub const fn bits(self) -> u32 {
        match self {
            Self::F16 | Self::Bf16 => 16,
            Self::Tf32 => 32,
            Self::S8 | Self::U8 | Self::E4m3 | Self::E5m2 => 8,
        }
    }

    /// Elements of a 32-bit register, the first in its low bits: e.
    pub const fn per_register(self) -> usize {
        32 / self.bits() as usize
    }

    /// Whether it is an integer.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::S8 | Self::U8)
    }

    /// Whether it is a float of 8 bits.
    pub const fn is_fp8(self) -> bool {
        matches!(self, Self::E4m3 | Self::E5m2)
    }

    /// The number that the low bits of `raw` are; f32 holds those of every type exactly.
    #[inline(always)]
    pub fn value(self, raw: u32) -> f32 {
        match self {
            Self::F16 => f16(raw),
            Self::Bf16 => f32::from_bits(raw << 16),
            Self::Tf32 => f32::from_bits(raw & !0x1FFF),
            Self::S8 => raw as i8 as f32,
            Self::U8 => raw as u8 as f32,
            Self::E4m3 => {
                let magnitude = raw & 0x7F;
                let number = widen(magnitude << 20, 127 - 7);
                sign(raw >> 7, if magnitude == 0x7F { f32::NAN } else { number })
            }
            // binary16 without its low mantissa
            Self::E5m2 => f16(raw << 8),
        }
    }

    /// All elements of a register: `[i][lane]` is element i of a lane; E = e. The type is looked at
    /// once, and the loops over lanes have no branch.
    pub fn unpack<const E: usize>(self, register: &Lanes) -> [[f32; 32]; E] {
        debug_assert_eq!(E, self.per_register(), "{self:?}");
        let mut out = [[0.0; 32]; E];
        macro_rules! each {
            ($($element:ident)*) => {
                match self {
                    $(Self::$element => {
                        for (i, row) in out.iter_mut().enumerate() {
                            let shift = Self::$element.bits() * i as u32 % 32;
                            for (value, word) in row.iter_mut().zip(register) {
                                *value = Self::$element.value(word >> shift);
                            }
                        }
                    })*
                }
            };
        }
        each!(F16 Bf16 Tf32 S8 U8 E4m3 E5m2);
        out
    }
}

impl Acc {
    /// As PTX writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::S32 => "s32",
        }
    }
}

/// Exponent and mantissa of a short float, its mantissa moved to where f32 has it; `rebias` is the
/// difference of the biases. A subnormal m·2^(1−bias) is (1 + m)·2^(1−bias) − 2^(1−bias).
#[inline(always)]
fn widen(magnitude: u32, rebias: u32) -> f32 {
    let normal = f32::from_bits(magnitude + (rebias << 23));
    let one = (rebias + 1) << 23;
    let subnormal = f32::from_bits(magnitude + one) - f32::from_bits(one);
    if magnitude >> 23 == 0 { subnormal } else { normal }
}

/// `magnitude` with the lowest bit of `bit` as its sign.
#[inline(always)]
fn sign(bit: u32, magnitude: f32) -> f32 {
    f32::from_bits(magnitude.to_bits() | bit << 31)
}

#[inline(always)]
fn f16(raw: u32) -> f32 {
    let magnitude = (raw & 0x7FFF) << 13;
    // an exponent of all ones stays one
    let special = if raw & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    let number = f32::from_bits(widen(magnitude, 127 - 15).to_bits() | special);
    sign(raw >> 15, number)
}

/// A number rounded once, ties to even, to a float of so many bits of exponent and of fraction; NaN
/// become the one whose bits are all ones but the sign.
#[inline(always)]
fn nearest(x: f64, exponent_bits: u32, fraction_bits: u32) -> u32 {
    let all = (1 << (exponent_bits + fraction_bits)) - 1;
    if x.is_nan() {
        return all;
    }
    let sign = ((x.to_bits() >> 63) as u32) << (exponent_bits + fraction_bits);
    let bias = (1 << (exponent_bits - 1)) - 1;
    let power = |exponent: i32| f64::from_bits(((1023 + exponent) as u64) << 52);
    // half way from the largest number to the next power of two
    if x.abs() >= power(bias + 1) - power(bias - 1 - fraction_bits as i32) {
        return sign | (all >> fraction_bits << fraction_bits);
    }
    // numbers between two powers of two are multiples of a place; subnormal ones of the least place
    let least = 1 - bias;
    let exponent = ((x.to_bits() >> 52 & 0x7FF) as i32 - 1023).max(least);
    let place = power(exponent - fraction_bits as i32);
    // 1.5·2^52 places: a sum with it has no bit below one place
    let anchor = place * 6_755_399_441_055_744.0;
    let places = ((x.abs() + anchor) - anchor) / place;
    sign | ((((exponent - least) as u32) << fraction_bits) + places as u32)
}

/// A number rounded once to binary16, ties to even; all NaN become 0x7FFF.
pub(crate) fn to_f16(x: f64) -> u32 {
    nearest(x, 5, 10)
}

/// A number rounded once to bfloat16, ties to even; all NaN become 0x7FFF.
pub(crate) fn to_bf16(x: f64) -> u32 {
    nearest(x, 8, 7)
}

/// A number rounded once to f32, ties to even; all NaN become 0x7FFFFFFF.
pub(crate) fn to_f32(x: f64) -> u32 {
    if x.is_nan() { 0x7FFF_FFFF } else { (x as f32).to_bits() }
}
