//! The search for a ticket, and the controls that it must beat.
//!
//! A search is a folder and a few stages. Each stage trains from a start to a step and leaves
//! `STAGE.state` and `STAGE.csv`; a stage whose state exists returns at once, and one that was
//! killed goes on from its last checkpoint, to the same bytes:
//!
//! | stage | from | to | masks |
//! |---|---|---|---|
//! | `early` | fresh weights | k | – |
//! | `dense` | `early` | T | – |
//! | `ticket` | `early` | T | found in `dense` |
//! | `random-mask-S` | `early` | T | as dense a mask, drawn from S |
//! | `shuffled-mask-S` | `early` | T | the ticket's groups dealt anew from S |
//! | `fresh-init-S` | fresh weights from S | T | the ticket's |
//!
//! All of them see the same data in the same order, and every one has T steps behind it at the end.

use crate::curve::{self, Point};
use crate::rng::Rng;
use crate::search_error::SearchError;
use crate::ticket::{Found, LayerDecision, Ticket};
use crate::{Eligibility, LayerInfo, Magnitude, Mask, Masks, Rules, Score, Trainer, project};
use quickpick_format::write_atomic;
use std::fs;
use std::path::{Path, PathBuf};

/// When to train, rewind, measure and save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// k: the step that a ticket is rewound to; below T. 0 is the fresh weights.
    pub rewind_step: u64,
    /// T: steps of a whole run.
    pub total_steps: u64,
    /// Held-out loss is measured every so many steps, and at the end of each stage; 0 for the end
    /// only.
    pub evaluate_every: u64,
    /// A killed stage loses at most so many steps; 0 for a whole stage.
    pub checkpoint_every: u64,
    /// Of the dense model's fresh weights.
    pub init_seed: u64,
}

/// What is trained to step T.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// Every weight.
    Dense,
    /// The mask that the dense run's weights yield, from θ_k.
    Ticket,
    /// Control: a random mask of the same pattern on the same layers, from θ_k.
    RandomMask {
        /// Of the mask.
        seed: u64,
    },
    /// Control: the ticket's groups dealt to other places of each layer, from θ_k.
    ShuffledMask {
        /// Of the dealing.
        seed: u64,
    },
    /// Control: the ticket's mask on other fresh weights, from step 0.
    FreshInit {
        /// Of the weights.
        seed: u64,
    },
}

impl Arm {
    /// The stage's name, that of its files.
    pub fn stage(&self) -> String {
        match self {
            Self::Dense => "dense".into(),
            Self::Ticket => "ticket".into(),
            Self::RandomMask { seed } => format!("random-mask-{seed}"),
            Self::ShuffledMask { seed } => format!("shuffled-mask-{seed}"),
            Self::FreshInit { seed } => format!("fresh-init-{seed}"),
        }
    }
}

/// What a search is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// A stage is done already.
    Reused {
        /// Stage.
        stage: &'a str,
    },
    /// A stage begins, or goes on from a checkpoint.
    Begun {
        /// Stage.
        stage: &'a str,
        /// Steps behind it.
        from: u64,
        /// Step at which it ends.
        to: u64,
    },
    /// A step was taken.
    Step {
        /// Stage.
        stage: &'a str,
        /// The step.
        point: Point,
        /// Step at which the stage ends.
        to: u64,
    },
}

/// An arm at step T. The trainer holds its state and masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The arm.
    pub arm: Arm,
    /// What it was held to; empty if dense.
    pub masks: Masks,
    /// From step 1 to T; of an arm that starts at θ_k, the first k points are the dense run's.
    pub curve: Vec<Point>,
    /// Held-out loss at step T.
    pub validation: f64,
    /// The trainer's state at step T.
    pub state: PathBuf,
}

/// A search in a folder.
pub struct Search<'a> {
    folder: PathBuf,
    schedule: Schedule,
    rules: Rules,
    score: &'a dyn Score,
}

impl<'a> Search<'a> {
    /// A search by magnitude. The folder is made, or taken up where an equal search left it.
    pub fn new(folder: impl Into<PathBuf>, schedule: Schedule, rules: Rules) -> Self {
        Self { folder: folder.into(), schedule, rules, score: &Magnitude }
    }

    /// Chooses by another score.
    pub fn by(self, score: &'a dyn Score) -> Self {
        Self { score, ..self }
    }

    /// Trains an arm to step T, with whatever it needs before. Afterwards the trainer is in the
    /// arm's final state and holds its masks.
    ///
    /// Errors: the trainer's, the system's, a folder of another search, no layer to prune (with
    /// every reason), a trainer that lets a dropped weight grow.
    pub fn run<T: Trainer>(
        &self,
        trainer: &mut T,
        arm: Arm,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Run, SearchError<T::Error>> {
        self.claim(trainer)?;
        let Schedule { rewind_step, total_steps, init_seed, .. } = self.schedule;
        let mut stages = Stages { search: self, trainer, progress };
        let none = Masks::new();
        let (masks, start) = match arm {
            Arm::Dense => (none.clone(), Start::Early),
            Arm::Ticket => (stages.ticket()?.masks, Start::Early),
            Arm::RandomMask { seed } => (draw(&stages.ticket()?.masks, seed)?, Start::Early),
            Arm::ShuffledMask { seed } => (deal(&stages.ticket()?.masks, seed), Start::Early),
            Arm::FreshInit { seed } => (stages.ticket()?.masks, Start::Fresh(seed)),
        };
        let mut curve = Vec::new();
        if start == Start::Early {
            curve = stages.stage(EARLY, Start::Fresh(init_seed), rewind_step, &none)?;
        }
        let stage = arm.stage();
        curve.extend(stages.stage(&stage, start, total_steps, &masks)?);
        let state = self.state(&stage);
        match curve.last().and_then(|p| p.validation) {
            Some(validation) => Ok(Run { arm, masks, curve, validation, state }),
            None => Err(SearchError::Curve { path: self.curve(&stage), line: curve.len() + 1 }),
        }
    }

    /// The ticket, trained for if it is not there yet.
    pub fn ticket<T: Trainer>(
        &self,
        trainer: &mut T,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Ticket, SearchError<T::Error>> {
        self.claim(trainer)?;
        Stages { search: self, trainer, progress }.ticket()
    }

    /// What becomes of each of the trainer's layers. Errors: no layer to prune, or a rule that
    /// matches none.
    pub fn decisions<T: Trainer>(
        &self,
        trainer: &T,
    ) -> Result<Vec<(LayerInfo, Eligibility)>, SearchError<T::Error>> {
        let layers = trainer.layers();
        if let Some(rule) = self.rules.unmatched(&layers).first() {
            return Err(SearchError::Unmatched { rule: (*rule).to_owned() });
        }
        let decided: Vec<_> =
            layers.into_iter().map(|layer| (layer.clone(), self.rules.decide(&layer))).collect();
        match decided.iter().any(|(_, e)| *e == Eligibility::Prune) {
            true => Ok(decided),
            false => {
                let reasons = decided.iter().map(|(l, e)| format!("{}: {e}", l.name)).collect();
                Err(SearchError::NothingToPrune { reasons })
            }
        }
    }

    /// Makes the folder this search's, or sees that it is.
    fn claim<T: Trainer>(&self, trainer: &T) -> Result<(), SearchError<T::Error>> {
        let Schedule { rewind_step, total_steps, .. } = self.schedule;
        if rewind_step >= total_steps {
            return Err(SearchError::Schedule { rewind_step, total_steps });
        }
        let found = self.found(trainer)?;
        let mine = Claim { search: &found, evaluate_every: self.schedule.evaluate_every };
        let path = self.folder.join("search.json");
        let json = serde_json::to_string_pretty(&mine)
            .map_err(|source| SearchError::Json { path: path.clone(), source })?;
        fs::create_dir_all(&self.folder).map_err(SearchError::io(&self.folder))?;
        if !path.try_exists().map_err(SearchError::io(&path))? {
            return write_atomic(&path, json.as_bytes()).map_err(SearchError::io(&path));
        }
        let theirs = fs::read_to_string(&path).map_err(SearchError::io(&path))?;
        if theirs == json {
            return Ok(());
        }
        let line = |text: &str, i: usize| text.lines().nth(i).unwrap_or("").trim().to_owned();
        let same = theirs.lines().zip(json.lines()).take_while(|(a, b)| a == b).count();
        let (have, want) = (line(&theirs, same), line(&json, same));
        Err(SearchError::OtherSearch { path, have, want })
    }

    fn found<T: Trainer>(&self, trainer: &T) -> Result<Found, SearchError<T::Error>> {
        let Schedule { rewind_step, total_steps, init_seed, .. } = self.schedule;
        let layers = self.decisions(trainer)?.into_iter().map(|(layer, decision)| LayerDecision {
            name: layer.name,
            shape: layer.shape,
            decision: decision.to_string(),
        });
        Ok(Found {
            trainer: trainer.describe(),
            pattern: self.rules.pattern().to_string(),
            score: self.score.name().to_owned(),
            rewind_step,
            total_steps,
            init_seed,
            layers: layers.collect(),
        })
    }

    fn state(&self, stage: &str) -> PathBuf {
        self.folder.join(format!("{stage}.state"))
    }

    fn curve(&self, stage: &str) -> PathBuf {
        self.folder.join(format!("{stage}.csv"))
    }
}

/// Whatever decides the bytes of a search's files.
#[derive(serde::Serialize)]
struct Claim<'a> {
    search: &'a Found,
    /// Decides what the curves hold.
    evaluate_every: u64,
}

/// The stage that ends at θ_k.
const EARLY: &str = "early";

/// Where a stage starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// At step 0, with weights from a seed.
    Fresh(u64),
    /// At θ_k.
    Early,
}

/// A search at work.
struct Stages<'a, 'b, T> {
    search: &'a Search<'b>,
    trainer: &'a mut T,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl<T: Trainer> Stages<'_, '_, T> {
    fn ticket(&mut self) -> Result<Ticket, SearchError<T::Error>> {
        let search = self.search;
        if Ticket::is_in(&search.folder) {
            return Ok(Ticket::load(&search.folder)?);
        }
        let Schedule { rewind_step, total_steps, init_seed, .. } = search.schedule;
        let none = Masks::new();
        self.stage(EARLY, Start::Fresh(init_seed), rewind_step, &none)?;
        self.stage("dense", Start::Early, total_steps, &none)?;
        let mut masks = Masks::new();
        for (layer, decision) in search.decisions(self.trainer)? {
            let (Eligibility::Prune, &[rows, cols]) = (decision, layer.shape.as_slice()) else {
                continue;
            };
            let weight = self.trainer.weight(&layer.name).map_err(SearchError::Trainer)?;
            let scores = search.score.score(&layer, &weight);
            let mask = project(&scores, rows, cols, search.rules.pattern())
                .map_err(|source| SearchError::Mask { layer: layer.name.clone(), source })?;
            masks.insert(layer.name, mask);
        }
        let found = search.found(self.trainer)?;
        let ticket = Ticket { masks, rewind: Ticket::rewind_in(&search.folder), found };
        ticket.save(&search.folder)?;
        Ok(ticket)
    }

    /// Brings the trainer to the end of a stage, and returns the stage's curve.
    fn stage(
        &mut self,
        stage: &str,
        start: Start,
        to: u64,
        masks: &Masks,
    ) -> Result<Vec<Point>, SearchError<T::Error>> {
        let (state, path) = (self.search.state(stage), self.search.curve(stage));
        let checkpoint = self.search.folder.join(format!("{stage}.checkpoint"));
        if state.try_exists().map_err(SearchError::io(&state))? {
            remove(&checkpoint)?;
            self.trainer.load(&state).map_err(SearchError::Trainer)?;
            self.trainer.hold(masks).map_err(SearchError::Trainer)?;
            (self.progress)(Progress::Reused { stage });
            return read_curve(&path);
        }
        let mut curve = self.begin(start, &checkpoint, &path)?;
        self.trainer.hold(masks).map_err(SearchError::Trainer)?;
        (self.progress)(Progress::Begun { stage, from: self.trainer.steps(), to });
        let Schedule { evaluate_every, checkpoint_every, .. } = self.search.schedule;
        while self.trainer.steps() < to {
            let before = self.trainer.steps();
            let train = self.trainer.step().map_err(SearchError::Trainer)?;
            let step = self.trainer.steps();
            if step != before + 1 {
                return Err(SearchError::Steps { before, after: step });
            }
            // no step is a multiple of 0
            let measured = step == to || step.is_multiple_of(evaluate_every);
            let validation = match measured {
                true => Some(self.trainer.evaluate().map_err(SearchError::Trainer)?),
                false => None,
            };
            let point = Point { step, train, validation };
            curve.push(point);
            (self.progress)(Progress::Step { stage, point, to });
            if step.is_multiple_of(checkpoint_every) && step < to {
                self.keep(&checkpoint, &curve, &path, masks)?;
            }
        }
        self.keep(&state, &curve, &path, masks)?;
        remove(&checkpoint)?;
        Ok(curve)
    }

    /// Puts the trainer at the checkpoint if there is one, else at the start. Returns the curve up to
    /// there.
    fn begin(
        &mut self,
        start: Start,
        checkpoint: &Path,
        path: &Path,
    ) -> Result<Vec<Point>, SearchError<T::Error>> {
        if checkpoint.try_exists().map_err(SearchError::io(checkpoint))? {
            self.trainer.load(checkpoint).map_err(SearchError::Trainer)?;
            let mut curve = read_curve(path)?;
            // the curve is written first, and may be ahead
            curve.retain(|p| p.step <= self.trainer.steps());
            return Ok(curve);
        }
        match start {
            Start::Fresh(seed) => self.trainer.init(seed).map_err(SearchError::Trainer)?,
            Start::Early => {
                self.trainer.load(&self.search.state(EARLY)).map_err(SearchError::Trainer)?
            }
        }
        Ok(Vec::new())
    }

    /// Writes curve and state, the state last: where it is, the curve reaches at least as far.
    fn keep(
        &mut self,
        state: &Path,
        curve: &[Point],
        path: &Path,
        masks: &Masks,
    ) -> Result<(), SearchError<T::Error>> {
        self.check_held(masks)?;
        write_atomic(path, curve::to_csv(curve).as_bytes()).map_err(SearchError::io(path))?;
        let mut beside = state.as_os_str().to_owned();
        beside.push(".tmp");
        let beside = PathBuf::from(beside);
        remove(&beside)?; // what a killed search left
        self.trainer.save(&beside).map_err(SearchError::Trainer)?;
        fs::File::open(&beside).and_then(|f| f.sync_all()).map_err(SearchError::io(&beside))?;
        fs::rename(&beside, state).map_err(SearchError::io(state))
    }

    /// Whether everything that the masks drop is zero.
    fn check_held(&self, masks: &Masks) -> Result<(), SearchError<T::Error>> {
        for (layer, mask) in masks {
            let weight = self.trainer.weight(layer).map_err(SearchError::Trainer)?;
            let leak = weight.iter().zip(mask.kept()).position(|(&w, &kept)| !kept && w != 0.0);
            if weight.len() != mask.kept().len() {
                let (have, want) = (weight.len(), mask.kept().len());
                return Err(SearchError::Length { layer: layer.clone(), have, want });
            }
            if let Some(at) = leak {
                let (row, col) = (at / mask.cols(), at % mask.cols());
                let (layer, step) = (layer.clone(), self.trainer.steps());
                return Err(SearchError::Leak { layer, row, col, value: weight[at], step });
            }
        }
        Ok(())
    }
}

/// Removes a file that may not be there.
fn remove<E>(path: &Path) -> Result<(), SearchError<E>> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(SearchError::io(path)(e)),
        _ => Ok(()),
    }
}

fn read_curve<E>(path: &Path) -> Result<Vec<Point>, SearchError<E>> {
    let text = fs::read_to_string(path).map_err(SearchError::io(path))?;
    curve::from_csv(&text).map_err(|line| SearchError::Curve { path: path.to_owned(), line })
}

fn draw<E>(masks: &Masks, seed: u64) -> Result<Masks, SearchError<E>> {
    let draw = |(name, mask): (&String, &Mask)| {
        let rng = &mut Rng::of_layer(seed, name);
        match Mask::draw(mask.rows(), mask.cols(), mask.pattern(), rng) {
            Ok(drawn) => Ok((name.clone(), drawn)),
            Err(source) => Err(SearchError::Mask { layer: name.clone(), source }),
        }
    };
    masks.iter().map(draw).collect()
}

fn deal(masks: &Masks, seed: u64) -> Masks {
    let deal =
        |(name, mask): (&String, &Mask)| (name.clone(), mask.deal(&mut Rng::of_layer(seed, name)));
    masks.iter().map(deal).collect()
}
