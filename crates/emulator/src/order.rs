//! What is ordered before what: vector clocks (Mattern 1989), as the PTX memory model composes them
//! (PTX ISA chapter 8: program order, barriers, release and acquire patterns, and nothing else).
//!
//! An *agent* is a warp, or the arrivals of asynchronous data at one mbarrier. Each access has a
//! [`Stamp`]: agent, clock, lane. A [`Clock`] says, per agent, up to which time everything is ordered
//! before its owner. Lanes of a warp are threads of their own: what one lane releases covers only
//! that lane's accesses, unless the warp has met in between.

/// Agents of one block: warps first, then mbarriers.
const AGENTS: u32 = 256;
/// Warps of a block, at most.
pub(crate) const WARPS: u32 = 32;
/// Instead of a lane: the whole warp took part.
pub(crate) const ALL_LANES: u8 = u8::MAX;
/// The same, of an operation whose end all lanes saw together: each lane comes after it.
pub(crate) const TOGETHER: u8 = u8::MAX - 1;

/// Who may come before whom: block · 256 + warp, or + 32 + mbarrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Agent(u32);

impl Agent {
    pub fn warp(block: u32, warp: u32) -> Self {
        Self(block.wrapping_mul(AGENTS) + warp)
    }

    /// Beyond 224 mbarriers of a block several share an agent, which only loses precision.
    pub fn mbarrier(block: u32, index: u32) -> Self {
        Self(block.wrapping_mul(AGENTS) + WARPS + index % (AGENTS - WARPS))
    }

    pub fn block(self) -> u32 {
        self.0 / AGENTS
    }

    /// Warp of the block; beyond [`WARPS`] it is an mbarrier.
    pub fn index(self) -> u32 {
        self.0 % AGENTS
    }

    /// Whether its accesses go through the async proxy.
    pub fn is_async(self) -> bool {
        self.index() >= WARPS
    }
}

/// An access: who, when, which lane, at which instruction. Clock 0: nobody yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub agent: Agent,
    pub clock: u32,
    pub site: u32,
    pub lane: u8,
    /// An atomic or another strong access: two of these do not race.
    pub strong: bool,
}

impl Stamp {
    pub fn is_some(self) -> bool {
        self.clock != 0
    }

    /// Program order: the same thread.
    fn same_thread(self, other: Self) -> bool {
        let lane = self.lane == other.lane && self.lane != ALL_LANES;
        self.agent == other.agent && (lane || self.lane == TOGETHER)
    }
}

/// Per agent, the time up to which its accesses are ordered before the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    block: u32,
    /// Agents of the owner's block, by index.
    near: Vec<u32>,
    /// Agents of other blocks, sorted.
    far: Vec<(Agent, u32)>,
    /// Single lanes of which more is ordered than of their warps.
    lanes: Vec<(Agent, u8, u32)>,
}

impl Clock {
    pub fn new(block: u32) -> Self {
        Self { block, ..Self::default() }
    }

    fn of(&self, agent: Agent) -> u32 {
        if agent.block() == self.block {
            return self.near.get(agent.index() as usize).copied().unwrap_or(0);
        }
        let found = self.far.binary_search_by_key(&agent, |(a, _)| *a);
        found.map_or(0, |i| self.far[i].1)
    }

    pub fn covers(&self, stamp: Stamp) -> bool {
        self.of(stamp.agent) >= stamp.clock
            || self.lanes.iter().any(|(agent, lane, clock)| {
                let same = *lane == stamp.lane || stamp.lane == TOGETHER;
                *agent == stamp.agent && same && *clock >= stamp.clock
            })
    }

    /// Everything by this agent up to this time.
    pub fn add(&mut self, agent: Agent, clock: u32) {
        if agent.block() == self.block {
            let i = agent.index() as usize;
            if self.near.len() <= i {
                self.near.resize(i + 1, 0);
            }
            self.near[i] = self.near[i].max(clock);
            return;
        }
        match self.far.binary_search_by_key(&agent, |(a, _)| *a) {
            Ok(i) => self.far[i].1 = self.far[i].1.max(clock),
            Err(i) => self.far.insert(i, (agent, clock)),
        }
    }

    /// Everything by one lane up to this time.
    pub fn add_lane(&mut self, agent: Agent, lane: u8, clock: u32) {
        if self.of(agent) >= clock {
            return;
        }
        match self.lanes.iter_mut().find(|(a, l, _)| (*a, *l) == (agent, lane)) {
            Some(entry) => entry.2 = entry.2.max(clock),
            None => self.lanes.push((agent, lane, clock)),
        }
    }

    pub fn join(&mut self, other: &Self) {
        if other.block == self.block {
            if self.near.len() < other.near.len() {
                self.near.resize(other.near.len(), 0);
            }
            for (mine, theirs) in self.near.iter_mut().zip(&other.near) {
                *mine = (*mine).max(*theirs);
            }
        } else {
            for (i, clock) in other.near.iter().enumerate().filter(|(_, clock)| **clock > 0) {
                self.add(Agent(other.block * AGENTS + i as u32), *clock);
            }
        }
        for (agent, clock) in &other.far {
            self.add(*agent, *clock);
        }
        for (agent, lane, clock) in &other.lanes {
            self.add_lane(*agent, *lane, *clock);
        }
        if !self.lanes.is_empty() {
            let mut lanes = std::mem::take(&mut self.lanes);
            lanes.retain(|(agent, _, clock)| self.of(*agent) < *clock);
            self.lanes = lanes;
        }
    }
}

/// A memory of which `fence.proxy.async` may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Global,
    Shared,
}

impl Memory {
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Shared => "shared",
        }
    }
}

/// What is ordered before a thread, and which of that the async proxy sees too, of global and of
/// shared memory (`fence.proxy.async`, ISA 9.7.13.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub seen: Clock,
    proxied: [Clock; 2],
}

impl Known {
    pub fn new(block: u32) -> Self {
        Self { seen: Clock::new(block), proxied: [Clock::new(block), Clock::new(block)] }
    }

    pub fn join(&mut self, other: &Self) {
        self.seen.join(&other.seen);
        for (mine, theirs) in self.proxied.iter_mut().zip(&other.proxied) {
            mine.join(theirs);
        }
    }
}

/// What the strong writes of a release sequence released, by block and scope: whoever reads the last one
/// and acquires knows this.
#[derive(Clone, Debug)]
pub(crate) struct Released(Vec<Part>);

/// What one block's writes of one scope released.
#[derive(Clone, Debug)]
struct Part {
    block: u32,
    /// The scope was `.cta`: other blocks cannot acquire it.
    block_only: bool,
    known: Known,
}

impl Released {
    fn new(block: u32, block_only: bool, known: Known) -> Self {
        Self(vec![Part { block, block_only, known }])
    }

    /// Another write of the same release sequence.
    pub fn join(&mut self, other: &Self) {
        for part in &other.0 {
            let like = |p: &&mut Part| (p.block, p.block_only) == (part.block, part.block_only);
            match self.0.iter_mut().find(like) {
                Some(mine) => mine.known.join(&part.known),
                None => self.0.push(part.clone()),
            }
        }
    }
}

/// The order as one warp knows it.
pub(crate) struct Timeline {
    pub agent: Agent,
    /// Stamped on what it does now.
    now: u32,
    /// What all its lanes know.
    shared: Known,
    /// What single lanes know besides.
    lanes: Vec<Lane>,
}

#[derive(Clone, Default)]
struct Lane {
    known: Option<Box<Known>>,
    /// As of its last fence: what its later strong writes release.
    fenced: Option<Box<Released>>,
    /// What its strong reads saw since: a fence acquires it.
    observed: Option<Box<Known>>,
}

/// Lanes of a warp that do something together, of those that have not exited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    pub lanes: u32,
    pub live: u32,
}

impl Party {
    fn is_whole(self) -> bool {
        self.lanes & self.live == self.live
    }
}

impl Timeline {
    pub fn new(block: u32, warp: u32) -> Self {
        let agent = Agent::warp(block, warp);
        Self { agent, now: 1, shared: Known::new(block), lanes: vec![Lane::default(); 32] }
    }

    /// The stamp of an access now.
    pub fn stamp(&self, lane: u8, site: usize) -> Stamp {
        Stamp { agent: self.agent, clock: self.now, site: site as u32, lane, strong: false }
    }

    fn private(&self, lane: u8) -> Option<&Known> {
        self.lanes.get(lane as usize)?.known.as_deref()
    }

    /// Whether an earlier access is ordered before one now.
    pub fn ordered(&self, earlier: Stamp, now: Stamp) -> bool {
        earlier.same_thread(now)
            || self.shared.seen.covers(earlier)
            || self.private(now.lane).is_some_and(|known| known.seen.covers(earlier))
    }

    /// Whether the async proxy sees an earlier access to a memory: one of its own that is ordered, or
    /// one that was fenced.
    pub fn proxied(&self, memory: Memory, earlier: Stamp, now: Stamp) -> bool {
        if earlier.agent.is_async() {
            return self.ordered(earlier, now);
        }
        let sees = |known: &Known| known.proxied[memory as usize].covers(earlier);
        sees(&self.shared) || self.private(now.lane).is_some_and(sees)
    }

    /// What these lanes know together, their own accesses included; then time goes on, so that
    /// later accesses are not included.
    pub fn release(&mut self, party: Party) -> Known {
        let mut known = self.shared.clone();
        for lane in lanes_of(party.lanes) {
            if let Some(private) = &self.lanes[lane].known {
                known.join(private);
            }
            if !party.is_whole() {
                known.seen.add_lane(self.agent, lane as u8, self.now);
            }
        }
        if party.is_whole() {
            known.seen.add(self.agent, self.now);
        }
        self.now += 1;
        known
    }

    /// These lanes learn what others released.
    pub fn acquire(&mut self, party: Party, known: &Known) {
        if party.is_whole() {
            self.shared.join(known);
            return;
        }
        let block = self.agent.block();
        for lane in lanes_of(party.lanes) {
            let mine = &mut self.lanes[lane].known;
            mine.get_or_insert_with(|| Box::new(Known::new(block))).join(known);
        }
    }

    /// The whole warp leaves a barrier where it released all that its lanes knew.
    pub fn leave(&mut self, party: Party, known: &Known) {
        self.acquire(party, known);
        if party.is_whole() {
            self.lanes.iter_mut().for_each(|lane| lane.known = None);
        }
    }

    /// These lanes meet (`bar.warp.sync`, ISA 9.7.13.2): each learns what the others know.
    pub fn meet(&mut self, party: Party) {
        let known = self.release(party);
        self.leave(party, &known);
    }

    /// `fence.proxy.async` by these lanes: the async proxy sees what they know of these memories.
    ///
    /// Where the whole warp fences, each lane may count on the others' fences, too: whether it comes
    /// after their accesses is asked besides.
    pub fn fence_proxy(&mut self, party: Party, memories: &[Memory]) {
        if party.is_whole() {
            let known = self.release(party);
            for memory in memories {
                self.shared.proxied[*memory as usize].join(&known.seen);
            }
            return;
        }
        for lane in lanes_of(party.lanes) {
            let alone = Party { lanes: 1 << lane, ..party };
            let mut known = self.release(alone);
            for memory in memories {
                known.proxied[*memory as usize] = known.seen.clone();
            }
            self.acquire(alone, &known);
        }
    }

    /// `fence.acq_rel` and stronger (ISA 9.7.13.4): what the lanes' strong reads saw is acquired,
    /// and their later strong writes release what is known now.
    pub fn fence(&mut self, party: Party, block_only: bool) {
        let block = self.agent.block();
        for lane in lanes_of(party.lanes) {
            let alone = Party { lanes: 1 << lane, ..party };
            if let Some(observed) = self.lanes[lane].observed.take() {
                self.acquire(alone, &observed);
            }
            let known = self.release(alone);
            self.lanes[lane].fenced = Some(Box::new(Released::new(block, block_only, known)));
        }
    }

    /// What a strong write by this lane releases: with `.release` all that the lane knows, else what
    /// it knew at its last fence, if there was one.
    pub fn publish(&mut self, lane: usize, party: Party, order: Order) -> Option<Released> {
        if order.release {
            let known = self.release(Party { lanes: 1 << lane, ..party });
            return Some(Released::new(self.agent.block(), order.block_only, known));
        }
        self.lanes[lane].fenced.as_deref().cloned()
    }

    /// This lane has read what was released: with `.acquire` it knows it now, else at its next fence.
    pub fn observe(&mut self, lane: usize, party: Party, order: Order, released: &Released) {
        let block = self.agent.block();
        for part in &released.0 {
            // synchronisation asks for scopes that include each other's thread (ISA 8.8, morally strong)
            if part.block != block && (part.block_only || order.block_only) {
                continue;
            }
            if order.acquire {
                self.acquire(Party { lanes: 1 << lane, ..party }, &part.known);
                continue;
            }
            let observed = &mut self.lanes[lane].observed;
            observed.get_or_insert_with(|| Box::new(Known::new(block))).join(&part.known);
        }
    }
}

/// How a strong access orders, and for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub strong: bool,
    pub acquire: bool,
    pub release: bool,
    /// Scope `.cta`.
    pub block_only: bool,
    /// `.nc`: of data that stay as they are while the kernel runs.
    pub constant: bool,
}

pub(crate) fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}
