//! Replay: a file's answers against another device's, word for word.

use super::device::{Device, Failure};
use super::file::{File, numbers};
use super::probe::Probe;
use super::sweep::{Kind, Sweep, sweeps};
use std::fmt;

/// A word of D that two devices do not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The sweep.
    pub sweep: Sweep,
    /// Its trial.
    pub trial: usize,
    /// The word: 2·(⌊register / 2⌋ · lanes + lane) + register mod 2.
    pub word: usize,
    /// In the file.
    pub recorded: u32,
    /// As the device computes it.
    pub computed: u32,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sweep, trial, word, recorded, computed } = self;
        let (form, lanes) = (sweep.form, sweep.form.lanes());
        let [recorded, computed] = [recorded, computed].map(|w| numbers(form).show(*w));
        let (lane, register) = (word / 2 % lanes, word / (2 * lanes) * 2 + word % 2);
        write!(
            f,
            "{}: {sweep}, trial {trial}: D register {register} of lane {lane} is {recorded} in the \
             file, {computed} as computed",
            form.name
        )
    }
}

/// Runs every trial of a file on a device, and lists the words of D that differ. What the manual
/// leaves undefined (`all-codes`) is not run.
///
/// Errors: the device fails; the file lacks a sweep, or was recorded with other inputs than those of
/// this code.
pub fn replay(file: &File, device: &dyn Device) -> Result<Vec<Difference>, Failure> {
    let form = file.form;
    let mut differences = Vec::new();
    for sweep in sweeps(form) {
        let fault = |why: &str| Failure::Failed(format!("{}: {sweep}: {why}", form.name));
        let recorded = file.sweeps.iter().find(|r| r.sweep == sweep);
        let recorded = recorded.ok_or_else(|| fault("the file lacks this sweep"))?;
        if recorded.inputs != sweep.digest() {
            return Err(fault("recorded with other inputs; record it anew"));
        }
        let trials: Vec<_> = (0..sweep.trials()).map(|trial| sweep.inputs(trial)).collect();
        let computed = device.run(&Probe::new(form, sweep.selector), &trials)?;
        for (trial, (answer, computed)) in recorded.answers.iter().zip(computed).enumerate() {
            let Ok(answer) = answer else {
                return Err(fault(&format!("trial {trial} holds an error")));
            };
            for (word, (&recorded, computed)) in answer.iter().zip(computed).enumerate() {
                if recorded != computed {
                    differences.push(Difference { sweep, trial, word, recorded, computed });
                }
            }
        }
    }
    Ok(differences)
}

/// What a file says of the sixteen metadata codes in one place: a line each. `None` where that was not
/// recorded.
pub fn codes(file: &File) -> Option<Vec<String>> {
    let recorded = file.sweeps.iter().find(|r| r.sweep.kind == Kind::AllCodes)?;
    let legal = file.form.codes();
    let base = recorded.answers[legal[0] as usize].as_ref().ok();
    let line = |(code, answer): (usize, &Result<Vec<u32>, String>)| {
        let kind = if legal.contains(&(code as u32)) { "legal" } else { "undefined" };
        let what = match (answer, base) {
            (Err(why), _) => format!("error: {why}"),
            (Ok(d), Some(base)) => {
                let differ = d.iter().zip(base).filter(|(a, b)| a != b).count();
                format!("{differ} words of D differ from code {:#x}'s", legal[0])
            }
            (Ok(_), None) => "a result".into(),
        };
        format!("code {code:#x} ({kind}): {what}")
    };
    Some(recorded.answers.iter().enumerate().map(line).collect())
}
