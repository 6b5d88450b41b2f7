//! Stage `correct`: every kernel of a backend over the cases of the test suite: ragged shapes; random,
//! ramp and one-hot data; every epilogue and output type; poisoned outputs, inside poison.

use super::child;
use crate::clock::Timed;
use crate::error::{Error, Result};
use crate::record::Record;
use quickpick::Backend;
use quickpick::kernels::{Caps, KERNELS, KernelSpec, Target, Unsupported};
use quickpick_tests::{check, shapes};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

/// A kernel that takes longer hangs. On a GPU all cases are the oracle's two seconds; the stage must
/// outlive several hangs.
fn patience(backend: &str) -> Duration {
    Duration::from_secs(if backend == "cuda" { 15 } else { 90 })
}

/// What the parent finds in a child's output.
const MARK: &str = "verdict ";

/// What became of one kernel.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Verdict {
    /// `cpu`, `wgpu` or `cuda`.
    pub backend: String,
    /// Its name.
    pub kernel: String,
    /// Cases that ran.
    pub cases: u32,
    /// Those outside of their bounds, or that failed.
    pub failed: u32,
    /// The largest error of those that passed, as a share of its bound.
    pub worst: f64,
    /// Of the whole kernel, oracle included.
    pub seconds: f64,
    /// `ok`, or the first failure; `skipped: …` where the device lacks a feature.
    pub status: String,
}

/// The kernels that a backend runs.
pub fn kernels(caps: &Caps) -> impl Iterator<Item = &'static KernelSpec> + use<> {
    let targets: &[Target] = match caps {
        Caps::Cpu => &[Target::Cpu],
        Caps::Wgpu(_) => &[
            Target::WgslPortable,
            Target::WgslF16,
            Target::WgslSubgroups,
            Target::WgslCoop8,
            Target::WgslCoop16,
        ],
        Caps::Cuda(caps) if caps.sm == 90 => &[Target::Sm80, Target::Sm90a],
        Caps::Cuda(_) => &[Target::Sm80],
    };
    KERNELS.iter().filter(|spec| targets.contains(&spec.target))
}

/// How many kernels' processes run at once, if nobody says: the oracle is a thread of each, and a second one
/// feeds the device; where the host is the device, a kernel's own threads want it whole.
pub fn usual_jobs(caps: &Caps) -> usize {
    match caps {
        Caps::Cpu => 1,
        Caps::Wgpu(_) | Caps::Cuda(_) => (child::threads() / 2).clamp(1, 8),
    }
}

/// Runs each kernel whose name contains `only` in a process of its own, `jobs` of them at once; rows go to
/// `correct.csv`, in the table's order, each when it is known.
///
/// Errors: [`Error::Failed`] if a kernel failed.
pub fn run<B: Backend>(
    backend: &B,
    only: Option<&str>,
    jobs: usize,
    record: &Record,
) -> Result<()> {
    let names = kernels(backend.caps()).map(KernelSpec::to_string);
    let names: Vec<_> = names.filter(|name| only.is_none_or(|only| name.contains(only))).collect();
    if names.is_empty() {
        return Err(Error::Failed(format!("no kernel's name contains {:?}", only.unwrap_or(""))));
    }
    let mut rows: Vec<Verdict> = record.rows(FILE)?;
    rows.retain(|row| row.backend != backend.name() || !names.contains(&row.kernel));
    let mut verdicts = vec![None; names.len()];
    let (name, mut shown) = (backend.name(), 0);
    let threads = (child::threads() / jobs.max(1)).max(1);
    let work = |at: usize| {
        let (kernel, start) = (&names[at], Instant::now());
        child(name, kernel, threads).unwrap_or_else(|why| Verdict {
            backend: name.into(),
            kernel: kernel.clone(),
            failed: 1,
            seconds: start.elapsed().as_secs_f64(),
            status: why.cell(),
            ..Verdict::default()
        })
    };
    child::at_once(names.len(), jobs, work, |at, verdict| {
        verdicts[at] = Some(verdict);
        while let Some(Some(verdict)) = verdicts.get(shown) {
            println!("{verdict}");
            shown += 1;
        }
        let all: Vec<_> = rows.iter().chain(verdicts.iter().flatten()).collect();
        record.write(FILE, &all)
    })?;
    match verdicts.iter().flatten().filter(|verdict| verdict.failed > 0).count() {
        0 => Ok(()),
        bad => Err(Error::Failed(format!("{bad} of {} kernels failed", names.len()))),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, cases, failed, worst, seconds, status, .. } = self;
        write!(
            f,
            "{kernel:48} {cases:4} cases, {failed} failed, {worst:.2} of the bound, {seconds:4.1} s: {status}"
        )
    }
}

const FILE: &str = "correct.csv";

/// Kernels of a backend that this record has found wrong: they are not timed.
pub fn wrong(record: &Record, backend: &str) -> Result<HashSet<String>> {
    let rows: Vec<Verdict> = record.rows(FILE)?;
    let bad = rows.into_iter().filter(|row| row.backend == backend && row.failed > 0);
    Ok(bad.map(|row| row.kernel).collect())
}

/// Why a kernel of [`wrong`] is not run.
pub const FOUND_WRONG: &str = "stage correct has found it wrong";

/// The child's part: all cases of one kernel, the verdict on a line of its own.
pub fn one<B: Timed>(backend: &B, kernel: &str) -> Result<()> {
    let found = kernels(backend.caps()).find(|spec| spec.to_string() == kernel);
    let spec = found.ok_or_else(|| Error::Failed(format!("no kernel is called {kernel}")))?;
    let start = Instant::now();
    let mut verdict = Verdict {
        backend: backend.name().into(),
        kernel: kernel.into(),
        status: "ok".into(),
        ..Verdict::default()
    };
    'cases: for (name, makes) in shapes::cases(spec) {
        for make in makes {
            let case = make();
            if let Err(why @ Unsupported::Feature(_)) = spec.plan(&case.problem, backend.caps()) {
                verdict.status = format!("skipped: {why}");
                break 'cases;
            }
            verdict.cases += 1;
            match check(backend, spec, &case) {
                Ok(found) => verdict.worst = verdict.worst.max(found.largest),
                Err(why) => {
                    if verdict.failed == 0 {
                        verdict.status =
                            format!("{name}: {}: {why}", case.problem).replace('\n', "; ");
                    }
                    verdict.failed += 1;
                    if !backend.alive() {
                        verdict.status += "; the device is lost, and no further case was run";
                        break 'cases;
                    }
                }
            }
        }
    }
    verdict.seconds = start.elapsed().as_secs_f64();
    let text = serde_json::to_string(&verdict).map_err(|why| Error::Failed(why.to_string()))?;
    println!("{MARK}{text}");
    Ok(())
}

fn child(backend: &str, kernel: &str, threads: usize) -> Result<Verdict> {
    let args = ["correct", "--backend", backend, "--kernel", kernel];
    let out = child::run(&args, threads, patience(backend))?;
    let verdict = out.lines().find_map(|line| serde_json::from_str(line.strip_prefix(MARK)?).ok());
    verdict.ok_or_else(|| Error::Failed("its process ended without a verdict".into()))
}
