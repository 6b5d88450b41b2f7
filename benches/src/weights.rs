//! A random 2:4 weight, in whatever form a contender reads it.

use bytemuck::cast_slice;
use quickpick::format::{E4m3, E5m2, Element, Matrix24, Order};
use quickpick::kernels::DType;
use quickpick::{bf16, f16};
use rayon::prelude::*;

/// A 2:4 weight m × k, its element type erased.
pub trait Weight: Send + Sync {
    /// The element type.
    fn dtype(&self) -> DType;
    /// Output features.
    fn m(&self) -> u32;
    /// Input features.
    fn k(&self) -> u32;
    /// Values and metadata in a kernel's order.
    fn packed(&self, order: Order) -> quickpick::Result<[Vec<u8>; 2]>;
    /// The dense twin, row-major, zeros where nothing is kept.
    fn dense(&self) -> Vec<u8>;
    /// One dense row.
    fn row(&self, row: usize) -> Vec<f64>;
}

/// Random values in ±1 at a random pair of each four columns; the same for the same seed.
pub fn random(dtype: DType, m: u32, k: u32, seed: u64) -> quickpick::Result<Box<dyn Weight>> {
    Ok(match dtype {
        DType::F16 => Box::new(matrix::<f16>(m, k, seed)?),
        DType::BF16 => Box::new(matrix::<bf16>(m, k, seed)?),
        DType::F32 => Box::new(matrix::<f32>(m, k, seed)?),
        DType::I8 => Box::new(matrix::<i8>(m, k, seed)?),
        DType::E4M3 => Box::new(matrix::<E4m3>(m, k, seed)?),
        DType::E5M2 => Box::new(matrix::<E5m2>(m, k, seed)?),
    })
}

/// Random activations in ±1, `n × k` row-major, as bytes of a type.
pub fn activations(dtype: DType, n: u32, k: u32, seed: u64) -> Vec<u8> {
    fn typed<T: Element>(len: usize, seed: u64) -> Vec<u8> {
        let mut values = vec![T::zeroed(); len];
        fill(&mut values, seed);
        cast_slice(&values).to_vec()
    }
    let len = n as usize * k as usize;
    match dtype {
        DType::F16 => typed::<f16>(len, seed),
        DType::BF16 => typed::<bf16>(len, seed),
        DType::F32 => typed::<f32>(len, seed),
        DType::I8 => typed::<i8>(len, seed),
        DType::E4M3 => typed::<E4m3>(len, seed),
        DType::E5M2 => typed::<E5m2>(len, seed),
    }
}

fn matrix<T: Element>(m: u32, k: u32, seed: u64) -> quickpick::Result<Matrix24<T>> {
    const CODES: [u32; 6] = [0x4, 0x8, 0x9, 0xC, 0xD, 0xE];
    let (m, k) = (m as usize, k as usize);
    let mut values = vec![T::zeroed(); m * k / 2];
    fill(&mut values, seed);
    let mut metadata = vec![0u32; m * k / 32];
    metadata.par_iter_mut().enumerate().for_each(|(i, word)| {
        let bits = mix(seed ^ 0x5eed, i as u64);
        *word = (0..8).fold(0, |word, group| {
            word | CODES[(bits >> (8 * group)) as usize % 256 * 6 / 256] << (4 * group)
        });
    });
    Ok(Matrix24::from_parts(values, metadata, m, k)?)
}

/// Uniform in ±1 (s8: ±127), never zero, so that nothing is skipped.
fn fill<T: Element>(values: &mut [T], seed: u64) {
    let scale = if T::DTYPE == DType::I8 { 127.0 } else { 1.0 };
    values.par_iter_mut().enumerate().for_each(|(i, value)| {
        let bits = mix(seed, i as u64);
        let magnitude = ((bits >> 40) + 1) as f32 / (1 << 24) as f32;
        let magnitude = magnitude.max(1.0 / 64.0) * scale;
        *value = T::from_f32(if bits & 1 == 0 { magnitude } else { -magnitude });
    });
}

/// SplitMix64's output function at step `i` of a stream (Steele, Lea, Flood, 2014): any element
/// without the ones before it, so that threads share the work.
fn mix(seed: u64, i: u64) -> u64 {
    let mut z = (seed << 32 ^ i).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl<T: Element> Weight for Matrix24<T> {
    fn dtype(&self) -> DType {
        T::DTYPE
    }

    fn m(&self) -> u32 {
        self.rows() as u32
    }

    fn k(&self) -> u32 {
        self.k() as u32
    }

    fn packed(&self, order: Order) -> quickpick::Result<[Vec<u8>; 2]> {
        let packed = self.pack(order)?;
        Ok([packed.value_bytes().to_vec(), packed.metadata_bytes().to_vec()])
    }

    fn dense(&self) -> Vec<u8> {
        cast_slice(&self.expand()).to_vec()
    }

    fn row(&self, row: usize) -> Vec<f64> {
        let mut dense = vec![0.0; self.k()];
        let values = &self.values()[row * self.k() / 2..];
        for (group, kept) in values.chunks_exact(2).take(self.k() / 4).enumerate() {
            let pair = self.pair(row, group);
            dense[4 * group + pair.first()] = kept[0].to_f32().into();
            dense[4 * group + pair.second()] = kept[1].to_f32().into();
        }
        dense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_dense_twins() {
        let weight = random(DType::F16, 5, 64, 3).unwrap();
        let dense: Vec<f16> = bytemuck::pod_collect_to_vec(&weight.dense());
        for row in 0..5 {
            let want: Vec<f64> = dense[64 * row..][..64].iter().map(|v| v.to_f64()).collect();
            assert_eq!(weight.row(row), want);
            assert_eq!(want.iter().filter(|v| **v != 0.0).count(), 32);
        }
    }

    #[test]
    fn every_pair_is_drawn_and_seeds_differ() {
        let matrix = matrix::<f32>(8, 256, 1).unwrap();
        let pairs: std::collections::BTreeSet<_> =
            (0..8 * 64).map(|i| matrix.pair(i / 64, i % 64).code()).collect();
        assert_eq!(pairs.len(), 6);
        assert_ne!(activations(DType::F32, 2, 32, 1), activations(DType::F32, 2, 32, 2));
    }
}
