//! A tile that was cut along k: each part's sums go to the workspace, and who comes last adds them all,
//! in the order of k, and goes on to Y. Nobody waits for anybody.
//!
//! No fence is needed: the warpgroup's barrier orders all its sums before the leader's atom, that one
//! releases them to the device and acquires those of the parts before it, and the next barrier hands
//! them to the other threads (causality order is transitive, ISA chapter 8).

use super::consumer::{Consumer, Sums};
use super::output::Output;
use crate::ptx::mma::Four;
use quickpick_ptx::{B32, B64, Class, Cmp, Int, Kernel, Pred, Reg, Vector};

pub(super) fn emit(k: &mut Kernel, c: &Consumer, output: &Output) {
    let (g, block) = (c.g(), c.block);
    let items = &block.items;
    let leave = k.reg::<Pred>("not_last");
    k.section("parts of a tile: the sums go to the workspace, and the last part goes on");
    k.unless(items.part).bra_uni("summed");
    let tile_bytes = 4 * g.tile.m * g.tile.n;
    let slot_bytes = tile_bytes * g.cluster();
    let [base, own, counter] = ["workspace_base", "own_part", "counter"].map(|r| k.reg::<B64>(r));
    let [slot, offset] = ["slot", "part_offset"].map(|r| k.reg::<B32>(r));
    k.ld_param_u64(base, block.params.workspace).cvta_to_global(base, base);
    k.note("slot group + tile, then the block's; 16 bytes of each thread in turn");
    k.mul_lo_u32(offset, c.thread, 16);
    if !g.by_turns() {
        k.mad_lo_u32(offset, c.number, tile_bytes / g.form.owners(), offset);
    }
    let rank = items.rank(k, g);
    k.mad_lo_u32(offset, rank, tile_bytes, offset);
    let ([group, groups], [split, share]) = (items.groups(k, g), items.cut(k));
    k.add_u32(slot, group, items.tile).cvt_u64_u32(own, offset).add_u64(own, own, base);
    let first = k.reg::<B64>("first_part");
    k.mov_b64(first, own).mad_wide(Int::U32, own, slot, slot_bytes, own);
    let fours = fours(c);
    fours.iter().for_each(|&(at, four)| four.store(k, own.at(at)));

    k.note("the tile's counter, behind all slots");
    k.add_u32(slot, groups, split).mad_wide(Int::U32, counter, slot, slot_bytes, base);
    k.mad_lo_u32(slot, items.tile, g.cluster(), rank).shl_b32(slot, slot, 1);
    if !g.by_turns() {
        k.add_u32(slot, slot, c.number);
    }
    k.mad_wide(Int::U32, counter, slot, 4, counter);
    let [arrived, from, to, word] =
        ["arrived", "first_group", "last_group", "word_at"].map(|r| k.reg::<B32>(r));
    k.mad_lo_u32(word, c.number, 16, block.smem);
    c.meet(k);
    k.when(c.leader).atom_add_acq_rel(arrived, counter, 1);
    k.when(c.leader).st_shared_b32(word.at(g.word()), arrived);
    c.meet(k);
    k.ld_shared_b32(arrived, word.at(g.word()));
    k.note(
        "groups hold shares in order: from that of the tile's first tile of k to that of its last",
    );
    let tiles_of_k = items.tiles_of_k(k, g);
    k.mul_lo_u32(from, items.tile, tiles_of_k).add_u32(to, from, tiles_of_k);
    k.sub_u32(to, to, 1).div_u32(to, to, share).div_u32(from, from, share);
    k.sub_u32(to, to, from).setp(Cmp::Eq, Int::U32, leave, arrived, to);
    k.when(leave).bra_uni("last_part");
    output.forgo_residual(k, c);
    k.bra_uni("item").place("last_part");
    let none = k.reg::<B32>("none_arrived");
    k.note("ready for the next launch");
    k.mov_b32(none, 0).when(c.leader).st_global_b32(counter, none);

    k.note("in the order of k");
    let (more, next, left) =
        (k.reg::<Pred>("more_parts"), k.reg::<B64>("next_part"), k.reg("parts_left"));
    k.add_u32(from, from, items.tile).mad_wide(Int::U32, first, from, slot_bytes, first);
    for (i, fours) in fours.chunks(AT_ONCE).enumerate() {
        let again = format!("add_part_{i}");
        k.mov_b64(next, first).mov_b32(left, to);
        fours.iter().for_each(|&(at, four)| four.load(k, next.at(at)));
        k.place(again.as_str()).add_u64(next, next, i64::from(slot_bytes));
        for &(at, four) in fours {
            let part = four.scratch(k, "part");
            part.load(k, next.at(at));
            four.add(k, part);
        }
        k.sub_u32(left, left, 1).setp(Cmp::Ne, Int::U32, more, left, 0);
        k.when(more).bra_uni(again.as_str());
    }
    k.place("summed");
}

/// Loads of four sums that are on their way at once: with all of them ptxas runs out of registers.
const AT_ONCE: usize = 8;

/// All of a thread's sums by fours, with their offset.
fn fours(c: &Consumer) -> Vec<(i32, Four)> {
    fn by_four<C: Class>(all: &[Vec<Reg<C>>]) -> Vec<Vector<C, 4>> {
        let flat: Vec<_> = all.iter().flatten().copied().collect();
        flat.chunks_exact(4).map(|four| Vector(std::array::from_fn(|e| four[e]))).collect()
    }
    let fours: Vec<Four> = match &c.sums {
        Sums::F32(all) => by_four(all).into_iter().map(Four::F32).collect(),
        Sums::S32(all) => by_four(all).into_iter().map(Four::S32).collect(),
    };
    (0..).step_by(2048).zip(fours).collect()
}
