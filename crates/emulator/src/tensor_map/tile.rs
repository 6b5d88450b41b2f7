//! The bytes that one `cp.async.bulk.tensor` in tile mode moves (PTX manual 5.5.3 and 9.7.9.25.5).

use super::{OobFill, TensorMap};

/// A copy between a box of the tensor and shared memory, in the order of the unswizzled box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// At most 16 bytes each; together they cover the box.
    pub pieces: Vec<Piece>,
    /// What `complete_tx` counts: the whole box, elements outside the tensor included.
    pub bytes: u32,
    /// Bytes of an element: all that [`Piece::global`] is aligned to.
    pub element: u32,
    /// Of the elements outside.
    pub fill: OobFill,
}

/// Contiguous bytes on both sides, never more than a 16-byte chunk of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where in shared memory, swizzled.
    pub shared: u32,
    /// How many.
    pub bytes: u32,
    /// Where in global memory, or outside the tensor: a load fills, a store skips.
    pub global: Option<u64>,
}

/// Why a copy is undefined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TileError {
    #[error("{coords} coordinates for a tensor map of rank {rank}")]
    Rank { coords: usize, rank: usize },
    #[error("a tensor copy's shared address {0:#x} is not a multiple of 128")]
    Align(u32),
    /// A load's `complete_tx` could not count it, and no shared memory holds it.
    #[error("the box has {bytes} bytes, more than a tx-count's {}", MAX_BYTES)]
    Bytes { bytes: u64 },
    #[error("the box at shared address {shared:#x} has {bytes} bytes, past 32-bit addresses")]
    End { shared: u32, bytes: u64 },
    /// The driver accepts it, but no manual says whether rows are then packed or padded.
    #[error("rows of {row} bytes under a swizzle of {span}: where the rows lie is undocumented")]
    Narrow { row: u32, span: u32 },
    /// The driver says what a load makes of element strides, and nothing of stores.
    #[error("a store with element strides {0:?} is undocumented")]
    StoreStrides(Vec<u32>),
}

/// A tx-count's range (PTX manual 9.7.13.15.2).
const MAX_BYTES: u64 = (1 << 20) - 1;

impl OobFill {
    /// `bytes` bytes of filling.
    ///
    /// The manual calls the NaN special and does not give its bits. These are a NaN in every format
    /// that may be filled so, whatever its width; a kernel may rely on no more.
    pub(crate) fn fill(self, bytes: u32) -> Vec<u8> {
        let pattern = match self {
            Self::Zero => [0, 0],
            Self::Nan => 0x7FF7_u16.to_le_bytes(),
        };
        pattern.into_iter().cycle().take(bytes as usize).collect()
    }
}

impl TensorMap {
    /// What a load of the box at `coords` writes from shared address `shared` on.
    ///
    /// Coordinates count elements, innermost first, and may lie outside. Along a dimension with
    /// element stride s, the box at c takes the elements c, c + s, c + 2s, ….
    ///
    /// The address must be a multiple of 128. It need not be one of the swizzle's period: PTX 5.5.7
    /// defines the pattern from any 128-byte line on.
    pub(crate) fn load(&self, coords: &[i32], shared: u32) -> Result<Tile, TileError> {
        let rank = self.dims.len();
        if coords.len() != rank {
            return Err(TileError::Rank { coords: coords.len(), rank });
        }
        if !shared.is_multiple_of(128) {
            return Err(TileError::Align(shared));
        }
        let total = self.box_bytes();
        if total > MAX_BYTES {
            return Err(TileError::Bytes { bytes: total });
        }
        if shared as u64 + total > 1 << 32 {
            return Err(TileError::End { shared, bytes: total });
        }
        let element = self.element.bytes();
        let row = self.box_dims[0] * element;
        if let Some(span) = self.swizzle.span().filter(|s| row < *s && total > row as u64) {
            return Err(TileError::Narrow { row, span });
        }
        let mut pieces = Vec::with_capacity(total as usize / 16);
        for (number, line) in self.rows(coords).enumerate() {
            let at = shared + number as u32 * row;
            for chunk in (0..row).step_by(16) {
                let first = coords[0] as i64 + (chunk / element) as i64;
                self.cut(self.swizzle.apply(at + chunk), first, line, &mut pieces);
            }
        }
        Ok(Tile { pieces, bytes: total as u32, element, fill: self.oob })
    }

    /// What a store of the box at `coords` reads from shared address `shared` on.
    pub(crate) fn store(&self, coords: &[i32], shared: u32) -> Result<Tile, TileError> {
        if self.element_strides.iter().any(|stride| *stride != 1) {
            return Err(TileError::StoreStrides(self.element_strides.clone()));
        }
        self.load(coords, shared)
    }

    /// The box's rows in their order: the global address of the row's element 0, or outside.
    fn rows(&self, coords: &[i32]) -> impl Iterator<Item = Option<u64>> {
        let counts: Vec<_> = self.counts().skip(1).collect();
        (0..counts.iter().product::<u32>()).map(move |number| {
            let (mut rest, mut address) = (number, self.address);
            for (i, count) in counts.iter().enumerate() {
                let step = (rest % count) * self.element_strides[i + 1];
                rest /= count;
                let index = u64::try_from(coords[i + 1] as i64 + step as i64).ok()?;
                if index >= self.dims[i + 1] {
                    return None;
                }
                // Inside the tensor, which ends within 64 bits.
                address += index * self.strides[i];
            }
            Some(address)
        })
    }

    /// Cuts a 16-byte chunk, whose first element is number `first` of a row, at the row's ends.
    fn cut(&self, shared: u32, first: i64, line: Option<u64>, pieces: &mut Vec<Piece>) {
        let element = self.element.bytes();
        let count = 16 / element;
        // The elements before `begin` and from `end` on are outside.
        let inside = |bound: i64| (bound - first).clamp(0, count as i64) as u32;
        let (begin, end) = match line {
            Some(_) => (inside(0), inside(self.dims[0] as i64)),
            None => (count, count),
        };
        for (from, to, here) in [(0, begin, None), (begin, end, line), (end, count, None)] {
            if from < to {
                let index = (first + from as i64) as u64;
                pieces.push(Piece {
                    shared: shared + from * element,
                    bytes: (to - from) * element,
                    global: here.map(|start| start + index * element as u64),
                });
            }
        }
    }
}
