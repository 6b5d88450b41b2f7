//! The numbers of a `wgmma` kernel beyond the plan: the map of a stage, and what its descriptors say.

use crate::ptx::pieces;
use crate::ptx::store::Layout;
use quickpick_kernels::{Form, KernelSpec, OpKind, Tile, Weights};
use quickpick_ptx::{Half, Type};

/// Columns of a box: 128 bytes, the widest swizzle.
const BOX: u32 = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// W is 2:4.
    pub sparse: bool,
    pub ty: Half,
    pub tile: Tile,
    pub stages: u32,
    /// Bytes of a row of A in shared memory, at most 128: wider tiles have several boxes.
    pub a_row: u32,
}

impl Geometry {
    /// `None` for a row of another form.
    pub fn new(spec: &KernelSpec) -> Option<Self> {
        let (OpKind::Linear(weights), Form::Wgmma { tile, stages }) = (spec.op, spec.form) else {
            return None;
        };
        let sparse = weights == Weights::Sparse24;
        let stored = if sparse { tile.k / 2 } else { tile.k };
        let a_row = 2 * stored.min(BOX);
        Some(Self { sparse, ty: pieces::half(spec.dtype), tile, stages, a_row })
    }

    /// Consumer warpgroups.
    pub fn consumers(&self) -> u32 {
        self.tile.m / 64
    }
    pub fn threads(&self) -> u32 {
        128 * (self.consumers() + 1)
    }
    /// Columns of A as stored in a tile.
    pub fn stored(&self) -> u32 {
        if self.sparse { self.tile.k / 2 } else { self.tile.k }
    }
    /// Boxes of A and of B in a stage, each a block of rows of `a_row` or 128 bytes.
    pub fn a_boxes(&self) -> u32 {
        2 * self.stored() / self.a_row
    }
    pub fn b_boxes(&self) -> u32 {
        self.tile.k / BOX
    }
    pub fn a_box_bytes(&self) -> u32 {
        self.tile.m * self.a_row
    }
    pub fn b_box_bytes(&self) -> u32 {
        self.tile.n * 2 * BOX
    }
    /// Where B begins in a stage; A begins at 0.
    pub fn b_offset(&self) -> u32 {
        self.a_boxes() * self.a_box_bytes()
    }
    pub fn stage_bytes(&self) -> u32 {
        self.b_offset() + self.b_boxes() * self.b_box_bytes()
    }
    /// Where a stage's mbarriers lie.
    pub fn full(&self, stage: u32) -> i32 {
        (self.stage_bytes() * self.stages + 16 * stage) as i32
    }
    pub fn free(&self, stage: u32) -> i32 {
        self.full(stage) + 8
    }
    /// Multiplies along a tile's k: k32 if sparse, k16 if dense; either takes 32 bytes of A's rows.
    pub fn steps(&self) -> u32 {
        self.stored() / 16
    }
    pub fn depth(&self) -> u32 {
        if self.sparse { 32 } else { 16 }
    }
    /// Where step `step` begins in A and in B, from the stage's first byte, for the first consumer.
    pub fn operands(&self, step: u32) -> (u32, u32) {
        let a = 32 * step;
        let b = 2 * self.depth() * step;
        (
            a / self.a_row * self.a_box_bytes() + a % self.a_row,
            self.b_offset() + b / (2 * BOX) * self.b_box_bytes() + b % (2 * BOX),
        )
    }
    /// The constant bits of a descriptor of rows of so many bytes (9.7.15.5.1.2): the leading offset is
    /// not used by swizzled K-major operands, 1; the stride, eight rows; the swizzle, one row wide.
    pub fn descriptor(&self, row: u32) -> i64 {
        let swizzle: u64 = match row {
            128 => 1,
            64 => 2,
            _ => 3,
        };
        (swizzle << 62 | u64::from(8 * row / 16) << 32 | 1 << 16) as i64
    }
    pub fn element(&self) -> Type {
        self.ty.into()
    }
    /// The way of the accumulators to Y: each consumer warp holds 16 rows.
    pub fn layout(&self) -> Layout {
        let Self { ty, tile, .. } = *self;
        let bytes = self.stage_bytes() * self.stages;
        let warps = (tile.m / 16, 1);
        Layout { ty, tile, warps, m_tiles: 1, n_tiles: tile.n / 8, bytes, barrier: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::Geometry;
    use quickpick_kernels::{KERNELS, Target};

    #[test]
    fn rows_of_the_table_fit_the_generator() {
        for spec in KERNELS.iter().filter(|s| s.target == Target::Sm90a) {
            let g = Geometry::new(spec).expect("a row of sm_90a is of this form");
            assert!(g.tile.m % 64 == 0 && g.tile.n % 8 == 0 && g.tile.n <= 256, "{spec}");
            assert!(g.a_box_bytes() % 1024 == 0 && g.b_box_bytes() % 1024 == 0, "{spec}");
            assert!(g.full(g.stages) as u32 <= spec.shared_bytes(), "{spec}: the plan's map");
            assert!(g.layout().fits() && g.layout().store_parts() == 1, "{spec}");
            assert_eq!(g.threads(), spec.threads(), "{spec}");
        }
    }
}
