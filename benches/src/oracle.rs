//! A sample of a large answer against the f64 oracle: the whole of it would take minutes.

use crate::error::Result;
use crate::weights::Weight;
use quickpick::kernels::reference::LinearInputs;
use quickpick::kernels::{DType, Linear, bound, reference};
use quickpick_tests::data::decode;
use std::fmt;

/// Tokens and output features of the sample.
const SAMPLE: (u32, u32) = (16, 64);

/// The element of a sample that is farthest from the oracle, by its own bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// |got − want| / bound; NaN for one that is no number.
    pub largest: f64,
    /// ‖got − want‖ / ‖want‖ over the sample.
    pub norm: f64,
    at: (u32, u32),
    got: f64,
    want: f64,
    bound: f64,
}

impl Share {
    /// Whether the answer is right: every element within its bound, and the sample as a whole within
    /// twice what rounding to `out` leaves. At large k a bound, made for the worst case, would let a
    /// lost product pass; its part of the norm, √(1/k), would not.
    pub fn is_right(&self, out: DType) -> bool {
        let rounding = match out {
            DType::F16 => 2f64.powi(-11),
            DType::BF16 => 2f64.powi(-8),
            // nothing but the sums' own errors
            DType::F32 | DType::I8 | DType::E4M3 | DType::E5M2 => 2f64.powi(-16),
        };
        self.largest <= 1.0 && self.norm <= 2.0 * rounding
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: (token, feature), got, want, bound, norm, .. } = self;
        write!(f, "y[{token}][{feature}] is {got}, not {want} ± {bound:.3e}; ")?;
        write!(f, "the sample is off by {norm:.1e} of its norm")
    }
}

/// What a sample of Y must be: some tokens and features, the first and the last among them.
pub struct Oracle {
    tokens: Vec<u32>,
    features: Vec<u32>,
    wants: Vec<f64>,
    bounds: Vec<f64>,
}

impl Oracle {
    /// For a problem without epilogue; `x` is `n × k` of its type.
    pub fn new(p: &Linear, weight: &dyn Weight, x: &[u8]) -> Self {
        let (tokens, features) = (spread(p.n, SAMPLE.0), spread(p.m, SAMPLE.1));
        let (size, k) = (p.dtype.bytes(), p.k as usize);
        let cells = |t: &u32| x[*t as usize * k * size..][..k * size].chunks_exact(size);
        let xs: Vec<f64> =
            tokens.iter().flat_map(cells).map(|cell| decode(p.dtype, cell)).collect();
        let ws: Vec<f64> = features.iter().flat_map(|f| weight.row(*f as usize)).collect();
        let small = Linear { m: features.len() as u32, n: tokens.len() as u32, ..*p };
        let inputs = LinearInputs { w: &ws, x: &xs, ..LinearInputs::default() };
        let wants = reference::linear(&small, &inputs);
        let bounds = bound::linear(&small, &inputs);
        Self { tokens, features, wants, bounds }
    }

    /// Compares an answer; `row(token)` gives the m values of a token.
    pub fn share(&self, mut row: impl FnMut(u32) -> Result<Vec<f64>>) -> Result<Share> {
        let mut worst =
            Share { largest: -1.0, norm: 0.0, at: (0, 0), got: 0.0, want: 0.0, bound: 0.0 };
        let (mut off, mut all) = (0.0, 0.0);
        for (t, &token) in self.tokens.iter().enumerate() {
            let row = row(token)?;
            for (f, &feature) in self.features.iter().enumerate() {
                let i = t * self.features.len() + f;
                let (got, want, bound) = (row[feature as usize], self.wants[i], self.bounds[i]);
                let largest = (got - want).abs() / bound;
                off += (got - want) * (got - want);
                all += want * want;
                // the first NaN is the worst of all
                if !worst.largest.is_nan() && (largest > worst.largest || largest.is_nan()) {
                    worst = Share { largest, at: (token, feature), got, want, bound, ..worst };
                }
            }
        }
        worst.norm = (off / all).sqrt();
        Ok(worst)
    }
}

/// Up to `most` indices below `size`, the first and the last among them.
fn spread(size: u32, most: u32) -> Vec<u32> {
    if size <= most {
        return (0..size).collect();
    }
    let at = |i: u32| {
        let even = u64::from(i) * u64::from(size - 1) / u64::from(most - 1);
        // off the even grid, or every sample would lie at the same place of its tile
        let off = if i == 0 || i == most - 1 || size / most < 8 { 0 } else { i * 7 % 5 };
        even as u32 + off
    };
    (0..most).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ours::problem;
    use crate::weights::{activations, random};
    use quickpick::kernels::{Problem, Weights};

    #[test]
    fn a_lost_group_is_wrong_at_any_depth() {
        let (m, n, k) = (40, 12, 16384);
        let Problem::Linear(p) = problem(Weights::Dense, DType::F16, m, n, k) else { panic!() };
        let weight = random(DType::F16, m, k, 1).unwrap();
        let x = activations(DType::F16, n, k, 2);
        let answer = |kept: std::ops::Range<usize>| {
            let row = |token: u32| {
                let x = &x[token as usize * k as usize * 2..][..k as usize * 2];
                let x: Vec<f64> = x.chunks(2).map(|cell| decode(DType::F16, cell)).collect();
                let dot = |w: Vec<f64>| kept.clone().map(|i| w[i] * x[i]).sum::<f64>();
                Ok((0..m as usize).map(|r| half(dot(weight.row(r)))).collect())
            };
            Oracle::new(&p, &*weight, &x).share(row).unwrap()
        };
        assert!(answer(0..k as usize).is_right(DType::F16));
        let lost = answer(4..k as usize);
        assert!(lost.largest < 1.0, "the bound alone would do: {lost}");
        assert!(!lost.is_right(DType::F16), "{lost}");
    }

    fn half(value: f64) -> f64 {
        quickpick::f16::from_f64(value).to_f64()
    }

    #[test]
    fn samples_hold_both_ends() {
        for size in [1, 15, 16, 17, 100, 128, 129, 16384] {
            let all = spread(size, 16);
            assert_eq!((all[0], all[all.len() - 1]), (0, size - 1));
            assert!(all.windows(2).all(|w| w[0] < w[1]), "{size}: {all:?}");
        }
    }
}
