//! Masks of both directions: exact against every mask there is, and against random exchanges.

use proptest::prelude::*;
use quickpick_prune::{Mask, MaskError, Pattern, Transposable, transposable};

/// The most that N in every row and column keep, over all masks of a tile: row by row.
fn most(tile: &[f32], n: usize, m: usize, row: usize, filled: &mut Vec<usize>) -> f64 {
    if row == m {
        return 0.0;
    }
    let mut best = f64::NEG_INFINITY;
    for bits in (0u32..1 << m).filter(|b| b.count_ones() as usize == n) {
        let columns: Vec<usize> = (0..m).filter(|j| bits >> j & 1 == 1).collect();
        if columns.iter().all(|&j| filled[j] < n) {
            columns.iter().for_each(|&j| filled[j] += 1);
            let own: f64 = columns.iter().map(|&j| f64::from(tile[row * m + j])).sum();
            best = best.max(own + most(tile, n, m, row + 1, filled));
            columns.iter().for_each(|&j| filled[j] -= 1);
        }
    }
    best
}

fn kept(scores: &[f32], mask: &Mask) -> f64 {
    scores.iter().zip(mask.kept()).filter(|(_, k)| **k).map(|(&s, _)| f64::from(s)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Small whole scores: sums are exact, ties common, some negative.
    #[test]
    fn every_tile_is_optimal(
        m in 1usize..6, part in 1usize..6, tiles in (1usize..3, 1usize..3),
        drawn in proptest::collection::vec(-5i8..20, 100),
    ) {
        let n = 1 + part % m;
        let pattern = Pattern::new(n, m).unwrap();
        let (rows, cols) = (tiles.0 * m, tiles.1 * m);
        let scores: Vec<f32> = (0..rows * cols).map(|i| f32::from(drawn[i])).collect();
        let found = transposable(&scores, rows, cols, pattern).unwrap();
        let mut best = 0.0;
        for (a, b) in (0..tiles.0).flat_map(|a| (0..tiles.1).map(move |b| (a, b))) {
            let tile: Vec<f32> =
                (0..m * m).map(|i| scores[(a * m + i / m) * cols + b * m + i % m]).collect();
            best += most(&tile, n, m, 0, &mut vec![0; m]);
        }
        prop_assert_eq!(kept(&scores, found.mask()), best);
        let back = found.transposed().unwrap();
        prop_assert_eq!((back.rows(), back.cols()), (cols, rows));
        let transposed = |i: usize| found.mask().kept()[i % rows * cols + i / rows];
        prop_assert!((0..rows * cols).all(|i| back.kept()[i] == transposed(i)));
        prop_assert_eq!(&Transposable::new(found.mask().clone()).unwrap(), &found);
        prop_assert_eq!(&transposable(&scores, rows, cols, pattern).unwrap(), &found);
    }

    /// No exchange of two kept cells of a larger tile for the two others of their rectangle gains.
    #[test]
    fn larger_tiles_stand_every_exchange(n in 1usize..16, seed in any::<u32>()) {
        let m = 16;
        let score = |i: u32| ((seed ^ i).wrapping_mul(0x9E37_79B1) >> 8) as f32;
        let scores: Vec<f32> = (0..(m * m) as u32).map(score).collect();
        let found = transposable(&scores, m, m, Pattern::new(n, m).unwrap()).unwrap();
        let is = found.mask().kept();
        for (a, b) in (0..m * m).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let (c, d) = (a / m * m + b % m, b / m * m + a % m);
            if is[a] && is[b] && !is[c] && !is[d] {
                prop_assert!(scores[c] + scores[d] <= scores[a] + scores[b]);
            }
        }
    }
}

/// What 2:4 does not keep is 2:4 too, so keeping the most is dropping the least.
#[test]
fn two_of_four_is_its_own_complement() {
    let scores: Vec<f32> = (0..64).map(|i| ((i * 37 + i * i * 11) % 101) as f32).collect();
    let most = transposable(&scores, 8, 8, Pattern::TWO_OF_FOUR).unwrap();
    let negative: Vec<f32> = scores.iter().map(|s| -s).collect();
    let least = transposable(&negative, 8, 8, Pattern::TWO_OF_FOUR).unwrap();
    let total: f64 = scores.iter().map(|&s| f64::from(s)).sum();
    let complement =
        Mask::new(least.mask().kept().iter().map(|k| !k).collect(), 8, 8, Pattern::TWO_OF_FOUR);
    assert_eq!(kept(&scores, &complement.unwrap()), kept(&scores, most.mask()));
    assert!(kept(&scores, most.mask()) > 0.5 * total);
}

#[test]
fn bad_input_is_refused_with_its_numbers() {
    let pattern = Pattern::TWO_OF_FOUR;
    let error = |r: Result<Transposable, MaskError>| r.unwrap_err().to_string();
    assert_eq!(
        error(transposable(&[1.0; 24], 6, 4, pattern)),
        "6 rows are not whole groups of 2:4"
    );
    assert!(error(transposable(&[1.0; 24], 4, 6, pattern)).contains("6 columns"));
    assert!(error(transposable(&[1.0; 23], 4, 6, pattern)).contains("23 elements"));
    let mut scores = [1.0; 16];
    scores[6] = f32::INFINITY;
    assert_eq!(
        error(transposable(&scores, 4, 4, pattern)),
        "row 1, column 2: the score is not finite"
    );
    let rows_only = Mask::new([true, true, false, false].repeat(4), 4, 4, pattern).unwrap();
    assert!(error(Transposable::new(rows_only)).contains("column 0, rows from 0: 4 weights"));
}
