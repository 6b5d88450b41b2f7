//! Stage `record`: what the hardware says of each form of matrix multiply, for `tests/data`.

use super::child;
use crate::error::{Error, Result};
use crate::machine;
use crate::record::Record;
use quickpick_tests::vectors::{CudaDevice, End, Header, forms, record_form};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A form that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of one form.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Recorded {
    /// Its name; its file is `vectors/NAME.vec`.
    pub form: String,
    /// `recorded: …`, `codes: …`, `skipped: why` or `failed: why`.
    pub status: String,
}

/// Records every form in a process of its own; rows go to `record.csv`, files to `vectors/`.
///
/// Errors: [`Error::Failed`] if a form failed that the device should have.
pub fn run(record: &Record, revision: &str) -> Result<()> {
    CudaDevice::open()?; // a machine without a GPU is skipped, not failed
    let mut rows: Vec<Recorded> = Vec::new();
    let folder = record.folder().display().to_string();
    for form in forms() {
        let args = [
            "record",
            "--backend",
            "cuda",
            "--form",
            form,
            "--record",
            &folder,
            "--revision",
            revision,
        ];
        let text = child::run(&args, child::threads(), PATIENCE)
            .unwrap_or_else(|why| format!("failed: {}", why.cell()));
        for status in text.lines().filter(|line| !line.is_empty()) {
            println!("{form:32} {status}");
            rows.push(Recorded { form: form.into(), status: status.into() });
        }
        record.write("record.csv", &rows)?;
    }
    match rows.iter().filter(|row| row.status.starts_with("failed")).count() {
        0 => Ok(()),
        bad => Err(Error::Failed(format!("{bad} of {} forms failed", forms().count()))),
    }
}

/// The child's part: one form, a line for each thing that became of it.
pub fn one(record: &Record, revision: &str, form: &str) -> Result<()> {
    let device = CudaDevice::open()?;
    let folder = record.folder().join("vectors");
    std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
    let driver = record.known()?.remove("gpu.driver_version").unwrap_or_else(|| "unknown".into());
    let header = Header { driver, date: machine::now("%Y-%m-%d"), revision: revision.into() };
    let outcomes = record_form(&device, &header, &folder, form, &mut |_| ());
    for outcome in outcomes.map_err(Error::Failed)? {
        println!(
            "{}",
            match outcome.end {
                End::Recorded { trials, bytes } =>
                    format!("recorded: {trials} trials, {bytes} bytes"),
                End::Codes { answered } => format!("codes: {answered} of 16 gave a result"),
                End::Skipped(why) => format!("skipped: {}", why.replace('\n', "; ")),
                End::Failed(why) => format!("failed: {}", why.replace('\n', "; ")),
            }
        );
    }
    Ok(())
}
