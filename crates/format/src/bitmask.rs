//! The layout `sparse-24-bitmask` of compressed-tensors, which vLLM and transformers read.
//!
//! A matrix of `rows × cols` is two arrays. Its kept values lie row-major, `rows × cols/2`, in rising
//! columns. Its mask has a bit for each element, set where a value is kept: rows of ⌈cols/8⌉ bytes, the
//! lowest bit of a byte first (`numpy.packbits(…, bitorder="little")`). Every group of four columns
//! keeps exactly two; a kept value may be zero. Source: compressed-tensors 0.12.2,
//! `Sparse24BitMaskCompressor`.

use crate::matrix::{check_length, elements, padded};
use crate::{Element, Error, Matrix24, Pair, WORD_COLUMNS};
use alloc::vec;
use alloc::vec::Vec;

/// The two arrays of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Bitmask<T> {
    /// `rows × cols/2`, row-major.
    pub values: Vec<T>,
    /// `rows × ⌈cols/8⌉`, row-major; bit c % 8 of byte c / 8 of a row says whether column c is kept.
    pub mask: Vec<u8>,
}

impl<T: Element> Matrix24<T> {
    /// The matrix in the layout of compressed-tensors.
    pub fn to_bitmask(&self) -> Bitmask<T> {
        let (rows, cols) = (self.rows(), self.cols());
        let row_bytes = cols.div_ceil(8);
        let mut values = Vec::with_capacity(rows * cols / 2);
        let mut mask = vec![0u8; rows * row_bytes];
        for (row, mask) in mask.chunks_exact_mut(row_bytes).enumerate() {
            let at = row * self.k() / 2;
            values.extend_from_slice(&self.values()[at..at + cols / 2]);
            for group in 0..cols / 4 {
                let pair = self.pair(row, group);
                let bits = (1 << pair.first() | 1 << pair.second()) as u8;
                mask[group / 2] |= bits << (4 * (group % 2));
            }
        }
        Bitmask { values, mask }
    }

    /// Takes a matrix in the layout of compressed-tensors. Errors: no elements, columns that are no
    /// multiple of 4, arrays of the wrong length, a group that does not keep two, bits past the last
    /// column, a value that is not finite.
    pub fn from_bitmask(
        values: &[T],
        mask: &[u8],
        rows: usize,
        cols: usize,
    ) -> Result<Self, Error> {
        let count = elements(rows, cols)?;
        let k = padded(rows, cols)?;
        let row_bytes = cols.div_ceil(8);
        check_length("values", values.len(), count / 2)?;
        check_length("bitmask", mask.len(), rows * row_bytes)?;
        let mut padded = vec![T::zeroed(); rows * k / 2];
        let mut metadata = vec![crate::matrix::PADDING_WORD; rows * k / WORD_COLUMNS];
        let words = k / WORD_COLUMNS;
        for (row, bits) in mask.chunks_exact(row_bytes).enumerate() {
            let from = &values[row * cols / 2..][..cols / 2];
            padded[row * k / 2..][..cols / 2].copy_from_slice(from);
            for group in 0..2 * row_bytes {
                let nibble = bits[group / 2] >> (4 * (group % 2)) & 15;
                let col = 4 * group;
                let kept = nibble.count_ones() as usize;
                if col >= cols {
                    // the spare half of the last byte
                    match nibble {
                        0 => continue,
                        _ => return Err(Error::MaskPadding { row, col }),
                    }
                }
                let first = nibble.trailing_zeros() as usize;
                let second = 7usize.wrapping_sub(nibble.leading_zeros() as usize);
                let pair = Pair::new(first, second).filter(|_| kept == 2);
                let pair = pair.ok_or(Error::MaskGroup { row, col, kept })?;
                let shift = 4 * (group % 8);
                let word = &mut metadata[row * words + group / 8];
                *word = *word & !(15 << shift) | u32::from(pair.code()) << shift;
            }
        }
        Self::from_parts(padded, metadata, rows, cols)
    }
}
