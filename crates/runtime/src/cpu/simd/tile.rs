//! Products with panels, for many tokens: lanes are tokens. A panel of x lies transposed, `k × width`; a kept weight
//! is broadcast and multiplied with the panel row of its column, so that 2:4 weights do half the multiply-adds of
//! dense ones.

#![allow(clippy::needless_range_loop)] // indices name registers

use super::weights::{BLOCK_COLUMNS, BLOCK_KEPT, BLOCK_ROWS, BLOCK_WORDS, Rows, blocks};
use super::{Element, Kernel, Simd, SimdExt};

/// f32s of a panel block, the part of a panel that stays in the first cache while rows of W pass.
const BLOCK: usize = 8192;

/// Most rows of k in a panel block.
pub(in crate::cpu) const MAX_DEPTH: usize = 512;

/// Rows of W that are multiplied at once, at most.
const MAX_ROWS: usize = 6;

/// Rows of W, widened: their values, and for each where the panel row of its column starts.
struct Decoded {
    weight: [[f32; MAX_DEPTH]; MAX_ROWS],
    offset: [[u32; MAX_DEPTH / 2]; MAX_ROWS],
}

/// Transposes x, `tokens × k`, columns `start..`, into rows of a panel: `panel[i·width + t] =
/// x[t·k + start + i]`, zero for tokens that are not there.
pub(in crate::cpu) struct Pack<'a, T> {
    pub x: &'a [T],
    pub k: usize,
    pub start: usize,
    pub width: usize,
    pub panel: &'a mut [f32],
}

impl<T: Element> Kernel for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, k, start, width, panel } = self;
        let depth = panel.len() / width;
        let tokens = x.len() / k;
        let mut line = [0.0f32; MAX_DEPTH];
        let line = &mut line[..depth];
        for t in 0..width {
            if t < tokens {
                s.widen(&x[t * k + start..][..depth], line);
            } else {
                line.fill(0.0);
            }
            for (row, x) in panel.chunks_exact_mut(width).zip(&*line) {
                row[t] = *x;
            }
        }
    }
}

/// `acc[r·width + t] = Σ W[r]·panel[·][t]`; panel `k × width`, acc `rows × width`; width 1, 2 or 4
/// vectors.
pub(in crate::cpu) struct Tile<'a, T> {
    pub weights: Rows<'a, T>,
    pub panel: &'a [f32],
    pub k: usize,
    pub acc: &'a mut [f32],
}

impl<T: Element> Kernel for Tile<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.panel.len() / self.k;
        let rows = self.acc.len() / width;
        self.weights.check(rows, self.k);
        assert_eq!((self.panel.len(), self.acc.len()), (self.k * width, rows * width));
        assert_eq!(width % S::LANES, 0, "a panel of whole vectors");
        self.acc.fill(0.0);
        match width / S::LANES {
            1 => self.blocks::<S, 1>(s, rows),
            2 => self.blocks::<S, 2>(s, rows),
            _ => {
                assert_eq!(width, 4 * S::LANES, "a panel of 1, 2 or 4 vectors");
                self.blocks::<S, 4>(s, rows)
            }
        }
    }
}

impl<T: Element> Tile<'_, T> {
    #[inline(always)]
    fn blocks<S: Simd, const V: usize>(self, s: S, rows: usize) {
        let Self { weights, panel, k, acc } = self;
        let width = V * S::LANES;
        let mut decoded =
            Decoded { weight: [[0.0; MAX_DEPTH]; _], offset: [[0; MAX_DEPTH / 2]; _] };
        let deepest = (BLOCK / width).min(MAX_DEPTH);
        for start in (0..k).step_by(deepest) {
            let depth = deepest.min(k - start);
            let mut row = 0;
            while row < rows {
                let left = rows - row;
                // SAFETY: `Tile::run` has checked all lengths against rows, k and width = V·LANES;
                // row + R <= rows, start + depth <= k, depth <= MAX_DEPTH, both multiples of 32
                unsafe {
                    let panel = panel.as_ptr().add(start * width);
                    let acc = acc.as_mut_ptr().add(row * width);
                    let at = Block { row, start, depth, k };
                    let d = &mut decoded;
                    row += match weights {
                        Rows::Sparse(v, c) => match left {
                            4.. if S::REGISTERS == 32 => {
                                sparse::<S, T, 4, V>(s, v, c, at, d, panel, acc)
                            }
                            2.. => sparse::<S, T, 2, V>(s, v, c, at, d, panel, acc),
                            _ => sparse::<S, T, 1, V>(s, v, c, at, d, panel, acc),
                        },
                        Rows::Dense(w) => match left {
                            6.. if S::REGISTERS == 32 => {
                                dense::<S, T, 6, V>(s, w, at, d, panel, acc)
                            }
                            // 2·4 sums, 4 inputs and a weight leave some of 16 registers
                            2.. => dense::<S, T, 2, V>(s, w, at, d, panel, acc),
                            _ => dense::<S, T, 1, V>(s, w, at, d, panel, acc),
                        },
                    };
                }
            }
        }
    }
}

/// Where a block of W lies.
#[derive(Clone, Copy)]
struct Block {
    row: usize,
    start: usize,
    depth: usize,
    k: usize,
}

/// R rows of 2:4 weights × V vectors of tokens; returns R.
///
/// # Safety
///
/// W has R rows from `at.row` on; the panel has `at.depth` rows, acc R rows, of V vectors.
#[inline(always)]
unsafe fn sparse<S: Simd, T: Element, const R: usize, const V: usize>(
    s: S,
    values: &[T],
    codes: &[u32],
    at: Block,
    decoded: &mut Decoded,
    panel: *const f32,
    acc: *mut f32,
) -> usize {
    let width = V * S::LANES;
    let Decoded { weight, offset } = decoded;
    for r in 0..R {
        let row = at.row + r;
        let block = (row / BLOCK_ROWS * blocks(at.k) + at.start / BLOCK_COLUMNS) * BLOCK_ROWS;
        let place = block + row % BLOCK_ROWS;
        for start in (0..at.depth).step_by(BLOCK_COLUMNS) {
            let here = BLOCK_COLUMNS.min(at.depth - start);
            let place = place + start / BLOCK_COLUMNS * BLOCK_ROWS;
            let values = &values[place * BLOCK_KEPT..][..here / 2];
            let codes = &codes[place * BLOCK_WORDS..][..here / 32];
            s.widen(values, &mut weight[r][start / 2..]);
            let offset = offset[r][start / 2..].chunks_exact_mut(16);
            for (i, (word, out)) in codes.iter().zip(offset).enumerate() {
                for (j, out) in out.iter_mut().enumerate() {
                    let column =
                        start as u32 + 32 * i as u32 + (j as u32 / 2 * 4) + (word >> (2 * j) & 3);
                    *out = column * width as u32;
                }
            }
        }
    }
    // SAFETY: the caller's promise; offsets are columns below depth, times the width
    unsafe {
        let mut sum = load_acc::<S, R, V>(s, acc);
        for j in 0..at.depth / 2 {
            for r in 0..R {
                let w = s.splat(*weight.get_unchecked(r).get_unchecked(j));
                let row = panel.add(*offset.get_unchecked(r).get_unchecked(j) as usize);
                for v in 0..V {
                    sum[r][v] = s.fma(w, s.load(row.add(v * S::LANES)), sum[r][v]);
                }
            }
        }
        store_acc::<S, R, V>(s, acc, sum);
    }
    R
}

/// R rows of dense weights × V vectors of tokens; returns R.
///
/// # Safety
///
/// W has R rows from `at.row` on; the panel has `at.depth` rows, acc R rows, of V vectors.
#[inline(always)]
unsafe fn dense<S: Simd, T: Element, const R: usize, const V: usize>(
    s: S,
    values: &[T],
    at: Block,
    decoded: &mut Decoded,
    panel: *const f32,
    acc: *mut f32,
) -> usize {
    let Decoded { weight, .. } = decoded;
    for r in 0..R {
        let values = &values[(at.row + r) * at.k + at.start..][..at.depth];
        ahead(s, values, R * at.k);
        s.widen(values, &mut weight[r]);
    }
    // SAFETY: the caller's promise
    unsafe {
        let mut sum = load_acc::<S, R, V>(s, acc);
        for j in 0..at.depth {
            let row = panel.add(j * V * S::LANES);
            let mut x = [s.splat(0.0); V];
            for (v, x) in x.iter_mut().enumerate() {
                *x = s.load(row.add(v * S::LANES));
            }
            for r in 0..R {
                let w = s.splat(*weight.get_unchecked(r).get_unchecked(j));
                for v in 0..V {
                    sum[r][v] = s.fma(w, x[v], sum[r][v]);
                }
            }
        }
        store_acc::<S, R, V>(s, acc, sum);
    }
    R
}

/// Asks for the part of W that comes `distance` elements after this one: the same columns of the next
/// rows, which the processor would not guess.
#[inline(always)]
fn ahead<S: Simd, T>(s: S, part: &[T], distance: usize) {
    for line in part.chunks(64 / size_of::<T>()) {
        s.prefetch(line.as_ptr().wrapping_add(distance));
    }
}

/// # Safety
///
/// `acc` holds R rows of V vectors.
#[inline(always)]
unsafe fn load_acc<S: Simd, const R: usize, const V: usize>(
    s: S,
    acc: *const f32,
) -> [[S::F; V]; R] {
    let mut sum = [[s.splat(0.0); V]; R];
    for (r, row) in sum.iter_mut().enumerate() {
        for (v, x) in row.iter_mut().enumerate() {
            // SAFETY: the caller's promise
            *x = unsafe { s.load(acc.add((r * V + v) * S::LANES)) };
        }
    }
    sum
}

/// # Safety
///
/// `acc` has room for R rows of V vectors.
#[inline(always)]
unsafe fn store_acc<S: Simd, const R: usize, const V: usize>(
    s: S,
    acc: *mut f32,
    sum: [[S::F; V]; R],
) {
    for (r, row) in sum.iter().enumerate() {
        for (v, x) in row.iter().enumerate() {
            // SAFETY: the caller's promise
            unsafe { s.store(acc.add((r * V + v) * S::LANES), *x) };
        }
    }
}
