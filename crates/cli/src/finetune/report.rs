//! What a fine-tuning did: one file for machines, one table.

use crate::columns::{Side, columns};
use crate::demo::report::thousands;
use crate::demo::terminal::seconds;
use crate::eval::Evaluated;
use quickpick_prune::Masks;
use quickpick_transformer::Text;
use quickpick_transformer::finetune::{FineTuner, Settings, Sparsity};
use serde::Serialize;
use std::path::Path;

/// Losses at a saved state, in nats.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// Steps behind it.
    pub step: u64,
    /// Mean loss of the steps since the point before: what is trained for, so with its teacher.
    pub train: Option<f64>,
    /// Cross entropy on the held-out sequences.
    pub held_out: f64,
    /// Wall clock of training.
    pub seconds: f64,
}

impl Point {
    /// In one line.
    pub fn text(&self) -> String {
        let train = self.train.map(|loss| format!("training loss {loss:.4}, "));
        let (step, held_out, train) = (self.step, self.held_out, train.unwrap_or_default());
        format!("step {step}: {train}held-out {held_out:.4} nats, {}", seconds(self.seconds))
    }
}

/// Everything that a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked, one fact a line, as (name, value).
    pub facts: Vec<(String, String)>,
    settings: Settings,
    /// Layers that are N:M, and the weights that they keep.
    layers: usize,
    kept: usize,
    /// Losses along the way.
    pub curve: Vec<Point>,
    /// Perplexities, if there was a text to measure on.
    pub measured: Option<Measured>,
    /// The process's largest resident memory while it trained, where the system tells.
    pub peak_bytes: Option<u64>,
}

/// Perplexities on one text.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    dense: Evaluated,
    pruned: Evaluated,
    /// Of the fine-tuned model as it ships.
    tuned: Evaluated,
    closed: Option<Closed>,
}

impl Measured {
    /// Of the three models.
    pub fn new(dense: Evaluated, pruned: Evaluated, tuned: Evaluated) -> Self {
        let [d, p, t] = [&dense, &pruned, &tuned].map(|e| e.estimate.value);
        Self { dense, pruned, tuned, closed: Closed::of(d, p, t) }
    }
}

/// How much of the way from pruned to dense was made good: 1 is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Closed {
    perplexity: f64,
    log_perplexity: f64,
}

impl Closed {
    /// None: the pruned model is no worse than the dense one.
    fn of(dense: f64, pruned: f64, tuned: f64) -> Option<Self> {
        let share = |f: fn(f64) -> f64| (f(pruned) - f(tuned)) / (f(pruned) - f(dense));
        let closed = Self { perplexity: share(|x| x), log_perplexity: share(f64::ln) };
        (pruned > dense).then_some(closed)
    }
}

impl Report {
    /// Before the first step.
    pub fn new(
        pruned: &Path,
        dense: &Path,
        text: &Text,
        trainer: &FineTuner,
        masks: &Masks,
    ) -> Self {
        let s = *trainer.settings();
        let kept = masks.values().map(|mask| mask.count()).sum();
        let how = match s.sparsity {
            Sparsity::Frozen => "masks frozen".to_owned(),
            Sparsity::SrSte { lambda } => format!("SR-STE, λ {lambda:e}"),
        };
        let loss = match s.distill {
            0.0 => "cross entropy".to_owned(),
            a => format!("{a} of the loss from the dense model at temperature {}", s.temperature),
        };
        let facts = [
            ("pruned", format!("{}, {} sparse layers", pruned.display(), masks.len())),
            ("dense", dense.display().to_string()),
            (
                "how",
                format!("{how}; {loss}; learning rate {:e}; embedding and head fixed", s.adam.lr),
            ),
            (
                "text",
                format!(
                    "{} steps of {} sequences of {} tokens, seed {}, of {} in {}",
                    s.adam.steps,
                    s.batch,
                    s.length,
                    s.seed,
                    thousands(trainer.sequences() as u64),
                    text.source()
                ),
            ),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let (layers, curve) = (masks.len(), Vec::new());
        Self { facts, settings: s, layers, kept, curve, measured: None, peak_bytes: None }
    }

    /// The table for a terminal; empty if nothing was measured.
    pub fn text(&self) -> String {
        let Some(Measured { dense, pruned, tuned, closed }) = &self.measured else {
            return String::new();
        };
        let row = |name: &str, of: &Evaluated, closed: Option<Closed>| {
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            vec![
                name.to_owned(),
                of.figure(),
                closed.map_or("–".into(), |c| percent(c.perplexity)),
                closed.map_or("–".into(), |c| percent(c.log_perplexity)),
            ]
        };
        let head = [
            ("model", Side::Left),
            ("perplexity", Side::Right),
            ("gap closed", Side::Right),
            ("of its logarithm", Side::Right),
        ];
        let rows = [
            row("dense", dense, None),
            row("pruned", pruned, None),
            row("fine-tuned", tuned, *closed),
        ];
        columns(&head, &rows)
    }

    /// What came of it, in sentences with numbers.
    pub fn findings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Measured { dense, pruned, tuned, .. }) = &self.measured {
            lines.push(format!("Perplexity over the pruned one's: {}.", tuned.against(pruned)));
            lines.push(format!("Over the dense one's: {}.", tuned.against(dense)));
        }
        let Settings { adam, batch, length, .. } = self.settings;
        let tokens = adam.steps * (batch * length) as u64;
        let time = self.curve.last().map_or(0.0, |point| point.seconds);
        let memory = self.peak_bytes.map(|b| format!(", {:.2} GB at most", b as f64 / 1e9));
        lines.push(format!(
            "{} steps of {} tokens took {}, {:.0} tokens a second{}.",
            adam.steps,
            batch * length,
            seconds(time),
            tokens as f64 / time.max(1e-9),
            memory.unwrap_or_default()
        ));
        lines.push(format!("{} layers keep {} weights.", self.layers, thousands(self.kept as u64)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_measured_from_pruned_to_dense() {
        let closed = Closed::of(10.0, 40.0, 20.0).unwrap();
        assert!((closed.perplexity - 2.0 / 3.0).abs() < 1e-12);
        assert!((closed.log_perplexity - 0.5).abs() < 1e-12);
        assert_eq!(Closed::of(10.0, 40.0, 40.0).unwrap().perplexity, 0.0);
        assert_eq!(Closed::of(10.0, 10.0, 9.0), None);
    }
}
