//! One-shot pruning of a layer: which weights stay, and what becomes of them.

mod alps;
mod error;
pub(crate) mod method;
mod prepared;
mod reconstruct;
mod residual;
mod solution;
mod sparse_gpt;

pub use alps::alps;
pub use error::SolveError;
pub use method::{Method, Select};
pub use prepared::Prepared;
pub use reconstruct::reconstruct;
pub use residual::Residual;
pub use solution::{Solution, relative_error};
pub use sparse_gpt::sparse_gpt;

use crate::mask::check_shape;
use crate::{LayerError, LayerProblem, Mask, MaskError, Pattern};
use prepared::System;

/// What a solver keeps: a pattern, of which it chooses the mask, or a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep<'a> {
    /// The solver chooses.
    Pattern(Pattern),
    /// This.
    Mask(&'a Mask),
}

impl From<Pattern> for Keep<'_> {
    fn from(pattern: Pattern) -> Self {
        Self::Pattern(pattern)
    }
}

impl<'a> From<&'a Mask> for Keep<'a> {
    fn from(mask: &'a Mask) -> Self {
        Self::Mask(mask)
    }
}

impl Keep<'_> {
    /// The pattern, if the layer can have it. Errors: columns that are no whole groups, a mask of
    /// another shape.
    pub(crate) fn check(self, problem: &LayerProblem<'_>) -> Result<Pattern, MaskError> {
        let (rows, cols) = (problem.rows(), problem.cols());
        match self {
            Self::Pattern(pattern) => {
                check_shape(rows * cols, rows, cols, pattern)?;
                Ok(pattern)
            }
            Self::Mask(mask) if (mask.rows(), mask.cols()) == (rows, cols) => Ok(mask.pattern()),
            Self::Mask(mask) => Err(MaskError::Length { have: mask.kept().len(), rows, cols }),
        }
    }
}

/// The solution of scaled weights and what they keep.
fn finish(
    problem: &LayerProblem<'_>,
    system: &System,
    weight: &[f64],
    kept: Vec<bool>,
    pattern: Pattern,
    iterations: usize,
) -> Result<Solution, SolveError> {
    let mask = Mask::new(kept, problem.rows(), problem.cols(), pattern)?;
    let mut weight = system.unscaled(weight);
    mask.apply(&mut weight)?;
    if let Some(at) = weight.iter().position(|w| !w.is_finite()) {
        let (row, col) = (at / problem.cols(), at % problem.cols());
        return Err(LayerError::NotFinite { what: "new weight", row, col }.into()); // beyond f32
    }
    let error = relative_error(problem, &weight)?;
    let System { damping, retries, .. } = *system;
    Ok(Solution { weight, mask, residual: None, error, damping, retries, iterations })
}
