//! Each output as a dot product along k. A vector of kept weights meets `2·KEPT` inputs of a token, of which a
//! permutation, named by the codes, picks those that it wants; a few rows and tokens at a time, so that places
//! serve several tokens and inputs several rows.

#![allow(clippy::needless_range_loop)] // indices name registers

use super::products::Products;
use super::weights::{BLOCK_COLUMNS, BLOCK_KEPT, BLOCK_ROWS, BLOCK_WORDS, Rows, blocks};
use bytemuck::{Pod, Zeroable};

/// `out[r·n + t] = Σ W[r]·x[t]`, f32s; x `n × k` as `Weight::prepare` makes it, out `rows × n`.
pub(in crate::cpu) struct Dot<'a, T> {
    pub weights: Rows<'a, T>,
    pub x: &'a [u8],
    pub k: usize,
    pub n: usize,
    pub out: &'a mut [f32],
}

/// Bytes of one token's inputs that several rows share: with other tokens' they stay in the first cache.
const NEAR: usize = 8 << 10;

/// Rows of dense weights at once, at most.
const DENSE_ROWS: usize = 4;

#[inline(always)]
pub(super) fn run<P: Products>(p: P, job: Dot<'_, P::W>) {
    let Dot { weights, x, k, n, out } = job;
    let x: &[P::X] = bytemuck::cast_slice(x);
    let out: &mut [P::Out] = bytemuck::cast_slice_mut(out);
    let rows = out.len() / n;
    weights.check(rows, k);
    assert!(x.len() == n * k && out.len() == rows * n, "x is n×k, the output rows×n");
    let near = match n <= P::TOKENS {
        true => k,
        false => NEAR / size_of::<P::X>(),
    };
    // whole blocks
    let deepest = near.min(P::DEPTH).next_multiple_of(BLOCK_COLUMNS);
    for start in (0..k).step_by(deepest) {
        let at = Part { start, depth: deepest.min(k - start), k, n, rows };
        let mut token = 0;
        while token < n {
            // SAFETY: token + N <= n, start + depth <= k, and the asserts above fix the length of every slice by
            // rows, n and k
            unsafe {
                let (x, out) = (x.as_ptr().add(token * k + start), out.as_mut_ptr().add(token));
                token += match (n - token).min(P::TOKENS) {
                    4 => tokens::<P, 4>(p, weights, at, token, x, out),
                    3 => tokens::<P, 3>(p, weights, at, token, x, out),
                    2 => tokens::<P, 2>(p, weights, at, token, x, out),
                    _ => tokens::<P, 1>(p, weights, at, token, x, out),
                };
            }
        }
    }
    P::finish(out);
}

/// A part of a job: some columns of all its rows.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    depth: usize,
    k: usize,
    n: usize,
    rows: usize,
}

/// N tokens; returns N.
///
/// # Safety
///
/// `weights` are `at.rows × at.k`; x points to N rows, `at.k` apart, of `at.depth` inputs, out to `at.rows` rows,
/// `at.n` apart, of N sums.
#[inline(always)]
unsafe fn tokens<P: Products, const N: usize>(
    p: P,
    weights: Rows<'_, P::W>,
    at: Part,
    token: usize,
    x: *const P::X,
    out: *mut P::Out,
) -> usize {
    let mut row = 0;
    while row < at.rows {
        let left = at.rows - row;
        // SAFETY: row + R <= rows, padded to whole blocks for 2:4 weights; the rest is the caller's promise
        unsafe {
            let out = out.add(row * at.n);
            row += match weights {
                Rows::Sparse(v, c) => {
                    let block = row / BLOCK_ROWS * blocks(at.k) + at.start / BLOCK_COLUMNS;
                    let v = v.as_ptr().add(block * BLOCK_ROWS * BLOCK_KEPT);
                    let c = c.as_ptr().add(block * BLOCK_ROWS * BLOCK_WORDS);
                    let sums = sparse::<P, N>(p, v, c, at, token, x);
                    store(&sums[..BLOCK_ROWS.min(left)], at, out);
                    BLOCK_ROWS
                }
                Rows::Dense(w) => {
                    let w = w.as_ptr().add(row * at.k + at.start);
                    if left >= DENSE_ROWS {
                        store(&dense::<P, DENSE_ROWS, N>(p, w, at, x), at, out);
                        DENSE_ROWS
                    } else {
                        store(&dense::<P, 1, N>(p, w, at, x), at, out);
                        1
                    }
                }
            }
        }
    }
    N
}

/// Sums of the first columns are stored, those of the others added.
///
/// # Safety
///
/// out points to `sums.len()` rows, `at.n` apart, of N sums.
#[inline(always)]
unsafe fn store<O: Copy + std::ops::AddAssign, const N: usize>(
    sums: &[[O; N]],
    at: Part,
    out: *mut O,
) {
    for (r, sums) in sums.iter().enumerate() {
        for (t, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise
            let out = unsafe { &mut *out.add(r * at.n + t) };
            match at.start {
                0 => *out = *sum,
                _ => *out += *sum,
            }
        }
    }
}

/// The sums of R rows × N tokens, and what the shift adds to each row's. No closures here and below: such would be
/// compiled without the set's instructions.
#[derive(Clone, Copy)]
struct Sums<P: Products, const R: usize, const N: usize> {
    products: [[P::Sum; N]; R],
    shifted: [P::Sum; R],
}

impl<P: Products, const R: usize, const N: usize> Sums<P, R, N> {
    #[inline(always)]
    fn zero(p: P) -> Self {
        Self { products: [[p.zero(); N]; R], shifted: [p.zero(); R] }
    }

    /// Adds the products of row r's weights with each token's inputs.
    #[inline(always)]
    fn add(&mut self, p: P, r: usize, w: P::V, x: [P::V; N]) {
        for t in 0..N {
            self.products[r][t] = p.add(self.products[r][t], w, x[t]);
        }
        if let Some(shift) = P::SHIFT {
            self.shifted[r] = p.add(self.shifted[r], w, p.shift(shift));
        }
    }

    #[inline(always)]
    fn total(self, p: P) -> [[P::Out; N]; R] {
        let mut out = [[P::Out::zeroed(); N]; R];
        for r in 0..R {
            for t in 0..N {
                out[r][t] = p.total(self.products[r][t], self.shifted[r]);
            }
        }
        out
    }

    /// `KEPT` kept values of each row, from `kept` of a block on.
    ///
    /// # Safety
    ///
    /// values and codes are a block's, which has `kept + KEPT` values of each row; `2·KEPT` inputs at each x.
    #[inline(always)]
    unsafe fn sparse(
        &mut self,
        p: P,
        values: *const P::W,
        codes: *const u32,
        kept: usize,
        x: [*const P::X; N],
    ) {
        // SAFETY: the caller's promise
        unsafe {
            let mut low = [p.inputs(x[0]); N];
            let mut high = [p.inputs(x[0].add(P::KEPT)); N];
            for t in 1..N {
                low[t] = p.inputs(x[t]);
                high[t] = p.inputs(x[t].add(P::KEPT));
            }
            for r in 0..R {
                let places = p.places(codes.add(r * BLOCK_WORDS), kept);
                let w = p.weights(values.add(r * BLOCK_KEPT + kept));
                let mut picked = low;
                for t in 0..N {
                    picked[t] = p.pick(low[t], high[t], places);
                }
                self.add(p, r, w, picked);
            }
        }
    }

    /// `KEPT` dense weights of each row.
    ///
    /// # Safety
    ///
    /// `KEPT` weights at each w, inputs at each x.
    #[inline(always)]
    unsafe fn dense(&mut self, p: P, w: [*const P::W; R], x: [*const P::X; N]) {
        // SAFETY: the caller's promise
        unsafe {
            let mut inputs = [p.inputs(x[0]); N];
            for t in 1..N {
                inputs[t] = p.inputs(x[t]);
            }
            for r in 0..R {
                self.add(p, r, p.weights(w[r]), inputs);
            }
        }
    }
}

/// Pointers `by` elements further on.
#[inline(always)]
fn shift<T, const N: usize>(mut pointers: [*const T; N], by: usize) -> [*const T; N] {
    for pointer in &mut pointers {
        *pointer = pointer.wrapping_add(by);
    }
    pointers
}

/// Pointers `stride` elements apart.
#[inline(always)]
fn spread<T, const N: usize>(first: *const T, stride: usize) -> [*const T; N] {
    let mut pointers = [first; N];
    for (i, pointer) in pointers.iter_mut().enumerate() {
        *pointer = first.wrapping_add(i * stride);
    }
    pointers
}

/// Copies of the last `count` elements at each pointer, and zeros: a step that k ends within.
///
/// # Safety
///
/// `count` elements at each pointer, at most L.
#[inline(always)]
unsafe fn last<T: Pod, const L: usize, const N: usize>(
    from: [*const T; N],
    count: usize,
) -> [[T; L]; N] {
    let mut copies = [[T::zeroed(); L]; N];
    for (copy, from) in copies.iter_mut().zip(from) {
        // SAFETY: the caller's promise
        unsafe { from.copy_to(copy.as_mut_ptr(), count) };
    }
    copies
}

/// [`BLOCK_ROWS`] rows of 2:4 weights × N tokens.
///
/// # Safety
///
/// From values and codes on lie the blocks of `at.depth` columns, the last whole; x points to N rows, `at.k` apart,
/// of `at.depth` inputs.
#[inline(always)]
unsafe fn sparse<P: Products, const N: usize>(
    p: P,
    values: *const P::W,
    codes: *const u32,
    at: Part,
    token: usize,
    x: *const P::X,
) -> [[P::Out; N]; BLOCK_ROWS] {
    let mut sums = Sums::<P, BLOCK_ROWS, N>::zero(p);
    let x: [_; N] = spread(x, at.k);
    // SAFETY: whole steps end before depth, and so does what is left of the last; the rest is the caller's promise
    unsafe {
        let ahead = Ahead::new::<P>(at, token);
        for start in (0..at.depth).step_by(BLOCK_COLUMNS) {
            let values = values.add(start / BLOCK_COLUMNS * BLOCK_ROWS * BLOCK_KEPT);
            let codes = codes.add(start / BLOCK_COLUMNS * BLOCK_ROWS * BLOCK_WORDS);
            ahead.ask(p, values, codes);
            let here = BLOCK_COLUMNS.min(at.depth - start);
            let whole = here / 2 / P::KEPT * P::KEPT;
            for kept in (0..whole).step_by(P::KEPT) {
                sums.sparse(p, values, codes, kept, shift(x, start + 2 * kept));
            }
            if 2 * whole < here {
                let x = last::<_, BLOCK_COLUMNS, N>(shift(x, start + 2 * whole), here - 2 * whole);
                sums.sparse(p, values, codes, whole, spread(x[0].as_ptr(), BLOCK_COLUMNS));
            }
        }
    }
    sums.total(p)
}

/// R rows of dense weights × N tokens.
///
/// # Safety
///
/// w points to R rows, x to N rows, `at.k` apart, of `at.depth` elements.
#[inline(always)]
unsafe fn dense<P: Products, const R: usize, const N: usize>(
    p: P,
    w: *const P::W,
    at: Part,
    x: *const P::X,
) -> [[P::Out; N]; R] {
    let mut sums = Sums::<P, R, N>::zero(p);
    let (w, x): ([_; R], [_; N]) = (spread(w, at.k), spread(x, at.k));
    let whole = at.depth / P::KEPT * P::KEPT;
    // SAFETY: whole steps end before depth, and so does what is left of the last; the rest is the caller's promise
    unsafe {
        for i in (0..whole).step_by(P::KEPT) {
            for w in w {
                p.prefetch(w.wrapping_add(R * at.k + i));
            }
            sums.dense(p, shift(w, i), shift(x, i));
        }
        if whole < at.depth {
            let w = last::<_, BLOCK_KEPT, R>(shift(w, whole), at.depth - whole);
            let x = last::<_, BLOCK_KEPT, N>(shift(x, whole), at.depth - whole);
            sums.dense(p, spread(w[0].as_ptr(), BLOCK_KEPT), spread(x[0].as_ptr(), BLOCK_KEPT));
        }
    }
    sums.total(p)
}

/// Which cache lines of W to ask for ahead of their use. Where a job has many tokens, those of the next job, a share of
/// them while each few tokens of this one are multiplied, so that memory is never idle; else those of the next blocks.
struct Ahead {
    /// In weights.
    distance: usize,
    first: usize,
    step: usize,
}

impl Ahead {
    #[inline(always)]
    fn new<P: Products>(at: Part, token: usize) -> Self {
        let step = at.n.div_ceil(P::TOKENS);
        let distance = match step {
            1 => NEAR / size_of::<P::W>(),
            _ => at.rows * blocks(at.k) * BLOCK_KEPT,
        };
        Self { distance, first: token / P::TOKENS, step }
    }

    /// At each block.
    #[inline(always)]
    fn ask<P: Products>(&self, p: P, values: *const P::W, codes: *const u32) {
        let lines = BLOCK_ROWS * BLOCK_KEPT * size_of::<P::W>() / 64;
        let values = values.wrapping_add(self.distance).cast::<u8>();
        for line in (self.first..lines).step_by(self.step) {
            p.prefetch(values.wrapping_add(64 * line));
        }
        if self.first == 0 {
            p.prefetch(codes.wrapping_add(self.distance / BLOCK_KEPT * BLOCK_WORDS));
        }
    }
}
