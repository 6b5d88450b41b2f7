//! Products with panels, for many tokens: lanes are tokens. A panel of x lies transposed, four vectors wide; a weight is
//! broadcast and multiplied with the panel row of its column, so that 2:4 weights do half the multiply-adds of dense
//! ones. A part of the panel stays in the first cache while the rows of a task pass, their sums in the second.

#![allow(clippy::needless_range_loop)] // indices name registers

use super::panels::{Columns, MOST_WORDS, Panels};
use super::weights::{BLOCK_COLUMNS, BLOCK_KEPT, BLOCK_ROWS, BLOCK_WORDS, Rows, blocks};
use super::{Element, Simd, SimdExt};
use bytemuck::Zeroable;

/// `acc[r·width + t] = Σ W[r]·panel[·][t]`; the panel as `Weight::pack` makes it of all k columns, acc `rows × width`,
/// width [`VECTORS`] vectors.
pub(in crate::cpu) struct Tile<'a, T> {
    pub weights: Rows<'a, T>,
    pub panel: &'a [f32],
    pub k: usize,
    pub acc: &'a mut [f32],
}

/// Vectors of tokens in a panel.
pub(in crate::cpu) const VECTORS: usize = 4;

/// Where a block of W lies.
#[derive(Clone, Copy)]
struct Block {
    row: usize,
    start: usize,
    depth: usize,
    k: usize,
}

/// 2:4 weights.
#[inline(always)]
pub(super) fn sparse<P: Panels>(p: P, job: Tile<'_, P::W>) {
    let Tile { weights, panel, k, acc } = job;
    let width = VECTORS * P::LANES;
    let rows = acc.len() / width;
    weights.check(rows, k);
    assert_eq!(panel.len(), k / P::ROW_COLUMNS * width, "a panel of k columns");
    assert_eq!(acc.len(), rows * width, "whole rows of sums");
    let Rows::Sparse(values, codes) = weights else { return };
    acc.fill(0.0);
    let mut room = P::Room::zeroed();
    let mut decoded = Decoded { words: [[0.0; _]; _], places: [[0; _]; _] };
    for start in (0..k).step_by(P::COLUMNS) {
        let depth = P::COLUMNS.min(k - start);
        // SAFETY: start + depth <= k, both multiples of 32; row + R <= rows
        unsafe {
            let block = panel.as_ptr().add(start / P::ROW_COLUMNS * width);
            let block = p.block(block, depth, &mut room);
            let mut row = 0;
            while row < rows {
                let acc = acc.as_mut_ptr().add(row * width);
                let at = Block { row, start, depth, k };
                row += match (rows - row).min(P::ROWS) {
                    4.. => some_rows::<P, 4>(p, values, codes, at, &mut decoded, block, acc),
                    2.. => some_rows::<P, 2>(p, values, codes, at, &mut decoded, block, acc),
                    _ => some_rows::<P, 1>(p, values, codes, at, &mut decoded, block, acc),
                };
            }
        }
    }
}

/// Rows of 2:4 weights in a block: their words, and for each where the row that it meets starts.
struct Decoded {
    words: [[f32; MOST_WORDS]; BLOCK_ROWS],
    places: [[u32; MOST_WORDS]; BLOCK_ROWS],
}

/// Blocks of four rows that the memory is asked for ahead.
const AHEAD: usize = 4;

/// R rows of 2:4 weights × four vectors of tokens; returns R.
///
/// # Safety
///
/// W has R rows from `at.row` on, in one block; `block` is that of `at.depth` columns, acc has R rows, of four vectors.
#[inline(always)]
unsafe fn some_rows<P: Panels, const R: usize>(
    p: P,
    values: &[P::W],
    codes: &[u32],
    at: Block,
    decoded: &mut Decoded,
    block: *const f32,
    acc: *mut f32,
) -> usize {
    let count = at.depth / P::WORD_COLUMNS;
    let Decoded { words: rooms, places } = decoded;
    let mut words = [core::ptr::null(); R];
    for r in 0..R {
        let row = at.row + r;
        let place = (row / BLOCK_ROWS * blocks(at.k) + at.start / BLOCK_COLUMNS) * BLOCK_ROWS
            + row % BLOCK_ROWS;
        let inside = at.start % BLOCK_COLUMNS;
        let values = &values[place * BLOCK_KEPT + inside / 2..][..at.depth / 2];
        let codes = &codes[place * BLOCK_WORDS + inside / 32..][..at.depth / 32];
        let ahead = AHEAD * blocks(at.k) * BLOCK_ROWS;
        for line in values.chunks(64 / size_of::<P::W>()) {
            p.prefetch(line.as_ptr().wrapping_add(ahead * BLOCK_KEPT));
        }
        p.prefetch(codes.as_ptr().wrapping_add(ahead * BLOCK_WORDS));
        words[r] = p.words(values, &mut rooms[r]);
        p.places(codes, &mut places[r]);
    }
    // SAFETY: the caller's promise; places are rows of the block, times the width
    unsafe {
        let mut sum = load::<P, R>(p, acc);
        for j in (0..count).step_by(4) {
            for r in 0..R {
                let w = p.splat4(words[r].add(j));
                // two places are one load
                let places = places.get_unchecked(r).as_ptr().add(j).cast::<[u64; 2]>();
                let [first, last] = places.read_unaligned();
                let rows =
                    [first >> FIRST, first >> (32 - FIRST), last >> FIRST, last >> (32 - FIRST)];
                for i in 0..4 {
                    let row = block.add(rows[i] as u32 as usize);
                    for v in 0..VECTORS {
                        sum[r][v] = p.add(sum[r][v], w[i], p.load(row.add(v * P::LANES)));
                    }
                }
            }
        }
        store::<P, R>(p, acc, sum);
    }
    R
}

/// Where, in 64 bits of memory, the first 32 are.
const FIRST: u32 = if cfg!(target_endian = "little") { 0 } else { 32 };

/// # Safety
///
/// `acc` holds R rows of four vectors.
#[inline(always)]
unsafe fn load<P: Panels, const R: usize>(p: P, acc: *const f32) -> [[P::V; VECTORS]; R] {
    let mut sum = [[p.splat(0.0); VECTORS]; R];
    for (r, row) in sum.iter_mut().enumerate() {
        for (v, x) in row.iter_mut().enumerate() {
            // SAFETY: the caller's promise
            *x = unsafe { p.load(acc.add((r * VECTORS + v) * P::LANES)) };
        }
    }
    sum
}

/// # Safety
///
/// `acc` has room for R rows of four vectors.
#[inline(always)]
unsafe fn store<P: Panels, const R: usize>(p: P, acc: *mut f32, sum: [[P::V; VECTORS]; R]) {
    for (r, row) in sum.iter().enumerate() {
        for (v, x) in row.iter().enumerate() {
            // SAFETY: the caller's promise
            unsafe { p.store(acc.add((r * VECTORS + v) * P::LANES), *x) };
        }
    }
}

/// Rows of dense weights that are multiplied at once, at most.
const DENSE_ROWS: usize = 6;

/// Dense weights.
#[inline(always)]
pub(super) fn dense<S: Simd, T: Element>(p: Columns<S, T>, job: Tile<'_, T>) {
    let Tile { weights, panel, k, acc } = job;
    let width = VECTORS * S::LANES;
    let rows = acc.len() / width;
    weights.check(rows, k);
    assert_eq!(panel.len(), k * width, "a panel of k columns");
    assert_eq!(acc.len(), rows * width, "whole rows of sums");
    let Rows::Dense(values) = weights else { return };
    acc.fill(0.0);
    let mut words = [[0.0; BLOCK_COLUMNS]; DENSE_ROWS];
    for start in (0..k).step_by(BLOCK_COLUMNS) {
        let depth = BLOCK_COLUMNS.min(k - start);
        let mut row = 0;
        while row < rows {
            // SAFETY: start + depth <= k; row + R <= rows
            unsafe {
                let block = panel.as_ptr().add(start * width);
                let acc = acc.as_mut_ptr().add(row * width);
                let at = Block { row, start, depth, k };
                row += match rows - row {
                    6.. if S::REGISTERS == 32 => {
                        dense_rows::<S, T, 6>(p, values, at, &mut words, block, acc)
                    }
                    // 2·4 sums, 4 inputs and a weight leave some of 16 registers
                    2.. => dense_rows::<S, T, 2>(p, values, at, &mut words, block, acc),
                    _ => dense_rows::<S, T, 1>(p, values, at, &mut words, block, acc),
                };
            }
        }
    }
}

/// R rows of dense weights × four vectors of tokens; returns R.
///
/// # Safety
///
/// W has R rows from `at.row` on; `block` has `at.depth` rows, acc R rows, of four vectors.
#[inline(always)]
unsafe fn dense_rows<S: Simd, T: Element, const R: usize>(
    p: Columns<S, T>,
    values: &[T],
    at: Block,
    words: &mut [[f32; BLOCK_COLUMNS]; DENSE_ROWS],
    block: *const f32,
    acc: *mut f32,
) -> usize {
    for r in 0..R {
        let values = &values[(at.row + r) * at.k + at.start..][..at.depth];
        for line in values.chunks(64 / size_of::<T>()) {
            p.0.prefetch(line.as_ptr().wrapping_add(R * at.k));
        }
        p.0.widen(values, &mut words[r]);
    }
    // SAFETY: the caller's promise
    unsafe {
        let mut sum = load::<_, R>(p, acc);
        for j in 0..at.depth {
            let row = block.add(j * VECTORS * S::LANES);
            let mut x = [p.0.splat(0.0); VECTORS];
            for (v, x) in x.iter_mut().enumerate() {
                *x = p.0.load(row.add(v * S::LANES));
            }
            for r in 0..R {
                let w = p.0.splat(*words.get_unchecked(r).get_unchecked(j));
                for v in 0..VECTORS {
                    sum[r][v] = p.0.fma(w, x[v], sum[r][v]);
                }
            }
        }
        store::<_, R>(p, acc, sum);
    }
    R
}
