//! From f32 sums to y: scales, bias, activation, residual, rounding; transposed or not.

use super::math::{gelu, silu};
use super::simd::{Element, Isa, Kernel, Simd, SimdExt};
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
    /// where there are several blocks.
    pub(super) fn run<O: Element>(
        &self,
        isa: Isa,
        sums: &[f32],
        width: usize,
        tokens: Range<usize>,
        residual: &[O],
        y: &mut [O],
        group: usize,
    ) {
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
            let x_scale = match self.rule.scales {
                true => &self.x_scale[token..],
                false => &[],
            };
            isa.run(Tokens { epilogue: *self, block, width, column, x_scale, residual, y });
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
        let Self { rule, w_scale, x_scale, bias, m, n } = *self;
        y.par_chunks_mut(n).enumerate().for_each(|(r, y)| {
            for (i, y) in y[tokens.clone()].chunks_mut(width).enumerate() {
                let (token, len) = (tokens.start + i * width, y.len());
                let block = &sums[i * width * m..];
                let width = width.min(block.len() / m);
                isa.run(Feature {
                    rule,
                    sums: &block[r * width..][..len],
                    w_scale: if rule.scales { w_scale[r] } else { 1.0 },
                    x_scale: if rule.scales { &x_scale[token..][..len] } else { &[] },
                    bias: if rule.bias { bias[r] } else { 0.0 },
                    residual: if rule.residual { &residual[r * n + token..][..len] } else { &[] },
                    y,
                });
            }
        });
    }
}

/// Some neighbouring tokens of one block.
struct Tokens<'a, O> {
    epilogue: Epilogue<'a>,
    block: &'a [f32],
    width: usize,
    column: usize,
    x_scale: &'a [f32],
    residual: &'a [O],
    y: &'a mut [O],
}

/// Outputs at a time: one cache line of f32, one or more vectors.
const STEP: usize = 16;

impl<O: Element> Kernel for Tokens<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { epilogue, block, width, column, x_scale, residual, y } = self;
        let Epilogue { rule, w_scale, bias, m, .. } = epilogue;
        for start in (0..m).step_by(STEP) {
            let rows = STEP.min(m - start);
            let sums = &block[start * width..][..rows * width];
            for (t, y) in y.chunks_exact_mut(m).enumerate() {
                let mut z = [0.0; STEP];
                for (z, sums) in z.iter_mut().zip(sums.chunks_exact(width)) {
                    *z = sums[column + t];
                }
                if rule.scales {
                    for (z, w_scale) in z.iter_mut().zip(&w_scale[start..][..rows]) {
                        *z *= w_scale * x_scale[t];
                    }
                }
                if rule.bias {
                    for (z, bias) in z.iter_mut().zip(&bias[start..][..rows]) {
                        *z += bias;
                    }
                }
                let residual = if rule.residual { &residual[t * m + start..][..rows] } else { &[] };
                finish(s, rule, z, residual, &mut y[start..][..rows]);
            }
        }
    }
}

/// One output feature of some neighbouring tokens.
struct Feature<'a, O> {
    rule: Rule,
    sums: &'a [f32],
    w_scale: f32,
    x_scale: &'a [f32],
    bias: f32,
    residual: &'a [O],
    y: &'a mut [O],
}

impl<O: Element> Kernel for Feature<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rule, sums, w_scale, x_scale, bias, residual, y } = self;
        for (i, (y, sums)) in y.chunks_mut(STEP).zip(sums.chunks(STEP)).enumerate() {
            let (start, len) = (i * STEP, y.len());
            let mut z = [0.0; STEP];
            z[..len].copy_from_slice(sums);
            if rule.scales {
                for (z, x_scale) in z.iter_mut().zip(&x_scale[start..][..len]) {
                    *z *= w_scale * x_scale;
                }
            }
            if rule.bias {
                z = z.map(|z| z + bias);
            }
            let residual = if rule.residual { &residual[start..][..len] } else { &[] };
            finish(s, rule, z, residual, y);
        }
    }
}

/// Activation, residual and rounding of at most [`STEP`] outputs.
#[inline(always)]
fn finish<S: Simd, O: Element>(s: S, rule: Rule, mut z: [f32; STEP], residual: &[O], y: &mut [O]) {
    match rule.activation {
        Activation::None => {}
        Activation::Relu => z = z.map(|x| x.max(0.0)),
        Activation::Gelu => z.iter_mut().for_each(|x| *x = gelu(*x)),
        Activation::Silu => z.iter_mut().for_each(|x| *x = silu(*x)),
    }
    if rule.residual {
        let mut wide = [0.0; STEP];
        s.widen(residual, &mut wide[..residual.len()]);
        for (z, r) in z.iter_mut().zip(&wide) {
            *z += r;
        }
    }
    s.narrow(&z[..y.len()], y);
}
