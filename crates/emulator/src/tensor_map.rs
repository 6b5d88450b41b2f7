//! Tensor maps: what `cuTensorMapEncodeTiled` makes and `cp.async.bulk.tensor` reads.
//!
//! The rules are the driver's (CUDA driver API, "Tensor Map Object Management") and those of the PTX
//! manual's chapter "Tensors" (5.5), each refused by its own error. The 128 bytes of a real map are
//! undocumented, so [`TensorMap::encode`] has a form of its own; nothing but this emulator reads it.

mod image;
pub(crate) mod tile;

#[cfg(test)]
mod tests;

/// The type of a tensor's elements.
///
/// Not offered: the types that convert while they copy (`FLOAT32_FTZ`, `TFLOAT32`, `TFLOAT32_FTZ`),
/// for no manual says how they round, and the packed ones, which no Hopper GPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// `UINT8`.
    U8,
    /// `UINT16`.
    U16,
    /// `UINT32`.
    U32,
    /// `INT32`.
    S32,
    /// `UINT64`.
    U64,
    /// `INT64`.
    S64,
    /// `FLOAT16`.
    F16,
    /// `FLOAT32`.
    F32,
    /// `FLOAT64`.
    F64,
    /// `BFLOAT16`.
    Bf16,
}

impl TensorType {
    /// Bytes of an element.
    pub fn bytes(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::F32 => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64 | Self::Bf16)
    }
}

/// How channels are interleaved in global memory. Only [`Interleave::None`] is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interleave {
    /// The innermost dimension is contiguous.
    None,
    /// Slices of 16 bytes.
    B16,
    /// Slices of 32 bytes.
    B32,
}

/// How 16-byte chunks are shuffled in shared memory (PTX manual 5.5.7).
///
/// The manual's tables say: within each span of bytes, the chunk's number is xored with the number
/// of the 128-byte line. Its "swizzle base offset", for a destination that does not start where the
/// pattern does, says the same of absolute addresses, so that is what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swizzle {
    /// As in global memory.
    None,
    /// Pairs: bit 4 ^= bit 7. Repeats after 256 bytes.
    B32,
    /// Fours: bits 5:4 ^= 8:7. Repeats after 512 bytes.
    B64,
    /// Eights: bits 6:4 ^= 9:7. Repeats after 1024 bytes.
    B128,
}

impl Swizzle {
    /// The bytes among which chunks change places, which a box's inner dimension may not exceed.
    pub fn span(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            Self::B128 => Some(128),
        }
    }

    /// Where the byte that would lie at shared address `address` lies. Its own inverse.
    pub fn apply(self, address: u32) -> u32 {
        let chunk_bits = self.span().map_or(0, |span| span - 16);
        address ^ (address >> 3 & chunk_bits)
    }
}

/// What a load writes for an element outside the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OobFill {
    /// Zero.
    Zero,
    /// `NAN_REQUEST_ZERO_FMA`: the special NaN that `fma.oob` takes for zero.
    Nan,
}

/// The arguments of `cuTensorMapEncodeTiled`, innermost dimension first.
#[derive(Clone, Copy, Debug)]
pub struct TiledMap<'a> {
    /// The type of the elements.
    pub element: TensorType,
    /// Where the tensor begins in global memory.
    pub address: u64,
    /// Elements along each dimension.
    pub dims: &'a [u64],
    /// Bytes from one index to the next, of each dimension but the innermost.
    pub strides: &'a [u64],
    /// Elements that a copy spans along each dimension.
    pub box_dims: &'a [u32],
    /// Of the elements that the box spans along a dimension, one in so many is copied.
    pub element_strides: &'a [u32],
    /// Of global memory.
    pub interleave: Interleave,
    /// Of shared memory.
    pub swizzle: Swizzle,
    /// Of elements outside.
    pub oob: OobFill,
}

/// A tensor in global memory and the box in which it is copied.
///
/// ```
/// use quickpick_emulator::{Interleave, OobFill, Swizzle, TensorMap, TensorType, TiledMap};
///
/// // 1000 rows of 512 halves, copied in boxes of 64 rows of 64 halves, 128 bytes each.
/// let map = TensorMap::tiled(TiledMap {
///     element: TensorType::F16,
///     address: 0x10_0000,
///     dims: &[512, 1000],
///     strides: &[1024],
///     box_dims: &[64, 64],
///     element_strides: &[1, 1],
///     interleave: Interleave::None,
///     swizzle: Swizzle::B128,
///     oob: OobFill::Zero,
/// })?;
/// assert_eq!(map.box_bytes(), 64 * 64 * 2);
/// // The 128 bytes of `.param .align 64 .b8 map[128]`.
/// let image = map.encode();
/// assert_eq!(TensorMap::decode(&image)?, map);
/// # Ok::<(), quickpick_emulator::TensorMapError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    element: TensorType,
    address: u64,
    dims: Vec<u64>,
    strides: Vec<u64>,
    box_dims: Vec<u32>,
    element_strides: Vec<u32>,
    swizzle: Swizzle,
    oob: OobFill,
}

/// Why there is no such map. Dimensions count from the innermost, 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorMapError {
    /// Not one to five dimensions.
    #[error("a tensor map has 1 to 5 dimensions, not {0}")]
    Rank(usize),
    /// An array whose length does not fit the rank.
    #[error("rank {rank} needs {need} {what}, not {len}")]
    Length {
        /// The array.
        what: &'static str,
        /// The dimensions.
        rank: usize,
        /// The length it must have.
        need: usize,
        /// The length it has.
        len: usize,
    },
    /// An interleaved layout.
    #[error("interleave {0:?} is not modelled: only None is")]
    Interleave(Interleave),
    /// The tensor's address is not a multiple of 16.
    #[error("the tensor's address {0:#x} is not a multiple of 16")]
    Address(u64),
    /// An empty or too long dimension.
    #[error("dimension {dim} has {size} elements: it needs 1 to 2^32")]
    Dim {
        /// The dimension.
        dim: usize,
        /// Its elements.
        size: u64,
    },
    /// A stride that is not a multiple of 16.
    #[error("the stride of dimension {dim}, {stride} bytes, is not a multiple of 16")]
    StrideAlign {
        /// The dimension.
        dim: usize,
        /// Its stride.
        stride: u64,
    },
    /// A stride of 2^40 bytes or more.
    #[error("the stride of dimension {dim}, {stride} bytes, is not below 2^40")]
    StrideRange {
        /// The dimension.
        dim: usize,
        /// Its stride.
        stride: u64,
    },
    /// A stride shorter than a row: a stride given in elements, most likely.
    #[error("the stride of dimension {dim}, {stride} bytes, is less than a row's {row} bytes")]
    StrideOverlap {
        /// The dimension.
        dim: usize,
        /// Its stride.
        stride: u64,
        /// The bytes of the innermost dimension.
        row: u64,
    },
    /// A tensor that does not fit the address space.
    #[error("the tensor at {address:#x} spans {bytes:#x} bytes, past the end of the address space")]
    End {
        /// The tensor's address.
        address: u64,
        /// From its first byte to its last.
        bytes: u128,
    },
    /// An empty or too long box.
    #[error("the box has {size} elements along dimension {dim}: it needs 1 to 256")]
    Box {
        /// The dimension.
        dim: usize,
        /// The box's elements.
        size: u32,
    },
    /// A box whose rows are not a multiple of 16 bytes.
    #[error("the box's inner dimension, {bytes} bytes, is not a multiple of 16")]
    BoxBytes {
        /// Its bytes.
        bytes: u32,
    },
    /// A box whose rows are wider than the swizzle.
    #[error("the box's inner dimension, {bytes} bytes, exceeds the swizzle's {span}")]
    BoxSpan {
        /// Its bytes.
        bytes: u32,
        /// The swizzle's span.
        span: u32,
    },
    /// An element stride out of range.
    #[error("the element stride of dimension {dim} is {stride}: it needs 1 to 8")]
    ElementStride {
        /// The dimension.
        dim: usize,
        /// The stride.
        stride: u32,
    },
    /// An element stride in the innermost dimension, which only interleaved layouts have.
    #[error("the element stride of dimension 0 is {0}: without interleave it must be 1")]
    InnerElementStride(u32),
    /// NaN for elements that have none.
    #[error("elements of type {0:?} cannot be filled with NaN")]
    Fill(TensorType),
    /// Bytes that are not what [`TensorMap::encode`] makes.
    #[error("these 128 bytes are no tensor map of this emulator: {0}")]
    Image(String),
}

/// The most elements along a dimension.
const MAX_DIM: u64 = 1 << 32;
/// Strides are below this.
const STRIDE_LIMIT: u64 = 1 << 40;

impl TensorMap {
    /// The map that `cuTensorMapEncodeTiled` makes of these arguments, or the rule they break.
    ///
    /// Stricter than the driver in three things: a stride may not be less than a row (the driver's
    /// documentation shows such strides only; a dimension of one element is free, for its stride is
    /// never taken), `element_strides[0]` must be 1 as PTX 5.5.3.2 says (the driver ignores it), and
    /// the tensor must end within 64-bit addresses. Dimensions need not stand in the order of their
    /// strides: permuted views are common.
    pub fn tiled(map: TiledMap<'_>) -> Result<Self, TensorMapError> {
        let rank = map.dims.len();
        if !(1..=5).contains(&rank) {
            return Err(TensorMapError::Rank(rank));
        }
        let lengths = [
            ("strides", map.strides.len(), rank - 1),
            ("box dimensions", map.box_dims.len(), rank),
            ("element strides", map.element_strides.len(), rank),
        ];
        for (what, len, need) in lengths {
            if len != need {
                return Err(TensorMapError::Length { what, rank, need, len });
            }
        }
        if map.interleave != Interleave::None {
            return Err(TensorMapError::Interleave(map.interleave));
        }
        map.check_tensor()?;
        map.check_box()?;
        if map.oob == OobFill::Nan && !map.element.is_float() {
            return Err(TensorMapError::Fill(map.element));
        }
        Ok(Self {
            element: map.element,
            address: map.address,
            dims: map.dims.to_vec(),
            strides: map.strides.to_vec(),
            box_dims: map.box_dims.to_vec(),
            element_strides: map.element_strides.to_vec(),
            swizzle: map.swizzle,
            oob: map.oob,
        })
    }

    /// The bytes that one copy writes to or reads from shared memory, elements outside the tensor
    /// included: what a load's `complete_tx` counts.
    pub fn box_bytes(&self) -> u64 {
        self.counts().map(u64::from).product::<u64>() * self.element.bytes() as u64
    }

    /// Elements copied along each dimension: ⌈box ÷ element stride⌉, as the driver says.
    fn counts(&self) -> impl Iterator<Item = u32> {
        self.box_dims.iter().zip(&self.element_strides).map(|(size, stride)| size.div_ceil(*stride))
    }
}

impl TiledMap<'_> {
    fn check_tensor(&self) -> Result<(), TensorMapError> {
        if !self.address.is_multiple_of(16) {
            return Err(TensorMapError::Address(self.address));
        }
        for (dim, &size) in self.dims.iter().enumerate() {
            if !(1..=MAX_DIM).contains(&size) {
                return Err(TensorMapError::Dim { dim, size });
            }
        }
        let row = self.dims[0] * self.element.bytes() as u64;
        for ((dim, &size), &stride) in self.dims.iter().enumerate().skip(1).zip(self.strides) {
            if !stride.is_multiple_of(16) {
                return Err(TensorMapError::StrideAlign { dim, stride });
            }
            if stride >= STRIDE_LIMIT {
                return Err(TensorMapError::StrideRange { dim, stride });
            }
            if stride < row && size > 1 {
                return Err(TensorMapError::StrideOverlap { dim, stride, row });
            }
        }
        let outer = self.dims[1..].iter().zip(self.strides);
        let steps: u128 = outer.map(|(size, stride)| (size - 1) as u128 * *stride as u128).sum();
        let bytes = steps + row as u128;
        if self.address as u128 + bytes > 1 << 64 {
            return Err(TensorMapError::End { address: self.address, bytes });
        }
        Ok(())
    }

    fn check_box(&self) -> Result<(), TensorMapError> {
        for (dim, &size) in self.box_dims.iter().enumerate() {
            if !(1..=256).contains(&size) {
                return Err(TensorMapError::Box { dim, size });
            }
        }
        let bytes = self.box_dims[0] * self.element.bytes();
        if !bytes.is_multiple_of(16) {
            return Err(TensorMapError::BoxBytes { bytes });
        }
        if let Some(span) = self.swizzle.span().filter(|span| bytes > *span) {
            return Err(TensorMapError::BoxSpan { bytes, span });
        }
        for (dim, &stride) in self.element_strides.iter().enumerate() {
            if !(1..=8).contains(&stride) {
                return Err(TensorMapError::ElementStride { dim, stride });
            }
        }
        if self.element_strides[0] != 1 {
            return Err(TensorMapError::InnerElementStride(self.element_strides[0]));
        }
        Ok(())
    }
}
