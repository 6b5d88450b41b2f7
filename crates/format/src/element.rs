//! What a matrix is made of.

use crate::DType;
use half::{bf16, f16};

/// An element type of [`DType`]. Its zero is all bits zero.
pub trait Element: bytemuck::Pod + PartialEq + core::fmt::Debug + Send + Sync {
    /// The type's name at run time.
    const DTYPE: DType;

    /// The nearest value of this type, ties to even; i8, E4M3 and E5M2 saturate, and i8 takes NaN to 0.
    fn from_f32(value: f32) -> Self;

    /// The same value, exactly.
    fn to_f32(self) -> f32;

    /// Whether the value is zero. −0.0 is.
    fn is_zero(self) -> bool {
        self.to_f32() == 0.0
    }

    /// Whether the value is a number: neither NaN nor infinite.
    fn is_finite(self) -> bool {
        self.to_f32().is_finite()
    }
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;

    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }
    fn to_f32(self) -> f32 {
        self.to_f32()
    }
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;

    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }
    fn to_f32(self) -> f32 {
        self.to_f32()
    }
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;

    fn from_f32(value: f32) -> Self {
        value
    }
    fn to_f32(self) -> f32 {
        self
    }
}

impl Element for i8 {
    const DTYPE: DType = DType::I8;

    fn from_f32(value: f32) -> Self {
        // to the nearest, ties to even, without std: adding 1.5·2²³ leaves no fraction bits
        const ROUND: f32 = 12_582_912.0;
        ((value.clamp(-128.0, 127.0) + ROUND) - ROUND) as i8
    }
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
}
