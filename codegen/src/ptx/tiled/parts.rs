//! A tile whose k is shared by several blocks: each one's sums go to the workspace, and who comes last adds
//! them all, in the order of k, and goes on to Y. Nobody waits for anybody.
//!
//! No fence is needed: `bar.sync` orders all sums of the block before the leader's atom, that one releases
//! them to the device and acquires those of the blocks before it, and the next `bar.sync` hands them to the
//! other threads (causality order is transitive, ISA chapter 8).

use super::geometry::Geometry;
use crate::ptx::mma::Accumulators;
use quickpick_ptx::{B32, B64, Cmp, Int, Kernel, ParamName, Pred, Reg, Special};

/// Loads of four sums that are on their way at once.
const AT_ONCE: usize = 8;

pub(super) fn emit(
    k: &mut Kernel,
    g: &Geometry,
    workspace: ParamName,
    acc: &Accumulators,
    smem: Reg<B32>,
) {
    let (single, leave) = (k.reg::<Pred>("single"), k.reg::<Pred>("not_last"));
    let [parts, tile, slot, thread] =
        ["parts", "tile_number", "slot", "part_thread"].map(|role| k.reg::<B32>(role));
    k.section("parts of a tile along k: the sums go to the workspace, and the last block goes on");
    k.mov_special(parts, Special::NctaidZ).setp(Cmp::Eq, Int::U32, single, parts, 1);
    k.when(single).bra_uni("summed");
    let tile_bytes = 4 * g.tile.m * g.tile.n;
    let [base, own, counter] = ["workspace_base", "own_part", "counter"].map(|r| k.reg::<B64>(r));
    let [across, tiles] = ["tiles_across", "tiles"].map(|role| k.reg::<B32>(role));
    k.mov_special(tile, Special::CtaidY).mov_special(across, Special::NctaidX);
    k.mov_special(slot, Special::CtaidX).mad_lo_u32(tile, tile, across, slot);
    k.mov_special(tiles, Special::NctaidY).mul_lo_u32(tiles, tiles, across);
    k.note("slots [tile, part], 16 bytes of each thread in turn; then a counter for each tile");
    k.ld_param_u64(base, workspace).cvta_to_global(base, base);
    k.mul_lo_u32(slot, tiles, parts).mad_wide(Int::U32, counter, slot, tile_bytes, base);
    k.mad_wide(Int::U32, counter, tile, 4, counter);
    k.mov_special(thread, Special::TidX).mad_wide(Int::U32, base, thread, 16, base);
    k.mul_lo_u32(slot, tile, parts).mad_wide(Int::U32, base, slot, tile_bytes, base);
    k.mov_special(slot, Special::CtaidZ).mad_wide(Int::U32, own, slot, tile_bytes, base);
    let step = 16 * g.threads();
    let at = |i: usize| (step * i as u32) as i32;
    let fours: Vec<_> = acc.fours().into_iter().enumerate().collect();
    for &(i, four) in &fours {
        four.store(k, own.at(at(i)));
    }
    let (leader, arrived) = (k.reg("leader"), k.reg::<B32>("arrived"));
    k.setp(Cmp::Eq, Int::U32, leader, thread, 0).bar_sync(0);
    k.when(leader).atom_add_acq_rel(arrived, counter, 1);
    k.when(leader).st_shared_b32(smem, arrived).bar_sync(0).ld_shared_b32(arrived, smem);
    k.sub_u32(parts, parts, 1).setp(Cmp::Ne, Int::U32, leave, arrived, parts);
    k.when(leave).ret();
    let none = k.reg::<B32>("none_arrived");
    k.note("ready for the next launch");
    k.mov_b32(none, 0).when(leader).st_global_b32(counter, none);

    k.note("in the order of k");
    let (more, next, left) =
        (k.reg::<Pred>("more_parts"), k.reg::<B64>("next_part"), k.reg::<B32>("parts_left"));
    for (chunk, fours) in fours.chunks(AT_ONCE).enumerate() {
        let again = format!("add_part_{chunk}");
        k.mov_b64(next, base).mov_b32(left, parts);
        fours.iter().for_each(|&(i, four)| four.load(k, next.at(at(i))));
        k.place(again.as_str()).add_u64(next, next, i64::from(tile_bytes));
        let roles = (b'a'..).map(|letter| format!("part_{}_", char::from(letter)));
        let found: Vec<_> =
            fours.iter().zip(roles).map(|((_, four), role)| four.scratch(k, &role)).collect();
        for (found, &(i, _)) in found.iter().zip(fours) {
            found.load(k, next.at(at(i)));
        }
        for (&found, (_, four)) in found.iter().zip(fours) {
            four.add(k, found);
        }
        k.sub_u32(left, left, 1).setp(Cmp::Ne, Int::U32, more, left, 0);
        k.when(more).bra_uni(again.as_str());
    }
    k.note("all threads have read how many came: its bytes are free");
    k.bar_sync(0).place("summed");
}
