//! A consumer warpgroup: tile after tile of k it waits for the stage's bytes, starts the multiplies,
//! and, once the tile before is done, frees that one's stage. One tile's multiplies are always on
//! their way while the next one's are started (`wait_group 1`).
//!
//! Metadata come straight to registers, a tile ahead: a word of a thread feeds two multiplies, one by
//! each selector, so that 128 columns cost one load of 8 bytes.

use super::Block;
use super::geometry::Geometry;
use crate::ptx::params::Params;
use quickpick_ptx::{
    Arg, B32, B64, Cache, Cmp, F32, Imm, Imms, Inst, Int, Kernel, Pred, Reg, Satfinite, Type,
    Vector, WgmmaShape,
};

/// Columns of k in a block of metadata, and those that a word of a thread serves.
const META_COLUMNS: u32 = 128;
const META_STEP: u32 = 64;

/// A warpgroup's registers.
struct Consumer<'a> {
    g: &'a Geometry,
    acc: Vec<Reg<F32>>,
    /// Descriptors of the warpgroup's rows of A and of B in stage 0.
    a: Reg<B64>,
    b: Reg<B64>,
    a_now: Reg<B64>,
    b_now: Reg<B64>,
    /// Whether D is added to: not by the first multiply.
    accumulate: Reg<Pred>,
    /// Each stage's metadata, a word for 64 columns.
    meta: Vec<Vec<Reg<B32>>>,
    meta_at: Reg<B64>,
}

/// Emits the loop; behind it the accumulators are complete and the stages are free.
pub(super) fn emit(k: &mut Kernel, block: &Block, params: &Params) -> Vec<Reg<F32>> {
    let g = &block.g;
    let c = Consumer::new(k, block, params);
    let (left, parity, lane) =
        (k.reg::<B32>("tiles_left"), k.reg::<B32>("full_parity"), k.reg::<B32>("lane"));
    let (full, leader) = (k.reg::<Pred>("is_full"), k.reg::<Pred>("leader"));
    let (last, later) = (k.reg::<Pred>("last_tile"), k.reg::<Pred>("later_leader"));
    k.mov_b32(left, block.tiles).mov_b32(parity, 0);
    k.and_b32(lane, block.thread, 31).setp(Cmp::Eq, Int::U32, leader, lane, 0);
    k.setp(Cmp::Ne, Int::U32, c.accumulate, lane, lane);
    c.load_meta(k, 0);
    k.section(format!("main loop: {} tiles a trip", g.stages));
    k.place("trip");
    for stage in 0..g.stages {
        let wait = format!("wait{stage}");
        k.note(format!("stage {stage}"));
        k.setp(Cmp::Le, Int::U32, last, left, stage + 1);
        k.place(wait.as_str()).mbarrier_try_wait(full, block.smem.at(g.full(stage)), parity);
        k.unless(full).bra(wait.as_str());
        c.multiply(k, stage);
        if stage == 0 {
            k.note("the tile before is done, but before the first there is none");
            k.setp(Cmp::Ne, Int::U32, later, left, block.tiles).and_pred(later, later, leader);
        }
        k.wgmma_wait(1);
        let before = (stage + g.stages - 1) % g.stages;
        k.when(if stage == 0 { later } else { leader })
            .mbarrier_arrive(block.smem.at(g.free(before)));
        k.when(last).bra("multiplied");
        c.load_meta(k, (stage + 1) % g.stages);
    }
    k.sub_u32(left, left, g.stages).xor_b32(parity, parity, 1);
    k.bra("trip");
    k.place("multiplied").wgmma_wait(0);
    k.note("all have read the stages before they hold Y");
    k.bar_sync_count(1, g.consumers() * 128);
    c.acc
}

impl<'a> Consumer<'a> {
    fn new(k: &mut Kernel, block: &'a Block, params: &Params) -> Self {
        let g = &block.g;
        let c = Self {
            g,
            acc: k.reg_list("acc", (g.tile.n / 2) as usize),
            a: k.reg("a_desc"),
            b: k.reg("b_desc"),
            a_now: k.reg("a_desc_now"),
            b_now: k.reg("b_desc_now"),
            accumulate: k.reg("accumulate"),
            meta: (0..if g.sparse { g.stages } else { 0 })
                .map(|i| {
                    k.reg_list(&format!("meta_{}", letter(i)), (g.tile.k / META_STEP) as usize)
                })
                .collect(),
            meta_at: k.reg("meta_at"),
        };
        let (group, word) = (k.reg::<B32>("warpgroup"), k.reg::<B32>("desc_word"));
        k.note("descriptors in stage 0: bits 13:0 are the address / 16");
        k.shr(Int::U32, group, block.thread, 7);
        k.mad_lo_u32(word, group, 64 * g.a_row, block.smem).shr(Int::U32, word, word, 4);
        k.cvt_u64_u32(c.a, word).add_u64(c.a, c.a, g.descriptor(g.a_row));
        k.shr(Int::U32, word, block.smem, 4);
        k.cvt_u64_u32(c.b, word).add_u64(c.b, c.b, g.descriptor(128));
        if let Some(metadata) = params.metadata {
            c.locate_meta(k, block, params, metadata);
        }
        c
    }

    /// Where the thread's metadata begin: blocks of 16 rows × 128 columns, 8 bytes for each lane of the
    /// warp whose rows they are. Rows beyond the last block have zero values: any metadata will do.
    fn locate_meta(
        &self,
        k: &mut Kernel,
        block: &Block,
        params: &Params,
        metadata: quickpick_ptx::ParamName,
    ) {
        let (row, most, blocks, lane) = (
            k.reg::<B32>("row_block"),
            k.reg::<B32>("last_row_block"),
            k.reg::<B32>("meta_blocks"),
            k.reg::<B32>("meta_lane"),
        );
        k.note(
            "the warp's block of 16 rows; m is padded to 64, and rows beyond repeat the last block",
        );
        k.shr(Int::U32, row, block.thread, 5);
        k.shr(Int::U32, lane, block.place.m, 4).add_u32(row, row, lane);
        k.ld_param_u32(most, params.m).add_u32(most, most, 63).shr(Int::U32, most, most, 6);
        k.shl_b32(most, most, 2).sub_u32(most, most, 1).min(Int::U32, row, row, most);
        k.ld_param_u32(blocks, params.k).add_u32(blocks, blocks, META_COLUMNS - 1);
        k.shr(Int::U32, blocks, blocks, META_COLUMNS.ilog2()).mul_lo_u32(row, row, blocks);
        k.and_b32(lane, block.thread, 31);
        k.mad_lo_u32(row, row, 32, lane);
        k.ld_param_u64(self.meta_at, metadata).cvta_to_global(self.meta_at, self.meta_at);
        k.mad_wide(Int::U32, self.meta_at, row, 8, self.meta_at);
    }

    /// The next tile's metadata, if there is one.
    fn load_meta(&self, k: &mut Kernel, stage: u32) {
        match self.meta.get(stage as usize).map(Vec::as_slice) {
            None => {}
            Some(&[low, high]) => {
                k.ld_global_v2_b32(Cache::NcOnce, Vector([low, high]), self.meta_at);
                k.add_u64(self.meta_at, self.meta_at, 8 * 32);
            }
            // half of the columns, and with them half of the 8 bytes: stages are even in number
            Some(words) => {
                let odd = stage % 2;
                for &word in words {
                    k.ld_global_b32(Cache::Nc, word, self.meta_at.at(4 * odd as i32));
                }
                if odd == 1 {
                    k.add_u64(self.meta_at, self.meta_at, 8 * 32);
                }
            }
        }
    }

    /// Starts a tile's multiplies.
    fn multiply(&self, k: &mut Kernel, stage: u32) {
        let g = self.g;
        // metadata have come to registers; and without one ptxas 12.9 puts its own before each tile
        k.wgmma_fence();
        for step in 0..g.steps() {
            let (a, b) = g.operands(step);
            let at = |offset: u32| i64::from((stage * g.stage_bytes() + offset) / 16);
            k.add_u64(self.a_now, self.a, at(a)).add_u64(self.b_now, self.b, at(b));
            k.inst(self.wgmma(stage, step));
            if stage == 0 && step == 0 {
                k.setp_u64(Cmp::Eq, self.accumulate, self.a, self.a);
            }
        }
        k.wgmma_commit();
    }

    fn wgmma(&self, stage: u32, step: u32) -> Inst {
        let (g, ty) = (self.g, self.g.element());
        let shape = WgmmaShape { n: g.tile.n as u16, k: g.depth() as u16 };
        let d = Arg::Vector(self.acc.iter().map(|r| (*r).into()).collect());
        let (a, b, scale) = (self.a_now.into(), self.b_now.into(), self.accumulate.into());
        // both as they are, and K-major
        let imms = Imms(vec![1, 1, 0, 0]);
        let (sat, dty) = (Satfinite::No, Type::F32);
        match self.meta.get(stage as usize) {
            None => Inst::Wgmma { shape, sat, dty, aty: ty, bty: ty, d, a, b, scale, imms },
            Some(meta) => {
                let (meta, selector) = (meta[step as usize / 2].into(), Imm(step % 2));
                Inst::WgmmaSp {
                    shape,
                    sat,
                    dty,
                    aty: ty,
                    bty: ty,
                    d,
                    a,
                    b,
                    meta,
                    selector,
                    scale,
                    imms,
                }
            }
        }
    }
}

/// Roles end in no digit.
fn letter(i: u32) -> char {
    char::from(b'a' + (i % 26) as u8)
}
