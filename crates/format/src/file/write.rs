//! Tensors to bytes.

use super::{
    FileError, KEY, PATTERN, Sparse, VERSION, metadata_of, residual_of, residual_rows_of, stored,
    values_of, write_atomic,
};
use crate::{Csr, Element, Matrix24, Order};
use safetensors::{Dtype, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A file being put together: add tensors, then [`save`](Self::save). Equal contents make equal
/// bytes, in whatever order they were added.
#[derive(Default)]
pub struct Writer<'a> {
    tensors: BTreeMap<String, Stored<'a>>,
    sparse: BTreeMap<String, Sparse>,
    notes: BTreeMap<String, String>,
}

struct Stored<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Cow<'a, [u8]>,
}

impl<'a> Writer<'a> {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a dense tensor, row-major. Errors: a name that is taken, a shape of another length.
    pub fn dense<T: Element>(
        &mut self,
        name: &str,
        data: &'a [T],
        shape: &[usize],
    ) -> Result<(), FileError> {
        if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(data.len()) {
            let (name, have, want) = (name.to_owned(), vec![data.len()], shape.to_vec());
            return Err(FileError::Shape { name, have, want });
        }
        let data = Cow::Borrowed(bytemuck::cast_slice(data));
        self.check_free(name.to_owned())?;
        let tensor = Stored { dtype: stored(T::DTYPE), shape: shape.to_vec(), data };
        self.tensors.insert(name.to_owned(), tensor);
        Ok(())
    }

    /// Adds a 2:4 tensor in an order. [`Order::RowMajor`] is the one for files that travel.
    /// Errors: a name that is taken, an order that does not serve the type.
    pub fn sparse<T: Element>(
        &mut self,
        name: &str,
        matrix: &'a Matrix24<T>,
        order: Order,
    ) -> Result<(), FileError> {
        for name in [name.to_owned(), values_of(name), metadata_of(name)] {
            self.check_free(name)?;
        }
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let (values, metadata) = match order {
            Order::RowMajor => (
                Cow::Borrowed(bytemuck::cast_slice(matrix.values())),
                Cow::Borrowed(bytemuck::cast_slice(matrix.metadata())),
            ),
            order => {
                let packed = matrix
                    .pack(order)
                    .map_err(|source| FileError::Matrix { name: name.to_owned(), source })?;
                let (values, metadata) = (packed.value_bytes(), packed.metadata_bytes());
                (Cow::Owned(values.to_vec()), Cow::Owned(metadata.to_vec()))
            }
        };
        let shape = order.values_shape(rows, cols).to_vec();
        let values = Stored { dtype: stored(T::DTYPE), shape, data: values };
        let shape = order.metadata_shape(T::DTYPE, rows, cols).to_vec();
        let metadata = Stored { dtype: Dtype::U32, shape, data: metadata };
        self.tensors.insert(values_of(name), values);
        self.tensors.insert(metadata_of(name), metadata);
        let (pattern, order_version) = (PATTERN.to_owned(), order.version());
        let order = order.name().to_owned();
        let residual = None;
        let sparse = Sparse { pattern, shape: [rows, cols], order, order_version, residual };
        self.sparse.insert(name.to_owned(), sparse);
        Ok(())
    }

    /// Adds the sparse residual of a 2:4 tensor that was added before. Errors: no such 2:4 tensor, or of
    /// another shape; a name that is taken; a residual that cannot be packed ([`Csr::pack`]).
    pub fn residual<T: Element>(
        &mut self,
        name: &str,
        residual: &'a Csr<T>,
    ) -> Result<(), FileError> {
        for name in [residual_rows_of(name), residual_of(name)] {
            self.check_free(name)?;
        }
        let missing = || FileError::Missing { name: name.to_owned() };
        let sparse = self.sparse.get_mut(name).ok_or_else(missing)?;
        let have = [residual.rows(), residual.cols()];
        if have != sparse.shape {
            let (name, have, want) = (residual_of(name), have.to_vec(), sparse.shape.to_vec());
            return Err(FileError::Shape { name, have, want });
        }
        let entries = residual
            .pack()
            .map_err(|source| FileError::Matrix { name: residual_of(name), source })?;
        sparse.residual = Some(T::DTYPE.to_string());
        let words = |words: Cow<'a, [u8]>| Stored {
            dtype: Dtype::U32,
            shape: vec![words.len() / 4],
            data: words,
        };
        let rows = Cow::Borrowed(bytemuck::cast_slice(residual.pointers()));
        let entries = Cow::Owned(bytemuck::cast_slice(&entries).to_vec());
        self.tensors.insert(residual_rows_of(name), words(rows));
        self.tensors.insert(residual_of(name), words(entries));
        Ok(())
    }

    /// Adds a line of text, such as the model's configuration. A later one replaces an earlier one.
    pub fn note(&mut self, key: &str, text: &str) {
        self.notes.insert(key.to_owned(), text.to_owned());
    }

    /// The file's bytes. Errors: a header of more than 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FileError> {
        let index = IndexRef { version: VERSION, sparse: &self.sparse, notes: &self.notes };
        let index = serde_json::to_string(&index).map_err(FileError::Index)?;
        let metadata = HashMap::from([(KEY.to_owned(), index)]);
        safetensors::serialize(&self.tensors, Some(metadata)).map_err(FileError::Header)
    }

    /// Writes the file by atomic rename: see [`write_atomic`].
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        write_atomic(path, &self.to_bytes()?)
            .map_err(|source| FileError::Io { path: path.to_owned(), source })
    }

    fn check_free(&self, name: String) -> Result<(), FileError> {
        match self.tensors.contains_key(&name) || self.sparse.contains_key(&name) {
            true => Err(FileError::Duplicate { name }),
            false => Ok(()),
        }
    }
}

/// [`Index`](super::Index), borrowed.
#[derive(serde::Serialize)]
struct IndexRef<'a> {
    version: u32,
    sparse: &'a BTreeMap<String, Sparse>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    notes: &'a BTreeMap<String, String>,
}

impl View for &Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}
