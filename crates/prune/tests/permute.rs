//! Orders of columns: never worse, the same by seed, found where one is hidden.

use proptest::prelude::*;
use quickpick_prune::{Order, OrderError, OrderSearch, Pattern, project, stack_blocks};

/// A number in [0, 1) of a seed.
fn noise(seed: u64) -> f32 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((z ^ z >> 32) as u32 >> 8) as f32 / (1 << 24) as f32
}

/// By projection: what the pattern's best mask keeps.
fn kept(scores: &[f32], cols: usize, pattern: Pattern) -> f64 {
    let mask = project(scores, scores.len() / cols, cols, pattern).unwrap();
    scores.iter().zip(mask.kept()).filter(|(_, k)| **k).map(|(&s, _)| f64::from(s)).sum()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn is_an_order_that_keeps_what_it_says_and_never_less(
        m in 1usize..7, part in 0usize..7, groups in 1usize..9, rows in (1usize..150, 0usize..40),
        seed in any::<u64>(), seen in 1usize..200, levels in 1u32..200,
    ) {
        let (pattern, cols) = (Pattern::new(1 + part % m, m).unwrap(), groups * m);
        // few levels make ties
        let level = |i: usize| (noise(seed ^ i as u64) * levels as f32).floor();
        let scores: Vec<f32> = (0..(rows.0 + rows.1) * cols).map(level).collect();
        let (first, second) = scores.split_at(rows.0 * cols);
        let matrices = if second.is_empty() { vec![first] } else { vec![first, second] };
        let search = OrderSearch {
            seed, rows: seen, assignments: 5, swaps: 40, ..OrderSearch::new(pattern, cols)
        };
        let found = search.search(&matrices, cols).unwrap();
        prop_assert!(Order::new(found.order.as_slice().to_vec()).is_ok());
        let retained = found.retained;
        prop_assert!(close(kept(&scores, cols, pattern), retained.before));
        let moved = found.order.columns(&scores).unwrap();
        prop_assert!(close(kept(&moved, cols, pattern), retained.after));
        prop_assert!(retained.after >= retained.before);
        prop_assert!(retained.best >= retained.after * (1.0 - 1e-9));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        prop_assert_eq!(pool.install(|| search.search(&matrices, cols)).unwrap(), found);
    }

    /// Blocks move alike: an order found on their stack keeps in the matrix what it kept there.
    #[test]
    fn tied_blocks_keep_their_columns(seed in any::<u64>(), rows in 1usize..20) {
        let (width, blocks, pattern) = (8, 4, Pattern::TWO_OF_FOUR);
        let cols = width * blocks;
        let scores: Vec<f32> = (0..rows * cols).map(|i| noise(seed ^ i as u64)).collect();
        let search = OrderSearch { seed, ..OrderSearch::new(pattern, width) };
        let found: Vec<_> = [[0, 1], [2, 3]]
            .iter()
            .map(|tied| {
                let stack = stack_blocks(&scores, cols, width, tied).unwrap();
                search.search(&[&stack], width).unwrap()
            })
            .collect();
        let of = |family: usize| found[family].order.clone();
        let order = Order::in_blocks(&[of(0), of(0), of(1), of(1)]);
        for (j, &old) in order.as_slice().iter().enumerate() {
            prop_assert_eq!(j / width, old / width);
            prop_assert_eq!(order.as_slice()[j ^ width] ^ width, old); // the other of the family
        }
        let moved = order.columns(&scores).unwrap();
        let after: f64 = found.iter().map(|f| f.retained.after).sum();
        prop_assert!(close(kept(&moved, cols, pattern), after));
    }
}

/// Columns of which each group of four would keep everything, if only they stood together.
#[test]
fn finds_an_order_that_loses_nothing() {
    let (rows, cols) = (256, 16);
    let mut scores = vec![0.0; rows * cols];
    for row in 0..rows {
        for group in 0..cols / 4 {
            let first = (noise((row * 100 + group) as u64) * 4.0) as usize;
            for place in [first, (first + 1 + row % 3) % 4] {
                // the columns of a group stand as far apart as they can
                scores[row * cols + place * cols / 4 + group] =
                    1.0 + noise((row * 7 + group) as u64);
            }
        }
    }
    let retained =
        OrderSearch::new(Pattern::TWO_OF_FOUR, cols).search(&[&scores], cols).unwrap().retained;
    assert!(retained.before < 0.9 * retained.best);
    assert_eq!(retained.after, scores.iter().map(|&s| f64::from(s)).sum::<f64>());
}

#[test]
fn more_effort_keeps_more_of_a_random_matrix() {
    let scores: Vec<f32> = (0..128 * 64).map(noise_of).collect();
    let search = OrderSearch::new(Pattern::TWO_OF_FOUR, 64);
    let efficacy = |search: OrderSearch| search.search(&[&scores], 64).unwrap().retained.efficacy();
    assert_eq!(efficacy(OrderSearch { assignments: 0, swaps: 0, ..search }), 0.0);
    let assigned = efficacy(OrderSearch { swaps: 0, ..search });
    assert!(assigned > 0.25, "{assigned}");
    let annealed = efficacy(search);
    assert!(annealed > assigned + 0.01, "{annealed}");
}

fn noise_of(i: usize) -> f32 {
    noise(i as u64)
}

#[test]
fn bad_scores_are_refused_with_their_place() {
    let search = OrderSearch::new(Pattern::TWO_OF_FOUR, 8);
    let error = |scores: &[&[f32]], cols| search.search(scores, cols).unwrap_err();
    assert_eq!(error(&[], 8), OrderError::Empty);
    let good = [1.0; 16];
    let mut bad = good;
    bad[11] = -1.0;
    let place = OrderError::Score { matrix: 1, row: 1, col: 3, score: -1.0 };
    assert_eq!(error(&[&good, &bad], 8), place);
    bad[11] = f32::NAN;
    assert!(error(&[&bad], 8).to_string().contains("row 1, column 3: NaN"));
    assert!(error(&[&good], 6).to_string().contains("16 elements do not fill 2 × 6"));
    assert!(error(&[&good[..6]], 6).to_string().contains("6 columns are not whole groups of 2:4"));
    assert!(matches!(error(&[&good], 0), OrderError::Matrix { matrix: 0, .. }));
    assert!(matches!(error(&[&[]], 8), OrderError::Matrix { matrix: 0, .. }));
}
