//! 2:4 matrices, and what is kept beside them: build, compress, validate, reorder, store.
//!
//! In a 2:4 matrix every group of four consecutive columns of a row holds at most two non-zeros.
//! Sparse tensor cores multiply such a matrix at twice the dense rate, from 9/16 of the bytes (16-bit
//! types). This crate is what every other part of Quickpick believes about the format. It needs
//! `alloc` only; the feature `std` adds files.
//!
//! ```
//! use quickpick_format::{Matrix24, Order};
//!
//! // one row of eight columns
//! let dense = [0.0f32, 1.5, 0.0, -2.0, /**/ 0.0, 0.0, 3.0, 0.0];
//! let matrix = Matrix24::compress(&dense, 1, 8)?;
//! assert_eq!(matrix.values()[..4], [1.5, -2.0, 0.0, 3.0]);
//! assert_eq!(matrix.metadata(), [0x4444_448D]); // (1, 3), (0, 2), then padding
//! assert_eq!(matrix.expand(), dense);
//! let upload = matrix.pack(Order::RowMajor)?;
//! assert_eq!(upload.metadata_bytes(), [0x8D, 0x44, 0x44, 0x44]);
//! # Ok::<(), quickpick_format::Error>(())
//! ```
//!
//! # The canonical form
//!
//! A matrix has m rows (output features) and some columns (input features), a multiple of 4. k is
//! the number of columns rounded up to a multiple of 32.
//!
//! - *Values*: `m × k/2`, row-major; of each group its two kept values, the lower column first.
//! - *Metadata*: `m × k/32` words of 32 bits, row-major; bits `4g..4g+4` of a word are the [`Pair`]
//!   code of its g-th group: which two columns are kept.
//! - Every group keeps exactly two columns. Where fewer than two are non-zero (or kept by a mask),
//!   the lowest other columns are kept too, with value zero.
//! - −0.0 counts as zero; building stores every zero as +0.0. NaN and the infinities are refused.
//! - Padding (groups past the last column) holds zeros and code `0x4`: code 0 would be undefined
//!   behaviour in `mma.sp`.
//!
//! Kernels read other arrangements of the same words: [`Order`]. [`Matrix24::pack`] makes them,
//! [`Packed::unpack`] takes them back.
//!
//! # A sparse residual
//!
//! [`Csr`] holds what some methods keep beside a 2:4 matrix: a few of the weights that 2:4 drops,
//! wherever they lie. Kernels read its row pointers and one word for each entry: the column in the
//! low half, the bits of the value, f16 or bf16, in the high half ([`Csr::pack`]).
//!
//! # The file form
//!
//! A [safetensors](https://github.com/huggingface/safetensors) file. A dense tensor is stored as
//! usual. A 2:4 tensor NAME of shape `[m, cols]` is stored as two:
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `NAME.values` | F16, BF16, F32, I8, F8_E4M3 or F8_E5M2 | [`Order::values_shape`]; row-major: `[m, k/2]` |
//! | `NAME.metadata` | U32 (I32 is read as well) | [`Order::metadata_shape`]; row-major: `[m, k/32]` |
//!
//! and, if it has a sparse residual of the same shape, as two more:
//!
//! | tensor | type | shape |
//! |---|---|---|
//! | `NAME.residual_rows` | U32 | `[m + 1]`: [`Csr::pointers`] |
//! | `NAME.residual` | U32 | `[entries]`: [`Csr::pack`] |
//!
//! They are named in the header's string metadata, where the key `quickpick` holds JSON; `residual` is
//! there if the tensor has one, and says the type of its values, `f16` or `bf16`:
//!
//! ```json
//! {"version": 1,
//!  "sparse": {"NAME": {"pattern": "2:4", "shape": [m, cols], "order": "row-major", "order_version": 1,
//!                      "residual": "f16"}},
//!  "notes": {"any": "text"}}
//! ```
//!
//! The version says how an index is to be read, and a file without residuals is read as ever, so
//! residuals did not raise it. Nor can a reader that is older than they are take such a file for one of
//! plain 2:4 tensors: it refuses an index with a key that it does not know.
//!
//! A reader refuses a version, pattern, order or order version that it does not know. There must be
//! no tensor NAME beside its parts. Files appear by atomic rename ([`write_atomic`]), and equal
//! models make equal bytes. [`Reader`] trusts nothing: each way in which a file can be wrong is a
//! [`FileError`] of its own, and no file makes it panic.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
extern crate alloc;

mod bitmask;
mod csr;
mod dtype;
mod element;
mod error;
#[cfg(feature = "std")]
mod file;
mod float8;
mod fused;
mod matrix;
mod order;
mod pack;
mod pair;
mod places;

pub use bitmask::Bitmask;
pub use csr::Csr;
pub use dtype::DType;
pub use element::Element;
pub use error::Error;
#[cfg(feature = "std")]
pub use file::{
    AtomicFile, Entry, FileError, Kind, Layout, Reader, StoredType, TensorWriter, Writer,
    write_atomic,
};
pub use float8::{E4m3, E5m2};
pub use fused::{GATE_ROWS, gate_up_rows, interleave_gate_up};
pub use matrix::{Matrix24, WORD_COLUMNS};
pub use order::Order;
pub use pack::Packed;
pub use pair::{IllegalCode, Pair};
pub use places::Places;
