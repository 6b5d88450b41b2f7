//! Types of a multiply's operands: which integers they hold exactly, and their bits.
//!
//! Every input of a sweep is an integer, so that every output is one and no rounding enters.

/// The type of A and B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// An f32 of which the unit reads the high 19 bits.
    Tf32,
    /// Two's complement.
    S8,
    /// 4 bits of exponent, 3 of mantissa.
    E4m3,
    /// 5 bits of exponent, 2 of mantissa.
    E5m2,
}

impl Element {
    /// As PTX writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Tf32 => "tf32",
            Self::S8 => "s8",
            Self::E4m3 => "e4m3",
            Self::E5m2 => "e5m2",
        }
    }

    /// Bits of one element in a register or in shared memory.
    pub const fn bits(self) -> u32 {
        match self {
            Self::F16 | Self::Bf16 => 16,
            Self::Tf32 => 32,
            Self::S8 | Self::E4m3 | Self::E5m2 => 8,
        }
    }

    /// Elements of a 32-bit word, the first in its low bits.
    pub const fn per_word(self) -> usize {
        32 / self.bits() as usize
    }

    /// The type of C and D, as PTX writes it.
    pub const fn accumulator(self) -> &'static str {
        match self {
            Self::S8 => "s32",
            _ => "f32",
        }
    }

    /// Bits of exponent and mantissa as stored.
    const fn float(self) -> Option<(u32, u32)> {
        match self {
            Self::F16 => Some((5, 10)),
            Self::Bf16 => Some((8, 7)),
            Self::Tf32 => Some((8, 23)),
            Self::E4m3 => Some((4, 3)),
            Self::E5m2 => Some((5, 2)),
            Self::S8 => None,
        }
    }

    /// How many distinct values one digit of a number takes; see [`Self::digit`].
    pub const fn base(self) -> usize {
        match self {
            Self::F16 | Self::Tf32 => 2048, // 11 significant bits: 1..=2048
            Self::Bf16 => 256,              // 8 significant bits: 1..=256
            // fewer than there are: operands of 8 bits lie 16 to a row of an image, or of a quad, so
            // that digits of 16 repeat and the files are short
            Self::S8 | Self::E4m3 | Self::E5m2 => 16,
        }
    }

    /// How many digits tell `count` numbers apart.
    pub const fn digits(self, count: usize) -> usize {
        let (mut digits, mut reach) = (1, self.base());
        while reach < count {
            digits += 1;
            reach *= self.base();
        }
        digits
    }

    /// Digit `place` of `number`, as a value: the d-th positive integer that the type holds, for
    /// d = ⌊number / baseᵖˡᵃᶜᵉ⌋ mod base. The integers are 1, 2, 3, …, 2ᵖ with p significant bits,
    /// then 2ᵖ⁻¹ of them in each octave.
    pub const fn digit(self, number: usize, place: usize) -> i32 {
        let d = number / self.base().pow(place as u32) % self.base();
        let precision = match self {
            Self::S8 => 7,
            Self::F16 | Self::Tf32 => 11,
            Self::Bf16 => 8,
            Self::E4m3 => 4,
            Self::E5m2 => 3,
        };
        let (dense, half) = (1 << precision, 1 << (precision - 1));
        if d < dense {
            return d as i32 + 1;
        }
        let (octave, step) = ((d - dense) / half, (d - dense) % half + 1);
        ((dense << octave) + (step << (octave + 1))) as i32
    }

    /// The bits of an integer that the type holds exactly.
    pub const fn encode(self, value: i32) -> u32 {
        let Some((exponent_bits, mantissa_bits)) = self.float() else {
            return value as u8 as u32;
        };
        if value == 0 {
            return 0;
        }
        let magnitude = value.unsigned_abs();
        let exponent = magnitude.ilog2();
        let bias = (1 << (exponent_bits - 1)) - 1;
        // the leading one goes; below it, the mantissa's bits
        let mantissa = ((magnitude as u64) << mantissa_bits >> exponent) as u32;
        let mantissa = mantissa & ((1 << mantissa_bits) - 1);
        let sign = (value < 0) as u32;
        (sign << exponent_bits | (exponent + bias)) << mantissa_bits | mantissa
    }
}

#[cfg(test)]
mod tests {
    use super::Element::{self, *};

    #[test]
    fn integers_have_the_bits_of_other_implementations() {
        for value in -128..=127 {
            assert_eq!(S8.encode(value), value as i8 as u8 as u32);
        }
        for value in -2048..=2048 {
            assert_eq!(F16.encode(value), half::f16::from_f32(value as f32).to_bits() as u32);
            assert_eq!(Tf32.encode(value), (value as f32).to_bits());
        }
        for value in -256..=256 {
            assert_eq!(Bf16.encode(value), half::bf16::from_f32(value as f32).to_bits() as u32);
        }
        // OCP 8-bit formats: 1, 2, 448 and 1, 57344
        assert_eq!([1, 2, 448, -1].map(|v| E4m3.encode(v)), [0x38, 0x40, 0x7E, 0xB8]);
        assert_eq!([1, 57344, -2].map(|v| E5m2.encode(v)), [0x3C, 0x7B, 0xC0]);
    }

    #[test]
    fn digits_are_distinct_and_exact() {
        for element in [F16, Bf16, Tf32, S8, E4m3, E5m2] {
            let values: Vec<i32> = (0..element.base()).map(|i| element.digit(i, 0)).collect();
            assert!(values.windows(2).all(|w| w[0] < w[1]), "{element:?}: {values:?}");
            let precision = Element::float(element).map_or(7, |(_, m)| m.min(10) + 1);
            for value in values {
                // no bit beyond the precision
                let width = value.ilog2() + 1;
                assert!(value.trailing_zeros() + precision >= width, "{element:?}: {value}");
            }
            assert_eq!(element.digit(element.base() + 3, 1), 2);
        }
        assert_eq!([F16.digits(256), Bf16.digits(257), E4m3.digits(2048)], [1, 2, 3]);
    }
}
