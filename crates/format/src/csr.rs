//! A matrix of few, scattered elements: what is kept beside a 2:4 matrix.

use crate::matrix::{check_finite, check_length};
use crate::{DType, Element, Error};
use alloc::vec;
use alloc::vec::Vec;

/// A matrix of `rows × cols` in compressed sparse rows: of each row its non-zeros, by rising column.
///
/// Weight-Recover-Prune (ACL 2024, long.347, §3) keeps such a matrix R beside a 2:4 matrix W₂₄: the
/// highest-scored of the weights that 2:4 has dropped. The layer is `X·(W₂₄ + R)ᵀ`.
///
/// Every value is finite and not zero, every column in range and higher than the one before it: a
/// `Csr` cannot be made otherwise. It may have no entries at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr<T> {
    rows: usize,
    cols: usize,
    /// `rows + 1`, from 0 to the number of entries.
    pointers: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<T>,
}

impl<T: Element> Csr<T> {
    /// Most columns of a matrix whose entries can be [packed](Self::pack).
    pub const PACKED_COLUMNS: usize = 1 << 16;

    /// The non-zeros of a dense row-major matrix; −0.0 counts as zero.
    ///
    /// Errors: no elements, a slice of the wrong length, a value that is not finite, more than 2³² − 1
    /// non-zeros.
    pub fn from_dense(dense: &[T], rows: usize, cols: usize) -> Result<Self, Error> {
        check_length("dense matrix", dense.len(), elements(rows, cols)?)?;
        let (mut pointers, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for (row, elements) in dense.chunks_exact(cols).enumerate() {
            for (col, &v) in elements.iter().enumerate() {
                check_finite(v, row, col)?;
                if !v.is_zero() {
                    columns.push(col as u32);
                    values.push(v);
                }
            }
            pointers.push(entries(values.len())?);
        }
        Ok(Self { rows, cols, pointers, columns, values })
    }

    /// Takes rows that were made elsewhere: the entries of row r are `pointers[r]..pointers[r + 1]` of
    /// `columns` and `values`.
    ///
    /// Errors, with their places: no elements, a wrong length, pointers that do not rise from 0 to the
    /// number of entries, columns of a row that do not rise or lie past the last, a value that is zero
    /// or not finite.
    pub fn from_parts(
        pointers: Vec<u32>,
        columns: Vec<u32>,
        values: Vec<T>,
        rows: usize,
        cols: usize,
    ) -> Result<Self, Error> {
        elements(rows, cols)?;
        // rows ≤ the product, which a machine's word holds
        check_length("row pointers", pointers.len(), rows.saturating_add(1))?;
        check_length("columns", columns.len(), values.len())?;
        let count = entries(values.len())?;
        let mut from = 0;
        for (row, &pointer) in pointers.iter().enumerate() {
            let least = if row == rows { count } else { from };
            let most = if row == 0 { 0 } else { count };
            if pointer < least || pointer > most {
                return Err(Error::RowPointer { row, pointer, least, most });
            }
            from = pointer;
        }
        for (row, ends) in pointers.windows(2).enumerate() {
            let mut least = 0;
            for i in ends[0] as usize..ends[1] as usize {
                let (col, value) = (columns[i] as usize, values[i]);
                if col < least || col >= cols {
                    return Err(Error::Column { row, col, least, cols });
                }
                check_finite(value, row, col)?;
                if value.is_zero() {
                    return Err(Error::StoredZero { row, col });
                }
                least = col + 1;
            }
        }
        Ok(Self { rows, cols, pointers, columns, values })
    }

    /// The dense matrix, `rows × cols`, row-major.
    pub fn expand(&self) -> Vec<T> {
        let mut dense = vec![T::zeroed(); self.rows * self.cols];
        for (row, out) in dense.chunks_exact_mut(self.cols).enumerate() {
            for (col, v) in self.row(row) {
                out[col] = v;
            }
        }
        dense
    }

    /// Rows: output features, m.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Where each row's entries start, and where the last row's end: `rows + 1` numbers.
    pub fn pointers(&self) -> &[u32] {
        &self.pointers
    }

    /// The entries' columns, row by row.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// The entries' values, row by row: as many as there are entries.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The columns and values of a row. Panics past the end, as slices do.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (usize, T)> {
        let range = self.pointers[row] as usize..self.pointers[row + 1] as usize;
        let columns = self.columns[range.clone()].iter();
        columns.zip(&self.values[range]).map(|(&col, &v)| (col as usize, v))
    }

    /// The fraction of `rows × cols` that is not zero.
    pub fn density(&self) -> f64 {
        self.values.len() as f64 / (self.rows * self.cols) as f64
    }

    /// Bytes of row pointers and entries, with 16-bit columns: for 16-bit types those of the
    /// [packed](Self::pack) form, `4·(m + 1)` and 4 for each entry.
    pub fn bytes(&self) -> usize {
        4 * self.pointers.len() + (2 + size_of::<T>()) * self.values.len()
    }

    /// The entries as kernels read them, beside [`pointers`](Self::pointers): one word each, its low
    /// half the column, its high half the value's bits.
    ///
    /// Errors: a type that is not of 16 bits, more than [`PACKED_COLUMNS`](Self::PACKED_COLUMNS).
    pub fn pack(&self) -> Result<Vec<u32>, Error> {
        packable(T::DTYPE, self.cols)?;
        let bits: &[u16] = bytemuck::cast_slice(&self.values);
        Ok(self.columns.iter().zip(bits).map(|(col, &bits)| col | u32::from(bits) << 16).collect())
    }

    /// The matrix of packed entries. Errors: as [`pack`](Self::pack) and
    /// [`from_parts`](Self::from_parts).
    pub fn unpack(
        pointers: Vec<u32>,
        entries: &[u32],
        rows: usize,
        cols: usize,
    ) -> Result<Self, Error> {
        packable(T::DTYPE, cols)?;
        let columns = entries.iter().map(|entry| entry & 0xFFFF).collect();
        let bits = Vec::from_iter(entries.iter().map(|entry| (entry >> 16) as u16));
        let values = bytemuck::cast_slice(&bits).to_vec();
        Self::from_parts(pointers, columns, values, rows, cols)
    }
}

/// Whether a word has room for a column and a value.
pub(crate) fn packable(dtype: DType, cols: usize) -> Result<(), Error> {
    let most = Csr::<f32>::PACKED_COLUMNS;
    match dtype {
        DType::F32 | DType::I8 | DType::E4M3 | DType::E5M2 => Err(Error::PackedType { dtype }),
        DType::F16 | DType::BF16 if cols > most => Err(Error::PackedColumns { cols, most }),
        DType::F16 | DType::BF16 => Ok(()),
    }
}

/// The product, if there is one: any number of columns will do.
fn elements(rows: usize, cols: usize) -> Result<usize, Error> {
    match (rows, cols) {
        (0, _) | (_, 0) => Err(Error::Empty { rows, cols }),
        // 8 bytes an element is more than any type has; columns are stored in 32 bits
        _ if u32::try_from(cols).is_err() => Err(Error::TooLarge { rows, cols }),
        _ => match rows.checked_mul(cols).filter(|n| n.checked_mul(8).is_some()) {
            Some(n) => Ok(n),
            None => Err(Error::TooLarge { rows, cols }),
        },
    }
}

/// A number of entries, as row pointers hold it.
fn entries(count: usize) -> Result<u32, Error> {
    u32::try_from(count).map_err(|_| Error::Entries { count })
}
