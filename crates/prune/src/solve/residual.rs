//! Dropped weights that came back.

use crate::SolveError;

/// A sparse matrix by rows (CSR): what a pattern drops and a layer cannot do without (Weight
/// Recover Prune, ACL 2024 long.347).
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    cols: usize,
    row_ptr: Vec<u32>,
    col: Vec<u16>,
    values: Vec<f32>,
}

impl Residual {
    /// The elements of a `rows × cols` matrix, row-major, that are marked. Errors: more columns than
    /// 16-bit indices reach, or more weights than 32-bit row starts count.
    pub(crate) fn take(dense: &[f32], marked: &[bool], cols: usize) -> Result<Self, SolveError> {
        let len = marked.iter().filter(|&&marked| marked).count();
        if cols > 1 << 16 || u32::try_from(len).is_err() {
            return Err(SolveError::Residual { cols, len });
        }
        let mut residual = Self { cols, row_ptr: vec![0], col: Vec::new(), values: Vec::new() };
        for (row, marked) in dense.chunks_exact(cols).zip(marked.chunks_exact(cols)) {
            for (j, (&w, _)) in row.iter().zip(marked).enumerate().filter(|(_, (_, m))| **m) {
                residual.col.push(j as u16);
                residual.values.push(w);
            }
            residual.row_ptr.push(residual.col.len() as u32);
        }
        Ok(residual)
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.row_ptr.len() - 1
    }

    /// Input features, at most 65536.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Where each row's weights begin in [`col`](Self::col) and [`values`](Self::values), and where
    /// the last row's end: `rows + 1` numbers.
    pub fn row_ptr(&self) -> &[u32] {
        &self.row_ptr
    }

    /// The column of each weight, rising within a row.
    pub fn col(&self) -> &[u16] {
        &self.col
    }

    /// Each weight.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// What this takes if a weight takes `element` bytes: 4 per row and 4 more, 2 per column index.
    pub fn bytes(&self, element: usize) -> usize {
        4 * self.row_ptr.len() + (2 + element) * self.values.len()
    }

    /// Adds the weights to a `rows × cols` matrix, row-major.
    pub(crate) fn add_to(&self, dense: &mut [f32]) {
        for (row, ends) in dense.chunks_exact_mut(self.cols).zip(self.row_ptr.windows(2)) {
            for at in ends[0] as usize..ends[1] as usize {
                row[usize::from(self.col[at])] += self.values[at];
            }
        }
    }
}

/// Marks the dropped weights that are among the `fraction·cols` (rounded down) highest scores of
/// their row, ties to the lower column.
pub(crate) fn recovered(scores: &[f32], kept: &[bool], cols: usize, fraction: f64) -> Vec<bool> {
    let count = ((fraction * cols as f64) as usize).min(cols);
    let mut marked = vec![false; scores.len()];
    let mut order: Vec<usize> = Vec::with_capacity(cols);
    for (at, row) in scores.chunks_exact(cols).enumerate() {
        order.clear();
        order.extend(0..cols);
        order.sort_by(|&i, &j| row[j].total_cmp(&row[i])); // stable: the lower column first
        for &j in &order[..count] {
            marked[at * cols + j] = !kept[at * cols + j];
        }
    }
    marked
}
