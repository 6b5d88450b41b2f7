//! What can go wrong, and whose fault it is.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's configuration makes no sense.
    #[error("configuration: {0}")]
    Config(String),
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file holds something other than what it should.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// A model lacks a tensor, has one too many, or has one of another shape.
    #[error("weights: {0}")]
    Weights(String),
    /// The corpus cannot be found or is too small.
    #[error("corpus: {0}")]
    Corpus(String),
    /// Training cannot go on.
    #[error("training: {0}")]
    Training(String),
    /// candle, on which training runs, refused an operation.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
    /// Pruning or the ticket search failed.
    #[error("pruning: {0}")]
    Prune(String),
    /// A tokenizer cannot be read or run.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The tokens, their number or a sampler's setting make no sense.
    #[error("inference: {0}")]
    Inference(String),
    /// A backend failed while it ran the model.
    #[error(transparent)]
    Backend(#[from] quickpick::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn file(path: &Path, why: impl ToString) -> Self {
        Self::File { path: path.to_owned(), why: why.to_string() }
    }
}
