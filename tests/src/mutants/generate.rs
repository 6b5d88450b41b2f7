//! The mutants of a kernel: everything that keeps its threads in order, deleted or weakened, one at a
//! time. Pure: a module in, modules out.

use super::weaken::{Change, OPERAND, weakened};
use quickpick_ptx::{Arg, B32, Guard, Inst, Kernel, Line, Module};
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

impl Mutant {
    /// The kernel with this mutation.
    pub fn apply(&self, module: &Module) -> Module {
        let mut module = module.clone();
        if self.computes {
            let _ = module.kernel.reg::<B32>(OPERAND);
        }
        module.kernel.lines.splice(self.line..=self.line, self.instead.iter().cloned());
        // a weaker form may be younger than the kernel: `.relaxed` of an mbarrier is
        let least = module.kernel.isa();
        module.version = module.version.filter(|version| *version > least);
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
        for (kind, Change { before, inst }) in weakened(inst) {
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
