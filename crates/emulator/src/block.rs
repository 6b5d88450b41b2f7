//! A block: its warps, run in turn from barrier to barrier.

use crate::memory::{Access, Clash, Global, Shared};
use crate::program::{Launch, Program, Report};
use crate::trap::{Fault, Trap};
use crate::warp::{State, Warp};
use quickpick_ptx::Name;
use std::collections::HashMap;

pub(crate) struct Block<'a> {
    pub program: &'a Program,
    pub launch: &'a Launch,
    pub params: &'a HashMap<Name, u64>,
    pub at: [u32; 3],
    /// Counted x first.
    pub number: u32,
    pub memory: &'a mut Global,
    pub shared: Shared,
    pub report: Report,
    pub budget: u64,
}

impl Block<'_> {
    /// Runs every warp to its end.
    pub fn run(&mut self) -> Result<(), Trap> {
        let count = self.launch.block / 32;
        let mut warps: Vec<_> = (0..count).map(|w| Warp::new(self.program, w)).collect();
        loop {
            for warp in &mut warps {
                while warp.state == State::Running {
                    self.issue(warp)?;
                }
            }
            let exited = warps.iter().filter(|w| w.state == State::Exited).count();
            if exited == warps.len() {
                return Ok(());
            }
            let first = warps.iter().find(|w| w.state != State::Exited);
            if let (Some(stuck), true) = (first, exited > 0) {
                let fault = Fault::Deadlock { exited, warps: warps.len() };
                let pc = stuck.front().map_or(0, |(pc, _)| pc.saturating_sub(1));
                return Err(self.trap(stuck, pc, fault.into()));
            }
            self.shared.epoch += 1;
            for warp in &mut warps {
                warp.state = State::Running;
            }
        }
    }

    /// Issues a warp's next instruction to the lanes that are there.
    fn issue(&mut self, warp: &mut Warp<'_>) -> Result<(), Trap> {
        let Some((pc, here)) = warp.front() else {
            warp.state = State::Exited;
            return Ok(());
        };
        self.report.instructions += 1;
        let budget = self.budget;
        let over = self.report.instructions > budget;
        let done =
            if over { Err(Fault::Budget(budget).into()) } else { self.execute(warp, pc, here) };
        done.map_err(|clash| self.trap(warp, pc, clash))
    }

    /// Who accesses shared memory now.
    pub fn access(&self, warp: &Warp<'_>, pc: usize) -> Access {
        Access { warp: warp.number, site: pc as u32, epoch: self.shared.epoch }
    }

    fn trap(&self, warp: &Warp<'_>, pc: usize, clash: Clash) -> Trap {
        let fault = match clash {
            Clash::Fault(fault) => fault,
            Clash::Race { address, with } => {
                let other = self.program.site(with.site as usize);
                Fault::Race { address, other_warp: with.warp, other }
            }
            Clash::InFlight { address, copy } => {
                Fault::InFlight { address, copy: self.program.site(copy as usize) }
            }
        };
        Trap { fault, site: self.program.site(pc), block: self.at, warp: warp.number }
    }
}
