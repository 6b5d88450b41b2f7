//! Each output as a dot product along k: dense weights as they lie, for few tokens. A few rows and tokens at a time, so
//! that weights serve several tokens and inputs several rows.

#![allow(clippy::needless_range_loop)] // indices name registers

use super::products::{MOST, Products};
use super::weights::STRIP;
use bytemuck::{Pod, Zeroable};

/// `out[(s·n + t)·16 + r] = Σ W[16s + r]·x[t]`, f32s; W `rows × k`, x `n × k` as [`Weight::prepare`](super::Weight)
/// makes it.
pub(in crate::cpu) struct Dot<'a, T> {
    pub w: &'a [T],
    pub x: &'a [u8],
    pub k: usize,
    pub n: usize,
    pub out: &'a mut [f32],
}

/// Bytes of one token's inputs that several rows share: with other tokens' they stay in the first cache.
const NEAR: usize = 8 << 10;

/// Rows at once, at most; divides [`STRIP`].
const ROWS: usize = 4;

#[inline(always)]
pub(super) fn run<P: Products>(p: P, job: Dot<'_, P::W>) {
    let Dot { w, x, k, n, out } = job;
    let x: &[P::X] = bytemuck::cast_slice(x);
    let out: &mut [P::Out] = bytemuck::cast_slice_mut(out);
    let rows = w.len() / k;
    let sums = rows.next_multiple_of(STRIP) * n;
    assert!(w.len() == rows * k && x.len() == n * k && out.len() == sums, "W m×k, x n×k, sums m×n");
    let near = match n <= P::TOKENS {
        true => k,
        false => NEAR / size_of::<P::X>(),
    };
    // whole vectors
    let deepest = near.min(P::DEPTH).next_multiple_of(MOST);
    for start in (0..k).step_by(deepest) {
        let at = Part { start, depth: deepest.min(k - start), k, n, rows };
        let mut token = 0;
        while token < n {
            // SAFETY: token + N <= n, start + depth <= k, and the assert above fixes every length
            unsafe {
                let w = w.as_ptr().add(start);
                let x = x.as_ptr().add(token * k + start);
                let out = out.as_mut_ptr().add(token * STRIP);
                token += match (n - token).min(P::TOKENS) {
                    4 => tokens::<P, 4>(p, w, at, x, out),
                    3 => tokens::<P, 3>(p, w, at, x, out),
                    2 => tokens::<P, 2>(p, w, at, x, out),
                    _ => tokens::<P, 1>(p, w, at, x, out),
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
/// w points to `at.rows` rows, x to N, `at.k` apart, of `at.depth` elements; out to the sums of the first token.
#[inline(always)]
unsafe fn tokens<P: Products, const N: usize>(
    p: P,
    w: *const P::W,
    at: Part,
    x: *const P::X,
    out: *mut P::Out,
) -> usize {
    let mut row = 0;
    while row < at.rows {
        // SAFETY: row + R <= rows; R rows are of one strip; the rest is the caller's promise
        unsafe {
            let w = w.add(row * at.k);
            let out = out.add(row / STRIP * STRIP * at.n + row % STRIP);
            if at.rows - row >= ROWS {
                store(&some_rows::<P, ROWS, N>(p, w, at, x), at, out);
                row += ROWS;
            } else {
                store(&some_rows::<P, 1, N>(p, w, at, x), at, out);
                row += 1;
            }
        }
    }
    N
}

/// Sums of the first columns are stored, those of the others added.
///
/// # Safety
///
/// out points to the first row's sum of the first token, in a strip that has all rows.
#[inline(always)]
unsafe fn store<O: Copy + std::ops::AddAssign, const R: usize, const N: usize>(
    sums: &[[O; N]; R],
    at: Part,
    out: *mut O,
) {
    for (r, sums) in sums.iter().enumerate() {
        for (t, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise
            let out = unsafe { &mut *out.add(t * STRIP + r) };
            match at.start {
                0 => *out = *sum,
                _ => *out += *sum,
            }
        }
    }
}

/// R rows × N tokens. No closures here and below: such would be compiled without the set's instructions.
///
/// # Safety
///
/// w points to R rows, x to N rows, `at.k` apart, of `at.depth` elements.
#[inline(always)]
unsafe fn some_rows<P: Products, const R: usize, const N: usize>(
    p: P,
    w: *const P::W,
    at: Part,
    x: *const P::X,
) -> [[P::Out; N]; R] {
    let mut sums = Sums::<P, R, N>::zero(p);
    let (w, x): ([_; R], [_; N]) = (spread(w, at.k), spread(x, at.k));
    let whole = at.depth / P::LENGTH * P::LENGTH;
    // SAFETY: whole steps end before depth, and so does what is left of the last; the rest is the caller's promise
    unsafe {
        for i in (0..whole).step_by(P::LENGTH) {
            for w in w {
                p.prefetch(w.wrapping_add(R * at.k + i));
            }
            sums.add(p, shift(w, i), shift(x, i));
        }
        if whole < at.depth {
            let w = last::<_, MOST, R>(shift(w, whole), at.depth - whole);
            let x = last::<_, MOST, N>(shift(x, whole), at.depth - whole);
            sums.add(p, spread(w[0].as_ptr(), MOST), spread(x[0].as_ptr(), MOST));
        }
    }
    sums.total(p)
}

/// The sums of R rows × N tokens, and what the shift adds to each row's.
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

    /// # Safety
    ///
    /// `LENGTH` weights at each w, inputs at each x.
    #[inline(always)]
    unsafe fn add(&mut self, p: P, w: [*const P::W; R], x: [*const P::X; N]) {
        // SAFETY: the caller's promise
        unsafe {
            let mut inputs = [p.inputs(x[0]); N];
            for t in 1..N {
                inputs[t] = p.inputs(x[t]);
            }
            for r in 0..R {
                let w = p.weights(w[r]);
                for t in 0..N {
                    self.products[r][t] = p.add(self.products[r][t], w, inputs[t]);
                }
                if let Some(shift) = P::SHIFT {
                    self.shifted[r] = p.add(self.shifted[r], w, p.shift(shift));
                }
            }
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
