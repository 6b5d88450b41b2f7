//! Which cases are asked, and asking them.

use crate::check::{Agreement, check, compare};
use crate::data;
use crate::report::{Cell, Column, Kind, Outcome, name};
use crate::shapes::{self, Make};
use crate::{Case, Expected, Operand};
use quickpick::Backend;
use quickpick_kernels::{KERNELS, KernelSpec};
use serde::{Deserialize, Serialize};

/// How many cases of each kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// At most [`SAMPLE`], spread evenly over all, the first and the last among them.
    #[default]
    Sample,
    /// All.
    All,
}

/// Cases of a kernel's sample.
const SAMPLE: usize = 8;

/// Which cases are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// How many of each kernel.
    pub depth: Depth,
    /// Only those whose `executor::kernel::case` contains this; empty for all.
    pub only: String,
}

impl Scope {
    /// The kernels that an executor of this kind is asked for, in the table's order.
    pub fn kernels(kind: Kind) -> impl Iterator<Item = &'static KernelSpec> {
        KERNELS.iter().filter(move |spec| kind.runs(spec))
    }

    /// The cases of a kernel by name.
    pub fn cases(&self, executor: &str, spec: &KernelSpec) -> Vec<(String, Vec<Make>)> {
        let kernel = spec.to_string();
        let all = shapes::cases(spec);
        let (count, last) = (all.len(), all.len().saturating_sub(1));
        let chosen = |i: usize| match self.depth {
            Depth::All => true,
            // whether a multiple of last/(SAMPLE − 1) lies in (i − 1, i]
            Depth::Sample if count <= SAMPLE => true,
            Depth::Sample => (0..SAMPLE).any(|j| (j * last).div_ceil(SAMPLE - 1) == i),
        };
        let cases = all.into_iter().enumerate().filter(|(i, _)| chosen(*i)).map(|(_, case)| case);
        cases.filter(|(case, _)| name(executor, &kernel, case).contains(&self.only)).collect()
    }

    /// Asks a backend for all of its kernels; `seen` is told each answer.
    ///
    /// What the device cannot be asked, for want of a feature or by its limits, is [`Outcome::Skipped`] with the
    /// planner's reason; any other error is a failure.
    pub fn run<B: Backend>(
        &self,
        executor: &str,
        backend: &B,
        seen: &mut dyn FnMut(&Cell),
    ) -> Column {
        let kind = Kind::from(backend.caps());
        let cells = Self::kernels(kind).flat_map(|spec| self.cells(executor, spec, backend, seen));
        let cells = cells.collect();
        Column { executor: executor.into(), kind, device: backend.describe(), cells }
    }

    /// Asks a backend for one kernel.
    pub fn cells<B: Backend>(
        &self,
        executor: &str,
        spec: &'static KernelSpec,
        backend: &B,
        seen: &mut dyn FnMut(&Cell),
    ) -> Vec<Cell> {
        self.answers(executor, spec, seen, |makes| {
            let mut all = Agreement::NOTHING;
            for make in makes {
                let case = make();
                if let Err(why) = spec.plan(&case.problem, backend.caps()) {
                    return Outcome::Skipped(why.to_string());
                }
                match check(backend, spec, &case) {
                    Ok(found) => all = all.and(found),
                    Err(why) => return Outcome::Failed(format!("{}: {why}", case.problem)),
                }
            }
            all.into()
        })
    }

    /// Asks the oracle itself for one kernel, rounded to each output's type: a bound that it does not keep, nobody
    /// can.
    pub fn oracle(
        &self,
        executor: &str,
        spec: &'static KernelSpec,
        seen: &mut dyn FnMut(&Cell),
    ) -> Vec<Cell> {
        self.answers(executor, spec, seen, |makes| {
            let all = makes.iter().try_fold(Agreement::NOTHING, |all, make| {
                rounded(&make()).map(|found| all.and(found))
            });
            all.map_or_else(Outcome::Failed, Outcome::from)
        })
    }

    fn answers(
        &self,
        executor: &str,
        spec: &KernelSpec,
        seen: &mut dyn FnMut(&Cell),
        answer: impl Fn(&[Make]) -> Outcome,
    ) -> Vec<Cell> {
        let cases = self.cases(executor, spec).into_iter().map(|(case, makes)| {
            let cell = Cell { kernel: spec.to_string(), case, outcome: answer(&makes) };
            seen(&cell);
            cell
        });
        cases.collect()
    }
}

/// The oracle's answer in the outputs' types, judged as any other.
fn rounded(case: &Case) -> Result<Agreement, String> {
    case.operands.iter().try_fold(Agreement::NOTHING, |before, (name, operand)| {
        let Operand::Output(dtype, expected) = operand else { return Ok(before) };
        let cell = |e: &Expected| match e {
            Expected::Near(value, _) => data::bytes(*dtype, &[*value]),
            Expected::Nan => data::bytes(*dtype, &[f64::NAN]),
            Expected::Untouched => vec![0xFF; dtype.bytes()],
        };
        let cells: Vec<u8> = expected.iter().flat_map(cell).collect();
        let found = compare(&cells, *dtype, expected)
            .map_err(|why| format!("{}, {name}: {why}", case.problem))?;
        Ok(before.and(found))
    })
}
