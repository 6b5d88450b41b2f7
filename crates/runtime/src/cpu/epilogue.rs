//! From f32 sums to y: scales, bias, activation, residual, rounding; transposed or not.

use super::math::{gelu, silu};
use super::simd::tiles::Tile;
use super::simd::weights::STRIP;
use super::simd::{Element, Isa, Kernel, SQUARE, Simd, SimdExt};
use quickpick_kernels::{Activation, Epilogue as Rule};
use std::ops::Range;

/// What happens to the sums of a layer of m output features and n tokens.
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    pub rule: Rule,
    pub w_scale: &'a [f32],
    pub x_scale: &'a [f32],
    pub bias: &'a [f32],
    pub m: usize,
    pub n: usize,
}

/// Sums of a task: of strips from feature `start` on and of these tokens, `width` in memory with those that were added:
/// `sums[(s·width + t)·16 + r]`.
#[derive(Clone)]
pub(super) struct Sums<'a> {
    pub sums: &'a [f32],
    pub width: usize,
    pub start: usize,
    pub tokens: Range<usize>,
}

impl Epilogue<'_> {
    /// Writes the task's outputs of these tokens; the residual is the layer's.
    pub(super) fn run<O: Element>(
        &self,
        isa: Isa,
        sums: Sums<'_>,
        residual: &[O],
        tile: &mut Tile<'_, O>,
    ) {
        isa.run(Task { epilogue: *self, sums, residual, tile });
    }
}

struct Task<'a, 't, O> {
    epilogue: Epilogue<'a>,
    sums: Sums<'a>,
    residual: &'a [O],
    tile: &'a mut Tile<'t, O>,
}

impl<O: Element> Kernel for Task<'_, '_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { epilogue, sums, residual, tile } = self;
        let Epilogue { rule, m, n, .. } = epilogue;
        let Sums { sums, width, start, tokens } = sums;
        let features = m.min(start + sums.len() / width) - start;
        // of a gated layer a strip's gates and ups make half as many features; its rows are whole strips
        let (y_m, each) = if rule.gated { (m / 2, STRIP / 2) } else { (m, STRIP) };
        for first in tokens.clone().step_by(SQUARE) {
            let some = first..tokens.end.min(first + SQUARE);
            for column in (0..features).step_by(STRIP) {
                let rows = start + column..start + features.min(column + STRIP);
                let to = column / STRIP * each;
                let y_start = (start + column) / STRIP * each;
                let y_rows = y_start..y_start + each.min(rows.len());
                let strip = &sums[column * width + (first - tokens.start) * STRIP..];
                let mut square = [[0.0; STRIP]; SQUARE];
                for ((z, sums), token) in
                    square.iter_mut().zip(strip.chunks(STRIP)).zip(some.clone())
                {
                    z.copy_from_slice(sums);
                    epilogue.outputs(z, rows.clone(), token);
                }
                if !rule.transposed {
                    for (z, token) in square.iter_mut().zip(some.clone()) {
                        if rule.residual {
                            add(s, &residual[token * y_m + y_start..][..y_rows.len()], z);
                        }
                        let y = &mut tile.line(token)[to..][..y_rows.len()];
                        s.narrow(&z[..y_rows.len()], y);
                    }
                    continue;
                }
                let mut lines = [[0.0; SQUARE]; STRIP];
                let strides = [STRIP, SQUARE];
                s.transpose_square(square.as_flattened(), lines.as_flattened_mut(), strides);
                for (z, row) in lines.iter_mut().zip(y_rows) {
                    if rule.residual {
                        add(s, &residual[row * n + first..][..some.len()], z);
                    }
                    let y = &mut tile.line(row - y_start + to)[some.clone()];
                    s.narrow(&z[..some.len()], y);
                }
            }
        }
    }
}

impl Epilogue<'_> {
    /// A token's outputs before the residual, of a strip's sums; those of rows past m are whatever, as of a gated layer
    /// is the second half.
    #[inline(always)]
    fn outputs(&self, z: &mut [f32; STRIP], rows: Range<usize>, token: usize) {
        let Self { rule, w_scale, x_scale, bias, .. } = *self;
        if rule.scales {
            for (z, w_scale) in z.iter_mut().zip(&w_scale[rows.clone()]) {
                *z *= w_scale * x_scale[token];
            }
        }
        if rule.bias {
            for (z, bias) in z.iter_mut().zip(&bias[rows]) {
                *z += bias;
            }
        }
        let (gates, ups) = z.split_at_mut(if rule.gated { STRIP / 2 } else { STRIP });
        match rule.activation {
            Activation::None => {}
            Activation::Relu => gates.iter_mut().for_each(|x| *x = x.max(0.0)),
            Activation::Gelu => gates.iter_mut().for_each(|x| *x = gelu(*x)),
            Activation::Silu => gates.iter_mut().for_each(|x| *x = silu(*x)),
        }
        gates.iter_mut().zip(ups).for_each(|(gate, up)| *gate *= *up);
    }
}

/// Adds at most 16 residuals.
#[inline(always)]
fn add<S: Simd, O: Element>(s: S, residual: &[O], z: &mut [f32; STRIP]) {
    let mut wide = [0.0; STRIP];
    s.widen(residual, &mut wide[..residual.len()]);
    for (z, r) in z.iter_mut().zip(&wide) {
        *z += r;
    }
}
