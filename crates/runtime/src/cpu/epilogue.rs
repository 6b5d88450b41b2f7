//! From f32 sums to y: scales, bias, activation, residual, rounding; transposed or not.

use super::math::{gelu, silu};
use super::simd::weights::STRIP;
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
    /// Sums of these tokens lie by strips of rows, `width` tokens each: `sums[(s·width + t)·16 + r]`; y and residual
    /// are those of the layer.
    pub(super) fn run<O: Element>(
        &self,
        isa: Isa,
        sums: &[f32],
        width: usize,
        tokens: Range<usize>,
        residual: &[O],
        y: &mut [O],
    ) {
        let sums = Sums { epilogue: *self, sums, width, first: tokens.start };
        if self.rule.transposed {
            // a task takes a strip's rows
            return y.par_chunks_mut(STRIP * self.n).enumerate().for_each(|(strip, y)| {
                let start = strip * STRIP * self.n;
                let residual = if self.rule.residual { &residual[start..][..y.len()] } else { &[] };
                isa.run(Features { sums, strip, tokens: tokens.clone(), residual, y });
            });
        }
        // a task takes as many tokens as a cache line has sums, or one
        let group = if tokens.len() < SQUARE { 1 } else { SQUARE };
        let y = &mut y[tokens.start * self.m..tokens.end * self.m];
        y.par_chunks_mut(group * self.m).enumerate().for_each(|(i, y)| {
            let token = tokens.start + i * group;
            let start = token * self.m;
            let residual = if self.rule.residual { &residual[start..][..y.len()] } else { &[] };
            isa.run(Tokens { sums, token, residual, y });
        });
    }
}

/// All sums of a pass, from token `first` on.
#[derive(Clone, Copy)]
struct Sums<'a> {
    epilogue: Epilogue<'a>,
    sums: &'a [f32],
    width: usize,
    first: usize,
}

impl Sums<'_> {
    /// A token's outputs of a strip before the residual; those of rows past m are whatever.
    #[inline(always)]
    fn outputs(&self, strip: usize, token: usize) -> [f32; STRIP] {
        let Epilogue { rule, w_scale, x_scale, bias, m, .. } = self.epilogue;
        let mut z = [0.0; STRIP];
        z.copy_from_slice(&self.sums[(strip * self.width + token - self.first) * STRIP..][..STRIP]);
        let rows = strip * STRIP..m.min((strip + 1) * STRIP);
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
        match rule.activation {
            Activation::None => {}
            Activation::Relu => z = z.map(|x| x.max(0.0)),
            Activation::Gelu => z.iter_mut().for_each(|x| *x = gelu(*x)),
            Activation::Silu => z.iter_mut().for_each(|x| *x = silu(*x)),
        }
        z
    }
}

/// Some tokens from `token` on: y and residual `tokens × m`.
struct Tokens<'a, O> {
    sums: Sums<'a>,
    token: usize,
    residual: &'a [O],
    y: &'a mut [O],
}

impl<O: Element> Kernel for Tokens<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, token, residual, y } = self;
        let m = sums.epilogue.m;
        for (strip, start) in (0..m).step_by(STRIP).enumerate() {
            let rows = STRIP.min(m - start);
            for (t, y) in y.chunks_exact_mut(m).enumerate() {
                let mut z = sums.outputs(strip, token + t);
                if sums.epilogue.rule.residual {
                    add(s, &residual[t * m + start..][..rows], &mut z);
                }
                s.narrow(&z[..rows], &mut y[start..][..rows]);
            }
        }
    }
}

/// A strip's rows: y and residual `rows × n`.
struct Features<'a, O> {
    sums: Sums<'a>,
    strip: usize,
    tokens: Range<usize>,
    residual: &'a [O],
    y: &'a mut [O],
}

impl<O: Element> Kernel for Features<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, strip, tokens, residual, y } = self;
        let n = sums.epilogue.n;
        for start in tokens.clone().step_by(SQUARE) {
            let len = SQUARE.min(tokens.end - start);
            let mut square = [[0.0; STRIP]; SQUARE];
            for (t, z) in square[..len].iter_mut().enumerate() {
                *z = sums.outputs(strip, start + t);
            }
            let mut rows = [[0.0; SQUARE]; STRIP];
            let strides = [STRIP, SQUARE];
            s.transpose_square(square.as_flattened(), rows.as_flattened_mut(), strides);
            for (r, (y, z)) in y.chunks_exact_mut(n).zip(&mut rows).enumerate() {
                if sums.epilogue.rule.residual {
                    add(s, &residual[r * n + start..][..len], z);
                }
                s.narrow(&z[..len], &mut y[start..][..len]);
            }
        }
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
