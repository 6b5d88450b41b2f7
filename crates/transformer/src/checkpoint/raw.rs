//! A tensor in its own element type.

use crate::Tensor;
use half::{bf16, f16};
use quickpick_format::{E4m3, StoredType};

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
            // the upper half of an f16
            StoredType::F8_E5M2 => each(bytes, |[b]| f16::from_le_bytes([0, b]).to_f32()),
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
