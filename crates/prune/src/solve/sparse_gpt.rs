//! SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774, algorithm 1): column by column, what is
//! dropped is made up for by the columns behind it.

use super::{Keep, finish};
use crate::project::keep_highest;
use crate::{LayerProblem, Prepared, Solution, SolveError};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Columns after which the columns behind are updated, as in the paper.
const BLOCK: usize = 128;

/// Sweeps the columns once. With U from H⁻¹ = UᵀU, dropping w_j costs w_j²/U_jj² where U_jj² is the
/// diagonal of the inverse of H without the columns before j, and the best answer to it is to add
/// −(w_j/U_jj)·U_j,: to the row. Each group's mask is chosen when the sweep reaches it, from the
/// weights as they are by then, unless `keep` is a mask.
///
/// Errors: columns that are no whole groups, a mask of another shape, another gram, no Cholesky
/// factor.
pub fn sparse_gpt<'a>(
    problem: &LayerProblem<'_>,
    prepared: &mut Prepared<'_>,
    keep: impl Into<Keep<'a>>,
) -> Result<Solution, SolveError> {
    let keep = keep.into();
    let pattern = keep.check(problem)?;
    let (system, u) = prepared.factor(problem)?;
    let (rows, k) = (problem.rows(), problem.cols());
    let mut weight = system.scaled(problem.weight());
    let mut kept = match keep {
        Keep::Mask(mask) => mask.kept().to_vec(),
        Keep::Pattern(_) => vec![true; rows * k],
    };
    let block = (BLOCK / pattern.group() * pattern.group()).max(pattern.group());
    for start in (0..k).step_by(block) {
        let end = k.min(start + block);
        let width = end - start;
        let mut error = vec![0.0; rows * width]; // E of the paper
        let tasks = weight.par_chunks_mut(k).zip(kept.par_chunks_mut(k));
        tasks.zip(error.par_chunks_mut(width)).for_each(|((w, kept), error)| {
            let mut cost = vec![0.0; pattern.group()];
            for j in start..end {
                if let (Keep::Pattern(_), 0) = (keep, (j - start) % pattern.group()) {
                    for (c, cost) in (j..).zip(&mut cost) {
                        *cost = (w[c] / u[c * k + c]).powi(2);
                    }
                    keep_highest(&cost, pattern, &mut kept[j..j + pattern.group()]);
                }
                if !kept[j] {
                    let e = w[j] / u[j * k + j];
                    error[j - start] = e;
                    w[j] = 0.0;
                    let row = &u[j * k + j + 1..j * k + end];
                    w[j + 1..end].iter_mut().zip(row).for_each(|(w, u)| *w -= e * u);
                }
            }
        });
        let behind =
            MatMut::from_row_major_slice_mut(&mut weight, rows, k).subcols_mut(end, k - end);
        let error = MatRef::from_row_major_slice(&error, rows, width);
        let u = MatRef::from_row_major_slice(u, k, k).submatrix(start, end, width, k - end);
        matmul(behind, Accum::Add, error, u, -1.0, Par::rayon(0));
    }
    finish(problem, system, &weight, kept, pattern, 0)
}
