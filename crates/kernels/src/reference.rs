//! What each operation means, in f64 and naive on purpose: the oracle of every backend.
//!
//! Inputs are the values that the device reads, already rounded to its types, widened to f64;
//! outputs are not rounded. Layouts are those of the [`Problem`](crate::Problem)s. Absent operands
//! are empty slices. [`bound`](crate::bound) says how far a device may be off.
//!
//! # Panics
//!
//! Where a slice is shorter than its problem says. This is for tests, which own their inputs.

mod packing;

use crate::{
    Activation, ArgMax, Attention, DType, Gather, Linear, Quantize, RmsNorm, Rotary, SpmmCsr,
    SwiGlu,
};
use alloc::vec;
use alloc::vec::Vec;
pub use packing::{Packed24, pack24, unpack24};
use quickpick_format::{E4m3, E5m2, gate_up_rows};

/// What a linear layer reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinearInputs<'a> {
    /// W, dense, `m×k`, with zeros where 2:4 weights are not kept.
    pub w: &'a [f64],
    /// X, `n×k`.
    pub x: &'a [f64],
    /// The scales of m features.
    pub w_scale: &'a [f64],
    /// The scales of n tokens.
    pub x_scale: &'a [f64],
    /// The bias of m features.
    pub bias: &'a [f64],
    /// `n×m`, or `m×n` if transposed.
    pub residual: &'a [f64],
}

/// Y of a linear layer, `n×m`, or `m×n` if transposed; of a gated one m is half of W's rows.
pub fn linear(p: &Linear, inputs: &LinearInputs<'_>) -> Vec<f64> {
    let (m, n, k) = (p.features() as usize, p.n as usize, p.k as usize);
    let LinearInputs { w, x, w_scale, x_scale, bias, residual } = *inputs;
    let mut y = vec![0.0; n * m];
    let biased = |t: usize, r: usize| {
        let mut sum = dot(&x[t * k..][..k], &w[r * k..][..k]);
        if p.epilogue.scales {
            sum *= w_scale[r] * x_scale[t];
        }
        if p.epilogue.bias {
            sum += bias[r];
        }
        sum
    };
    for t in 0..n {
        for f in 0..m {
            let [gate, up] = if p.epilogue.gated { gate_up_rows(f) } else { [f, f] };
            let mut sum = activate(p.epilogue.activation, biased(t, gate));
            if p.epilogue.gated {
                sum *= biased(t, up);
            }
            let at = p.epilogue.index(t, f, n, m);
            if p.epilogue.residual {
                sum += residual[at];
            }
            y[at] = sum;
        }
    }
    y
}

/// The activation of one value.
pub fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => x / 2.0 * (1.0 + libm::tanh(gelu_argument(x))),
        Activation::Silu => x / (1.0 + libm::exp(-x)),
    }
}

/// √(2/π)·(x + 0.044715·x³).
pub(crate) fn gelu_argument(x: f64) -> f64 {
    libm::sqrt(2.0 / core::f64::consts::PI) * (x + 0.044715 * x * x * x)
}

/// y `n×d`.
pub fn rmsnorm(p: &RmsNorm, x: &[f64], gain: &[f64]) -> Vec<f64> {
    let (n, d) = (p.n as usize, p.d as usize);
    let mut y = Vec::with_capacity(n * d);
    for row in x[..n * d].chunks_exact(d) {
        let scale = 1.0 / libm::sqrt(dot(row, row) / d as f64 + p.eps as f64);
        y.extend(row.iter().zip(&gain[..d]).map(|(x, g)| x * scale * g));
    }
    y
}

/// What [`rotary`] computes: the rotated queries `n×heads×head_dim`, and the new rows of both
/// caches, `n×kv_heads×head_dim`, which belong at row `pos`; those at or past `max_seq` are dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotated {
    /// Rotated queries.
    pub q: Vec<f64>,
    /// Rotated keys.
    pub k: Vec<f64>,
    /// Values as they are.
    pub v: Vec<f64>,
}

/// Rotates q and k by their positions `pos..pos+n`; `table` as in [`Rotary`].
pub fn rotary(p: &Rotary, q: &[f64], k: &[f64], v: &[f64], pos: u32, table: &[f64]) -> Rotated {
    let turn = |x: &[f64], heads: u32| -> Vec<f64> {
        let (heads, hd, half) = (heads as usize, p.head_dim as usize, p.head_dim as usize / 2);
        let mut out = vec![0.0; p.n as usize * heads * hd];
        for token in 0..p.n as usize {
            let at = pos as usize + token;
            if at >= p.max_seq as usize {
                continue;
            }
            let angles = &table[at * hd..][..hd];
            for head in 0..heads {
                let start = (token * heads + head) * hd;
                for i in 0..half {
                    let (a, b) = (x[start + i], x[start + half + i]);
                    let (cos, sin) = (angles[i], angles[half + i]);
                    out[start + i] = a * cos - b * sin;
                    out[start + half + i] = b * cos + a * sin;
                }
            }
        }
        out
    };
    Rotated {
        q: turn(q, p.heads),
        k: turn(k, p.kv_heads),
        v: v[..(p.n * p.kv_heads * p.head_dim) as usize].to_vec(),
    }
}

/// y `n × heads·head_dim`; the caches hold at least `pos + n` rows.
pub fn attention(p: &Attention, q: &[f64], k: &[f64], v: &[f64], pos: u32) -> Vec<f64> {
    let (hd, kv) = (p.head_dim as usize, p.kv_heads as usize);
    let mut y = vec![0.0; (p.n * p.heads * p.head_dim) as usize];
    for token in 0..p.n as usize {
        for head in 0..p.heads as usize {
            let at = (token * p.heads as usize + head) * hd;
            let weights = softmax(p, &q[at..][..hd], k, head, pos as usize + token);
            for (j, weight) in weights.iter().enumerate() {
                let row = &v[(j * kv + kv_head(p, head)) * hd..][..hd];
                for (y, v) in y[at..][..hd].iter_mut().zip(row) {
                    *y += weight * v;
                }
            }
        }
    }
    y
}

/// softmax(q·Kᵀ/√head_dim) over cache rows `0..=last`.
pub(crate) fn softmax(p: &Attention, q: &[f64], k: &[f64], head: usize, last: usize) -> Vec<f64> {
    let (hd, kv) = (p.head_dim as usize, p.kv_heads as usize);
    let score = |j: usize| dot(q, &k[(j * kv + kv_head(p, head)) * hd..][..hd]);
    let mut row: Vec<f64> = (0..=last).map(|j| score(j) / libm::sqrt(hd as f64)).collect();
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|s| *s = libm::exp(*s - max));
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|s| *s /= sum);
    row
}

pub(crate) fn kv_head(p: &Attention, head: usize) -> usize {
    head / (p.heads / p.kv_heads) as usize
}

/// y `n×d`.
pub fn swiglu(p: &SwiGlu, gate: &[f64], up: &[f64]) -> Vec<f64> {
    let len = p.n as usize * p.d as usize;
    let silu = |x| activate(Activation::Silu, x);
    gate[..len].iter().zip(&up[..len]).map(|(g, u)| silu(*g) * u).collect()
}

/// y `n×d`; NaN for ids outside the table.
pub fn gather(p: &Gather, table: &[f64], ids: &[u32]) -> Vec<f64> {
    let d = p.d as usize;
    let mut y = vec![f64::NAN; p.n as usize * d];
    for (row, &id) in y.chunks_exact_mut(d).zip(&ids[..p.n as usize]) {
        if id < p.vocab {
            row.copy_from_slice(&table[id as usize * d..][..d]);
        }
    }
    y
}

/// What a product with a sparse residual reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpmmCsrInputs<'a> {
    /// Where each row's entries start, m + 1.
    pub rows: &'a [u32],
    /// The entries' columns.
    pub columns: &'a [u32],
    /// The entries' values.
    pub values: &'a [f64],
    /// X, `n×k`.
    pub x: &'a [f64],
    /// `n×m`.
    pub residual: &'a [f64],
}

impl SpmmCsrInputs<'_> {
    /// The values of a row, and those of a row of x at its columns.
    pub(crate) fn factors(&self, row: usize, x: &[f64]) -> (&[f64], Vec<f64>) {
        let range = self.rows[row] as usize..self.rows[row + 1] as usize;
        let x = self.columns[range.clone()].iter().map(|&col| x[col as usize]).collect();
        (&self.values[range], x)
    }
}

/// y `n×m`.
pub fn spmm_csr(p: &SpmmCsr, inputs: &SpmmCsrInputs<'_>) -> Vec<f64> {
    let (m, n) = (p.m as usize, p.n as usize);
    let mut y = vec![0.0; n * m];
    for (t, x) in inputs.x[..n * p.k as usize].chunks_exact(p.k as usize).enumerate() {
        for r in 0..m {
            let (values, x) = inputs.factors(r, x);
            let residual = if p.residual { inputs.residual[t * m + r] } else { 0.0 };
            y[t * m + r] = residual + dot(values, &x);
        }
    }
    y
}

/// y n: exact, so it has no bound.
pub fn argmax(p: &ArgMax, x: &[f64]) -> Vec<u32> {
    let d = p.d as usize;
    let place = |row: &[f64]| match row.iter().any(|v| v.is_nan()) {
        true => d,
        false => (1..d).fold(0, |best, i| if row[i] > row[best] { i } else { best }),
    };
    x[..p.n as usize * d].chunks_exact(d).map(|row| place(row) as u32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What [`quantize`] computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// The bytes of q, `n×d`.
    pub q: Vec<u8>,
    /// The scales of n rows.
    pub scale: Vec<f32>,
}

/// Bytes and scales: exact, so they have no bound. Quotients and products of two f32 are the nearest f32
/// when they go by way of f64, whose significand has more than twice as many bits and two.
pub fn quantize(p: &Quantize, x: &[f64]) -> Quantized {
    let (d, largest) = (p.d as usize, f64::from(Quantize::largest(p.out)));
    let nearest = |value: f64| f64::from(value as f32);
    let mut all = Quantized { q: Vec::new(), scale: Vec::new() };
    for row in x[..p.n as usize * d].chunks_exact(d) {
        let good = row.iter().all(|x| x.is_finite());
        let a = row.iter().fold(f64::from(Quantize::LEAST), |a, x| a.max(x.abs()));
        let inverse = nearest(largest / a);
        all.scale.push(if good { (a / largest) as f32 } else { f32::NAN });
        all.q.extend(row.iter().map(|x| match (p.out, good) {
            (DType::E4M3, true) => E4m3::from_f32((x * inverse) as f32).to_bits(),
            (DType::E4M3, false) => E4m3::NAN.to_bits(),
            (DType::E5M2, true) => E5m2::from_f32((x * inverse) as f32).to_bits(),
            (DType::E5M2, false) => E5m2::NAN.to_bits(),
            (_, true) => libm::rint(nearest(x * inverse)) as i8 as u8,
            (_, false) => 0,
        }));
    }
    all
}
