//! What the search asks of a training loop.

use crate::Masks;
use std::path::Path;

/// A parameter tensor of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Its name, unique in the model (`blocks.0.mlp.up.weight`).
    pub name: String,
    /// Its dimensions; a linear layer's weight is `[m, k]`: output features, input features.
    pub shape: Vec<usize>,
}

impl LayerInfo {
    /// A parameter tensor of that name and shape.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into() }
    }

    /// Elements of the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A training loop that can be stopped, copied and rewound.
///
/// The search owns the loop over steps and all files; the trainer owns the model. Its *state* is
/// everything that the next step depends on: weights, optimiser moments, data cursor, random
/// generators. Two trainers in equal states take equal steps, bit for bit; the learning rate is a
/// function of [`steps`](Trainer::steps) alone. Masks are not state: the search sets them.
pub trait Trainer {
    /// Why training, reading or writing failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The model, data and hyper-parameters in one line. A search that finds another line in its
    /// folder refuses to go on: its stages would not belong together.
    fn describe(&self) -> String;

    /// Every parameter tensor, in a fixed order; eligibility is decided by the search.
    fn layers(&self) -> Vec<LayerInfo>;

    /// The tensor's elements, row-major. Errors: no tensor has this name.
    fn weight(&self, name: &str) -> Result<Vec<f32>, Self::Error>;

    /// Optimiser steps that this state has behind it.
    fn steps(&self) -> u64;

    /// Goes back to step 0: fresh weights drawn from `seed`, fresh optimiser, the data from its
    /// start (the data's order depends on the trainer's own seed, not on this one). No masks.
    fn init(&mut self, seed: u64) -> Result<(), Self::Error>;

    /// Takes one optimiser step on the next batch, then sets every weight that a mask drops to zero.
    /// Returns the batch's loss, in nats per prediction.
    fn step(&mut self) -> Result<f64, Self::Error>;

    /// From now on holds these masks: sets what they drop to zero at once and after every step.
    /// An empty map holds nothing. Errors: a name or shape that the model does not have.
    fn hold(&mut self, masks: &Masks) -> Result<(), Self::Error>;

    /// Loss on the held-out data, in nats per prediction. Changes no state.
    fn evaluate(&mut self) -> Result<f64, Self::Error>;

    /// Writes the state to one new file. Equal states write equal bytes. The search makes it
    /// appear under its final name by a rename.
    fn save(&self, path: &Path) -> Result<(), Self::Error>;

    /// Replaces the state by the file's, exactly, and lets go of all masks. Errors: a truncated or
    /// foreign file; the state is then unspecified.
    fn load(&mut self, path: &Path) -> Result<(), Self::Error>;
}
