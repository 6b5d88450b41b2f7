//! `quickpick prune`: a checkpoint becomes N:M sparse, one shot, block by block.

pub mod report;

use crate::demo::terminal::{bar, bold, dim, fact};
use crate::eval::{Evaluated, Protocol, evaluate};
use indicatif::ProgressBar;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use quickpick_prune::{LayerInfo, Method, Pattern, Rules};
use quickpick_transformer::Text;
use quickpick_transformer::checkpoint::{DEFAULT_LIMIT, Model};
use quickpick_transformer::oneshot::{
    Existing, Job, LayerReport, Llama, Narrow, Progress, RunFolder, assemble, run as prune_blocks,
};
use quickpick_transformer::weights::write_atomic;
use report::{Bytes, Report};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to prune, and how.
#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file or a Hugging Face folder, of the Llama family.
    model: PathBuf,
    /// The pruned checkpoint's folder; must not exist yet.
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    how: How,
    /// Plain text to measure perplexity on, before and after; not the calibration text.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    eval: Vec<PathBuf>,
    #[command(flatten)]
    protocol: Protocol,
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

/// How it is pruned.
#[derive(clap::Args, Clone, Debug)]
pub struct How {
    /// SELECT[+reconstruct][+recover=FRACTION], where SELECT is magnitude, wanda, ria, sparsegpt or alps.
    #[arg(long, default_value = "alps")]
    method: Method,
    /// N:M, along the input features. Sparse tensor cores run 2:4.
    #[arg(long, default_value = "2:4")]
    pattern: Pattern,
    /// First let inner features change places, so that the pattern keeps more; running it costs nothing.
    #[arg(long)]
    permute: bool,
    /// Leave these layers dense; `*` stands for any text. May be given more than once.
    #[arg(long, value_name = "NAMES")]
    leave: Vec<String>,
    /// Plain text that shows the layers' inputs.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    calibration: Vec<PathBuf>,
    /// Sequences of calibration text.
    #[arg(long, default_value_t = 64)]
    sequences: usize,
    /// Tokens of each.
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Which sequences are drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The type in which pruned weights ship: f16, bf16 or f32.
    #[arg(long, default_value = "f16")]
    dtype: Narrow,
}

/// What decides the result: two runs of the same job end in the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    version: u32,
    model: String,
    method: String,
    pattern: String,
    permute: bool,
    leave: Vec<String>,
    calibration: String,
    sequences: usize,
    length: usize,
    seed: u64,
    dtype: Narrow,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let model = Model::open(&args.model).into_diagnostic()?;
    if args.out.exists() {
        return Err(miette!(
            help = "name another folder with --out, or remove this one",
            "{} exists",
            args.out.display()
        ));
    }
    let text = match args.eval.as_slice() {
        [] => None,
        files => Some(
            Text::read(files, model.tokenizer().into_diagnostic()?)
                .into_diagnostic()
                .wrap_err("--eval")?,
        ),
    };
    if !args.json {
        println!("\n  {}\n", bold("Quickpick prune"));
    }
    let existing = match (args.resume, args.fresh) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Discard,
        _ => Existing::Refuse,
    };
    let mut report = prune(&model, &args.model, &args.out, &args.how, existing)?;
    if !args.json {
        report.facts.iter().for_each(|(name, value)| fact(name, value));
    }
    if let Some(text) = &text {
        report.before = Some(measure(&model, text, &args.protocol, &args.model)?);
        let pruned = Model::open(&args.out).into_diagnostic()?;
        report.after = Some(measure(&pruned, text, &args.protocol, &args.out)?);
    }
    report.peak_bytes = peak_bytes();
    let page = args.out.join(REPORT_PAGE);
    let json = serde_json::to_string_pretty(&report).into_diagnostic()?;
    write_atomic(&args.out.join(REPORT_JSON), json.as_bytes()).into_diagnostic()?;
    write_atomic(&page, report.page().as_bytes()).into_diagnostic()?;
    if args.json {
        println!("{json}");
        return Ok(());
    }
    println!("\n{}", report.text());
    report.findings().iter().for_each(|line| println!("  {line}"));
    println!("\n  {}  {}", dim("checkpoint"), args.out.display());
    println!("  {}      {}\n", dim("report"), page.display());
    Ok(())
}

/// The report, beside the tensors.
const REPORT_JSON: &str = "quickpick-report.json";
const REPORT_PAGE: &str = "quickpick-report.html";

fn measure(model: &Model, text: &Text, protocol: &Protocol, path: &Path) -> Result<Evaluated> {
    evaluate(model, text, protocol, &path.display().to_string())
}

/// Prunes a model into a folder; an unfinished run lies beside it, under the name with `.run`.
pub fn prune(
    model: &Model,
    path: &Path,
    out: &Path,
    how: &How,
    existing: Existing,
) -> Result<Report> {
    let start = Instant::now();
    let tokenizer = model.tokenizer().into_diagnostic()?;
    let text =
        Text::read(&how.calibration, tokenizer).into_diagnostic().wrap_err("--calibration")?;
    let ids = text.sequences(how.sequences, how.length, how.seed).into_diagnostic()?;
    let rules = how.leave.iter().fold(Rules::new(how.pattern), |rules, names| rules.leave(names));
    misspelt(&rules, model)?;
    let asked = Asked {
        version: 1,
        model: format!("{:016x}", model.digest().into_diagnostic()?),
        method: how.method.to_string(),
        pattern: how.pattern.to_string(),
        permute: how.permute,
        leave: how.leave.clone(),
        calibration: format!("{:016x} {:016x}", text.digest(), text.tokenizer()),
        sequences: how.sequences,
        length: how.length,
        seed: how.seed,
        dtype: how.dtype,
    };
    let folder = RunFolder::open(&run_path(out), &asked, existing).map_err(|why| {
        miette!(help = "--resume goes on with it, --fresh throws it away", "{why}")
    })?;
    let stack = Llama::new(model.config(), how.length).into_diagnostic()?;
    let permute = how.permute.then_some(how.seed);
    let job = Job { method: how.method, rules, permute, narrow: how.dtype };
    let bar = bar("prune", model.config().layers as u64);
    let layers = watched(&bar, |progress| {
        prune_blocks(&stack, model.source(), &ids, &job, &folder, progress).into_diagnostic()
    })?;
    let blocks = model.config().layers;
    let (source, companions) = (model.source(), model.companions());
    assemble(out, source, &folder, blocks, how.dtype, companions, DEFAULT_LIMIT)
        .into_diagnostic()?;
    folder.remove().into_diagnostic()?;
    Ok(Report {
        facts: facts(path, how, &text, model),
        method: asked.method,
        pattern: asked.pattern,
        bytes: bytes(&layers, how),
        layers,
        before: None,
        after: None,
        seconds: start.elapsed().as_secs_f64(),
        peak_bytes: None,
    })
}

/// Runs with a bar that shows the block and what is done there.
fn watched<T>(
    bar: &ProgressBar,
    work: impl FnOnce(&mut dyn FnMut(&Progress<'_>)) -> Result<T>,
) -> Result<T> {
    let done = work(&mut |p| {
        bar.set_position(p.block as u64);
        bar.set_message(p.what.to_owned());
    });
    bar.finish_and_clear();
    done
}

/// A rule that matches no tensor is most likely misspelt.
fn misspelt(rules: &Rules, model: &Model) -> Result<()> {
    let tensors = model.source().entries().iter();
    let infos: Vec<_> =
        tensors.map(|e| LayerInfo::new(e.name.as_str(), e.shape.as_slice())).collect();
    match rules.unmatched(&infos).first() {
        None => Ok(()),
        Some(names) => Err(miette!("--leave {names} matches no tensor of the model")),
    }
}

fn run_path(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".run");
    out.with_file_name(name)
}

fn facts(path: &Path, how: &How, text: &Text, model: &Model) -> Vec<(String, String)> {
    let c = model.config();
    [
        (
            "model",
            format!(
                "{}: {} blocks, {} wide, vocabulary of {}",
                path.display(),
                c.layers,
                c.dim,
                c.vocab
            ),
        ),
        (
            "method",
            format!(
                "{}{}, {}, shipped in {}",
                how.method,
                if how.permute { " after permuting features" } else { "" },
                how.pattern,
                how.dtype
            ),
        ),
        (
            "inputs",
            format!(
                "{} sequences of {} tokens, seed {}, of {}",
                how.sequences,
                how.length,
                how.seed,
                text.source()
            ),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Of a 2:4 matrix: half the values and 2 bits for each of them, rows in whole words of 32 columns. Other
/// patterns ship dense. A recovered weight takes its value and a column of 16 bits, and each row a start.
fn bytes(layers: &[LayerReport], how: &How) -> Bytes {
    let element = if how.dtype == Narrow::F32 { 4 } else { 2 };
    let mut sum = Bytes::default();
    for layer in layers {
        let [rows, cols] = layer.shape.map(|n| n as u64);
        let dense = rows * cols * element;
        sum.dense += dense;
        sum.compressed += match &layer.pruned {
            Some(p) if how.pattern == Pattern::TWO_OF_FOUR => {
                let words = rows * cols.div_ceil(32);
                let residual = match p.recovered as u64 {
                    0 => 0,
                    n => n * (element + 2) + 4 * (rows + 1),
                };
                words * (16 * element + 4) + residual
            }
            _ => dense,
        };
    }
    sum
}

/// The largest resident memory of this process, where /proc tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}
