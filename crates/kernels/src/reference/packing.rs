//! What packing and unpacking mean, in the bits of elements: bytes are compared, not values.

use crate::{DType, NO_GROUP, Packing};
use alloc::vec;
use alloc::vec::Vec;
use quickpick_format::{Pair, Places};

/// A 2:4 matrix in an order, as bits, and what is reported of the dense one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed24 {
    /// The kept values.
    pub values: Vec<u16>,
    /// The metadata words.
    pub metadata: Vec<u32>,
    /// The first group that holds a NaN or an infinity, or [`NO_GROUP`].
    pub status: u32,
}

/// The bits of an element without its sign, which are ordered as magnitudes are.
const MAGNITUDE: u16 = 0x7fff;

/// The magnitude of infinity; NaNs are above.
fn infinity(dtype: DType) -> u16 {
    if dtype == DType::BF16 { 0x7f80 } else { 0x7c00 }
}

fn places(p: &Packing) -> Places {
    Places::new(p.order, p.dtype, p.m as usize, p.k as usize).expect("a shape that has a plan")
}

/// The 2:4 matrix of a dense one, `m × k`.
pub fn pack24(p: &Packing, dense: &[u16]) -> Packed24 {
    let (m, k) = (p.m as usize, p.k as usize);
    let places = places(p);
    let [value_rows, kept] = p.order.values_shape(p.dtype, m, k);
    let [word_rows, words] = p.order.metadata_shape(p.dtype, m, k);
    let mut values = vec![0; value_rows * kept];
    let mut metadata = vec![places.padding(); word_rows * words];
    let mut status = NO_GROUP;
    for (number, group) in dense[..m * k].chunks_exact(4).enumerate() {
        let (row, group_of_row) = (number / (k / 4), number % (k / 4));
        if group.iter().any(|bits| bits & MAGNITUDE >= infinity(p.dtype)) {
            status = status.min(number as u32);
        }
        let pair = Pair::largest(core::array::from_fn(|i| group[i] & MAGNITUDE));
        for (e, position) in [pair.first(), pair.second()].into_iter().enumerate() {
            let j = 2 * group_of_row + e;
            let zero = group[position] & MAGNITUDE == 0;
            values[places.value(row, j)] = if zero { 0 } else { group[position] };
            let (word, shift) = places.code(row, j);
            metadata[word] = metadata[word] & !(3 << shift) | (position as u32) << shift;
        }
    }
    Packed24 { values, metadata, status }
}

/// The dense matrix of a 2:4 one, `m × k`, and the first group whose code is illegal, or [`NO_GROUP`].
pub fn unpack24(p: &Packing, values: &[u16], metadata: &[u32]) -> (Vec<u16>, u32) {
    let (m, k) = (p.m as usize, p.k as usize);
    let places = places(p);
    let mut dense = vec![0; m * k];
    let mut status = NO_GROUP;
    for (number, group) in dense.chunks_exact_mut(4).enumerate() {
        let (row, j) = (number / (k / 4), 2 * (number % (k / 4)));
        let position = |j| {
            let (word, shift) = places.code(row, j);
            (metadata[word] >> shift & 3) as usize
        };
        match Pair::new(position(j), position(j + 1)) {
            Some(pair) => {
                group[pair.first()] = values[places.value(row, j)];
                group[pair.second()] = values[places.value(row, j + 1)];
            }
            None => status = status.min(number as u32),
        }
    }
    (dense, status)
}
