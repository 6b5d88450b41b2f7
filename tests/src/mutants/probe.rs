//! What a case reaches: which lines are issued, and which guards keep a lane out. A mutant is run only
//! where it can matter.

use super::generate::{Kind, Mutant};
use crate::emulated::Emulated;
use crate::{Case, check};
use quickpick::kernels::KernelSpec;
use quickpick_emulator::{Program, Schedule};
use quickpick_ptx::{Arg, B32, Inst, Label, Line, Module, Type, Uni, parse_located};
use std::collections::HashMap;
use std::sync::Arc;

/// One run of a kernel, looked at.
pub struct Probe {
    /// Instructions of the kernel as it is.
    pub instructions: u64,
    /// By line of the kernel: whether a warp came there.
    issued: Vec<bool>,
    /// By line of the kernel: whether its guard kept a lane out.
    kept_out: Vec<bool>,
}

/// Longest that a probe may run.
const BUDGET: u64 = 1 << 32;

impl Probe {
    /// Runs the case early: once as it is, once with a branch before each guarded line that tells
    /// where the guard does not hold.
    pub fn run(spec: &'static KernelSpec, module: &Module, case: &Case) -> Result<Self, String> {
        let mut probed = module.clone();
        let seen = probed.kernel.reg::<B32>("probe");
        let (mut lines, mut at, mut markers) = (Vec::new(), Vec::new(), Vec::new());
        for (i, line) in module.kernel.lines.iter().enumerate() {
            let mut marker = None;
            if let Line::Inst { guard: Some(guard), .. } = line {
                // @p bra past; mov seen, 0; past: comes to the move where p fails
                let past = Label::from(format!("probe_{i}").as_str());
                let over = Inst::Bra { uni: Uni::No, to: past };
                lines.push(Line::Inst { guard: Some(*guard), inst: over });
                marker = Some(lines.len());
                let inst = Inst::Mov { ty: Type::U32, d: seen.into(), a: Arg::Int(0) };
                lines.push(Line::Inst { guard: None, inst });
                lines.push(Line::Label(past));
            }
            markers.push(marker);
            at.push(lines.len());
            lines.push(line.clone());
        }
        probed.kernel.lines = lines;
        let text = probed.to_string();
        let located = parse_located(&text).map_err(|e| format!("a probe is no PTX: {e}"))?;
        let program = Arc::new(Program::parse(&text).map_err(|e| e.to_string())?);
        let emulated = Emulated::running(Schedule::Early, spec, program, BUDGET);
        check(&emulated, spec, case).map_err(|e| format!("{spec}: {}: {e}", case.problem))?;
        let report = emulated.report();
        let counts: HashMap<usize, u64> =
            report.lines.iter().map(|l| (l.line, l.count.issued)).collect();
        let issued = |line: usize| counts.get(&located.at[line]).copied().unwrap_or(0);
        Ok(Self {
            instructions: at.iter().map(|line| issued(*line)).sum(),
            issued: at.iter().map(|line| issued(*line) > 0).collect(),
            kept_out: markers.iter().map(|m| m.is_some_and(|m| issued(m) > 0)).collect(),
        })
    }

    /// Whether a run of the mutant would differ in anything.
    pub fn reaches(&self, mutant: &Mutant) -> bool {
        match mutant.kind {
            Kind::Unguarded => self.kept_out[mutant.line],
            _ => self.issued[mutant.line],
        }
    }
}
