//! What a pruning run did: one file for machines, one page, one table.

use crate::columns::{Side, columns};
use crate::demo::report::thousands;
use crate::demo::terminal;
use crate::eval::Evaluated;
use crate::html;
use quickpick_prune::Pattern;
use quickpick_transformer::oneshot::LayerReport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that a run did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was asked, one fact a line, as (name, value).
    pub facts: Vec<(String, String)>,
    /// The method, as it is written on the command line.
    pub method: String,
    /// N:M.
    pub pattern: String,
    /// Every linear layer of the blocks.
    pub layers: Vec<LayerReport>,
    /// Bytes of the layers.
    pub bytes: Bytes,
    /// Of the model as it was.
    pub before: Option<Evaluated>,
    /// Of the pruned checkpoint, read back.
    pub after: Option<Evaluated>,
    /// Wall clock of pruning: calibration and solving, without evaluation; since it was resumed, if it was.
    pub seconds: f64,
    /// What all cores together worked in that time, where the system tells.
    pub cpu_seconds: Option<f64>,
    /// The process's largest resident memory, where the system tells.
    pub peak_bytes: Option<u64>,
}

/// Bytes of the layers, pruned or not, in the type in which they ship.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Every weight.
    pub dense: u64,
    /// Kept values and metadata, and what was recovered beside them.
    pub compressed: u64,
}

impl Report {
    /// (kind, layers, mean error, worst error, its layer) of each kind of layer, such as
    /// `self_attn.q_proj.weight`.
    fn kinds(&self) -> Vec<Vec<String>> {
        let mut kinds: BTreeMap<&str, Vec<&LayerReport>> = BTreeMap::new();
        for layer in &self.layers {
            kinds.entry(kind(&layer.name)).or_default().push(layer);
        }
        let row = |(kind, layers): (&str, Vec<&LayerReport>)| {
            let pruned: Vec<_> =
                layers.iter().filter_map(|l| Some((l, l.pruned.as_ref()?))).collect();
            let mean = pruned.iter().map(|(_, p)| p.error).sum::<f64>() / pruned.len() as f64;
            let worst = pruned.iter().max_by(|a, b| a.1.error.total_cmp(&b.1.error));
            // an empty sum is −0
            let seconds = pruned.iter().map(|(_, p)| p.seconds).fold(0.0, |a, b| a + b);
            vec![
                kind.to_owned(),
                format!("{} of {}", pruned.len(), layers.len()),
                if pruned.is_empty() { "–".into() } else { format!("{mean:.4}") },
                worst.map_or("–".into(), |(l, p)| format!("{:.4} {}", p.error, before(&l.name))),
                format!("{seconds:.1} s"),
            ]
        };
        kinds.into_iter().map(row).collect()
    }

    /// What came of it, in sentences with numbers.
    pub fn findings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let pruned = self.layers.iter().filter(|l| l.pruned.is_some()).count();
        let Bytes { dense, compressed } = self.bytes;
        lines.push(format!(
            "{pruned} of {} layers are {} now: {} bytes become {} when compressed ({:.4}×).",
            self.layers.len(),
            self.pattern,
            thousands(dense),
            thousands(compressed),
            compressed as f64 / dense.max(1) as f64
        ));
        let mut patterns: Vec<&str> =
            self.layers.iter().filter_map(|l| Some(l.pruned.as_ref()?.pattern.as_str())).collect();
        patterns.sort_unstable();
        patterns.dedup();
        lines.extend(patterns.into_iter().map(|pattern| match on_hardware(pattern) {
            true => format!("{pattern} runs on sparse tensor cores, and compressed everywhere."),
            false => format!("No hardware runs {pattern}: such layers ship dense, zeros included."),
        }));
        if let (Some(before), Some(after)) = (&self.before, &self.after) {
            lines.push(format!(
                "Perplexity {} before, {} after: {}.",
                before.figure(),
                after.figure(),
                after.against(before)
            ));
        }
        let retried: Vec<&LayerReport> = self
            .layers
            .iter()
            .filter(|l| l.pruned.as_ref().is_some_and(|p| p.retries > 0))
            .collect();
        if let Some(first) = retried.first() {
            let damping = first.pruned.as_ref().map_or(0.0, |p| p.damping);
            lines.push(format!(
                "{} layers needed more damping than usual, first {} ({damping}).",
                retried.len(),
                first.name
            ));
        }
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for layer in self.layers.iter().filter(|l| l.pruned.is_none()) {
            *left.entry(layer.decision.as_str()).or_default() += 1;
        }
        lines.extend(left.into_iter().map(|(why, count)| format!("{count} layers {why}.")));
        let memory = self.peak_bytes.map(|b| format!(", {:.2} GB at most", b as f64 / 1e9));
        lines.push(format!(
            "Pruning took {}{}.",
            terminal::seconds(self.seconds),
            memory.unwrap_or_default()
        ));
        lines
    }

    /// The table for a terminal.
    pub fn text(&self) -> String {
        let side = |i| if i == 0 { Side::Left } else { Side::Right };
        let head: Vec<_> = KINDS.iter().enumerate().map(|(i, name)| (*name, side(i))).collect();
        columns(&head, &self.kinds())
    }

    /// The page.
    pub fn page(&self) -> String {
        let lead = format!(
            "{} by <strong>{}</strong>, one shot.",
            html::escape(&self.pattern),
            html::escape(&self.method)
        );
        let mut page = html::open("Quickpick prune", &lead, &self.facts);
        page.push_str("<section><h2>Result</h2>\n");
        for line in self.findings() {
            page += &format!("<p>{}</p>\n", html::escape(&line));
        }
        page.push_str("</section>\n");
        html::table(&mut page, "By kind of layer", &KINDS, &self.kinds());
        let rows: Vec<Vec<String>> = self.layers.iter().map(row).collect();
        html::table(&mut page, "Every layer", &LAYER, &rows);
        html::close(&mut page, &notes(self.after.as_ref()));
        page
    }
}

const KINDS: [&str; 5] = ["layer", "pruned", "mean error", "worst error", "solving"];
const LAYER: [&str; 8] =
    ["layer", "shape", "what", "error", "density", "damping", "dead inputs", "solving"];

fn row(layer: &LayerReport) -> Vec<String> {
    let [rows, cols] = layer.shape;
    let mut row = vec![layer.name.clone(), format!("{rows} × {cols}")];
    match &layer.pruned {
        None => row.extend([layer.decision.as_str(), "–", "–", "–", "–", "–"].map(String::from)),
        Some(p) => row.extend([
            p.pattern.clone(),
            format!("{:.5}", p.error),
            format!("{:.4}", p.kept as f64 / (rows * cols) as f64),
            match p.retries {
                0 => format!("{}", p.damping),
                n => format!("{} after {n} retries", p.damping),
            },
            p.dead.to_string(),
            format!("{:.2} s", p.seconds),
        ]),
    }
    row
}

fn notes(after: Option<&Evaluated>) -> Vec<String> {
    let mut notes = vec![
        "Error of a layer: ‖(W−Ŵ)X‖² / ‖WX‖² over the calibration inputs X that the pruned layers \
         before it make, Ŵ as it ships."
            .to_owned(),
        "Compressed bytes: kept values and metadata in the file form of quickpick-format, without \
         the file's header."
            .to_owned(),
    ];
    notes.extend(after.map(|e| e.protocol.clone()));
    notes
}

/// Whether layers of a pattern, N:M, run compressed.
pub fn on_hardware(pattern: &str) -> bool {
    pattern.parse::<Pattern>().is_ok_and(Pattern::runs_as_two_of_four)
}

/// `self_attn.q_proj.weight` of `model.layers.3.self_attn.q_proj.weight`.
fn kind(name: &str) -> &str {
    name.split_once(|c: char| c.is_ascii_digit())
        .map_or(name, |(_, rest)| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

/// What stands before the kind.
fn before(name: &str) -> &str {
    name.strip_suffix(kind(name)).unwrap_or(name).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_what_follows_the_number() {
        assert_eq!(kind("model.layers.13.mlp.up_proj.weight"), "mlp.up_proj.weight");
        assert_eq!(before("model.layers.13.mlp.up_proj.weight"), "model.layers.13");
        assert_eq!(kind("weight"), "weight");
    }
}
