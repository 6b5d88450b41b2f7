//! Packing on the device: a dense matrix to a 2:4 one in the order of a kernel, and back.

use core::fmt;
use quickpick_format::{DType, Order};

/// A dense matrix `m × k`, row-major, and the same as 2:4 in an order: what [`Problem::Pack24`] and
/// [`Problem::Unpack24`] go between.
///
/// **Packing** keeps the two largest magnitudes of each group of four columns, of equals the lower column,
/// and writes every byte of values and metadata, padding included: what
/// `Matrix24::magnitude(dense).pack(order)` of `quickpick_format` gives, byte for byte; −0 becomes 0.
/// NaN and the infinities, which that refuses, are taken for what their bits say without the sign, larger
/// than any number, and kept as they are; and the group is reported.
///
/// **Unpacking** writes every element of the dense matrix: the kept values as they are, zeros elsewhere,
/// and four zeros for a group with a code that names no pair; that group is reported. Padding is not looked at.
///
/// **Reported** is the least number of a bad group, `row·(k/4) + column/4`: `status`, one u32, is lowered to
/// it. The caller sets it to [`NO_GROUP`] before; several launches may share it.
///
/// [`Problem::Pack24`]: crate::Problem::Pack24
/// [`Problem::Unpack24`]: crate::Problem::Unpack24
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packing {
    /// Rows.
    pub m: u32,
    /// Columns, a multiple of 4.
    pub k: u32,
    /// F16 or BF16.
    pub dtype: DType,
    /// The order of values and metadata.
    pub order: Order,
}

/// What `status` holds where no group is bad.
pub const NO_GROUP: u32 = u32::MAX;

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, k, dtype, order } = self;
        write!(f, "W[{m}×{k}] {dtype} dense and 2:4 in order {order}")
    }
}
