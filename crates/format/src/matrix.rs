//! A 2:4 matrix in its canonical form.

use crate::{Element, Error, Pair};
use alloc::vec;
use alloc::vec::Vec;

/// Columns that one metadata word describes: eight groups of four.
pub const WORD_COLUMNS: usize = 32;

/// A matrix of `rows × cols` with at most two non-zeros in every group of four columns.
///
/// Holds the two kept values of each group and a [`Pair`] that says where they lie. In memory k, the
/// padded number of columns, is a multiple of 32; groups past `cols` hold zeros and code `0x4`.
/// Every value is finite and every code legal: a `Matrix24` cannot be made otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix24<T> {
    rows: usize,
    cols: usize,
    /// `rows × k/2`, row-major.
    values: Vec<T>,
    /// `rows × k/32`, row-major; bits `4g..4g+4` are the code of the word's g-th group.
    metadata: Vec<u32>,
}

impl<T: Element> Matrix24<T> {
    /// Compresses a dense row-major matrix that is 2:4 already.
    ///
    /// The non-zeros of a group are kept; −0.0 counts as zero. With fewer than two, the group's
    /// lowest other positions are kept as well, so that every group keeps two. Zeros are stored as
    /// +0.0. Errors: no elements, columns that are no multiple of 4, a slice of the wrong length, a
    /// value that is not finite, a third non-zero in a group.
    pub fn compress(dense: &[T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::build(dense, rows, cols, |row, col, group| {
            Pair::of(group.map(|v| !v.is_zero()))
                .map_err(|p| Error::ThirdNonZero { row, col: col + p })
        })
    }

    /// Compresses what a row-major mask keeps of a dense row-major matrix.
    ///
    /// A position that the mask drops reads as zero afterwards, whatever it held. Where the mask
    /// keeps fewer than two of a group, the lowest other positions are kept as zeros. Errors: as
    /// [`compress`](Self::compress), but for a third *kept* position instead of a third non-zero.
    pub fn from_mask(dense: &[T], mask: &[bool], rows: usize, cols: usize) -> Result<Self, Error> {
        check_length("dense matrix", dense.len(), elements(rows, cols)?)?;
        check_length("mask", mask.len(), dense.len())?;
        let marked = |row: usize, col: usize| -> [bool; 4] {
            core::array::from_fn(|p| mask[row * cols + col + p])
        };
        let masked: Vec<T> = dense
            .iter()
            .zip(mask)
            // what is not finite stays, to be reported
            .map(|(&v, &kept)| if kept || !v.is_finite() { v } else { T::zeroed() })
            .collect();
        Self::build(&masked, rows, cols, |row, col, _| {
            Pair::of(marked(row, col)).map_err(|p| Error::ThirdKept { row, col: col + p })
        })
    }

    /// Keeps the two largest of each group of a dense row-major matrix, by magnitude; of equals the
    /// lower column stays. What is 2:4 already stays as it is, as [`compress`](Self::compress) has it.
    ///
    /// Errors: as [`compress`](Self::compress), but for a third non-zero.
    pub fn magnitude(dense: &[T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::build(dense, rows, cols, |_, _, group| {
            Ok(Pair::largest(group.map(|v| v.to_f32().abs())))
        })
    }

    /// Takes a canonical form that was made elsewhere. `cols` is the logical number of columns.
    ///
    /// Errors: a wrong length, an illegal code, a value that is not finite, padding that is not
    /// zeros and code `0x4`; each with its place.
    pub fn from_parts(
        values: Vec<T>,
        metadata: Vec<u32>,
        rows: usize,
        cols: usize,
    ) -> Result<Self, Error> {
        elements(rows, cols)?;
        let k = padded(rows, cols)?;
        check_length("values", values.len(), rows * k / 2)?;
        check_length("metadata", metadata.len(), rows * k / WORD_COLUMNS)?;
        let matrix = Self { rows, cols, values, metadata };
        for (group, kept) in matrix.values.chunks_exact(2).enumerate() {
            let (row, col) = (4 * group / k, 4 * group % k);
            let code = (matrix.metadata[group / 8] >> (4 * (group % 8)) & 15) as u8;
            let pair = Pair::try_from(code).map_err(|source| Error::Code { row, col, source })?;
            for (&v, p) in kept.iter().zip([pair.first(), pair.second()]) {
                check_finite(v, row, col + p)?;
            }
            if col >= cols && (pair != Pair::FIRST || kept.iter().any(|&v| v != T::zeroed())) {
                return Err(Error::Padding { row, col });
            }
        }
        Ok(matrix)
    }

    /// The dense matrix, `rows × cols`, row-major; what is not kept is zero.
    pub fn expand(&self) -> Vec<T> {
        let mut dense = vec![T::zeroed(); self.rows * self.cols];
        for (row, out) in dense.chunks_exact_mut(self.cols).enumerate() {
            for (group, out) in out.chunks_exact_mut(4).enumerate() {
                let pair = self.pair(row, group);
                let at = row * self.k() / 2 + 2 * group;
                out[pair.first()] = self.values[at];
                out[pair.second()] = self.values[at + 1];
            }
        }
        dense
    }

    /// Rows: output features, m.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns that mean something: input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Columns in memory: `cols` rounded up to a multiple of 32.
    pub fn k(&self) -> usize {
        self.cols.next_multiple_of(WORD_COLUMNS)
    }

    /// The kept values, `rows × k/2`, row-major.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The metadata words, `rows × k/32`, row-major.
    pub fn metadata(&self) -> &[u32] {
        &self.metadata
    }

    /// Which two of columns `4·group ..+4` of a row are kept. Panics past the end, as slices do.
    pub fn pair(&self, row: usize, group: usize) -> Pair {
        let words = self.k() / WORD_COLUMNS;
        let nibble = self.metadata[row * words + group / 8] >> (4 * (group % 8)) & 15;
        // every constructor has checked it
        Pair::try_from(nibble as u8).unwrap_or(Pair::FIRST)
    }

    /// Bytes of values and metadata together: 9/16 of the dense matrix for 16-bit types, padding
    /// apart.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.values) + size_of_val(&*self.metadata)
    }

    /// The fraction of `rows × cols` that is not zero: at most 0.5.
    pub fn density(&self) -> f64 {
        let non_zero = self.values.iter().filter(|v| !v.is_zero()).count();
        non_zero as f64 / (self.rows * self.cols) as f64
    }

    /// Keeps of each group what `choose(row, first column, group)` names.
    fn build(
        dense: &[T],
        rows: usize,
        cols: usize,
        choose: impl Fn(usize, usize, [T; 4]) -> Result<Pair, Error>,
    ) -> Result<Self, Error> {
        check_length("dense matrix", dense.len(), elements(rows, cols)?)?;
        let k = padded(rows, cols)?;
        let mut values = vec![T::zeroed(); rows * k / 2];
        let mut metadata = vec![PADDING_WORD; rows * k / WORD_COLUMNS];
        for row in 0..rows {
            for col in (0..cols).step_by(4) {
                let group: [T; 4] = core::array::from_fn(|p| dense[row * cols + col + p]);
                for (p, &v) in group.iter().enumerate() {
                    check_finite(v, row, col + p)?;
                }
                let pair = choose(row, col, group)?;
                let at = (row * k + col) / 2;
                values[at] = positive_zero(group[pair.first()]);
                values[at + 1] = positive_zero(group[pair.second()]);
                let shift = col % WORD_COLUMNS;
                let word = &mut metadata[(row * k + col) / WORD_COLUMNS];
                *word = *word & !(15 << shift) | u32::from(pair.code()) << shift;
            }
        }
        Ok(Self { rows, cols, values, metadata })
    }
}

/// Eight groups of padding.
pub(crate) const PADDING_WORD: u32 = 0x4444_4444;

/// The product, with every rule that a shape must follow.
pub(crate) fn elements(rows: usize, cols: usize) -> Result<usize, Error> {
    match (rows, cols) {
        (0, _) | (_, 0) => Err(Error::Empty { rows, cols }),
        _ if !cols.is_multiple_of(4) => Err(Error::Columns { cols }),
        _ => rows.checked_mul(cols).ok_or(Error::TooLarge { rows, cols }),
    }
}

/// k, where all that a later computation multiplies fits.
pub(crate) fn padded(rows: usize, cols: usize) -> Result<usize, Error> {
    // an order pads m to 64 and k to 256; 8 bytes an element is more than any type has
    let fits = |k: usize| rows.checked_next_multiple_of(64)?.checked_mul(k)?.checked_mul(8);
    match cols.checked_next_multiple_of(256).and_then(fits) {
        Some(_) => Ok(cols.next_multiple_of(WORD_COLUMNS)),
        None => Err(Error::TooLarge { rows, cols }),
    }
}

pub(crate) fn check_length(what: &'static str, have: usize, want: usize) -> Result<(), Error> {
    if have == want { Ok(()) } else { Err(Error::Length { what, have, want }) }
}

pub(crate) fn check_finite<T: Element>(v: T, row: usize, col: usize) -> Result<(), Error> {
    if v.is_finite() { Ok(()) } else { Err(Error::NotFinite { row, col, value: v.to_f32() }) }
}

fn positive_zero<T: Element>(v: T) -> T {
    if v.is_zero() { T::zeroed() } else { v }
}
