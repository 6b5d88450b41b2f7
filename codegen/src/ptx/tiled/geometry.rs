//! The numbers of a tiled kernel that its code needs beyond the plan: the map of a stage, and each
//! warp's share of the tile.

use quickpick_kernels::{Form, KernelSpec, OpKind, Tile, Weights};

use crate::ptx::mma::{DEPTH, Element};
use crate::ptx::store::Layout;

/// Bytes of a token's row of X in shared memory: `tile.k` columns of every tiled kernel.
pub(super) const ROW: u32 = 128;
/// B is loaded this many slices ahead of the MMAs that use it.
pub(super) const AHEAD: u32 = 3;
/// B slices in registers: the one in use and those ahead. It divides the slices of a tile, so that
/// a slice has the same registers in every tile.
pub(super) const RING: u32 = AHEAD + 1;

#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// W is 2:4.
    pub sparse: bool,
    pub element: Element,
    pub tile: Tile,
    pub stages: u32,
    /// Warps along m and n.
    pub warps: (u32, u32),
    /// Bytes of a row of A in shared memory: kept values only.
    pub a_row: u32,
    /// Bytes of a row of B in shared memory.
    pub b_row: u32,
    /// 16×8 tiles of a warp along m.
    pub m_tiles: u32,
    /// 16×8 tiles of a warp along n.
    pub n_tiles: u32,
    /// Products along a tile's k.
    pub steps: u32,
    /// n-tiles that one `ldmatrix.x4` of B serves.
    pub slice: u32,
}

impl Geometry {
    /// `None` for a row that is not a tiled linear layer.
    pub fn new(spec: &KernelSpec) -> Option<Self> {
        let (OpKind::Linear(weights), Form::Tiled { tile, stages, warps }) = (spec.op, spec.form)
        else {
            return None;
        };
        let sparse = weights == Weights::Sparse24;
        Some(Self {
            sparse,
            element: Element { dtype: spec.dtype },
            tile,
            stages,
            warps,
            a_row: if sparse { ROW / 2 } else { ROW },
            b_row: ROW,
            m_tiles: tile.m / warps.0 / 16,
            n_tiles: tile.n / warps.1 / 8,
            steps: ROW / if sparse { 2 * DEPTH } else { DEPTH },
            slice: if sparse { 1 } else { 2 },
        })
    }

    /// Whether the generator can write this; each rule is an assumption of the file that it names.
    pub fn fits(&self) -> bool {
        let Self { tile, warps: (along_m, along_n), .. } = *self;
        let threads = self.threads();
        // fragments: a warp finds its place by masks, and takes whole pairs of m-tiles, whole slices
        let whole = along_m.is_power_of_two()
            && along_n.is_power_of_two()
            && tile.m % (32 * along_m) == 0
            && tile.n % (8 * self.slice * along_n) == 0;
        if !whole || tile.k != self.k() || self.stages < 2 {
            return false;
        }
        // copies: each thread's rows are as far apart as the swizzle is long, or a multiple
        let copied = |rows: u32, row_bytes: u32| {
            let between = threads * 16 / row_bytes;
            between.is_multiple_of(8) && rows.is_multiple_of(between)
        };
        // copies, fragments: a thread copies one piece of metadata at most, one ldmatrix reads a step's
        let metadata = !self.sparse || 16 * threads >= 2 * self.slab_bytes() && self.m_tiles <= 4;
        // main loop: the ring closes with the tile, and all copies come before the barrier's commit
        let ring = self.tile_slices().is_multiple_of(RING) && self.tile_slices() >= 2 * RING;
        copied(tile.m, self.a_row)
            && copied(tile.n, self.b_row)
            && metadata
            && ring
            && self.layout().fits()
    }

    pub fn threads(&self) -> u32 {
        self.warps.0 * self.warps.1 * 32
    }
    /// Where B begins in a stage; A begins at 0.
    pub fn b_offset(&self) -> u32 {
        self.tile.m * self.a_row
    }
    /// Where the metadata begin in a stage.
    pub fn meta_offset(&self) -> u32 {
        self.b_offset() + self.tile.n * self.b_row
    }
    /// Columns of a tile.
    pub fn k(&self) -> u32 {
        ROW / self.element.bytes()
    }
    /// Words of metadata of a row of W in a step.
    pub fn words(&self) -> u32 {
        2 / self.element.selectors()
    }
    /// Bytes of a slab of metadata: the words of `tile.m` rows in a step.
    pub fn slab_bytes(&self) -> u32 {
        4 * self.words() * self.tile.m
    }
    /// Words of metadata in a lane, in a step: one for as many m-tiles as there are selectors.
    pub fn metas(&self) -> u32 {
        self.m_tiles / self.element.selectors()
    }
    pub fn stage_bytes(&self) -> u32 {
        self.meta_offset() + if self.sparse { 2 * self.slab_bytes() } else { 0 }
    }
    pub fn shared_bytes(&self) -> u32 {
        self.stage_bytes() * self.stages
    }
    /// B slices of a step.
    pub fn slices(&self) -> u32 {
        self.n_tiles / self.slice
    }
    /// B slices of a tile.
    pub fn tile_slices(&self) -> u32 {
        self.steps * self.slices()
    }
    /// The way of the accumulators to Y.
    pub fn layout(&self) -> Layout {
        let Self { element, tile, warps, m_tiles, n_tiles, .. } = *self;
        Layout { element, tile, warps, m_tiles, n_tiles, bytes: self.shared_bytes() }
    }
    /// Blocks that share a multiprocessor of sm_80 (164 KiB of shared memory, 1 KiB of it per block).
    pub fn blocks_per_sm(&self) -> u32 {
        (164 << 10) / (self.shared_bytes() + (1 << 10))
    }
}

#[cfg(test)]
mod tests {
    use super::Geometry;
    use quickpick_kernels::{KERNELS, Target};

    #[test]
    fn rows_of_the_table_fit_the_generator() {
        let rows = KERNELS.iter().filter(|s| s.target == Target::Sm80);
        let tiled: Vec<_> = rows.filter_map(|s| Some((s, Geometry::new(s)?))).collect();
        assert!(!tiled.is_empty());
        for (spec, g) in tiled {
            assert_eq!(g.shared_bytes(), spec.shared_bytes(), "{spec}: the plan's map");
            assert!(g.fits(), "{spec}: {g:?}");
        }
    }
}
