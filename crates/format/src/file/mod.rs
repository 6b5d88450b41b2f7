//! The file form: 2:4 and dense tensors side by side in one safetensors file. The crate's
//! documentation is its specification.

mod atomic;
mod error;
mod header;
mod layout;
mod read;
mod stream;
mod write;

pub use atomic::{AtomicFile, write_atomic};
pub use error::FileError;
pub use layout::Layout;
pub use read::{Entry, Kind, Reader};
pub use safetensors::Dtype as StoredType;
pub use stream::TensorWriter;
pub use write::Writer;

use crate::{Csr, DType, Element, Order};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[cfg(target_endian = "big")]
compile_error!("safetensors files and packed matrices are little-endian");

/// The key of the header's string metadata that holds an [`Index`] as JSON. One key, because the
/// order of several is not fixed, and equal models must make equal files.
const KEY: &str = "quickpick";

/// Version of [`Index`].
const VERSION: u32 = 1;

/// The one pattern of version 1.
const PATTERN: &str = "2:4";

/// What safetensors cannot say.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    version: u32,
    /// By name, the tensors that are stored as `NAME.values` and `NAME.metadata`.
    sparse: BTreeMap<String, Sparse>,
    /// Whatever the writer wished to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    notes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sparse {
    pattern: String,
    /// Of the dense matrix: rows, columns.
    shape: [usize; 2],
    order: String,
    order_version: u32,
    /// The type of the values of its sparse residual, which is stored as `NAME.residual_rows` and
    /// `NAME.residual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    residual: Option<String>,
}

/// A 2:4 tensor of a file that is being written, or was found sound.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    /// Of the dense matrix: rows, columns.
    shape: [usize; 2],
    order: Order,
    /// The type of its sparse residual's values.
    residual: Option<DType>,
}

impl Known {
    /// Whether a residual has the tensor's shape.
    fn check_residual<T: Element>(&self, name: &str, residual: &Csr<T>) -> Result<(), FileError> {
        let have = [residual.rows(), residual.cols()];
        if have != self.shape {
            let (have, want) = (have.to_vec(), self.shape.to_vec());
            return Err(FileError::Shape { name: residual_of(name), have, want });
        }
        Ok(())
    }
}

/// Where the kept values of a 2:4 tensor lie.
fn values_of(name: &str) -> String {
    format!("{name}.values")
}

/// Where the metadata words of a 2:4 tensor lie.
fn metadata_of(name: &str) -> String {
    format!("{name}.metadata")
}

/// Where the row pointers of a 2:4 tensor's sparse residual lie.
fn residual_rows_of(name: &str) -> String {
    format!("{name}.residual_rows")
}

/// Where the packed entries of a 2:4 tensor's sparse residual lie.
fn residual_of(name: &str) -> String {
    format!("{name}.residual")
}

/// safetensors' name of an element type.
const fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::I8 => Dtype::I8,
        DType::E4M3 => Dtype::F8_E4M3,
        DType::E5M2 => Dtype::F8_E5M2,
    }
}
