//! A report as the table of a README: what each device gave.

use crate::report::{Report, Tally};
use std::fmt::Write;

impl Report {
    /// One row for each executor and device; its cases of all kernels.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| executor | device | kernels | cases passed | of those, only these bits would | largest error ÷ bound | failed | skipped |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for column in &self.columns {
            let Tally { passed, exact, ppm, failed, skipped } = column.tally(None);
            let mut kernels: Vec<_> = column.cells.iter().map(|cell| &cell.kernel).collect();
            kernels.dedup();
            // writing to a string
            let _ = writeln!(
                text,
                "| {} | {} | {} | {passed} | {exact} | {:.3} | {failed} | {skipped} |",
                column.executor,
                column.device.replace('|', "/"),
                kernels.len(),
                f64::from(ppm) / 1e6,
            );
        }
        for (why, count) in self.skips() {
            let _ = write!(text, "\n{count} cases skipped of {why}.");
        }
        text.push('\n');
        text
    }
}
