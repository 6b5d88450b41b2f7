//! Test data: values that are exact in the type that the device reads.

use half::{bf16, f16};
use quickpick_format::{E4m3, E5m2};
use quickpick_kernels::DType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How operands are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Uniform in ±1, rounded to the type, never subnormal but in E4M3; I8 over its whole range.
    Random,
    /// Small multiples of 1/16 (I8: of 1) that differ from their neighbours: products and sums are
    /// exact, so a misplaced element is a wrong number.
    Ramp,
    /// X has a single 1 in each row, at a different place; W is a ramp: Y is elements of W.
    OneHot,
    /// The least value of an 8-bit type, sometimes the largest: sums as large as they get.
    Extreme,
}

/// A matrix of values, each exact in `dtype`.
#[derive(Clone, Debug)]
pub struct Values {
    /// The device's type.
    pub dtype: DType,
    /// The values.
    pub values: Vec<f64>,
}

impl Values {
    /// Rounds values to a type.
    pub fn new(dtype: DType, values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().map(|v| round(dtype, v)).collect();
        Self { dtype, values }
    }

    /// The bytes that the device reads.
    pub fn bytes(&self) -> Vec<u8> {
        bytes(self.dtype, &self.values)
    }
}

/// The nearest value of a type, ties to even.
pub fn round(dtype: DType, value: f64) -> f64 {
    decode(dtype, &encode(dtype, value))
}

/// Bytes of values in a type.
pub fn bytes(dtype: DType, values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| encode(dtype, *v)).collect()
}

fn encode(dtype: DType, value: f64) -> Vec<u8> {
    match dtype {
        DType::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
        DType::BF16 => bf16::from_f64(value).to_le_bytes().to_vec(),
        DType::F32 => (value as f32).to_le_bytes().to_vec(),
        DType::I8 => (value.round_ties_even() as i8).to_le_bytes().to_vec(),
        DType::E4M3 => vec![E4m3::from_f32(value as f32).to_bits()],
        DType::E5M2 => vec![E5m2::from_f32(value as f32).to_bits()],
    }
}

/// The value of one element's bytes.
pub fn decode(dtype: DType, bytes: &[u8]) -> f64 {
    match dtype {
        DType::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f64(),
        DType::BF16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f64(),
        DType::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as f64,
        DType::I8 => bytes[0] as i8 as f64,
        DType::E4M3 => E4m3::from_bits(bytes[0]).to_f32() as f64,
        DType::E5M2 => E5m2::from_bits(bytes[0]).to_f32() as f64,
    }
}

/// A source of test data, the same for the same seed.
pub struct Source {
    rng: StdRng,
    fill: Fill,
}

impl Source {
    /// A source for one case.
    pub fn new(fill: Fill, seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), fill }
    }

    /// Uniform in ±`scale`, away from zero by 2⁻¹⁰ of it, so that no type makes it subnormal.
    pub fn uniform(&mut self, scale: f64) -> f64 {
        let magnitude = self.rng.random_range(1.0 / 1024.0..1.0);
        if self.rng.random() { magnitude * scale } else { -magnitude * scale }
    }

    /// `rows × cols` of an operand, by its fill; a ramp for one-hot.
    pub fn matrix(&mut self, dtype: DType, rows: u32, cols: u32) -> Values {
        let (fill, cols) = (self.fill, cols as usize);
        let value = |i: usize| match (fill, dtype) {
            (Fill::Random, DType::I8) => self.rng.random_range(-128..=127).into(),
            (Fill::Extreme, DType::I8 | DType::E4M3 | DType::E5M2) => {
                let [least, largest] = match dtype {
                    DType::I8 => [-128, 127],
                    DType::E4M3 => [-448, 448],
                    _ => [-57344, 57344],
                };
                (if self.rng.random_ratio(7, 8) { least } else { largest }).into()
            }
            (Fill::Random | Fill::Extreme, _) => self.uniform(1.0),
            (Fill::Ramp | Fill::OneHot, DType::I8) => 16.0 * ramp(i / cols, i % cols),
            (Fill::Ramp | Fill::OneHot, _) => ramp(i / cols, i % cols),
        };
        Values::new(dtype, (0..rows as usize * cols).map(value))
    }

    /// The activations of a linear layer.
    pub fn activations(&mut self, dtype: DType, n: u32, k: u32) -> Values {
        if self.fill != Fill::OneHot {
            return self.matrix(dtype, n, k);
        }
        let (n, k) = (n as usize, k as usize);
        let mut values = vec![0.0; n * k];
        for t in 0..n {
            values[t * k + (t * 13 + 5) % k] = 1.0;
        }
        Values { dtype, values }
    }

    /// A weight that is 2:4 along its rows: each group keeps a pair that the data choose.
    pub fn sparse(&mut self, dtype: DType, rows: u32, cols: u32) -> Values {
        const PAIRS: [[usize; 2]; 6] = [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]];
        let mut w = self.matrix(dtype, rows, cols);
        let groups = cols as usize / 4;
        for (i, group) in w.values.chunks_exact_mut(4).enumerate() {
            let pair = match self.fill {
                Fill::Random | Fill::Extreme => PAIRS[self.rng.random_range(0..6)],
                Fill::Ramp | Fill::OneHot => PAIRS[(i / groups * 5 + i % groups) % 6],
            };
            for (j, v) in group.iter_mut().enumerate() {
                if !pair.contains(&j) {
                    *v = 0.0;
                }
            }
        }
        w
    }
}

/// Differs between neighbours along both axes; ±15/16, never 0.
fn ramp(row: usize, col: usize) -> f64 {
    let step = (row * 7 + col * 3) % 30;
    (if step < 15 { step as f64 - 15.0 } else { step as f64 - 14.0 }) / 16.0
}
