//! `quickpick finetune`: a pruned checkpoint is trained while it stays sparse.

mod report;

use crate::demo::terminal::{bar, bold, dim, fact};
use crate::eval::{Protocol, evaluate, evaluate_tensors};
use crate::prune::{exists, process, read, run_path};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use quickpick_prune::{Masks, Pattern, Trainer};
use quickpick_transformer::checkpoint::{DEFAULT_LIMIT, Model};
use quickpick_transformer::finetune::{FineTuner, Settings, Sparsity, masks, round, write};
use quickpick_transformer::oneshot::{Existing, RunFolder};
use quickpick_transformer::optim::AdamW;
use quickpick_transformer::weights::write_atomic;
use quickpick_transformer::{Tensors, Text};
use report::{Measured, Point, Report};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to train, and how.
#[derive(clap::Args)]
pub struct Args {
    /// The pruned checkpoint: a Hugging Face folder, of the Llama family, whose layers are N:M.
    pruned: PathBuf,
    /// The model that it was pruned from: the teacher, and what the result is measured against.
    #[arg(long, value_name = "MODEL")]
    dense: PathBuf,
    /// Plain text to train on.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    text: Vec<PathBuf>,
    /// The fine-tuned checkpoint's folder; must not exist yet.
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    how: How,
    /// Plain text to measure perplexity on; not what is trained on.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    eval: Vec<PathBuf>,
    #[command(flatten)]
    protocol: Protocol,
    /// Steps from one saved state to the next: what a kill may cost.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// Go on with a run that was killed.
    #[arg(long, conflicts_with = "fresh")]
    resume: bool,
    /// Throw an unfinished run away.
    #[arg(long)]
    fresh: bool,
    /// One JSON object for machines, at the end.
    #[arg(long)]
    json: bool,
}

/// How it is trained.
#[derive(clap::Args)]
struct How {
    /// How layers stay sparse.
    #[arg(long, value_enum, default_value = "frozen")]
    how: Way,
    /// SR-STE's λ: how strongly dropped weights are driven back to zero.
    #[arg(long, default_value_t = 2e-4, value_name = "LAMBDA")]
    decay: f32,
    /// N:M, along the input features.
    #[arg(long, default_value = "2:4")]
    pattern: Pattern,
    /// Steps of the optimiser.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Sequences of a step.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Predictions of a sequence.
    #[arg(long, default_value_t = 256)]
    length: usize,
    /// Highest learning rate; a twentieth of the steps leads up to it, a cosine down to its tenth.
    #[arg(long, default_value_t = 3e-4)]
    lr: f32,
    /// The dense model's share of the loss: 0 is plain cross entropy, 1 what the dense model says alone.
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    distill: f32,
    /// Softens what the dense model says.
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// Shuffles the text's sequences.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How layers stay sparse.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Way {
    /// Dropped weights stay zero.
    Frozen,
    /// SR-STE: what is dropped is chosen anew at every step, by magnitude.
    Srste,
}

/// Predictions that go through the model together on one thread: its logits stay in memory until their
/// gradient is known.
const TOGETHER: usize = 512;
/// Sequences held out of the training text.
const HELD_OUT: usize = 8;

impl How {
    fn settings(&self) -> Settings {
        let adam = AdamW {
            lr: self.lr,
            final_lr: 0.1,
            warmup: (self.steps / 20).max(1),
            steps: self.steps,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.0,
            clip: 1.0,
        };
        let Self { batch, length, .. } = *self;
        let fits =
            |&shards: &usize| batch.is_multiple_of(shards) && batch / shards * length <= TOGETHER;
        Settings {
            adam,
            batch,
            length,
            shards: (1..=batch).find(fits).unwrap_or(batch),
            seed: self.seed,
            held_out: HELD_OUT,
            distill: self.distill,
            temperature: self.temperature,
            sparsity: match self.how {
                Way::Frozen => Sparsity::Frozen,
                Way::Srste => Sparsity::SrSte { lambda: self.decay },
            },
        }
    }
}

/// What decides the result: two runs of the same job end in the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    version: u32,
    origin: String,
    pattern: String,
    /// As text: JSON's floats need not come back as they went.
    settings: String,
}

/// In the run's folder: the trainer's state, and the losses so far.
const STATE: &str = "state.safetensors";
const CURVE: &str = "curve.json";
/// Beside the tensors.
const REPORT: &str = "quickpick-finetune.json";

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let (pruned, dense, out) = (open(&args.pruned)?, open(&args.dense)?, &args.out);
    if out.exists() {
        return Err(exists(out));
    }
    let tokenizer = pruned.tokenizer().into_diagnostic()?;
    if dense.tokenizer().into_diagnostic()?.digest() != tokenizer.digest() {
        return Err(miette!("the dense model has another tokenizer than the pruned one"));
    }
    if let Some(file) = args.eval.iter().find(|file| args.text.contains(file)) {
        return Err(miette!("{} would be trained on and measured on", file.display()));
    }
    let text = Text::read(&args.text, tokenizer).into_diagnostic().wrap_err("--text")?;
    let eval = match args.eval.as_slice() {
        [] => None,
        files => Some(Text::read(files, tokenizer).into_diagnostic().wrap_err("--eval")?),
    };
    let student = pruned.weights().into_diagnostic()?;
    let pattern = args.how.pattern;
    let masks = masks(&student, pattern)
        .into_diagnostic()
        .wrap_err_with(|| args.pruned.display().to_string())?;
    let settings = args.how.settings();
    let teacher = (settings.distill > 0.0).then(|| dense.weights()).transpose();
    let teacher = teacher.into_diagnostic()?;
    let mut trainer =
        FineTuner::new(student, &masks, teacher, &text, settings).into_diagnostic()?;
    let origin = trainer.origin().to_owned();
    let (pattern, settings) = (pattern.to_string(), format!("{settings:?}"));
    let asked = Asked { version: 1, origin, pattern, settings };
    let existing = match (args.resume, args.fresh) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Discard,
        _ => Existing::Refuse,
    };
    let folder = RunFolder::open(&run_path(out), &asked, existing).map_err(|why| {
        miette!(help = "--resume goes on with it, --fresh throws it away", "{why}")
    })?;
    let mut report = Report::new(&args.pruned, &args.dense, &text, &trainer, &masks);
    if !args.json {
        println!("\n  {}\n", bold("Quickpick finetune"));
        report.facts.iter().for_each(|(name, value)| fact(name, value));
    }
    report.curve = train(&mut trainer, &masks, &folder, args)?;
    let mut tensors = trainer.trained().into_diagnostic()?;
    report.peak_bytes = process::peak();
    drop(trainer);
    round(pruned.source(), &mut tensors).into_diagnostic()?;
    if let Some(text) = &eval {
        let measure = |model, name| evaluate(model, text, &args.protocol, name);
        let (before, after) = (measure(&dense, "dense")?, measure(&pruned, "pruned")?);
        let tensor = |name: &str| match tensors.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => pruned.source().tensor(name),
        };
        let config = pruned.architecture().decoder().into_diagnostic()?;
        let tuned = evaluate_tensors(config, &tensor, text, &args.protocol, "fine-tuned")?;
        report.measured = Some(Measured::new(before, after, tuned));
    }
    let json = ship(args, &pruned, &tensors, &report)?;
    folder.remove().into_diagnostic()?; // last, so that whatever kills the run before can be made good
    if args.json {
        println!("{json}");
        return Ok(());
    }
    println!("\n{}", report.text());
    report.findings().iter().for_each(|line| println!("  {line}"));
    println!("\n  {}  {}", dim("checkpoint"), out.display());
    println!("  {}      {}\n", dim("report"), out.join(REPORT).display());
    Ok(())
}

fn open(path: &Path) -> Result<Model> {
    Model::open(path).into_diagnostic()
}

/// Takes the steps that the folder's state has not behind it.
fn train(
    trainer: &mut FineTuner,
    masks: &Masks,
    folder: &RunFolder,
    args: &Args,
) -> Result<Vec<Point>> {
    let (state, log) = (folder.file(STATE), folder.file(CURVE));
    let mut curve: Vec<Point> = Vec::new();
    if state.exists() {
        trainer.load(&state).into_diagnostic()?;
        if matches!(trainer.settings().sparsity, Sparsity::Frozen) {
            trainer.hold(masks).into_diagnostic()?;
        }
        if let Some(bytes) = read(&log)? {
            curve = serde_json::from_slice(&bytes)
                .into_diagnostic()
                .wrap_err_with(|| log.display().to_string())?;
        }
        // it is written before the state
        curve.retain(|point| point.step <= trainer.steps());
    }
    if curve.is_empty() {
        let held_out = trainer.evaluate().into_diagnostic()?;
        curve.push(Point { step: trainer.steps(), train: None, held_out, seconds: 0.0 });
    }
    let before = curve.last().map_or(0.0, |point| point.seconds);
    let (start, steps) = (Instant::now(), args.how.steps);
    let bar = bar("fine-tune", steps);
    bar.set_position(trainer.steps());
    bar.reset_eta();
    let mut losses = Vec::new();
    while trainer.steps() < steps {
        let loss = trainer.step().into_diagnostic()?;
        losses.push(loss);
        bar.set_position(trainer.steps());
        bar.set_message(format!("loss {loss:.4}"));
        if trainer.steps().is_multiple_of(args.save_every) || trainer.steps() == steps {
            let point = Point {
                step: trainer.steps(),
                train: Some(losses.iter().sum::<f64>() / losses.len() as f64),
                held_out: trainer.evaluate().into_diagnostic()?,
                seconds: before + start.elapsed().as_secs_f64(),
            };
            bar.suspend(|| eprintln!("  {}", point.text()));
            curve.push(point);
            losses.clear();
            let json = serde_json::to_vec(&curve).into_diagnostic()?;
            write_atomic(&log, &json).into_diagnostic()?;
            trainer.save(&state).into_diagnostic()?;
        }
    }
    bar.finish_and_clear();
    Ok(curve)
}

/// Writes the checkpoint with its report, which is returned.
fn ship(args: &Args, pruned: &Model, tensors: &Tensors, report: &Report) -> Result<String> {
    // what pruning left there is about other weights
    let theirs = |name: &Path| !name.to_string_lossy().starts_with("quickpick-");
    let companions = pruned.companions().iter().filter(|(name, _)| theirs(name)).cloned();
    let json = serde_json::to_string_pretty(report).into_diagnostic()?;
    let ours = (PathBuf::from(REPORT), json.clone().into_bytes());
    let companions: Vec<_> = companions.chain([ours]).collect();
    write(&args.out, pruned.source(), tensors, &companions, DEFAULT_LIMIT).into_diagnostic()?;
    Ok(json)
}
