//! What the demo found, and the one table of it, made once for the terminal and the page.

use serde::{Deserialize, Serialize};

/// One trained model, run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arm {
    /// `dense`, `ticket`, `random mask`, `fresh init`.
    pub name: String,
    /// Held-out bits per byte through the backend, over the stated sample.
    pub bits: f64,
    /// The same sample through the trainer's forward (f32, candle).
    pub bits_candle: f64,
    /// The trainer's own figure at its last step, over its own, larger sample.
    pub bits_trainer: f64,
    /// (step, held-out bits per byte) while training.
    pub curve: Vec<(f64, f64)>,
    /// Parameters that are not pruned, and all of them.
    pub kept: u64,
    /// All parameters of the dense model.
    pub parameters: u64,
    /// Bytes of the whole model's file.
    pub file_bytes: u64,
    /// Bytes of a file that holds the block linears alone.
    pub linears_bytes: u64,
    /// Prompt tokens per second.
    pub prefill: f64,
    /// Generated tokens per second.
    pub decode: f64,
    /// Largest logit difference from the CPU backend over the sample; `None` when the backend is
    /// the CPU itself.
    pub from_cpu: Option<f64>,
    /// Largest logit difference from the trainer's forward.
    pub from_candle: f64,
    /// What it writes at temperature 0, after the prompt.
    pub text: String,
    /// What it writes with the seed at the stated temperature.
    pub sampled: String,
    /// What the model's f16 roundings allow the two differences to be.
    pub logit_bound: f64,
    /// Whether the CPU backend writes the same `text` and the same `sampled`; `None` when the
    /// backend is the CPU itself.
    pub same_text: Option<(bool, bool)>,
    /// The names of the kernels that ran.
    pub kernels: Vec<String>,
}

/// Everything the demo found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Preset, seed, corpus: what was asked, one fact a line, as (name, value).
    pub facts: Vec<(String, String)>,
    /// The backend's name.
    pub backend: String,
    /// The arms; the first is dense.
    pub arms: Vec<Arm>,
    /// The prompt of the texts.
    pub prompt: String,
    /// Sampling temperature of `sampled`.
    pub temperature: f32,
    /// How figures were taken, one note a line.
    pub notes: Vec<String>,
}

/// A table of text cells; the first column is left-aligned.
pub struct Table {
    /// (group, name) of each column; neighbours of one group share its title.
    pub head: Vec<(String, String)>,
    /// Rows of as many cells; two spaces set a ratio off from its value.
    pub rows: Vec<Vec<String>>,
}

impl Report {
    /// The one table.
    pub fn table(&self) -> Table {
        let mut head = vec![
            ("", ""),
            ("bits per byte", self.backend.as_str()),
            ("bits per byte", "trainer"),
            ("parameters", "kept"),
            ("bytes of weights", "whole file"),
            ("bytes of weights", "pruned layers"),
            ("tokens per second", "prefill"),
            ("tokens per second", "decode"),
        ];
        let cpu_differs = self.arms.iter().any(|a| a.from_cpu.is_some());
        if cpu_differs {
            head.push(("max Δlogit", "to cpu"));
        }
        head.push(("max Δlogit", "to candle"));
        let head = head.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        let Some(dense) = self.arms.first() else { return Table { head, rows: Vec::new() } };
        let rows = self.arms.iter().enumerate().map(|(i, arm)| {
            let against = |value: f64, twin: f64, show: String| {
                if i == 0 { show } else { format!("{show}  {:.2}×", value / twin) }
            };
            let bytes = |n: u64, twin: u64| against(n as f64, twin as f64, thousands(n));
            let speed = |t: f64, twin: f64| against(t, twin, thousands(t.round() as u64));
            let mut row = vec![
                arm.name.clone(),
                format!("{:.4}", arm.bits),
                format!("{:.4}", arm.bits_trainer),
                thousands(arm.kept),
                bytes(arm.file_bytes, dense.file_bytes),
                bytes(arm.linears_bytes, dense.linears_bytes),
                speed(arm.prefill, dense.prefill),
                speed(arm.decode, dense.decode),
            ];
            if cpu_differs {
                row.push(arm.from_cpu.map_or("–".into(), |d| format!("{d:.1e}")));
            }
            row.push(format!("{:.1e}", arm.from_candle));
            row
        });
        Table { head, rows: rows.collect() }
    }

    /// What the table says, in sentences with numbers: the ticket against dense, and the controls.
    pub fn findings(&self) -> Vec<String> {
        let find = |name: &str| self.arms.iter().find(|a| a.name == name);
        let (Some(dense), Some(ticket)) = (self.arms.first(), find("ticket")) else {
            return Vec::new();
        };
        let mut lines = vec![format!(
            "The ticket is {:+.2} % from dense in bits per byte, with {:.3} of the bytes in its \
             pruned layers.",
            100.0 * (ticket.bits / dense.bits - 1.0),
            ticket.linears_bytes as f64 / dense.linears_bytes as f64
        )];
        for control in self.arms.iter().filter(|a| a.name != dense.name && a.name != ticket.name) {
            let percent = 100.0 * (control.bits / ticket.bits - 1.0);
            let side = if percent > 0.0 { "worse" } else { "better" };
            let name = &control.name;
            lines.push(format!(
                "The control “{name}” ends {:.2} % {side} than the ticket.",
                percent.abs()
            ));
        }
        lines.push(
            "All arms trained equally many steps; finding the ticket's mask cost a dense training \
             more. One seed, so no confidence interval."
                .to_owned(),
        );
        lines.extend(self.agreement());
        lines
    }

    /// Texts and logits across backends.
    fn agreement(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let all = self.arms.len();
        let same = |which: fn((bool, bool)) -> bool| {
            self.arms.iter().filter(|a| a.same_text.is_some_and(which)).count()
        };
        if self.arms.iter().any(|a| a.same_text.is_some()) {
            lines.push(format!(
                "{} and cpu write the same text: {} of {all} models at temperature 0, {} of {all} \
                 sampled at {} with the same seed.",
                self.backend,
                same(|t| t.0),
                same(|t| t.1),
                self.temperature
            ));
        }
        let share = |a: &Arm| a.from_cpu.unwrap_or(0.0).max(a.from_candle) / a.logit_bound;
        if let Some(worst) = self.arms.iter().max_by(|a, b| share(a).total_cmp(&share(b))) {
            lines.push(format!(
                "Logits keep within {:.0} % of what f16 rounding allows ({}: {:.1e} of {:.1e}).",
                100.0 * share(worst),
                worst.name,
                worst.from_cpu.unwrap_or(0.0).max(worst.from_candle),
                worst.logit_bound
            ));
        }
        lines
    }
}

impl Table {
    /// Groups of columns: title and number of columns.
    pub fn groups(&self) -> Vec<(&str, usize)> {
        let mut groups: Vec<(&str, usize)> = Vec::new();
        for (group, _) in &self.head {
            match groups.last_mut() {
                Some((last, columns)) if *last == group => *columns += 1,
                _ => groups.push((group, 1)),
            }
        }
        groups
    }

    /// The table as aligned text.
    pub fn text(&self) -> String {
        const GAP: usize = 3;
        // ratios are aligned among themselves
        let split = |cell: &str| match cell.split_once("  ") {
            Some((value, ratio)) => (value.to_owned(), format!(" {ratio}")),
            None => (cell.to_owned(), String::new()),
        };
        let chars = |text: &str| text.chars().count();
        let column = |c: usize| -> (usize, usize) {
            let cells = || self.rows.iter().map(|r| split(&r[c]));
            let ratio = cells().map(|(_, r)| chars(&r)).max().unwrap_or(0);
            let value = cells().map(|(v, _)| chars(&v)).max().unwrap_or(0);
            (value.max(chars(&self.head[c].1).saturating_sub(ratio)), ratio)
        };
        let mut columns: Vec<(usize, usize)> = (0..self.head.len()).map(column).collect();
        // a title wider than its columns widens the first of them
        let mut at = 0;
        for (title, n) in self.groups() {
            let width: usize =
                columns[at..at + n].iter().map(|(v, r)| v + r + GAP).sum::<usize>() - GAP;
            columns[at].0 += chars(title).saturating_sub(width);
            at += n;
        }
        let mut out = String::from(" ");
        let mut at = 0;
        for (i, (title, n)) in self.groups().into_iter().enumerate() {
            let width: usize =
                columns[at..at + n].iter().map(|(v, r)| v + r + GAP).sum::<usize>() - GAP;
            let left = if n > 1 { (width - chars(title)) / 2 } else { width - chars(title) };
            let gap = if i == 0 { 1 } else { GAP };
            out += &" ".repeat(gap + left);
            out += title;
            out += &" ".repeat(width - left - chars(title));
            at += n;
        }
        let mut out = out.trim_end().to_owned() + "\n";
        let names = self.head.iter().zip(&columns).map(|((_, name), (v, r))| {
            (" ".repeat((v + r).saturating_sub(chars(name))) + name, String::new())
        });
        let widths: Vec<(usize, usize)> = columns.iter().map(|(v, r)| (v + r, 0)).collect();
        out += &line(names.collect(), &widths, GAP);
        let width = columns.iter().map(|(v, r)| v + r + GAP).sum::<usize>() - GAP;
        out += &format!("  {}\n", "─".repeat(width));
        for row in &self.rows {
            out += &line(row.iter().map(|c| split(c)).collect(), &columns, GAP);
        }
        out
    }
}

fn line(cells: Vec<(String, String)>, columns: &[(usize, usize)], gap: usize) -> String {
    let mut out = String::from(" ");
    for (i, ((value, ratio), (v, r))) in cells.iter().zip(columns).enumerate() {
        let pad = " ".repeat(v - value.chars().count());
        let ratio = format!("{ratio:<r$}");
        out += &match i {
            0 => format!(" {value}{pad}{ratio}"),
            _ => format!("{}{pad}{value}{ratio}", " ".repeat(gap)),
        };
    }
    out.trim_end().to_owned() + "\n"
}

/// `1 234 567`, with narrow no-break spaces.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn arm(name: &str, bits: f64) -> Arm {
        Arm {
            name: name.into(),
            bits,
            bits_candle: bits + 0.0004,
            bits_trainer: bits + 0.013,
            curve: (0..20)
                .map(|i| (20.0 * i as f64, bits + 5.8 * (-0.35 * i as f64).exp()))
                .collect(),
            kept: if name == "dense" { 1_067_136 } else { 574_000 },
            parameters: 1_067_136,
            file_bytes: if name == "dense" { 2_134_900 } else { 1_250_000 },
            linears_bytes: if name == "dense" { 1_966_912 } else { 1_107_200 },
            prefill: 12345.6,
            decode: 987.6,
            from_cpu: Some(1.2e-3),
            from_candle: 2.3e-3,
            text: "fn main() {\n    let x = <T>::new();\n}".into(),
            sampled: "fn next(&mut self) -> Option<&str> {".into(),
            logit_bound: 4.0e-2,
            same_text: Some((true, false)),
            kernels: vec!["spmm24_f16_wgsl_64x64x32".into()],
        }
    }

    pub(crate) fn report() -> Report {
        Report {
            facts: vec![("preset".into(), "tiny".into()), ("seed".into(), "1".into())],
            backend: "wgpu".into(),
            arms: vec![
                arm("dense", 2.11),
                arm("ticket", 2.13),
                arm("random mask", 2.21),
                arm("fresh init", 2.17),
            ],
            prompt: "pub fn ".into(),
            temperature: 0.8,
            notes: vec!["Sample: 32 windows.".into()],
        }
    }

    #[test]
    fn columns_line_up() {
        let text = report().table().text();
        let lines: Vec<&str> = text.lines().collect();
        let end = |line: &str| line.chars().count();
        assert_eq!(lines.len(), 7);
        assert!(lines[1..].iter().all(|l| end(l) == end(lines[2])), "{text}");
        let at = |line: &str, what: &str| line.split(what).next().map(|s| s.chars().count());
        assert_eq!(at(lines[4], "\u{202f}200"), at(lines[3], "\u{202f}912"), "{text}");
    }

    #[test]
    fn ratios_are_against_dense() {
        let table = report().table();
        assert_eq!(table.rows[1][5], "1\u{202f}107\u{202f}200  0.56×");
        assert_eq!(table.rows[0][6], "12\u{202f}346");
    }

    #[test]
    fn findings_carry_their_sign() {
        let lines = report().findings();
        assert!(lines[0].contains("+0.95 %"), "{lines:?}");
        assert!(lines[1].contains("3.76 % worse than"), "{lines:?}");
        assert!(lines[3].contains("cost a dense training more"), "{lines:?}");
        assert!(lines[4].contains("4 of 4 models at temperature 0, 0 of 4 sampled"), "{lines:?}");
        assert!(lines[5].contains("within 6 % of"), "{lines:?}");
    }
}
