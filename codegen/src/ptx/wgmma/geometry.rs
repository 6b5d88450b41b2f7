//! The numbers of a `wgmma` kernel beyond the plan: the map of shared memory, and what its descriptors
//! say. In bytes all types are alike: a multiply takes 32 bytes of A's rows, and of B's as many if
//! dense, twice as many if sparse.

use super::supply::Supply;
use crate::ptx::mma::Element;
use quickpick_kernels::plan::{STORE_BYTES, STORE_PIECE, whole_blocks};
use quickpick_kernels::{
    DType, Form, KernelSpec, OpKind, Order, Teams, Tile, Values, Weights, Wgmma,
};

/// Bytes of a row of a box: the widest swizzle.
pub(super) const ROW: u32 = 128;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Geometry {
    /// W is 2:4, and lies in this order.
    pub sparse: bool,
    pub order: Option<Order>,
    pub dtype: DType,
    pub tile: Tile,
    pub stages: u32,
    pub form: Wgmma,
    /// Bytes of a row of A in shared memory, at most 128: wider tiles have several boxes. 0: none.
    pub a_row: u32,
    /// Tiles of k whose metadata fill a block.
    pub whole_blocks: u32,
}

impl Geometry {
    /// `None` for a row of another form.
    pub fn new(spec: &KernelSpec) -> Option<Self> {
        let (OpKind::Linear(weights), Form::Wgmma(form)) = (spec.op, spec.form) else {
            return None;
        };
        let (dtype, Wgmma { tile, stages, .. }) = (spec.dtype, form);
        let sparse = weights == Weights::Sparse24;
        let whole_blocks = whole_blocks(&form, weights, dtype);
        let order = spec.order();
        let mut g = Self { sparse, order, dtype, tile, stages, form, a_row: 0, whole_blocks };
        if form.values == Values::Shared {
            g.a_row = g.a_bytes_of_k().min(ROW);
        }
        Some(g)
    }

    /// Bytes of a row of X, and of W as stored, in a tile of k.
    pub fn bytes_of_k(&self) -> u32 {
        self.tile.k * self.bytes()
    }
    fn a_bytes_of_k(&self) -> u32 {
        if self.sparse { self.bytes_of_k() / 2 } else { self.bytes_of_k() }
    }
    /// Bytes of an element.
    pub fn bytes(&self) -> u32 {
        self.dtype.bytes() as u32
    }
    /// Whether the two consumers take tiles by turns.
    pub fn by_turns(&self) -> bool {
        self.form.teams == Teams::PingPong
    }
    pub fn in_registers(&self) -> bool {
        self.form.values == Values::Registers
    }
    pub fn cluster(&self) -> u32 {
        self.form.cluster
    }
    /// Slices of 64 rows that a consumer multiplies.
    pub fn slices(&self) -> u32 {
        self.form.rows() / 64
    }
    /// Accumulators of a thread for a slice.
    pub fn accumulators(&self) -> u32 {
        self.tile.n / 2
    }
    /// Boxes of A and of B in a stage, each a block of rows of `a_row` or 128 bytes.
    pub fn a_boxes(&self) -> u32 {
        self.a_bytes_of_k().checked_div(self.a_row).unwrap_or(0)
    }
    pub fn b_boxes(&self) -> u32 {
        self.bytes_of_k() / ROW
    }
    pub fn a_box_bytes(&self) -> u32 {
        self.tile.m * self.a_row
    }
    pub fn b_box_bytes(&self) -> u32 {
        self.tile.n * ROW
    }
    /// Where B begins in a stage; A begins at 0.
    pub fn b_offset(&self) -> u32 {
        self.a_boxes() * self.a_box_bytes()
    }
    pub fn stage_bytes(&self) -> u32 {
        self.b_offset() + self.b_boxes() * self.b_box_bytes()
    }
    /// Where the first consumer's Y passes through, behind the stages.
    pub fn store(&self) -> u32 {
        self.stages * self.stage_bytes()
    }
    /// Where stage 0's mbarriers lie; each next stage's lie 16 bytes on.
    pub fn full(&self) -> i32 {
        (self.store() + Wgmma::CONSUMERS * STORE_BYTES) as i32
    }
    pub fn free(&self) -> i32 {
        self.full() + 8
    }
    /// The mbarrier of a consumer's turn, and a word of its own.
    pub fn turn(&self, consumer: u32) -> i32 {
        self.full() + (16 * (self.stages + consumer)) as i32
    }
    pub fn word(&self) -> i32 {
        self.turn(0) + 8
    }
    /// Multiplies of a slice along a tile's k.
    pub fn steps(&self) -> u32 {
        self.a_bytes_of_k() / 32
    }
    /// Columns of a multiply.
    pub fn depth(&self) -> u32 {
        self.tile.k / self.steps()
    }
    /// Metadata words of a thread for a tile of k and a slice: with 16 bits one feeds two multiplies, one
    /// by each selector; with 8 bits each has its own.
    pub fn meta_words(&self) -> u32 {
        match (self.sparse, self.bytes()) {
            (false, _) => 0,
            (true, 1) => self.steps(),
            (true, _) => self.steps() / 2,
        }
    }
    /// Where step `step` of slice `slice` begins in A, for the first consumer, and the step in B, from the
    /// stage's first byte.
    pub fn operands(&self, slice: u32, step: u32) -> (u32, u32) {
        let a = 32 * step;
        let b = if self.sparse { 2 * a } else { a };
        let in_a = match self.a_row {
            0 => 0,
            row => a / row * self.a_box_bytes() + 64 * slice * row + a % row,
        };
        (in_a, self.b_offset() + b / ROW * self.b_box_bytes() + b % ROW)
    }
    /// The constant bits, low word and high, of a descriptor of rows of so many bytes (9.7.15.5.1.2): the leading offset is
    /// not used by swizzled K-major operands, 1; the stride, eight rows; the swizzle, one row wide.
    pub fn descriptor(&self, row: u32) -> [u32; 2] {
        let swizzle: u32 = match row {
            128 => 1,
            64 => 2,
            _ => 3,
        };
        [1 << 16, (swizzle << 30) | (8 * row / 16)]
    }
    pub fn element(&self) -> Element {
        Element { dtype: self.dtype }
    }
    /// Tokens of a piece of Y: 64 features × 4 KiB.
    pub fn piece_tokens(&self, f32: bool) -> u32 {
        STORE_PIECE / 64 / if f32 { 4 } else { 2 }
    }
    /// Pieces of Y that a consumer stores, slice by slice.
    pub fn pieces(&self, f32: bool) -> u32 {
        self.slices() * self.tile.n / self.piece_tokens(f32)
    }
    /// Pieces of the residual that a stage brings to each of a tile's owners.
    pub fn residual_pieces(&self, f32: bool) -> u32 {
        let fit = self.stage_bytes() / STORE_PIECE / self.form.owners();
        self.pieces(f32).min(1 << fit.max(1).ilog2())
    }
    /// Stages that bring the residual.
    pub fn residual_stages(&self, f32: bool) -> u32 {
        self.pieces(f32) / self.residual_pieces(f32)
    }
}

/// What the generator makes: everything in whole boxes, slices and pieces.
pub(super) fn accepts(g: &Geometry) -> bool {
    let Tile { m, n, k } = g.tile;
    let powers = [m, n, k, g.cluster()].iter().all(|size| size.is_power_of_two());
    powers
        && (64..=256).contains(&m)
        && (64..=256).contains(&n)
        && g.cluster() <= 8
        && g.slices() > 0
        && g.slices() * g.accumulators() <= 128
        && [128, 256].contains(&g.bytes_of_k())
        && (!g.in_registers() || g.sparse && g.bytes() == 2 && k == 64)
        && n / g.cluster() >= 8
        && g.stages >= 2
        && g.stages.is_multiple_of(Supply::count(g))
        // items begin between two blocks of metadata: at even stages
        && [g.stages, g.residual_stages(false), g.residual_stages(true)]
            .iter()
            .all(|stages| stages.is_multiple_of(g.whole_blocks))
        // by turns, the residual is waited for while the last tile of k still has its stage
        && g.residual_stages(true) + u32::from(g.by_turns()) <= g.stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_kernels::{KERNELS, Target};

    #[test]
    fn rows_of_the_table_fit_the_generator() {
        for spec in KERNELS.iter().filter(|s| s.target == Target::Sm90a) {
            let g = Geometry::new(spec).expect("a row of sm_90a is of this form");
            assert!(accepts(&g), "{spec}");
            assert!(
                g.a_box_bytes().is_multiple_of(1024) && g.b_box_bytes().is_multiple_of(1024),
                "{spec}"
            );
            assert!(
                g.turn(Wgmma::CONSUMERS) as u32 <= spec.shared_bytes(),
                "{spec}: the plan's map"
            );
            for f32 in [false, true] {
                let bytes = g.residual_pieces(f32) * STORE_PIECE * g.form.owners();
                assert!(bytes <= g.stage_bytes(), "{spec}");
            }
        }
    }
}
