//! From the canonical form to an order that a kernel reads, and back.
//!
//! An order is two maps: of a kept value, and of its two bits of metadata, each from its place in the padded
//! matrix to its place in memory. Packing writes along the maps,
//! unpacking reads along them, so one is the inverse of the other by construction.

use crate::matrix::{PADDING_WORD, WORD_COLUMNS, check_length, elements, padded};
use crate::{DType, Element, Error, Matrix24, Order, Pair};
use alloc::vec;
use alloc::vec::Vec;

/// A 2:4 matrix in the order of a kernel: what is uploaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed<T> {
    /// The order.
    pub order: Order,
    /// The kept values.
    pub values: Vec<T>,
    /// The metadata words.
    pub metadata: Vec<u32>,
}

impl<T: Element> Packed<T> {
    /// The values as memory holds them.
    pub fn value_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.values)
    }

    /// The metadata as memory holds it.
    pub fn metadata_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.metadata)
    }

    /// The canonical form. Errors: as [`Matrix24::from_parts`]; also where the order's own padding
    /// (rows, or columns past k) holds something else than zeros and code `0x4`.
    pub fn unpack(&self, rows: usize, cols: usize) -> Result<Matrix24<T>, Error> {
        self.order.serves(T::DTYPE)?;
        elements(rows, cols)?;
        let k = padded(rows, cols)?;
        let map = Map::new(self.order, T::DTYPE, rows, k);
        check_length("values", self.values.len(), map.value_rows * map.value_k / 2)?;
        check_length("metadata", self.metadata.len(), map.rows * map.k / WORD_COLUMNS)?;
        let mut values = vec![T::zeroed(); rows * k / 2];
        for row in 0..map.value_rows {
            for j in 0..map.value_k / 2 {
                let v = self.values[map.value(row, j)];
                if row < rows && j < k / 2 {
                    values[row * k / 2 + j] = v;
                } else if v != T::zeroed() {
                    return Err(Error::Padding { row, col: j / 2 * 4 });
                }
            }
        }
        let mut metadata = vec![0u32; rows * k / WORD_COLUMNS];
        for row in 0..map.rows {
            for unit in 0..map.k / 16 {
                let codes = (0..8).fold(0, |codes, i| {
                    let (word, shift) = map.place(row, 8 * unit + i);
                    codes | (self.metadata[word] >> shift & 3) << (2 * i)
                });
                if row < rows && unit < k / 16 {
                    metadata[(row * k / 16 + unit) / 2] |= codes << (16 * (unit % 2));
                } else {
                    check_padding(codes, row, 16 * unit)?;
                }
            }
        }
        Matrix24::from_parts(values, metadata, rows, cols)
    }
}

/// A half-word of padding: an illegal code is reported as such.
fn check_padding(codes: u32, row: usize, col: usize) -> Result<(), Error> {
    for group in 0..4 {
        let (code, col) = ((codes >> (4 * group) & 15) as u8, col + 4 * group);
        match Pair::try_from(code) {
            Ok(Pair::FIRST) => {}
            Ok(_) => return Err(Error::Padding { row, col }),
            Err(source) => return Err(Error::Code { row, col, source }),
        }
    }
    Ok(())
}

impl<T: Element> Matrix24<T> {
    /// Lays the matrix out as a kernel reads it; what the order pads holds zeros and code `0x4`.
    /// Errors: the order does not serve the type.
    pub fn pack(&self, order: Order) -> Result<Packed<T>, Error> {
        order.serves(T::DTYPE)?;
        let (rows, k) = (self.rows(), self.k());
        let map = Map::new(order, T::DTYPE, rows, k);
        let mut values = vec![T::zeroed(); map.value_rows * map.value_k / 2];
        let mut metadata = vec![map.padding(); map.rows * map.k / WORD_COLUMNS];
        for (at, &v) in self.values().iter().enumerate() {
            let (row, j) = (at / (k / 2), at % (k / 2));
            values[map.value(row, j)] = v;
            // the canonical form: 16 kept values a word
            let bits = self.metadata()[at / 16] >> (2 * (at % 16)) & 3;
            let (word, shift) = map.place(row, j);
            metadata[word] = metadata[word] & !(3 << shift) | bits << shift;
        }
        Ok(Packed { order, values, metadata })
    }
}

impl Order {
    /// Rows and columns of a matrix of `rows × cols` as the order pads its metadata; its values at
    /// most so far ([`Self::value_rows`], [`Self::value_cols`]).
    pub const fn padded(self, dtype: DType, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Self::RowMajor => (rows, cols.next_multiple_of(32)),
            // 64 bytes of X: a k-step of m16n8k32, or of m16n8k64
            Self::MmaSpSm80 => {
                (rows.next_multiple_of(32), cols.next_multiple_of(64 / word_bytes(dtype)))
            }
            Self::FragmentSm80 => (rows.next_multiple_of(16), self.value_cols(dtype, cols)),
            // four k-steps of 64 bytes of X
            Self::WgmmaSm90 => {
                (rows.next_multiple_of(64), cols.next_multiple_of(256 / dtype.bytes()))
            }
            Self::Strips => (rows.next_multiple_of(16), cols.next_multiple_of(32)),
        }
    }

    /// Rows for which the order stores values: those of the matrix, unless values come in blocks.
    pub const fn value_rows(self, rows: usize) -> usize {
        match self {
            Self::RowMajor | Self::MmaSpSm80 | Self::WgmmaSm90 => rows,
            Self::FragmentSm80 | Self::Strips => rows.next_multiple_of(16),
        }
    }

    /// Columns for which the order stores values, two of each four: k, unless values come in blocks.
    pub const fn value_cols(self, dtype: DType, cols: usize) -> usize {
        match self {
            // two k-steps, 128 bytes of X
            Self::FragmentSm80 => cols.next_multiple_of(128 / word_bytes(dtype)),
            _ => cols.next_multiple_of(32),
        }
    }

    /// Shape of the kept values: rows, kept values of a row. A block order fills it block by block.
    pub const fn values_shape(self, dtype: DType, rows: usize, cols: usize) -> [usize; 2] {
        [self.value_rows(rows), self.value_cols(dtype, cols) / 2]
    }

    /// Shape of the metadata: rows, words of a row. A block order fills it block by block.
    pub const fn metadata_shape(self, dtype: DType, rows: usize, cols: usize) -> [usize; 2] {
        let (rows, k) = self.padded(dtype, rows, cols);
        [rows, k / WORD_COLUMNS]
    }

    /// Whether the order exists for a type.
    pub(crate) fn serves(self, dtype: DType) -> Result<(), Error> {
        match (self, dtype) {
            (Self::RowMajor | Self::Strips, _)
            | (_, DType::F16 | DType::BF16)
            | (_, DType::I8 | DType::E4M3 | DType::E5M2) => Ok(()),
            (order, dtype) => Err(Error::OrderType { order, dtype }),
        }
    }
}

/// Bytes of an element in the tensor units' orders, which exist for types of 16 and of 8 bits.
const fn word_bytes(dtype: DType) -> usize {
    if dtype.bytes() == 1 { 1 } else { 2 }
}

/// An order, for a matrix of some size.
pub(crate) struct Map {
    order: Order,
    dtype: DType,
    /// Padded rows.
    rows: usize,
    /// Padded columns.
    k: usize,
    /// Rows with values.
    value_rows: usize,
    /// Columns with values.
    value_k: usize,
}

impl Map {
    pub(crate) fn new(order: Order, dtype: DType, rows: usize, k: usize) -> Self {
        let (value_rows, value_k) = (order.value_rows(rows), order.value_cols(dtype, k));
        let (rows, k) = order.padded(dtype, rows, k);
        Self { order, dtype, rows, k, value_rows, value_k }
    }

    /// Where the j-th kept value of a row lies.
    pub(crate) fn value(&self, row: usize, j: usize) -> usize {
        match self.order {
            Order::RowMajor | Order::MmaSpSm80 | Order::WgmmaSm90 => row * self.value_k / 2 + j,
            // A of m16n8k32, on the compressed 16 × 16 of a k-step: with g = lane/4, t = lane%4,
            // register r of a lane holds row g + 8·(r%2), columns 2t + 8·(r/2) and the next; of
            // m16n8k64, on 16 × 32 of 8 bits, four columns from 4t + 16·(r/2) on
            Order::FragmentSm80 => {
                let in_word = 4 / self.dtype.bytes();
                let (g, high_row) = (row % 8, row / 8 % 2);
                let (word, element) = (j / in_word, j % in_word);
                let (t, high_col, step) = (word % 4, word / 4 % 2, word / 8);
                let register = high_row + 2 * high_col;
                let step = row / 16 * (self.value_k / 2 / (8 * in_word)) + step;
                ((step * 32 + 4 * g + t) * 4 + register) * in_word + element
            }
            Order::Strips => {
                // kept values of a row that lie side by side
                let together = match self.dtype {
                    DType::F32 | DType::F16 | DType::E4M3 | DType::E5M2 => 1,
                    DType::BF16 => 2,
                    DType::I8 => 4,
                };
                let run = row / 16 * (self.value_k / 2 / together) + j / together;
                (16 * run + row % 16) * together + j % together
            }
        }
    }

    /// The word and the shift of the two bits of the j-th kept value of a row.
    pub(crate) fn place(&self, row: usize, j: usize) -> (usize, usize) {
        // but in strips the codes of columns 32·chunk + 16u ..+16 are half a word
        let (chunk, u) = (j / 16, j / 8 % 2);
        let (word, shift) = match self.order {
            Order::RowMajor => (row * self.k / WORD_COLUMNS + chunk, 16 * u),
            // all four lanes contribute whole words to m16n8k64, row g + 8·(t%2), columns 32·(t/2) ..+32
            // (PTX ISA, sparse m16n8k64 metadata)
            Order::MmaSpSm80 if self.dtype.bytes() == 1 => {
                let tile = chunk / 2 * 2 * self.rows + row / 16 * 32;
                (tile + 4 * (row % 8) + 2 * (chunk % 2) + row / 8 % 2, 16 * u)
            }
            Order::FragmentSm80 if self.dtype.bytes() == 1 => {
                let block = row / 16 * (self.k / 128) + chunk / 4;
                let lane = 4 * (row % 8) + 2 * (chunk % 2) + row / 8 % 2;
                (block * 64 + 2 * lane + chunk / 2 % 2, 16 * u)
            }
            Order::MmaSpSm80 => {
                let tile = chunk * self.rows + row / 32 * 32;
                (tile + 4 * (row % 8) + 2 * (row / 16 % 2) + u, 16 * (row / 8 % 2))
            }
            // lanes 4g + 2s + u: selector s takes lanes 0, 1 or 2, 3 of each four (PTX ISA, sparse
            // m16n8k32 metadata)
            Order::FragmentSm80 => {
                let block = row / 16 * (self.k / 64) + chunk / 2;
                (block * 32 + 4 * (row % 8) + 2 * (chunk % 2) + u, 16 * (row / 8 % 2))
            }
            // each warp of the warpgroup supplies its own 16 rows, as for `mma.sp` (PTX ISA, metadata
            // of wgmma.mma_async.sp with a k of 32); a lane's words for 64 columns and the next 64
            // are neighbours
            Order::WgmmaSm90 if self.dtype.bytes() == 1 => {
                // with a k of 64 all four lanes contribute, whole words (there)
                let block = row / 16 * (self.k / 256) + chunk / 8;
                let lane = 4 * (row % 8) + 2 * (chunk % 2) + row / 8 % 2;
                (block * 128 + 4 * lane + chunk / 2 % 4, 16 * u)
            }
            Order::WgmmaSm90 => {
                let block = row / 16 * (self.k / 128) + chunk / 4;
                let lane = 4 * (row % 8) + 2 * (chunk % 2) + u;
                (block * 64 + 2 * lane + chunk / 2 % 2, 16 * (row / 8 % 2))
            }
            Order::Strips => {
                let group = row / 16 * (self.k / 4) + j / 2;
                return (2 * group + row % 2, 16 * (j % 2) + row % 16 / 2 * 2);
            }
        };
        (word, shift + j % 8 * 2)
    }

    /// A metadata word of rows that the order pads: each group keeps columns 0 and 1.
    pub(crate) fn padding(&self) -> u32 {
        match self.order {
            Order::Strips => 0x5555_0000,
            _ => PADDING_WORD,
        }
    }
}
