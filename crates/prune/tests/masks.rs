//! Masks and projection: exact counts, exact optima, exact ties.

use proptest::prelude::*;
use quickpick_prune::{Mask, MaskError, Masks, Pattern, load_masks, project, save_masks};

fn pattern() -> impl Strategy<Value = Pattern> {
    (1usize..9).prop_flat_map(|m| (1..=m).prop_map(move |n| Pattern::new(n, m).unwrap()))
}

/// Every subset of `n` of a group, by score; the first best in lexical order of columns.
fn best_subset(group: &[f32], n: usize) -> (f64, Vec<bool>) {
    let m = group.len();
    let mut best = (f64::NEG_INFINITY, Vec::new());
    // bit m-1-i is column i, so that falling numbers are rising column lists
    for bits in (0u32..1 << m).rev().filter(|b| b.count_ones() as usize == n) {
        let kept: Vec<bool> = (0..m).map(|i| bits >> (m - 1 - i) & 1 == 1).collect();
        let sum = group.iter().zip(&kept).filter(|(_, k)| **k).map(|(&s, _)| f64::from(s)).sum();
        if sum > best.0 {
            best = (sum, kept);
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Against all subsets; small whole scores make ties common and sums exact.
    #[test]
    fn projection_is_optimal_and_ties_go_low(
        pattern in pattern(),
        rows in 1usize..4,
        groups in 1usize..4,
        seed in proptest::collection::vec(-3i8..4, 96),
    ) {
        let cols = groups * pattern.group();
        let scores: Vec<f32> = (0..rows * cols).map(|i| f32::from(seed[i % 96])).collect();
        let mask = project(&scores, rows, cols, pattern).unwrap();
        prop_assert_eq!(mask.kept().iter().filter(|&&k| k).count(), mask.count());
        prop_assert_eq!(mask.count() * pattern.group(), rows * cols * pattern.kept());
        for (group, kept) in scores.chunks(pattern.group()).zip(mask.kept().chunks(pattern.group())) {
            prop_assert_eq!(&best_subset(group, pattern.kept()).1, kept);
        }
    }

    /// Random and dealt masks follow the pattern and repeat by seed; dealing keeps the groups.
    #[test]
    fn drawn_masks_are_masks(
        pattern in pattern(), rows in 1usize..9, groups in 1usize..9, seed in any::<u64>(),
    ) {
        let cols = groups * pattern.group();
        let mask = Mask::random(rows, cols, pattern, seed).unwrap();
        let again = Mask::new(mask.kept().to_vec(), rows, cols, pattern);
        prop_assert_eq!(again.as_ref(), Ok(&mask));
        prop_assert_eq!(Mask::random(rows, cols, pattern, seed).unwrap(), mask.clone());
        let dealt = mask.shuffled(seed);
        prop_assert!(Mask::new(dealt.kept().to_vec(), rows, cols, pattern).is_ok());
        let sorted = |mask: &Mask| {
            let mut groups: Vec<_> = mask.kept().chunks(pattern.group()).map(<[_]>::to_vec).collect();
            groups.sort();
            groups
        };
        prop_assert_eq!(sorted(&dealt), sorted(&mask));
    }
}

#[test]
fn masks_survive_their_file() {
    let folder = std::env::temp_dir().join(format!("quickpick-masks-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("masks.safetensors");
    let five = Pattern::new(3, 5).unwrap();
    let masks = Masks::from([
        ("a".to_owned(), Mask::random(7, 12, Pattern::TWO_OF_FOUR, 1).unwrap()),
        ("b.weight".to_owned(), Mask::random(3, 35, five, 2).unwrap()),
    ]);
    save_masks(&path, &masks).unwrap();
    assert_eq!(load_masks(&path).unwrap(), masks);
    // a flipped bit breaks a group's count, and the file says so
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let e = load_masks(&path).unwrap_err().to_string();
    assert!(e.contains("weights are kept"), "{e}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// All six choices of 2:4 come up, each about a sixth of the time: χ² with 5 degrees of freedom
/// exceeds 30 once in 70 000 seeds, and this one is fixed.
#[test]
fn random_groups_are_uniform() {
    let mask = Mask::random(100, 400, Pattern::TWO_OF_FOUR, 7).unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for group in mask.kept().chunks(4) {
        *counts.entry(group).or_insert(0u32) += 1;
    }
    let expected = 10_000.0 / 6.0;
    let chi2: f64 = counts.values().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
    assert_eq!(counts.len(), 6);
    assert!(chi2 < 30.0, "{chi2}");
}

#[test]
fn overlap_and_density() {
    let a = Mask::random(64, 256, Pattern::TWO_OF_FOUR, 1).unwrap();
    let b = Mask::random(64, 256, Pattern::TWO_OF_FOUR, 2).unwrap();
    assert_eq!(a.density(), 0.5);
    assert_eq!(a.overlap(&a), Ok(1.0));
    // 8192 kept weights, half of them kept by chance: σ = 0.0055 at most
    assert!((a.overlap(&b).unwrap() - 0.5).abs() < 0.03);
    let other = Mask::random(64, 128, Pattern::TWO_OF_FOUR, 1).unwrap();
    assert!(matches!(a.overlap(&other), Err(MaskError::Length { .. })));
    let mut weights = vec![1.0f32; 64 * 256];
    a.apply(&mut weights).unwrap();
    assert_eq!(weights.iter().sum::<f32>(), a.count() as f32);
    assert!(a.apply(&mut weights[1..]).is_err());
}

#[test]
fn what_is_no_mask_says_why() {
    let p = Pattern::TWO_OF_FOUR;
    assert_eq!(Pattern::new(0, 4), Err(MaskError::Pattern { n: 0, m: 4 }));
    assert_eq!(Pattern::new(5, 4), Err(MaskError::Pattern { n: 5, m: 4 }));
    assert_eq!("2:4".parse(), Ok(p));
    assert_eq!(p.to_string(), "2:4");
    for text in ["", "2", "2:", "2:4:8", "a:b", "-1:4"] {
        assert_eq!(text.parse::<Pattern>(), Err(MaskError::PatternText(text.into())));
    }
    let mask = |kept: &[bool], rows, cols| Mask::new(kept.to_vec(), rows, cols, p).unwrap_err();
    let (t, f) = (true, false);
    assert_eq!(mask(&[t, t, f, f], 1, 8), MaskError::Length { have: 4, rows: 1, cols: 8 });
    assert_eq!(mask(&[], 0, 8), MaskError::Length { have: 0, rows: 0, cols: 8 });
    assert_eq!(mask(&[t; 6], 1, 6), MaskError::Groups { cols: 6, pattern: p });
    let e = MaskError::Count { row: 1, col: 4, count: 1, pattern: p };
    assert_eq!(mask(&[t, t, f, f, t, t, f, f, t, t, f, f, t, f, f, f], 2, 8), e);
    let scores = [0.0, 1.0, f32::NAN, 0.0];
    assert_eq!(project(&scores, 1, 4, p), Err(MaskError::ScoreNan { row: 0, col: 2 }));
    // infinities have a place in the order
    assert!(project(&[f32::INFINITY, f32::INFINITY, 0.0, f32::NEG_INFINITY], 1, 4, p).is_ok());
}

#[test]
fn hardware_runs_what_is_two_of_four_as_well() {
    let runs = |text: &str| text.parse::<Pattern>().unwrap().runs_as_two_of_four();
    assert!(["2:4", "1:4", "1:2"].into_iter().all(runs));
    let others = ["3:4", "4:4", "4:8", "2:8", "6:8", "2:2", "1:1", "1:3", "1:16"];
    assert!(!others.into_iter().any(runs));
}
