//! From f32 sums to y: bias, activation, residual, rounding.

use super::math::{gelu, silu};
use super::simd::{Element, Isa, Kernel, Simd, SimdExt};
use quickpick_kernels::{Activation, Epilogue as Rule};
use rayon::prelude::*;

/// What happens to the sums of a layer with m output features.
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    pub rule: Rule,
    pub bias: &'a [f32],
    pub m: usize,
}

impl Epilogue<'_> {
    /// Sums lie in blocks of `m × width` (the last may be narrower), tokens along the width; y and
    /// residual are `tokens × m`. `group` tokens make a task, and divide `width`.
    pub(super) fn run<O: Element>(
        &self,
        isa: Isa,
        sums: &[f32],
        width: usize,
        residual: &[O],
        y: &mut [O],
        group: usize,
    ) {
        y.par_chunks_mut(group * self.m).enumerate().for_each(|(i, y)| {
            let token = i * group;
            let block = &sums[token / width * width * self.m..];
            let width = width.min(block.len() / self.m);
            let residual = match self.rule.residual {
                true => &residual[token * self.m..][..y.len()],
                false => &[],
            };
            isa.run(Tokens { epilogue: *self, block, width, column: token % width, residual, y });
        });
    }
}

/// Some neighbouring tokens of one block.
struct Tokens<'a, O> {
    epilogue: Epilogue<'a>,
    block: &'a [f32],
    width: usize,
    column: usize,
    residual: &'a [O],
    y: &'a mut [O],
}

/// Output features at a time: one cache line of f32, one or more vectors.
const STEP: usize = 16;

impl<O: Element> Kernel for Tokens<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { epilogue: Epilogue { rule, bias, m }, block, width, column, residual, y } = self;
        for start in (0..m).step_by(STEP) {
            let rows = STEP.min(m - start);
            let sums = &block[start * width..][..rows * width];
            for (t, y) in y.chunks_exact_mut(m).enumerate() {
                let mut z = [0.0; STEP];
                for (z, sums) in z.iter_mut().zip(sums.chunks_exact(width)) {
                    *z = sums[column + t];
                }
                if rule.bias {
                    for (z, bias) in z.iter_mut().zip(&bias[start..][..rows]) {
                        *z += bias;
                    }
                }
                match rule.activation {
                    Activation::None => {}
                    Activation::Relu => z = z.map(|x| x.max(0.0)),
                    Activation::Gelu => z.iter_mut().for_each(|x| *x = gelu(*x)),
                    Activation::Silu => z.iter_mut().for_each(|x| *x = silu(*x)),
                }
                if rule.residual {
                    let mut wide = [0.0; STEP];
                    s.widen(&residual[t * m + start..][..rows], &mut wide[..rows]);
                    for (z, r) in z.iter_mut().zip(&wide) {
                        *z += r;
                    }
                }
                s.narrow(&z[..rows], &mut y[start..][..rows]);
            }
        }
    }
}
