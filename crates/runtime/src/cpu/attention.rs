//! Causal attention over the caches: one task per (token, head), one pass over the cache with a
//! running maximum (online softmax, arXiv 1805.02867).

use super::math::exp;
use super::memory::Views;
use super::simd::cache::CacheExt;
use super::simd::{Element, Isa, Kernel, Simd, SimdExt};
use quickpick_kernels::Problem;
use rayon::prelude::*;

/// Largest head.
const HEAD: usize = 128;

/// Cache rows between two looks at the maximum.
const BLOCK: usize = 32;

/// Elements of caches that a task reads at least: less is not worth another thread.
const TASK: usize = 1 << 14;

/// Runs attention: caches of T, y of O.
pub(super) fn run<T: Element, O: Element>(
    isa: Isa,
    problem: &Problem,
    v: &mut Views<'_>,
    _: &mut [f32],
) {
    let Problem::Attention(p) = problem else { return };
    let (heads, kv_heads) = (p.heads as usize, p.kv_heads as usize);
    let (hd, group) = (p.head_dim as usize, heads / kv_heads);
    let (q, keys, values) = (v.input::<f32>(0), v.input::<T>(1), v.input::<T>(2));
    let (pos, y) = (v.input::<u32>(3), v.output::<O>(4));
    let longest = (pos[0] as usize + p.n as usize).min(p.max_seq as usize);
    let least = (TASK / (2 * hd * longest).max(1)).max(1);
    let all = y.par_chunks_mut(hd).zip(q.par_chunks(hd)).enumerate();
    all.with_min_len(least).for_each(|(i, (y, q))| {
        let (token, head) = (i / heads, i % heads);
        let rows = (pos[0] as usize + token + 1).min(p.max_seq as usize);
        let (start, stride) = (head / group * hd, kv_heads * hd);
        isa.run(Head { q, keys: &keys[start..], values: &values[start..], stride, rows, y });
    });
}

/// One query of one head against `rows` rows of the caches, `stride` elements apart.
struct Head<'a, T, O> {
    q: &'a [f32],
    keys: &'a [T],
    values: &'a [T],
    stride: usize,
    rows: usize,
    y: &'a mut [O],
}

impl<T: Element, O: Element> Kernel for Head<'_, T, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { q, keys, values, stride, rows, y } = self;
        let hd = q.len();
        let scale = 1.0 / (hd as f32).sqrt();
        let (mut sum, mut max) = (0.0, f32::NEG_INFINITY);
        let mut acc = [0.0; HEAD];
        let acc = &mut acc[..hd];
        for start in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - start);
            let mut scores = [f32::NEG_INFINITY; BLOCK];
            for (j, score) in scores[..count].iter_mut().enumerate() {
                *score = s.dot(q, &keys[(start + j) * stride..][..hd]) * scale;
            }
            let before = max;
            max = scores.iter().copied().fold(max, f32::max);
            let rescale = exp(before - max);
            scores.iter_mut().for_each(|score| *score = exp(*score - max));
            // what is beyond `count` has no weight
            sum = sum * rescale + s.dot(&scores, &[1.0; BLOCK]);
            s.add_weighted(&scores[..count], &values[start * stride..], stride, rescale, acc);
        }
        acc.iter_mut().for_each(|a| *a /= sum);
        s.narrow(acc, y);
    }
}
