//! Inputs in panels: what neighbouring tokens have in a column, or in a few, lies side by side.

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

/// As they are in memory.
macro_rules! as_they_are {
    ($($T:ty),*) => {$(
        impl Word for $T {
            #[inline(always)]
            fn words<S: Simd>(_: S, from: &[Self], to: &mut [f32]) {
                bytemuck::cast_slice_mut(to).copy_from_slice(from);
            }
        }
    )*};
}

as_they_are!([bf16; 2], [i8; 4]);

/// Columns that are read at a time; of so many tokens as a panel or a square has, they stay in the first cache.
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
                    let from = &x[t * k + start..][..columns];
                    T::words(s, from, &mut line[..columns]);
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

/// Puts columns `start..` of x, `tokens × k`, into a panel by units, each `copies` times: `panel[((u·width + t)·copies
/// + c)·unit + i] = x[t·k + start + unit·u + i]`, zero for tokens that are not there. A unit is 2, 4, 8 or 16 words.
pub(in crate::cpu) struct Units<'a, T> {
    pub x: &'a [T],
    pub k: usize,
    pub start: usize,
    pub width: usize,
    pub unit: usize,
    pub copies: usize,
    pub panel: &'a mut [f32],
}

impl<T: Word> Kernel for Units<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, k, start, width, unit, copies, panel } = self;
        let (tokens, width) = (x.len() / k, [width, copies]);
        let repeated = width[0] * copies;
        for (i, panel) in panel.chunks_mut(COLUMNS * repeated).enumerate() {
            let (start, columns) = (start + i * COLUMNS, panel.len() / repeated);
            for token in 0..width[0] {
                let mut line = [0.0; COLUMNS];
                let line = &mut line[..columns];
                if token < tokens {
                    T::words(s, &x[token * k + start..][..columns], line);
                }
                match unit {
                    2 => place::<2>(line, token, width, panel),
                    4 => place::<4>(line, token, width, panel),
                    8 => place::<8>(line, token, width, panel),
                    _ => place::<16>(line, token, width, panel),
                }
            }
        }
    }
}

/// A token's columns, to their places in a panel of units of U.
#[inline(always)]
fn place<const U: usize>(
    line: &[f32],
    token: usize,
    [width, copies]: [usize; 2],
    panel: &mut [f32],
) {
    let tokens = panel.chunks_exact_mut(copies * U).skip(token).step_by(width);
    for (to, from) in tokens.zip(line.as_chunks::<U>().0) {
        to.as_chunks_mut::<U>().0.fill(*from);
    }
}
