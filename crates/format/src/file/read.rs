//! Bytes to tensors, trusting none of them.

use super::{
    FileError, Index, KEY, PATTERN, Sparse, VERSION, metadata_of, residual_of, residual_rows_of,
    stored, values_of,
};
use crate::{Csr, DType, Element, Matrix24, Order, Packed};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};

/// A file, parsed: its header and index are sound, and every 2:4 tensor has its parts, of the right
/// types and shapes. What the parts hold is checked when they are read.
///
/// A safetensors file without a `quickpick` index is one of dense tensors only.
pub struct Reader<'a> {
    tensors: SafeTensors<'a>,
    sparse: BTreeMap<String, Known>,
    notes: BTreeMap<String, String>,
}

/// What the index says of a 2:4 tensor, once it was found sound.
#[derive(Clone, Copy)]
struct Known {
    shape: [usize; 2],
    order: Order,
    /// The type of its sparse residual's values.
    residual: Option<DType>,
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The type of its elements, as safetensors calls it.
    pub dtype: Dtype,
    /// Its shape; of the dense matrix if it is 2:4.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub kind: Kind,
    /// The type of the sparse residual that a 2:4 tensor has beside it ([`Reader::residual`]).
    pub residual: Option<DType>,
    /// Bytes of its data in the file, metadata and residual included.
    pub bytes: usize,
}

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every element, row-major.
    Dense,
    /// The kept half and metadata, in an order.
    Sparse24(Order),
}

impl<'a> Reader<'a> {
    /// Parses a file's bytes. Errors: whatever is wrong with header, index, types and shapes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        check_extent(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(FileError::Header)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(FileError::Header)?;
        let index = match header.metadata().as_ref().and_then(|m| m.get(KEY)) {
            Some(json) => parse_index(json)?,
            None => Index { version: VERSION, sparse: BTreeMap::new(), notes: BTreeMap::new() },
        };
        let mut reader = Self { tensors, sparse: BTreeMap::new(), notes: index.notes };
        for (name, sparse) in index.sparse {
            let entry = reader.check(&name, &sparse)?;
            reader.sparse.insert(name, entry);
        }
        Ok(reader)
    }

    /// Every tensor, by name.
    pub fn entries(&self) -> Vec<Entry> {
        let parts = |name: &str, known: &Known| {
            let residual = known.residual.map(|_| [residual_rows_of(name), residual_of(name)]);
            [values_of(name), metadata_of(name)].into_iter().chain(residual.into_iter().flatten())
        };
        let of_sparse: BTreeSet<String> =
            self.sparse.iter().flat_map(|(name, known)| parts(name, known)).collect();
        let dense =
            self.tensors.iter().filter(|(name, _)| !of_sparse.contains(*name)).map(|(name, t)| {
                Entry {
                    name: name.to_owned(),
                    dtype: t.dtype(),
                    shape: t.shape().to_vec(),
                    kind: Kind::Dense,
                    residual: None,
                    bytes: t.data().len(),
                }
            });
        let sparse = self.sparse.iter().filter_map(|(name, known)| {
            let bytes = |part: String| self.tensor(&part).map_or(0, |part| part.data().len());
            Some(Entry {
                name: name.clone(),
                dtype: self.tensor(&values_of(name)).ok()?.dtype(),
                shape: known.shape.to_vec(),
                kind: Kind::Sparse24(known.order),
                residual: known.residual,
                bytes: parts(name, known).map(bytes).sum(),
            })
        });
        let mut entries: Vec<Entry> = dense.chain(sparse).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// A note that the writer left.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.notes.get(key).map(String::as_str)
    }

    /// Reads a dense tensor: elements and shape. Errors: no such tensor, another type, a value that
    /// is not finite.
    pub fn dense<T: Element>(&self, name: &str) -> Result<(Vec<T>, Vec<usize>), FileError> {
        let tensor = self.tensor(name)?;
        let data = elements::<T>(name, &tensor)?;
        match data.iter().position(|v| !v.is_finite()) {
            None => Ok((data, tensor.shape().to_vec())),
            Some(index) => {
                let value = data[index].to_f32();
                Err(FileError::NotFinite { name: name.to_owned(), index, value })
            }
        }
    }

    /// Reads a 2:4 tensor, whatever its order. Errors: no 2:4 tensor of that name, another type, or
    /// parts that make no matrix.
    pub fn sparse<T: Element>(&self, name: &str) -> Result<Matrix24<T>, FileError> {
        let missing = || FileError::Missing { name: name.to_owned() };
        let &Known { shape: [rows, cols], order, .. } =
            self.sparse.get(name).ok_or_else(missing)?;
        let values = elements(name, &self.tensor(&values_of(name))?)?;
        let metadata = bytemuck::pod_collect_to_vec(self.tensor(&metadata_of(name))?.data());
        let matrix = match order {
            Order::RowMajor => Matrix24::from_parts(values, metadata, rows, cols),
            order => Packed { order, values, metadata }.unpack(rows, cols),
        };
        matrix.map_err(|source| FileError::Matrix { name: name.to_owned(), source })
    }

    /// Reads the sparse residual of a 2:4 tensor; `None` if it has none. Errors: no 2:4 tensor of that
    /// name, another type, or parts that make no matrix.
    pub fn residual<T: Element>(&self, name: &str) -> Result<Option<Csr<T>>, FileError> {
        let missing = || FileError::Missing { name: name.to_owned() };
        let &Known { shape: [rows, cols], residual, .. } =
            self.sparse.get(name).ok_or_else(missing)?;
        let Some(have) = residual else { return Ok(None) };
        if have != T::DTYPE {
            let (name, want) = (name.to_owned(), T::DTYPE);
            return Err(FileError::ResidualAsked { name, have, want });
        }
        let words = |part: &str| -> Result<Vec<u32>, FileError> {
            Ok(bytemuck::pod_collect_to_vec(self.tensor(part)?.data()))
        };
        let (pointers, entries) = (words(&residual_rows_of(name))?, words(&residual_of(name))?);
        Csr::unpack(pointers, &entries, rows, cols)
            .map(Some)
            .map_err(|source| FileError::Matrix { name: residual_of(name), source })
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'a>, FileError> {
        self.tensors.tensor(name).map_err(|_| FileError::Missing { name: name.to_owned() })
    }

    /// Whether the parts that the index promises are there, with the types and shapes that follow.
    fn check(&self, name: &str, sparse: &Sparse) -> Result<Known, FileError> {
        let owned = || name.to_owned();
        if sparse.pattern != PATTERN {
            return Err(FileError::Pattern { name: owned(), have: sparse.pattern.clone() });
        }
        let order = Order::ALL.into_iter().find(|o| o.name() == sparse.order);
        let Some(order) = order else {
            return Err(FileError::Order { name: owned(), have: sparse.order.clone() });
        };
        if sparse.order_version != order.version() {
            let (have, want) = (sparse.order_version, order.version());
            let order = sparse.order.clone();
            return Err(FileError::OrderVersion { name: owned(), order, have, want });
        }
        if self.tensor(name).is_ok() {
            return Err(FileError::Duplicate { name: owned() });
        }
        let [rows, cols] = sparse.shape;
        crate::matrix::elements(rows, cols)
            .and_then(|_| crate::matrix::padded(rows, cols))
            .map_err(|source| FileError::Matrix { name: owned(), source })?;
        let (values, metadata) = (values_of(name), metadata_of(name));
        let kept = self.tensor(&values)?;
        check_shape(&values, &kept, &order.values_shape(rows, cols))?;
        let Some(dtype) = DType::ALL.into_iter().find(|&d| stored(d) == kept.dtype()) else {
            return Err(FileError::ValueType { name: values, have: kept.dtype() });
        };
        let words = self.tensor(&metadata)?;
        check_shape(&metadata, &words, &order.metadata_shape(dtype, rows, cols))?;
        check_words(&metadata, &words)?;
        let residual = sparse.residual.as_ref().map(|dtype| self.check_residual(name, dtype, rows));
        Ok(Known { shape: sparse.shape, order, residual: residual.transpose()? })
    }

    /// The same of its sparse residual; the type of its values.
    fn check_residual(&self, name: &str, dtype: &str, rows: usize) -> Result<DType, FileError> {
        let known = [DType::F16, DType::BF16].into_iter().find(|known| known.to_string() == dtype);
        let Some(known) = known else {
            return Err(FileError::ResidualType { name: name.to_owned(), have: dtype.to_owned() });
        };
        let (pointers, entries) = (residual_rows_of(name), residual_of(name));
        let words = self.tensor(&pointers)?;
        check_words(&pointers, &words)?;
        check_shape(&pointers, &words, &[rows + 1])?;
        let words = self.tensor(&entries)?;
        check_words(&entries, &words)?;
        check_shape(&entries, &words, &[words.data().len() / 4])?;
        Ok(known)
    }
}

fn parse_index(json: &str) -> Result<Index, FileError> {
    /// The version alone: a later one may say the rest otherwise.
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_str(json).map_err(FileError::Index)?;
    match version {
        VERSION => serde_json::from_str(json).map_err(FileError::Index),
        have => Err(FileError::Version { have, want: VERSION }),
    }
}

fn check_words(name: &str, tensor: &TensorView<'_>) -> Result<(), FileError> {
    match tensor.dtype() {
        Dtype::U32 | Dtype::I32 => Ok(()),
        have => Err(FileError::WordType { name: name.to_owned(), have }),
    }
}

fn check_shape(name: &str, tensor: &TensorView<'_>, want: &[usize]) -> Result<(), FileError> {
    if tensor.shape() == want {
        return Ok(());
    }
    let (have, want) = (tensor.shape().to_vec(), want.to_vec());
    Err(FileError::Shape { name: name.to_owned(), have, want })
}

fn elements<T: Element>(name: &str, tensor: &TensorView<'_>) -> Result<Vec<T>, FileError> {
    if tensor.dtype() != stored(T::DTYPE) {
        let (have, want) = (tensor.dtype(), T::DTYPE);
        return Err(FileError::Type { name: name.to_owned(), have, want });
    }
    Ok(bytemuck::pod_collect_to_vec(tensor.data()))
}

/// Whether the file ends where its header says. Before safetensors looks at it: that library adds
/// the offsets up unchecked, and calls every difference an incomplete buffer.
fn check_extent(bytes: &[u8]) -> Result<(), FileError> {
    /// Of a tensor's entry, or of `__metadata__`, which has none.
    #[derive(serde::Deserialize)]
    struct Extent {
        data_offsets: Option<(u64, u64)>,
    }
    let have = bytes.len() as u64;
    let truncated = |want| FileError::Truncated { have, want };
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or(truncated(8))?;
    let length = u64::from_le_bytes(*length);
    let start = length.saturating_add(8);
    let header = usize::try_from(length).ok().and_then(|n| rest.get(..n));
    let header = header.ok_or(truncated(start))?;
    let entries: BTreeMap<String, Extent> = serde_json::from_slice(header)
        .map_err(|e| FileError::Header(SafeTensorError::InvalidHeaderDeserialization(e)))?;
    let end = entries.values().filter_map(|e| e.data_offsets).map(|(_, end)| end).max();
    match start.saturating_add(end.unwrap_or(0)) {
        want if want > have => Err(truncated(want)),
        want if want < have => Err(FileError::Trailing { have, want }),
        _ => Ok(()),
    }
}
