//! Orders of features, and what they do to matrices.

use crate::layer::check_order;
use crate::{LayerError, OrderError};

/// An order of features: the new feature j is what feature `order[j]` was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(Vec<usize>);

impl Order {
    /// Errors: some index of `0..order.len()` is missing.
    pub fn new(order: Vec<usize>) -> Result<Self, OrderError> {
        check_order(&order, order.len())?;
        Ok(Self(order))
    }

    /// Leaves features where they are.
    pub fn identity(len: usize) -> Self {
        Self((0..len).collect())
    }

    /// One block of features after the other, each in its own order: none leaves its block.
    pub fn in_blocks(blocks: &[Self]) -> Self {
        let mut order = Vec::new();
        for block in blocks {
            let start = order.len();
            order.extend(block.0.iter().map(|&j| start + j));
        }
        Self(order)
    }

    /// The old feature at each new place.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// Features.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no features.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every feature stays where it is.
    pub fn is_identity(&self) -> bool {
        self.0.iter().enumerate().all(|(j, &old)| j == old)
    }

    /// The order that undoes this one.
    pub fn inverse(&self) -> Self {
        let mut inverse = vec![0; self.len()];
        for (j, &old) in self.0.iter().enumerate() {
            inverse[old] = j;
        }
        Self(inverse)
    }

    /// A matrix, `rows × len` row-major, with its columns in this order. Errors: no whole rows.
    pub fn columns<T: Copy>(&self, matrix: &[T]) -> Result<Vec<T>, OrderError> {
        let cols = self.whole("columns", matrix.len())?;
        Ok(matrix.chunks(cols).flat_map(|row| self.0.iter().map(|&old| row[old])).collect())
    }

    /// A matrix, `len × cols` row-major, with its rows in this order; a vector has one column.
    /// Errors: no whole columns.
    pub fn rows<T: Copy>(&self, matrix: &[T]) -> Result<Vec<T>, OrderError> {
        let cols = matrix.len() / self.whole("rows", matrix.len())?;
        Ok(self.0.iter().flat_map(|&old| &matrix[old * cols..][..cols]).copied().collect())
    }

    fn whole(&self, what: &'static str, have: usize) -> Result<usize, OrderError> {
        match self.len() {
            len if len > 0 && have.is_multiple_of(len) => Ok(len),
            len => {
                Err(LayerError::Length { what, have, rows: have / len.max(1), cols: len }.into())
            }
        }
    }
}

/// Blocks of a matrix's columns as rows below each other: `(rows · blocks.len()) × width`.
///
/// Columns that may move only within blocks of `width`, in some blocks alike, are an ordinary search
/// over this stack; [`Order::in_blocks`] takes what it finds back to the matrix. So it is with the
/// input features of attention's output layer: each head's are one block, and all query heads that
/// share a key-value head must keep one order, because one row of the value layer feeds them all.
///
/// `scores`: `rows × cols` row-major; `blocks`: which, counted in widths. Errors: no whole rows,
/// columns that are no whole blocks, a block outside.
pub fn stack_blocks(
    scores: &[f32],
    cols: usize,
    width: usize,
    blocks: &[usize],
) -> Result<Vec<f32>, OrderError> {
    if cols == 0 || !scores.len().is_multiple_of(cols) {
        let (have, rows) = (scores.len(), scores.len() / cols.max(1));
        return Err(LayerError::Length { what: "scores", have, rows, cols }.into());
    }
    if width == 0 || !cols.is_multiple_of(width) {
        return Err(OrderError::Width { width, cols });
    }
    if let Some(&block) = blocks.iter().find(|&&block| block >= cols / width) {
        return Err(OrderError::Block { block, blocks: cols / width });
    }
    let rows = |&block: &usize| scores.chunks(cols).flat_map(move |r| &r[block * width..][..width]);
    Ok(blocks.iter().flat_map(rows).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_columns_and_rows_and_back() {
        let order = Order::new(vec![2, 0, 1]).unwrap();
        let matrix = [1, 2, 3, 4, 5, 6];
        assert_eq!(order.columns(&matrix).unwrap(), [3, 1, 2, 6, 4, 5]);
        assert_eq!(order.rows(&matrix).unwrap(), [5, 6, 1, 2, 3, 4]);
        let back = order.inverse();
        assert_eq!(back.rows(&order.rows(&matrix).unwrap()).unwrap(), matrix);
        assert_eq!(back.columns(&order.columns(&matrix).unwrap()).unwrap(), matrix);
        assert!(order.columns(&[1, 2]).unwrap_err().to_string().contains("2 elements"));
        assert!(order.rows(&[1, 2, 3, 4]).is_err());
        assert!(Order::new(vec![0, 2]).is_err());
        assert!(Order::new(vec![0, 0]).is_err());
        assert!(Order::identity(3).is_identity() && !order.is_identity());
    }

    #[test]
    fn blocks_stack_and_come_back() {
        // two rows, three blocks of two; the first and the last belong together
        let scores = [1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.];
        let stack = stack_blocks(&scores, 6, 2, &[0, 2]).unwrap();
        assert_eq!(stack, [1., 2., 7., 8., 5., 6., 11., 12.]);
        let (swap, keep) = (Order::new(vec![1, 0]).unwrap(), Order::identity(2));
        let order = Order::in_blocks(&[swap.clone(), keep, swap]);
        assert_eq!(order.as_slice(), [1, 0, 2, 3, 5, 4]);
        assert!(stack_blocks(&scores, 6, 4, &[0]).unwrap_err().to_string().contains("blocks of 4"));
        assert!(stack_blocks(&scores, 6, 2, &[3]).is_err());
        assert!(stack_blocks(&scores, 5, 1, &[0]).is_err());
    }
}
