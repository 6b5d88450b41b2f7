//! Outer products: each lane has a row of its own, and each of some others meets all of them and has a vector of sums.
//! The part of the others that a block of columns needs stays in the first cache while rows pass.
//!
//! 2:4 weights are the lanes, and tokens the others: from a token's inputs, which every lane sees, a permutation named by
//! the codes picks what each row wants. It does so beside the multiplication, on another port, so that half as many
//! multiplications as dense weights need take less time. Dense weights are the others, broadcast as they lie in memory,
//! and tokens the lanes.

#![allow(clippy::needless_range_loop)] // indices name registers

use super::columns::Columns;
use super::pack::Word;
use super::weights::{Rows, STRIP};
use super::{Form, Simd, SimdExt};

/// `out[(s·width + t)·16 + r] = Σ W[16s + r]·x[t]`, f32s; x in panels as [`Weight::pack`](super::Weight::pack) makes
/// them for the form, their widths together `width`: tokens [`padded`] or, where they are lanes, to whole strips.
pub(in crate::cpu) struct Outer<'a, T> {
    pub form: Form,
    pub weights: Rows<'a, T>,
    pub x: &'a [u8],
    pub k: usize,
    pub tokens: usize,
    pub out: &'a mut [f32],
}

/// Tokens of the next panel where `left` are left: a power of two, at most `most`; less than a third is added to them.
pub(in crate::cpu) fn panel(left: usize, most: usize) -> usize {
    let up = left.next_power_of_two();
    if 4 * left >= 3 * up { up.min(most) } else { (up / 2).min(most) }
}

/// Tokens of all panels. What is added stands last.
pub(in crate::cpu) fn padded(tokens: usize, most: usize) -> usize {
    let mut sum = 0;
    while sum < tokens {
        sum += panel(tokens - sum, most);
    }
    sum
}

/// Bytes of a block's inputs that stay in the first cache.
const NEAR: usize = 16 << 10;

/// Bytes of W that the memory is asked for ahead, where a strip passes as a whole.
const AHEAD: usize = 4 << 10;

/// Columns that pass at once: even shares of k, in 32s, of which one column's inputs take `bytes`.
fn depth(k: usize, bytes: usize, most: usize) -> usize {
    let most = ((NEAR / bytes).min(most) / 32).max(1);
    (k / 32).div_ceil((k / 32).div_ceil(most)) * 32
}

/// Strips of lanes, from a block's first column on.
#[derive(Clone, Copy)]
struct Strips<W> {
    values: *const W,
    codes: *const u32,
    /// Elements of W from strip to strip, 16 times the words of codes.
    stride: usize,
    ahead: Ahead,
    /// Sums from strip to strip.
    sums: usize,
    count: usize,
}

/// What memory is asked for while rows are multiplied.
#[derive(Clone, Copy)]
enum Ahead {
    Nothing,
    /// What lies [`AHEAD`] bytes further on: strips pass as a whole.
    Near,
    /// The block's columns of the strips that follow.
    Strips,
}

/// What all lanes meet, from a block's first column on.
#[derive(Clone, Copy)]
struct Others<X> {
    first: *const X,
    /// Elements of X from one to the next.
    stride: usize,
    /// Elements of X from one's unit to its next.
    unit: usize,
}

/// Columns of a block.
#[derive(Clone, Copy)]
struct Block {
    depth: usize,
    /// Whether they are the first.
    first: bool,
}

/// 2:4 weights.
#[inline(always)]
pub(super) fn sparse<C: Columns>(c: C, job: Outer<'_, C::W>) {
    let Outer { weights, x, k, tokens, out, .. } = job;
    let (x, all): (&[C::X], _) = (bytemuck::cast_slice(x), padded(tokens, C::OTHERS));
    let count = out.len() / (all * STRIP);
    weights.check(count * STRIP, k);
    let whole = x.len() == k * all * C::COPIES && out.len() == count * all * STRIP;
    assert!(whole, "x is k × tokens, the sums are m × tokens");
    let Rows::Sparse(values, codes) = weights else { return };
    let bytes = panel(tokens, C::OTHERS) * C::COPIES * size_of::<C::X>();
    let (deep, stride) = (depth(k, bytes, C::DEPTH), STRIP / 2 * k);
    let ahead = if deep == k { Ahead::Near } else { Ahead::Strips };
    for start in (0..k).step_by(deep) {
        let at = Block { depth: deep.min(k - start), first: start == 0 };
        let values = values[STRIP / 2 * start..].as_ptr();
        let codes = codes[start / 2..].as_ptr();
        let strips = Strips { values, codes, stride, ahead, sums: all * STRIP, count };
        let mut token = 0;
        while token < tokens {
            let width = panel(tokens - token, C::OTHERS);
            let first = x[(token * k + start * width) * C::COPIES..].as_ptr();
            let panel = Others { first, stride: C::UNIT, unit: C::UNIT * width };
            let out = out[token * STRIP..].as_mut_ptr();
            // SAFETY: start + depth <= k, panels follow each other, and the asserts fix every length
            unsafe {
                // as many sums as half the registers hold, of at most four vectors of rows
                match width {
                    16 => rows::<C, 1, 16>(c, strips, panel, at, out),
                    8 if C::OTHERS == 16 => rows::<C, 2, 8>(c, strips, panel, at, out),
                    8 => rows::<C, 1, 8>(c, strips, panel, at, out),
                    4 if C::OTHERS == 16 => rows::<C, 4, 4>(c, strips, panel, at, out),
                    4 => rows::<C, 2, 4>(c, strips, panel, at, out),
                    2 => rows::<C, 4, 2>(c, strips, panel, at, out),
                    _ => rows::<C, 4, 1>(c, strips, panel, at, out),
                }
            }
            token += width;
        }
    }
    C::finish(out);
}

/// Words of a row of dense weights in a block.
const WORDS: usize = NEAR / 4 / STRIP;

/// Dense weights, w as words of 32 bits or what is widened to such.
#[inline(always)]
pub(super) fn dense<C: Columns, W: Word, S: Simd, T>(c: C, s: S, w: &[W], job: Outer<'_, T>) {
    let Outer { x, k, tokens, out, .. } = job;
    let x: &[C::W] = bytemuck::cast_slice(x);
    let tokens = tokens.next_multiple_of(STRIP);
    let words = k / C::COLUMNS;
    let rows = w.len() / words;
    let whole = x.len() == k * tokens && out.len() == rows.next_multiple_of(STRIP) * tokens;
    assert!(whole, "x is k × tokens, the sums are m × tokens");
    let deep = depth(k, 4 * STRIP / C::COLUMNS, WORDS * C::COLUMNS);
    let some = C::OTHERS / 2;
    let mut room = [[0.0; WORDS]; STRIP / 2];
    for start in (0..k).step_by(deep) {
        let at = Block { depth: deep.min(k - start), first: start == 0 };
        let block = start / C::COLUMNS..(start + at.depth) / C::COLUMNS;
        for row in (0..rows).step_by(some) {
            for (row, room) in (row..rows).zip(&mut room[..some]) {
                let w = &w[row * words..][block.clone()];
                for i in (0..w.len()).step_by(64 / size_of::<W>()) {
                    s.prefetch(w.as_ptr().wrapping_add(some * words + i));
                }
                W::words(s, w, &mut room[..w.len()]);
            }
            let first = room.as_ptr().cast();
            let stride = WORDS * 4 / size_of::<C::X>();
            let rows = Others { first, stride, unit: C::UNIT };
            let values = x[start * STRIP..].as_ptr();
            // sums of a square of rows and tokens stay together
            let (codes, stride, sums) = (std::ptr::null(), STRIP * k, STRIP * STRIP);
            let count = tokens / STRIP;
            let strips = Strips { values, codes, stride, ahead: Ahead::Nothing, sums, count };
            let out = out[(row / STRIP * tokens + row % STRIP) * STRIP..].as_mut_ptr();
            // SAFETY: `room` holds the block's columns of the rows, which are of one strip; rows past the last are room
            // in out, too, and whatever; the assert fixes the rest
            unsafe {
                match C::OTHERS {
                    16 => self::rows::<C, 2, 8>(c, strips, rows, at, out),
                    _ => self::rows::<C, 2, 4>(c, strips, rows, at, out),
                }
            }
        }
    }
    let (squares, _) = out.as_chunks_mut::<{ STRIP * STRIP }>();
    for square in squares {
        let rows = *square;
        s.transpose_square(&rows, square, [STRIP; 2]);
    }
}

/// T others' products with all strips, R vectors of lanes at a time.
///
/// # Safety
///
/// The strips have `at.depth` columns, the others too, and are T; out has their sums, from the first strip's first on,
/// 16 apart.
#[inline(always)]
unsafe fn rows<C: Columns, const R: usize, const T: usize>(
    c: C,
    strips: Strips<C::W>,
    others: Others<C::X>,
    at: Block,
    out: *mut f32,
) {
    let vectors = strips.count * STRIP / C::ROWS;
    let whole = vectors / R * R;
    // SAFETY: vector + R <= vectors
    unsafe {
        for vector in (0..whole).step_by(R) {
            some_rows::<C, R, T>(c, strips, vector, others, at, out);
        }
        for vector in whole..vectors {
            some_rows::<C, 1, T>(c, strips, vector, others, at, out);
        }
    }
}

/// # Safety
///
/// As of [`rows`]; the strips have vectors `vector..vector + R`.
#[inline(always)]
unsafe fn some_rows<C: Columns, const R: usize, const T: usize>(
    c: C,
    strips: Strips<C::W>,
    vector: usize,
    others: Others<C::X>,
    at: Block,
    out: *mut f32,
) {
    let mut sums = [[c.zero(); T]; R];
    let mut shifted = [c.zero(); R];
    let mut values = [strips.values; R];
    let mut codes = [strips.codes; R];
    let mut row = [0; R];
    for r in 0..R {
        let strip = (vector + r) * C::ROWS / STRIP;
        row[r] = (vector + r) * C::ROWS % STRIP;
        values[r] = strips.values.wrapping_add(strip * strips.stride);
        codes[r] = strips.codes.wrapping_add(strip * strips.stride / 16);
    }
    let ahead = match strips.ahead {
        Ahead::Nothing => 0,
        Ahead::Near => AHEAD / size_of::<C::W>(),
        Ahead::Strips => (R * C::ROWS).div_ceil(STRIP) * strips.stride,
    };
    for step in 0..at.depth / C::COLUMNS {
        for r in 0..R {
            if row[r] == 0 && ahead > 0 {
                let values = values[r].wrapping_add(step * STRIP * C::VALUES + ahead);
                for i in (0..STRIP * C::VALUES).step_by(64 / size_of::<C::W>()) {
                    c.prefetch(values.wrapping_add(i));
                }
                if step % 8 == 0 {
                    c.prefetch(codes[r].wrapping_add(step * C::VALUES + ahead / 16));
                }
            }
        }
        for group in step * C::GROUPS..(step + 1) * C::GROUPS {
            // SAFETY: the group is one of the block's, the rows are the strip's, t is below T
            unsafe {
                let mut w = [[c.weights(values[0], group, row[0], 0); 2]; R];
                let mut places = [[c.places(codes[0], group, row[0], 0); 2]; R];
                for r in 0..R {
                    for pick in 0..C::PICKS {
                        w[r][pick] = c.weights(values[r], group, row[r], pick);
                        places[r][pick] = c.places(codes[r], group, row[r], pick);
                        if let Some(shift) = c.shift() {
                            shifted[r] = c.add(shifted[r], w[r][pick], shift);
                        }
                    }
                }
                for t in 0..T {
                    let x = others.first.add(t * others.stride);
                    let inputs = c.inputs(x, group, others.unit);
                    for pick in 0..C::PICKS {
                        for r in 0..R {
                            let picked = c.pick(inputs, places[r][pick]);
                            sums[r][t] = c.add(sums[r][t], w[r][pick], picked);
                        }
                    }
                }
            }
        }
    }
    for r in 0..R {
        let strip = (vector + r) * C::ROWS / STRIP;
        for t in 0..T {
            // SAFETY: sums of the strip's rows and the t-th other
            unsafe {
                let to = out.add(strip * strips.sums + t * STRIP + row[r]);
                c.store(to, sums[r][t], shifted[r], at.first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_tokens_and_pad_only_the_last() {
        for most in [8, 16] {
            for tokens in 1..=100 {
                let (mut at, mut widths) = (0, Vec::new());
                while at < tokens {
                    assert_eq!(at, widths.iter().sum::<usize>(), "no padding but in the last");
                    widths.push(panel(tokens - at, most));
                    at += widths[widths.len() - 1];
                }
                assert_eq!(at, padded(tokens, most));
                assert!(widths.iter().all(|w| w.is_power_of_two() && *w <= most), "{widths:?}");
                assert!(3 * at <= 4 * tokens, "{tokens} tokens in {widths:?}");
            }
        }
    }
}
