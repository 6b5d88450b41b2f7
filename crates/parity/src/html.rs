//! A report as one self-contained page: the matrix, and every cell's worst first.

use crate::report::{Column, Outcome, Report, Tally};
use quickpick_kernels::KERNELS;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// Cells that are listed as the worst, besides all that failed.
const WORST: usize = 40;

impl Report {
    /// The page.
    pub fn to_html(&self) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>Quickpick: parity</title>\n<style>\n{STYLE}</style>\n<main>\n\
             <h1>One answer everywhere</h1>\n<p class=\"lead\">{}</p>\n",
            escape(&self.verdict())
        );
        self.executors(&mut html);
        self.wrong(&mut html);
        self.matrix(&mut html);
        self.worst_cells(&mut html);
        self.skipped(&mut html);
        let _ = write!(
            html,
            "<footer>quickpick {}, kernels {}. A share is the largest error over its derived bound; <em>=</em> says \
             that nothing but the same bits would have passed.</footer>\n</main>\n</html>\n",
            escape(&self.version),
            self.kernels
        );
        html
    }

    fn verdict(&self) -> String {
        let sum = self.columns.iter().map(|c| c.tally(None)).fold(Tally::default(), |a, b| Tally {
            passed: a.passed + b.passed,
            failed: a.failed + b.failed,
            skipped: a.skipped + b.skipped,
            ..a
        });
        let Tally { passed, failed, skipped, .. } = sum;
        let executors = self.columns.len();
        format!("{executors} executors: {passed} cases passed, {failed} failed, {skipped} skipped.")
    }

    fn executors(&self, html: &mut String) {
        section(
            html,
            "Executors",
            &["", "device", "passed", "same bits", "failed", "skipped", "worst"],
        );
        for column in &self.columns {
            let Tally { passed, exact, ppm, failed, skipped } = column.tally(None);
            let bad = if failed > 0 { " class=\"failed\"" } else { "" };
            let _ = writeln!(
                html,
                "<tr><th>{}</th><td class=\"words\">{}</td><td>{passed}</td><td>{exact}</td>\
                 <td{bad}>{failed}</td><td>{skipped}</td><td>{}</td></tr>",
                escape(&column.executor),
                escape(&column.device),
                share(ppm),
            );
        }
        close(html);
    }

    fn wrong(&self, html: &mut String) {
        let contradictions = self.contradictions();
        if self.failures().next().is_none() && contradictions.is_empty() {
            return;
        }
        section(html, "Failed", &["cell", "what", "again"]);
        for (column, cell) in self.failures() {
            let Outcome::Failed(why) = &cell.outcome else { continue };
            let name = column.name(cell);
            let _ = writeln!(
                html,
                "<tr class=\"failed\"><th>{}</th><td class=\"words\">{}</td><td class=\"words\">{}</td></tr>",
                escape(&name),
                escape(why),
                again(&name),
            );
        }
        for text in contradictions {
            let text = escape(&text);
            let _ = writeln!(
                html,
                "<tr class=\"failed\"><th>other bits</th><td class=\"words\">{text}</td><td></td></tr>"
            );
        }
        close(html);
    }

    fn matrix(&self, html: &mut String) {
        let mut head = vec!["kernel"];
        head.extend(self.columns.iter().map(|c| c.executor.as_str())); // devices stand above, in the same order
        section(html, "Kernels × executors", &head);
        for kernel in KERNELS.iter().map(ToString::to_string) {
            let tallies: Vec<_> = self.columns.iter().map(|c| c.tally(Some(&kernel))).collect();
            if tallies.iter().all(|t| *t == Tally::default()) {
                continue;
            }
            let _ = write!(html, "<tr><th>{}</th>", escape(&kernel));
            for (tally, column) in tallies.iter().zip(&self.columns) {
                html.push_str(&matrix_cell(tally, column, &kernel));
            }
            html.push_str("</tr>\n");
        }
        close(html);
    }

    fn worst_cells(&self, html: &mut String) {
        section(html, "Nearest to their bounds", &["cell", "share", "again"]);
        let passed = self.worst().into_iter().filter_map(|(column, cell)| match cell.outcome {
            Outcome::Passed { ppm: ppm @ 1.., .. } => Some((column.name(cell), ppm)),
            _ => None,
        });
        for (name, ppm) in passed.take(WORST) {
            let again = again(&name);
            let name = escape(&name);
            let _ = writeln!(
                html,
                "<tr><th>{name}</th><td>{}</td><td class=\"words\">{again}</td></tr>",
                share(ppm)
            );
        }
        close(html);
    }

    fn skipped(&self, html: &mut String) {
        let skips = self.skips();
        if skips.is_empty() {
            return;
        }
        section(html, "Skipped, and why", &["why", "cells"]);
        for (why, count) in skips {
            let why = escape(&why);
            let _ = writeln!(html, "<tr><th class=\"words\">{why}</th><td>{count}</td></tr>");
        }
        close(html);
    }
}

/// A kernel's cases on an executor: how many of how many passed, and the largest share.
fn matrix_cell(tally: &Tally, column: &Column, kernel: &str) -> String {
    let Tally { passed, exact, ppm, failed, skipped } = *tally;
    let all = passed + failed + skipped;
    let (class, text) = match tally {
        _ if all == 0 => return "<td></td>".into(),
        Tally { failed: 1.., .. } => ("failed", format!("{failed} of {all}")),
        Tally { passed: 0, .. } => ("skipped", "skipped".to_string()),
        _ if exact == passed => ("exact", "=".to_string()),
        _ => ("passed", share(ppm)),
    };
    let words = column.cells.iter().find_map(|cell| match &cell.outcome {
        Outcome::Failed(why) | Outcome::Skipped(why) if cell.kernel == kernel => Some(why.as_str()),
        _ => None,
    });
    let title = words.map_or_else(|| format!("{passed} of {all} passed"), ToString::to_string);
    format!("<td class=\"{class}\" title=\"{}\">{text}</td>", escape(&title))
}

fn section(html: &mut String, title: &str, head: &[&str]) {
    let _ = write!(
        html,
        "<section><h2>{}</h2>\n<div class=\"scroll\" tabindex=\"0\"><table>\n<tr>",
        escape(title)
    );
    for name in head {
        let words = ["device", "what", "again"].contains(name);
        let class = if words { " class=\"words\"" } else { "" };
        let _ = write!(html, "<th{class}>{}</th>", escape(name));
    }
    html.push_str("</tr>\n");
}

fn close(html: &mut String) {
    html.push_str("</table></div></section>\n");
}

fn share(ppm: u32) -> String {
    format!("{:.3}", f64::from(ppm) / 1e6)
}

/// The command that asks the same again.
fn again(name: &str) -> String {
    format!("<code>cargo xtask parity --all --only '{}'</code>", escape(name))
}

/// Text for an element or an attribute in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
