//! Loops over f32 slices that compile to vector instructions, and products of matrices.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Partial results that a loop keeps side by side: without them, the order of floating-point sums
/// would forbid vectors.
const LANES: usize = 16;

/// Elements that are worth a task of their own.
pub const TASK: usize = 1 << 14;

/// `e^x` within 2 units in the last place; x is taken into −87..=88, where the result is a normal number.
/// By `x = n·ln 2 + r` with `|r| ≤ ½·ln 2` and Taylor's series of `e^r` to r⁷.
#[inline]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it leaves n in the low bits
    const LN2_HIGH: f32 = 0.693_359_4; // few bits, so that n·LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = (series * r) * r + r + 1.0;
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// `f` over all elements, several partial results side by side, which `join` puts together.
#[inline]
pub fn fold(
    x: &[f32],
    start: f32,
    f: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, x);
    }
    lanes.into_iter().fold(start, join)
}

/// The largest element; −∞ of none.
pub fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    fold(x, f32::NEG_INFINITY, larger, larger)
}

/// `x = e^(x − shift)` in place, and the sum.
pub fn exponents(x: &mut [f32], shift: f32) -> f32 {
    for x in x.iter_mut() {
        *x = exp(*x - shift);
    }
    fold(x, 0.0, |a, x| a + x, |a, b| a + b)
}

/// `Σ e^(x − shift)`.
pub fn sum_of_exponents(x: &[f32], shift: f32) -> f32 {
    fold(x, 0.0, |a, x| a + exp(x - shift), |a, b| a + b)
}

/// `Σ f(x[i], y[i])`.
pub fn sum_of_pairs(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += f(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += f(x, y);
    }
    lanes.into_iter().sum()
}

/// `x[i]·gain/√(mean(x[i]²) + eps)` for each row.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let d = gain.len();
    let mut y = vec![0.0; x.len()];
    let rows = (TASK / d).max(1) * d;
    y.par_chunks_mut(rows).zip(x.par_chunks(rows)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
            let squares = fold(x, 0.0, |a, x| a + x * x, |a, b| a + b);
            let scale = 1.0 / (squares / d as f32 + eps).sqrt();
            for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
                *y = x * scale * gain;
            }
        }
    });
    y
}

/// `(x[i] − mean)·gain/√(variance + eps) + bias` for each row, in place.
pub fn layer_norm(x: &mut [f32], gain: &[f32], bias: &[f32], eps: f32) {
    let d = gain.len();
    x.par_chunks_mut((TASK / d).max(1) * d).for_each(|x| {
        for x in x.chunks_exact_mut(d) {
            let mean = fold(x, 0.0, |a, x| a + x, |a, b| a + b) / d as f32;
            x.iter_mut().for_each(|x| *x -= mean);
            let squares = fold(x, 0.0, |a, x| a + x * x, |a, b| a + b);
            let scale = 1.0 / (squares / d as f32 + eps).sqrt();
            for ((x, gain), bias) in x.iter_mut().zip(gain).zip(bias) {
                *x = *x * scale * gain + bias;
            }
        }
    });
}

/// `x·Φ(x)` in place, by `max(x, 0) − |x|/2·erfc(|x|/√2)`: GELU (arXiv 1606.08415), its erfc within 1.5e-7
/// by Abramowitz and Stegun 7.1.26.
pub fn gelu(x: &mut [f32]) {
    x.par_chunks_mut(TASK).for_each(|x| {
        for x in x.iter_mut() {
            let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
            let t = 1.0 / (1.0 + 0.327_591_1 * z);
            let series = 1.061_405_4 * t - 1.453_152;
            let series = series * t + 1.421_413_7;
            let series = series * t - 0.284_496_74;
            let series = series * t + 0.254_829_6;
            *x = x.max(0.0) - 0.5 * x.abs() * (series * t * exp(-z * z));
        }
    });
}

/// Adds a bias to each row.
pub fn add_bias(x: &mut [f32], bias: &[f32]) {
    for x in x.chunks_exact_mut(bias.len()) {
        x.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
    }
}

/// `x·wᵀ`, `n × m`: x `n × k`, w `m × k`.
pub fn linear(x: &[f32], w: &[f32], n: usize) -> Vec<f32> {
    let mut y = vec![0.0; n * (w.len() / (x.len() / n))];
    product(x, w, n, Accum::Replace, &mut y);
    y
}

/// `y += x·wᵀ`.
pub fn add_linear(x: &[f32], w: &[f32], n: usize, y: &mut [f32]) {
    product(x, w, n, Accum::Add, y);
}

/// Rows of a task of its own. faer's own threads wait for each other at every panel, which a busy
/// machine makes dear; a fixed number of rows also keeps the result the same for any number of threads.
const ROWS: usize = 256;

fn product(x: &[f32], w: &[f32], n: usize, accum: Accum, y: &mut [f32]) {
    let k = x.len() / n;
    let m = w.len() / k;
    let tasks = y.par_chunks_mut(ROWS * m).zip(x.par_chunks(ROWS * k));
    tasks.for_each(|(y, x)| multiply(x, w, k, accum, y));
}

/// `y = x·wᵀ` or `y += x·wᵀ` on this thread; k: columns of x and w. By faer, whose kernels use AVX-512
/// where candle's stop at AVX2.
fn multiply(x: &[f32], w: &[f32], k: usize, accum: Accum, y: &mut [f32]) {
    let (n, m) = (x.len() / k, w.len() / k);
    let w = MatRef::from_row_major_slice(w, m, k).transpose();
    let y = MatMut::from_row_major_slice_mut(y, n, m);
    matmul(y, accum, MatRef::from_row_major_slice(x, n, k), w, 1.0, Par::Seq);
}

/// `silu(x·gateᵀ)·(x·upᵀ)`, `n × m`.
pub fn gated(x: &[f32], gate: &[f32], up: &[f32], n: usize) -> Vec<f32> {
    let k = x.len() / n;
    let m = gate.len() / k;
    let mut a = vec![0.0; n * m];
    a.par_chunks_mut(ROWS * m).zip(x.par_chunks(ROWS * k)).for_each(|(a, x)| {
        let mut b = vec![0.0; a.len()];
        multiply(x, gate, k, Accum::Replace, a);
        multiply(x, up, k, Accum::Replace, &mut b);
        for (a, b) in a.iter_mut().zip(b) {
            *a *= b / (1.0 + exp(-*a));
        }
    });
    a
}

/// `−ln softmax(x·wᵀ)[target]` of each row of x, `n × k`. Logits are made and forgotten a tile at a
/// time, each row's sum carried on from its maximum so far.
pub fn cross_entropy(x: &[f32], w: &[f32], targets: &[u32]) -> Vec<f64> {
    const COLUMNS: usize = 1024; // of a tile: 1 MB with ROWS, which a core's cache holds
    let k = x.len() / targets.len();
    let tasks = x.par_chunks(ROWS * k).zip(targets.par_chunks(ROWS));
    let losses = tasks.flat_map_iter(|(x, targets)| {
        let mut rows = vec![(f32::NEG_INFINITY, 0f64, 0f32); targets.len()]; // maximum, sum, target's
        let mut logits = vec![0.0; targets.len() * COLUMNS];
        for (tile, w) in w.chunks(COLUMNS * k).enumerate() {
            let columns = w.len() / k;
            let logits = &mut logits[..targets.len() * columns];
            multiply(x, w, k, Accum::Replace, logits);
            let tiles = logits.chunks_exact(columns).zip(targets);
            for ((row, target), (most, sum, hit)) in tiles.zip(&mut rows) {
                let before = *most;
                *most = before.max(max(row));
                *sum *= f64::from(before - *most).exp();
                *sum += f64::from(sum_of_exponents(row, *most));
                let column = (*target as usize).wrapping_sub(tile * COLUMNS);
                *hit = row.get(column).copied().unwrap_or(*hit);
            }
        }
        rows.into_iter().map(|(most, sum, hit)| sum.ln() - (f64::from(hit) - f64::from(most)))
    });
    losses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_within_two_units_in_the_last_place() {
        let mut worst = 0f64;
        for i in -8_700_000..=8_800_000 {
            let x = i as f32 * 1e-5;
            let want = f64::from(x).exp();
            let ulp = 2f64.powi(want.log2().floor() as i32 - 23);
            worst = worst.max((f64::from(exp(x)) - want).abs() / ulp);
        }
        assert!(worst <= 2.0, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
    }

    #[test]
    fn gelu_is_x_times_the_normal_distribution() {
        let x: Vec<f32> = (-800..=800).map(|i| i as f32 * 1e-2).collect();
        let mut y = x.clone();
        gelu(&mut y);
        for (x, y) in x.iter().map(|&x| f64::from(x)).zip(y) {
            // Φ by Simpson's rule of its density
            let (steps, h) = (2000, x / 2000.0);
            let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
            let weight = |i| if i == 0 || i == steps { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
            let area: f64 = (0..=steps).map(|i| weight(i) * density(f64::from(i) * h)).sum();
            let want = x * (0.5 + area * h / 3.0);
            assert!((f64::from(y) - want).abs() <= 1e-6, "{x}: {y}, not {want}");
        }
    }

    #[test]
    fn folds_reach_every_element() {
        for n in [0, 1, 15, 16, 17, 40] {
            let mut x: Vec<f32> = (0..n).map(|i| i as f32 - 20.0).collect();
            assert_eq!(max(&x), if n == 0 { f32::NEG_INFINITY } else { n as f32 - 21.0 });
            let want: f32 = x.iter().map(|x| (x + 20.0 - n as f32).exp()).sum();
            let sum = sum_of_exponents(&x, n as f32 - 20.0);
            assert!((sum - want).abs() <= 1e-6 * want, "{sum} {want}");
            let twice = sum_of_pairs(&x, &x, |a, b| a + b);
            assert_eq!(twice, 2.0 * x.iter().sum::<f32>());
            assert_eq!(exponents(&mut x, n as f32 - 20.0), sum);
        }
    }
}
