//! Element types.

use core::fmt;

/// The type of a matrix element, in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE binary16.
    F16,
    /// bfloat16: the upper half of an f32.
    BF16,
    /// IEEE binary32.
    F32,
    /// Signed 8-bit integer.
    I8,
    /// OCP FP8 E4M3: [`E4m3`](crate::E4m3).
    E4M3,
    /// OCP FP8 E5M2: [`E5m2`](crate::E5m2).
    E5M2,
}

impl DType {
    /// Every type.
    pub const ALL: [Self; 6] = [Self::F16, Self::BF16, Self::F32, Self::I8, Self::E4M3, Self::E5M2];

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::I8 | Self::E4M3 | Self::E5M2 => 1,
        }
    }

    /// Whether it is an 8-bit float.
    pub const fn is_float8(self) -> bool {
        matches!(self, Self::E4M3 | Self::E5M2)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::I8 => "i8",
            Self::E4M3 => "e4m3",
            Self::E5M2 => "e5m2",
        })
    }
}
