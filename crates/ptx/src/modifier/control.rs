//! Barriers, fences, votes and branches (manual, 9.7.12 and 9.7.13).

use crate::cursor::{Cursor, Fault};
use crate::operand::Operand;
use std::fmt;

modifier!(
    /// How a barrier among the block's threads is spelt, after `bar`. `bar` is `barrier….aligned`.
    BarKind {
        /// `bar`
        Bar = "",
        /// `bar.cta`
        BarCta = ".cta" isa 78,
        /// `barrier`
        Barrier = "rier",
        /// `barrier.cta`
        BarrierCta = "rier.cta" isa 78,
    }
);
modifier!(
    /// Whether all threads of the warp execute it together.
    Aligned {
        /// Not said.
        No = "",
        /// They do.
        Yes = ".aligned",
    }
);
modifier!(
    /// How an arrival at the cluster's barrier is ordered.
    ClusterSem {
        /// Release.
        Plain = "",
        /// Earlier accesses are seen by who waits.
        Release = ".release" isa 80,
        /// Nothing is said about earlier accesses.
        Relaxed = ".relaxed" isa 80,
    }
);
modifier!(
    /// How the wait at the cluster's barrier is ordered.
    ClusterAcquire {
        /// Acquire.
        Plain = "",
        /// Accesses before the arrivals are seen.
        Acquire = ".acquire" isa 80,
    }
);
modifier!(
    /// How a fence orders.
    FenceSem {
        /// Accesses before it stay before, those after it after.
        AcqRel = "acq_rel",
        /// Also one order of all such fences.
        Sc = "sc",
    }
);
modifier!(
    /// Among whom a fence orders.
    FenceScope {
        /// The block.
        Cta = "cta",
        /// The cluster.
        Cluster = "cluster" isa 78 sm 90,
        /// The device.
        Gpu = "gpu",
        /// The device, its host and its peers.
        Sys = "sys",
    }
);
modifier!(
    /// Among whom `membar` orders.
    MembarLevel {
        /// The block.
        Cta = "cta",
        /// The device.
        Gl = "gl",
        /// The device, its host and its peers.
        Sys = "sys",
    }
);
modifier!(
    /// How an arrival at an mbarrier is ordered, and among whom.
    ArriveOrder {
        /// Release for the block.
        Plain = "",
        /// Earlier accesses are seen by who waits.
        ReleaseCta = ".release.cta" isa 80,
        /// Earlier accesses are seen by who waits.
        ReleaseCluster = ".release.cluster" isa 80 sm 90,
        /// Nothing is said about other accesses.
        RelaxedCta = ".relaxed.cta" isa 86 sm 90,
        /// Nothing is said about other accesses.
        RelaxedCluster = ".relaxed.cluster" isa 86 sm 90,
    }
);
modifier!(
    /// How announcing bytes to an mbarrier is ordered.
    ExpectOrder {
        /// Relaxed for the block.
        Plain = "",
        /// Relaxed.
        RelaxedCta = ".relaxed.cta" isa 80,
        /// Relaxed.
        RelaxedCluster = ".relaxed.cluster" isa 80,
    }
);
modifier!(
    /// How a wait at an mbarrier is ordered, and among whom.
    WaitOrder {
        /// Acquire for the block.
        Plain = "",
        /// Accesses before the arrivals are seen.
        AcquireCta = ".acquire.cta" isa 80,
        /// Accesses before the arrivals are seen.
        AcquireCluster = ".acquire.cluster" isa 80 sm 90,
        /// Nothing is said about other accesses.
        RelaxedCta = ".relaxed.cta" isa 86 sm 90,
        /// Nothing is said about other accesses.
        RelaxedCluster = ".relaxed.cluster" isa 86 sm 90,
    }
);
modifier!(
    /// Whether all lanes of the warp go the same way.
    Uni {
        /// Not said.
        No = "",
        /// They do.
        Yes = ".uni",
    }
);
modifier!(
    /// Which lane `shfl.sync` reads.
    Shuffle {
        /// lane xor b
        Bfly = "bfly",
        /// lane + b
        Down = "down",
        /// lane − b
        Up = "up",
        /// lane b
        Idx = "idx",
    }
);
modifier!(
    /// What a vote answers.
    VoteMode {
        /// Whether all lanes hold it.
        All = "all.pred",
        /// Whether any does.
        Any = "any.pred",
        /// Whether all agree.
        Uni = "uni.pred",
        /// The lanes that hold it, a bit each.
        Ballot = "ballot.b32",
    }
);
modifier!(
    /// How `redux.sync` reduces.
    ReduxOp {
        /// The sum.
        Add = "add",
        /// The least.
        Min = "min",
        /// The greatest.
        Max = "max",
        /// All.
        And = "and",
        /// Any.
        Or = "or",
        /// The parity.
        Xor = "xor",
    }
);
modifier!(
    /// Whether a warp gives registers back or takes more.
    RegDir {
        /// Takes.
        Inc = "inc",
        /// Gives.
        Dec = "dec",
    }
);
