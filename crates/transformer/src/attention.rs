//! Softmax attention over sequences of one length, on slices in f32.

use crate::slices::{exponents, max};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// How rows divide into heads, and what a query sees.
#[derive(Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub count: usize,
    /// Key and value heads; query head h reads head `h / (count/key_value)`.
    pub key_value: usize,
    /// Elements of a head.
    pub width: usize,
    /// Whether a query sees only its own position and those before it.
    pub causal: bool,
}

/// `softmax(q·kᵀ/√width)·v` of each sequence of `len`, `n × count·width`: q like the result, k and v
/// `n × key_value·width`. A task is a head of a sequence.
pub fn attend(q: &[f32], k: &[f32], v: &[f32], n: usize, len: usize, heads: Heads) -> Vec<f32> {
    let Heads { count, key_value, width, causal } = heads;
    let (dim, kv) = (count * width, key_value * width);
    let q = MatRef::from_row_major_slice(q, n, dim);
    let k = MatRef::from_row_major_slice(k, n, kv);
    let v = MatRef::from_row_major_slice(v, n, kv);
    let head = |task: usize| {
        let (row, head) = (task / count * len, task % count);
        let shared = head / (count / key_value) * width;
        let q = q.submatrix(row, head * width, len, width);
        let k = k.submatrix(row, shared, len, width);
        let v = v.submatrix(row, shared, len, width);
        attend_head(q, k, v, causal)
    };
    let parts: Vec<Vec<f32>> = (0..n / len * count).into_par_iter().map(head).collect();
    let mut y = vec![0.0; n * dim];
    y.par_chunks_mut(dim).enumerate().for_each(|(row, y)| {
        for (head, y) in y.chunks_exact_mut(width).enumerate() {
            y.copy_from_slice(&parts[row / len * count + head][row % len * width..][..width]);
        }
    });
    y
}

/// Queries that meet the keys at once: their scores stay in the cache.
const QUERIES: usize = 64;

/// Attention of one head, `len × width`.
fn attend_head(q: MatRef<f32>, k: MatRef<f32>, v: MatRef<f32>, causal: bool) -> Vec<f32> {
    let (len, width) = (q.nrows(), q.ncols());
    let scale = 1.0 / (width as f32).sqrt();
    let mut y = vec![0.0; len * width];
    let mut scores = vec![0.0; QUERIES.min(len) * len];
    for (block, y) in y.chunks_mut(QUERIES * width).enumerate() {
        let (first, count) = (block * QUERIES, y.len() / width);
        let seen = if causal { first + count } else { len };
        let scores = &mut scores[..count * seen];
        let p = MatMut::from_row_major_slice_mut(&mut *scores, count, seen);
        let (q, k) = (q.subrows(first, count), k.subrows(0, seen));
        matmul(p, Accum::Replace, q, k.transpose(), scale, Par::Seq);
        let mut sums = [0.0; QUERIES];
        for (i, row) in scores.chunks_exact_mut(seen).enumerate() {
            let (row, hidden) = row.split_at_mut(if causal { first + i + 1 } else { seen });
            let shift = max(row);
            sums[i] = exponents(row, shift);
            hidden.fill(0.0);
        }
        let p = MatRef::from_row_major_slice(&*scores, count, seen);
        let out = MatMut::from_row_major_slice_mut(&mut *y, count, width);
        matmul(out, Accum::Replace, p, v.subrows(0, seen), 1.0, Par::Seq);
        for (row, sum) in y.chunks_exact_mut(width).zip(sums) {
            row.iter_mut().for_each(|y| *y /= sum);
        }
    }
    y
}
