//! What an instruction that keeps order could be instead, and keep less of it.

use super::generate::Kind;
use quickpick_ptx::{
    AnyReg, Arg, ArriveOrder, AtomOrder, AtomScope, ClusterSem, FenceScope, Ftz, Imm, Inst,
    LoadOrder, MembarLevel, Name, Read, Round, Sat, StoreOrder, Type, WaitOrder,
};

/// The register for a changed operand.
pub(super) const OPERAND: &str = "mutant";

/// A weaker instruction.
pub(super) struct Change {
    /// Computes an operand of it.
    pub before: Option<Inst>,
    /// The instruction.
    pub inst: Inst,
}

impl Change {
    fn to(inst: Inst) -> Option<Self> {
        Some(Self { before: None, inst })
    }
}

/// The instruction with an operand that is more by `delta`.
fn plus(arg: &Arg, delta: i64, with: impl Fn(Arg) -> Inst) -> Option<Change> {
    let (round, ftz, sat, ty) = (Round::Plain, Ftz::No, Sat::No, Type::U32);
    let b = Arg::Int(delta & 0xFFFF_FFFF);
    let add = |d, a| Inst::Add { round, ftz, sat, ty, d, a, b: b.clone() };
    changed(arg, |v| v + delta, add, with)
}

/// The instruction with another operand: another constant, or what `compute` writes to a register of
/// its own before.
fn changed(
    arg: &Arg,
    constant: impl Fn(i64) -> i64,
    compute: impl Fn(Arg, Arg) -> Inst,
    with: impl Fn(Arg) -> Inst,
) -> Option<Change> {
    match arg {
        Arg::Int(value) if constant(*value) < 0 => None,
        Arg::Int(value) => Change::to(with(Arg::Int(constant(*value)))),
        Arg::Reg(reg) => {
            let own = Arg::Reg(AnyReg { role: Name::new(OPERAND), index: None, ..*reg });
            Some(Change { before: Some(compute(own.clone(), arg.clone())), inst: with(own) })
        }
        _ => None,
    }
}

/// Threads of a warp: barriers count in such.
const WARP: i64 = 32;

/// Every weaker form of an instruction.
pub(super) fn weakened(inst: &Inst) -> Vec<(Kind, Change)> {
    let mut all = Vec::new();
    let mut push = |kind, change: Option<Change>| all.extend(change.map(|c| (kind, c)));
    let to = Change::to;
    match inst.clone() {
        Inst::CpAsyncWait { pending } => {
            let more = Inst::CpAsyncWait { pending: Imm(pending.0 + 1) };
            push(Kind::OneMorePending, to(more));
        }
        Inst::BulkWait { read, pending } => {
            let more = Inst::BulkWait { read, pending: Imm(pending.0 + 1) };
            push(Kind::OneMorePending, to(more));
            if read == Read::No {
                push(Kind::ReadsOnly, to(Inst::BulkWait { read: Read::Yes, pending }));
            }
        }
        Inst::WgmmaWait { pending } if pending.0 < 7 => {
            push(Kind::OneMorePending, to(Inst::WgmmaWait { pending: Imm(pending.0 + 1) }));
        }
        Inst::BarSyncCount { kind, aligned, id, count } => {
            for (name, delta) in [(Kind::FewerThreads, -WARP), (Kind::MoreThreads, WARP)] {
                let with = |count| Inst::BarSyncCount { kind, aligned, id: id.clone(), count };
                push(name, plus(&count, delta, with));
            }
        }
        Inst::BarArrive { kind, aligned, id, count } => {
            for (name, delta) in [(Kind::FewerThreads, -WARP), (Kind::MoreThreads, WARP)] {
                let with = |count| Inst::BarArrive { kind, aligned, id: id.clone(), count };
                push(name, plus(&count, delta, with));
            }
        }
        Inst::MbarInit { space, a, count } => {
            for (name, delta) in [(Kind::FewerThreads, -1), (Kind::MoreThreads, 1)] {
                push(name, plus(&count, delta, |count| Inst::MbarInit { space, a, count }));
            }
        }
        Inst::MbarExpectTx { order, space, a, bytes } => {
            for (name, delta) in [(Kind::FewerBytes, -16), (Kind::MoreBytes, 16)] {
                let with = |bytes| Inst::MbarExpectTx { order, space, a, bytes };
                push(name, plus(&bytes, delta, with));
            }
        }
        Inst::MbarArriveExpectTx { order, space, d, a, bytes } => {
            for (name, delta) in [(Kind::FewerBytes, -16), (Kind::MoreBytes, 16)] {
                let d = &d;
                let with =
                    |bytes| Inst::MbarArriveExpectTx { order, space, d: d.clone(), a, bytes };
                push(name, plus(&bytes, delta, with));
            }
            if let Some(order) = relaxed_arrival(order) {
                let relaxed = Inst::MbarArriveExpectTx { order, space, d, a, bytes };
                push(Kind::Relaxed, to(relaxed));
            }
        }
        Inst::MbarArrive { order, space, d, a } => {
            if let Some(order) = relaxed_arrival(order) {
                push(Kind::Relaxed, to(Inst::MbarArrive { order, space, d, a }));
            }
        }
        Inst::MbarArriveCount { order, space, d, a, count } => {
            if let Some(order) = relaxed_arrival(order) {
                push(Kind::Relaxed, to(Inst::MbarArriveCount { order, space, d, a, count }));
            }
        }
        Inst::MbarTryWaitParity { order, space, d, a, parity } => {
            let with = |parity| Inst::MbarTryWaitParity { order, space, d: d.clone(), a, parity };
            push(Kind::OtherParity, flipped(&parity, with));
            if let Some(order) = relaxed_wait(order) {
                push(Kind::Relaxed, to(Inst::MbarTryWaitParity { order, space, d, a, parity }));
            }
        }
        Inst::MbarTryWaitParityHint { order, space, d, a, parity, hint } => {
            let with = |parity| {
                let (d, hint) = (d.clone(), hint.clone());
                Inst::MbarTryWaitParityHint { order, space, d, a, parity, hint }
            };
            push(Kind::OtherParity, flipped(&parity, with));
            if let Some(order) = relaxed_wait(order) {
                let hint = hint.clone();
                let relaxed = Inst::MbarTryWaitParityHint { order, space, d, a, parity, hint };
                push(Kind::Relaxed, to(relaxed));
            }
        }
        Inst::MbarTestWaitParity { order, space, d, a, parity } => {
            let with = |parity| Inst::MbarTestWaitParity { order, space, d: d.clone(), a, parity };
            push(Kind::OtherParity, flipped(&parity, with));
            if let Some(order) = relaxed_wait(order) {
                push(Kind::Relaxed, to(Inst::MbarTestWaitParity { order, space, d, a, parity }));
            }
        }
        Inst::MbarTryWait { order, space, d, a, state } => {
            if let Some(order) = relaxed_wait(order) {
                push(Kind::Relaxed, to(Inst::MbarTryWait { order, space, d, a, state }));
            }
        }
        Inst::MbarTestWait { order, space, d, a, state } => {
            if let Some(order) = relaxed_wait(order) {
                push(Kind::Relaxed, to(Inst::MbarTestWait { order, space, d, a, state }));
            }
        }
        Inst::ClusterArrive { sem, aligned } if sem != ClusterSem::Relaxed => {
            push(Kind::Relaxed, to(Inst::ClusterArrive { sem: ClusterSem::Relaxed, aligned }));
        }
        Inst::Fence { sem, scope } if scope != FenceScope::Cta => {
            push(Kind::BlockScope, to(Inst::Fence { sem, scope: FenceScope::Cta }));
        }
        Inst::Membar { level } if level != MembarLevel::Cta => {
            push(Kind::BlockScope, to(Inst::Membar { level: MembarLevel::Cta }));
        }
        Inst::Atom { order, scope, space, op, ty, d, a, b } => {
            for (kind, order, scope) in weaker_atom(order, scope) {
                let (d, b) = (d.clone(), b.clone());
                push(kind, to(Inst::Atom { order, scope, space, op, ty, d, a, b }));
            }
        }
        Inst::AtomCas { order, scope, space, ty, d, a, b, c } => {
            for (kind, order, scope) in weaker_atom(order, scope) {
                let (d, b, c) = (d.clone(), b.clone(), c.clone());
                push(kind, to(Inst::AtomCas { order, scope, space, ty, d, a, b, c }));
            }
        }
        Inst::Red { order, scope, space, op, ty, a, b } => {
            for (kind, order, scope) in weaker_atom(order, scope) {
                push(kind, to(Inst::Red { order, scope, space, op, ty, a, b: b.clone() }));
            }
        }
        Inst::Ld { order, space, cache, vec, ty, d, a } => {
            let relaxed = match order {
                LoadOrder::AcquireCta => Some(LoadOrder::RelaxedCta),
                LoadOrder::AcquireCluster => Some(LoadOrder::RelaxedCluster),
                LoadOrder::AcquireGpu => Some(LoadOrder::RelaxedGpu),
                LoadOrder::AcquireSys => Some(LoadOrder::RelaxedSys),
                _ => None,
            };
            if let Some(order) = relaxed {
                push(Kind::Relaxed, to(Inst::Ld { order, space, cache, vec, ty, d, a }));
            }
        }
        Inst::St { order, space, cache, vec, ty, a, b } => {
            let relaxed = match order {
                StoreOrder::ReleaseCta => Some(StoreOrder::RelaxedCta),
                StoreOrder::ReleaseCluster => Some(StoreOrder::RelaxedCluster),
                StoreOrder::ReleaseGpu => Some(StoreOrder::RelaxedGpu),
                StoreOrder::ReleaseSys => Some(StoreOrder::RelaxedSys),
                _ => None,
            };
            if let Some(order) = relaxed {
                push(Kind::Relaxed, to(Inst::St { order, space, cache, vec, ty, a, b }));
            }
        }
        _ => {}
    }
    all
}

fn flipped(parity: &Arg, with: impl Fn(Arg) -> Inst) -> Option<Change> {
    let ty = Type::B32;
    changed(parity, |v| v ^ 1, |d, a| Inst::Xor { ty, d, a, b: Arg::Int(1) }, with)
}

fn relaxed_arrival(order: ArriveOrder) -> Option<ArriveOrder> {
    match order {
        ArriveOrder::Plain | ArriveOrder::ReleaseCta => Some(ArriveOrder::RelaxedCta),
        ArriveOrder::ReleaseCluster => Some(ArriveOrder::RelaxedCluster),
        ArriveOrder::RelaxedCta | ArriveOrder::RelaxedCluster => None,
    }
}

fn relaxed_wait(order: WaitOrder) -> Option<WaitOrder> {
    match order {
        WaitOrder::Plain | WaitOrder::AcquireCta => Some(WaitOrder::RelaxedCta),
        WaitOrder::AcquireCluster => Some(WaitOrder::RelaxedCluster),
        WaitOrder::RelaxedCta | WaitOrder::RelaxedCluster => None,
    }
}

/// Orders and scopes of which an atomic operation needs more.
fn weaker_atom(order: AtomOrder, scope: AtomScope) -> Vec<(Kind, AtomOrder, AtomScope)> {
    let mut all = Vec::new();
    if order == AtomOrder::AcqRel {
        all.push((Kind::AcquireOnly, AtomOrder::Acquire, scope));
        all.push((Kind::ReleaseOnly, AtomOrder::Release, scope));
    }
    if matches!(order, AtomOrder::AcqRel | AtomOrder::Acquire | AtomOrder::Release) {
        all.push((Kind::Relaxed, AtomOrder::Relaxed, scope));
        if scope != AtomScope::Cta {
            all.push((Kind::BlockScope, order, AtomScope::Cta));
        }
    }
    all
}
