//! What one-shot pruning asks of a model: blocks that are walked one after the other, by stages.

use crate::checkpoint::Source;
use crate::{Error, Tensor, Tensors};
use quickpick_prune::Gram;

/// Calibration text on its way through the blocks: f32, row-major, a row a token, sequence after sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// The block's input, with what its stages have added so far: `tokens × width`.
    pub stream: Vec<f32>,
    /// Inputs of the current stage, `tokens × k`.
    pub inputs: Vec<f32>,
}

/// A block's tensors by name, as [`Stack::advance`] is given them. Errors: one that is missing.
pub(super) fn named(weights: &Tensors) -> impl Fn(&str) -> Result<Tensor, Error> {
    |name| {
        let missing = || Error::Weights(format!("there is no {name}"));
        weights.get(name).cloned().ok_or_else(missing)
    }
}

/// Features of a stage's inputs that may change places: what linear layers make, and elementwise functions at
/// most have touched since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    /// The tensors whose rows make them, biases too.
    pub makers: Vec<String>,
    /// Features move within blocks of this width.
    pub width: usize,
    /// Blocks of the inputs that must keep one order, since one block of the makers' rows feeds them all: a
    /// family for each of those, in their order.
    pub families: Vec<Vec<usize>>,
}

/// A stack of blocks. The linear layers of a block are met in stages; those of a stage share their input.
pub trait Stack: Sync {
    /// Blocks.
    fn blocks(&self) -> usize;

    /// Names of a block's linear layers by stage, in the order in which data meets them.
    fn stages(&self, block: usize) -> Vec<Vec<String>>;

    /// All of a block's tensors, read. Errors: one that cannot be read.
    fn load(&self, block: usize, source: &dyn Source) -> Result<Tensors, Error> {
        let read = |name: String| source.tensor(&name).map(|tensor| (name, tensor));
        self.tensors(block).into_iter().map(read).collect()
    }

    /// Names of all of a block's tensors.
    fn tensors(&self, block: usize) -> Vec<String>;

    /// What may change places in a stage's inputs; none if nothing may.
    fn free(&self, block: usize, stage: usize) -> Option<Free>;

    /// The first block's input, from token ids, sequence after sequence.
    ///
    /// Errors: a number of ids or a token that the model does not take, a tensor that cannot be read.
    fn embed(&self, source: &dyn Source, ids: &[u32]) -> Result<Flow, Error>;

    /// Goes to the inputs of `stage` from those of the stage before (from the block's input for stage 0),
    /// or, if there are no more stages, through the last layers to the block's output.
    ///
    /// Errors: a tensor that is missing or of another shape.
    fn advance(
        &self,
        block: usize,
        stage: usize,
        weights: &Tensors,
        flow: &mut Flow,
    ) -> Result<(), Error>;

    /// The gram of the inputs that a stage's layers share, of which `layer` is one and has k features.
    ///
    /// Errors: inputs that do not fit, or are not known.
    fn gram(&self, layer: &str, k: usize, flow: &Flow) -> Result<Gram, Error> {
        let mut gram = Gram::new(k);
        gram.add(&flow.inputs).map_err(|e| Error::Prune(format!("{layer}: {e}")))?;
        Ok(gram)
    }
}
