//! A launch: blocks and clusters of blocks, and who of them moves next.

use crate::asynchronous::Pending;
use crate::block::Block;
use crate::chance::Chance;
use crate::code::Op;
use crate::counts::{Count, LineCount, Report};
use crate::memory::Global;
use crate::order::{Agent, Stamp};
use crate::program::{Arg, Event, Launch, Options, Program, Schedule};
use crate::shadow::Clash;
use crate::sync::ClusterBarrier;
use crate::trap::{Fault, Site, Trap};
use crate::warp::{State, Warp};
use std::collections::{BTreeMap, VecDeque};

/// Instructions after which another warp moves, though this one could go on: it may be spinning.
const BURST: u64 = 1 << 12;
/// Bursts after which another cluster moves.
const TURN: u64 = 1 << 6;

/// Random turns, which are short, after which a cluster may be spinning.
const PATIENCE: usize = 256;

type Observer<'a> = &'a mut dyn FnMut(&Event<'_>);

/// What all clusters of a launch share.
pub(crate) struct Machine<'a> {
    pub program: &'a Program,
    pub launch: &'a Launch,
    /// The parameters, laid out as `ld.param` sees them.
    pub params: Vec<u8>,
    pub memory: &'a mut Global,
    pub counts: Vec<Count>,
    /// Of these the requests to each buffer, by instruction and buffer.
    pub buffers: BTreeMap<(usize, usize), Count>,
    pub options: Options,
    pub chance: Chance,
    pub issued: u64,
    observer: Option<Observer<'a>>,
}

/// Blocks that run together, and what they have under way.
pub(crate) struct Cluster<'a> {
    pub blocks: Vec<Block<'a>>,
    pub pending: Vec<Pending>,
    pub barrier: ClusterBarrier,
    /// Where the search for the next warp begins.
    from: usize,
    /// Turns that it has spent.
    turns: usize,
}

/// How a cluster's turn ended.
#[derive(PartialEq, Eq)]
enum Turn {
    Finished,
    Spent,
}

impl<'a> Machine<'a> {
    pub fn new(
        program: &'a Program,
        launch: &'a Launch,
        memory: &'a mut Global,
        options: Options,
        observer: Option<Observer<'a>>,
    ) -> Result<Self, Trap> {
        let params = bind(program, launch).map_err(|why| Trap {
            fault: Fault::Launch(why),
            site: Site { line: 0, text: "the launch".into() },
            block: [0; 3],
            warp: 0,
        })?;
        let seed = if let Schedule::Random(seed) = options.schedule { seed } else { 0 };
        let counts = vec![Count::default(); program.code.len()];
        let chance = Chance::new(seed);
        memory.begin_launch();
        let issued = 0;
        let buffers = BTreeMap::new();
        Ok(Self {
            program,
            launch,
            params,
            memory,
            counts,
            buffers,
            options,
            chance,
            issued,
            observer,
        })
    }

    /// Runs the grid.
    pub fn run(mut self) -> Result<Report, Trap> {
        let size: u32 = self.launch.cluster.iter().product();
        let mut waiting = self.clusters();
        let mut live: VecDeque<Cluster<'a>> = VecDeque::new();
        // one cluster at a time, until one spins: it may wait for another
        let mut resident = if self.is_random() { 3 } else { 1 };
        loop {
            while live.len() < resident {
                let Some(at) = waiting.pop_front() else { break };
                live.push_back(Cluster::new(&self, at, size));
            }
            if self.is_random() && !live.is_empty() {
                live.rotate_left(self.chance.below(live.len()));
            }
            let Some(mut cluster) = live.pop_front() else { break };
            if cluster.turn(&mut self)? == Turn::Spent {
                cluster.turns += 1;
                if !self.is_random() || cluster.turns % PATIENCE == 0 {
                    resident = resident.max(live.len() + 2);
                }
                live.push_back(cluster);
            }
        }
        let buffers = |pc: usize| {
            let here = self.buffers.range((pc, 0)..(pc + 1, 0));
            here.map(|((_, buffer), count)| (self.memory.name(*buffer).to_string(), *count))
        };
        let lines = self.program.code.iter().enumerate().map(|(pc, step)| LineCount {
            line: step.line,
            text: step.text.clone(),
            class: step.class,
            count: self.counts[pc],
            buffers: buffers(pc).collect(),
        });
        Ok(Report { lines: lines.collect() })
    }

    /// The first block of each cluster, in the order in which they start.
    fn clusters(&mut self) -> VecDeque<[u32; 3]> {
        let [gx, gy, gz] = self.launch.grid;
        let [cx, cy, cz] = self.launch.cluster.map(|c| c as usize);
        let mut all = VecDeque::new();
        for z in (0..gz).step_by(cz) {
            for y in (0..gy).step_by(cy) {
                all.extend((0..gx).step_by(cx).map(|x| [x, y, z]));
            }
        }
        match self.options.schedule {
            Schedule::Early => {}
            Schedule::Late => all.make_contiguous().reverse(),
            Schedule::Random(_) => self.chance.shuffle(all.make_contiguous()),
        }
        all
    }

    pub fn is_random(&self) -> bool {
        matches!(self.options.schedule, Schedule::Random(_))
    }

    /// Counts an instruction, within the budget.
    fn issue(&mut self, pc: usize) -> Result<(), Fault> {
        self.issued += 1;
        if let Some(count) = self.counts.get_mut(pc) {
            count.issued += 1;
        }
        if self.issued > self.options.budget {
            return Err(Fault::Budget(self.options.budget));
        }
        Ok(())
    }

    fn observe(&mut self, block: [u32; 3], warp: &Warp<'_>, pc: usize, lanes: u32) {
        let Some(observer) = &mut self.observer else { return };
        let Some(step) = self.program.code.get(pc) else { return };
        let slots = step.op.destinations();
        let named = |slot: &usize| (self.program.slots[*slot].name.as_str(), warp.peek(*slot));
        let wrote: Vec<_> = slots.iter().map(named).collect();
        let site = self.program.site(pc);
        observer(&Event { block, warp: warp.number, site, lanes, wrote: &wrote });
    }
}

impl<'a> Cluster<'a> {
    fn new(machine: &Machine<'a>, first: [u32; 3], size: u32) -> Self {
        let [cx, cy, _] = machine.launch.cluster;
        let [gx, gy, _] = machine.launch.grid;
        let blocks = (0..size).map(|rank| {
            let within = [rank % cx, rank / cx % cy, rank / (cx * cy)];
            let at: [u32; 3] = std::array::from_fn(|i| first[i] + within[i]);
            let number = at[0] + gx * (at[1] + gy * at[2]);
            Block::new(machine.program, machine.launch, at, number)
        });
        let blocks = blocks.collect();
        Self { blocks, pending: Vec::new(), barrier: ClusterBarrier::default(), from: 0, turns: 0 }
    }

    /// Runs until every warp has exited, or for long enough.
    fn turn(&mut self, machine: &mut Machine<'a>) -> Result<Turn, Trap> {
        for _ in 0..TURN {
            let Some((rank, number)) = self.choose(machine) else {
                if !self.pending.is_empty() {
                    let which = if machine.is_random() {
                        machine.chance.below(self.pending.len())
                    } else {
                        0
                    };
                    self.complete(machine, which)?;
                    continue;
                }
                if self.warps().all(|w| w.state == State::Exited) {
                    return Ok(Turn::Finished);
                }
                return Err(self.deadlock());
            };
            // the chosen warp leaves its block while it moves, so that it may touch the block
            let Some(mut warp) = self.blocks[rank].warps[number].take() else { continue };
            let burst =
                if machine.is_random() { 1 + machine.chance.below(48) as u64 } else { BURST };
            let mut left = burst;
            while warp.state == State::Running && left > 0 {
                let done = self.issue(machine, rank, &mut warp);
                if let Err((pc, clash)) = done {
                    return Err(self.trap(rank, &warp, pc, clash));
                }
                left -= 1;
            }
            let spins = left == 0;
            self.blocks[rank].warps[number] = Some(warp);
            let all = self.blocks.len() * self.blocks[rank].warps.len();
            let index = rank * self.blocks[rank].warps.len() + number;
            self.from = if spins { (index + 1) % all } else { 0 };
            if !self.pending.is_empty() && (spins || machine.is_random()) {
                let which = machine.chance.below(2 * self.pending.len());
                if which < self.pending.len() {
                    self.complete(machine, which)?;
                }
            }
        }
        Ok(Turn::Spent)
    }

    fn warps(&self) -> impl Iterator<Item = &Warp<'a>> {
        self.blocks.iter().flat_map(|b| b.warps.iter().flatten().map(|w| &**w))
    }

    /// A warp that can move.
    fn choose(&mut self, machine: &mut Machine<'a>) -> Option<(usize, usize)> {
        let per_block = self.blocks.first()?.warps.len();
        let all = self.blocks.len() * per_block;
        let start = match machine.options.schedule {
            Schedule::Random(_) => machine.chance.below(all),
            _ => self.from,
        };
        for i in 0..all {
            let i = (start + i) % all;
            let i = if machine.options.schedule == Schedule::Late { all - 1 - i } else { i };
            let (rank, number) = (i / per_block, i % per_block);
            if self.ready(rank, number) {
                if let Some(warp) = &mut self.blocks[rank].warps[number] {
                    warp.state = State::Running;
                }
                return Some((rank, number));
            }
        }
        None
    }

    /// Issues a warp's next instruction to the lanes that are there.
    fn issue(
        &mut self,
        machine: &mut Machine<'a>,
        rank: usize,
        warp: &mut Warp<'a>,
    ) -> Result<(), (usize, Clash)> {
        let Some((pc, here)) = warp.front() else {
            warp.state = State::Exited;
            return self.exits(rank, warp).map_err(|clash| (warp.at, clash));
        };
        warp.at = pc;
        machine.issue(pc).map_err(|fault| (pc, fault.into()))?;
        let lanes = self.execute(machine, rank, warp, pc, here).map_err(|clash| (pc, clash))?;
        machine.observe(self.blocks[rank].at, warp, pc, lanes);
        Ok(())
    }

    /// What every warp waits for.
    fn deadlock(&self) -> Trap {
        let mut lines = Vec::new();
        for block in &self.blocks {
            for warp in block.warps.iter().flatten() {
                let at = warp.program.site(warp.at);
                let whom = if self.blocks.len() > 1 {
                    format!("block {:?} warp {}", block.at, warp.number)
                } else {
                    format!("warp {}", warp.number)
                };
                lines.push(match warp.state {
                    State::Exited => format!("{whom} has exited"),
                    State::Barrier(id) => {
                        format!(
                            "{whom} waits at barrier {id} ({}), {at}",
                            block.barriers.describe(id)
                        )
                    }
                    State::Mbarrier { rank, address, parity } => {
                        let object = self.blocks[rank].mbarriers.describe(address);
                        format!("{whom} waits for parity {parity} of {object}, {at}")
                    }
                    State::Cluster => format!("{whom} waits for its cluster, {at}"),
                    State::Group => format!("{whom} waits for its warpgroup, {at}"),
                    State::Running => format!("{whom} runs, {at}"),
                });
            }
        }
        let (block, warp) = self
            .blocks
            .iter()
            .flat_map(|b| b.warps.iter().flatten().map(move |w| (b, w)))
            .find(|(_, w)| w.state != State::Exited)
            .map_or(([0; 3], None), |(b, w)| (b.at, Some(w)));
        Trap {
            fault: Fault::Deadlock { waiting: lines.join("; ") },
            site: warp.map_or(Site { line: 0, text: String::new() }, |w| w.program.site(w.at)),
            block,
            warp: warp.map_or(0, |w| w.number),
        }
    }

    pub fn trap(&self, rank: usize, warp: &Warp<'_>, pc: usize, clash: Clash) -> Trap {
        let me = Agent::warp(self.blocks[rank].number, warp.number);
        let fault = translate(warp.program, me, clash);
        Trap { fault, site: warp.program.site(pc), block: self.blocks[rank].at, warp: warp.number }
    }
}

/// A clash in words, as seen by this agent.
pub(crate) fn translate(program: &Program, me: Agent, clash: Clash) -> Fault {
    let site = |stamp: Stamp| program.site(stamp.site as usize);
    match clash {
        Clash::Fault(fault) => fault,
        Clash::Race { space, address, with } => {
            let who = if with.agent.is_async() {
                "an asynchronous copy whose mbarrier it did not wait for".to_string()
            } else if with.agent == me {
                format!("lane {} of its own warp", with.lane)
            } else if with.agent.block() == me.block() {
                format!("warp {}", with.agent.index())
            } else {
                format!("warp {} of block number {}", with.agent.index(), with.agent.block())
            };
            Fault::Race { space: space.name(), address, who, other: site(with) }
        }
        Clash::Unfenced { space, address, with } => {
            Fault::Unfenced { space: space.name(), address, other: site(with) }
        }
        Clash::InFlight { space, address, site, reads } => {
            let what = if reads { "read" } else { "write" };
            let (space, operation) = (space.name(), program.site(site as usize));
            Fault::InFlight { space, address, operation, what }
        }
    }
}

/// The parameters' bytes; the error says which argument does not fit.
fn bind(program: &Program, launch: &Launch) -> Result<Vec<u8>, String> {
    if launch.args.len() != program.params.len() {
        let (got, want) = (launch.args.len(), program.params.len());
        return Err(format!("{got} arguments for {want} parameters"));
    }
    let threads: u64 = launch.block.iter().map(|t| u64::from(*t)).product();
    if threads == 0 || threads > 1024 {
        return Err(format!("{threads} threads in a block: 1 to 1024 are possible"));
    }
    let whole = program.exact_block.is_some_and(|want| want != launch.block);
    if whole || program.max_threads.is_some_and(|most| most < threads) {
        return Err(format!("{threads} threads, against the kernel's own bound"));
    }
    if program.exact_cluster.is_some_and(|want| want != launch.cluster) {
        return Err(format!("clusters of {:?}, against the kernel's own", launch.cluster));
    }
    let blocks: u64 = launch.cluster.iter().map(|c| u64::from(*c)).product();
    let divides = launch.grid.iter().zip(launch.cluster).all(|(g, c)| c > 0 && g % c == 0);
    if !divides || blocks > 16 {
        return Err(format!(
            "clusters of {:?} do not divide a grid of {:?}, or have more than 16 blocks",
            launch.cluster, launch.grid
        ));
    }
    let grid: u64 = launch.grid.iter().map(|g| u64::from(*g)).product();
    if grid > 1 << 24 {
        return Err(format!("{grid} blocks; 2^24 are possible here"));
    }
    let shared = u64::from(program.dynamic_from) + u64::from(launch.shared_bytes);
    if shared > 228 << 10 {
        return Err(format!("{shared} bytes of shared memory; 233472 are possible"));
    }
    let mut bytes = vec![0; program.param_bytes];
    for (param, arg) in program.params.iter().zip(&launch.args) {
        let data = match arg {
            Arg::U64(value) => value.to_le_bytes().to_vec(),
            Arg::U32(value) => value.to_le_bytes().to_vec(),
            Arg::Bytes(data) => data.clone(),
        };
        if data.len() != param.bytes {
            let (got, want) = (data.len(), param.bytes);
            return Err(format!(
                "parameter {} is {want} bytes; the argument has {got}",
                param.name
            ));
        }
        bytes[param.offset..param.offset + param.bytes].copy_from_slice(&data);
    }
    Ok(bytes)
}

impl Op {
    /// The registers that it writes at once, in order.
    fn destinations(&self) -> Vec<usize> {
        match self {
            Self::Unary { d, .. }
            | Self::Binary { d, .. }
            | Self::Ternary { d, .. }
            | Self::Quaternary { d, .. }
            | Self::Special { d, .. }
            | Self::Pack { d, .. }
            | Self::Vote { d, .. }
            | Self::ActiveMask { d }
            | Self::Reduce { d, .. }
            | Self::Movmatrix { d, .. }
            | Self::Mapa { d, .. }
            | Self::ToGeneric { d, .. }
            | Self::FromGeneric { d, .. } => vec![*d],
            Self::Unpack { d, .. } | Self::Load { d, .. } => d.iter().flatten().copied().collect(),
            Self::Shuffle { d, p, .. } => d.iter().chain(p).copied().collect(),
            Self::Elect { d, p, .. } => d.iter().chain([p]).copied().collect(),
            Self::Atomic { d, .. } | Self::Mbarrier { d, .. } => d.iter().copied().collect(),
            Self::Ldmatrix { d, .. } => d.clone(),
            Self::Multiply(multiply) => multiply.d.clone(),
            _ => Vec::new(),
        }
    }
}
