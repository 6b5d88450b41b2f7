//! Inputs, transposed into panels: neighbours in a row of a panel belong to neighbouring tokens.

use super::{Element, Kernel, SQUARE, Simd, SimdExt};
use half::bf16;

/// Transposes x, `tokens × k`, columns `start..`, into rows of a panel: `panel[i·width + t] =
/// x[t·k + start + i]`, zero for tokens that are not there.
pub(in crate::cpu) struct Pack<'a, T> {
    pub x: &'a [T],
    pub k: usize,
    pub start: usize,
    pub width: usize,
    pub panel: &'a mut [f32],
}

/// What fills 32 bits of a panel.
pub(in crate::cpu) trait Word: Copy {
    fn words<S: Simd>(s: S, from: &[Self], to: &mut [f32]);
}

/// Widened.
impl<T: Element> Word for T {
    #[inline(always)]
    fn words<S: Simd>(s: S, from: &[T], to: &mut [f32]) {
        s.widen(from, to);
    }
}

/// As they are, the first in the lower half.
impl Word for [bf16; 2] {
    #[inline(always)]
    fn words<S: Simd>(_: S, from: &[Self], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from[0].to_bits()) | u32::from(from[1].to_bits()) << 16);
        }
    }
}

/// Columns that are read at a time; of so many tokens as are transposed at once, they stay in the first cache.
const COLUMNS: usize = 64;

impl<T: Word> Kernel for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, k, start, width, panel } = self;
        let tokens = x.len() / k;
        for (i, panel) in panel.chunks_mut(COLUMNS * width).enumerate() {
            let (start, columns) = (start + i * COLUMNS, panel.len() / width);
            for token in (0..width).step_by(SQUARE) {
                let mut lines = [[0.0f32; COLUMNS]; SQUARE];
                for (t, line) in (token..tokens).zip(&mut lines) {
                    T::words(s, &x[t * k + start..][..columns], &mut line[..columns]);
                }
                if width.is_multiple_of(SQUARE) && columns.is_multiple_of(SQUARE) {
                    for c in (0..columns).step_by(SQUARE) {
                        let from = &lines.as_flattened()[c..];
                        let to = &mut panel[c * width + token..];
                        s.transpose_square(from, to, [COLUMNS, width]);
                    }
                    continue;
                }
                for (c, row) in panel.chunks_exact_mut(width).enumerate() {
                    for (to, line) in row[token..].iter_mut().zip(&lines) {
                        *to = line[c];
                    }
                }
            }
        }
    }
}
