//! What a layer's inputs look like: all that the solvers know of the calibration text.

use crate::LayerError;
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, MatMut, MatRef, Par};

/// Tokens that are widened to f64 at once.
const CHUNK: usize = 256;

/// XᵀX of a layer's inputs X, `tokens × k`, summed in f64.
///
/// For `y = W·x` the squared error of other weights Ŵ over all those inputs is
/// `Σ_rows (w − ŵ)·XᵀX·(w − ŵ)ᵀ`, so layers with the same input share a gram, and inputs need not be
/// kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    k: usize,
    tokens: u64,
    /// `k × k`; the lower triangle (row ≥ column) holds the sums, the rest zeros.
    lower: Vec<f64>,
}

impl Gram {
    /// Of no inputs. `k`: input features.
    pub fn new(k: usize) -> Self {
        Self { k, tokens: 0, lower: vec![0.0; k * k] }
    }

    /// From a whole matrix, `k × k` row-major, such as another framework exports.
    ///
    /// Errors: no square, a number that is not finite, a negative diagonal, no symmetry (beyond 1e-4
    /// of the two diagonal elements' geometric mean).
    pub fn from_matrix(matrix: &[f64], k: usize, tokens: u64) -> Result<Self, LayerError> {
        if k == 0 || k.checked_mul(k) != Some(matrix.len()) {
            return Err(LayerError::Length { what: "gram", have: matrix.len(), rows: k, cols: k });
        }
        let mut gram = Self { k, tokens, lower: vec![0.0; k * k] };
        for row in 0..k {
            for col in 0..=row {
                let (a, b) = (matrix[row * k + col], matrix[col * k + row]);
                if !a.is_finite() || !b.is_finite() {
                    return Err(LayerError::NotFinite { what: "gram", row, col });
                }
                let scale = (matrix[row * k + row] * matrix[col * k + col]).max(0.0).sqrt();
                if (row == col && a < 0.0) || (a - b).abs() > 1e-4 * scale {
                    return Err(LayerError::NoGram { row, col, a, b });
                }
                gram.lower[row * k + col] = 0.5 * (a + b);
            }
        }
        Ok(gram)
    }

    /// Adds inputs, `tokens × k` row-major. Errors: no whole rows, a number that is not finite.
    pub fn add(&mut self, x: &[f32]) -> Result<(), LayerError> {
        let k = self.k;
        if k == 0 || !x.len().is_multiple_of(k) {
            return Err(LayerError::Length {
                what: "inputs",
                have: x.len(),
                rows: x.len() / k.max(1),
                cols: k,
            });
        }
        if let Some(at) = x.iter().position(|v| !v.is_finite()) {
            return Err(LayerError::NotFinite { what: "input", row: at / k, col: at % k });
        }
        let mut wide = Vec::with_capacity(CHUNK * k);
        for chunk in x.chunks(CHUNK * k) {
            wide.clear();
            wide.extend(chunk.iter().map(|&v| f64::from(v)));
            let x = MatRef::from_row_major_slice(&wide, chunk.len() / k, k);
            let sum = MatMut::from_row_major_slice_mut(&mut self.lower, k, k);
            let (lower, all) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
            matmul(sum, lower, Accum::Add, x.transpose(), all, x, all, 1.0, Par::rayon(0));
        }
        self.tokens += (x.len() / k) as u64;
        Ok(())
    }

    /// Input features.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Inputs that were added.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// `Σ x_i·x_j`.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.lower[i.max(j) * self.k + i.min(j)]
    }

    /// The lower triangle, `k × k` row-major; zeros above.
    pub(crate) fn lower(&self) -> &[f64] {
        &self.lower
    }

    /// The whole symmetric matrix, `k × k`.
    pub fn matrix(&self) -> Vec<f64> {
        let k = self.k;
        (0..k * k).map(|at| self.at(at / k, at % k)).collect()
    }

    /// `Σ x_i²` of each input feature.
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.k).map(|i| self.at(i, i)).collect()
    }

    /// Of the same inputs with features in another order: feature j is what feature `order[j]` was.
    /// Errors: `order` is no permutation of the features.
    pub fn reordered(&self, order: &[usize]) -> Result<Self, LayerError> {
        crate::layer::check_order(order, self.k)?;
        let k = self.k;
        let mut lower = vec![0.0; k * k];
        for i in 0..k {
            for j in 0..=i {
                lower[i * k + j] = self.at(order[i], order[j]);
            }
        }
        Ok(Self { k, tokens: self.tokens, lower })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_products_over_all_inputs() {
        let (k, n) = (5, 2 * CHUNK + 3);
        let x: Vec<f32> = (0..n * k).map(|i| ((i * 37 % 101) as f32 - 50.0) / 8.0).collect();
        let mut gram = Gram::new(k);
        gram.add(&x[..7 * k]).unwrap();
        gram.add(&x[7 * k..]).unwrap();
        assert_eq!(gram.tokens(), n as u64);
        for i in 0..k {
            for j in 0..k {
                let rows = x.chunks(k).map(|row| f64::from(row[i]) * f64::from(row[j]));
                assert_eq!(gram.at(i, j), rows.sum::<f64>()); // eighths: exact in any order
            }
        }
        assert_eq!(Gram::from_matrix(&gram.matrix(), k, n as u64).unwrap(), gram);
        let order = [4, 0, 3, 1, 2];
        assert_eq!(gram.reordered(&order).unwrap().at(0, 3), gram.at(4, 1));
        assert!(gram.reordered(&[0, 1, 2, 3, 3]).is_err());
    }

    #[test]
    fn refuses_what_is_no_gram() {
        let no = |m: &[f64]| Gram::from_matrix(m, 2, 1).unwrap_err().to_string();
        assert!(no(&[1.0, 0.5, 0.4, 1.0]).contains("(1, 0)"));
        assert!(no(&[-1.0, 0.0, 0.0, 1.0]).contains("(0, 0)"));
        assert!(no(&[1.0, f64::NAN, 0.0, 1.0]).contains("finite"));
        assert!(no(&[1.0, 2.0, 3.0]).contains("3 elements"));
        assert!(Gram::new(2).add(&[1.0, f32::INFINITY]).is_err());
        assert!(Gram::new(2).add(&[1.0]).is_err());
    }
}
