//! Checkpoints of other people's making, read tensor by tensor: a model need not fit into memory.

pub mod gguf;

use crate::{Error, Tensor};

/// A tensor of a checkpoint, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Hugging Face's name.
    pub name: String,
    /// Extent of each dimension of the dense tensor, outermost first.
    pub shape: Vec<usize>,
    /// How it is stored: `F16`, `BF16`, `Q4_1`, `2:4 F16`, …
    pub stored: String,
    /// Bytes that it takes in its file, all its parts together.
    pub bytes: u64,
}

/// Where tensors come from: a folder of safetensors shards, a GGUF file, a compressed form.
pub trait Source: Send + Sync {
    /// All tensors, by name.
    fn entries(&self) -> &[Entry];

    /// A tensor widened to f32, dense, row-major. Errors: there is none, or its data is malformed.
    fn tensor(&self, name: &str) -> Result<Tensor, Error>;
}
