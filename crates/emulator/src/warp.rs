//! A warp: 32 lanes with their own program counters and registers, its place in the order, and what
//! it has under way.

use crate::asynchronous::{Span, Storing};
use crate::code::{At, Slot, Src};
use crate::group::GroupQueue;
use crate::order::{Party, Timeline, lanes_of};
use crate::program::Program;
use crate::trap::Fault;
use std::collections::VecDeque;

/// A value of each lane.
pub(crate) type Row = [u64; 32];

/// The lanes of a whole warp.
pub(crate) const ALL: u32 = u32::MAX;

/// Where a warp stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// At a barrier of the block.
    Barrier(u32),
    /// Until the phase of this parity of an mbarrier of a block of the cluster is over.
    Mbarrier {
        rank: usize,
        address: u64,
        parity: u32,
    },
    /// At `barrier.cluster.wait`.
    Cluster,
    /// Until its warpgroup has issued the multiplies that it waits for.
    Group,
    Exited,
}

/// A `cp.async` of a lane: what it writes and reads.
pub(crate) struct Copying {
    pub to: Span,
    pub from: Span,
}

/// What `wgmma` knows of a register.
#[derive(Clone, Copy, Default)]
pub(crate) struct Owned {
    /// Ordinal + 1 of the last multiply under way that uses it, and its site.
    pub by: u64,
    pub site: usize,
    /// Touched since the last `wgmma.fence`.
    pub touched: bool,
}

pub(crate) struct Warp<'p> {
    pub program: &'p Program,
    /// In its block.
    pub number: u32,
    pub state: State,
    /// Where it waits.
    pub at: usize,
    /// The next instruction of each lane; `None` once it has returned.
    pub pcs: [Option<usize>; 32],
    values: Vec<Row>,
    written: Vec<u32>,
    pub timeline: Timeline,
    /// Copies of each lane that no group holds yet.
    pub open: Vec<Vec<Copying>>,
    /// Groups of each lane under way, the oldest first.
    pub groups: Vec<VecDeque<Vec<Copying>>>,
    /// Bulk copies to global memory of each lane: not committed, then groups.
    pub bulk_open: Vec<Vec<Storing>>,
    pub bulk_groups: Vec<VecDeque<Vec<Storing>>>,
    /// Its multiplies of the warpgroup. Only programs with `wgmma` have any.
    pub group: GroupQueue,
    pub owned: Vec<Owned>,
    /// The phase of the cluster's barrier at which it arrived.
    pub cluster: Option<u64>,
    /// Times in a row that it was told to try an mbarrier again.
    pub tries: u32,
}

impl<'p> Warp<'p> {
    /// `threads` of the block; lanes beyond them do not exist.
    pub fn new(program: &'p Program, block: u32, number: u32, threads: u32) -> Self {
        let lanes = threads.saturating_sub(number * 32).min(32) as usize;
        let owned = if program.has_groups { program.slots.len() } else { 0 };
        Self {
            program,
            number,
            state: State::Running,
            at: 0,
            pcs: std::array::from_fn(|lane| (lane < lanes).then_some(0)),
            values: vec![[0; 32]; program.slots.len()],
            written: vec![0; program.slots.len()],
            timeline: Timeline::new(block, number),
            open: (0..32).map(|_| Vec::new()).collect(),
            groups: (0..32).map(|_| VecDeque::new()).collect(),
            bulk_open: (0..32).map(|_| Vec::new()).collect(),
            bulk_groups: (0..32).map(|_| VecDeque::new()).collect(),
            group: GroupQueue::default(),
            owned: vec![Owned::default(); owned],
            cluster: None,
            tries: 0,
        }
    }

    /// The lowest program counter of any lane, and the lanes that are there: lanes that went the
    /// other way wait for those behind them.
    pub fn front(&self) -> Option<(usize, u32)> {
        let mut pc = usize::MAX;
        let mut here = 0;
        for (lane, at) in self.pcs.iter().enumerate() {
            let Some(at) = *at else { continue };
            if at < pc {
                (pc, here) = (at, 0);
            }
            if at == pc {
                here |= 1 << lane;
            }
        }
        (here != 0).then_some((pc, here))
    }

    /// Lanes that have not exited.
    pub fn live(&self) -> u32 {
        let bit = |(lane, pc): (usize, &Option<usize>)| (pc.is_some() as u32) << lane;
        self.pcs.iter().enumerate().map(bit).fold(0, |a, b| a | b)
    }

    pub fn party(&self, lanes: u32) -> Party {
        Party { lanes, live: self.live() }
    }

    /// A source of each lane in the mask, all of which must have written it.
    pub fn row(&mut self, src: Src, mask: u32) -> Result<Row, Fault> {
        match src {
            Src::Const(value) => Ok([value; 32]),
            Src::Slot(slot) => {
                self.readable(slot, mask)?;
                Ok(self.values[slot])
            }
        }
    }

    /// As 32-bit registers, for what the whole warp does.
    pub fn words(&mut self, src: Src) -> Result<[u32; 32], Fault> {
        Ok(self.row(src, ALL)?.map(|v| v as u32))
    }

    pub fn get(&mut self, src: Src, lane: usize) -> Result<u64, Fault> {
        match src {
            Src::Const(value) => Ok(value),
            Src::Slot(slot) => {
                self.readable(slot, 1 << lane)?;
                Ok(self.values[slot][lane])
            }
        }
    }

    fn readable(&mut self, slot: Slot, mask: u32) -> Result<(), Fault> {
        let missing = mask & !self.written[slot];
        if missing != 0 {
            let register = self.program.slots[slot].name.clone();
            return Err(Fault::PoisonRegister { lane: missing.trailing_zeros(), register });
        }
        self.touch(slot)
    }

    /// A register is touched: not while `wgmma` owns it, and then not by `wgmma` before a fence.
    fn touch(&mut self, slot: Slot) -> Result<(), Fault> {
        let Some(owned) = self.owned.get_mut(slot) else { return Ok(()) };
        if owned.by != 0 {
            let register = self.program.slots[slot].name.clone();
            return Err(Fault::Owned { register, operation: self.program.site(owned.site) });
        }
        owned.touched = true;
        Ok(())
    }

    pub fn set(&mut self, slot: Slot, lane: usize, value: u64) -> Result<(), Fault> {
        self.touch(slot)?;
        self.values[slot][lane] = value & self.program.slots[slot].mask;
        self.written[slot] |= 1 << lane;
        Ok(())
    }

    /// Sets the lanes of a mask.
    pub fn set_row(&mut self, slot: Slot, row: &Row, mask: u32) -> Result<(), Fault> {
        self.touch(slot)?;
        let cut = self.program.slots[slot].mask;
        let values = &mut self.values[slot];
        if mask == ALL {
            for (have, value) in values.iter_mut().zip(row) {
                *have = value & cut;
            }
        } else {
            for lane in lanes_of(mask) {
                values[lane] = row[lane] & cut;
            }
        }
        self.written[slot] |= mask;
        Ok(())
    }

    pub fn set_words(&mut self, slot: Slot, words: &[u32; 32]) -> Result<(), Fault> {
        self.set_row(slot, &words.map(u64::from), ALL)
    }

    /// A register as a trace shows it: the value of each lane that has one.
    pub fn peek(&self, slot: Slot) -> [Option<u64>; 32] {
        std::array::from_fn(|lane| {
            (self.written[slot] >> lane & 1 == 1).then(|| self.values[slot][lane])
        })
    }

    /// What `wgmma` left in registers that it no longer owns.
    pub fn put_words(&mut self, slot: Slot, words: &[u32; 32]) {
        self.values[slot] = words.map(u64::from);
        self.written[slot] = ALL;
    }

    /// Words that `wgmma` reads itself.
    pub fn take_words(&self, slot: Slot) -> Result<[u32; 32], Fault> {
        let missing = !self.written[slot];
        if missing != 0 {
            let register = self.program.slots[slot].name.clone();
            return Err(Fault::PoisonRegister { lane: missing.trailing_zeros(), register });
        }
        Ok(self.values[slot].map(|v| v as u32))
    }

    /// Base plus offset of each lane.
    pub fn addresses(&mut self, at: At, mask: u32) -> Result<Row, Fault> {
        let mut row = self.row(at.base, mask)?;
        row.iter_mut().for_each(|a| *a = a.wrapping_add(at.offset as u64));
        Ok(row)
    }

    pub fn address(&mut self, at: At, lane: usize) -> Result<u64, Fault> {
        Ok(self.get(at.base, lane)?.wrapping_add(at.offset as u64))
    }

    /// A source that must be the same in all of these lanes.
    pub fn uniform(&mut self, src: Src, mask: u32, what: &'static str) -> Result<u64, Fault> {
        let row = self.row(src, mask)?;
        let first = row[mask.trailing_zeros().min(31) as usize];
        match lanes_of(mask).find(|lane| row[*lane] != first) {
            Some(lane) => Err(Fault::NotUniform { lane: lane as u32, what }),
            None => Ok(first),
        }
    }
}
