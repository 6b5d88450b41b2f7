//! What a file will hold, known before its data: safetensors' header comes first.

use super::header::{Part, data_bytes, lay_out};
use super::{
    FileError, Index, KEY, Known, PATTERN, Sparse, TensorWriter, VERSION, metadata_of, residual_of,
    residual_rows_of, stored, values_of,
};
use crate::{Csr, DType, Element, Order};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::io::{Seek, Write};

/// The names, types and shapes of a file's tensors. Equal layouts make equal headers, in whatever
/// order they were put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    parts: BTreeMap<String, (Dtype, Vec<usize>)>,
    sparse: BTreeMap<String, Known>,
    notes: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
    /// Whether the file carries our index although it may hold nothing sparse.
    indexed: bool,
}

impl Layout {
    /// An empty file of Quickpick's form, which always has its index.
    pub fn new() -> Self {
        Self { indexed: true, ..Self::default() }
    }

    /// An empty safetensors file as others write it: no index, but a line of string metadata, such
    /// as `format`: `pt`. 2:4 tensors and notes bring the index with them.
    pub fn plain(key: &str, text: &str) -> Self {
        let metadata = BTreeMap::from([(key.to_owned(), text.to_owned())]);
        Self { metadata, ..Self::default() }
    }

    /// Adds a dense tensor. Errors: a name that is taken.
    pub fn dense(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<(), FileError> {
        self.check_free(name.to_owned())?;
        self.parts.insert(name.to_owned(), (dtype, shape.to_vec()));
        Ok(())
    }

    /// Adds a 2:4 tensor in an order. Errors: a name that is taken, a shape that no 2:4 matrix has,
    /// an order that does not serve the type.
    pub fn sparse(
        &mut self,
        name: &str,
        dtype: DType,
        [rows, cols]: [usize; 2],
        order: Order,
    ) -> Result<(), FileError> {
        for name in [name.to_owned(), values_of(name), metadata_of(name)] {
            self.check_free(name)?;
        }
        crate::matrix::elements(rows, cols)
            .and_then(|_| crate::matrix::padded(rows, cols))
            .and_then(|_| order.serves(dtype))
            .map_err(|source| FileError::Matrix { name: name.to_owned(), source })?;
        let values = (stored(dtype), order.values_shape(dtype, rows, cols).to_vec());
        let words = (Dtype::U32, order.metadata_shape(dtype, rows, cols).to_vec());
        self.parts.insert(values_of(name), values);
        self.parts.insert(metadata_of(name), words);
        let known = Known { shape: [rows, cols], order, residual: None };
        self.sparse.insert(name.to_owned(), known);
        Ok(())
    }

    /// Adds the sparse residual of a 2:4 tensor that was added before, of so many entries. Errors: no
    /// such 2:4 tensor, a name that is taken, a type or a number of columns that cannot be packed
    /// ([`Csr::pack`]).
    pub fn residual(&mut self, name: &str, dtype: DType, entries: usize) -> Result<(), FileError> {
        let Known { shape: [rows, cols], .. } = *self.known(name)?;
        for name in [residual_rows_of(name), residual_of(name)] {
            self.check_free(name)?;
        }
        crate::csr::packable(dtype, cols)
            .map_err(|source| FileError::Matrix { name: residual_of(name), source })?;
        self.parts.insert(residual_rows_of(name), (Dtype::U32, vec![rows + 1]));
        self.parts.insert(residual_of(name), (Dtype::U32, vec![entries]));
        if let Some(known) = self.sparse.get_mut(name) {
            known.residual = Some(dtype);
        }
        Ok(())
    }

    /// Adds a line of text, such as the model's configuration. A later one replaces an earlier one.
    pub fn note(&mut self, key: &str, text: &str) {
        self.notes.insert(key.to_owned(), text.to_owned());
    }

    /// The tensors as safetensors will name them, each part of a 2:4 one, by name.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// Bytes of all tensors, without the header. Errors: more than can be counted.
    pub fn data_bytes(&self) -> Result<u64, FileError> {
        let mut sum = 0u64;
        for (name, (dtype, shape)) in &self.parts {
            let more = data_bytes(*dtype, shape).and_then(|n| sum.checked_add(n));
            let (name, dtype, shape) = (name.clone(), *dtype, shape.clone());
            sum = more.ok_or(FileError::Overflow { name, dtype, shape })?;
        }
        Ok(sum)
    }

    /// Writes the header; the tensors then follow one by one, in any order. Errors: a header of
    /// more than 100 MB, tensors larger than can be counted, what `out` refuses.
    pub fn start<W: Write + Seek>(&self, out: W) -> Result<TensorWriter<W>, FileError> {
        let (header, parts) = self.lay_out()?;
        TensorWriter::start(out, &header, parts, self.sparse.clone())
    }

    /// The file's first bytes, and where each part of the data lies.
    pub(super) fn lay_out(&self) -> Result<(Vec<u8>, BTreeMap<String, Part>), FileError> {
        let mut metadata = self.metadata.clone();
        if self.indexed || !self.sparse.is_empty() || !self.notes.is_empty() {
            let sparse = self.sparse.iter().map(|(name, &Known { shape, order, residual })| {
                let (pattern, order_version) = (PATTERN.to_owned(), order.version());
                let order = order.name().to_owned();
                let residual = residual.map(|dtype| dtype.to_string());
                (name.clone(), Sparse { pattern, shape, order, order_version, residual })
            });
            let (sparse, notes) = (sparse.collect(), self.notes.clone());
            let index = serde_json::to_string(&Index { version: VERSION, sparse, notes });
            metadata.insert(KEY.to_owned(), index.map_err(FileError::Index)?);
        }
        lay_out(&self.parts, &metadata)
    }

    /// Whether a residual has the shape of its tensor.
    pub(super) fn check_residual<T: Element>(
        &self,
        name: &str,
        residual: &Csr<T>,
    ) -> Result<(), FileError> {
        self.known(name)?.check_residual(name, residual)
    }

    fn known(&self, name: &str) -> Result<&Known, FileError> {
        let missing = || FileError::Missing { name: name.to_owned() };
        self.sparse.get(name).ok_or_else(missing)
    }

    fn check_free(&self, name: String) -> Result<(), FileError> {
        match self.parts.contains_key(&name) || self.sparse.contains_key(&name) {
            true => Err(FileError::Duplicate { name }),
            false => Ok(()),
        }
    }
}
