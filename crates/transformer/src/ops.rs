//! The decoder's operations with their derivatives, each as one node of candle's graph.
//!
//! candle could derive them from its own tensor operations, and the tests hold them against that. As
//! single nodes they pass over memory once instead of ten times, and keep no tensor of 2¹⁶ elements
//! or more in the graph: those candle hands to one pool for the whole process, where shards would
//! wait for each other.
//!
//! Throughout, `g` is the gradient of the loss by the operation's result.

use crate::slices::{exp, exponents, max, sum_of_exponents};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor,
    bail,
};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::sync::Arc;

/// `x[n×k] · w[m×k]ᵀ`, on this thread.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.apply_op2(w, Linear)
}

/// `x[i] · gain / √(mean(x[i]²) + eps)` for each row.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f32) -> Result<Tensor> {
    x.apply_op2(gain, RmsNorm { eps })
}

/// `silu(gate) · up`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.apply_op2(up, SwiGlu)
}

/// `−ln softmax(logits)[target]` for each row of `n×vocab`.
pub fn cross_entropy(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    logits.apply_op1(CrossEntropy { targets })
}

/// The elements of a tensor without gaps.
pub(crate) fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a tensor with gaps: {layout:?}"),
    }
}

pub(crate) fn to_vec(t: &Tensor) -> Result<Vec<f32>> {
    t.flatten_all()?.to_vec1()
}

pub(crate) fn like(values: Vec<f32>, t: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, t.shape(), &Device::Cpu)
}

/// `f` of the elements of a tensor without gaps.
fn with<T>(t: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = t.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(elements(storage, layout)?),
        _ => bail!("a tensor that is not on the CPU"),
    }
}

/// `a·b` on this thread, by faer, whose kernels use AVX-512 where candle's stop at AVX2.
fn product(a: MatRef<f32>, b: MatRef<f32>) -> Vec<f32> {
    let (n, m) = (a.nrows(), b.ncols());
    let mut y = vec![0.0; n * m];
    let into = MatMut::from_row_major_slice_mut(&mut y, n, m);
    matmul(into, Accum::Replace, a, b, 1.0, Par::Seq);
    y
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, k) = x_layout.shape().dims2()?;
        let (m, inputs) = w_layout.shape().dims2()?;
        if k != inputs {
            bail!("{n}×{k} meets a layer of {m}×{inputs}");
        }
        let x = MatRef::from_row_major_slice(elements(x, x_layout)?, n, k);
        let w = MatRef::from_row_major_slice(elements(w, w_layout)?, m, k);
        Ok((CpuStorage::F32(product(x, w.transpose())), (n, m).into()))
    }

    /// `dx = g·w`, `dw = gᵀ·x`; neither for what no gradient is asked of.
    fn bwd(
        &self,
        x_in: &Tensor,
        w_in: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((n, k), m) = (x_in.dims2()?, w_in.dim(0)?);
        let g = to_vec(g)?;
        let g = MatRef::from_row_major_slice(&g, n, m);
        let dx = || with(w_in, |w| like(product(g, MatRef::from_row_major_slice(w, m, k)), x_in));
        let dw = || {
            let into = |x: &[f32]| product(g.transpose(), MatRef::from_row_major_slice(x, n, k));
            with(x_in, |x| like(into(x), w_in))
        };
        Ok((x_in.track_op().then(dx).transpose()?, w_in.track_op().then(dw).transpose()?))
    }
}

struct RmsNorm {
    eps: f32,
}

impl RmsNorm {
    /// `1/√(mean(x²) + eps)`.
    fn scale(&self, row: &[f32]) -> f32 {
        (row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32 + self.eps).sqrt().recip()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain) = (elements(x, x_layout)?, elements(gain, gain_layout)?);
        let mut y = Vec::with_capacity(x.len());
        for row in x.chunks_exact(gain.len()) {
            let scale = self.scale(row);
            y.extend(row.iter().zip(gain).map(|(x, gain)| x * scale * gain));
        }
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    /// With `s` the scale and `h = g∘gain`: `dx = s·(h − x·s²·mean(h∘x))`, `dgain = Σ g∘x·s` over rows.
    fn bwd(
        &self,
        x_in: &Tensor,
        gain_in: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x, gain, g) = (to_vec(x_in)?, to_vec(gain_in)?, to_vec(g)?);
        let d = gain.len();
        let mut dx = Vec::with_capacity(x.len());
        let mut dgain = vec![0.0; d];
        for (x, g) in x.chunks_exact(d).zip(g.chunks_exact(d)) {
            let s = self.scale(x);
            let dot: f32 = x.iter().zip(g).zip(&gain).map(|((x, g), gain)| x * g * gain).sum();
            let back = s * s * dot / d as f32;
            dx.extend(x.iter().zip(g).zip(&gain).map(|((x, g), gain)| s * (g * gain - x * back)));
            for ((dgain, x), g) in dgain.iter_mut().zip(x).zip(g) {
                *dgain += g * x * s;
            }
        }
        Ok((Some(like(dx, x_in)?), Some(like(dgain, gain_in)?)))
    }
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let pairs = elements(gate, gate_layout)?.iter().zip(elements(up, up_layout)?);
        let y = pairs.map(|(gate, up)| gate * sigmoid(*gate) * up).collect();
        Ok((CpuStorage::F32(y), gate_layout.shape().clone()))
    }

    /// With `σ` the sigmoid of the gate: `dup = g·gate·σ`, `dgate = g·up·σ·(1 + gate·(1 − σ))`.
    fn bwd(
        &self,
        gate_in: &Tensor,
        up_in: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (mut gate, mut up, g) = (to_vec(gate_in)?, to_vec(up_in)?, to_vec(g)?);
        for ((gate, up), g) in gate.iter_mut().zip(&mut up).zip(&g) {
            let s = sigmoid(*gate);
            let dgate = g * *up * s * (1.0 + *gate * (1.0 - s));
            *up = g * *gate * s;
            *gate = dgate;
        }
        Ok((Some(like(gate, gate_in)?), Some(like(up, up_in)?)))
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Rotary embedding of q and k, then causal attention: `softmax(q·kᵀ/√head_dim)·v`, query head h
/// reading key-value head `h / (heads/kv_heads)`. Applied to q `rows·len × heads·head_dim` and to k
/// and v `rows·len × kv_heads·head_dim`; the result is like q.
pub struct Attention {
    /// Sequences.
    pub rows: usize,
    /// Positions of a sequence.
    pub len: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// [`crate::Config::rotary_table`].
    pub rotary: Arc<[f32]>,
}

impl Attention {
    /// `rows·len × heads·head_dim` to `rows·heads × len × head_dim`.
    fn split(&self, x: &[f32], heads: usize) -> Vec<f32> {
        self.swap(x, self.len, heads)
    }

    /// The inverse of [`Self::split`].
    fn join(&self, x: &[f32], heads: usize) -> Vec<f32> {
        self.swap(x, heads, self.len)
    }

    /// `rows × outer × inner × head_dim` to `rows × inner × outer × head_dim`.
    fn swap(&self, x: &[f32], outer: usize, inner: usize) -> Vec<f32> {
        let hd = self.head_dim;
        let mut y = Vec::with_capacity(x.len());
        for row in x.chunks_exact(outer * inner * hd) {
            for i in 0..inner {
                for o in 0..outer {
                    let at = (o * inner + i) * hd;
                    y.extend_from_slice(&row[at..at + hd]);
                }
            }
        }
        y
    }

    /// Turns each head's halves by its position's angle; `direction` −1 turns them back.
    fn rotate(&self, mut x: Vec<f32>, direction: f32) -> Vec<f32> {
        let hd = self.head_dim;
        for (i, head) in x.chunks_exact_mut(hd).enumerate() {
            let (cos, sin) = self.rotary[i % self.len * hd..][..hd].split_at(hd / 2);
            let (a, b) = head.split_at_mut(hd / 2);
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let sin = direction * sin;
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
        x
    }

    /// As a batch of one matrix per key-value head: the query heads that share it, one below the other.
    fn batch(&self, x: Vec<f32>) -> Result<Tensor> {
        let batch = self.rows * self.kv_heads;
        Tensor::from_vec(x, (batch, (), self.head_dim), &Device::Cpu)
    }

    /// `scores` becomes `softmax(scores/√head_dim)` of what each position may see, in place.
    fn softmax(&self, scores: &Tensor) -> Result<Vec<f32>> {
        let scale = (self.head_dim as f32).sqrt().recip();
        let mut p = to_vec(scores)?;
        for (i, row) in p.chunks_exact_mut(self.len).enumerate() {
            let (seen, hidden) = row.split_at_mut(i % self.len + 1);
            seen.iter_mut().for_each(|x| *x *= scale);
            let shift = max(seen);
            let sum = exponents(seen, shift);
            for x in seen {
                *x /= sum;
            }
            hidden.fill(0.0);
        }
        Ok(p)
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let q = self.batch(self.rotate(self.split(elements(q, q_layout)?, self.heads), 1.0))?;
        let k = self.batch(self.rotate(self.split(elements(k, k_layout)?, self.kv_heads), 1.0))?;
        let v = self.batch(self.split(elements(v, v_layout)?, self.kv_heads))?;
        let scores = q.matmul(&k.t()?)?;
        let y = like(self.softmax(&scores)?, &scores)?.matmul(&v)?;
        Ok((CpuStorage::F32(self.join(&to_vec(&y)?, self.heads)), q_layout.shape().clone()))
    }

    /// With `p` the probabilities and `h = g·vᵀ`: `dv = pᵀ·g`, `ds = p∘(h − Σ p∘h)/√head_dim`,
    /// `dq = ds·k`, `dk = dsᵀ·q`, the last two turned back.
    fn bwd(
        &self,
        q_in: &Tensor,
        k_in: &Tensor,
        v_in: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (heads, kv) = (self.heads, self.kv_heads);
        let q = self.batch(self.rotate(self.split(&to_vec(q_in)?, heads), 1.0))?;
        let k = self.batch(self.rotate(self.split(&to_vec(k_in)?, kv), 1.0))?;
        let v = self.batch(self.split(&to_vec(v_in)?, kv))?;
        let g = self.batch(self.split(&to_vec(g)?, heads))?;
        let scores = q.matmul(&k.t()?)?;
        let p = self.softmax(&scores)?;
        let mut ds = to_vec(&g.matmul(&v.t()?)?)?;
        let scale = (self.head_dim as f32).sqrt().recip();
        for (h, p) in ds.chunks_exact_mut(self.len).zip(p.chunks_exact(self.len)) {
            let dot: f32 = h.iter().zip(p).map(|(h, p)| h * p).sum();
            for (h, p) in h.iter_mut().zip(p) {
                *h = p * (*h - dot) * scale;
            }
        }
        let (p, ds) = (like(p, &scores)?, like(ds, &scores)?);
        let dv = self.join(&to_vec(&p.transpose(1, 2)?.matmul(&g)?)?, kv);
        let dq = self.join(&self.rotate(to_vec(&ds.matmul(&k)?)?, -1.0), heads);
        let dk = self.join(&self.rotate(to_vec(&ds.transpose(1, 2)?.matmul(&q)?)?, -1.0), kv);
        Ok((Some(like(dq, q_in)?), Some(like(dk, k_in)?), Some(like(dv, v_in)?)))
    }
}

struct CrossEntropy {
    targets: Vec<u32>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, vocab) = layout.shape().dims2()?;
        let logits = elements(logits, layout)?;
        if n != self.targets.len() || self.targets.iter().any(|t| *t as usize >= vocab) {
            bail!("{} targets below {vocab} for {n} rows", self.targets.len());
        }
        let rows = logits.chunks_exact(vocab).zip(&self.targets);
        let loss = rows.map(|(row, target)| {
            let shift = max(row);
            sum_of_exponents(row, shift).ln() + shift - row[*target as usize]
        });
        Ok((CpuStorage::F32(loss.collect()), n.into()))
    }

    /// `dlogits = g·(softmax(logits) − onehot(target))`.
    fn bwd(&self, logits_in: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let (mut logits, g) = (to_vec(logits_in)?, to_vec(g)?);
        let rows = logits.chunks_exact_mut(logits_in.dim(1)?);
        for ((row, target), g) in rows.zip(&self.targets).zip(g) {
            let shift = max(row);
            let scale = g / exponents(row, shift);
            row.iter_mut().for_each(|x| *x *= scale);
            row[*target as usize] -= g;
        }
        Ok(Some(like(logits, logits_in)?))
    }
}

#[cfg(test)]
mod tests;
