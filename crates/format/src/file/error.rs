//! What can be wrong with a file.

use crate::{DType, Error};
use safetensors::Dtype;
use std::io;
use std::path::PathBuf;

/// Why a file cannot be written or read. Unless stated otherwise the file is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused; the machine's fault.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file ends early.
    #[error("the file is truncated: {have} bytes of {want}")]
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that the header states.
        want: u64,
    },
    /// The file goes on after its last tensor.
    #[error("{have} bytes, but the last tensor ends at {want}")]
    Trailing {
        /// Bytes that are there.
        have: u64,
        /// Bytes that the header states.
        want: u64,
    },
    /// The header is no safetensors header.
    #[error("no safetensors header: {0}")]
    Header(#[source] serde_json::Error),
    /// The header is longer than any reader takes; the caller's fault when writing.
    #[error("a header of {have} bytes; {most} are the most that safetensors allows")]
    LongHeader {
        /// Its length.
        have: u64,
        /// The longest allowed.
        most: u64,
    },
    /// Tensors overlap, or there is a gap between them.
    #[error("tensor `{name}` lies at {start}..{end} of the data; the one before it ends at {free}")]
    Extent {
        /// Tensor.
        name: String,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// Where it should start.
        free: u64,
    },
    /// A tensor takes more or fewer bytes than its type and shape want; the caller's fault when
    /// writing.
    #[error("tensor `{name}`, {dtype} of {shape:?}: {have} bytes, {want} wanted")]
    Size {
        /// Tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that are there.
        have: u64,
        /// Bytes that follow from type and shape.
        want: u64,
    },
    /// The bytes of a tensor cannot be counted; the caller's fault when writing.
    #[error("tensor `{name}`: {dtype} of {shape:?} is no countable number of bytes")]
    Overflow {
        /// Tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The system took no more; the machine's fault.
    #[error("writing {what}: {source}")]
    Write {
        /// The header, or a tensor's name.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// Tensors were promised and did not come; the caller's fault.
    #[error("{count} tensors were not written, the first is `{name}`")]
    Unwritten {
        /// The first by name.
        name: String,
        /// How many.
        count: usize,
    },
    /// The metadata under `quickpick` is not the index that this version writes.
    #[error("the `quickpick` index of the header: {0}")]
    Index(#[source] serde_json::Error),
    /// The index is of another version.
    #[error("index version {have}; this library reads {want}")]
    Version {
        /// Version of the file.
        have: u32,
        /// Version of the library.
        want: u32,
    },
    /// A pattern that is not known.
    #[error("tensor `{name}`: pattern `{have}`; this library reads 2:4")]
    Pattern {
        /// Tensor.
        name: String,
        /// Pattern of the file.
        have: String,
    },
    /// An order that is not known.
    #[error("tensor `{name}`: order `{have}` is not known")]
    Order {
        /// Tensor.
        name: String,
        /// Order of the file.
        have: String,
    },
    /// An order whose definition has changed.
    #[error("tensor `{name}`: order `{order}` version {have}; this library reads {want}")]
    OrderVersion {
        /// Tensor.
        name: String,
        /// Order.
        order: String,
        /// Version of the file.
        have: u32,
        /// Version of the library.
        want: u32,
    },
    /// The file has no such tensor: the caller's fault, or the index names what is not there.
    #[error("tensor `{name}` is not in the file")]
    Missing {
        /// Tensor.
        name: String,
    },
    /// Two tensors of one name; the caller's fault when writing.
    #[error("tensor `{name}` is in the file twice")]
    Duplicate {
        /// Tensor.
        name: String,
    },
    /// The tensor's elements have another type than the caller asked for.
    #[error("tensor `{name}` holds {have:?}, {want} asked")]
    Type {
        /// Tensor.
        name: String,
        /// Type in the file.
        have: Dtype,
        /// Type asked for.
        want: DType,
    },
    /// The kept values are of no type that a 2:4 matrix has.
    #[error(
        "tensor `{name}` holds {have:?}; kept values are F16, BF16, F32, I8, F8_E4M3 or F8_E5M2"
    )]
    ValueType {
        /// Tensor.
        name: String,
        /// Type in the file.
        have: Dtype,
    },
    /// The words of metadata, or of a sparse residual, are not 32-bit integers.
    #[error("tensor `{name}` holds {have:?}; its words are U32 or I32")]
    WordType {
        /// Tensor.
        name: String,
        /// Type in the file.
        have: Dtype,
    },
    /// The values of a sparse residual are of a type that packed entries do not hold.
    #[error("tensor `{name}`: a sparse residual of type `{have}`; f16 and bf16 are known")]
    ResidualType {
        /// Tensor.
        name: String,
        /// Type that the index names.
        have: String,
    },
    /// A sparse residual of another type than the caller asked for.
    #[error("tensor `{name}`: its sparse residual holds {have}, {want} asked")]
    ResidualAsked {
        /// Tensor.
        name: String,
        /// Type in the file.
        have: DType,
        /// Type asked for.
        want: DType,
    },
    /// The tensor has another shape than the index says, or its data another length.
    #[error("tensor `{name}` has shape {have:?}, {want:?} wanted")]
    Shape {
        /// Tensor.
        name: String,
        /// Shape in the file, or the number of elements given.
        have: Vec<usize>,
        /// Shape that follows.
        want: Vec<usize>,
    },
    /// A dense tensor holds NaN or an infinity.
    #[error("tensor `{name}`, element {index}: {value} is not finite")]
    NotFinite {
        /// Tensor.
        name: String,
        /// Element, counted from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The parts of a 2:4 tensor, or of its sparse residual, make no matrix.
    #[error("tensor `{name}`: {source}")]
    Matrix {
        /// Tensor.
        name: String,
        /// What is wrong, and where.
        source: Error,
    },
}
