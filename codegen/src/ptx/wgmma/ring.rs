//! The ring of stages, as each role walks it: the stage in hand, and the parity of its phase.

use super::geometry::Geometry;
use quickpick_ptx::{B32, Cmp, Int, Kernel, Pred, Reg};

#[derive(Clone, Copy)]
pub(super) struct Ring {
    stages: u32,
    stage_bytes: u32,
    smem: Reg<B32>,
    pub stage: Reg<B32>,
    pub parity: Reg<B32>,
    wrapped: Reg<Pred>,
    waited: Reg<Pred>,
    /// The first byte of the stage.
    pub at: Reg<B32>,
    /// What the addresses of its mbarriers are counted from.
    pub barrier: Reg<B32>,
}

impl Ring {
    /// Starts at stage 0; `parity` is that of the phase that ends first: producers begin with 1, since
    /// stages are free at first and the phase before the first counts as over.
    pub fn new(k: &mut Kernel, g: &Geometry, smem: Reg<B32>, role: &str, parity: u32) -> Self {
        let mut reg = |what: &str| k.reg(&format!("{role}_{what}"));
        let s = Self {
            stages: g.stages,
            stage_bytes: g.stage_bytes(),
            smem,
            stage: reg("stage"),
            parity: reg("parity"),
            at: reg("stage_at"),
            barrier: reg("barrier_at"),
            wrapped: k.reg(&format!("{role}_wrapped")),
            waited: k.reg(&format!("{role}_waited")),
        };
        k.mov_b32(s.stage, 0).mov_b32(s.parity, parity);
        s.locate(k);
        s
    }

    fn locate(&self, k: &mut Kernel) {
        k.mad_lo_u32(self.at, self.stage, self.stage_bytes, self.smem);
        k.mad_lo_u32(self.barrier, self.stage, 16, self.smem);
    }

    /// Waits until the phase of an mbarrier of the stage is over; `at` is where stage 0's lies. Of the
    /// cluster: others than this block's threads and copies arrive there too.
    pub fn wait(&self, k: &mut Kernel, label: &str, at: i32, of_cluster: bool) {
        let barrier = self.barrier.at(at);
        k.place(label);
        match of_cluster {
            true => k.mbarrier_try_wait_cluster(self.waited, barrier, self.parity),
            false => k.mbarrier_try_wait(self.waited, barrier, self.parity),
        };
        k.unless(self.waited).bra(label);
    }

    /// The next stage.
    pub fn advance(&self, k: &mut Kernel) {
        k.add_u32(self.stage, self.stage, 1);
        k.setp(Cmp::Eq, Int::U32, self.wrapped, self.stage, self.stages);
        k.selp_b32(self.stage, 0, self.stage, self.wrapped);
        k.when(self.wrapped).xor_b32(self.parity, self.parity, 1);
        self.locate(k);
    }

    /// Leaves so many stages to another.
    pub fn skip(&self, k: &mut Kernel, count: Reg<B32>) {
        let [rounds, stages] = ["rounds", "whole_rounds"].map(|role| k.scratch(role));
        k.add_u32(self.stage, self.stage, count).div_u32(rounds, self.stage, self.stages);
        k.mul_lo_u32(stages, rounds, self.stages).sub_u32(self.stage, self.stage, stages);
        k.and_b32(rounds, rounds, 1).xor_b32(self.parity, self.parity, rounds);
        self.locate(k);
    }
}
