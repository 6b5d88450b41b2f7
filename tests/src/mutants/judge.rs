//! Whether the emulator objects to a mutant: it traps, does not end, or gives a wrong answer, in some
//! case that reaches the mutation.

use super::generate::{Kind, Mutant, mutants};
use super::probe::Probe;
use crate::emulated::Emulated;
use crate::{Case, check};
use quickpick::kernels::{KernelSpec, Problem};
use quickpick_emulator::{Fault, Program, Schedule};
use quickpick_ptx::{Line, Located, parse_located};
use std::fmt;
use std::sync::Arc;

/// Accidents of order are looked for where the mutation is about order.
const SCHEDULES: [Schedule; 4] =
    [Schedule::Early, Schedule::Late, Schedule::Random(1), Schedule::Random(2)];
/// A guard decides what is done, not when: one suffices.
const GUARD_SCHEDULES: usize = 1;
/// Instructions of the cases that are left out: what they reach, smaller ones reach too.
const LARGE: u64 = 200_000;
/// A mutant that needs so many times the instructions of the kernel hangs.
const PATIENCE: u64 = 20;

/// A kernel, its cases, and what they reach.
pub struct Subject {
    /// The kernel's row.
    pub spec: &'static KernelSpec,
    located: Located,
    cases: Vec<Measured>,
}

struct Measured {
    case: Case,
    probe: Probe,
}

/// What became of a mutant.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The emulator objects: how, and to which problem.
    Killed(Objection, Problem),
    /// Cases reached the mutation, so many, and the emulator saw nothing wrong.
    Survived(usize),
}

/// How the emulator objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    /// Unordered accesses, or a copy in flight.
    Race,
    /// Something is read that nothing wrote.
    Poison,
    /// An address that is not granted.
    Bounds,
    /// Barriers, deadlocks, lanes apart.
    Barrier,
    /// Any other trap.
    Trap,
    /// More than its budget of instructions.
    Hang,
    /// The result is outside of the oracle's bound.
    Wrong,
}

/// A mutant with its verdict, and where it stands in the committed text.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The kernel's row.
    pub spec: &'static KernelSpec,
    /// The line in the committed file.
    pub line: usize,
    /// The label or heading above it.
    pub context: String,
    /// The line, as committed.
    pub text: String,
    /// What was done to it.
    pub kind: Kind,
    /// What became of it.
    pub verdict: Verdict,
}

impl Subject {
    /// The committed kernel, run once over its cases.
    pub fn new(spec: &'static KernelSpec, cases: Vec<Case>) -> Result<Self, String> {
        let text = match spec.text() {
            Some(text) => text.to_owned(),
            None => quickpick_codegen::emit(spec).ok_or_else(|| format!("{spec} has no text"))?,
        };
        let located = parse_located(&text).map_err(|e| format!("{spec}: {e}"))?;
        let mut measured = Vec::new();
        for case in cases {
            let probe = Probe::run(spec, &located.module, &case)?;
            if probe.instructions < LARGE {
                measured.push(Measured { case, probe });
            }
        }
        measured.sort_by_key(|m| m.probe.instructions);
        Ok(Self { spec, located, cases: measured })
    }

    /// All mutants, judged.
    pub fn judge(&self) -> Result<Vec<Judged>, String> {
        mutants(&self.located.module.kernel).iter().map(|mutant| self.one(mutant)).collect()
    }

    fn one(&self, mutant: &Mutant) -> Result<Judged, String> {
        let lines = &self.located.module.kernel.lines;
        let text = lines[mutant.line].to_string();
        let context = lines[..mutant.line].iter().rev().find_map(|line| match line {
            Line::Label(label) => Some(label.to_string()),
            Line::Section(section) => Some(section.clone()),
            _ => None,
        });
        Ok(Judged {
            spec: self.spec,
            line: self.located.at[mutant.line],
            context: context.unwrap_or_default(),
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            kind: mutant.kind,
            verdict: self.verdict(mutant)?,
        })
    }

    fn verdict(&self, mutant: &Mutant) -> Result<Verdict, String> {
        // what is run is a text, as the committed kernel is
        let text = mutant.apply(&self.located.module).to_string();
        // a count of arrivals that the language does not have, for one
        let Ok(program) = Program::parse(&text) else {
            return Ok(Verdict::Killed(Objection::Trap, self.cases[0].case.problem));
        };
        let program = Arc::new(program);
        let reaching: Vec<_> = self.cases.iter().filter(|c| c.probe.reaches(mutant)).collect();
        let guard = matches!(mutant.kind, Kind::Unguarded | Kind::Negated);
        let schedules = if guard { &SCHEDULES[..GUARD_SCHEDULES] } else { &SCHEDULES[..] };
        for schedule in schedules {
            for Measured { case, probe } in &reaching {
                let budget = probe.instructions * PATIENCE;
                let emulated = Emulated::running(*schedule, self.spec, program.clone(), budget);
                if check(&emulated, self.spec, case).is_err() {
                    let objection = match emulated.trap() {
                        Some(trap) => objection(&trap.fault),
                        None => Objection::Wrong,
                    };
                    return Ok(Verdict::Killed(objection, case.problem));
                }
            }
        }
        Ok(Verdict::Survived(reaching.len()))
    }
}

fn objection(fault: &Fault) -> Objection {
    match fault {
        Fault::Race { .. }
        | Fault::InFlight { .. }
        | Fault::Unfenced { .. }
        | Fault::Owned { .. }
        | Fault::NoWgmmaFence { .. }
        | Fault::Unwaited { .. } => Objection::Race,
        Fault::PoisonRegister { .. } | Fault::PoisonMemory { .. } => Objection::Poison,
        Fault::OutOfBounds { .. } | Fault::Misaligned { .. } | Fault::ReadOnly { .. } => {
            Objection::Bounds
        }
        Fault::Divergent { .. } | Fault::Rule(_) | Fault::Deadlock { .. } => Objection::Barrier,
        Fault::Budget(_) => Objection::Hang,
        Fault::Metadata { .. }
        | Fault::Selector { .. }
        | Fault::NotUniform { .. }
        | Fault::Trap
        | Fault::Launch(_) => Objection::Trap,
    }
}

impl Judged {
    /// What kind of mutation it is, over all kernels: `bar.sync deleted`, `guard negated`.
    pub fn group(&self) -> String {
        match self.kind {
            Kind::Unguarded => "guard deleted".to_string(),
            Kind::Negated => "guard negated".to_string(),
            kind => {
                let words = self.text.split(' ').find(|word| !word.starts_with('@'));
                format!("{} {kind}", words.unwrap_or_default().trim_end_matches(';'))
            }
        }
    }
}

/// `ptx/kernel.ptx:12 (heading): bar.sync 0; deleted: survived 3 cases`
impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, line, context, text, kind, verdict } = self;
        write!(f, "{spec}.ptx:{line} ({context}): {text} {kind}: ")?;
        match verdict {
            Verdict::Killed(objection, problem) => write!(f, "{objection:?} in {problem}"),
            Verdict::Survived(0) => write!(f, "no case reaches it"),
            Verdict::Survived(cases) => write!(f, "survived {cases} cases"),
        }
    }
}
