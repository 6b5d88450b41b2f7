//! The producer: for each tile of k of each item it waits until a stage is free, and starts the copies of
//! its boxes; then those of the residual, by pieces.

use super::geometry::{Geometry, ROW};
use super::ring::Ring;
use super::{Block, map_address};
use crate::ptx::epilogue::{OUT_F32, RESIDUAL, TRANSPOSED, flag};
use quickpick_kernels::Values;
use quickpick_kernels::plan::STORE_PIECE;
use quickpick_ptx::{Addr, B16, B32, B64, Cmp, Int, Kernel, Pred, Reg, Vector};

struct Producer<'a> {
    g: &'a Geometry,
    block: &'a Block,
    ring: Ring,
    /// Where the maps lie.
    values: Option<Reg<B64>>,
    x: Reg<B64>,
    residual: Reg<B64>,
    /// All blocks of the cluster, which get this one's part of X; where that part goes.
    everyone: Option<(Reg<B16>, Reg<B32>)>,
    /// The shared memory of each other block of the cluster, less this one's.
    others: Vec<Reg<B32>>,
}

pub(super) fn emit(k: &mut Kernel, block: &Block) {
    let g = &block.g;
    let other = k.reg::<Pred>("other_thread");
    k.setp(Cmp::Ne, Int::U32, other, block.thread, 128 * quickpick_kernels::Wgmma::CONSUMERS);
    k.when(other).bra("end");
    let values = block.maps.values.map(|map| map_address(k, "map_values_at", map));
    let x = map_address(k, "map_x_at", block.maps.x);
    let residual = map_address(k, "map_residual_at", block.maps.residual);
    let ring = Ring::new(k, g, block.smem, "copy", 1);
    let everyone = (g.cluster() > 1).then(|| {
        let (mask, word, part) = (k.reg("everyone"), k.reg("everyone_word"), k.reg("part_at"));
        k.note("each block of the cluster brings its part of X's rows to all");
        k.mov_b32(word, (1u32 << g.cluster()) - 1).cvt_u16_u32(mask, word);
        (mask, part)
    });
    let others = (g.cluster() > 1).then(|| {
        let (rank, others) =
            (block.items.rank(k, g), k.reg_list("other_block", g.cluster() as usize - 1));
        for (number, &other) in (1..).zip(&others) {
            k.xor_b32(other, rank, number).mapa(other, block.smem, other);
            k.sub_u32(other, other, block.smem);
        }
        others
    });
    let others = others.unwrap_or_default();
    let has_residual = k.reg::<Pred>("copies_residual");
    let (flags, bit) = (k.reg("copy_flags"), k.reg("copy_flag"));
    k.ld_param_u32(flags, block.params.flags);
    k.and_b32(bit, flags, RESIDUAL).setp(Cmp::Ne, Int::U32, has_residual, bit, 0);
    let is_f32 = flag(k, "copies_f32", flags, OUT_F32, bit);
    let transposed = flag(k, "copies_transposed", flags, TRANSPOSED, bit);
    let p = Producer { g, block, ring, values, x, residual, everyone, others };
    k.place("copy_item");
    block.items.take(k, g, "copy", "end");
    p.tiles_of_k(k);
    k.unless(has_residual).bra("copy_item");
    k.unless(is_f32).bra("copy_residual_half");
    p.residual(k, true, transposed);
    k.bra("copy_item").place("copy_residual_half");
    p.residual(k, false, transposed);
    k.bra("copy_item");
}

impl Producer<'_> {
    /// Waits until the stage is free, and tells it how many bytes are to come. In a cluster all producers
    /// tell all of its blocks: a consumer that finds a stage full, and will tell all blocks that it has read
    /// it, thus knows that what was in that stage of theirs has been read too.
    fn stage(&self, k: &mut Kernel, label: &str, bytes: u32) -> Addr<B32> {
        let (g, ring) = (self.g, &self.ring);
        ring.wait(k, label, g.free(), g.cluster() > 1);
        let full = ring.barrier.at(g.full());
        k.mbarrier_arrive_expect_tx(full, bytes);
        for &other in &self.others {
            let there = k.scratch("full_there");
            k.add_u32(there, ring.barrier, other).mbarrier_arrive_cluster(there.at(g.full()));
        }
        full
    }

    fn tiles_of_k(&self, k: &mut Kernel) {
        let (g, items, ring) = (self.g, &self.block.items, &self.ring);
        let left = k.reg::<B32>("copies_left");
        let (of_a, of_b): (Vector<B32, 2>, Vector<B32, 2>) = (k.regs("a_box"), k.regs("b_box"));
        let more = k.reg::<Pred>("more_copies");
        let columns = ROW / g.bytes();
        k.mov_b32(left, items.count);
        k.mul_lo_u32(of_b[0], items.first, g.tile.k).mov_b32(of_b[1], items.place.n);
        if let Some((_, part)) = self.everyone {
            let rows = g.tile.n / g.cluster();
            let rank = items.rank(k, g);
            k.mad_lo_u32(of_b[1], rank, rows, of_b[1]).mul_lo_u32(part, rank, rows * ROW);
        }
        if g.form.values == Values::Shared {
            k.mov_b32(of_a[1], items.place.m);
            match g.sparse {
                true => k.shr(Int::U32, of_a[0], of_b[0], 1),
                false => k.mov_b32(of_a[0], of_b[0]),
            };
        }
        k.place("copy_tile");
        let full = self.stage(k, "copy_wait", g.stage_bytes());
        if let Some(values) = self.values {
            for i in 0..g.a_boxes() {
                k.tensor_load_2d(ring.at.at((i * g.a_box_bytes()) as i32), values, of_a, full);
                k.add_u32(of_a[0], of_a[0], g.a_row / g.bytes());
            }
        }
        let to = match self.everyone {
            Some((_, part)) => {
                let to = k.reg("b_at");
                k.add_u32(to, ring.at, part);
                to
            }
            None => ring.at,
        };
        for i in 0..g.b_boxes() {
            let to = to.at((g.b_offset() + i * g.b_box_bytes()) as i32);
            match self.everyone {
                Some((mask, _)) => k.tensor_load_2d_multicast(to, self.x, of_b, full, mask),
                None => k.tensor_load_2d(to, self.x, of_b, full),
            };
            k.add_u32(of_b[0], of_b[0], columns);
        }
        ring.advance(k);
        k.sub_u32(left, left, 1).setp(Cmp::Ne, Int::U32, more, left, 0);
        k.when(more).bra("copy_tile");
    }

    /// Pieces of 64 features, for each owner of the tile; those past m or n are zeros.
    fn residual(&self, k: &mut Kernel, f32: bool, transposed: Reg<Pred>) {
        let (g, items, ring) = (self.g, &self.block.items, &self.ring);
        let (owners, pieces) = (g.form.owners(), g.residual_pieces(f32));
        let per_slice = g.tile.n / g.piece_tokens(f32);
        let name = |what: &str| format!("copy_{what}_{}", if f32 { "f32" } else { "half" });
        k.note(format!("the residual: {} stages", g.residual_stages(f32)));
        let at: Vector<B32, 2> = k.scratches("residual_box");
        let across: Vector<B32, 2> = Vector([at[1], at[0]]);
        for stage in 0..g.residual_stages(f32) {
            let label = format!("{}_{stage}", name("free"));
            let full = self.stage(k, &label, owners * pieces * STORE_PIECE);
            for owner in 0..owners {
                for piece in 0..pieces {
                    let number = stage * pieces + piece;
                    let (slice, part) = (number / per_slice, number % per_slice);
                    k.add_u32(at[0], items.place.m, 64 * (owner * g.slices() + slice));
                    k.add_u32(at[1], items.place.n, part * g.piece_tokens(f32));
                    let to = ((owner * pieces + piece) * STORE_PIECE) as i32;
                    k.when(transposed).tensor_load_2d(ring.at.at(to), self.residual, across, full);
                    k.unless(transposed).tensor_load_2d(ring.at.at(to), self.residual, at, full);
                    if f32 {
                        k.add_u32(at[0], at[0], 32);
                        let to = ring.at.at(to + STORE_PIECE as i32 / 2);
                        k.unless(transposed).tensor_load_2d(to, self.residual, at, full);
                    }
                }
            }
            ring.advance(k);
        }
    }
}
