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
    let mut kept = vec![false; scores.len()];
    keep_highest(scores, pattern, &mut kept);
    Mask::new(kept, rows, cols, pattern)
}

/// Marks the `n` highest of every group, ties to the lower column: a weight stays if fewer than `n`
/// are ahead of it. No score may be NaN.
pub(crate) fn keep_highest<T: Copy + PartialOrd>(
    scores: &[T],
    pattern: Pattern,
    kept: &mut [bool],
) {
    let groups = scores.chunks_exact(pattern.group());
    for (group, kept) in groups.zip(kept.chunks_exact_mut(pattern.group())) {
        for (i, &score) in group.iter().enumerate() {
            let before = group[..i].iter().filter(|&&other| other >= score).count();
            let behind = group[i + 1..].iter().filter(|&&other| other > score).count();
            kept[i] = before + behind < pattern.kept();
        }
    }
}
