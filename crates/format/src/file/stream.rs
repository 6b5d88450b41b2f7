//! Tensors to a file, one at a time.

use super::header::Part;
use super::{FileError, Known, metadata_of, residual_of, residual_rows_of, stored, values_of};
use crate::{Csr, Element, Matrix24, Order};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Seek, SeekFrom, Write};

/// A file whose header is written: give it every tensor of its [`Layout`](super::Layout), in any
/// order, then [`finish`](Self::finish). It holds no tensor longer than a call.
pub struct TensorWriter<W> {
    out: W,
    parts: BTreeMap<String, Part>,
    sparse: BTreeMap<String, Known>,
    missing: BTreeSet<String>,
}

impl<W: Write + Seek> TensorWriter<W> {
    pub(super) fn start(
        mut out: W,
        header: &[u8],
        parts: BTreeMap<String, Part>,
        sparse: BTreeMap<String, Known>,
    ) -> Result<Self, FileError> {
        out.write_all(header).map_err(writing("the header"))?;
        let missing = parts.keys().cloned().collect();
        Ok(Self { out, parts, sparse, missing })
    }

    /// Writes a tensor's bytes as they are, row-major, little-endian. Errors: the layout has no such
    /// tensor, or it was written before; bytes that do not fill it; what the system refuses.
    pub fn raw(&mut self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let part = self.parts.get(name).ok_or_else(|| missing(name))?;
        if bytes.len() as u64 != part.bytes() {
            let (have, want) = (bytes.len() as u64, part.bytes());
            let (dtype, shape) = (part.dtype, part.shape.clone());
            return Err(FileError::Size { name: name.to_owned(), dtype, shape, have, want });
        }
        if !self.missing.remove(name) {
            return Err(FileError::Duplicate { name: name.to_owned() });
        }
        self.out.seek(SeekFrom::Start(part.start)).map_err(writing(name))?;
        self.out.write_all(bytes).map_err(writing(name))
    }

    /// Writes a 2:4 tensor in the order that the layout says. Errors: as [`raw`](Self::raw), and a
    /// matrix of another shape or type than the layout's.
    pub fn sparse<T: Element>(
        &mut self,
        name: &str,
        matrix: &Matrix24<T>,
    ) -> Result<(), FileError> {
        let &Known { shape: want, order, .. } =
            self.sparse.get(name).ok_or_else(|| missing(name))?;
        let have = [matrix.rows(), matrix.cols()];
        if have != want {
            let (have, want) = (have.to_vec(), want.to_vec());
            return Err(FileError::Shape { name: name.to_owned(), have, want });
        }
        let values = values_of(name);
        let part = self.parts.get(&values).ok_or_else(|| missing(&values))?;
        if part.dtype != stored(T::DTYPE) {
            let (have, want) = (part.dtype, T::DTYPE);
            return Err(FileError::Type { name: name.to_owned(), have, want });
        }
        if order == Order::RowMajor {
            self.raw(&values, bytemuck::cast_slice(matrix.values()))?;
            return self.raw(&metadata_of(name), bytemuck::cast_slice(matrix.metadata()));
        }
        let packed = matrix
            .pack(order)
            .map_err(|source| FileError::Matrix { name: name.to_owned(), source })?;
        self.raw(&values, packed.value_bytes())?;
        self.raw(&metadata_of(name), packed.metadata_bytes())
    }

    /// Writes the sparse residual of a 2:4 tensor. Errors: as [`raw`](Self::raw), and a matrix of another
    /// shape, type or number of entries than the layout's.
    pub fn residual<T: Element>(&mut self, name: &str, residual: &Csr<T>) -> Result<(), FileError> {
        let known = self.sparse.get(name).ok_or_else(|| missing(name))?;
        let have = known.residual.ok_or_else(|| missing(&residual_of(name)))?;
        known.check_residual(name, residual)?;
        if have != T::DTYPE {
            let (name, want) = (name.to_owned(), T::DTYPE);
            return Err(FileError::ResidualAsked { name, have, want });
        }
        let entries = residual
            .pack()
            .map_err(|source| FileError::Matrix { name: residual_of(name), source })?;
        self.raw(&residual_of(name), bytemuck::cast_slice(&entries))?;
        self.raw(&residual_rows_of(name), bytemuck::cast_slice(residual.pointers()))
    }

    /// Whether every tensor has come.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Flushes, and gives back what was written to. Errors: a tensor that did not come.
    pub fn finish(mut self) -> Result<W, FileError> {
        if let Some(name) = self.missing.first() {
            return Err(FileError::Unwritten { name: name.clone(), count: self.missing.len() });
        }
        self.out.flush().map_err(writing("the end"))?;
        Ok(self.out)
    }
}

fn missing(name: &str) -> FileError {
    FileError::Missing { name: name.to_owned() }
}

fn writing(what: &str) -> impl FnOnce(io::Error) -> FileError + '_ {
    move |source| FileError::Write { what: what.to_owned(), source }
}
