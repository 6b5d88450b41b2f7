//! Why there is no such order.

use crate::{LayerError, MaskError};

/// Why an order cannot be made, searched or applied; the caller's fault in every case.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Not an order, or not of that matrix.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Scores that do not fill the matrix, or columns that are no whole groups.
    #[error("score matrix {matrix}: {source}")]
    Matrix {
        /// Which of those that share the columns.
        matrix: usize,
        /// What is wrong with it.
        source: MaskError,
    },
    /// No matrix.
    #[error("there are no scores to search an order for")]
    Empty,
    /// A score that is negative or not finite: sums of such scores do not say what is kept.
    #[error(
        "score matrix {matrix}, row {row}, column {col}: {score}; scores are finite, at least 0"
    )]
    Score {
        /// Which of those that share the columns.
        matrix: usize,
        /// Row.
        row: usize,
        /// Column.
        col: usize,
        /// The score.
        score: f32,
    },
    /// Blocks that do not fill the columns.
    #[error("{cols} columns are not whole blocks of {width}")]
    Width {
        /// Columns of a block.
        width: usize,
        /// Columns given.
        cols: usize,
    },
    /// A block outside the matrix.
    #[error("block {block} of {blocks}")]
    Block {
        /// The block.
        block: usize,
        /// Blocks that there are.
        blocks: usize,
    },
}
