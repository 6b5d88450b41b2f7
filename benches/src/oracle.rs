//! A sample of a large answer against the f64 oracle: the whole of it would take minutes.

use crate::error::Result;
use crate::weights::Weight;
use quickpick::kernels::{Linear, bound, reference};
use quickpick_tests::data::decode;
use std::fmt;

/// Tokens and output features of the sample.
const SAMPLE: (u32, u32) = (16, 64);

/// The element of a sample that is farthest from the oracle, by its own bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// |got − want| / bound; NaN for one that is no number.
    pub largest: f64,
    at: (u32, u32),
    got: f64,
    want: f64,
    bound: f64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: (token, feature), got, want, bound, .. } = self;
        write!(f, "y[{token}][{feature}] is {got}, not {want} ± {bound:.3e}")
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
        let wants = reference::linear(&small, &ws, &xs, &[], &[]);
        let bounds = bound::linear(&small, &ws, &xs, &[], &[]);
        Self { tokens, features, wants, bounds }
    }

    /// Compares an answer; `row(token)` gives the m values of a token.
    pub fn share(&self, mut row: impl FnMut(u32) -> Result<Vec<f64>>) -> Result<Share> {
        let mut worst = Share { largest: -1.0, at: (0, 0), got: 0.0, want: 0.0, bound: 0.0 };
        for (t, &token) in self.tokens.iter().enumerate() {
            let row = row(token)?;
            for (f, &feature) in self.features.iter().enumerate() {
                let i = t * self.features.len() + f;
                let (got, want, bound) = (row[feature as usize], self.wants[i], self.bounds[i]);
                let largest = (got - want).abs() / bound;
                // the first NaN is the worst of all
                if !worst.largest.is_nan() && (largest > worst.largest || largest.is_nan()) {
                    worst = Share { largest, at: (token, feature), got, want, bound };
                }
            }
        }
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

    #[test]
    fn samples_hold_both_ends() {
        for size in [1, 15, 16, 17, 100, 128, 129, 16384] {
            let all = spread(size, 16);
            assert_eq!((all[0], all[all.len() - 1]), (0, size - 1));
            assert!(all.windows(2).all(|w| w[0] < w[1]), "{size}: {all:?}");
        }
    }
}
