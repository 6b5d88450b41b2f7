//! Why a search cannot go on.

use crate::{MaskError, ticket::TicketError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a search cannot go on; `E` is the trainer's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError<E> {
    /// The trainer failed.
    #[error(transparent)]
    Trainer(E),
    /// The ticket's files.
    #[error("{0}")]
    Ticket(#[source] TicketError),
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The search cannot be written down.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A curve is malformed or ends early.
    #[error("{}, line {line}: no point of a curve", path.display())]
    Curve {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// The caller's schedule has no steps after rewinding.
    #[error("rewind step {rewind_step} is not below the {total_steps} steps of a run")]
    Schedule {
        /// k.
        rewind_step: u64,
        /// T.
        total_steps: u64,
    },
    /// The folder belongs to a search with other settings: take another folder.
    #[error("{} belongs to another search: it has `{have}`, this one `{want}`", path.display())]
    OtherSearch {
        /// The file that says so.
        path: PathBuf,
        /// Its first line that differs.
        have: String,
        /// The line of this search.
        want: String,
    },
    /// A rule of the caller's that matches no layer.
    #[error("no layer matches `{rule}`")]
    Unmatched {
        /// The rule.
        rule: String,
    },
    /// No layer may be pruned.
    #[error("no layer to prune:\n  {}", reasons.join("\n  "))]
    NothingToPrune {
        /// A line for every layer.
        reasons: Vec<String>,
    },
    /// A layer's scores make no mask.
    #[error("layer `{layer}`: {source}")]
    Mask {
        /// Layer.
        layer: String,
        /// What is wrong.
        source: MaskError,
    },
    /// The trainer's fault: a step that is not one step.
    #[error("the trainer went from step {before} to {after} in one step")]
    Steps {
        /// Steps before.
        before: u64,
        /// Steps after.
        after: u64,
    },
    /// The trainer's fault: a dropped weight is not zero.
    #[error(
        "layer `{layer}`, row {row}, column {col}: {value} at step {step}, but the mask drops it"
    )]
    Leak {
        /// Layer.
        layer: String,
        /// Row.
        row: usize,
        /// Column.
        col: usize,
        /// What it should not be.
        value: f32,
        /// Steps taken.
        step: u64,
    },
    /// The trainer's fault: a weight of another size than its shape.
    #[error("layer `{layer}` has {have} weights, its mask {want}")]
    Length {
        /// Layer.
        layer: String,
        /// Weights.
        have: usize,
        /// Mask.
        want: usize,
    },
}

impl<E> SearchError<E> {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<E> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

impl<E> From<TicketError> for SearchError<E> {
    fn from(source: TicketError) -> Self {
        Self::Ticket(source)
    }
}
