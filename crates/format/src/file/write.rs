//! Tensors to bytes.

use super::{
    AtomicFile, FileError, Layout, metadata_of, residual_of, residual_rows_of, stored, values_of,
};
use crate::{Csr, Element, Matrix24, Order};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Seek, Write};
use std::path::Path;

/// A file of tensors that are in memory: add them, then [`save`](Self::save). Equal contents make
/// equal bytes, in whatever order they were added. What does not fit into memory goes through a
/// [`Layout`], to the same bytes.
pub struct Writer<'a> {
    layout: Layout,
    data: BTreeMap<String, Cow<'a, [u8]>>,
}

impl Default for Writer<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Writer<'a> {
    /// An empty file.
    pub fn new() -> Self {
        Self { layout: Layout::new(), data: BTreeMap::new() }
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
        self.layout.dense(name, stored(T::DTYPE), shape)?;
        self.data.insert(name.to_owned(), Cow::Borrowed(bytemuck::cast_slice(data)));
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
        self.layout.sparse(name, T::DTYPE, [matrix.rows(), matrix.cols()], order)?;
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
        self.data.insert(values_of(name), values);
        self.data.insert(metadata_of(name), metadata);
        Ok(())
    }

    /// Adds the sparse residual of a 2:4 tensor that was added before. Errors: no such 2:4 tensor, or of
    /// another shape; a name that is taken; a residual that cannot be packed ([`Csr::pack`]).
    pub fn residual<T: Element>(
        &mut self,
        name: &str,
        residual: &'a Csr<T>,
    ) -> Result<(), FileError> {
        self.layout.check_residual(name, residual)?;
        self.layout.residual(name, T::DTYPE, residual.values().len())?;
        let entries = residual
            .pack()
            .map_err(|source| FileError::Matrix { name: residual_of(name), source })?;
        let rows = Cow::Borrowed(bytemuck::cast_slice(residual.pointers()));
        let entries = Cow::Owned(bytemuck::cast_slice(&entries).to_vec());
        self.data.insert(residual_rows_of(name), rows);
        self.data.insert(residual_of(name), entries);
        Ok(())
    }

    /// Adds a line of text, such as the model's configuration. A later one replaces an earlier one.
    pub fn note(&mut self, key: &str, text: &str) {
        self.layout.note(key, text);
    }

    /// The file's bytes. Errors: a header of more than 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FileError> {
        Ok(self.write(Cursor::new(Vec::new()))?.into_inner())
    }

    /// Writes the file by atomic rename: see [`write_atomic`](super::write_atomic).
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let failed = |source| FileError::Io { path: path.to_owned(), source };
        let file = AtomicFile::create(path).map_err(failed)?;
        self.write(file)?.commit().map_err(failed)
    }

    fn write<W: Write + Seek>(&self, out: W) -> Result<W, FileError> {
        let mut file = self.layout.start(out)?;
        for (name, data) in &self.data {
            file.raw(name, data)?;
        }
        file.finish()
    }
}
