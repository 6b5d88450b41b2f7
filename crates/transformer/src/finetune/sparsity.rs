//! How a layer stays N:M while it is trained.

use crate::{Error, Kind, Weights};
use quickpick_prune::{Mask, Masks, Pattern, project};
use serde::{Deserialize, Serialize};

/// What is done about the weights that the pattern drops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sparsity {
    /// The checkpoint's masks are held: dropped weights stay zero, kept ones are trained.
    Frozen,
    /// SR-STE (Zhou et al. 2021, "Learning N:M Fine-Grained Structured Sparse Neural Networks From
    /// Scratch", eq. 9): all weights are trained, masks are chosen anew by magnitude at every step. The
    /// forward pass sees the projection `m∘w`, whose gradient is taken for that of w, plus
    /// `lambda·(1−m)∘w`, which drives dropped weights back to zero. Dropped weights begin at the zeros of
    /// the checkpoint, and the projection ships.
    SrSte {
        /// λ, at least 0; the paper's is 2e-4.
        lambda: f32,
    },
}

/// A layer with fewer zeros than this is one that pruning has left dense.
const DENSE: f64 = 0.1;

/// The masks of a pruned model's sparse layers: of each group the weights that are not zero, filled up by
/// the first ones where fewer than N are left. Layers with less than a tenth of zeros are dense, and have
/// no mask.
///
/// Errors: a layer with more zeros than that and a group of more than N weights; no sparse layer.
pub fn masks(weights: &Weights, pattern: Pattern) -> Result<Masks, Error> {
    let mut masks = Masks::new();
    for slot in weights.config().slots().iter().filter(|slot| slot.kind == Kind::Linear) {
        let tensor = weights.get(&slot.name)?;
        let zeros = tensor.data.iter().filter(|&&w| w == 0.0).count();
        if (zeros as f64) < DENSE * tensor.data.len() as f64 {
            continue;
        }
        let mask = by_magnitude(&slot.name, &tensor.data, &slot.shape, pattern)?;
        let beyond = |(w, kept): (&f32, &bool)| *w != 0.0 && !kept;
        if let Some(at) = tensor.data.iter().zip(mask.kept()).position(beyond) {
            let (row, col) = (at / mask.cols(), at % mask.cols());
            return Err(Error::Weights(format!(
                "{}: {zeros} of {} weights are zero, but the group around row {row}, column {col} is not {pattern}",
                slot.name,
                tensor.data.len()
            )));
        }
        masks.insert(slot.name.clone(), mask);
    }
    match masks.is_empty() {
        true => Err(Error::Weights(format!("no layer is {pattern}: the checkpoint is dense"))),
        false => Ok(masks),
    }
}

/// The mask that keeps the largest magnitudes of a matrix.
pub(super) fn by_magnitude(
    name: &str,
    weights: &[f32],
    shape: &[usize],
    pattern: Pattern,
) -> Result<Mask, Error> {
    let &[rows, cols] = shape else {
        return Err(Error::Prune(format!("{name} is {shape:?}, not a matrix")));
    };
    let scores: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
    project(&scores, rows, cols, pattern).map_err(|e| Error::Prune(format!("{name}: {e}")))
}

/// SR-STE's gradient, in place: `g + lambda·(1−m)∘w`.
pub(super) fn refine(gradient: &mut [f32], weights: &[f32], mask: &Mask, lambda: f32) {
    for ((g, w), kept) in gradient.iter_mut().zip(weights).zip(mask.kept()) {
        if !kept {
            *g += lambda * w;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamW, Param};
    use crate::{Config, Slot};

    /// One SR-STE step by hand: w = (3, −1, ½, −4) keeps the outer two, whose gradients stay; the dropped
    /// −1 and ½ gain λ·w. Then plain Adam, whose first step is lr·sign(g) wherever g is not zero.
    #[test]
    fn an_sr_ste_step_is_its_formula() {
        let weights = vec![3.0, -1.0, 0.5, -4.0];
        let mask = by_magnitude("w", &weights, &[1, 4], Pattern::TWO_OF_FOUR).unwrap();
        assert_eq!(mask.kept(), [true, false, false, true]);
        let mut gradient = vec![0.25, 0.0, 0.1, -0.5];
        refine(&mut gradient, &weights, &mask, 0.5);
        assert_eq!(gradient, [0.25, -0.5, 0.35, -0.5]);

        let adam = AdamW {
            lr: 0.01,
            final_lr: 1.0,
            warmup: 0,
            steps: 1,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-12,
            weight_decay: 0.0,
            clip: 1e9,
        };
        let slot = Slot { name: "w".into(), shape: vec![1, 4], kind: Kind::Linear };
        let mut params = [Param::new(slot, weights)];
        adam.step(0, &mut params, vec![gradient], &[None]);
        for (have, want) in params[0].value.iter().zip([2.99f32, -0.99, 0.49, -3.99]) {
            assert!((have - want).abs() < 1e-6, "{have} {want}");
        }
    }

    #[test]
    fn masks_are_the_zeros_of_sparse_layers() {
        let config = Config { dim: 32, layers: 1, ffn: 32, ..Config::tiny() };
        let dense = Weights::init(config, 1).unwrap();
        let why = masks(&dense, Pattern::TWO_OF_FOUR).unwrap_err().to_string();
        assert!(why.contains("no layer is 2:4"), "{why}");

        let q = crate::config::in_block(0, crate::config::Q);
        let change = |zero: &dyn Fn(usize) -> bool| {
            let mut tensors = dense.clone().into_tensors();
            let data = &mut tensors.get_mut(&q).unwrap().data;
            (0..data.len()).filter(|&i| zero(i)).for_each(|i| data[i] = 0.0);
            masks(&Weights::new(config, tensors).unwrap(), Pattern::TWO_OF_FOUR)
        };
        let found = change(&|i| i % 4 > 1).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[&q].kept().iter().enumerate().all(|(i, kept)| *kept == (i % 4 < 2)));
        // a group with one weight more that is zero is filled up
        let filled = change(&|i| i % 4 > 1 || i == 0).unwrap();
        assert_eq!(filled, found);
        let why = change(&|i| i % 4 > 1 && i != 38).unwrap_err().to_string();
        assert!(why.contains("row 1, column 4") || why.contains("row 1, column 6"), "{why}");
        assert!(change(&|i| i % 4 == 0).is_err());
        assert!(change(&|i| i % 32 == 0).unwrap_err().to_string().contains("dense"));
    }
}
