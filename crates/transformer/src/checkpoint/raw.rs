//! A tensor in its own element type.

use crate::Tensor;
use half::{bf16, f16};
use quickpick_format::{E4m3, E5m2, Element, StoredType};

/// A dense tensor, row-major, in the element type that it is stored in.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// The element type, as safetensors calls it.
    pub dtype: StoredType,
    /// Extent of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

impl From<Tensor> for Raw {
    fn from(tensor: Tensor) -> Self {
        let bytes = bytemuck::cast_slice(&tensor.data).to_vec();
        Self { dtype: StoredType::F32, shape: tensor.shape, bytes }
    }
}

impl Raw {
    /// Widened to f32: exactly, but from F64, which rounds to the nearest. Errors, as the reason: the
    /// type is none of real numbers, an F64 exceeds f32.
    pub fn widen(&self) -> Result<Tensor, String> {
        let bytes = &self.bytes;
        let data = match self.dtype {
            StoredType::F32 => bytemuck::pod_collect_to_vec(bytes),
            StoredType::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            StoredType::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            StoredType::F8_E4M3 => each(bytes, |[b]| E4m3::from_bits(b).to_f32()),
            StoredType::F8_E5M2 => each(bytes, |[b]| E5m2::from_bits(b).to_f32()),
            StoredType::F64 => {
                let narrow: Vec<f32> = each(bytes, |b| f64::from_le_bytes(b) as f32);
                let wide = |i: usize| bytes[8 * i..].first_chunk().map(|&b| f64::from_le_bytes(b));
                let beyond =
                    |&i: &usize| narrow[i].is_infinite() && wide(i) != Some(narrow[i].into());
                if let Some(i) = (0..narrow.len()).find(beyond) {
                    return Err(format!(
                        "element {i}: {:e} exceeds f32",
                        wide(i).unwrap_or(f64::NAN)
                    ));
                }
                narrow
            }
            other => return Err(format!("it is {other}; F64, F32, F16, BF16 and F8 are weights")),
        };
        Ok(Tensor { shape: self.shape.clone(), data })
    }
}

fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| value(*b)).collect()
}

/// What matters of an element to sparsity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// +0.0, or an integer's zero.
    Zero,
    /// −0.0.
    NegativeZero,
    /// Any other number.
    NonZero,
    /// NaN or an infinity.
    NotFinite,
}

impl Class {
    fn of(value: f64) -> Self {
        match value {
            0.0 if value.is_sign_negative() => Self::NegativeZero,
            0.0 => Self::Zero,
            v if v.is_finite() => Self::NonZero,
            _ => Self::NotFinite,
        }
    }

    /// Whether a kernel would have to multiply by it.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Zero | Self::NegativeZero)
    }
}

impl Raw {
    /// Whether its type is one of real numbers that [`widen`](Self::widen) knows.
    pub(super) fn widens(&self) -> bool {
        use StoredType as S;
        matches!(self.dtype, S::F64 | S::F32 | S::F16 | S::BF16 | S::F8_E4M3 | S::F8_E5M2)
    }

    /// The class of each element; `None` for types of less than a byte and of complex numbers.
    pub(super) fn classes(&self) -> Option<Vec<Class>> {
        fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<Class> {
            bytes.as_chunks().0.iter().map(|b| Class::of(value(*b))).collect()
        }
        fn integers<const N: usize>(bytes: &[u8]) -> Vec<Class> {
            each::<N>(bytes, |b| f64::from(u8::from(b.iter().any(|&b| b != 0))))
        }
        use StoredType as S;
        let bytes = &self.bytes;
        Some(match self.dtype {
            S::F64 => each(bytes, f64::from_le_bytes),
            S::F32 => each(bytes, |b| f32::from_le_bytes(b).into()),
            S::F16 => each(bytes, |b| f16::from_le_bytes(b).into()),
            S::BF16 => each(bytes, |b| bf16::from_le_bytes(b).into()),
            S::F8_E4M3 => each(bytes, |[b]| E4m3::from_bits(b).to_f32().into()),
            S::F8_E5M2 => each(bytes, |[b]| E5m2::from_bits(b).to_f32().into()),
            S::BOOL | S::U8 | S::I8 => integers::<1>(bytes),
            S::U16 | S::I16 => integers::<2>(bytes),
            S::U32 | S::I32 => integers::<4>(bytes),
            S::U64 | S::I64 => integers::<8>(bytes),
            _ => return None,
        })
    }

    /// Rounded to the nearest of another type: F16, BF16 or F32; integers stay as they are. Errors, as
    /// the reason: a number exceeds that type.
    pub(crate) fn cast(self, to: StoredType) -> Result<Self, String> {
        use StoredType as S;
        if self.dtype == to || !self.widens() {
            return Ok(self);
        }
        let wide = self.widen()?;
        let bytes = match to {
            S::F16 => narrow::<f16>(&wide.data)?,
            S::BF16 => narrow::<bf16>(&wide.data)?,
            S::F32 => return Ok(Self::from(wide)),
            other => return Err(format!("{other} is no type to cast to; F16, BF16 and F32 are")),
        };
        Ok(Self { dtype: to, shape: wide.shape, bytes })
    }
}

fn narrow<T: Element>(wide: &[f32]) -> Result<Vec<u8>, String> {
    let narrow: Vec<T> = wide.iter().map(|&v| T::from_f32(v)).collect();
    let beyond = |&i: &usize| wide[i].is_finite() && !narrow[i].is_finite();
    match (0..wide.len()).find(beyond) {
        Some(i) => Err(format!("element {i}: {:e} exceeds {}", wide[i], T::DTYPE)),
        None => Ok(bytemuck::cast_slice(&narrow).to_vec()),
    }
}
