//! Errors, by whose fault they are.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong around a measurement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend's own words.
    #[error(transparent)]
    Backend(#[from] quickpick::Error),
    /// The machine lacks what the stage needs: it is skipped, not failed.
    #[error("{0}")]
    Absent(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A peer library, or its process, failed.
    #[error("peer {peer}: {why}")]
    Peer {
        /// Its name.
        peer: String,
        /// Its words.
        why: String,
    },
    /// The answer is wrong: a wrong kernel's time means nothing.
    #[error("wrong: {0}")]
    Wrong(String),
    /// The device answers no more, as CUDA does after a fault: this process can do nothing with it.
    #[error("the device is lost: {0}")]
    Lost(String),
    /// The stage ran, and found faults.
    #[error("{0}")]
    Failed(String),
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_path_buf(), source }
    }

    /// On one line, for a cell of a record.
    pub fn cell(&self) -> String {
        let text = self.to_string();
        text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
    }
}
