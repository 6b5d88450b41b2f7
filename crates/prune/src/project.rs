//! The best mask of a pattern.

use crate::mask::check_shape;
use crate::{Mask, MaskError, Pattern};

/// The mask that keeps the most score: in each group the `n` highest, ties to the lower column.
/// Groups do not interact, so this is the exact optimum, and every count is exact.
///
/// `scores` is `rows × cols`, row-major. Errors: scores that do not fill the matrix, columns that
/// are no whole groups, a score that is NaN.
pub fn project(
    scores: &[f32],
    rows: usize,
    cols: usize,
    pattern: Pattern,
) -> Result<Mask, MaskError> {
    check_shape(scores.len(), rows, cols, pattern)?;
    if let Some(at) = scores.iter().position(|s| s.is_nan()) {
        return Err(MaskError::ScoreNan { row: at / cols, col: at % cols });
    }
    let mut kept = Vec::with_capacity(scores.len());
    for group in scores.chunks_exact(pattern.group()) {
        for (i, &score) in group.iter().enumerate() {
            let ahead = |&(j, &other): &(usize, &f32)| other > score || (other == score && j < i);
            kept.push(group.iter().enumerate().filter(ahead).count() < pattern.kept());
        }
    }
    Mask::new(kept, rows, cols, pattern)
}
