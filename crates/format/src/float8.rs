//! The 8-bit floats of tensor cores.

use crate::{DType, Element};

/// An 8-bit float: a sign, an exponent, `$mantissa` bits of mantissa.
macro_rules! float8 {
    ($name:ident, $dtype:ident, $mantissa:literal, $max:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub struct $name(u8);

        impl $name {
            /// The largest value.
            pub const MAX: Self = Self($max);
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

            /// The nearest value, ties to even; beyond ±[`MAX`](Self::MAX) that, for infinities too (PTX's
            /// `.satfinite`); NaN becomes `0x7F`.
            pub const fn from_f32(value: f32) -> Self {
                if value.is_nan() {
                    return Self::NAN;
                }
                let sign = (value.to_bits() >> 24 & 0x80) as u8;
                Self(sign | nearest::<$mantissa>(value.abs(), $max))
            }

            /// The same value, exactly.
            pub const fn to_f32(self) -> f32 {
                let (sign, rest) = ((self.0 as u32 & 0x80) << 24, self.0 & 0x7F);
                let magnitude = match rest {
                    // of the codes above the largest one, that without a mantissa is infinity
                    rest if rest > $max && rest.trailing_zeros() >= $mantissa => f32::INFINITY,
                    rest if rest > $max => f32::NAN,
                    rest => widened::<$mantissa>(rest),
                };
                f32::from_bits(sign | magnitude.to_bits())
            }
        }

        /// As floats compare: −0 equals 0, NaN nothing.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl Element for $name {
            const DTYPE: DType = DType::$dtype;

            fn from_f32(value: f32) -> Self {
                Self::from_f32(value)
            }
            fn to_f32(self) -> f32 {
                Self::to_f32(self)
            }
        }
    };
}

float8!(
    E4m3,
    E4M3,
    3,
    0x7E,
    "OCP FP8 E4M3, the form without infinities (OCP 8-bit floating point specification, 2023, §5; PTX
`.e4m3`): a sign, 4 bits of exponent with bias 7, 3 of mantissa. ±448 is the largest, 2⁻⁶ the least
normal, 2⁻⁹ the least subnormal; only `0x7F` and `0xFF` are NaN."
);
float8!(
    E5m2,
    E5M2,
    2,
    0x7B,
    "OCP FP8 E5M2 (same specification; PTX `.e5m2`), the upper half of an f16: a sign, 5 bits of exponent
with bias 15, 2 of mantissa. ±57344 is the largest, 2⁻¹⁴ the least normal, 2⁻¹⁶ the least subnormal;
`0x7C` is infinity, what is above it NaN."
);

/// Exponents of f32 are greater by as much than those with the 7 − `M` bits that `M` bits of mantissa leave, whose
/// bias is half of their range.
const fn rebias<const M: u32>() -> u32 {
    127 - ((1 << (6 - M)) - 1)
}

/// The code of the nearest value, ties to even, at most `most`.
const fn nearest<const M: u32>(magnitude: f32, most: u8) -> u8 {
    let (rebias, lost) = (rebias::<M>(), 23 - M);
    let least_normal = f32::from_bits((rebias + 1) << 23);
    // its ulp is the least subnormal, so that a sum with it is rounded to a multiple of that
    let subnormal = f32::from_bits((rebias + 1 + lost) << 23);
    (if magnitude >= widened::<M>(most) {
        most as u32
    } else if magnitude < least_normal {
        (magnitude + subnormal).to_bits() - subnormal.to_bits()
    } else {
        // a carry goes into the exponent, as it should
        let bits = magnitude.to_bits();
        let half = (1 << (lost - 1)) - 1;
        ((bits + half + (bits >> lost & 1)) >> lost) - (rebias << M)
    }) as u8
}

/// The value of a finite code, by an exact product, which puts subnormals right as well.
const fn widened<const M: u32>(code: u8) -> f32 {
    f32::from_bits((code as u32) << (23 - M)) * f32::from_bits((127 + rebias::<M>()) << 23)
}
