//! Simulated annealing over swaps of two columns.

use super::groups::Groups;
use crate::rng::Rng;

/// The first temperature, as a part of what a random swap changes.
const HOT: f32 = 0.2;
/// Tries that the making of a swap counts as: about what it costs.
const MADE: u64 = 64;
/// Swaps that are tried for that mean.
const SAMPLE: usize = 256;

/// Tries that many random swaps of columns of two groups, fewer if many are made. A swap that loses `d` is made with
/// probability `exp(−d/T)`; the temperature T falls linearly to zero (Kirkpatrick, Gelatt and Vecchi,
/// Science 220, 1983).
///
/// What a column would add in a place is remembered until the place's group changes. Late swaps are
/// rarely made, so most are priced by two look-ups.
pub(super) fn anneal(groups: &mut Groups, unit: f32, swaps: u64, rng: &mut Rng) {
    let (cols, m) = (groups.cols(), groups.m());
    let mut versions = vec![1u32; cols / m];
    // (version, gain) of place × column
    let mut gains = vec![(0u32, 0f32); cols * cols];
    let mut own: Vec<f32> = (0..cols).map(|p| groups.with(p, groups.order()[p])).collect();
    let mut spent = 0;
    while spent < swaps {
        let temperature = HOT * unit * (1.0 - spent as f32 / swaps as f32);
        spent += 1;
        let (p, q) = two_places(cols, m, rng);
        let (a, b) = (groups.order()[p], groups.order()[q]);
        let mut gain = |place: usize, column: usize| {
            let (version, gain) = &mut gains[place * cols + column];
            if *version != versions[place / m] {
                *version = versions[place / m];
                *gain = groups.with(place, column) - own[place];
            }
            *gain
        };
        let gain = gain(p, b) + gain(q, a);
        // exp(−16) is one in nine million: not worth a logarithm
        if gain > 0.0 || (gain > -16.0 * temperature && gain > temperature * ln_uniform(rng)) {
            spent += MADE;
            groups.put(&[p, q], &[b, a]);
            for group in [p / m, q / m] {
                versions[group] += 1;
                for place in group * m..(group + 1) * m {
                    own[place] = groups.with(place, groups.order()[place]);
                }
            }
        }
    }
}

/// What a random swap changes, in the mean: the unit of temperature.
pub(super) fn unit(groups: &Groups, rng: &mut Rng) -> f32 {
    let change = |_| {
        let (p, q) = two_places(groups.cols(), groups.m(), rng);
        let (a, b) = (groups.order()[p], groups.order()[q]);
        let then = groups.with(p, b) + groups.with(q, a);
        (then - groups.with(p, a) - groups.with(q, b)).abs()
    };
    (0..SAMPLE).map(change).sum::<f32>() / SAMPLE as f32
}

/// Places of two groups.
fn two_places(cols: usize, m: usize, rng: &mut Rng) -> (usize, usize) {
    let p = rng.below(cols);
    let q = rng.below(cols - m);
    (p, if q >= p / m * m { q + m } else { q })
}

/// The logarithm of a number in (0, 1].
fn ln_uniform(rng: &mut Rng) -> f32 {
    (((rng.next() >> 40) + 1) as f32 / (1u32 << 24) as f32).ln()
}
