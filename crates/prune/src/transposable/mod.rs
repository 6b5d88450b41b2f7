//! Masks that follow their pattern along rows and along columns.
//!
//! Training multiplies by W and, backwards, by Wᵀ; a mask that is N:M both ways serves both (Hubara et
//! al., NeurIPS 2021). Tiles of M × M do not interact, and each is solved exactly: 2:4 by its 90
//! patterns, all others as a flow of least cost. TSENOR (2025) approximates the same optimum by
//! Sinkhorn iterations on a GPU; on a CPU its exponentials would cost more than the exact flow.

mod flow;
mod four;

use crate::mask::check_shape;
use crate::{Mask, MaskError, Pattern};
use rayon::prelude::*;

/// A mask that keeps exactly N of every M consecutive weights of each row and of each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transposable(Mask);

impl Transposable {
    /// Checks the columns; a mask's rows are right already. Errors: rows that are no whole groups, a
    /// column's group that keeps another number.
    pub fn new(mask: Mask) -> Result<Self, MaskError> {
        let (rows, cols, pattern) = (mask.rows(), mask.cols(), mask.pattern());
        if !rows.is_multiple_of(pattern.group()) {
            return Err(MaskError::RowGroups { rows, pattern });
        }
        for row in (0..rows).step_by(pattern.group()) {
            for col in 0..cols {
                let group = (row..row + pattern.group()).map(|r| mask.kept()[r * cols + col]);
                let count = group.filter(|&kept| kept).count();
                if count != pattern.kept() {
                    return Err(MaskError::ColumnCount { row, col, count, pattern });
                }
            }
        }
        Ok(Self(mask))
    }

    /// Of W.
    pub fn mask(&self) -> &Mask {
        &self.0
    }

    /// Gives the mask of W away.
    pub fn into_mask(self) -> Mask {
        self.0
    }

    /// Of Wᵀ, `cols × rows`. Errors: none, by construction.
    pub fn transposed(&self) -> Result<Mask, MaskError> {
        let (rows, cols) = (self.0.rows(), self.0.cols());
        let kept = (0..rows * cols).map(|i| self.0.kept()[i % rows * cols + i / rows]).collect();
        Mask::new(kept, cols, rows, self.0.pattern())
    }
}

/// The mask of both directions that keeps the most score: the exact optimum of every M × M tile, up
/// to the rounding of f64 sums.
///
/// `scores`: `rows × cols`, row-major, finite. Errors: scores that do not fill the matrix or are not
/// finite, rows or columns that are no whole groups.
pub fn transposable(
    scores: &[f32],
    rows: usize,
    cols: usize,
    pattern: Pattern,
) -> Result<Transposable, MaskError> {
    check_shape(scores.len(), rows, cols, pattern)?;
    if !rows.is_multiple_of(pattern.group()) {
        return Err(MaskError::RowGroups { rows, pattern });
    }
    if let Some(at) = scores.iter().position(|s| !s.is_finite()) {
        return Err(MaskError::ScoreNotFinite { row: at / cols, col: at % cols });
    }
    let m = pattern.group();
    let mut kept = vec![false; scores.len()];
    kept.par_chunks_mut(m * cols).zip(scores.par_chunks(m * cols)).for_each(|(kept, scores)| {
        let mut tile = vec![0.0; m * m];
        for col in (0..cols).step_by(m) {
            for (row, scores) in tile.chunks_exact_mut(m).zip(scores.chunks_exact(cols)) {
                row.copy_from_slice(&scores[col..col + m]);
            }
            let solved = match pattern {
                Pattern::TWO_OF_FOUR => four::solve(&tile),
                _ => flow::solve(&tile, pattern),
            };
            for (row, solved) in kept.chunks_exact_mut(cols).zip(solved.chunks_exact(m)) {
                row[col..col + m].copy_from_slice(solved);
            }
        }
    });
    Transposable::new(Mask::new(kept, rows, cols, pattern)?)
}
