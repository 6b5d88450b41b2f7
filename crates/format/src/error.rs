//! What can be wrong with a matrix.

use crate::{DType, IllegalCode, Order};

/// Why data is no 2:4 matrix. Rows and columns are those of the dense matrix, counted from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A matrix without elements.
    #[error("a matrix of {rows} × {cols} has no elements")]
    Empty {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// More elements than this machine can address.
    #[error("a matrix of {rows} × {cols} is too large for this machine")]
    TooLarge {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// The columns do not fall into groups of four.
    #[error("{cols} columns are no multiple of the group of 4")]
    Columns {
        /// Columns asked for.
        cols: usize,
    },
    /// A slice of the wrong length: truncated, or of another matrix.
    #[error("{what}: {have} elements, {want} wanted")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Elements that it has.
        have: usize,
        /// Elements that the shape wants.
        want: usize,
    },
    /// NaN or an infinity.
    #[error("row {row}, column {col}: {value} is not finite")]
    NotFinite {
        /// Row.
        row: usize,
        /// Column.
        col: usize,
        /// The value.
        value: f32,
    },
    /// A third non-zero in a group of four: the matrix is not 2:4.
    #[error("row {row}, column {col}: the third non-zero of its group of 4")]
    ThirdNonZero {
        /// Row.
        row: usize,
        /// Column of the third.
        col: usize,
    },
    /// A mask that keeps a third of a group of four.
    #[error("row {row}, column {col}: the third position that the mask keeps of its group of 4")]
    ThirdKept {
        /// Row.
        row: usize,
        /// Column of the third.
        col: usize,
    },
    /// A group of a bitmask that keeps another number than two.
    #[error("row {row}, columns from {col}: the bitmask keeps {kept} of 4, 2 wanted")]
    MaskGroup {
        /// Row.
        row: usize,
        /// First column of the group.
        col: usize,
        /// Bits that are set.
        kept: usize,
    },
    /// A bitmask that keeps what lies past the last column.
    #[error("row {row}: the bitmask keeps columns from {col}, past the last")]
    MaskPadding {
        /// Row.
        row: usize,
        /// First of the columns.
        col: usize,
    },
    /// A metadata nibble that names no pair.
    #[error("row {row}, columns from {col}: {source}")]
    Code {
        /// Row (past the matrix in an order's padding).
        row: usize,
        /// First column of the group (past the matrix in padding).
        col: usize,
        /// The nibble.
        source: IllegalCode,
    },
    /// Padding that holds something else than zeros and code 0x4.
    #[error("row {row}, columns from {col}: padding must hold zeros and code 0x4")]
    Padding {
        /// Row.
        row: usize,
        /// First column of the group.
        col: usize,
    },
    /// The order does not exist for this type.
    #[error("order {order} does not serve type {dtype}")]
    OrderType {
        /// The order.
        order: Order,
        /// The type.
        dtype: DType,
    },
}
