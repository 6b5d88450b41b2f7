//! What the emulator executes: each instruction with its registers resolved to slots and its
//! arithmetic to a function. `lower` makes it of the parsed text.

use crate::lower::{F1, F2, F3, F4};
use crate::mma::Form;
use crate::order::{Memory, Order};
use quickpick_ptx::{Shuffle, VoteMode};

/// A register's place in a warp.
pub(crate) type Slot = usize;

/// A source: a register or a constant, already cut to its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Src {
    Slot(Slot),
    Const(u64),
}

/// An address: base and offset in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub base: Src,
    pub offset: i64,
}

/// A guard: the predicate's slot, and the value that lets the instruction happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub slot: Slot,
    pub wanted: u64,
}

/// A state space. `Cluster` addresses name a block of the cluster in bits 31:24, 0 being one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Shared,
    Cluster,
    Param,
}

/// A step of the program.
pub(crate) struct Step {
    pub guard: Option<Guard>,
    pub op: Op,
    /// Its line in the text, and itself, as printed.
    pub line: usize,
    pub text: String,
    pub class: Class,
}

/// Kinds of instructions, as the counts tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Integer, logic, moves, predicates, conversions.
    Integer,
    /// Floating point.
    Float,
    /// `mma`, `mma.sp`, `wgmma` and `wgmma.sp`.
    Tensor,
    /// Loads and stores, atomics.
    Memory,
    /// `ldmatrix`, `stmatrix`, `movmatrix`.
    Matrix,
    /// Asynchronous copies, their commits and waits.
    Copy,
    /// Barriers and fences.
    Barrier,
    /// Branches and exits.
    Control,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::Integer,
        Self::Float,
        Self::Tensor,
        Self::Memory,
        Self::Matrix,
        Self::Copy,
        Self::Barrier,
        Self::Control,
    ];

    /// In lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Tensor => "tensor",
            Self::Memory => "memory",
            Self::Matrix => "matrix",
            Self::Copy => "copy",
            Self::Barrier => "barrier",
            Self::Control => "control",
        }
    }
}

/// Special registers (PTX ISA chapter 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Thread in the block, along an axis.
    Tid(usize),
    Ntid(usize),
    Ctaid(usize),
    Nctaid(usize),
    LaneId,
    WarpId,
    NwarpId,
    LaneMask(LaneMask),
    ClusterId(usize),
    NclusterId(usize),
    ClusterCtaid(usize),
    ClusterNctaid(usize),
    ClusterCtarank,
    ClusterNctarank,
    /// A clock: counts instructions.
    Clock,
    /// Bytes of dynamic, and of all, shared memory.
    DynamicShared,
    TotalShared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneMask {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// How much of a `cp.async` is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    All,
    Bytes(Src),
    /// Nothing where the predicate holds.
    Unless(Slot),
}

/// A multiply of the tensor units.
#[derive(Debug)]
pub(crate) struct Multiply {
    pub form: Form,
    pub d: Vec<Slot>,
    /// Registers, or one 64-bit descriptor.
    pub a: Vec<Src>,
    pub b: Vec<Src>,
    /// Of `mma`; `wgmma` accumulates into `d`.
    pub c: Vec<Src>,
    /// Metadata and selector.
    pub metadata: Option<(Src, u32)>,
    /// `wgmma`: whether D is read, by predicate.
    pub scale_d: Option<Src>,
    pub negate: [bool; 2],
    /// A and B are MN-major in shared memory.
    pub transposed: [bool; 2],
}

/// A tensor's map and where in it, for bulk tensor copies.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    pub map: At,
    pub coords: Vec<Src>,
}

/// Where a bulk copy reads or writes global memory.
#[derive(Clone, Debug)]
pub(crate) enum Bulk {
    /// Address and bytes.
    Linear(At, Src),
    Tensor(Tile),
}

/// What an mbarrier instruction does to the object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mbar {
    Init(Src),
    Inval,
    /// Arrivals and the bytes expected before, if it says so.
    Arrive {
        count: Src,
        expect: Option<Src>,
        relaxed: bool,
    },
    Expect(Src),
    /// Sets a predicate: whether the phase of a parity, or of a token, is over; `blocking` may wait.
    Test {
        phase: Src,
        token: bool,
        blocking: bool,
        relaxed: bool,
    },
}

/// What a step does.
pub(crate) enum Op {
    Unary {
        f: F1,
        d: Slot,
        a: Src,
    },
    Binary {
        f: F2,
        d: Slot,
        a: Src,
        b: Src,
    },
    Ternary {
        f: F3,
        d: Slot,
        a: [Src; 3],
    },
    Quaternary {
        f: F4,
        d: Slot,
        a: [Src; 4],
    },
    Special {
        d: Slot,
        which: Which,
    },
    /// Parts of `bits` each, the first lowest.
    Pack {
        d: Slot,
        a: Vec<Src>,
        bits: u32,
    },
    Unpack {
        d: Vec<Option<Slot>>,
        a: Src,
        bits: u32,
    },
    Shuffle {
        mode: Shuffle,
        d: Option<Slot>,
        p: Option<Slot>,
        a: Src,
        b: Src,
        c: Src,
        members: Src,
    },
    Vote {
        mode: VoteMode,
        d: Slot,
        a: Src,
        negated: bool,
        members: Src,
    },
    ActiveMask {
        d: Slot,
    },
    Elect {
        d: Option<Slot>,
        p: Slot,
        members: Src,
    },
    Reduce {
        f: F2,
        d: Slot,
        a: Src,
        members: Src,
    },

    Load {
        space: Space,
        order: Order,
        d: Vec<Option<Slot>>,
        size: usize,
        signed: bool,
        a: At,
    },
    Store {
        space: Space,
        order: Order,
        b: Vec<Src>,
        size: usize,
        a: At,
    },
    /// `c` is the new value of a compare-and-swap with `b`.
    Atomic {
        space: Space,
        order: Order,
        f: F3,
        size: usize,
        d: Option<Slot>,
        a: At,
        b: Src,
        c: Src,
    },
    Ldmatrix {
        trans: bool,
        d: Vec<Slot>,
        a: At,
    },
    Stmatrix {
        trans: bool,
        b: Vec<Src>,
        a: At,
    },
    Movmatrix {
        d: Slot,
        a: Src,
    },
    /// Address within the cluster of the block with this rank.
    Mapa {
        d: Slot,
        a: Src,
        rank: Src,
    },
    /// From and to generic addresses.
    ToGeneric {
        space: Space,
        d: Slot,
        a: Src,
    },
    FromGeneric {
        space: Space,
        d: Slot,
        a: Src,
    },

    Copy {
        to: At,
        from: At,
        size: usize,
        take: Take,
    },
    CopyCommit,
    /// All but so many groups; `None`: everything.
    CopyWait(Option<usize>),
    CopyArrive {
        a: At,
        noinc: bool,
    },
    /// Global to shared memory, completing bytes at an mbarrier, in these blocks of the cluster.
    BulkLoad {
        space: Space,
        to: At,
        from: Bulk,
        bar: At,
        mask: Option<Src>,
    },
    BulkStore {
        to: Bulk,
        from: At,
    },
    /// Shared memory to that of another block.
    BulkShared {
        to: At,
        from: At,
        size: Src,
        bar: At,
    },
    BulkCommit,
    BulkWait {
        pending: usize,
        read: bool,
    },

    Mbarrier {
        space: Space,
        a: At,
        d: Option<Slot>,
        op: Mbar,
    },
    Barrier {
        id: Src,
        count: Option<Src>,
        aligned: bool,
        arrive: bool,
    },
    WarpSync {
        members: Src,
    },
    ClusterArrive {
        relaxed: bool,
    },
    ClusterWait,
    Fence {
        block_only: bool,
    },
    FenceInit,
    FenceProxy(&'static [Memory]),

    Multiply(Box<Multiply>),
    Group(Box<Multiply>),
    GroupFence,
    GroupCommit,
    GroupWait(usize),
    SetMaxRegisters {
        count: u32,
    },

    Branch {
        uniform: bool,
        target: usize,
    },
    Exit,
    Trap,
    Nop,
}
