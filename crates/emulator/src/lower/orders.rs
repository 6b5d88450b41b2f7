//! What the memory model makes of an access's qualifiers (ISA 8.4 to 8.9).

use crate::order::{Memory, Order};
use quickpick_ptx::{
    Aligned, ArriveOrder, AtomOrder, AtomScope, BarKind, LoadOrder, Space, StoreOrder,
};

/// `bar` is `barrier.aligned` (9.7.13.1).
pub(super) fn is_aligned(kind: BarKind, aligned: Aligned) -> bool {
    matches!(kind, BarKind::Bar | BarKind::BarCta) || aligned == Aligned::Yes
}

/// Of `mbarrier.arrive`, which is a release else (9.7.13.15.13).
pub(super) fn is_relaxed(order: ArriveOrder) -> bool {
    matches!(order, ArriveOrder::RelaxedCta | ArriveOrder::RelaxedCluster)
}

fn strong(acquire: bool, release: bool, block_only: bool) -> Order {
    Order { strong: true, acquire, release, block_only, constant: false }
}

/// What a `fence.proxy.async` is of; without a space, of all memory (9.7.13.4).
pub(super) fn fenced(space: Space) -> &'static [Memory] {
    match space {
        Space::Global => &[Memory::Global],
        Space::Generic | Space::Param => &[Memory::Global, Memory::Shared],
        Space::Shared | Space::SharedCta | Space::SharedCluster => &[Memory::Shared],
    }
}

/// Of `ld` (9.7.9.8). `.volatile` is relaxed, with system scope (8.4).
pub(super) fn load_order(order: LoadOrder) -> Order {
    match order {
        LoadOrder::Plain | LoadOrder::Weak => Order::default(),
        LoadOrder::RelaxedCta => strong(false, false, true),
        LoadOrder::Volatile
        | LoadOrder::RelaxedCluster
        | LoadOrder::RelaxedGpu
        | LoadOrder::RelaxedSys => strong(false, false, false),
        LoadOrder::AcquireCta => strong(true, false, true),
        LoadOrder::AcquireCluster | LoadOrder::AcquireGpu | LoadOrder::AcquireSys => {
            strong(true, false, false)
        }
    }
}

/// Of `st` (9.7.9.11).
pub(super) fn store_order(order: StoreOrder) -> Order {
    match order {
        StoreOrder::Plain | StoreOrder::Weak => Order::default(),
        StoreOrder::RelaxedCta => strong(false, false, true),
        StoreOrder::Volatile
        | StoreOrder::RelaxedCluster
        | StoreOrder::RelaxedGpu
        | StoreOrder::RelaxedSys => strong(false, false, false),
        StoreOrder::ReleaseCta => strong(false, true, true),
        StoreOrder::ReleaseCluster | StoreOrder::ReleaseGpu | StoreOrder::ReleaseSys => {
            strong(false, true, false)
        }
    }
}

/// Of `atom` and `red`: without an order relaxed, without a scope `.gpu` (9.7.13.5).
pub(super) fn atom_order(order: AtomOrder, scope: AtomScope) -> Order {
    let acquire = matches!(order, AtomOrder::Acquire | AtomOrder::AcqRel);
    let release = matches!(order, AtomOrder::Release | AtomOrder::AcqRel);
    strong(acquire, release, scope == AtomScope::Cta)
}
