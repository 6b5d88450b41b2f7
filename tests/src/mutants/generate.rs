//! The mutants of a kernel: everything that keeps its threads in order, deleted or weakened, one at a
//! time. Pure: a module in, modules out.

use quickpick_ptx::{
    AnyReg, Arg, ArriveOrder, AtomOrder, AtomScope, B32, ClusterSem, FenceScope, Ftz, Guard, Imm,
    Inst, Kernel, Line, LoadOrder, MembarLevel, Module, Name, Read, Round, Sat, StoreOrder, Type,
    WaitOrder,
};
use std::fmt;

/// What was done to the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is gone.
    Deleted,
    /// The branch that tries a wait again is gone: the thread goes on whatever the wait said.
    FallsThrough,
    /// Its guard is gone: all lanes execute it.
    Unguarded,
    /// The lanes execute it that should not, and the others do not.
    Negated,
    /// The wait leaves one group more under way.
    OneMorePending,
    /// 16 bytes fewer are expected.
    FewerBytes,
    /// 16 bytes more are expected.
    MoreBytes,
    /// A warp fewer is counted, or one arrival.
    FewerThreads,
    /// A warp more is counted, or one arrival.
    MoreThreads,
    /// The wait is for the other parity.
    OtherParity,
    /// It no longer acquires or releases.
    Relaxed,
    /// It acquires, and no longer releases.
    AcquireOnly,
    /// It releases, and no longer acquires.
    ReleaseOnly,
    /// It orders for the block alone.
    BlockScope,
    /// The wait is for the reads of the copies, not for their writes.
    ReadsOnly,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => "deleted",
            Self::FallsThrough => "falls through",
            Self::Unguarded => "unguarded",
            Self::Negated => "guard negated",
            Self::OneMorePending => "one more pending",
            Self::FewerBytes => "16 bytes fewer",
            Self::MoreBytes => "16 bytes more",
            Self::FewerThreads => "fewer threads",
            Self::MoreThreads => "more threads",
            Self::OtherParity => "other parity",
            Self::Relaxed => "relaxed",
            Self::AcquireOnly => "acquire only",
            Self::ReleaseOnly => "release only",
            Self::BlockScope => "block scope",
            Self::ReadsOnly => "waits for reads only",
        })
    }
}

/// One mutation of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutant {
    /// Which of the kernel's lines.
    pub line: usize,
    /// What is done to it.
    pub kind: Kind,
    /// What stands there instead.
    instead: Vec<Line>,
    /// Whether these lines compute an operand in a register of their own.
    computes: bool,
}

/// The register for a changed operand.
const OPERAND: &str = "mutant";

impl Mutant {
    /// The kernel with this mutation.
    pub fn apply(&self, module: &Module) -> Module {
        let mut module = module.clone();
        if self.computes {
            let _ = module.kernel.reg::<B32>(OPERAND);
        }
        module.kernel.lines.splice(self.line..=self.line, self.instead.iter().cloned());
        module
    }
}

/// All mutants of a kernel, in the order of its lines.
pub fn mutants(kernel: &Kernel) -> Vec<Mutant> {
    let mut all = Vec::new();
    for (at, line) in kernel.lines.iter().enumerate() {
        let Line::Inst { guard, inst } = line else { continue };
        let mut add = |kind, instead: Vec<Line>, computes| {
            all.push(Mutant { line: at, kind, instead, computes });
        };
        if let Some(guard) = *guard {
            let inst = || inst.clone();
            let negated = Guard { negated: !guard.negated, ..guard };
            add(Kind::Unguarded, vec![Line::Inst { guard: None, inst: inst() }], false);
            add(Kind::Negated, vec![Line::Inst { guard: Some(negated), inst: inst() }], false);
        }
        if orders(inst) {
            add(Kind::Deleted, Vec::new(), false);
        }
        if retries(&kernel.lines[..at], *guard, inst) {
            add(Kind::FallsThrough, Vec::new(), false);
        }
        for (kind, change) in weakened(inst) {
            let (before, inst) = match change {
                Change::To(inst) => (None, inst),
                Change::Computed(first, inst) => (Some(first), inst),
            };
            let computes = before.is_some();
            let lines = before.into_iter().chain([inst]);
            add(kind, lines.map(|inst| Line::Inst { guard: *guard, inst }).collect(), computes);
        }
    }
    all
}

/// Barriers, waits, fences, commits, arrivals and expectations.
fn orders(inst: &Inst) -> bool {
    use Inst::*;
    matches!(
        inst,
        BarSync { .. }
            | BarSyncCount { .. }
            | BarArrive { .. }
            | BarWarpSync { .. }
            | ClusterArrive { .. }
            | ClusterWait { .. }
            | Fence { .. }
            | Membar { .. }
            | FenceMbarrierInit {}
            | FenceProxyAsync { .. }
            | MbarInit { .. }
            | MbarArrive { .. }
            | MbarArriveCount { .. }
            | MbarExpectTx { .. }
            | MbarArriveExpectTx { .. }
            | MbarTryWaitParity { .. }
            | MbarTryWaitParityHint { .. }
            | MbarTestWaitParity { .. }
            | MbarTryWait { .. }
            | MbarTestWait { .. }
            | CpAsyncCommit {}
            | CpAsyncWait { .. }
            | CpAsyncWaitAll {}
            | CpAsyncMbarrierArrive { .. }
            | BulkCommit {}
            | BulkWait { .. }
            | WgmmaFence {}
            | WgmmaCommit {}
            | WgmmaWait { .. }
    )
}

/// The predicate that a test of an mbarrier writes.
fn tested(inst: &Inst) -> Option<&Arg> {
    match inst {
        Inst::MbarTryWaitParity { d, .. }
        | Inst::MbarTryWaitParityHint { d, .. }
        | Inst::MbarTestWaitParity { d, .. }
        | Inst::MbarTryWait { d, .. }
        | Inst::MbarTestWait { d, .. } => Some(d),
        _ => None,
    }
}

/// Whether this is the branch that follows a test of an mbarrier and goes back where it said no.
fn retries(before: &[Line], guard: Option<Guard>, inst: &Inst) -> bool {
    let (Some(guard), Inst::Bra { .. }) = (guard, inst) else { return false };
    let instructions = before.iter().rev().filter_map(|line| match line {
        Line::Inst { inst, .. } => Some(inst),
        _ => None,
    });
    // nothing that writes predicates comes between the two
    let test = instructions.take_while(|i| !matches!(i, Inst::Bra { .. })).find_map(tested);
    guard.negated && test.and_then(Arg::reg) == Some(guard.pred.into())
}

/// A weaker instruction, perhaps after one that computes an operand of it.
enum Change {
    To(Inst),
    Computed(Inst, Inst),
}

/// The operand plus `delta`: another constant, or a register that an instruction before computes.
fn plus(arg: &Arg, delta: i64, with: impl Fn(Arg) -> Inst) -> Option<Change> {
    changed(arg, |v| v + delta, |d, a, b| Inst::Add {
        round: Round::Plain,
        ftz: Ftz::No,
        sat: Sat::No,
        ty: Type::U32,
        d,
        a,
        b: b.unwrap_or(Arg::Int(delta & 0xFFFF_FFFF)),
    }, with)
}

fn changed(
    arg: &Arg,
    constant: impl Fn(i64) -> i64,
    compute: impl Fn(Arg, Arg, Option<Arg>) -> Inst,
    with: impl Fn(Arg) -> Inst,
) -> Option<Change> {
    match arg {
        Arg::Int(value) if constant(*value) < 0 => None,
        Arg::Int(value) => Some(Change::To(with(Arg::Int(constant(*value))))),
        Arg::Reg(_) => {
            let own = Arg::Reg(AnyReg { kind: quickpick_ptx::Kind::B32, role: Name::new(OPERAND), index: None });
            Some(Change::Computed(compute(own.clone(), arg.clone(), None), with(own)))
        }
        _ => None,
    }
}

/// Threads of a warp: barriers count in such.
const WARP: i64 = 32;

/// Every weaker form of an instruction.
fn weakened(inst: &Inst) -> Vec<(Kind, Change)> {
    let mut all = Vec::new();
    let mut push = |kind, change: Option<Change>| all.extend(change.map(|c| (kind, c)));
    let to = |inst| Some(Change::To(inst));
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
    changed(parity, |v| v ^ 1, |d, a, _| Inst::Xor { ty, d, a, b: Arg::Int(1) }, with)
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
