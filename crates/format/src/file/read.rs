//! Bytes to tensors, trusting none of them.

use super::header::{Header, LENGTH, Part, header_length};
use super::{
    FileError, Index, KEY, Known, PATTERN, Sparse, VERSION, metadata_of, residual_of,
    residual_rows_of, stored, values_of,
};
use crate::{Csr, DType, Element, Matrix24, Order, Packed};
use safetensors::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file, parsed: its header and index are sound, and every 2:4 tensor has its parts, of the right
/// types and shapes. What the parts hold is checked when they are read.
///
/// A safetensors file without a `quickpick` index is one of dense tensors only.
pub struct Reader<'a> {
    data: Data<'a>,
    header: Header,
    sparse: BTreeMap<String, Known>,
    notes: BTreeMap<String, String>,
}

/// Where the tensors' bytes are.
enum Data<'a> {
    Memory(&'a [u8]),
    File { path: PathBuf, file: Mutex<File> },
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
    /// Of a 2:4 tensor with a sparse residual beside it ([`Reader::residual`]): the type of its values,
    /// and how many there are.
    pub residual: Option<(DType, usize)>,
    /// Bytes of its data in the file, metadata and residual included.
    pub bytes: u64,
}

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every element, row-major.
    Dense,
    /// The kept half and metadata, in an order.
    Sparse24(Order),
}

impl Reader<'static> {
    /// Opens a file, of which it reads the header now and each tensor when it is asked for. Errors:
    /// as [`parse`](Self::parse), and what the system refuses.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let have = file.metadata().map_err(failed)?.len();
        let mut first = [0; LENGTH as usize];
        let first = match file.read_exact(&mut first) {
            Ok(()) => Some(&first),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(failed(e)),
        };
        // no longer than the file
        let mut json = vec![0; header_length(first, have)?];
        file.read_exact(&mut json).map_err(failed)?;
        let header = Header::parse(&json, have)?;
        Self::new(Data::File { path: path.to_owned(), file: Mutex::new(file) }, header)
    }
}

impl<'a> Reader<'a> {
    /// Parses a file's bytes. Errors: whatever is wrong with header, index, types and shapes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        let have = bytes.len() as u64;
        let length = header_length(bytes.first_chunk(), have)?;
        let (start, end) = (LENGTH as usize, LENGTH as usize + length);
        let json = bytes.get(start..end).unwrap_or_default();
        Self::new(Data::Memory(bytes), Header::parse(json, have)?)
    }

    fn new(data: Data<'a>, header: Header) -> Result<Self, FileError> {
        let index = match header.metadata.get(KEY) {
            Some(json) => parse_index(json)?,
            None => Index { version: VERSION, sparse: BTreeMap::new(), notes: BTreeMap::new() },
        };
        let mut reader = Self { data, header, sparse: BTreeMap::new(), notes: index.notes };
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
        let dense = self.header.parts.iter().filter(|(name, _)| !of_sparse.contains(*name));
        let dense = dense.map(|(name, part)| Entry {
            name: name.clone(),
            dtype: part.dtype,
            shape: part.shape.clone(),
            kind: Kind::Dense,
            residual: None,
            bytes: part.bytes(),
        });
        let sparse = self.sparse.iter().filter_map(|(name, known)| {
            let bytes = |part: String| self.part(&part).map_or(0, Part::bytes);
            let entries = || bytes(residual_of(name)) as usize / 4;
            Some(Entry {
                name: name.clone(),
                dtype: self.part(&values_of(name)).ok()?.dtype,
                shape: known.shape.to_vec(),
                kind: Kind::Sparse24(known.order),
                residual: known.residual.map(|dtype| (dtype, entries())),
                bytes: parts(name, known).map(bytes).sum(),
            })
        });
        let mut entries: Vec<Entry> = dense.chain(sparse).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// The tensors as safetensors names them, each part of a 2:4 one, by name.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.header.parts.keys().map(String::as_str)
    }

    /// A note that the writer left.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.notes.get(key).map(String::as_str)
    }

    /// A line of the header's string metadata, such as `format`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata.get(key).map(String::as_str)
    }

    /// Reads the bytes of a tensor as they are stored: a dense one, or a part of a 2:4 one under its
    /// own name. Errors: no such tensor, what the system refuses.
    pub fn raw(&self, name: &str) -> Result<Vec<u8>, FileError> {
        self.elements(self.part(name)?)
    }

    /// Reads a dense tensor: elements and shape. Errors: no such tensor, another type, a value that
    /// is not finite.
    pub fn dense<T: Element>(&self, name: &str) -> Result<(Vec<T>, Vec<usize>), FileError> {
        let part = self.part(name)?;
        check_type::<T>(name, part)?;
        let data: Vec<T> = self.elements(part)?;
        match data.iter().position(|v| !v.is_finite()) {
            None => Ok((data, part.shape.clone())),
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
        let values = self.part(&values_of(name))?;
        check_type::<T>(name, values)?;
        let values = self.elements(values)?;
        let metadata = self.elements(self.part(&metadata_of(name))?)?;
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
        let words = |part: &str| self.elements::<u32>(self.part(part)?);
        let (pointers, entries) = (words(&residual_rows_of(name))?, words(&residual_of(name))?);
        Csr::unpack(pointers, &entries, rows, cols)
            .map(Some)
            .map_err(|source| FileError::Matrix { name: residual_of(name), source })
    }

    fn part(&self, name: &str) -> Result<&Part, FileError> {
        let missing = || FileError::Missing { name: name.to_owned() };
        self.header.parts.get(name).ok_or_else(missing)
    }

    /// A part's bytes as elements of a type that divides them.
    fn elements<T: bytemuck::Pod>(&self, part: &Part) -> Result<Vec<T>, FileError> {
        // parts lie within the file, so this is no more than the file has
        let bytes = part.bytes() as usize;
        let mut data = vec![T::zeroed(); bytes / size_of::<T>()];
        let into = bytemuck::cast_slice_mut(&mut data);
        match &self.data {
            Data::Memory(all) => {
                let from = all.get(part.start as usize..part.end as usize).unwrap_or_default();
                into.copy_from_slice(from);
            }
            Data::File { path, file } => {
                // a poisoned lock guards a cursor, which is set here anyway
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(part.start))
                    .and_then(|_| file.read_exact(into))
                    .map_err(|source| FileError::Io { path: path.clone(), source })?;
            }
        }
        Ok(data)
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
        if self.part(name).is_ok() {
            return Err(FileError::Duplicate { name: owned() });
        }
        let [rows, cols] = sparse.shape;
        crate::matrix::elements(rows, cols)
            .and_then(|_| crate::matrix::padded(rows, cols))
            .map_err(|source| FileError::Matrix { name: owned(), source })?;
        let (values, metadata) = (values_of(name), metadata_of(name));
        let kept = self.part(&values)?;
        let Some(dtype) = DType::ALL.into_iter().find(|&d| stored(d) == kept.dtype) else {
            return Err(FileError::ValueType { name: values, have: kept.dtype });
        };
        check_shape(&values, kept, &order.values_shape(dtype, rows, cols))?;
        let words = self.words(&metadata)?;
        check_shape(&metadata, words, &order.metadata_shape(dtype, rows, cols))?;
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
        check_shape(&pointers, self.words(&pointers)?, &[rows + 1])?;
        let words = self.words(&entries)?;
        check_shape(&entries, words, &[words.bytes() as usize / 4])?;
        Ok(known)
    }

    /// A part of 32-bit integers.
    fn words(&self, name: &str) -> Result<&Part, FileError> {
        let part = self.part(name)?;
        match part.dtype {
            Dtype::U32 | Dtype::I32 => Ok(part),
            have => Err(FileError::WordType { name: name.to_owned(), have }),
        }
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

fn check_shape(name: &str, part: &Part, want: &[usize]) -> Result<(), FileError> {
    if part.shape == want {
        return Ok(());
    }
    let (have, want) = (part.shape.clone(), want.to_vec());
    Err(FileError::Shape { name: name.to_owned(), have, want })
}

fn check_type<T: Element>(name: &str, part: &Part) -> Result<(), FileError> {
    if part.dtype == stored(T::DTYPE) {
        return Ok(());
    }
    let (have, want) = (part.dtype, T::DTYPE);
    Err(FileError::Type { name: name.to_owned(), have, want })
}
