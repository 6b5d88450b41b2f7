//! Activations to 8 bits, a row at a time, in loops that compilers vectorise.

use super::memory::Views;
use super::rows::{LINE, TASK};
use super::simd::{Element, Isa, Kernel, Simd, SimdExt};
use quickpick_format::{E4m3, E5m2};
use quickpick_kernels::{DType, Problem, Quantize};
use rayon::prelude::*;

/// A type of 8 bits.
pub(super) trait Byte: Element {
    /// What stands in a row that is not finite.
    const BAD: Self;

    /// The nearest value, of a magnitude that is at most the largest, but for roundings.
    fn nearest(x: f32) -> Self;
}

impl Byte for i8 {
    const BAD: Self = 0;

    #[inline(always)]
    fn nearest(x: f32) -> Self {
        // 1.5·2²³ leaves no fraction bits: the low byte is the integer
        (x + 12_582_912.0).to_bits() as Self
    }
}

impl Byte for E4m3 {
    const BAD: Self = Self::NAN;

    #[inline(always)]
    fn nearest(x: f32) -> Self {
        Self::from_f32(x)
    }
}

impl Byte for E5m2 {
    const BAD: Self = Self::NAN;

    #[inline(always)]
    fn nearest(x: f32) -> Self {
        Self::from_f32(x)
    }
}

/// `x ≈ q · scale`.
pub(super) fn run<X: Element, Q: Byte>(
    isa: Isa,
    problem: &Problem,
    v: &mut Views<'_>,
    _: &mut [f32],
) {
    let Problem::Quantize(p) = problem else { return };
    let d = p.d as usize;
    let (x, q, scale) = (v.input::<X>(0), v.output::<Q>(1), v.output::<f32>(2));
    let part = (TASK / d).max(1);
    let outputs = q.par_chunks_mut(part * d).zip(scale.par_chunks_mut(part));
    outputs.zip(x.par_chunks(part * d)).for_each(|((q, scale), x)| {
        isa.run(Rows { x, d, out: p.out, q, scale });
    });
}

struct Rows<'a, X, Q> {
    x: &'a [X],
    d: usize,
    out: DType,
    q: &'a mut [Q],
    scale: &'a mut [f32],
}

impl<X: Element, Q: Byte> Kernel for Rows<'_, X, Q> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const MAGNITUDE: u32 = 0x7fff_ffff;
        let limit = Quantize::largest(self.out);
        let rows = self.x.chunks_exact(self.d).zip(self.q.chunks_exact_mut(self.d));
        for ((x, q), scale) in rows.zip(self.scale) {
            let mut wide = [0.0; LINE];
            // as integers: a NaN is above infinity, and that above all numbers
            let mut largest = [Quantize::LEAST.to_bits(); LINE];
            for x in x.chunks_exact(LINE) {
                s.widen(x, &mut wide);
                for (largest, x) in largest.iter_mut().zip(&wide) {
                    *largest = (*largest).max(x.to_bits() & MAGNITUDE);
                }
            }
            let a = f32::from_bits(largest.into_iter().fold(0, u32::max));
            if !a.is_finite() {
                *scale = f32::NAN;
                q.fill(Q::BAD);
                continue;
            }
            *scale = a / limit;
            let inverse = limit / a;
            for (x, q) in x.chunks_exact(LINE).zip(q.chunks_exact_mut(LINE)) {
                s.widen(x, &mut wide);
                for (q, x) in q.iter_mut().zip(&wide) {
                    *q = Q::nearest(x * inverse);
                }
            }
        }
    }
}
