//! Recording: every form that a device has, each to its own file.

use super::device::{Device, Failure};
use super::file::{self, File, Header, Recorded};
use super::forms::{FORMS, Form, form};
use super::probe::Probe;
use super::sweep::{Sweep, all_codes, sweeps};
use quickpick_format::write_atomic;
use std::fmt;
use std::path::Path;

/// What became of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The form's name.
    pub form: &'static str,
    /// What became of it.
    pub end: End,
}

/// How a form's recording, or that of its sixteen codes, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its file is written.
    Recorded {
        /// How many trials it holds.
        trials: usize,
        /// How long it is.
        bytes: usize,
    },
    /// The sixteen metadata codes were tried, and added to its file.
    Codes {
        /// How many gave a D; the others an error.
        answered: usize,
    },
    /// The device does not have it.
    Skipped(String),
    /// The device has it and failed, or the file could not be written; an older file stays.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:32} ", self.form)?;
        match &self.end {
            End::Recorded { trials, bytes } => {
                write!(f, "recorded: {trials} trials, {bytes} bytes")
            }
            End::Codes { answered } => write!(f, "codes: {answered} of 16 gave a result"),
            End::Skipped(why) => write!(f, "skipped: {why}"),
            End::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Records every form that the device has into `folder`, which must exist.
///
/// First everything that the manual defines, a file per form, each written whole as soon as its form
/// is done. Then the sixteen metadata codes of each form, one launch per code: an undefined one may
/// leave the device with an error that no later launch survives, and by then all else is written.
pub fn record(
    device: &dyn Device,
    header: &Header,
    folder: &Path,
    progress: &mut dyn FnMut(&Outcome),
) -> Vec<Outcome> {
    record_these(device, header, folder, FORMS.iter(), progress)
}

/// Records one form by its name, as [`record`] does all. For a caller who gives each form a process of
/// its own.
pub fn record_form(
    device: &dyn Device,
    header: &Header,
    folder: &Path,
    name: &str,
    progress: &mut dyn FnMut(&Outcome),
) -> Result<Vec<Outcome>, String> {
    Ok(record_these(device, header, folder, [form(name)?].into_iter(), progress))
}

fn record_these(
    device: &dyn Device,
    header: &Header,
    folder: &Path,
    forms: impl Iterator<Item = &'static Form>,
    progress: &mut dyn FnMut(&Outcome),
) -> Vec<Outcome> {
    let (mut outcomes, mut files) = (Vec::new(), Vec::new());
    let mut tell = |form: &'static Form, end| {
        let outcome = Outcome { form: form.name, end };
        progress(&outcome);
        outcomes.push(outcome);
    };
    for form in forms {
        let end = match defined(device, header, form).and_then(|f| Ok((save(folder, &f)?, f))) {
            Ok((bytes, file)) => {
                let trials = file.sweeps.iter().map(|s| s.answers.len()).sum();
                files.push(file);
                End::Recorded { trials, bytes }
            }
            Err(Failure::Unsupported(why)) => End::Skipped(why),
            Err(Failure::Failed(why)) => End::Failed(why),
        };
        tell(form, end);
    }
    for mut file in files {
        let Some(sweep) = all_codes(file.form) else { continue };
        let recorded = one_by_one(device, sweep);
        let answered = recorded.answers.iter().filter(|a| a.is_ok()).count();
        file.sweeps.push(recorded);
        let end = match save(folder, &file) {
            Ok(_) => End::Codes { answered },
            Err(why) => End::Failed(why.to_string()),
        };
        tell(file.form, end);
    }
    outcomes
}

/// All sweeps that the manual defines.
fn defined(device: &dyn Device, header: &Header, form: &'static Form) -> Result<File, Failure> {
    let mut file = File { form, device: device.name(), header: header.clone(), sweeps: Vec::new() };
    for sweep in sweeps(form) {
        let trials: Vec<_> = (0..sweep.trials()).map(|trial| sweep.inputs(trial)).collect();
        let answers = device.run(&Probe::new(form, sweep.selector), &trials)?;
        if answers.len() != trials.len() {
            let (got, want) = (answers.len(), trials.len());
            return Err(Failure::Failed(format!("{sweep}: {got} answers to {want} trials")));
        }
        let answers = answers.into_iter().map(Ok).collect();
        file.sweeps.push(Recorded { sweep, inputs: sweep.digest(), answers });
    }
    Ok(file)
}

/// A sweep with a launch per trial, so that each has its own answer or error. Legal codes go first:
/// they have their answers whatever an undefined one does. After an error a legal code is asked again;
/// if that fails too, the device is lost, and what follows would be no answer of its own.
fn one_by_one(device: &dyn Device, sweep: Sweep) -> Recorded {
    let probe = Probe::new(sweep.form, sweep.selector);
    let ask = |trial: usize| match device.run(&probe, &[sweep.inputs(trial)]) {
        Ok(answers) => answers.into_iter().next().ok_or_else(|| "no answer".to_string()),
        Err(why) => Err(why.to_string()),
    };
    let codes = sweep.form.codes();
    let legal = |trial: &usize| codes.contains(&(*trial as u32));
    let (first, last): (Vec<usize>, Vec<usize>) = (0..sweep.trials()).partition(legal);
    let mut answers = vec![Err("not asked, for the device was lost".into()); sweep.trials()];
    for trial in first.into_iter().chain(last) {
        answers[trial] = ask(trial);
        if answers[trial].is_err() && ask(codes[0] as usize).is_err() {
            break;
        }
    }
    Recorded { sweep, inputs: sweep.digest(), answers }
}

/// Writes a form's file; returns its length.
fn save(folder: &Path, file: &File) -> Result<usize, Failure> {
    let (path, text) = (file::path(folder, file.form), file::write(file));
    match write_atomic(&path, text.as_bytes()) {
        Ok(()) => Ok(text.len()),
        Err(why) => Err(Failure::Failed(format!("{}: {why}", path.display()))),
    }
}
