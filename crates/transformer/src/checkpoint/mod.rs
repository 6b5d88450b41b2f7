//! Checkpoints of other people's making, read and written tensor by tensor: a model need not fit
//! into memory.

mod bitmask;
mod companions;
mod convert;
mod inspect;
mod model;
mod raw;
mod shards;
mod special;
mod write;

pub use companions::companions;
pub use convert::{Conversion, Converted, Target, convert};
pub use inspect::{Inspection, TensorReport, Totals, inspect};
pub use model::Model;
pub use raw::Raw;
pub use shards::Checkpoint;
pub use write::{DEFAULT_LIMIT, Planned, ShardWriter, Written};

pub mod gguf;

use crate::{Error, Tensor};
use quickpick_format::FileError;
use std::path::{Path, PathBuf};

/// A tensor of a checkpoint, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Hugging Face's name.
    pub name: String,
    /// Extent of each dimension of the dense tensor, outermost first.
    pub shape: Vec<usize>,
    /// How it is stored: `F16`, `BF16`, `Q4_1`, `2:4 F16`,
    /// `2:4 F16 + residual, 1.5 %` (of its elements), …
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

    /// A tensor in the element type that it is stored in, dense, row-major, bit for bit; in f32 where
    /// the source has no element type of its own (quantised blocks). Errors: as
    /// [`tensor`](Self::tensor), but integers are no error.
    fn raw(&self, name: &str) -> Result<Raw, Error> {
        self.tensor(name).map(Raw::from)
    }
}

/// A checkpoint of any kind, open.
pub struct Opened {
    /// Its tensors.
    pub source: Box<dyn Source>,
    /// The folder whose configuration and tokenizer belong to it, if there is one.
    pub folder: Option<PathBuf>,
}

/// Opens a GGUF file, or a Hugging Face folder or safetensors file, dense or in a 2:4 form. Errors: as
/// [`gguf::Gguf::open`] and [`Checkpoint::open`].
pub fn open(path: &Path) -> Result<Opened, Error> {
    if model::is_gguf(path)? {
        return Ok(Opened { source: Box::new(gguf::Gguf::open(path)?), folder: None });
    }
    let checkpoint = Checkpoint::open(path)?;
    let folder = checkpoint.folder().map(Path::to_owned);
    Ok(Opened { source: Box::new(checkpoint), folder })
}

/// An error of a file of tensors as ours, with the file's name.
fn in_file(path: &Path) -> impl Fn(FileError) -> Error + '_ {
    move |e| match e {
        FileError::Io { source, .. } | FileError::Write { source, .. } => Error::io(path)(source),
        e => Error::file(path, e),
    }
}
