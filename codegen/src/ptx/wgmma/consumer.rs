//! A consumer warpgroup: item after item, and within one tile after tile of k, it waits for a stage's
//! bytes, starts the multiplies, and, once those of the tile before are done, frees that one's stage.
//! One tile's multiplies are always on their way while the next one's are started (`wait_group 1`).

use super::geometry::{Geometry, ROW};
use super::output::Output;
use super::ring::Ring;
use super::supply::Supply;
use super::{Block, parts};
use quickpick_kernels::DType;
use quickpick_ptx::{
    Addr, Arg, B32, B64, Cmp, F32, Imm, Imms, Inst, Int, Kernel, Pred, Reg, Satfinite, Type,
    Vector, WgmmaShape,
};

/// The sums of a thread, slice by slice.
pub(super) enum Sums {
    F32(Vec<Vec<Reg<F32>>>),
    S32(Vec<Vec<Reg<B32>>>),
}

/// A warpgroup's registers.
pub(super) struct Consumer<'a> {
    pub block: &'a Block,
    pub ring: Ring,
    supply: Supply<'a>,
    pub sums: Sums,
    /// The warpgroup among the two, and the thread, warp and lane in it.
    pub number: Reg<B32>,
    barrier: Reg<B32>,
    pub thread: Reg<B32>,
    pub lane: Reg<B32>,
    /// The first thread; the lanes that arrive at the mbarriers.
    pub leader: Reg<Pred>,
    pub teller: Reg<Pred>,
    /// The warp's blocks of 16 rows before its first in the block's tile.
    pub warp: Reg<B32>,
    /// Descriptors of the warpgroup's rows of A and of B in stage 0: the low word, which has the address,
    /// and the high one, which is the same for all.
    a: [Reg<B32>; 2],
    b: [Reg<B32>; 2],
    /// Where the mbarriers of free stages are counted from: in this block, or in that of the cluster to
    /// which the lane tells.
    to_free: Reg<B32>,
    /// Items so far, of both consumers.
    taken: Reg<B32>,
}

pub(super) fn emit(k: &mut Kernel, block: &Block) {
    let g = &block.g;
    let c = Consumer::new(k, block);
    let output = Output::new(k, &c);
    k.place("item");
    block.items.take(k, g, "item", "done");
    let turn = g.by_turns().then(|| c.take_turn(k, output.stages()));
    let last = c.multiply(k);
    if let Some(turn) = turn {
        // the other must not wait for a stage's next phase before this one has seen it
        output.await_residual(k, &c);
        c.pass_turn(k, turn);
    }
    k.wgmma_wait(0);
    c.tell_free(k, c.teller, last.at(g.free() - 16));
    if turn.is_none() {
        output.await_residual(k, &c);
    }
    parts::emit(k, &c, &output);
    output.emit(k, &c);
    k.bra_uni("item");
    k.section("no item is left: what was stored has left shared memory before the block ends");
    k.place("done").bulk_wait_read(0);
    k.bra_uni("end");
}

impl<'a> Consumer<'a> {
    fn new(k: &mut Kernel, block: &'a Block) -> Self {
        let g = &block.g;
        let (slices, count) = (g.slices(), g.accumulators() as usize);
        let sums = match g.dtype {
            DType::I8 => Sums::S32(
                (0..slices).map(|i| k.reg_list(&of_slice("sum", slices, i), count)).collect(),
            ),
            _ => Sums::F32(
                (0..slices).map(|i| k.reg_list(&of_slice("acc", slices, i), count)).collect(),
            ),
        };
        let c = Self {
            block,
            ring: Ring::new(k, g, block.smem, "ring", 0),
            supply: Supply::new(k, block),
            sums,
            number: k.reg("consumer"),
            barrier: k.reg("consumer_barrier"),
            thread: k.reg("consumer_thread"),
            lane: k.reg("lane"),
            leader: k.reg("leader"),
            teller: k.reg("teller"),
            warp: k.reg("warp_block"),
            a: [k.reg("a_desc_low"), k.reg("a_desc_high")],
            b: [k.reg("b_desc_low"), k.reg("b_desc_high")],
            to_free: if g.cluster() > 1 { k.reg("to_free") } else { block.smem },
            taken: k.reg("items_taken"),
        };
        if g.by_turns() {
            k.mov_b32(c.taken, 0);
        }
        k.shr(Int::U32, c.number, block.thread, 7).and_b32(c.thread, block.thread, 127);
        k.add_u32(c.barrier, c.number, 1);
        k.and_b32(c.lane, block.thread, 31).setp(Cmp::Eq, Int::U32, c.leader, c.thread, 0);
        k.note("the lanes that say a stage is free, each to one block of the cluster");
        k.setp(Cmp::Lt, Int::U32, c.teller, c.lane, g.cluster());
        if g.cluster() > 1 {
            let peer = k.reg("peer");
            k.and_b32(peer, c.lane, g.cluster() - 1).mapa(c.to_free, block.smem, peer);
        }
        k.shr(Int::U32, c.warp, c.thread, 5);
        let word = k.scratch("desc_word");
        k.note("descriptors in stage 0: bits 13:0 are the address / 16");
        k.mov_b32(word, block.smem);
        if !g.by_turns() {
            k.mad_lo_u32(c.warp, c.number, 4 * slices, c.warp);
            k.mad_lo_u32(word, c.number, 64 * slices * g.a_row, word);
        }
        if !g.in_registers() {
            let [low, high] = g.descriptor(g.a_row);
            k.shr(Int::U32, word, word, 4).add_u32(c.a[0], word, low).mov_b32(c.a[1], high);
        }
        let [low, high] = g.descriptor(ROW);
        k.shr(Int::U32, word, block.smem, 4).add_u32(c.b[0], word, low).mov_b32(c.b[1], high);
        c
    }

    /// Leaves the item to the other consumer if it is that one's; then waits until the other has come to
    /// its last stage. Each stage thus has one consumer at a time, and the tensor cores too. Gives the
    /// address from which the turn's mbarrier is counted.
    fn take_turn(&self, k: &mut Kernel, residual_stages: Reg<B32>) -> Reg<B32> {
        let g = self.g();
        let [turn, owner, stages, mine] =
            ["turn", "turn_owner", "others_stages", "my_turn_at"].map(|role| k.reg::<B32>(role));
        let (others, ours) = (k.reg::<Pred>("others_item"), k.reg::<Pred>("my_turn"));
        k.note("items are taken by turns");
        k.and_b32(owner, self.taken, 1).setp(Cmp::Ne, Int::U32, others, owner, self.number);
        k.shr(Int::U32, turn, self.taken, 1).add_u32(self.taken, self.taken, 1);
        k.unless(others).bra_uni("mine");
        k.add_u32(stages, self.block.items.count, residual_stages);
        self.ring.skip(k, stages);
        k.bra_uni("item").place("mine");
        k.note("the first turn of the first consumer has none before it");
        k.add_u32(turn, turn, self.number).add_u32(turn, turn, 1).and_b32(turn, turn, 1);
        k.mad_lo_u32(mine, self.number, 16, self.block.smem);
        k.place("turn_wait").mbarrier_try_wait(ours, mine.at(g.turn(0)), turn);
        k.unless(ours).bra("turn_wait");
        mine
    }

    fn pass_turn(&self, k: &mut Kernel, mine: Reg<B32>) {
        let (other, warp_leader) = (k.reg::<B32>("other_turn_at"), k.reg::<Pred>("warp_leader"));
        k.note("the other's turn");
        k.sub_u32(other, mine, self.block.smem).xor_b32(other, other, 16);
        k.add_u32(other, other, self.block.smem);
        k.setp(Cmp::Eq, Int::U32, warp_leader, self.lane, 0);
        k.when(warp_leader).mbarrier_arrive(other.at(self.g().turn(0)));
    }

    /// The warpgroup's threads meet.
    pub fn meet(&self, k: &mut Kernel) {
        k.bar_sync_count(self.barrier, 128);
    }

    pub fn g(&self) -> &'a Geometry {
        &self.block.g
    }

    /// The main loop, a trip round the ring: stages are constants in it, so that addresses are computed
    /// once. An item begins where the one before it ended: the first trip leaves out stages before that.
    /// Gives what the mbarriers of the stage *after* the last are counted from.
    fn multiply(&self, k: &mut Kernel) -> Reg<B32> {
        let (g, items) = (self.g(), &self.block.items);
        let [left, begin, parity] = ["tiles_left", "begin", "trip_parity"].map(|r| k.reg::<B32>(r));
        let [free, last, skip] =
            ["frees_before", "last_tile", "before_begin"].map(|r| k.reg::<Pred>(r));
        k.mov_b32(begin, self.ring.stage).mov_b32(parity, self.ring.parity);
        self.supply.begin(k, self.block, self.warp, begin);
        k.add_u32(left, items.count, begin);
        k.setp(Cmp::Ne, Int::U32, free, left, left);
        self.clear(k);
        k.section(format!("main loop: a trip takes {} tiles of k", g.stages));
        k.place("trip");
        for stage in 0..g.stages {
            let [full, next] = ["full", "after"].map(|what| format!("{what}_{stage}"));
            k.note(format!("stage {stage}"));
            if stage + 1 < g.stages {
                k.setp(Cmp::Gt, Int::U32, skip, begin, stage).when(skip).bra_uni(next.as_str());
            }
            let barrier = self.block.smem.at(g.full() + 16 * stage as i32);
            k.place(full.as_str()).mbarrier_try_wait(last, barrier, parity);
            k.unless(last).bra(full.as_str());
            self.start(k, stage);
            k.wgmma_wait(1);
            // the tile before is done; before an item's first there is none
            let before = (stage + g.stages - 1) % g.stages;
            self.tell_free(k, free, self.to_free.at(g.free() + 16 * before as i32));
            k.and_pred(free, self.teller, self.teller);
            k.setp(Cmp::Le, Int::U32, last, left, stage + 1).when(last).bra_uni("multiplied");
            self.supply.fill_ahead(k, stage, left);
            if stage + 1 < g.stages {
                k.place(next.as_str());
            }
        }
        k.sub_u32(left, left, g.stages)
            .mov_b32(begin, 0)
            .xor_b32(parity, parity, 1)
            .bra_uni("trip");
        k.place("multiplied");
        self.ring.skip(k, items.count);
        let next = k.reg::<B32>("after_last");
        k.note("the last stage is the one before; before the first one comes the ring's last");
        k.setp(Cmp::Eq, Int::U32, last, self.ring.stage, 0);
        k.selp_b32(next, g.stages, self.ring.stage, last).mad_lo_u32(next, next, 16, self.to_free);
        next
    }

    /// The sums begin at zero. That the first multiply does not add would cost each an instruction or two.
    fn clear(&self, k: &mut Kernel) {
        match &self.sums {
            Sums::F32(acc) => acc.iter().flatten().for_each(|&acc| {
                k.mov_f32(acc, 0.0);
            }),
            Sums::S32(sums) => sums.iter().flatten().for_each(|&sum| {
                k.mov_b32(sum, 0);
            }),
        }
    }

    /// Frees a stage, whose mbarriers are counted from `barrier` in this block, in all of the cluster.
    pub fn tell_residual_free(&self, k: &mut Kernel, who: Reg<Pred>, barrier: Reg<B32>) {
        let free = self.g().free();
        match self.g().cluster() {
            1 => self.tell_free(k, who, barrier.at(free)),
            _ => {
                let there = k.scratch("free_there");
                k.when(who).sub_u32(there, barrier, self.block.smem);
                k.when(who).add_u32(there, there, self.to_free);
                self.tell_free(k, who, there.at(free));
            }
        }
    }

    /// In a cluster, no scope is named, as by NVIDIA's own kernels: all that is to come before are reads of
    /// `wgmma`, which are over, and a release to the cluster costs a fence of the whole device (ptxas 13.5).
    fn tell_free(&self, k: &mut Kernel, who: Reg<Pred>, free: Addr<B32>) {
        match self.g().cluster() {
            1 => k.when(who).mbarrier_arrive(free),
            _ => k.when(who).mbarrier_arrive_cluster(free),
        };
    }

    /// Starts a tile's multiplies.
    fn start(&self, k: &mut Kernel, stage: u32) {
        let g = self.g();
        let [a, b] = ["a_desc", "b_desc"].map(|role| k.scratch::<B64>(role));
        let word = k.scratch::<B32>("desc_word");
        let point = |k: &mut Kernel, d, [low, high]: [Reg<B32>; 2], offset: u32| {
            k.add_u32(word, low, (stage * g.stage_bytes() + offset) / 16);
            k.pack_b32(d, Vector([word, high]));
        };
        // registers have come from memory; and without one ptxas 12.9 puts its own before each tile
        k.wgmma_fence();
        for step in 0..g.steps() {
            for slice in 0..g.slices() {
                let (in_a, in_b) = g.operands(slice, step);
                if slice == 0 {
                    point(k, b, self.b, in_b);
                }
                let from: Arg = match self.supply.values(stage, slice, step) {
                    Some(values) => values.into(),
                    None => {
                        point(k, a, self.a, in_a);
                        a.into()
                    }
                };
                k.inst(self.wgmma((stage, slice, step), from, b));
            }
        }
        k.wgmma_commit();
    }

    fn wgmma(&self, (stage, slice, step): (u32, u32, u32), a: Arg, b: Reg<B64>) -> Inst {
        let (g, ty) = (self.g(), self.g().element().ty());
        let shape = WgmmaShape { n: g.tile.n as u16, k: g.depth() as u16 };
        let i = slice as usize;
        let (dty, d) = match &self.sums {
            Sums::F32(acc) => (Type::F32, acc[i].iter().map(|r| (*r).into()).collect()),
            Sums::S32(sum) => (Type::S32, sum[i].iter().map(|r| (*r).into()).collect()),
        };
        // both as they are, and, where the type allows another, K-major
        let imms = Imms(match (g.dtype, g.in_registers()) {
            (DType::I8, _) => vec![],
            (DType::E4M3 | DType::E5M2, _) => vec![1, 1],
            (_, true) => vec![1, 1, 0],
            (_, false) => vec![1, 1, 0, 0],
        });
        let (d, b, scale, sat) = (Arg::Vector(d), b.into(), Arg::Int(1), Satfinite::No);
        match self.supply.metadata(stage, slice, step) {
            None => Inst::Wgmma { shape, sat, dty, aty: ty, bty: ty, d, a, b, scale, imms },
            Some((meta, selector)) => {
                let (meta, selector) = (meta.into(), Imm(selector));
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

/// A register's role for a slice; roles end in no digit.
pub(super) fn of_slice(role: &str, slices: u32, slice: u32) -> String {
    if slices > 1 { format!("{role}_{}", letter(slice)) } else { role.to_string() }
}

pub(super) fn letter(i: u32) -> char {
    char::from(b'a' + (i % 26) as u8)
}
