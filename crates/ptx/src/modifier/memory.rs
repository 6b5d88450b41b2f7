//! State spaces, orders and caches (manual, 9.7.9), and what Hopper's copies add.

use crate::cursor::{Cursor, Fault};
use crate::operand::Operand;
use std::fmt;

modifier!(
    /// Where an address lies.
    Space {
        /// Anywhere: the address says.
        Generic = "",
        /// Global memory.
        Global = ".global",
        /// This block's shared memory.
        Shared = ".shared",
        /// This block's shared memory.
        SharedCta = ".shared::cta" isa 78,
        /// The shared memory of the cluster's blocks.
        SharedCluster = ".shared::cluster" isa 78 sm 90,
        /// The kernel's parameters.
        Param = ".param",
    }
);

impl Space {
    /// Whether it is shared memory, of this block or of the cluster.
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::SharedCta | Self::SharedCluster)
    }

    /// Whether it is shared memory of this block.
    pub const fn is_own_shared(self) -> bool {
        matches!(self, Self::Shared | Self::SharedCta)
    }
}

modifier!(
    /// How a load is ordered, and among whom.
    LoadOrder {
        /// Weak.
        Plain = "",
        /// The same, spelt out.
        Weak = ".weak",
        /// Relaxed for the system, and never merged.
        Volatile = ".volatile",
        /// Relaxed.
        RelaxedCta = ".relaxed.cta",
        /// Relaxed.
        RelaxedCluster = ".relaxed.cluster" isa 78 sm 90,
        /// Relaxed.
        RelaxedGpu = ".relaxed.gpu",
        /// Relaxed.
        RelaxedSys = ".relaxed.sys",
        /// Later accesses stay after it.
        AcquireCta = ".acquire.cta",
        /// Later accesses stay after it.
        AcquireCluster = ".acquire.cluster" isa 78 sm 90,
        /// Later accesses stay after it.
        AcquireGpu = ".acquire.gpu",
        /// Later accesses stay after it.
        AcquireSys = ".acquire.sys",
    }
);
modifier!(
    /// How a store is ordered, and among whom.
    StoreOrder {
        /// Weak.
        Plain = "",
        /// The same, spelt out.
        Weak = ".weak",
        /// Relaxed for the system, and never merged.
        Volatile = ".volatile",
        /// Relaxed.
        RelaxedCta = ".relaxed.cta",
        /// Relaxed.
        RelaxedCluster = ".relaxed.cluster" isa 78 sm 90,
        /// Relaxed.
        RelaxedGpu = ".relaxed.gpu",
        /// Relaxed.
        RelaxedSys = ".relaxed.sys",
        /// Earlier accesses stay before it.
        ReleaseCta = ".release.cta",
        /// Earlier accesses stay before it.
        ReleaseCluster = ".release.cluster" isa 78 sm 90,
        /// Earlier accesses stay before it.
        ReleaseGpu = ".release.gpu",
        /// Earlier accesses stay before it.
        ReleaseSys = ".release.sys",
    }
);
modifier!(
    /// How a load uses the caches. They change no value, but `.nc` reads only what nobody writes.
    Cache {
        /// Coherent.
        Default = "",
        /// In all levels.
        Ca = ".ca",
        /// In L2.
        Cg = ".cg",
        /// Evicted first.
        Cs = ".cs",
        /// Last use.
        Lu = ".lu",
        /// Fetched again.
        Cv = ".cv",
        /// Coherent; L2 fetches 64 bytes.
        L2b64 = ".L2::64B" isa 74,
        /// Coherent; L2 fetches 128 bytes.
        L2b128 = ".L2::128B" isa 74,
        /// Coherent; L2 fetches 256 bytes.
        L2b256 = ".L2::256B" isa 74,
        /// Kept out of L1.
        Once = ".L1::no_allocate" isa 74,
        /// Evicted first from L1.
        EvictFirst = ".L1::evict_first" isa 74,
        /// Evicted last from L1.
        EvictLast = ".L1::evict_last" isa 74,
        /// L1's usual priority.
        EvictNormal = ".L1::evict_normal" isa 74,
        /// L1's priority as it was.
        EvictUnchanged = ".L1::evict_unchanged" isa 74,
        /// Kept out of L1; L2 fetches 128 bytes.
        Once128 = ".L1::no_allocate.L2::128B" isa 74,
        /// Kept out of L1; L2 fetches 256 bytes.
        Once256 = ".L1::no_allocate.L2::256B" isa 74,
        /// Read-only data.
        Nc = ".nc",
        /// Read-only data in all levels.
        CaNc = ".ca.nc",
        /// Read-only data in L2.
        CgNc = ".cg.nc",
        /// Read-only data, evicted first.
        CsNc = ".cs.nc",
        /// Read-only data; L2 fetches 64 bytes.
        NcL2b64 = ".nc.L2::64B" isa 74,
        /// Read-only data; L2 fetches 128 bytes.
        NcL2b128 = ".nc.L2::128B" isa 74,
        /// Read-only data; L2 fetches 256 bytes.
        NcL2b256 = ".nc.L2::256B" isa 74,
        /// Read-only data that is read once: kept out of L1.
        NcOnce = ".nc.L1::no_allocate" isa 74,
        /// The same, and L2 fetches 128 bytes.
        NcOnce128 = ".nc.L1::no_allocate.L2::128B" isa 74,
        /// The same, and L2 fetches 256 bytes.
        NcOnce256 = ".nc.L1::no_allocate.L2::256B" isa 74,
        /// Read-only data, evicted first from L1.
        NcEvictFirst = ".nc.L1::evict_first" isa 74,
        /// Read-only data, evicted last from L1.
        NcEvictLast = ".nc.L1::evict_last" isa 74,
        /// Read-only data, L1's usual priority.
        NcEvictNormal = ".nc.L1::evict_normal" isa 74,
        /// Read-only data, L1's priority as it was.
        NcEvictUnchanged = ".nc.L1::evict_unchanged" isa 74,
    }
);

impl Cache {
    /// Whether the data must be read-only while the kernel runs.
    pub fn is_nc(self) -> bool {
        self.text().contains(".nc")
    }

    /// Whether it is one of the operators `.ca` to `.cv`.
    pub(crate) const fn is_operator(self) -> bool {
        matches!(self, Self::Ca | Self::Cg | Self::Cs | Self::Lu | Self::Cv)
    }
}

modifier!(
    /// How a store uses the caches.
    StoreCache {
        /// As a load would.
        Default = "",
        /// Written back from all levels.
        Wb = ".wb",
        /// In L2.
        Cg = ".cg",
        /// Evicted first.
        Cs = ".cs",
        /// Through to memory.
        Wt = ".wt",
        /// Kept out of L1.
        Once = ".L1::no_allocate" isa 74,
        /// Evicted first from L1.
        EvictFirst = ".L1::evict_first" isa 74,
        /// Evicted last from L1.
        EvictLast = ".L1::evict_last" isa 74,
        /// L1's usual priority.
        EvictNormal = ".L1::evict_normal" isa 74,
        /// L1's priority as it was.
        EvictUnchanged = ".L1::evict_unchanged" isa 74,
    }
);
modifier!(
    /// Values that one access moves; the address is aligned to all of them.
    Width {
        /// One.
        V1 = "",
        /// Two.
        V2 = ".v2",
        /// Four.
        V4 = ".v4",
    }
);

impl Width {
    /// How many.
    pub const fn count(self) -> usize {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V4 => 4,
        }
    }
}

modifier!(
    /// Through which caches `cp.async` goes.
    CopyCache {
        /// All levels.
        Ca = "ca",
        /// L2 only.
        Cg = "cg",
    }
);
modifier!(
    /// How much L2 fetches beside what is asked.
    Prefetch {
        /// Nothing more.
        None = "",
        /// 64 bytes.
        L2b64 = ".L2::64B" isa 74,
        /// 128 bytes.
        L2b128 = ".L2::128B" isa 74,
        /// 256 bytes.
        L2b256 = ".L2::256B" isa 74,
    }
);
modifier!(
    /// Whether the arrival of copies leaves the count of pending arrivals as it is.
    Noinc {
        /// It is raised first, so that the arrival takes nothing from it.
        No = "",
        /// The arrival was counted when the barrier was made.
        Yes = ".noinc",
    }
);
modifier!(
    /// Whether a bulk copy goes to several blocks of the cluster.
    Multicast {
        /// To one.
        No = "",
        /// To those of the mask.
        Yes = ".multicast::cluster",
    }
);
modifier!(
    /// Whether an operand says how L2 keeps the data.
    Hint {
        /// No.
        No = "",
        /// The last operand does.
        Yes = ".L2::cache_hint",
    }
);
modifier!(
    /// Dimensions of a tensor.
    Dims {
        /// One.
        D1 = "1d",
        /// Two.
        D2 = "2d",
        /// Three.
        D3 = "3d",
        /// Four.
        D4 = "4d",
        /// Five.
        D5 = "5d",
    }
);

impl Dims {
    /// How many.
    pub const fn count(self) -> usize {
        self as usize + 1
    }
}

modifier!(
    /// The mode of a tensor copy; tiles are what is copied if nothing is said.
    Tile {
        /// Not said.
        Plain = "",
        /// Said.
        Tile = ".tile",
    }
);
modifier!(
    /// Whether only the reading of a bulk copy's source is waited for.
    Read {
        /// All of the copy.
        No = "",
        /// Its reads.
        Yes = ".read",
    }
);
modifier!(
    /// How an atomic operation is ordered.
    AtomOrder {
        /// Relaxed.
        Plain = "",
        /// Relaxed.
        Relaxed = ".relaxed",
        /// Later accesses stay after it.
        Acquire = ".acquire",
        /// Earlier accesses stay before it.
        Release = ".release",
        /// Both.
        AcqRel = ".acq_rel",
    }
);
modifier!(
    /// Among whom an atomic operation is one.
    AtomScope {
        /// The device.
        Plain = "",
        /// The block.
        Cta = ".cta",
        /// The cluster.
        Cluster = ".cluster" isa 78 sm 90,
        /// The device.
        Gpu = ".gpu",
        /// The device, its host and its peers.
        Sys = ".sys",
    }
);
modifier!(
    /// What an atomic operation makes of the old value and its operand.
    AtomOp {
        /// The sum.
        Add = "add",
        /// The sum of 16-bit floats, subnormals kept.
        AddNoftz = "add.noftz",
        /// The lesser.
        Min = "min",
        /// The greater.
        Max = "max",
        /// Both.
        And = "and",
        /// Either.
        Or = "or",
        /// One of them.
        Xor = "xor",
        /// The operand.
        Exch = "exch",
        /// old + 1, and 0 from the operand on.
        Inc = "inc",
        /// old − 1, and the operand below 0 or above it.
        Dec = "dec",
    }
);
