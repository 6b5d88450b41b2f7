//! 2:4 weights where no instruction picks inputs: lanes are tokens, as for dense weights, and each kept weight is
//! multiplied with the inputs of its column. Plain loops, which compilers vectorise.

use super::outer::Outer;
use super::weights::{Rows, STRIP};
use super::{Element, MOST_LANES, Simd, SimdExt};

/// Columns of a block, whose inputs stay in the first cache.
const COLUMNS: usize = 128;

/// A row's kept values in a block.
type Kept<T> = [T; COLUMNS / 2];

#[inline(always)]
pub(super) fn run<S: Simd, T: Element>(s: S, job: Outer<'_, T>) {
    let Outer { weights, x, k, tokens, out, .. } = job;
    let x: &[f32] = bytemuck::cast_slice(x);
    let tokens = tokens.next_multiple_of(STRIP);
    let count = out.len() / (tokens * STRIP);
    weights.check(count * STRIP, k);
    let whole = x.len() == k * tokens && out.len() == count * tokens * STRIP;
    assert!(whole, "x is k × tokens, the sums are m × tokens");
    let Rows::Sparse(values, codes) = weights else { return };
    let strips = values.chunks_exact(STRIP / 2 * k).zip(codes.chunks_exact(k / 2));
    for (out, (values, codes)) in out.chunks_exact_mut(tokens * STRIP).zip(strips) {
        out.fill(0.0);
        let (squares, _) = out.as_chunks_mut::<{ STRIP * STRIP }>();
        for start in (0..k).step_by(COLUMNS) {
            let depth = COLUMNS.min(k - start);
            let (mut w, mut columns) = ([[0.0; _]; STRIP], [[0; _]; STRIP]);
            let (values, codes) = (&values[STRIP / 2 * start..], &codes[start / 2..]);
            decode(s, &values[..STRIP / 2 * depth], &codes[..depth / 2], &mut w, &mut columns);
            for (square, x) in squares.iter_mut().zip(x.chunks_exact(k * STRIP)) {
                let (x, _) = x[start * STRIP..(start + depth) * STRIP].as_chunks::<STRIP>();
                for (row, sums) in square.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
                    add(&w[row][..depth / 2], &columns[row], x, sums);
                }
            }
        }
        for square in squares {
            let rows = *square;
            s.transpose_square(&rows, square, [STRIP; 2]);
        }
    }
}

/// Adds a row's products to the sums of 16 tokens.
#[inline(always)]
fn add(w: &[f32], columns: &Kept<usize>, x: &[[f32; STRIP]], sums: &mut [f32; STRIP]) {
    let mut these = *sums;
    for (w, column) in w.iter().zip(columns) {
        // codes of whatever a caller has given are below 4, so this always is a column
        let Some(x) = x.get(*column) else { continue };
        for (sum, x) in these.iter_mut().zip(x) {
            *sum += w * x;
        }
    }
    *sums = these;
}

/// The kept values of each row of a strip's block, widened, and their columns.
#[inline(always)]
fn decode<S: Simd, T: Element>(
    s: S,
    values: &[T],
    codes: &[u32],
    w: &mut [Kept<f32>; STRIP],
    columns: &mut [Kept<usize>; STRIP],
) {
    let (groups, _) = values.as_chunks::<{ 2 * STRIP }>();
    for (group, (values, codes)) in groups.iter().zip(codes.as_chunks::<2>().0).enumerate() {
        for j in 0..2 {
            for row in (0..STRIP).step_by(S::LANES) {
                let mut lanes = [0.0; MOST_LANES];
                // SAFETY: a group's values of 16 rows; room for LANES f32s
                unsafe {
                    let kept = T::load_kept(s, values.as_ptr(), row, j);
                    s.store(lanes.as_mut_ptr(), kept);
                }
                for (row, lane) in (row..row + S::LANES).zip(lanes) {
                    w[row][2 * group + j] = lane;
                    let place = codes[row % 2] >> (16 * j + row / 2 * 2) & 3;
                    columns[row][2 * group + j] = 4 * group + place as usize;
                }
            }
        }
    }
}
