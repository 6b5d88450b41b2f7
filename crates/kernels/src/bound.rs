//! How far a device may be from [`reference`](crate::reference), element by element, derived.
//!
//! With `u = 2⁻²⁴`, the unit roundoff of f32 (Higham, *Accuracy and Stability*, §2.2, §3.1, §4.2):
//!
//! - **sum of c products, in any order**: `γ_c·S`, `S = Σ|xᵢwᵢ|`, `γ_c = c·u/(1 − c·u)`. c counts the
//!   products that are not zero, since adding zero is exact. Products of 16-bit values are exact in
//!   f32; for f32 operands one more rounding each, `γ_{c+1}`.
//! - **tensor cores** align a block of products (at least eight) with the accumulator and truncate:
//!   at most 2 ulp, `4u`, of S for each of the `min(c, ⌈k/8⌉)` blocks that are not zero
//!   (behaviour: Fasi et al., *Numerical behavior of NVIDIA tensor cores*, 2021, §3). Every device
//!   is allowed this, so that one bound serves all. For 8-bit floats it is that of f32 sums, too, though
//!   Hopper keeps but 14 bits or so of each product when it aligns them (DeepSeek-V3 technical report,
//!   arXiv 2412.19437, §3.3.2): a kernel that stays outside is less exact than f32, and should say so.
//! - **I8**: the sum is exact, in i32; u of it when it becomes an f32, nothing up to 2²⁴.
//! - **scales**: their product and the one with the sum, `γ_2` of the result. Scales, and their
//!   products, must be normal.
//! - **bias, residual**: u of the magnitudes that are added.
//! - **activation**: its largest slope (ReLU 1, SiLU 1.1, GELU 1.13) × the error so far, plus the
//!   function's own error. The contract is that of WGSL §15.7.4: exp(x) to `3 + 2|x|` ulp, division
//!   to 2.5 ulp, an ulp being 2u at most. So SiLU: `(16 + 4|x|)·u` relative; GELU, whose 1 + tanh
//!   cancels: `|x|/2 · (16 + 16|s|)·u` absolute, s the argument of tanh.
//!   PTX's `tanh.approx.f32` (2⁻¹¹) does not meet it, and is not meant to.
//! - **gate times up**: each one's error times the other's magnitude, and u of the product.
//! - **output**: half an ulp: `2⁻¹¹` (f16), `2⁻⁸` (bf16) relative, half the subnormal spacing absolute.
//!   f16 that rounds to 2¹⁶ or more is infinity ([`holds`]).
//!
//! Inputs must be zero or normal in their own type, and outputs of bf16 and f32 below its overflow: what
//! devices do beyond that is not specified.

use crate::reference::{LinearInputs, SpmmCsrInputs, activate, gelu_argument, kv_head, softmax};
use crate::{Activation, Attention, DType, Linear, RmsNorm, Rotary, SpmmCsr, SwiGlu};
use alloc::vec;
use alloc::vec::Vec;
use quickpick_format::gate_up_rows;

/// Unit roundoff of f32.
const U: f64 = 1.0 / (1 << 24) as f64;

/// What flushing one f32 subnormal may lose.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// What `x / (1 + eʸ)` may lose where eʸ is taken for infinite a little early, y > 88.
const NEAR_OVERFLOW: f64 = 1e-35;

/// `γ_c = c·u/(1 − c·u)`.
fn gamma(c: usize) -> f64 {
    let cu = c as f64 * U;
    cu / (1.0 - cu)
}

/// The error of a value that had `error` in f32, after it is rounded to `out`.
fn stored(out: DType, value: f64, error: f64) -> f64 {
    let (relative, subnormal) = match out {
        DType::F16 => (exp2(-11), exp2(-25)),
        DType::BF16 => (exp2(-8), exp2(-134)),
        DType::F32 | DType::I8 | DType::E4M3 | DType::E5M2 => (0.0, 0.0),
    };
    error + relative * (value.abs() + error) + subnormal
}

/// Whether an output is as near as its bound says. An infinity of f16 stands for 2¹⁶, the next number if the
/// type had one, or for any beyond.
pub fn holds(out: DType, got: f64, want: f64, bound: f64) -> bool {
    if out == DType::F16 && got.is_infinite() {
        return want * got.signum() >= exp2(16) - bound;
    }
    (got - want).abs() <= bound
}

fn exp2(e: i32) -> f64 {
    libm::ldexp(1.0, e)
}

/// The error of a dot product as an f32; of floats it is accumulated in f32, tensor cores included.
fn dot(dtype: DType, a: &[f64], b: &[f64]) -> f64 {
    if dtype == DType::I8 {
        let sum: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        return if sum.abs() > exp2(24) { U * sum.abs() } else { 0.0 };
    }
    let products = a.iter().zip(b).map(|(a, b)| (a * b).abs());
    let (mut count, mut sum) = (0, 0.0);
    for p in products.filter(|&p| p > 0.0) {
        count += 1;
        sum += p;
    }
    let roundings = if dtype == DType::F32 { count + 1 } else { count };
    let blocks = count.min(a.len().div_ceil(8));
    (gamma(roundings) + 4.0 * U * blocks as f64) * sum + count as f64 * TINY
}

/// The bound of an activation's result, where its argument `x` is off by `error`.
fn activated(activation: Activation, x: f64, error: f64) -> f64 {
    let y = activate(activation, x).abs();
    match activation {
        Activation::None | Activation::Relu => error,
        Activation::Silu => 1.1 * error + (16.0 + 4.0 * x.abs()) * U * y + NEAR_OVERFLOW,
        Activation::Gelu => {
            let tanh = (16.0 + 16.0 * gelu_argument(x).abs()) * U;
            // beyond |s| = 16, tanh is ±1 to f32's last bit whatever its error
            1.13 * error + x.abs() / 2.0 * tanh.min(272.0 * U) + 2.0 * U * y + NEAR_OVERFLOW
        }
    }
}

/// Bound of each element of Y; arguments as of [`reference::linear`](crate::reference::linear).
pub fn linear(p: &Linear, inputs: &LinearInputs<'_>) -> Vec<f64> {
    let (m, n, k) = (p.features() as usize, p.n as usize, p.k as usize);
    let LinearInputs { w, x, w_scale, x_scale, bias, residual } = *inputs;
    let mut bound = vec![0.0; n * m];
    let biased = |t: usize, r: usize| {
        let (xs, ws) = (&x[t * k..][..k], &w[r * k..][..k]);
        let mut value: f64 = xs.iter().zip(ws).map(|(x, w)| x * w).sum();
        let mut error = dot(p.dtype, xs, ws);
        if p.epilogue.scales {
            let scale = w_scale[r] * x_scale[t];
            error *= scale.abs();
            value *= scale;
            error += gamma(2) * (value.abs() + error) + TINY;
        }
        if p.epilogue.bias {
            error += U * (value.abs() + error + bias[r].abs());
            value += bias[r];
        }
        (value, error)
    };
    for t in 0..n {
        for f in 0..m {
            let [gate, up] = if p.epilogue.gated { gate_up_rows(f) } else { [f, f] };
            let (mut value, mut error) = biased(t, gate);
            error = activated(p.epilogue.activation, value, error);
            value = activate(p.epilogue.activation, value);
            if p.epilogue.gated {
                let (up, off) = biased(t, up);
                error = error * (up.abs() + off) + value.abs() * off;
                value *= up;
                error += U * (value.abs() + error) + TINY;
            }
            let at = p.epilogue.index(t, f, n, m);
            if p.epilogue.residual {
                let residual = residual[at];
                error += U * (value.abs() + error + residual.abs());
                value += residual;
            }
            bound[at] = stored(p.out, value, error);
        }
    }
    bound
}

/// Bound of each element of y. The sum of squares is off by `γ_{d+2}` relative, its root by half of
/// that; rsqrt, division and products add at most 16 roundings.
pub fn rmsnorm(p: &RmsNorm, y: &[f64]) -> Vec<f64> {
    let relative = gamma(p.d as usize + 2) / 2.0 + 16.0 * U;
    y.iter().map(|y| stored(p.out, *y, relative * y.abs() + TINY)).collect()
}

/// Bound of each element of [`reference::rotary`](crate::reference::rotary)'s q, k and v: three
/// roundings of `|a·cos| + |b·sin|`.
pub fn rotary(
    p: &Rotary,
    q: &[f64],
    k: &[f64],
    v: &[f64],
    pos: u32,
    table: &[f64],
) -> crate::reference::Rotated {
    let hd = p.head_dim as usize;
    let half = hd / 2;
    let turned = |x: &[f64], heads: u32, out: DType| -> Vec<f64> {
        let error = |(i, _): (usize, &f64)| {
            let at = pos as usize + i / (heads as usize * hd);
            if at >= p.max_seq as usize {
                return 0.0;
            }
            let (j, head) = (i % hd, i - i % hd);
            let other = x[head + (j + half) % hd];
            let (cos, sin) = (table[at * hd + j % half], table[at * hd + half + j % half]);
            let sum = (x[i] * cos).abs() + (other * sin).abs();
            stored(out, sum, gamma(3) * sum + TINY)
        };
        x.iter().enumerate().map(error).collect()
    };
    crate::reference::Rotated {
        q: turned(q, p.heads, DType::F32),
        k: turned(k, p.kv_heads, p.cache),
        v: v.iter().map(|v| stored(p.cache, *v, 0.0)).collect(),
    }
}

/// Bound of each element of y; arguments as of
/// [`reference::attention`](crate::reference::attention).
///
/// A score is off by `e = max γ_{head_dim+3}·Σ|q·k|/√head_dim`; with `r` the range of the scores a
/// weight is off by `δ = 2e + (8 + 6r)·u` relative, and by `8u` more for each row and `4r·u` once
/// where a running maximum rescales. Weights enter numerator and denominator:
/// `|Δy| ≤ (2δ/(1−δ) + 2γ_{rows+2})·Σ p|v| / Σ p`.
pub fn attention(p: &Attention, q: &[f64], k: &[f64], v: &[f64], pos: u32) -> Vec<f64> {
    let (hd, kv) = (p.head_dim as usize, p.kv_heads as usize);
    let root = libm::sqrt(hd as f64);
    let mut bound = Vec::with_capacity((p.n * p.heads * p.head_dim) as usize);
    for token in 0..p.n as usize {
        for head in 0..p.heads as usize {
            let last = pos as usize + token;
            let q = &q[(token * p.heads as usize + head) * hd..][..hd];
            let row = |cache, j: usize| -> &[f64] {
                let cache: &[f64] = cache;
                &cache[(j * kv + kv_head(p, head)) * hd..][..hd]
            };
            let score = |j| -> f64 { q.iter().zip(row(k, j)).map(|(a, b)| a * b).sum() };
            let absolute = |j| -> f64 { q.iter().zip(row(k, j)).map(|(a, b)| (a * b).abs()).sum() };
            let largest = (0..=last).map(absolute).fold(0.0, f64::max) / root;
            let (low, high) = (0..=last)
                .map(|j| score(j) / root)
                .fold((f64::MAX, f64::MIN), |(l, h), s| (l.min(s), h.max(s)));
            let (range, rows) = (high - low, last + 1);
            let delta = 2.0 * gamma(hd + 3) * largest
                + (8.0 + 6.0 * range) * U
                + (8.0 * rows as f64 + 4.0 * range) * U;
            let relative = 2.0 * delta / (1.0 - delta) + 2.0 * gamma(rows + 2);
            let weights = softmax(p, q, k, head, last);
            for i in 0..hd {
                let (mut value, mut sum) = (0.0, 0.0);
                for (j, weight) in weights.iter().enumerate() {
                    value += weight * row(v, j)[i];
                    sum += weight * row(v, j)[i].abs();
                }
                bound.push(stored(p.out, value, relative * sum + TINY));
            }
        }
    }
    bound
}

/// Bound of each element of y.
pub fn swiglu(p: &SwiGlu, gate: &[f64], up: &[f64]) -> Vec<f64> {
    let one = |(gate, up): (&f64, &f64)| {
        let value = activate(Activation::Silu, *gate) * up;
        let error = activated(Activation::Silu, *gate, 0.0) * up.abs() + U * value.abs() + TINY;
        stored(p.out, value, error)
    };
    gate.iter().zip(up).map(one).collect()
}

/// Bound of each element of y; arguments as of [`reference::spmm_csr`](crate::reference::spmm_csr).
pub fn spmm_csr(p: &SpmmCsr, inputs: &SpmmCsrInputs<'_>) -> Vec<f64> {
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let mut bound = vec![0.0; n * m];
    for (t, x) in inputs.x[..n * k].chunks_exact(k).enumerate() {
        for r in 0..m {
            let (values, x) = inputs.factors(r, x);
            let mut error = dot(p.dtype, values, &x);
            if p.residual {
                let sum: f64 = values.iter().zip(&x).map(|(w, x)| w * x).sum();
                error += U * (sum.abs() + error + inputs.residual[t * m + r].abs());
            }
            bound[t * m + r] = error;
        }
    }
    bound
}
