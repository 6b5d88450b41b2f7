//! What executors answered: columns of cells.

use crate::check::Agreement;
use crate::digest::Digest;
use crate::scope::{Depth, Scope};
use quickpick_kernels::{Caps, KERNELS, KernelSpec, Target};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// What many executors answered to the same questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Quickpick's version.
    pub version: String,
    /// A digest of all kernels' names and texts: other kernels, other questions.
    pub kernels: Digest,
    /// Which cases were asked.
    pub depth: Depth,
    /// Only names that contain this; empty for all.
    pub only: String,
    /// One for each executor.
    pub columns: Vec<Column>,
}

/// What one executor answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name; with the device, unlike any other's in a report.
    pub executor: String,
    /// What it is.
    pub kind: Kind,
    /// Device, driver and version, in words.
    pub device: String,
    /// Its answers, kernels in the table's order.
    pub cells: Vec<Cell>,
}

/// What an executor is, and so which kernels it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The f64 oracle, rounded to each output's type: how much of a bound rounding alone takes. Every kernel.
    Oracle,
    /// The host's kernels.
    Cpu,
    /// PTX, emulated.
    Emulator,
    /// PTX, by NVIDIA's driver.
    Cuda,
    /// WGSL, by wgpu.
    Wgpu,
    /// WGSL, by a browser's WebGPU.
    Browser,
}

impl Kind {
    /// Whether it is asked for a kernel.
    pub fn runs(self, spec: &KernelSpec) -> bool {
        match self {
            Self::Oracle => true,
            Self::Cpu => spec.target == Target::Cpu,
            Self::Emulator | Self::Cuda => spec.target.is_ptx(),
            Self::Wgpu | Self::Browser => spec.target.is_wgsl(),
        }
    }
}

impl From<&Caps> for Kind {
    fn from(caps: &Caps) -> Self {
        match caps {
            Caps::Cpu => Self::Cpu,
            Caps::Wgpu(_) => Self::Wgpu,
            Caps::Cuda(_) => Self::Cuda,
        }
    }
}

/// The answer to one case of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The kernel's name.
    pub kernel: String,
    /// The case's name; it stands for several inputs.
    pub case: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// Every element is within its bound.
    Passed {
        /// The largest error, in millionths of its bound, rounded up.
        ppm: u32,
        /// Nothing but these bits would have passed.
        exact: bool,
        /// A digest of the outputs' bits.
        bits: Digest,
    },
    /// The first wrong element, or an error.
    Failed(String),
    /// Why the device cannot be asked.
    Skipped(String),
}

impl From<Agreement> for Outcome {
    fn from(found: Agreement) -> Self {
        let ppm = (found.largest * 1e6).ceil() as u32;
        Self::Passed { ppm, exact: found.exact, bits: found.bits }
    }
}

impl Report {
    /// Columns of one scope.
    pub fn of(scope: &Scope, columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            kernels: kernels(),
            depth: scope.depth,
            only: scope.only.clone(),
            columns: columns.into_iter().collect(),
        }
    }

    /// The scope of its columns.
    pub fn scope(&self) -> Scope {
        Scope { depth: self.depth, only: self.only.clone() }
    }

    /// All cells with their columns.
    pub fn cells(&self) -> impl Iterator<Item = (&Column, &Cell)> {
        self.columns.iter().flat_map(|column| column.cells.iter().map(move |cell| (column, cell)))
    }

    /// The wrong answers.
    pub fn failures(&self) -> impl Iterator<Item = (&Column, &Cell)> {
        self.cells().filter(|(_, cell)| matches!(cell.outcome, Outcome::Failed(_)))
    }

    /// Failures, then what passed by the least: those come first that are nearest to their bound.
    pub fn worst(&self) -> Vec<(&Column, &Cell)> {
        let mut cells: Vec<_> = self.cells().filter(|(_, cell)| cell.rank().is_some()).collect();
        cells.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.rank()));
        cells
    }
}

impl Report {
    /// Cells for which only certain bits pass, and for which two executors passed with other bits: one of them has
    /// −0 for 0, say.
    pub fn contradictions(&self) -> Vec<String> {
        let mut first: HashMap<(&str, &str), (&Column, Digest)> = HashMap::new();
        let mut found = Vec::new();
        for (column, cell) in self.cells() {
            let Outcome::Passed { exact: true, bits, .. } = cell.outcome else { continue };
            let (other, theirs) =
                *first.entry((&cell.kernel, &cell.case)).or_insert((column, bits));
            if theirs != bits {
                let (name, other) = (column.name(cell), &other.executor);
                found.push(format!("{name} has the bits {bits}, of {other} {theirs}"));
            }
        }
        found
    }

    /// Whether nothing failed and nothing contradicts.
    pub fn is_one_answer(&self) -> bool {
        self.failures().next().is_none() && self.contradictions().is_empty()
    }
}

impl Column {
    /// How a cell is named, here and by `cargo xtask parity --only`.
    pub fn name(&self, cell: &Cell) -> String {
        name(&self.executor, &cell.kernel, &cell.case)
    }

    /// Counts of its cells, or of those of one kernel.
    pub fn tally(&self, kernel: Option<&str>) -> Tally {
        let mut tally = Tally::default();
        let cells = self.cells.iter().filter(|cell| kernel.is_none_or(|k| k == cell.kernel));
        for cell in cells {
            match cell.outcome {
                Outcome::Passed { ppm, exact, .. } => {
                    tally.passed += 1;
                    tally.exact += u32::from(exact);
                    tally.ppm = tally.ppm.max(ppm);
                }
                Outcome::Failed(_) => tally.failed += 1,
                Outcome::Skipped(_) => tally.skipped += 1,
            }
        }
        tally
    }
}

/// Counts of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Within their bounds.
    pub passed: u32,
    /// Of those, the ones that only these bits pass.
    pub exact: u32,
    /// The largest error of those, in millionths of its bound.
    pub ppm: u32,
    /// Wrong.
    pub failed: u32,
    /// Not asked.
    pub skipped: u32,
}

impl Cell {
    /// Larger is worse; a skipped one has none.
    fn rank(&self) -> Option<u32> {
        match self.outcome {
            Outcome::Failed(_) => Some(u32::MAX),
            Outcome::Passed { ppm, .. } => Some(ppm),
            Outcome::Skipped(_) => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { exact: true, .. } => f.write_str("the same bits"),
            Self::Passed { ppm, .. } => write!(f, "{:.3} of its bound", f64::from(*ppm) / 1e6),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// `executor::kernel::case`.
pub fn name(executor: &str, kernel: &str, case: &str) -> String {
    format!("{executor}::{kernel}::{case}")
}

/// A digest of all kernels' names and texts.
fn kernels() -> Digest {
    KERNELS.iter().fold(Digest::NOTHING, |digest, spec| {
        digest.and(spec.to_string().as_bytes()).and(spec.text().unwrap_or_default().as_bytes())
    })
}
