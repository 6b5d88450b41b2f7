//! The stages of training: dense, the ticket, the controls. Each resumes where it was killed.

use super::terminal;
use indicatif::ProgressBar;
use miette::{IntoDiagnostic, Report, Result, miette};
use quickpick_prune::{
    Arm, Masks, Pattern, Progress, Rules, Schedule, Search, SearchError, Trainer,
};
use quickpick_transformer::{Config, Corpus, DecoderTrainer, Settings, Weights};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The name of the dense arm.
pub const DENSE: &str = "dense";
/// The name of the ticket.
pub const TICKET: &str = "ticket";

/// An arm, trained.
pub struct Trained {
    /// Its name in tables.
    pub name: String,
    /// At the last step.
    pub weights: Weights,
    /// Empty if dense.
    pub masks: Masks,
    /// Held-out bits per byte at the last step, over the trainer's own sample.
    pub bits: f64,
    /// (step, held-out bits per byte).
    pub curve: Vec<(f64, f64)>,
}

/// Trains every arm, or takes what an earlier run left in the folder.
pub fn all(
    config: Config,
    settings: Settings,
    seed: u64,
    corpus: &Arc<Corpus>,
    folder: &Path,
) -> Result<Vec<Trained>> {
    let total_steps = settings.adam.steps;
    let schedule = Schedule {
        rewind_step: total_steps / 10,
        total_steps,
        evaluate_every: (total_steps / 10).max(20),
        checkpoint_every: total_steps / 10,
        init_seed: seed,
    };
    let search = Search::new(folder, schedule, Rules::new(Pattern::TWO_OF_FOUR));
    let mut trainer = DecoderTrainer::new(config, settings, corpus.clone()).into_diagnostic()?;
    let arms = [
        (DENSE, Arm::Dense),
        (TICKET, Arm::Ticket),
        ("random mask", Arm::RandomMask { seed }),
        ("fresh init", Arm::FreshInit { seed: seed.wrapping_add(1) }),
    ];
    let mut trained = Vec::new();
    for (name, arm) in arms {
        let start = Instant::now();
        let mut view = View { name, bar: None, reused: true };
        let run = search.run(&mut trainer, arm, &mut |p| view.show(p)).map_err(explain)?;
        let reused = view.reused;
        drop(view);
        let bits = in_bits(run.validation);
        let again = if reused { ", from an earlier run" } else { "" };
        let what = format!("{} steps, {bits:.4} bits per byte{again}", trainer.steps());
        terminal::done(name, &what, start);
        let curve = run.curve.iter().filter_map(|p| Some((p.step as f64, in_bits(p.validation?))));
        trained.push(Trained {
            name: name.to_owned(),
            weights: trainer.weights().into_diagnostic()?,
            masks: run.masks,
            bits,
            curve: curve.collect(),
        });
    }
    Ok(trained)
}

fn explain(error: SearchError<quickpick_transformer::Error>) -> Report {
    match error {
        SearchError::OtherSearch { .. } => {
            miette!(help = "--fresh forgets the earlier run and starts anew", "{error}")
        }
        error => miette!("{error}"),
    }
}

fn in_bits(nats: f64) -> f64 {
    nats / std::f64::consts::LN_2
}

/// The bar of the stage that runs.
struct View {
    name: &'static str,
    bar: Option<ProgressBar>,
    /// Nothing had to be trained so far.
    reused: bool,
}

impl View {
    fn show(&mut self, progress: Progress) {
        match progress {
            Progress::Reused { .. } => {}
            Progress::Begun { stage, from, to } => {
                self.reused = false;
                let early = if stage == "early" { ", to the rewind point" } else { "" };
                let bar = terminal::bar(&format!("{}{early}", self.name), to);
                bar.set_position(from);
                bar.reset_eta();
                self.replace(Some(bar));
            }
            Progress::Step { point, .. } => {
                let Some(bar) = &self.bar else { return };
                bar.set_position(point.step);
                bar.set_message(format!("{:.3} bits per byte", in_bits(point.train)));
            }
        }
    }

    fn replace(&mut self, bar: Option<ProgressBar>) {
        if let Some(old) = std::mem::replace(&mut self.bar, bar) {
            old.finish_and_clear();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.replace(None);
    }
}
