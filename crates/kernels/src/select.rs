//! Selection that explains itself: each row says what it costs or why it cannot serve.

use crate::spec::{Form, OpKind};
use crate::{Caps, KERNELS, KernelSpec, Plan, Problem, Target, Unsupported};
use alloc::vec::Vec;
use core::fmt;

/// One row's answer to a problem.
#[derive(Clone, Debug)]
pub struct Considered {
    /// The row.
    pub spec: &'static KernelSpec,
    /// Its cost (smaller is better; no unit), or why it cannot serve.
    pub outcome: Result<f64, Unsupported>,
}

/// The chosen plan and every row that was considered for it.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The plan of the cheapest row.
    pub plan: Plan,
    /// The rows of the operation in the device's languages, in the table's order.
    pub considered: Vec<Considered>,
}

/// No row serves the problem; each says why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no kernel serves {problem}{}", Reasons(.considered))]
pub struct NoKernel {
    /// What was asked.
    pub problem: Problem,
    /// The rows of the operation in the device's languages.
    pub considered: Vec<Considered>,
}

/// Chooses the cheapest kernel for a problem on a device; of equals, the earlier row.
pub fn select(problem: &Problem, caps: &Caps) -> Result<Selection, NoKernel> {
    let mut best: Option<(f64, Plan)> = None;
    let mut considered = Vec::new();
    for spec in KERNELS {
        let outcome = spec.plan(problem, caps).map(|plan| {
            let cost = cost(&plan, caps);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, plan));
            }
            cost
        });
        // a row of another operation, or in a language that the device does not run, explains nothing
        if !matches!(outcome, Err(Unsupported::Operation | Unsupported::Language { .. })) {
            considered.push(Considered { spec, outcome });
        }
    }
    match best {
        Some((_, plan)) => Ok(Selection { plan, considered }),
        None => Err(NoKernel { problem: *problem, considered }),
    }
}

/// Relative time of a plan: waves of workgroups over the machine × the work of one workgroup.
///
/// A workgroup's work is its multiply-adds, or the bytes of its weights where those weigh more
/// (16 multiply-adds to a byte, about the balance of the machines in question).
fn cost(plan: &Plan, caps: &Caps) -> f64 {
    let OpKind::Linear(weights) = plan.spec.op else { return 1.0 };
    let Problem::Linear(p) = plan.problem else { return 1.0 };
    let density = if weights == crate::Weights::Sparse24 { 0.5 } else { 1.0 };
    let groups = plan.grid.iter().map(|&g| g as f64).product::<f64>();
    let k = p.k as f64 * density;
    let (tile_m, tile_n, overhead) = match plan.spec.form {
        // narrow tiles reuse each loaded element less often
        Form::Tiled { tile, .. } => {
            (tile.m as f64, tile.n as f64, 1.0 + 16.0 / tile.m as f64 + 16.0 / tile.n as f64)
        }
        Form::Skinny { tile, .. } => (tile.m as f64, tile.n as f64, 1.0),
        Form::Gemv { rows, .. } => (rows as f64, 1.0, 1.0),
        Form::Rowwise { .. } | Form::Host => return 1.0,
    };
    let parallel = match caps {
        Caps::Cuda(c) => resident(plan, c.shared_bytes) * c.sms as f64,
        Caps::Wgpu(_) => 32.0,
        Caps::Cpu => 1.0,
    };
    let splits =
        if matches!(plan.spec.form, Form::Skinny { .. }) { plan.grid[1] as f64 } else { 1.0 };
    let multiply = tile_m * tile_n * k / splits;
    let bytes = 16.0 * tile_m * k * p.dtype.bytes() as f64 / splits;
    libm::ceil(groups / parallel) * multiply.max(bytes) * overhead
}

/// Workgroups that share one multiprocessor, by shared memory and by registers (255 each at worst).
fn resident(plan: &Plan, shared_bytes: u32) -> f64 {
    let by_shared = shared_bytes / plan.shared_bytes.max(1);
    let by_registers = 65536 / (plan.block * 255);
    let by_threads = if plan.spec.target == Target::Sm80 { 2048 / plan.block } else { 1 };
    by_shared.min(by_registers.max(1)).min(by_threads).max(1) as f64
}

struct Reasons<'a>(&'a [Considered]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0 {
            match c.outcome {
                Ok(cost) => write!(f, "\n  {}: cost {cost:.3e}", c.spec)?,
                Err(why) => write!(f, "\n  {}: {why}", c.spec)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}{}", self.plan.spec, self.plan.problem, Reasons(&self.considered))
    }
}
