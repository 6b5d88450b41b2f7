//! How the blocks of a skinny kernel share a problem, and what they need for it.
//!
//! All k-blocks of all tiles make one line of units, of which each block takes an equal part (stream-K,
//! arXiv 2301.03598), unless whole tiles come out nearly as even. The sums of a part of a tile go through
//! the workspace: the last of the tile's blocks adds them, in the order of k.

use super::{Binding, bytes};
use crate::{Caps, KernelSpec, Linear, Tile, Unsupported, Weights};

/// Blocks that share a multiprocessor.
pub(crate) const SKINNY_RESIDENT: u32 = 2;

/// What it costs to leave a tile's sums and take them again, in units of all blocks: about a microsecond, in
/// which a device reads 5 MB of weights; a unit of each of its 264 blocks is 0.3 MB.
const FIXUP: u32 = 16;

/// K-blocks of W that a warp holds in registers: so many that 72 KiB of a multiprocessor's are on their way, of
/// dense W 96 KiB.
pub const fn skinny_stages(weights: Weights, tile: Tile) -> u32 {
    match weights {
        Weights::Sparse24 => 64 / tile.m,
        Weights::Dense => 48 / tile.m,
    }
}

/// How the blocks share the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Blocks.
    pub blocks: u32,
    /// Units of a block's share; the last may have fewer.
    pub share: u32,
    /// Shares that end within tiles.
    parts: bool,
    tiles: u32,
}

impl Shares {
    pub fn new(p: &Linear, tile: Tile, warps: u32, caps: &Caps) -> Result<Self, Unsupported> {
        let most = match caps {
            Caps::Cuda(c) => SKINNY_RESIDENT * c.sms.max(1),
            _ => 1,
        };
        let (tiles, of_tile) = (p.m.div_ceil(tile.m), p.k.div_ceil(tile.k));
        let all = tiles as u64 * of_tile as u64;
        // the last share ends below this, too
        if all > u32::MAX as u64 / 2 {
            let what = "k-blocks of all tiles";
            return Err(Unsupported::Limit { what, needs: all, has: u32::MAX as u64 / 2 });
        }
        let all = all as u32;
        let whole = tiles.div_ceil(most) * of_tile;
        // every warp has something to do
        let even = all.div_ceil(most).max(warps);
        let parts = even.saturating_add(FIXUP) < whole;
        let share = if parts { even } else { whole };
        Ok(Self { blocks: all.div_ceil(share), share, parts, tiles })
    }

    /// Sums `[block + tile, n, m of a tile]` of four bytes (a block and a tile have at most one item in
    /// common, and along the items either grows), then one u32 arrival counter per tile. Absent where no
    /// share ends within a tile.
    pub fn workspace(&self, p: &Linear, tile: Tile) -> Binding {
        let slots = self.blocks as u64 + self.tiles as u64;
        let bytes = 4 * (slots * p.n as u64 * tile.m as u64 + self.tiles as u64);
        Binding::read_write("workspace", if self.parts { bytes } else { 0 })
    }
}

/// Shared memory of a warp: a ring of X if sparse, as deep as W is in registers (the dense twin takes X from
/// memory to registers); its sums, rows of m + 4 floats, in its place later.
pub(super) fn warp_bytes(spec: &KernelSpec, weights: Weights, tile: Tile) -> u32 {
    let sums = 4 * tile.n * (tile.m + 4);
    let ring = skinny_stages(weights, tile) * bytes(spec.dtype, (tile.n * tile.k) as u64) as u32;
    let bytes = if weights == Weights::Sparse24 { sums.max(ring) } else { sums };
    bytes.next_multiple_of(128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CudaCaps, DType, Epilogue};
    use alloc::vec::Vec;

    fn shares(m: u32, k: u32) -> Shares {
        let caps = Caps::Cuda(CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 });
        let (weights, dtype) = (Weights::Sparse24, DType::F16);
        let p = Linear { m, n: 1, k, weights, dtype, out: dtype, epilogue: Epilogue::NONE };
        Shares::new(&p, Tile { m: 16, n: 16, k: 64 }, 8, &caps).unwrap()
    }

    #[test]
    fn whole_tiles_where_they_come_out_even() {
        // 256 tiles for 264 blocks; 1792 in 6.8 rounds
        for (m, k, blocks, share) in [(4096, 4096, 256, 64), (28672, 4096, 256, 448)] {
            assert_eq!(shares(m, k), Shares { blocks, share, parts: false, tiles: m / 16 });
        }
    }

    #[test]
    fn equal_shares_where_they_do_not() {
        // 1.45 rounds, 1.09 rounds, 2.6 rounds, and 16 tiles for all blocks
        for (m, k, blocks, share) in [
            (6144, 4096, 262, 94),
            (4608, 3584, 261, 62),
            (11008, 4096, 264, 167),
            (256, 16384, 256, 16),
        ] {
            assert_eq!(shares(m, k), Shares { blocks, share, parts: true, tiles: m / 16 });
        }
    }

    #[test]
    fn every_item_has_its_own_slot() {
        for (m, k) in [(6144, 4096), (4608, 3584), (256, 16384)] {
            let Shares { blocks, share, tiles, .. } = shares(m, k);
            let of_tile = k / 64;
            let mut slots = Vec::new();
            for block in 0..blocks {
                let (mut unit, end) = (block * share, ((block + 1) * share).min(tiles * of_tile));
                assert!(unit < end, "no block is idle");
                while unit < end {
                    slots.push(block + unit / of_tile);
                    unit = end.min((unit / of_tile + 1) * of_tile);
                }
            }
            assert!(slots.windows(2).all(|two| two[0] < two[1]));
            assert!(slots.iter().all(|&slot| slot < blocks + tiles));
        }
    }
}
