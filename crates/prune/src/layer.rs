//! A layer as the solvers see it: its weights and its inputs' gram.

use crate::Gram;

/// Weights `rows × cols`, row-major, and the gram of what they multiply.
#[derive(Clone, Copy, Debug)]
pub struct LayerProblem<'a> {
    rows: usize,
    cols: usize,
    weight: &'a [f32],
    gram: &'a Gram,
}

impl<'a> LayerProblem<'a> {
    /// Errors: weights that do not fill the matrix or are not finite, a gram of other features.
    pub fn new(
        weight: &'a [f32],
        rows: usize,
        cols: usize,
        gram: &'a Gram,
    ) -> Result<Self, LayerError> {
        if rows == 0 || cols == 0 || rows.checked_mul(cols) != Some(weight.len()) {
            return Err(LayerError::Length { what: "weights", have: weight.len(), rows, cols });
        }
        if gram.k() != cols {
            return Err(LayerError::Gram { features: gram.k(), cols });
        }
        if let Some(at) = weight.iter().position(|w| !w.is_finite()) {
            return Err(LayerError::NotFinite { what: "weight", row: at / cols, col: at % cols });
        }
        Ok(Self { rows, cols, weight, gram })
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row-major.
    pub fn weight(&self) -> &'a [f32] {
        self.weight
    }

    /// Of the inputs.
    pub fn gram(&self) -> &'a Gram {
        self.gram
    }
}

/// Whether each of `0..len` occurs once.
pub(crate) fn check_order(order: &[usize], len: usize) -> Result<(), LayerError> {
    let mut seen = vec![false; len];
    let fresh = |&i: &usize| seen.get_mut(i).is_some_and(|seen| !std::mem::replace(seen, true));
    match order.len() == len && order.iter().all(fresh) {
        true => Ok(()),
        false => Err(LayerError::Order { have: order.len(), len }),
    }
}

/// Why there is no such layer; the caller's fault in every case.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The data does not fill the matrix.
    #[error("{what}: {have} elements do not fill {rows} × {cols}")]
    Length {
        /// Of what.
        what: &'static str,
        /// Elements given.
        have: usize,
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// NaN or infinite.
    #[error("the {what} in row {row}, column {col} is not finite")]
    NotFinite {
        /// Of what.
        what: &'static str,
        /// Row.
        row: usize,
        /// Column.
        col: usize,
    },
    /// Not symmetric, or a negative square.
    #[error("not a gram: element ({row}, {col}) is {a}, element ({col}, {row}) is {b}")]
    NoGram {
        /// Row.
        row: usize,
        /// Column.
        col: usize,
        /// The element.
        a: f64,
        /// Its mirror.
        b: f64,
    },
    /// A gram of another layer.
    #[error("the gram has {features} features, the layer {cols} columns")]
    Gram {
        /// Of the gram.
        features: usize,
        /// Of the layer.
        cols: usize,
    },
    /// Not a permutation.
    #[error("{have} indices are no order of {len} features")]
    Order {
        /// Indices given.
        have: usize,
        /// Features.
        len: usize,
    },
}
