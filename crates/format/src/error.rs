//! What can be wrong with a matrix.

use crate::{DType, IllegalCode, Order};

/// Why data is no 2:4 matrix, or no sparse one. Rows and columns are those of the dense matrix, counted from 0.
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
    /// A gate's rows do not fall into turns of eight.
    #[error("a gate of {elements} elements in {cols} columns is no multiple of 8 rows")]
    GateRows {
        /// Elements that it has.
        elements: usize,
        /// Elements of a row.
        cols: usize,
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
    /// Row pointers that do not rise from 0 to the number of entries.
    #[error("row {row}: its entries start at {pointer}, {least} to {most} wanted")]
    RowPointer {
        /// Row; one past the last for the end of all.
        row: usize,
        /// Where it starts.
        pointer: u32,
        /// Where the row before it starts.
        least: u32,
        /// The number of entries; 0 for the first row.
        most: u32,
    },
    /// A column of a sparse row that is out of range, out of order, or there twice.
    #[error("row {row}: column {col} where {least} to below {cols} may follow")]
    Column {
        /// Row.
        row: usize,
        /// The column.
        col: usize,
        /// One past the column before it in the row.
        least: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// An entry of a sparse row that is zero.
    #[error("row {row}, column {col}: a stored zero")]
    StoredZero {
        /// Row.
        row: usize,
        /// Column.
        col: usize,
    },
    /// More entries than row pointers of 32 bits can count.
    #[error("{count} entries are more than row pointers of 32 bits can count")]
    Entries {
        /// Entries.
        count: usize,
    },
    /// Too many columns for the 16 bits of a packed entry.
    #[error("{cols} columns, a packed entry has room for {most}")]
    PackedColumns {
        /// Columns of the matrix.
        cols: usize,
        /// The most.
        most: usize,
    },
    /// Values that do not fit into the 16 bits of a packed entry.
    #[error("values of {dtype}, a packed entry holds f16 or bf16")]
    PackedType {
        /// The type.
        dtype: DType,
    },
}
