//! Why a layer cannot be solved.

use crate::{LayerError, MaskError};

/// Why a layer cannot be solved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SolveError {
    /// The layer's columns are no whole groups of the pattern, or a mask has another shape.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// Weights that do not fill the layer's matrix, or a solution beyond the range of f32.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The caller's: a layer whose inputs are not those that were prepared.
    #[error("the layer's gram is not the one that was prepared")]
    OtherGram,
    /// The caller's: damping must be finite and not negative.
    #[error("damping {0}: it is a finite factor of the mean diagonal, at least 0")]
    Damping(f64),
    /// The data's: no gram, for damping does not make it positive definite.
    #[error(
        "the gram is not positive definite, even with {damping} of its mean diagonal added to \
         the diagonal ({retries} retries): feature {feature} has no positive pivot; inputs' \
         products cannot look like this, so the gram is damaged"
    )]
    NotPositive {
        /// The last damping that was tried.
        damping: f64,
        /// How often damping was raised.
        retries: u32,
        /// Where the last factorisation stopped.
        feature: usize,
    },
    /// The eigenvalues of the gram were not found.
    #[error("the eigendecomposition of the gram ({features} features) did not converge")]
    Eigen {
        /// Of the gram.
        features: usize,
    },
    /// A residual's 16-bit column indices do not reach.
    #[error(
        "a residual holds matrices of up to 65536 columns and 2³² − 1 weights; this has {cols} columns and {len} weights"
    )]
    Residual {
        /// Columns of the layer.
        cols: usize,
        /// Weights that the residual would hold.
        len: usize,
    },
    /// Not the text of a method.
    #[error("`{text}` is no method: {why}; {}", crate::solve::method::GRAMMAR)]
    Method {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}
