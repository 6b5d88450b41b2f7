//! `quickpick demo`: train, find the ticket and its controls, run all of them, compare.

mod chart;
mod measure;
mod page;
pub mod report;
pub mod terminal;
mod train;

use indicatif::ProgressBar;
use measure::{Measure, Measured, Task};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use page::{Drawn, page};
use quickpick::{Device, Kind, Opened};
use quickpick_transformer::score::{bits, largest_difference, reference};
use quickpick_transformer::weights::write_atomic;
use quickpick_transformer::{Compact, Config, Corpus, Settings};
use report::{Arm, Report, thousands};
use std::path::{Path, PathBuf};
use std::time::Instant;
use terminal::{bold, dim, fact};
use train::Trained;

/// Held-out windows that every backend runs.
const WINDOWS: usize = 32;
/// Bytes of the texts.
const LENGTH: usize = 240;
/// Temperature of the sampled texts.
const TEMPERATURE: f32 = 0.7;
/// What texts begin with when the corpus is Rust.
pub const PROMPT: &str = "    pub fn new(";

/// What to demonstrate.
#[derive(clap::Args)]
pub struct Args {
    /// auto, cpu, wgpu or cuda. auto: CUDA, else a GPU through wgpu, else the CPU.
    #[arg(long, default_value = "auto")]
    backend: Kind,
    /// tiny: minutes on two cores. small: an hour or two on a workstation.
    #[arg(long, default_value = "tiny", value_parser = ["tiny", "small"])]
    preset: String,
    /// A text, or a folder of texts. Default: the Rust source of this workspace's dependencies.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Seed of the weights, of the training batches and of the sampled texts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Optimiser steps of each run, if not the preset's.
    #[arg(long)]
    steps: Option<u64>,
    /// Folder of the report; each run keeps its stages in a folder below.
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
    /// Forget what an earlier run of the same preset, seed and corpus left behind.
    #[arg(long)]
    fresh: bool,
}

/// Runs the demo.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    // First of all, so that a missing driver costs nobody the minutes of training.
    let opened = quickpick::open(args.backend).into_diagnostic()?;
    let config = Config::preset(&args.preset).into_diagnostic()?;
    let mut settings = Settings::preset(&args.preset).into_diagnostic()?;
    settings.data_seed = args.seed;
    settings.adam.steps = args.steps.unwrap_or(settings.adam.steps);
    settings.adam.warmup = settings.adam.warmup.min(settings.adam.steps / 10);
    let corpus = corpus(args.corpus.as_deref())?;
    let (preset, seed, steps) = (&args.preset, args.seed, settings.adam.steps);
    let name = format!("{preset}-seed{seed}-{steps}steps-{:016x}", corpus.digest());
    let folder = args.out.join(name);
    if args.fresh && folder.exists() {
        std::fs::remove_dir_all(&folder).into_diagnostic().wrap_err("--fresh")?;
    }
    std::fs::create_dir_all(&folder).into_diagnostic().wrap_err(folder.display().to_string())?;

    let facts = facts(args, &config, &settings, &corpus, &opened);
    println!("\n  {}\n", bold("Quickpick demo"));
    facts.iter().for_each(|(name, value)| fact(name, value));
    println!();
    let corpus = std::sync::Arc::new(corpus);
    let trained = train::all(config, settings, args.seed, &corpus, &folder)?;
    let models = pack(&trained, &folder)?;
    let task = task(args, &settings, &corpus);
    let report = compare(facts, &opened.device, &task, &trained, &models)?;
    let page = write(&report, &trained, &args.out, &folder)?;
    tell(&report);
    println!("  {}  {}", dim("report"), page.display());
    println!("  {}  {}", dim("models"), folder.display());
    println!("  {}    {}\n", dim("time"), terminal::seconds(start.elapsed().as_secs_f64()));
    check(&report)
}

fn corpus(path: Option<&Path>) -> Result<Corpus> {
    if let Some(path) = path {
        return Corpus::from_path(path).into_diagnostic();
    }
    let here = std::env::current_dir().into_diagnostic()?;
    let manifest = here.ancestors().map(|folder| folder.join("Cargo.toml")).find(|m| m.is_file());
    match manifest {
        Some(manifest) => Corpus::from_dependencies(&manifest).into_diagnostic(),
        None => Err(miette!(
            help = "give a text or a folder of texts with --corpus PATH",
            "no Cargo.toml in {} or above it, so there are no dependencies to read",
            here.display()
        )),
    }
}

fn facts(
    args: &Args,
    config: &Config,
    settings: &Settings,
    corpus: &Corpus,
    opened: &Opened,
) -> Vec<(String, String)> {
    let megabytes = |bytes: &[u8]| bytes.len() as f64 / 1e6;
    let why = opened.to_string().replace("\n  ", "\n");
    [
        (
            "model",
            format!(
                "{}: {} blocks, {} wide, {} heads, {} parameters",
                args.preset,
                config.layers,
                config.dim,
                config.heads,
                thousands(config.parameters() as u64)
            ),
        ),
        (
            "training",
            format!(
                "{} steps of {} × {} bytes, seed {}",
                settings.adam.steps, settings.batch, settings.seq, args.seed
            ),
        ),
        (
            "corpus",
            format!(
                "{}: {:.1} MB to train on, {:.1} MB held out",
                corpus.source(),
                megabytes(corpus.train()),
                megabytes(corpus.held_out())
            ),
        ),
        ("backend", why),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn task(args: &Args, settings: &Settings, corpus: &Corpus) -> Task {
    let tokens = |bytes: &[u8]| bytes.iter().map(|&b| u32::from(b)).collect::<Vec<u32>>();
    let windows = corpus.held_out_windows(WINDOWS, settings.seq + 1);
    let prompt = match args.corpus {
        None => PROMPT.as_bytes(),
        // the same bytes for every model, from text that none has seen
        Some(_) => windows.first().map_or(&b" "[..], |w| &w[..w.len().min(32)]),
    };
    Task {
        windows: windows.iter().map(|w| tokens(w)).collect(),
        prompt: tokens(prompt),
        length: LENGTH,
        temperature: TEMPERATURE,
        seed: args.seed,
    }
}

/// A model as it ships, and the bytes of its files.
struct Shipped {
    model: Compact,
    file_bytes: u64,
    linears_bytes: u64,
}

/// Rounds to f16, compresses, writes, and goes on with what was read back.
fn pack(trained: &[Trained], folder: &Path) -> Result<Vec<Shipped>> {
    let start = Instant::now();
    let mut shipped = Vec::new();
    for arm in trained {
        let model = Compact::new(&arm.weights, &arm.masks).into_diagnostic()?;
        let stem = arm.name.replace(' ', "-");
        let file = folder.join(format!("{stem}.f16.safetensors"));
        let file_bytes = model.save(&file).into_diagnostic()?;
        let linears = folder.join(format!("{stem}.linears.safetensors"));
        let linears_bytes = model.save_linears(&linears).into_diagnostic()?;
        let model = Compact::load(&file).into_diagnostic()?;
        shipped.push(Shipped { model, file_bytes, linears_bytes });
    }
    terminal::done("convert", "f16, pruned layers compressed to 2:4", start);
    Ok(shipped)
}

/// Runs everything on the backend, on the CPU if that is another, and through candle.
fn compare(
    facts: Vec<(String, String)>,
    device: &Device,
    task: &Task,
    trained: &[Trained],
    shipped: &[Shipped],
) -> Result<Report> {
    let models: Vec<&Compact> = shipped.iter().map(|s| &s.model).collect();
    let measure = |device: &Device, speed: bool| -> Result<Vec<Measured>> {
        let start = Instant::now();
        let stage = format!("run on {}", device.name());
        let mut job = Measure { task, models: &models, speed, bar: &ProgressBar::hidden() };
        let bar = terminal::bar(&stage, job.steps());
        job.bar = &bar;
        let measured = device.visit(job).into_diagnostic()?;
        bar.finish_and_clear();
        let what = if speed { "loss, texts, speed" } else { "loss, texts" };
        terminal::done(&stage, what, start);
        Ok(measured)
    };
    let here = measure(device, true)?;
    let cpu = match device.name() {
        "cpu" => None,
        _ => Some(measure(&quickpick::open(Kind::Cpu).into_diagnostic()?.device, false)?),
    };
    let start = Instant::now();
    let mut arms = Vec::new();
    for (i, ((arm, shipped), here)) in trained.iter().zip(shipped).zip(&here).enumerate() {
        let candle = reference(&shipped.model.widen().into_diagnostic()?, &task.windows);
        let candle = candle.into_diagnostic()?;
        let cpu = cpu.as_ref().map(|all| &all[i]);
        let vocab = shipped.model.config().vocab;
        arms.push(Arm {
            name: arm.name.clone(),
            bits: here.score.bits,
            bits_candle: bits(&candle, &task.windows, vocab).into_diagnostic()?,
            bits_trainer: arm.bits,
            curve: arm.curve.clone(),
            kept: shipped.model.kept() as u64,
            parameters: shipped.model.config().parameters() as u64,
            file_bytes: shipped.file_bytes,
            linears_bytes: shipped.linears_bytes,
            prefill: here.prefill,
            decode: here.decode,
            from_cpu: cpu.map(|cpu| largest_difference(&here.score.logits, &cpu.score.logits)),
            from_candle: largest_difference(&here.score.logits, &candle),
            logit_bound: shipped.model.logit_bound().into_diagnostic()?,
            text: here.text.clone(),
            sampled: here.sampled.clone(),
            same_text: cpu.map(|cpu| (cpu.text == here.text, cpu.sampled == here.sampled)),
            kernels: here.kernels.clone(),
        });
    }
    terminal::done("candle", "the trainer's own forward on the same windows, f32", start);
    let prompt: Vec<u8> = task.prompt.iter().map(|&t| t as u8).collect();
    Ok(Report {
        facts,
        backend: device.name().to_owned(),
        arms,
        prompt: String::from_utf8_lossy(&prompt).into_owned(),
        temperature: task.temperature,
        notes: notes(task, device),
    })
}

/// How the figures were taken.
fn notes(task: &Task, device: &Device) -> Vec<String> {
    let predicted: usize = task.windows.iter().map(|w| w.len() - 1).sum();
    vec![
        format!(
            "Bits per byte: {} windows spread evenly over the held-out text, {} bytes predicted, \
             through {} with f16 weights; “trainer” is candle in f32 over its own, larger sample.",
            task.windows.len(),
            thousands(predicted as u64),
            device.name()
        ),
        "Bytes of weights: sizes of files. “Whole file” holds the model in f16, pruned layers as \
         2:4; “pruned layers” is a file of the block linears alone, headers included."
            .into(),
        format!(
            "Tokens per second: the fastest of {} rounds in which models take turns; prefill \
             of {} tokens with the last logits read back, decode of {} tokens one at a time, each \
             read back. Ratios are against the dense model on the same backend.",
            measure::ROUNDS,
            measure::PREFILL,
            measure::DECODE
        ),
        "Logit differences: the largest over all those predictions and the whole vocabulary, held \
         against a bound that follows from f16 rounding (8·2⁻¹¹·√(5·blocks + 1)·max‖head row ∘ \
         gain‖)."
            .into(),
        "One seed shows a direction. A claim needs several, and a confidence interval.".into(),
    ]
}

fn write(report: &Report, trained: &[Trained], out: &Path, folder: &Path) -> Result<PathBuf> {
    let json = serde_json::to_string_pretty(report).into_diagnostic()?;
    let path = folder.join(format!("report-{}.json", report.backend));
    write_atomic(&path, json.as_bytes()).into_diagnostic()?;
    let ticket = trained.iter().find(|arm| arm.name == train::TICKET).unwrap_or(&trained[0]);
    let drawn = Drawn::middle_query(&ticket.weights, &ticket.masks);
    let path = out.join("report.html");
    write_atomic(&path, page(report, drawn.as_ref()).as_bytes()).into_diagnostic()?;
    Ok(path)
}

/// Texts, the table, what it says.
fn tell(report: &Report) {
    let find = |name: &str| report.arms.iter().find(|arm| arm.name == name);
    if let (Some(dense), Some(ticket)) = (find(train::DENSE), find(train::TICKET)) {
        println!("\n  {} {}\n", bold("After the prompt"), dim(&format!("{:?}", report.prompt)));
        let text = |t: &str| format!("{}{t}", report.prompt);
        for (how, a, b) in [
            ("temperature 0".to_owned(), &dense.text, &ticket.text),
            (format!("temperature {}", report.temperature), &dense.sampled, &ticket.sampled),
        ] {
            let (left, right) = (format!("dense, {how}"), format!("ticket, {how}"));
            println!("{}", terminal::side_by_side((&left, &text(a)), (&right, &text(b)), 56));
        }
    }
    println!("{}", report.table().text());
    for line in report.findings() {
        println!("  {line}");
    }
    println!();
}

/// Whether logits kept their bound. Said in any case; beyond it, the demo fails.
fn check(report: &Report) -> Result<()> {
    let mut broken = Vec::new();
    for arm in &report.arms {
        for (other, distance) in [("cpu", arm.from_cpu), ("candle", Some(arm.from_candle))] {
            let Some(distance) = distance.filter(|&d| !(d <= arm.logit_bound)) else { continue };
            let (name, bound) = (&arm.name, arm.logit_bound);
            broken.push(format!("{name}: {distance:.2e} to {other}, bound {bound:.2e}"));
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        lines => Err(miette!(
            "the logits of {} are farther off than f16 rounding explains; please report this bug\n{}",
            report.backend,
            lines.join("\n")
        )),
    }
}
