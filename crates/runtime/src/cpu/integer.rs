//! Products of 8-bit integers, summed in i32: exact, where f32 ends at 24 bits.
//!
//! Plain loops: this defines the numbers, and is what other backends are held to.

use super::simd::linear::Rows;
use quickpick_format::WORD_COLUMNS;
use rayon::prelude::*;

/// `sums[r·n + t] = Σ W[r]·x[t]`, rounded once, to f32; x `n×k`. k is below 2¹⁷ (the plan sees to it),
/// so that no sum overflows.
pub(super) fn products(weights: Rows<'_, i8>, x: &[i8], k: usize, sums: &mut [f32]) {
    let n = x.len() / k;
    sums.par_chunks_mut(n).enumerate().for_each(|(r, sums)| {
        let row = weights.part(r, 1, k);
        for (sum, x) in sums.iter_mut().zip(x.chunks_exact(k)) {
            *sum = dot(row, x) as f32;
        }
    });
}

fn dot(row: Rows<'_, i8>, x: &[i8]) -> i32 {
    let product = |w: &i8, x: i8| i32::from(*w) * i32::from(x);
    match row {
        Rows::Dense(w) => w.iter().zip(x).map(|(w, x)| product(w, *x)).sum(),
        Rows::Sparse(values, codes) => {
            let words = values.chunks_exact(WORD_COLUMNS / 2).zip(x.chunks_exact(WORD_COLUMNS));
            let word = |((values, x), code): ((&[i8], &[i8]), &u32)| -> i32 {
                let column = |j: usize| j / 2 * 4 + (code >> (2 * j) & 3) as usize;
                values.iter().enumerate().map(|(j, w)| product(w, x[column(j)])).sum()
            };
            words.zip(codes).map(word).sum()
        }
    }
}
