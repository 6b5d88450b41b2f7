//! What solvers return, and how good it is.

use crate::{Gram, LayerError, LayerProblem, Mask, Residual};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows that one task works on: enough for a matrix product, few enough for both to fit a cache.
pub(crate) const TILE: usize = 144;

/// A pruned layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// Ŵ, `rows × cols`, row-major; zero where the mask drops.
    pub weight: Vec<f32>,
    /// Which weights stay: exactly the pattern.
    pub mask: Mask,
    /// Dropped weights that were recovered; the layer is `weight + residual`.
    pub residual: Option<Residual>,
    /// [`relative_error`] of the layer, residual included.
    pub error: f64,
    /// λ, as the solver used it: what was asked, unless it had to be raised. 0 if no solver was at
    /// work.
    pub damping: f64,
    /// How often damping was raised because the gram had no Cholesky factor.
    pub retries: u32,
    /// Steps of the iterations that the method is made of: ADMM's and conjugate gradients' (of the
    /// rows that took the most).
    pub iterations: usize,
}

impl Solution {
    /// The layer's weights, residual included.
    pub fn dense(&self) -> Vec<f32> {
        let mut dense = self.weight.clone();
        if let Some(residual) = &self.residual {
            residual.add_to(&mut dense);
        }
        dense
    }
}

/// ‖(W − Ŵ)X‖² / ‖WX‖², over all inputs that the gram has seen: 0 for the same outputs, 1 for none.
///
/// Where WX = 0, it is 0 if ŴX = 0 too, else infinite. `weight` is Ŵ, `rows × cols`, row-major.
/// Errors: it does not fill the matrix.
pub fn relative_error(problem: &LayerProblem<'_>, weight: &[f32]) -> Result<f64, LayerError> {
    let (rows, cols) = (problem.rows(), problem.cols());
    if weight.len() != rows * cols {
        return Err(LayerError::Length { what: "weights", have: weight.len(), rows, cols });
    }
    let wide: Vec<f64> = problem.weight().iter().map(|&w| f64::from(w)).collect();
    let lost: Vec<f64> = wide.iter().zip(weight).map(|(w, &v)| w - f64::from(v)).collect();
    let sum = |rows: Vec<f64>| rows.iter().sum::<f64>();
    let (lost, all) = (sum(energies(&lost, problem.gram())), sum(energies(&wide, problem.gram())));
    Ok(if lost == 0.0 { 0.0 } else { lost / all })
}

/// d·H·dᵀ = ‖d·X‖² of each row d of a `rows × k` matrix.
///
/// The gram keeps the lower triangle L of H = L + Lᵀ − diag H, so this is 2·d·L·dᵀ − Σ H_jj·d_j².
pub(crate) fn energies(rows: &[f64], gram: &Gram) -> Vec<f64> {
    let k = gram.k();
    let lower = MatRef::from_row_major_slice(gram.lower(), k, k);
    let diagonal = gram.diagonal();
    let tiles = rows.par_chunks(TILE * k).map(|tile| {
        let mut product = vec![0.0; tile.len()];
        let out = MatMut::from_row_major_slice_mut(&mut product, tile.len() / k, k);
        let d = MatRef::from_row_major_slice(tile, tile.len() / k, k);
        matmul(out, Accum::Replace, d, lower, 1.0, Par::Seq);
        let pairs = tile.chunks_exact(k).zip(product.chunks_exact(k));
        let energy = |(d, dl): (&[f64], &[f64])| -> f64 {
            let terms = d.iter().zip(dl).zip(&diagonal);
            terms.map(|((d, dl), h)| 2.0 * d * dl - h * d * d).sum::<f64>().max(0.0)
        };
        pairs.map(energy).collect::<Vec<f64>>()
    });
    tiles.collect::<Vec<_>>().concat()
}
