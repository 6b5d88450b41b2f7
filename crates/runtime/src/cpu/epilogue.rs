//! From f32 sums to y: scales, bias, activation, residual, rounding; transposed or not.

use super::math::{gelu, silu};
use super::simd::{Element, Isa, Kernel, SQUARE, Simd, SimdExt};
use quickpick_kernels::{Activation, Epilogue as Rule};
use rayon::prelude::*;
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

impl Epilogue<'_> {
    /// Sums of these tokens lie in blocks of `m × width` (the last may be narrower), tokens along the
    /// width; y and residual are those of the layer. `group` tokens make a task, and divide `width`
    /// where there are several blocks. Scales change the sums where they lie, so that layers without
    /// them do not ask at every output.
    pub(super) fn run<O: Element>(
        &self,
        isa: Isa,
        sums: &mut [f32],
        width: usize,
        tokens: Range<usize>,
        residual: &[O],
        y: &mut [O],
        group: usize,
    ) {
        if self.rule.scales {
            self.scale(sums, width, tokens.start);
        }
        let sums = &*sums;
        if self.rule.transposed {
            return self.transposed(isa, sums, width, tokens, residual, y);
        }
        let y = &mut y[tokens.start * self.m..tokens.end * self.m];
        y.par_chunks_mut(group * self.m).enumerate().for_each(|(i, y)| {
            let (at, token) = (i * group, tokens.start + i * group);
            let (block, column) = (&sums[at / width * width * self.m..], at % width);
            let width = width.min(block.len() / self.m);
            let residual = match self.rule.residual {
                true => &residual[token * self.m..][..y.len()],
                false => &[],
            };
            let Self { rule, bias, m, .. } = *self;
            isa.run(Tokens { rule, bias, m, block, width, column, residual, y });
        });
    }

    /// Multiplies each sum by its feature's scale times its token's.
    fn scale(&self, sums: &mut [f32], width: usize, start: usize) {
        let blocks =
            sums.par_chunks_mut(width * self.m).zip(self.x_scale[start..].par_chunks(width));
        blocks.for_each(|(block, x_scale)| {
            let width = block.len() / self.m;
            for (sums, w_scale) in block.chunks_exact_mut(width).zip(self.w_scale) {
                for (sum, x_scale) in sums.iter_mut().zip(x_scale) {
                    *sum *= w_scale * x_scale;
                }
            }
        });
    }

    /// y and residual are `m × n`, as the sums lie already but for their blocks.
    fn transposed<O: Element>(
        &self,
        isa: Isa,
        sums: &[f32],
        width: usize,
        tokens: Range<usize>,
        residual: &[O],
        y: &mut [O],
    ) {
        let Self { rule, bias, m, n, .. } = *self;
        y.par_chunks_mut(n).enumerate().for_each(|(r, y)| {
            for (i, y) in y[tokens.clone()].chunks_mut(width).enumerate() {
                let (token, len) = (tokens.start + i * width, y.len());
                let block = &sums[i * width * m..];
                let width = width.min(block.len() / m);
                isa.run(Feature {
                    rule,
                    sums: &block[r * width..][..len],
                    bias: if rule.bias { bias[r] } else { 0.0 },
                    residual: if rule.residual { &residual[r * n + token..][..len] } else { &[] },
                    y,
                });
            }
        });
    }
}

/// Some neighbouring tokens of one block. It holds what it needs of [`Epilogue`] and no more: holding all
/// of it made a layer of one token, 65536 features and k = 32 slower by 19 % (AVX-512, measured).
struct Tokens<'a, O> {
    rule: Rule,
    bias: &'a [f32],
    m: usize,
    block: &'a [f32],
    width: usize,
    column: usize,
    residual: &'a [O],
    y: &'a mut [O],
}

/// Outputs at a time: one cache line of f32, one or more vectors.
const STEP: usize = SQUARE;

impl<O: Element> Kernel for Tokens<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rule, bias, m, block, width, column, residual, y } = self;
        for start in (0..m).step_by(STEP) {
            let rows = STEP.min(m - start);
            let sums = &block[start * width..][..rows * width];
            let tokens = y.len() / m;
            let mut square = [[0.0; STEP]; SQUARE];
            if rows == SQUARE && tokens == SQUARE {
                s.transpose_square(&sums[column..], square.as_flattened_mut(), [width, STEP]);
            } else {
                for (r, sums) in sums.chunks_exact(width).enumerate() {
                    for (z, sum) in square.iter_mut().zip(&sums[column..][..tokens]) {
                        z[r] = *sum;
                    }
                }
            }
            for (t, (y, mut z)) in y.chunks_exact_mut(m).zip(square).enumerate() {
                if rule.bias {
                    for (z, bias) in z.iter_mut().zip(&bias[start..][..rows]) {
                        *z += bias;
                    }
                }
                activate(rule.activation, &mut z);
                if rule.residual {
                    add(s, &residual[t * m + start..][..rows], &mut z);
                }
                s.narrow(&z[..rows], &mut y[start..][..rows]);
            }
        }
    }
}

/// One output feature of some neighbouring tokens.
struct Feature<'a, O> {
    rule: Rule,
    sums: &'a [f32],
    bias: f32,
    residual: &'a [O],
    y: &'a mut [O],
}

impl<O: Element> Kernel for Feature<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rule, sums, bias, residual, y } = self;
        for (i, (y, sums)) in y.chunks_mut(STEP).zip(sums.chunks(STEP)).enumerate() {
            let (start, len) = (i * STEP, y.len());
            let mut z = [0.0; STEP];
            z[..len].copy_from_slice(sums);
            if rule.bias {
                z = z.map(|z| z + bias);
            }
            activate(rule.activation, &mut z);
            if rule.residual {
                add(s, &residual[start..][..len], &mut z);
            }
            s.narrow(&z[..len], y);
        }
    }
}

#[inline(always)]
fn activate(activation: Activation, z: &mut [f32; STEP]) {
    match activation {
        Activation::None => {}
        Activation::Relu => *z = z.map(|x| x.max(0.0)),
        Activation::Gelu => z.iter_mut().for_each(|x| *x = gelu(*x)),
        Activation::Silu => z.iter_mut().for_each(|x| *x = silu(*x)),
    }
}

/// Adds at most [`STEP`] residuals.
#[inline(always)]
fn add<S: Simd, O: Element>(s: S, residual: &[O], z: &mut [f32; STEP]) {
    let mut wide = [0.0; STEP];
    s.widen(residual, &mut wide[..residual.len()]);
    for (z, r) in z.iter_mut().zip(&wide) {
        *z += r;
    }
}
