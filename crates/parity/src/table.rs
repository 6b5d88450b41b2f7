//! A report for the terminal.

use crate::report::{Outcome, Report, Tally};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Cells that are listed as the worst.
const WORST: usize = 8;

impl fmt::Display for Report {
    /// Executors with their counts, what failed, what was skipped and why, and the worst.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self.columns.iter().map(|c| c.executor.len()).max().unwrap_or(0).max(8);
        writeln!(f, "{:wide$}  passed  exact  failed  skipped  worst  device", "executor")?;
        for column in &self.columns {
            let Tally { passed, exact, ppm, failed, skipped } = column.tally(None);
            let worst = f64::from(ppm) / 1e6;
            writeln!(
                f,
                "{:wide$}  {passed:6}  {exact:5}  {failed:6}  {skipped:7}  {worst:5.3}  {}",
                column.executor, column.device,
            )?;
        }
        for (column, cell) in self.failures() {
            writeln!(f, "FAILED  {}: {}", column.name(cell), reason(&cell.outcome))?;
        }
        for text in self.contradictions() {
            writeln!(f, "FAILED  bits that must be equal: {text}")?;
        }
        for (why, count) in self.skips() {
            writeln!(f, "skipped  {count} cells of {why}")?;
        }
        for (column, cell) in self.worst().into_iter().take(WORST) {
            if let Outcome::Passed { ppm: 1.., .. } = cell.outcome {
                writeln!(f, "worst  {}: {}", column.name(cell), cell.outcome)?;
            }
        }
        Ok(())
    }
}

impl Report {
    /// Why cells were skipped, by executor, with their number.
    pub(crate) fn skips(&self) -> BTreeMap<String, u32> {
        let mut skips = BTreeMap::new();
        for (column, cell) in self.cells() {
            if let Outcome::Skipped(why) = &cell.outcome {
                let mut text = String::new();
                let _ = write!(text, "{}: {why}", column.executor); // writing to a string
                *skips.entry(text).or_insert(0) += 1;
            }
        }
        skips
    }
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(why) | Outcome::Skipped(why) => why,
        Outcome::Passed { .. } => "passed",
    }
}
