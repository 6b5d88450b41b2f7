//! The one-shot solvers: exact patterns, provable inequalities, optima by enumeration.

mod common;

use common::{Layer, correlated, normals};
use proptest::prelude::*;
use quickpick_prune::{
    Criterion, Gram, LayerProblem, Mask, Method, Pattern, Prepared, Solution, SolveError,
    reconstruct, relative_error, sparse_gpt,
};

const METHODS: [&str; 11] = [
    "magnitude",
    "wanda",
    "ria",
    "magnitude+reconstruct",
    "wanda+reconstruct",
    "ria=0.3+reconstruct",
    "sparsegpt",
    "sparsegpt+reconstruct",
    "alps",
    "wanda+recover=0.2",
    "alps+recover=0.2",
];

fn solve(layer: &Layer, method: &str, pattern: Pattern) -> Solution {
    let method: Method = method.parse().unwrap();
    let mut prepared = Prepared::new(&layer.gram, Prepared::DAMPING).unwrap();
    method.solve(&layer.problem(), &mut prepared, pattern).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Also with fewer tokens than features, and with inputs that are always zero.
    #[test]
    fn every_solution_follows_the_pattern(
        (n, m) in (1usize..9).prop_flat_map(|m| (1..=m, Just(m))),
        rows in 1usize..60,
        groups in 1usize..9,
        tokens in 1usize..80,
        dead in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let pattern = Pattern::new(n, m).unwrap();
        let mut layer = correlated(rows, groups * m, tokens, seed);
        if dead {
            let input = seed as usize % layer.cols;
            layer = layer.with_dead(input);
        }
        for method in METHODS {
            let solution = solve(&layer, method, pattern);
            let mask = &solution.mask;
            let again = Mask::new(mask.kept().to_vec(), rows, layer.cols, pattern);
            prop_assert_eq!(again.as_ref(), Ok(mask), "{}", method);
            let kept = solution.weight.iter().zip(mask.kept());
            prop_assert!(kept.clone().all(|(w, &kept)| kept || *w == 0.0), "{}", method);
            prop_assert!(solution.weight.iter().all(|w| w.is_finite()), "{}", method);
            let error = relative_error(&layer.problem(), &solution.dense()).unwrap();
            prop_assert_eq!(error, solution.error, "{}", method);
            let again = solve(&layer, method, pattern);
            prop_assert_eq!(again, solution, "{} is not deterministic", method);
        }
    }

    /// Reconstruction never costs, whatever the mask; nor does ALPS against its start; and what is
    /// recovered only helps, the more the better.
    #[test]
    fn what_is_provable(seed in any::<u64>(), tokens in 20usize..100, rows in 1usize..20) {
        let layer = correlated(rows, 32, tokens, seed);
        let pattern = Pattern::TWO_OF_FOUR;
        let slack = 1.0 + 1e-5; // weights are rounded to f32: 2⁻²⁴ of each, and its square
        for score in ["magnitude", "wanda", "ria"] {
            let with = solve(&layer, &format!("{score}+reconstruct"), pattern);
            let without = solve(&layer, score, pattern);
            prop_assert_eq!(&with.mask, &without.mask);
            prop_assert!(with.error <= without.error * slack, "{}", score);
        }
        let random = Mask::random(rows, 32, pattern, seed).unwrap();
        let mut prepared = Prepared::new(&layer.gram, Prepared::DAMPING).unwrap();
        let mut unchanged = layer.weight.clone();
        random.apply(&mut unchanged).unwrap();
        let best = reconstruct(&layer.problem(), &mut prepared, &random).unwrap();
        let swept = sparse_gpt(&layer.problem(), &mut prepared, &random).unwrap();
        prop_assert_eq!((&best.mask, &swept.mask), (&random, &random));
        let damped = |weight: &[f32]| layer.damped_error(weight, Prepared::DAMPING);
        prop_assert!(damped(&best.weight) <= damped(&unchanged) * slack);
        prop_assert!(damped(&best.weight) <= damped(&swept.weight) * slack);
        let mut last = f64::INFINITY;
        for recover in ["", "+recover=0.1", "+recover=0.25", "+recover=0.4", "+recover=1"] {
            let solution = solve(&layer, &format!("wanda+reconstruct{recover}"), pattern);
            let error = damped(&solution.dense());
            prop_assert!(error <= last * slack + 1e-12, "{}: {} after {}", recover, error, last);
            last = error;
        }
        prop_assert!(last < 1e-12, "all is recovered, but {}", last);
    }
}

/// On correlated inputs, over seeds: each method is better than the one before.
#[test]
fn solvers_have_their_order() {
    let order = ["magnitude", "wanda", "sparsegpt", "wanda+reconstruct", "alps"];
    let sums = order.map(|method| {
        let layers = (0..12).map(|seed| correlated(24, 64, 256, seed));
        layers.map(|layer| solve(&layer, method, Pattern::TWO_OF_FOUR).error).sum::<f64>()
    });
    println!("{order:?}: {sums:?}");
    assert!(sums.is_sorted_by(|a, b| a > b), "{order:?}: {sums:?}");
}

/// One row of eight columns has 36 masks, so its optimum is known: nobody is below it, and ALPS comes
/// close.
#[test]
fn nobody_beats_the_optimum() {
    let pairs: Vec<u32> = (0..16).filter(|b: &u32| b.count_ones() == 2).collect();
    let masks: Vec<Mask> = pairs
        .iter()
        .flat_map(|a| pairs.iter().map(move |b| a | b << 4))
        .map(|bits| (0..8).map(|j| bits >> j & 1 == 1).collect())
        .map(|kept| Mask::new(kept, 1, 8, Pattern::TWO_OF_FOUR).unwrap())
        .collect();
    assert_eq!(masks.len(), 36);
    let methods = ["wanda+reconstruct", "sparsegpt", "sparsegpt+reconstruct", "alps"];
    let (mut sums, mut hits, mut optima) = ([0.0; 4], [0; 4], 0.0);
    const SEEDS: u64 = 200;
    for seed in 0..SEEDS {
        let layer = correlated(1, 8, 40, seed);
        let damped = |weight: &[f32]| layer.damped_error(weight, Prepared::DAMPING);
        let mut prepared = Prepared::new(&layer.gram, Prepared::DAMPING).unwrap();
        let mut optimum = f64::INFINITY;
        for mask in &masks {
            let solution = reconstruct(&layer.problem(), &mut prepared, mask).unwrap();
            optimum = optimum.min(damped(&solution.weight));
        }
        optima += optimum;
        for (at, method) in methods.iter().enumerate() {
            let error = damped(&solve(&layer, method, Pattern::TWO_OF_FOUR).weight);
            assert!(error >= optimum * (1.0 - 1e-6), "{method}, seed {seed}: {error} < {optimum}");
            sums[at] += error;
            hits[at] += usize::from(error <= optimum * (1.0 + 1e-6));
        }
    }
    let factors = sums.map(|sum| sum / optima);
    println!("{methods:?}: {factors:?} of the optimum, which {hits:?} of {SEEDS} reach");
    assert!(factors[3] < 1.25, "ALPS: {} times the optimum", factors[3]);
}

/// Uncorrelated inputs of one size: nothing can be made up for, so the largest stay as they are.
#[test]
fn without_correlation_all_methods_are_magnitude() {
    for seed in 0..10 {
        let (rows, cols) = (7, 24);
        let identity: Vec<f64> =
            (0..cols * cols).map(|at| f64::from(at / cols == at % cols)).collect();
        let gram = Gram::from_matrix(&identity, cols, 1).unwrap();
        // few values, so that groups tie
        let weight: Vec<f32> = normals(seed).take(rows * cols).map(|w| (w * 3.0).round()).collect();
        let layer = Layer { weight, rows, cols, gram };
        for pattern in [Pattern::TWO_OF_FOUR, Pattern::new(5, 8).unwrap()] {
            let want = solve(&layer, "magnitude", pattern);
            for method in ["wanda", "wanda+reconstruct", "sparsegpt", "alps"] {
                let have = solve(&layer, method, pattern);
                assert_eq!((&have.mask, &have.weight), (&want.mask, &want.weight), "{method}");
            }
        }
    }
}

/// Scores by hand.
#[test]
fn scores_are_the_papers() {
    let gram = Gram::from_matrix(&[16.0, 0.0, 0.0, 0.0], 2, 4).unwrap();
    let weight = [1.0, 2.0, -3.0, 2.0];
    let problem = LayerProblem::new(&weight, 2, 2, &gram).unwrap();
    assert_eq!(Criterion::Magnitude.scores(&problem), [1.0, 2.0, 3.0, 2.0]);
    assert_eq!(Criterion::Wanda.scores(&problem), [2.0, 0.0, 6.0, 0.0]); // √(16/4) = 2
    let ria = [2.0 * (1.0 / 3.0 + 0.25), 0.0, 2.0 * (3.0 / 5.0 + 0.75), 0.0]; // 4^½ = 2
    assert_eq!(Criterion::RIA.scores(&problem), ria.map(|s: f64| s as f32));
}

#[test]
fn methods_have_a_text() {
    for text in METHODS {
        assert_eq!(text.parse::<Method>().unwrap().to_string(), text);
    }
    for text in ["", "obs", "alps+reconstruct", "wanda+recover=0", "wanda+recover=2", "ria=-1"] {
        let why = text.parse::<Method>().unwrap_err().to_string();
        assert!(why.contains("sparsegpt"), "{why}");
    }
    for text in ["wanda+recover=0.1+reconstruct", "wanda+reconstruct+reconstruct", "ria=NaN"] {
        assert!(text.parse::<Method>().is_err(), "{text}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let layer = correlated(4, 12, 30, 1);
    let other = correlated(4, 12, 30, 2);
    let method: Method = "alps".parse().unwrap();
    let mut prepared = Prepared::new(&other.gram, Prepared::DAMPING).unwrap();
    let solve = |pattern, prepared: &mut Prepared<'_>| {
        method.solve(&layer.problem(), prepared, pattern).err()
    };
    assert_eq!(solve(Pattern::TWO_OF_FOUR, &mut prepared), Some(SolveError::OtherGram));
    let pattern = Pattern::new(4, 8).unwrap();
    assert!(matches!(solve(pattern, &mut prepared), Some(SolveError::Mask(_))));
    let mask = Mask::random(4, 8, Pattern::TWO_OF_FOUR, 1).unwrap();
    assert!(sparse_gpt(&layer.problem(), &mut prepared, &mask).is_err());
    assert!(relative_error(&layer.problem(), &[0.0; 3]).is_err());
}
