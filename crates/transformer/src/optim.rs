//! AdamW, its learning rate and its gradient clipping, on plain slices, so that every bit of its
//! state can be saved, masked and rewound.

use crate::{Kind, Slot};
use quickpick_prune::Mask;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// AdamW (Loshchilov & Hutter 2019, algorithm 2) under a warm-up and a cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// Highest learning rate, at the end of the warm-up.
    pub lr: f32,
    /// Learning rate at the last step, as a fraction of `lr`.
    pub final_lr: f32,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Step T at which the cosine ends.
    pub steps: u64,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled decay of the matrices, as a multiple of the learning rate.
    pub weight_decay: f32,
    /// Most Euclidean norm of all gradients together.
    pub clip: f32,
}

/// One parameter and its optimiser state.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// What it is.
    pub slot: Slot,
    /// The values.
    pub value: Vec<f32>,
    /// First moment: decaying mean of the gradient.
    pub mean: Vec<f32>,
    /// Second moment: decaying mean of the squared gradient.
    pub square: Vec<f32>,
}

impl Param {
    /// A parameter that no step has touched.
    pub fn new(slot: Slot, value: Vec<f32>) -> Self {
        let zeros = vec![0.0; value.len()];
        Self { slot, value, mean: zeros.clone(), square: zeros }
    }

    /// Zeroes what the mask drops, in the value and in both moments: with a masked gradient they
    /// then stay zero.
    pub fn hold(&mut self, mask: &Mask) {
        for part in [&mut self.value, &mut self.mean, &mut self.square] {
            drop_masked(part, mask);
        }
    }
}

pub(crate) fn drop_masked(values: &mut [f32], mask: &Mask) {
    for (x, kept) in values.iter_mut().zip(mask.kept()) {
        if !kept {
            *x = 0.0;
        }
    }
}

impl AdamW {
    /// The learning rate of the step that follows `step` steps; a function of that number alone.
    pub fn lr_at(&self, step: u64) -> f32 {
        if step < self.warmup {
            return self.lr * (step + 1) as f32 / self.warmup as f32;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1) as f32;
        let progress = ((step - self.warmup) as f32 / span).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f32::consts::PI * progress).cos());
        self.lr * (self.final_lr + (1.0 - self.final_lr) * cosine)
    }

    /// The step that follows `step` steps. `masks` and `grads` are in the order of `params`; what a
    /// mask drops is dropped from the gradient (before it is clipped) and from the value.
    pub fn step(
        &self,
        step: u64,
        params: &mut [Param],
        mut grads: Vec<Vec<f32>>,
        masks: &[Option<Mask>],
    ) {
        let masked = grads.par_iter_mut().zip(masks).map(|(grad, mask)| {
            if let Some(mask) = mask {
                drop_masked(grad, mask);
            }
            grad.iter().map(|g| f64::from(*g) * f64::from(*g)).sum()
        });
        let squares: Vec<f64> = masked.collect();
        let norm = squares.iter().sum::<f64>().sqrt();
        let clip = (f64::from(self.clip) / norm).min(1.0) as f32;
        let lr = self.lr_at(step);
        // Both means start at zero; dividing by 1 − βᵗ takes the bias away (Kingma & Ba 2015, §3).
        let unbias = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf((step + 1) as f64)) as f32;
        let (unbias1, unbias2) = (unbias(self.beta1), unbias(self.beta2));
        params.par_iter_mut().zip(&grads).zip(masks).for_each(|((param, grad), mask)| {
            let decay = match param.slot.kind {
                Kind::Norm | Kind::Embedding => 1.0,
                Kind::Linear | Kind::Head => 1.0 - lr * self.weight_decay,
            };
            let moments = param.mean.iter_mut().zip(&mut param.square);
            for ((w, (m, v)), g) in param.value.iter_mut().zip(moments).zip(grad) {
                let g = g * clip;
                *m = self.beta1 * *m + (1.0 - self.beta1) * g;
                *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
                *w = decay * *w - lr * *m * unbias1 / ((*v * unbias2).sqrt() + self.eps);
            }
            if let Some(mask) = mask {
                drop_masked(&mut param.value, mask);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAM: AdamW = AdamW {
        lr: 0.1,
        final_lr: 0.1,
        warmup: 10,
        steps: 110,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.5,
        clip: 1.0,
    };

    #[test]
    fn learning_rate_rises_then_falls() {
        assert_eq!(ADAM.lr_at(0), 0.01);
        assert_eq!(ADAM.lr_at(9), 0.1);
        assert_eq!(ADAM.lr_at(10), 0.1);
        assert!((ADAM.lr_at(60) - 0.055).abs() < 1e-6);
        assert!((ADAM.lr_at(110) - 0.01).abs() < 1e-6);
        assert_eq!(ADAM.lr_at(1000), ADAM.lr_at(110));
    }

    #[test]
    fn first_step_is_lr_times_sign_after_decay() {
        let slot = Slot { name: "w".into(), shape: vec![1, 4], kind: Kind::Linear };
        let mut params = [Param::new(slot, vec![1.0, -2.0, 3.0, 4.0])];
        // Norm 5, so the gradient is clipped to a fifth; Adam's first step does not care.
        ADAM.step(9, &mut params, vec![vec![3.0, -4.0, 0.0, 0.0]], &[None]);
        // Moments are zero, yet step 9's correction is 1 − 0.9¹⁰: m/√v = 0.1/√0.01 · √(1−.99¹⁰)/(1−.9¹⁰).
        let size = 0.1 * (1.0 - 0.99f64.powi(10)).sqrt() / (1.0 - 0.9f64.powi(10));
        let want = [0.95 - size, -1.9 + size, 2.85, 3.8];
        for (have, want) in params[0].value.iter().zip(want) {
            assert!((f64::from(*have) - want).abs() < 1e-5, "{have} {want}");
        }
        assert!((params[0].mean[1] + 0.1 * 0.8).abs() < 1e-6, "clipped to norm 1");
    }
}
