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

/// Runs each kernel whose name contains `only` in a process of its own; rows go to `correct.csv`.
///
/// Errors: [`Error::Failed`] if a kernel failed.
pub fn run<B: Backend>(backend: &B, only: Option<&str>, record: &Record) -> Result<()> {
    let mut rows: Vec<Verdict> = record.rows(FILE)?;
    let mut bad = 0;
    let mut count = 0;
    for spec in kernels(backend.caps()) {
        let kernel = spec.to_string();
        if only.is_some_and(|only| !kernel.contains(only)) {
            continue;
        }
        let start = Instant::now();
        let verdict = child(backend.name(), &kernel).unwrap_or_else(|why| Verdict {
            backend: backend.name().into(),
            kernel: kernel.clone(),
            failed: 1,
            seconds: start.elapsed().as_secs_f64(),
            status: why.cell(),
            ..Verdict::default()
        });
        let Verdict { cases, failed, worst, seconds, status, .. } = &verdict;
        println!(
            "{kernel:48} {cases:4} cases, {failed} failed, {worst:.2} of the bound, {seconds:4.1} s: {status}"
        );
        count += 1;
        bad += u32::from(*failed > 0);
        rows.retain(|row| (&row.backend, &row.kernel) != (&verdict.backend, &verdict.kernel));
        rows.push(verdict);
        record.write(FILE, &rows)?;
    }
    match (count, bad) {
        (0, _) => Err(Error::Failed(format!("no kernel's name contains {:?}", only.unwrap_or("")))),
        (_, 0) => Ok(()),
        _ => Err(Error::Failed(format!("{bad} of {count} kernels failed"))),
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
                Ok(share) => verdict.worst = verdict.worst.max(share),
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

fn child(backend: &str, kernel: &str) -> Result<Verdict> {
    let out =
        child::run(&["correct", "--backend", backend, "--kernel", kernel], patience(backend))?;
    let verdict = out.lines().find_map(|line| serde_json::from_str(line.strip_prefix(MARK)?).ok());
    verdict.ok_or_else(|| Error::Failed("its process ended without a verdict".into()))
}
