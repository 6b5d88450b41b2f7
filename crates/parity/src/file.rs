//! Results as a file to send to others, and what is asked of one that comes from them.

use crate::digest::Digest;
use crate::report::{Cell, Column, Kind, Outcome, Report};
use crate::scope::Scope;
use serde::{Deserialize, Serialize};

/// The version of the file's form.
pub const FORM: u32 = 1;

/// Only this of a file of any form.
#[derive(Deserialize)]
struct Form {
    #[serde(rename = "quickpick-parity")]
    form: u32,
}

/// A file of this form. The seal is the digest of the report as compact JSON, fields in the order of their
/// declaration; it tells an edited file, not one that was made to deceive.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "quickpick-parity")]
    form: u32,
    seal: Digest,
    report: Report,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FileError {
    /// Not JSON, or fields are missing or unknown.
    #[error("it is no file of parity results: {0}")]
    NoResults(String),
    /// Another form.
    #[error("its form is {0}; this program reads {FORM}")]
    Form(u32),
    /// Edited or damaged.
    #[error("its seal is {0}, its contents' {1}: it was edited or damaged")]
    Seal(Digest, Digest),
    /// Of other kernels.
    #[error("it judges other kernels: texts of digest {theirs} (quickpick {version}), here {ours}")]
    Kernels {
        /// The file's.
        theirs: Digest,
        /// The file's.
        version: String,
        /// This program's.
        ours: Digest,
    },
    /// Its cells are not those that its scope has.
    #[error("{executor}: {what}")]
    Cells {
        /// The column.
        executor: String,
        /// What is wrong, with names and numbers.
        what: String,
    },
    /// Two columns of one executor on one device, with other answers.
    #[error("there are two columns of {0} on {1}, and their answers differ")]
    Twice(String, String),
    /// Files of different scopes.
    #[error("one file has {0}, another {1}: cases must be the same")]
    Scopes(String, String),
}

impl Report {
    /// The report as a sealed file.
    pub fn to_json(&self) -> String {
        let file = File { form: FORM, seal: self.seal(), report: self.clone() };
        serde_json::to_string(&file).expect("a report is plain data")
    }

    fn seal(&self) -> Digest {
        let body = serde_json::to_string(self).expect("a report is plain data");
        Digest::NOTHING.and(body.as_bytes())
    }

    /// A report from a file: of this form, sealed, of the same kernels, each column's cells exactly those that
    /// its scope has.
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        let no_results = |e: serde_json::Error| FileError::NoResults(e.to_string());
        let Form { form } = serde_json::from_str(text).map_err(no_results)?;
        if form != FORM {
            return Err(FileError::Form(form));
        }
        let File { seal, report, .. } = serde_json::from_str(text).map_err(no_results)?;
        if seal != report.seal() {
            return Err(FileError::Seal(seal, report.seal()));
        }
        let ours = Self::of(&report.scope(), []).kernels;
        if report.kernels != ours {
            let Self { kernels: theirs, version, .. } = report;
            return Err(FileError::Kernels { theirs, version, ours });
        }
        for column in &report.columns {
            let wrong = |what| FileError::Cells { executor: column.executor.clone(), what };
            column.believable(&report.scope()).map_err(wrong)?;
        }
        let Self { version, kernels, depth, only, columns } = report;
        let mut taken = Self { version, kernels, depth, only, columns: Vec::new() };
        columns.into_iter().try_for_each(|column| taken.take(column))?;
        Ok(taken)
    }

    /// One column more, unless it is there already.
    fn take(&mut self, column: Column) -> Result<(), FileError> {
        let same = |c: &&Column| (&c.executor, &c.device) == (&column.executor, &column.device);
        match self.columns.iter().find(same) {
            None => self.columns.push(column),
            Some(known) if *known == column => {}
            Some(_) => return Err(FileError::Twice(column.executor, column.device)),
        }
        Ok(())
    }

    /// One report of many files' columns, all of one scope. A column that is in two of them is taken once.
    pub fn merge(reports: impl IntoIterator<Item = Self>) -> Result<Self, FileError> {
        let mut reports = reports.into_iter();
        let Some(mut all) = reports.next() else { return Ok(Self::of(&Scope::default(), [])) };
        for next in reports {
            if all.scope() != next.scope() {
                let words = |of: &Self| format!("{:?} of {:?}", of.depth, of.only);
                return Err(FileError::Scopes(words(&all), words(&next)));
            }
            next.columns.into_iter().try_for_each(|column| all.take(column))?;
        }
        Ok(all)
    }
}

impl Column {
    /// Whether its cells are those of the scope, and say what can be.
    fn believable(&self, scope: &Scope) -> Result<(), String> {
        let mut cells = self.cells.iter();
        for spec in Scope::kernels(self.kind) {
            for (case, _) in scope.cases(&self.executor, spec) {
                let wanted = format!("{spec}::{case}");
                let cell = cells.next().ok_or_else(|| {
                    format!("{wanted} is missing, and what comes after {} cells", self.cells.len())
                })?;
                let got = format!("{}::{}", cell.kernel, cell.case);
                if got != wanted {
                    return Err(format!("{got} stands where {wanted} must"));
                }
                cell.believable().map_err(|why| format!("{got}: {why}"))?;
                if self.kind == Kind::Oracle && !matches!(cell.outcome, Outcome::Passed { .. }) {
                    return Err(format!("{got}: the oracle itself {}", cell.outcome));
                }
            }
        }
        match cells.count() {
            0 => Ok(()),
            more => Err(format!("{more} cells more than there are cases")),
        }
    }
}

impl Cell {
    fn believable(&self) -> Result<(), String> {
        match &self.outcome {
            Outcome::Passed { ppm, .. } if *ppm > 1_000_000 => {
                Err(format!("passed with {ppm} millionths of its bound"))
            }
            Outcome::Passed { ppm, exact: true, .. } if *ppm > 0 => {
                Err(format!("exact, with an error of {ppm} millionths of no bound"))
            }
            Outcome::Failed(why) | Outcome::Skipped(why) if why.is_empty() => {
                Err("gives no reason".into())
            }
            _ => Ok(()),
        }
    }
}
