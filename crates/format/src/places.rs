//! Where an order puts what, for whoever packs in memory of their own.

use crate::matrix::{elements, padded};
use crate::pack::Map;
use crate::{DType, Error, Order};

/// The places of a matrix's kept values and codes in an order: those of
/// [`Matrix24::pack`](crate::Matrix24::pack), which allocates, and of device kernels, which do not.
///
/// ```
/// use quickpick_format::{DType, Order, Places};
///
/// let places = Places::new(Order::MmaSpSm80, DType::F16, 32, 64)?;
/// // row 9, the first kept value of columns 48..52: the 24th of its row
/// assert_eq!(places.value(9, 24), 9 * 32 + 24);
/// assert_eq!(places.code(9, 24), (32 + 4 + 1, 16));
/// # Ok::<(), quickpick_format::Error>(())
/// ```
pub struct Places(Map);

impl Places {
    /// The places of a matrix of `rows × cols`. Their number is that of [`Order::values_shape`] and
    /// [`Order::metadata_shape`].
    ///
    /// Errors: no elements, columns that are no multiple of 4, a size past this machine's addresses, an
    /// order that does not serve the type.
    pub fn new(order: Order, dtype: DType, rows: usize, cols: usize) -> Result<Self, Error> {
        order.serves(dtype)?;
        elements(rows, cols)?;
        Ok(Self(Map::new(order, dtype, rows, padded(rows, cols)?)))
    }

    /// Where the j-th kept value of a row lies among the values; two of each group of four columns.
    pub fn value(&self, row: usize, j: usize) -> usize {
        self.0.value(row, j)
    }

    /// The metadata word, and the lowest of the two bits in it, that say which column of its group the
    /// j-th kept value of a row has.
    pub fn code(&self, row: usize, j: usize) -> (usize, usize) {
        self.0.place(row, j)
    }

    /// A metadata word of padding: every group keeps columns 0 and 1.
    pub fn padding(&self) -> u32 {
        self.0.padding()
    }
}
