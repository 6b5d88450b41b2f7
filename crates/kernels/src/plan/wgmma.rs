//! How a `wgmma` kernel's blocks share a problem, and what they need for it.
//!
//! The grid is one block for each multiprocessor (one cluster for each `cluster` of them): a *group*.
//! Groups take the tiles by turns. Tiles that would leave most of a last round idle are cut along k
//! instead, into equal shares of consecutive tiles of k, one for each group (stream-K, arXiv
//! 2301.03598): who holds only part of a tile leaves its sums in the workspace, and the last of a
//! tile's holders adds them, in the order of k, so that the answer does not depend on who that is.

use super::{Binding, bytes};
use crate::spec::{KernelSpec, Tile, Wgmma};
use crate::{Caps, DType, Linear, OpKind, Values, Weights};

/// Bytes through which a warpgroup's Y passes on its way out: two pieces of 64 features × 32 tokens of
/// 16 bits, or 16 tokens of f32.
pub const STORE_BYTES: u32 = 2 * STORE_PIECE;
/// Bytes of a piece.
pub const STORE_PIECE: u32 = 4096;
/// Bytes of a row of X in a block of metadata ([`Order::WgmmaSm90`](crate::Order::WgmmaSm90)).
const META_BYTES: u32 = 256;

/// How the groups share the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub groups: u32,
    /// Tiles that are cut along k: the first ones.
    pub split: u32,
    /// Tiles of k of each group's share of those.
    pub share: u32,
}

impl Shares {
    pub fn new(w: &Wgmma, weights: Weights, p: &Linear, caps: &Caps) -> Self {
        let sms = match caps {
            Caps::Cuda(c) => c.sms.max(1),
            _ => 1,
        };
        let most = (sms / w.cluster).max(1);
        let Tile { m, n, k } = w.tile;
        let tiles = p.m.div_ceil(m * w.cluster) as u64 * p.n.div_ceil(n) as u64;
        let even = whole_blocks(w, weights, p.dtype);
        let tiles_of_k = p.k.div_ceil(k).next_multiple_of(even);
        let rest = (tiles % most as u64) as u32;
        let share = rest as u64 * tiles_of_k as u64;
        let share = (share.div_ceil(most as u64) as u32).next_multiple_of(even);
        if rest == 0 || share + fixup(weights, p, k) >= tiles_of_k {
            let groups = tiles.min(most as u64) as u32;
            return Self { groups, split: 0, share: 0 };
        }
        let groups = match tiles > most as u64 {
            true => most,
            false => (rest * tiles_of_k).div_ceil(share),
        };
        Self { groups, split: rest, share }
    }

    /// Partial sums, `[group + tile][block of the cluster][m·n]` f32 (a group and a tile have at most one
    /// share in common, and along the shares either grows), then an arrival counter for each warpgroup
    /// of each cut tile.
    pub fn workspace(&self, w: &Wgmma) -> Binding {
        let Self { groups, split, .. } = *self;
        let tile = 4 * w.cluster as u64 * w.tile.m as u64 * w.tile.n as u64;
        let slots = (groups + split) as u64;
        let counters = 4 * (split * w.cluster * Wgmma::CONSUMERS) as u64;
        let bytes = if split == 0 { 0 } else { slots * tile + counters };
        Binding::read_write("workspace", bytes)
    }
}

/// Tiles of k that fill a block of metadata: all work begins and ends between two, so that a thread's
/// part of a block is always the same.
pub const fn whole_blocks(w: &Wgmma, weights: Weights, dtype: DType) -> u32 {
    match (weights, w.values) {
        (Weights::Sparse24, Values::Shared) => {
            let bytes = w.tile.k * dtype.bytes() as u32;
            if bytes < META_BYTES { META_BYTES / bytes } else { 1 }
        }
        _ => 1,
    }
}

/// What it costs to leave a tile's sums and take them again, in tiles of k: 8·m·n bytes at about 32 a
/// clock, where a tile of k takes m·n·k/4096 clocks of a sparse multiply of 16 bits.
fn fixup(weights: Weights, p: &Linear, k: u32) -> u32 {
    let columns = if weights == Weights::Sparse24 { 1024 } else { 512 };
    (columns * 2 / p.dtype.bytes() as u32).div_ceil(k)
}

/// Bytes of shared memory: the stages; what Y passes through; an mbarrier for a full and one for a free
/// stage, and one for each warpgroup's turn; a word for each warpgroup.
pub(super) fn shared_bytes(spec: &KernelSpec, w: &Wgmma) -> u32 {
    let barriers = 16 * w.stages + 16 * Wgmma::CONSUMERS;
    let bytes = w.stages * stage_bytes(spec, w) + Wgmma::CONSUMERS * STORE_BYTES + barriers;
    bytes.next_multiple_of(128)
}

/// One stage: A (kept values only when sparse, none if they come to registers) and B.
fn stage_bytes(spec: &KernelSpec, w: &Wgmma) -> u32 {
    let Tile { m, n, k } = w.tile;
    let a = match (spec.op, w.values) {
        (_, Values::Registers) => 0,
        (OpKind::Linear(Weights::Sparse24), _) => m * k / 2,
        _ => m * k,
    };
    bytes(spec.dtype, (a + n * k) as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CudaCaps, Epilogue, Teams};

    const fn wgmma(cluster: u32) -> Wgmma {
        let tile = Tile { m: 128, n: 256, k: 64 };
        Wgmma { tile, stages: 5, values: Values::Shared, teams: Teams::Cooperative, cluster }
    }

    fn shares(cluster: u32, (m, n, k): (u32, u32, u32)) -> Shares {
        let caps = Caps::Cuda(CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 });
        let (weights, dtype) = (Weights::Sparse24, DType::F16);
        let p = Linear { m, n, k, weights, dtype, out: dtype, epilogue: Epilogue::NONE };
        Shares::new(&wgmma(cluster), weights, &p, &caps)
    }

    #[test]
    fn whole_rounds_are_not_cut() {
        let even = Shares { groups: 132, split: 0, share: 0 };
        assert_eq!(shares(1, (128 * 12, 256 * 22, 8192)), even, "two rounds of 132");
        // 32 × 32 tiles in 132: 7 rounds, and 100 that fill most of an eighth
        assert_eq!(shares(1, (4096, 8192, 4096)), even);
        assert_eq!(shares(1, (128, 256, 1024)), Shares { groups: 1, split: 0, share: 0 });
    }

    #[test]
    fn few_tiles_are_cut_along_k() {
        // 32 tiles of 64 tiles of k: 15.5 each, even for the metadata's sake
        assert_eq!(shares(1, (4096, 256, 4096)), Shares { groups: 128, split: 32, share: 16 });
        assert_eq!(shares(2, (4096, 256, 4096)), Shares { groups: 64, split: 16, share: 16 });
        // 160 tiles: 132 whole, and 28 shared by all
        assert_eq!(shares(1, (128 * 160, 256, 8192)), Shares { groups: 132, split: 28, share: 28 });
    }

    #[test]
    fn every_share_of_a_tile_has_its_own_slot() {
        for (cluster, shape) in
            [(1, (4096, 256, 4096)), (2, (4096, 256, 4096)), (1, (128 * 160, 256, 8192))]
        {
            let Shares { groups, split, share } = shares(cluster, shape);
            let tiles_of_k = shape.2 / 64;
            let mut slots = Vec::new();
            for group in 0..groups {
                let (mut unit, end) =
                    (group * share, ((group + 1) * share).min(split * tiles_of_k));
                while unit < end {
                    slots.push(group + unit / tiles_of_k);
                    unit = end.min((unit / tiles_of_k + 1) * tiles_of_k);
                }
            }
            let many = slots.len();
            slots.dedup();
            assert_eq!(slots.len(), many, "ascending, so that equal ones are neighbours");
            assert!(slots.is_sorted() && slots.iter().all(|&slot| slot < groups + split));
        }
    }
}
