//! The bounds are tight: the smallest mistakes that kernels make are outside of them.

use quickpick_format::{E4m3, E5m2};
use quickpick_kernels::reference::LinearInputs;
use quickpick_kernels::{DType, Epilogue, Linear, Quantize, Weights, bound, reference};
use quickpick_tests::Fill;
use quickpick_tests::data::Source;

const P: Linear = Linear {
    m: 17,
    n: 9,
    k: 512,
    weights: Weights::Sparse24,
    dtype: DType::F16,
    out: DType::F32,
    epilogue: Epilogue::NONE,
};

const I8: Linear = Linear { dtype: DType::I8, ..P };
const FLOATS: [Linear; 2] =
    [Linear { dtype: DType::E4M3, ..P }, Linear { dtype: DType::E5M2, ..P }];

/// Elements of Y that a mistake in W or X moves out of their bounds, and those that it moves at all.
fn caught(
    p: Linear,
    fill: Fill,
    out: DType,
    mistake: impl Fn(&mut [f64], &mut [f64]),
) -> (usize, usize) {
    let p = Linear { out, ..p };
    let mut source = Source::new(fill, 7);
    let mut x = source.activations(p.dtype, p.n, p.k).values;
    let mut w = source.sparse(p.dtype, p.m, p.k).values;
    fn inputs<'a>(w: &'a [f64], x: &'a [f64]) -> LinearInputs<'a> {
        LinearInputs { w, x, ..LinearInputs::default() }
    }
    let right = reference::linear(&p, &inputs(&w, &x));
    let bounds = bound::linear(&p, &inputs(&w, &x));
    mistake(&mut w, &mut x);
    let wrong = reference::linear(&p, &inputs(&w, &x));
    let off: Vec<_> = right.iter().zip(&wrong).map(|(r, w)| (r - w).abs()).collect();
    let out = off.iter().zip(&bounds).filter(|(off, bound)| off > bound).count();
    (out, off.iter().filter(|off| **off > 0.0).count())
}

#[test]
fn one_lost_product_is_caught() {
    for fill in [Fill::Random, Fill::Ramp] {
        for col in [0, 255, 511] {
            let (out, moved) = caught(P, fill, DType::F32, |_, x| {
                for row in x.chunks_exact_mut(P.k as usize) {
                    row[col] = 0.0;
                }
            });
            // a random product may be as small as rounding; a ramp's is not
            let least = if fill == Fill::Ramp { moved } else { moved * 9 / 10 };
            assert!(out > 0 && out >= least, "{fill:?}, column {col}: {out} of {moved}");
        }
    }
}

#[test]
fn one_wrong_position_is_caught() {
    let (k, row) = (P.k as usize, 3);
    for fill in [Fill::Random, Fill::Ramp] {
        for group in [0, 63, 127] {
            // the group's kept pair moves to the other two columns
            let (out, moved) = caught(P, fill, DType::F32, |w, _| {
                w[row * k + 4 * group..][..4].reverse();
            });
            assert!(moved == 0 || out > 0, "{fill:?}, group {group}: {out} of {moved}");
        }
    }
}

#[test]
fn neighbours_cannot_be_taken_for_each_other() {
    let k = P.k as usize;
    for fill in [Fill::Random, Fill::Ramp, Fill::OneHot] {
        for out_type in [DType::F32, DType::F16] {
            let (out, moved) = caught(P, fill, out_type, |w, _| w.rotate_left(k));
            assert!(out > 0 && out * 10 >= moved * 9, "{fill:?}: rows of W: {out} of {moved}");
            let (out, moved) = caught(P, fill, out_type, |_, x| x.rotate_left(k));
            assert!(out > 0 && out * 10 >= moved * 9, "{fill:?}: rows of X: {out} of {moved}");
            let (out, moved) = caught(P, fill, out_type, |_, x| x.rotate_left(1));
            assert!(out > 0 && out * 10 >= moved * 9, "{fill:?}: columns of X: {out} of {moved}");
        }
    }
}

/// Sums of I8 are exact: whatever moves an element at all is caught, one unit of one product too.
#[test]
fn one_unit_of_i8_is_caught() {
    for fill in [Fill::Random, Fill::Ramp, Fill::Extreme] {
        let (out, moved) = caught(I8, fill, DType::F32, |_, x| x[100] += 1.0);
        assert!(moved > 0 && out == moved, "{fill:?}: {out} of {moved}");
        let (out, moved) = caught(I8, fill, DType::F32, |w, _| w.rotate_left(P.k as usize));
        assert!(moved > 0 && out == moved, "{fill:?}: rows of W: {out} of {moved}");
    }
}

#[test]
fn neighbours_of_8_bit_floats_are_told_apart() {
    for fill in [Fill::Random, Fill::Ramp, Fill::OneHot] {
        for out_type in [DType::F32, DType::BF16] {
            for p in FLOATS {
                let (out, moved) = caught(p, fill, out_type, |w, _| w.rotate_left(P.k as usize));
                assert!(
                    out > 0 && out * 10 >= moved * 9,
                    "{fill:?}: {out} of {moved}, {}",
                    p.dtype
                );
            }
        }
    }
}

/// What rounding to 8 bits loses is what [`Quantize`] says, and reaches half of it.
#[test]
fn quantised_values_are_within_their_steps() {
    let (n, d, dtype) = (200, 256, DType::F32);
    for out in [DType::I8, DType::E4M3, DType::E5M2] {
        let p = Quantize { n, d, dtype, out };
        let x = Source::new(Fill::Random, 3).matrix(dtype, n, d).values;
        let quantized = reference::quantize(&p, &x);
        let mut most = 0f64;
        for (i, (x, byte)) in x.iter().zip(&quantized.q).enumerate() {
            let scale = f64::from(quantized.scale[i / d as usize]);
            let (q, bound) = match out {
                DType::I8 => (f64::from(*byte as i8), (0.5 + 2f64.powi(-15)) * scale),
                DType::E5M2 => (
                    f64::from(E5m2::from_bits(*byte).to_f32()),
                    (2f64.powi(-3) + 2f64.powi(-21)) * x.abs() + 2f64.powi(-17) * scale,
                ),
                _ => (
                    f64::from(E4m3::from_bits(*byte).to_f32()),
                    (2f64.powi(-4) + 2f64.powi(-21)) * x.abs() + 2f64.powi(-10) * scale,
                ),
            };
            assert!((x - q * scale).abs() <= bound, "{out}: {x} is {q} times {scale}");
            most = most.max((x - q * scale).abs() / bound);
        }
        // u/(1 + u) of |x| is the most that is lost, the bound's u being 2⁻³ in E5M2: 8/9
        let nearly_all = if out == DType::E5M2 { 0.88 } else { 0.9 };
        assert!(most > nearly_all, "{out}: {most} of the bound at most");
    }
}
