//! A block: its warps, its shared memory, its barriers.

use crate::code::{Space, Which};
use crate::group::Group;
use crate::machine::{Cluster, Machine};
use crate::memory::Shared;
use crate::order::Known;
use crate::program::{Launch, Program};
use crate::sync::{BlockBarriers, MbarrierTable};
use crate::trap::Fault;
use crate::warp::{State, Warp};

pub(crate) struct Block<'p> {
    /// (x, y, z)
    pub at: [u32; 3],
    /// Counted x first.
    pub number: u32,
    pub threads: u32,
    /// `None` while it moves.
    pub warps: Vec<Option<Box<Warp<'p>>>>,
    pub shared: Shared,
    pub barriers: BlockBarriers,
    pub mbarriers: MbarrierTable,
    /// The multiplies of each warpgroup.
    pub groups: Vec<Group<'p>>,
    /// What its warps knew when they exited.
    pub known: Known,
}

impl<'p> Block<'p> {
    pub fn new(program: &'p Program, launch: &Launch, at: [u32; 3], number: u32) -> Self {
        let threads: u32 = launch.block.iter().product();
        let warp = |w| Some(Box::new(Warp::new(program, number, w, threads)));
        let bytes = program.dynamic_from + launch.shared_bytes;
        Self {
            at,
            number,
            threads,
            warps: (0..threads.div_ceil(32)).map(warp).collect(),
            shared: Shared::new(bytes as usize),
            barriers: BlockBarriers::new(number, threads),
            mbarriers: MbarrierTable::new(number),
            groups: (0..threads.div_ceil(128)).map(|_| Group::default()).collect(),
            known: Known::new(number),
        }
    }

    pub fn has_exited(&self) -> bool {
        self.warps.iter().all(|w| w.as_ref().is_some_and(|w| w.state == State::Exited))
    }
}

/// What an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Global(u64),
    /// A byte of the shared memory of the cluster's block of this rank.
    Shared {
        rank: usize,
        offset: u64,
    },
    Param(u64),
}

/// Generic addresses of shared memory: bits 31:24 name the block of the cluster, as in `Cluster`.
const SHARED_WINDOW: u64 = 0x7F00 << 32;
/// Generic addresses of parameters.
const PARAM_WINDOW: u64 = 0x7E00 << 32;
/// Addresses of shared memory lie below; the block's rank + 1 lies above, 0 being one's own.
const RANK_SHIFT: u32 = 24;

/// The generic address of a parameter's byte.
pub(crate) fn param_address(offset: u64) -> u64 {
    PARAM_WINDOW | offset & 0xFFFF_FFFF
}

impl<'a> Cluster<'a> {
    /// What an address of a space names, to a warp of the block of this rank.
    pub fn place(&self, space: Space, rank: usize, address: u64) -> Result<Place, Fault> {
        match space {
            Space::Global if address < PARAM_WINDOW => Ok(Place::Global(address)),
            Space::Global => {
                Err(Fault::Rule(format!("{address:#x} is no address of global memory")))
            }
            Space::Param => Ok(Place::Param(address)),
            Space::Shared => {
                let place = self.shared_place(rank, address & 0xFFFF_FFFF)?;
                match place {
                    Place::Shared { rank: other, .. } if other != rank => Err(Fault::Rule(
                        format!("{address:#x} is in another block; .shared::cta means one's own"),
                    )),
                    place => Ok(place),
                }
            }
            Space::Cluster => self.shared_place(rank, address & 0xFFFF_FFFF),
            Space::Generic if address >> 32 == SHARED_WINDOW >> 32 => {
                self.shared_place(rank, address & 0xFFFF_FFFF)
            }
            Space::Generic if address >> 32 == PARAM_WINDOW >> 32 => {
                Ok(Place::Param(address & 0xFFFF_FFFF))
            }
            Space::Generic => Ok(Place::Global(address)),
        }
    }

    fn shared_place(&self, mine: usize, address: u64) -> Result<Place, Fault> {
        let offset = address & ((1 << RANK_SHIFT) - 1);
        let rank = match (address >> RANK_SHIFT).checked_sub(1) {
            None => mine,
            Some(rank) => rank as usize,
        };
        let blocks = self.blocks.len();
        let Some(block) = self.blocks.get(rank) else {
            return Err(Fault::Rule(format!(
                "{address:#x} is in the shared memory of block {rank} of a cluster of {blocks}"
            )));
        };
        if rank != mine && block.has_exited() {
            return Err(Fault::Rule(format!(
                "touches the shared memory of block {rank} of the cluster, which has exited"
            )));
        }
        Ok(Place::Shared { rank, offset })
    }

    /// The address within the cluster of one's own shared address.
    pub fn mapa(&self, address: u64, rank: u64) -> Result<u64, Fault> {
        let blocks = self.blocks.len() as u64;
        if rank >= blocks {
            return Err(Fault::Rule(format!("mapa: block {rank} of a cluster of {blocks}")));
        }
        Ok(address & ((1 << RANK_SHIFT) - 1) | (rank + 1) << RANK_SHIFT)
    }

    pub fn to_generic(space: Space, address: u64) -> u64 {
        match space {
            Space::Shared | Space::Cluster => SHARED_WINDOW | address & 0xFFFF_FFFF,
            Space::Param => param_address(address),
            Space::Global | Space::Generic => address,
        }
    }

    pub fn from_generic(space: Space, address: u64) -> Result<u64, Fault> {
        let window = address & !0xFFFF_FFFF;
        let want = match space {
            Space::Shared | Space::Cluster => SHARED_WINDOW,
            Space::Param => PARAM_WINDOW,
            Space::Global | Space::Generic if window < PARAM_WINDOW => return Ok(address),
            Space::Global | Space::Generic => 0,
        };
        if window != want {
            return Err(Fault::Rule(format!("cvta.to: {address:#x} is in another state space")));
        }
        Ok(address & 0xFFFF_FFFF)
    }

    /// A special register (PTX ISA chapter 10).
    pub fn special(
        &self,
        m: &Machine<'_>,
        rank: usize,
        w: &Warp<'_>,
        which: Which,
        lane: usize,
    ) -> u64 {
        use crate::code::LaneMask::{Eq, Ge, Gt, Le, Lt};
        let block = &self.blocks[rank];
        let launch = m.launch;
        let thread = w.number * 32 + lane as u32;
        let [x, y, _] = launch.block;
        let [cx, cy, _] = launch.cluster;
        let rank = rank as u32;
        let bit = 1u32 << lane;
        let value = match which {
            Which::Tid(axis) => [thread % x, thread / x % y, thread / (x * y)][axis],
            Which::Ntid(axis) => launch.block[axis],
            Which::Ctaid(axis) => block.at[axis],
            Which::Nctaid(axis) => launch.grid[axis],
            Which::LaneId => lane as u32,
            Which::WarpId => w.number,
            Which::NwarpId => block.threads.div_ceil(32),
            Which::LaneMask(mask) => match mask {
                Eq => bit,
                Lt => bit - 1,
                Le => bit | (bit - 1),
                Gt => !(bit | (bit - 1)),
                Ge => !(bit - 1),
            },
            Which::ClusterId(axis) => block.at[axis] / launch.cluster[axis],
            Which::NclusterId(axis) => launch.grid[axis] / launch.cluster[axis],
            Which::ClusterCtaid(axis) => [rank % cx, rank / cx % cy, rank / (cx * cy)][axis],
            Which::ClusterNctaid(axis) => launch.cluster[axis],
            Which::ClusterCtarank => rank,
            Which::ClusterNctarank => launch.cluster.iter().product(),
            Which::Clock => return m.issued,
            Which::DynamicShared => launch.shared_bytes,
            Which::TotalShared => m.program.dynamic_from + launch.shared_bytes,
        };
        u64::from(value)
    }
}
