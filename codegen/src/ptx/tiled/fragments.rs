//! Shared memory to registers to the tensor units.
//!
//! Lane = 4g + t. The A registers of m16n8k32 (compressed) and m16n8k16 alike are four 8×8 matrices,
//! rows g and g + 8, columns 0–7 and 8–15: one `ldmatrix.x4`. The B registers of an n-tile are 8×8
//! matrices along k, four for k32 and two for k16: one `ldmatrix.x4` gives a k32 n-tile, or two k16
//! ones. A row of 16 bytes of metadata holds the words of lanes 4g..4g+3, so `ldmatrix` loads those,
//! too: lanes t = 0, 1 get the words of an even m-tile (selector 0), t = 2, 3 those of the odd one
//! after it (selector 1). Of 8-bit types they get all those of one m-tile. PTX ISA 9.7.14.5.8, 9.7.14.6.3.

use super::geometry::{Geometry, RING};
use crate::ptx::mma::Accumulators;
use crate::ptx::pieces::swizzled;
use quickpick_ptx::{B32, Int, Kernel, Reg, Special, Trans, Vector};

pub(super) struct Fragments {
    g: Geometry,
    /// `m_tiles × n_tiles`, n innermost.
    pub acc: Accumulators,
    /// A of even and of odd steps: 4 for each m-tile.
    a: [Vec<Reg<B32>>; 2],
    /// The ring of B slices: 4 for each.
    b: Vec<Reg<B32>>,
    /// Metadata of each step.
    meta: Vec<Reg<B32>>,
    /// This lane's rows for `ldmatrix`, in each step of stage 0.
    a_at: Vec<Reg<B32>>,
    b_at: Vec<Reg<B32>>,
    meta_at: Option<Reg<B32>>,
}

impl Fragments {
    /// Computes the addresses of this lane's rows, and clears the accumulators.
    pub fn new(k: &mut Kernel, g: &Geometry, smem: Reg<B32>) -> Self {
        let steps = g.steps as usize;
        let f = Self {
            g: *g,
            acc: Accumulators::new(k, g.element, g.m_tiles * g.n_tiles),
            a: ["a_even", "a_odd"].map(|role| k.reg_list(role, 4 * g.m_tiles as usize)),
            b: k.reg_list("b", 4 * RING as usize),
            meta: if g.sparse {
                k.reg_list("meta", steps * g.metas() as usize)
            } else {
                Vec::new()
            },
            a_at: k.reg_list("a_at", steps),
            b_at: k.reg_list("b_at", steps),
            meta_at: g.sparse.then(|| k.reg("meta_at")),
        };
        let (lane, warp) = (k.reg("lane"), k.reg("warp"));
        let (warp_m, warp_n) = (k.reg("warp_m"), k.reg("warp_n"));
        let (row, piece) = (k.reg("lane_row"), k.reg("lane_piece"));
        k.section("the rows that this lane names to ldmatrix");
        k.mov_special(lane, Special::TidX);
        k.shr(Int::U32, warp, lane, 5).and_b32(lane, lane, 31);
        k.and_b32(warp_m, warp, g.warps.0 - 1).shr(Int::U32, warp_n, warp, g.warps.0.ilog2());
        k.note("A: matrices (rows 0–7, 8–15) × (pieces 0, 1)");
        k.and_b32(row, lane, 15).shr(Int::U32, piece, lane, 4);
        k.mad_lo_u32(row, warp_m, 16 * g.m_tiles, row);
        swizzled(k, f.a_at[0], smem, row, piece, g.a_row);
        if g.sparse {
            k.note("B: matrices rows 0–7 × pieces 0–3");
            k.and_b32(row, lane, 7).shr(Int::U32, piece, lane, 3);
        } else {
            k.note("B: matrices (pieces 0, 1) × (rows 0–7, 8–15)");
            k.shr(Int::U32, row, lane, 4).shl_b32(row, row, 3).bfe_u32(piece, lane, 3, 1);
            k.and_b32(f.b_at[0], lane, 7).add_u32(row, row, f.b_at[0]);
        }
        k.mad_lo_u32(row, warp_n, 8 * g.n_tiles, row);
        swizzled(k, f.b_at[0], smem, row, piece, g.b_row);
        k.add_u32(f.b_at[0], f.b_at[0], g.b_offset());
        if let Some(at) = f.meta_at {
            k.note(match g.element.selectors() {
                1 => "metadata: a matrix for each m-tile",
                _ => "metadata: a matrix for each pair of m-tiles",
            });
            k.and_b32(at, lane, 8 * g.metas() - 1).shl_b32(at, at, 4);
            k.mad_lo_u32(at, warp_m, g.words() * 4 * 16 * g.m_tiles, at).add_u32(at, at, smem);
            k.add_u32(at, at, g.meta_offset());
        }
        k.note("a step further on, the piece's number differs in the bits above");
        let (a_step, b_step) = (32, g.b_row / g.steps);
        for step in 1..g.steps {
            k.xor_b32(f.a_at[step as usize], f.a_at[0], step * a_step);
            k.xor_b32(f.b_at[step as usize], f.b_at[0], step * b_step);
        }
        k.note("the accumulators");
        f.acc.clear(k);
        f
    }

    fn stage(&self, stage: u32) -> u32 {
        stage * self.g.stage_bytes()
    }

    /// A of m-tile i.
    pub fn load_a(&self, k: &mut Kernel, stage: u32, step: u32, i: u32) {
        let at = self.a_at[step as usize].at((self.stage(stage) + 16 * i * self.g.a_row) as i32);
        k.ldmatrix_x4(Trans::No, self.a(step, i), at);
    }

    /// A slice of B; slices count through the tile's steps.
    pub fn load_b(&self, k: &mut Kernel, stage: u32, slice: u32) {
        let (step, at) = (slice / self.g.slices(), slice % self.g.slices());
        let offset = self.stage(stage) + 8 * at * self.g.slice * self.g.b_row;
        let at = self.b_at[step as usize].at(offset as i32);
        k.ldmatrix_x4(Trans::No, four(&self.b, slice % RING), at);
    }

    /// A step's metadata; nothing if dense.
    pub fn load_meta(&self, k: &mut Kernel, stage: u32, step: u32) {
        let Some(at) = self.meta_at else { return };
        let at = at.at((self.stage(stage) + step * self.g.slab_bytes()) as i32);
        match *self.metas(step) {
            [one] => k.ldmatrix_x1(Trans::No, [one], at),
            [one, two] => k.ldmatrix_x2(Trans::No, [one, two], at),
            [one, two, three, four] => k.ldmatrix_x4(Trans::No, [one, two, three, four], at),
            _ => k,
        };
    }

    /// The MMAs of a slice of B with every m-tile.
    pub fn multiply(&self, k: &mut Kernel, slice: u32) {
        let g = &self.g;
        let (step, first) = (slice / g.slices(), slice % g.slices() * g.slice);
        let b = four(&self.b, slice % RING);
        for j in 0..g.slice {
            for i in 0..g.m_tiles {
                // there and back, so that successive MMAs share an operand
                let i = if j % 2 == 0 { i } else { g.m_tiles - 1 - i };
                let (tile, a) = (i * g.n_tiles + first + j, self.a(step, i));
                if g.sparse {
                    let selectors = g.element.selectors();
                    let meta = self.metas(step)[(i / selectors) as usize];
                    self.acc.multiply_sparse(k, tile, a, b, (meta, i % selectors));
                } else {
                    let b = if j == 0 { [b[0], b[1]] } else { [b[2], b[3]] };
                    self.acc.multiply(k, tile, a, b);
                }
            }
        }
    }

    fn metas(&self, step: u32) -> &[Reg<B32>] {
        let metas = self.g.metas();
        &self.meta[(step * metas) as usize..][..metas as usize]
    }

    fn a(&self, step: u32, i: u32) -> Vector<B32, 4> {
        four(&self.a[step as usize % 2], i)
    }
}

/// The i-th four of the registers.
fn four<C: quickpick_ptx::Class>(regs: &[Reg<C>], i: u32) -> Vector<C, 4> {
    Vector(std::array::from_fn(|c| regs[4 * i as usize + c]))
}
