//! The producer: for each tile of k it waits until the stage is free, and starts the copies of its boxes.

use super::{Block, map_address};
use quickpick_ptx::{B32, Cmp, Int, Kernel, ParamName, Pred, Vector};

pub(super) fn emit(k: &mut Kernel, block: &Block, [values, x]: [ParamName; 2]) {
    let g = &block.g;
    let other = k.reg::<Pred>("other_thread");
    k.setp(Cmp::Ne, Int::U32, other, block.thread, g.consumers() * 128);
    k.when(other).ret();
    let (values, x) = (map_address(k, "map_values_at", values), map_address(k, "map_x_at", x));
    let (left, parity) = (k.reg::<B32>("copies_left"), k.reg::<B32>("free_parity"));
    let (of_a, of_b): (Vector<B32, 2>, Vector<B32, 2>) = (k.regs("a_box"), k.regs("b_box"));
    let (free, last) = (k.reg::<Pred>("is_free"), k.reg::<Pred>("last_copy"));
    k.note("stages are free at first: the phase before the first counts as over");
    k.mov_b32(left, block.tiles).mov_b32(parity, 1);
    k.mov_b32(of_a[0], 0).mov_b32(of_a[1], block.place.m);
    k.mov_b32(of_b[0], 0).mov_b32(of_b[1], block.place.n);
    k.place("copy_trip");
    for stage in 0..g.stages {
        let wait = format!("copy_wait{stage}");
        k.note(format!("stage {stage}"));
        k.place(wait.as_str()).mbarrier_try_wait(free, block.smem.at(g.free(stage)), parity);
        k.unless(free).bra(wait.as_str());
        let full = block.smem.at(g.full(stage));
        k.mbarrier_arrive_expect_tx(full, g.stage_bytes());
        let at = |offset: u32| block.smem.at((stage * g.stage_bytes() + offset) as i32);
        for i in 0..g.a_boxes() {
            k.tensor_load_2d(at(i * g.a_box_bytes()), values, of_a, full);
            k.add_u32(of_a[0], of_a[0], g.a_row / 2);
        }
        for i in 0..g.b_boxes() {
            k.tensor_load_2d(at(g.b_offset() + i * g.b_box_bytes()), x, of_b, full);
            k.add_u32(of_b[0], of_b[0], 64);
        }
        k.setp(Cmp::Le, Int::U32, last, left, stage + 1);
        k.when(last).ret();
    }
    k.sub_u32(left, left, g.stages).xor_b32(parity, parity, 1);
    k.bra("copy_trip");
}
