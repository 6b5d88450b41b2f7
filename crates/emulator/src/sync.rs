//! How threads meet: named barriers, mbarriers, the cluster's barrier. The state machines are in
//! `barriers` and `mbarrier`; here they carry the order along, and warps wait.

use crate::barriers::{Barriers, Outcome};
use crate::block::Place;
use crate::code::{At, Mbar, Slot, Space, Src};
use crate::execute::{Done, Now};
use crate::machine::Cluster;
use crate::mbarrier::{MbarrierError, Mbarriers, SIZE, State as Token};
use crate::order::{Agent, Known, Stamp, lanes_of};
use crate::program::Schedule;
use crate::shadow::By;
use crate::trap::Fault;
use crate::warp::{State, Warp};
use std::collections::HashMap;

/// A block's named barriers, and what those who came to each have released.
pub(crate) struct BlockBarriers {
    state: Barriers,
    known: Vec<Known>,
}

impl BlockBarriers {
    pub fn new(block: u32, threads: u32) -> Self {
        Self { state: Barriers::new(threads), known: vec![Known::new(block); 16] }
    }

    pub fn describe(&self, id: u32) -> String {
        let all = self.state.to_string();
        let name = format!("barrier {id}: ");
        all.lines().find_map(|l| l.strip_prefix(&name)).unwrap_or("nobody came").to_string()
    }
}

/// A block's mbarriers, and what their arrivals released.
pub(crate) struct MbarrierTable {
    block: u32,
    objects: Mbarriers,
    order: HashMap<u32, Phases>,
}

struct Phases {
    agent: Agent,
    /// Whether `fence.mbarrier_init` followed the initialisation, which this stamp made.
    init: Stamp,
    fenced: bool,
    gathering: Known,
    /// What the last complete phase released.
    complete: Known,
}

impl MbarrierTable {
    pub fn new(block: u32) -> Self {
        Self { block, objects: Mbarriers::default(), order: HashMap::new() }
    }

    pub fn describe(&self, address: u64) -> String {
        let object = self.objects.peek(address as u32);
        object.map_or(format!("no mbarrier at {address:#x}"), ToString::to_string)
    }

    /// The object that overlaps these bytes, which ordinary accesses may not touch.
    pub fn overlapping(&self, address: u64, bytes: usize) -> Option<String> {
        let found = self.objects.overlapping(address as u32, bytes as u32)?;
        Some(found.to_string())
    }

    fn init(&mut self, address: u32, count: u32, stamp: Stamp) -> Result<(), MbarrierError> {
        self.objects.init(address, count)?;
        let (agent, known) =
            (Agent::mbarrier(self.block, self.order.len() as u32), Known::new(self.block));
        let agent = self.order.get(&address).map_or(agent, |old| old.agent);
        let new =
            Phases { agent, init: stamp, fenced: false, gathering: known.clone(), complete: known };
        self.order.insert(address, new);
        Ok(())
    }

    /// An operation that may end the phase; what it returns.
    fn change<T>(
        &mut self,
        address: u32,
        known: Option<&Known>,
        change: impl FnOnce(&mut crate::mbarrier::Mbarrier) -> Result<T, MbarrierError>,
    ) -> Result<T, Fault> {
        let object = self.objects.at(address).map_err(rule)?;
        let before = object.phase();
        if let (Some(phases), Some(known)) = (self.order.get_mut(&address), known) {
            phases.gathering.join(known);
        }
        let out = change(object).map_err(rule)?;
        if object.phase() != before
            && let Some(phases) = self.order.get_mut(&address)
        {
            phases.complete = std::mem::replace(&mut phases.gathering, Known::new(self.block));
            phases.complete.seen.add(phases.agent, object.phase() as u32);
        }
        Ok(out)
    }

    /// The stamp of data that the current phase brings.
    pub fn stamp(&mut self, address: u32, site: u32) -> Result<Stamp, Fault> {
        let clock = self.objects.at(address).map_err(rule)?.phase() as u32 + 1;
        let agent = self.order.get(&address).map_or(Agent::default(), |p| p.agent);
        Ok(Stamp { agent, clock, site, lane: crate::order::ALL_LANES, strong: false })
    }

    /// Bytes have come.
    pub fn complete(&mut self, address: u32, bytes: u32) -> Result<(), Fault> {
        self.change(address, None, |object| object.complete_tx(bytes))
    }

    /// Copies of a thread have come: one arrival.
    pub fn arrive_alone(&mut self, address: u32) -> Result<(), Fault> {
        self.change(address, None, |object| object.arrive(1)).map(drop)
    }

    /// The phase waits for one arrival more.
    pub fn expect_arrival(&mut self, address: u32) -> Result<(), Fault> {
        self.change(address, None, |object| object.expect_arrival())
    }

    fn is_complete(&self, address: u32, parity: u32) -> bool {
        self.objects.peek(address).is_none_or(|o| u64::from(parity) != o.phase() & 1)
    }
}

/// An error of a state machine is the kernel's.
pub(crate) fn rule(error: impl std::fmt::Display) -> Fault {
    Fault::Rule(error.to_string())
}

/// The barrier of all threads of a cluster (PTX ISA 9.7.13.3).
#[derive(Default)]
pub(crate) struct ClusterBarrier {
    phase: u64,
    came: u32,
    gathering: Option<Known>,
    complete: Option<Known>,
}

impl<'a> Cluster<'a> {
    /// Whether a warp can move.
    pub fn ready(&mut self, rank: usize, number: usize) -> bool {
        let Some(warp) = self.blocks[rank].warps.get(number).and_then(Option::as_deref) else {
            return false;
        };
        match warp.state {
            State::Running => true,
            State::Mbarrier { rank, address, parity } => {
                self.blocks[rank].mbarriers.is_complete(address as u32, parity)
            }
            State::Group => {
                let group = &self.blocks[rank].groups[number / 4];
                warp.group.awaited.is_none_or(|ordinal| group.is_done(ordinal))
            }
            State::Barrier(_) | State::Cluster | State::Exited => false,
        }
    }

    /// `bar.sync`, `bar.arrive` (ISA 9.7.13.1). Whole warps come.
    pub fn barrier(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (id, count): (Src, Option<Src>),
        arrive: bool,
    ) -> Done {
        let live = w.live();
        if now.mask != live {
            return Err(Fault::Divergent { mask: now.mask }.into());
        }
        let id = w.uniform(id, live, "barrier")? as u32;
        let count = count.map(|c| w.uniform(c, live, "count of threads")).transpose()?;
        let known = w.timeline.release(w.party(live));
        let block = &mut self.blocks[now.rank];
        let barriers = &mut block.barriers;
        let outcome = if arrive {
            let threads = count.map_or(block.threads, |c| c as u32);
            barriers.state.arrive(id, w.number, threads)
        } else {
            barriers.state.sync(id, w.number, count.map(|c| c as u32))
        };
        let outcome = outcome.map_err(rule)?;
        let gathered = &mut barriers.known[id as usize];
        gathered.join(&known);
        let Outcome::Released { waiters, .. } = outcome else {
            if !arrive {
                w.state = State::Barrier(id);
            }
            return Ok(());
        };
        let known = std::mem::replace(gathered, Known::new(block.number));
        for number in waiters {
            if number == w.number {
                w.timeline.leave(w.party(live), &known);
            } else if let Some(other) = block.warps[number as usize].as_deref_mut() {
                let party = other.party(other.live());
                other.timeline.leave(party, &known);
                other.state = State::Running;
            }
        }
        Ok(())
    }

    /// Checks that the lane may use the object, itself or by a bulk copy (`is_async`): it is there, and
    /// its initialisation is seen.
    pub fn mbarrier_use(
        &mut self,
        (rank, address): (usize, u64),
        w: &Warp<'_>,
        stamp: Stamp,
        is_async: bool,
    ) -> Done {
        let block = &mut self.blocks[rank];
        let object = block.mbarriers.objects.at(address as u32).map_err(rule)?;
        let object = object.to_string();
        let fenced = block.mbarriers.order.get(&(address as u32)).is_some_and(|p| p.fenced);
        if block.number != w.timeline.agent.block() && !fenced {
            return Err(Fault::Rule(format!(
                "uses {object} of another block; no fence.mbarrier_init followed its initialisation"
            ))
            .into());
        }
        let range = block.shared.range(address, SIZE as usize)?;
        let stamp = Stamp { strong: true, ..stamp };
        let by = By { stamp, timeline: &w.timeline, is_async: is_async && !fenced };
        block.shared.shadow.read(range, by)
    }

    /// All but tests.
    pub fn mbarrier(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        space: Space,
        (a, op): (At, Mbar),
        d: Option<Slot>,
    ) -> Done {
        let addresses = w.addresses(a, now.mask)?;
        let party = w.party(now.mask);
        for lane in lanes_of(now.mask) {
            let (rank, address) = self.shared_at(space, now.rank, addresses[lane])?;
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            let at = address as u32;
            if let Mbar::Init(count) = op {
                let count = w.get(count, lane)? as u32;
                let by = By { stamp, timeline: &w.timeline, is_async: false };
                let block = &mut self.blocks[rank];
                block.mbarriers.init(at, count, stamp).map_err(rule)?;
                block.shared.write(address, &[0; SIZE as usize], by)?;
                continue;
            }
            self.mbarrier_use((rank, address), w, stamp, false)?;
            let values = match op {
                Mbar::Arrive { count, expect, .. } => {
                    let expect = expect.map(|e| w.get(e, lane)).transpose()?;
                    (w.get(count, lane)? as u32, expect.map(|e| e as u32))
                }
                Mbar::Expect(bytes) => (w.get(bytes, lane)? as u32, None),
                Mbar::Init(_) | Mbar::Inval | Mbar::Test { .. } => (0, None),
            };
            let table = &mut self.blocks[rank].mbarriers;
            let alone = crate::order::Party { lanes: 1 << lane, ..party };
            let state = match (op, values) {
                (Mbar::Arrive { relaxed, .. }, (count, expect)) => {
                    let known = (!relaxed).then(|| w.timeline.release(alone));
                    let state = table.change(at, known.as_ref(), |object| match expect {
                        Some(bytes) => object.arrive_expect_tx(bytes),
                        None => object.arrive(count),
                    })?;
                    Some(state.0)
                }
                (Mbar::Expect(_), (bytes, _)) => {
                    table.change(at, None, |object| object.expect_tx(bytes))?;
                    None
                }
                (Mbar::Inval, _) => {
                    table.objects.inval(at).map_err(rule)?;
                    None
                }
                (Mbar::Init(_) | Mbar::Test { .. }, _) => None,
            };
            if let (Some(d), Some(state)) = (d, state) {
                w.set(d, lane, state)?;
            }
        }
        Ok(())
    }

    /// `test_wait` tells; `try_wait` may wait: here until the phase is over, after it has said no as
    /// often as the schedule has it.
    pub fn mbarrier_test(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        space: Space,
        (a, op): (At, Mbar),
        d: Option<Slot>,
    ) -> Done {
        let Mbar::Test { phase, token, blocking, relaxed } = op else { return Ok(()) };
        let addresses = w.addresses(a, now.mask)?;
        let which = w.row(phase, now.mask)?;
        let mut row = [0; 32];
        let mut incomplete = None;
        let mut acquired: Vec<((usize, u32), u32)> = Vec::new();
        for lane in lanes_of(now.mask) {
            let (rank, address) = self.shared_at(space, now.rank, addresses[lane])?;
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            self.mbarrier_use((rank, address), w, stamp, false)?;
            let table = &mut self.blocks[rank].mbarriers;
            let at = address as u32;
            let (done, parity) = table.change(at, None, |object| match token {
                false => Ok((object.test_parity(which[lane] as u32)?, which[lane] as u32)),
                true => Ok((object.test_state(Token(which[lane]))?, (object.phase() & 1) as u32)),
            })?;
            row[lane] = u64::from(done);
            if !done {
                incomplete = Some(State::Mbarrier { rank, address, parity });
            } else if !relaxed {
                // lanes that wait for the same object learn the same together
                match acquired.iter_mut().find(|(object, _)| *object == (rank, at)) {
                    Some((_, lanes)) => *lanes |= 1 << lane,
                    None => acquired.push(((rank, at), 1 << lane)),
                }
            }
        }
        for ((rank, at), lanes) in acquired {
            if let Some(phases) = self.blocks[rank].mbarriers.order.get(&at) {
                w.timeline.acquire(w.party(lanes), &phases.complete);
            }
        }
        if let (Some(state), true) = (incomplete, blocking) {
            w.tries += 1;
            let waits = match now.m.options.schedule {
                Schedule::Early => true,
                Schedule::Late => w.tries > 2,
                Schedule::Random(_) => now.m.chance.below(2) == 0,
            };
            if waits {
                w.state = state;
                lanes_of(now.mask).for_each(|lane| w.pcs[lane] = Some(now.pc));
                return Ok(());
            }
        } else {
            w.tries = 0;
        }
        match d {
            Some(d) => Ok(w.set_row(d, &row, now.mask)?),
            None => Ok(()),
        }
    }

    /// `fence.mbarrier_init`: what these lanes initialised, the whole cluster and its copies see.
    pub fn fence_init(&mut self, now: &mut Now<'_, 'a>, w: &Warp<'a>) {
        for phases in self.blocks[now.rank].mbarriers.order.values_mut() {
            let Stamp { agent, lane, .. } = phases.init;
            phases.fenced |= agent == w.timeline.agent && now.mask >> lane & 1 == 1;
        }
    }

    /// An arrival of a warp at the cluster's barrier.
    pub fn cluster_arrive(&mut self, w: &mut Warp<'a>, relaxed: bool) -> Done {
        if w.cluster.is_some() {
            return Err(Fault::Rule("arrives twice at the cluster's barrier".into()).into());
        }
        w.cluster = Some(self.barrier.phase);
        self.barrier.came += 1;
        if !relaxed {
            let known = w.timeline.release(w.party(w.live()));
            match &mut self.barrier.gathering {
                Some(gathered) => gathered.join(&known),
                none => *none = Some(known),
            }
        }
        self.cluster_turn(1);
        Ok(())
    }

    /// Ends the phase if all warps have come that have not exited; `moving` of them are out of their
    /// blocks.
    pub fn cluster_turn(&mut self, moving: u32) {
        let there = self.blocks.iter().flat_map(|b| b.warps.iter().flatten());
        let live = there.filter(|w| w.state != State::Exited).count() as u32 + moving;
        if self.barrier.came == 0 || self.barrier.came < live {
            return;
        }
        self.barrier.phase += 1;
        self.barrier.came = 0;
        self.barrier.complete = self.barrier.gathering.take();
        for block in &mut self.blocks {
            for warp in block.warps.iter_mut().flatten().filter(|w| w.state == State::Cluster) {
                leave_cluster(warp, self.barrier.complete.as_ref());
            }
        }
    }

    pub fn cluster_wait(&mut self, w: &mut Warp<'a>) -> Done {
        match w.cluster {
            None => {
                Err(Fault::Rule("waits at the cluster's barrier without arriving".into()).into())
            }
            Some(phase) if phase < self.barrier.phase => {
                leave_cluster(w, self.barrier.complete.as_ref());
                Ok(())
            }
            Some(_) => {
                w.state = State::Cluster;
                Ok(())
            }
        }
    }

    /// `setmaxnreg` (ISA 9.7.19.5): a multiple of 8 from 24 to 256.
    pub fn set_max_registers(&mut self, count: u32) -> Done {
        if !(24..=256).contains(&count) || !count.is_multiple_of(8) {
            let what = format!("setmaxnreg {count}: a multiple of 8 in 24..=256 is wanted");
            return Err(Fault::Rule(what).into());
        }
        Ok(())
    }

    /// A warp has exited: nothing that it began may be under way, and when it is its block's last, what
    /// other blocks did in the block's shared memory must be over.
    pub fn exits(&mut self, rank: usize, w: &mut Warp<'a>) -> Done {
        if let Some(site) = self.unfinished_store(w).or(w.group.unfinished()) {
            return Err(Fault::Unwaited { operation: w.program.site(site) }.into());
        }
        if self.blocks.len() > 1 {
            let known = w.timeline.release(w.party(0));
            let block = &mut self.blocks[rank];
            block.known.join(&known);
            if block.warps.iter().flatten().all(|w| w.state == State::Exited) {
                block.shared.shadow.outlives(block.number, &block.known.seen)?;
            }
        }
        self.cluster_turn(0);
        Ok(())
    }

    /// Refuses what ordinary accesses may not touch.
    pub fn not_mbarrier(&self, place: Place, bytes: usize) -> Result<(), Fault> {
        let Place::Shared { rank, offset } = place else { return Ok(()) };
        match self.blocks[rank].mbarriers.overlapping(offset, bytes) {
            Some(object) => Err(Fault::Rule(format!("touches the bytes of {object}"))),
            None => Ok(()),
        }
    }
}

fn leave_cluster(w: &mut Warp<'_>, known: Option<&Known>) {
    w.cluster = None;
    w.state = State::Running;
    if let Some(known) = known {
        w.timeline.acquire(w.party(w.live()), known);
    }
}
