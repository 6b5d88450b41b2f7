//! `quickpick prune`: a checkpoint becomes N:M sparse, one shot, block by block.

mod budget;
mod inputs;
pub mod process;
pub mod report;

use crate::demo::terminal::{bar, bold, dim, fact};
use crate::eval::{Evaluated, Protocol, evaluate};
use indicatif::ProgressBar;
use inputs::Inputs;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use quickpick_prune::{LayerInfo, Method, Pattern, Rules};
use quickpick_transformer::Text;
use quickpick_transformer::checkpoint::{DEFAULT_LIMIT, Model};
use quickpick_transformer::oneshot::{
    Companion, Existing, Job, LayerReport, Narrow, Progress, RunFolder, assemble,
    run as prune_blocks,
};
use quickpick_transformer::weights::write_atomic;
use report::{Bytes, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to prune, and how.
#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file or a Hugging Face folder, of the Llama or the BERT family.
    model: PathBuf,
    /// The pruned checkpoint's folder; must not exist yet.
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    how: How,
    /// Plain text to measure a decoder's perplexity on, before and after; not the calibration text.
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
    pub method: Method,
    /// First let inner features change places, so that the pattern keeps more; running it costs nothing.
    #[arg(long)]
    pub permute: bool,
    /// Which calibration sequences are drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What is left of it.
    #[command(flatten)]
    pub setting: Setting,
}

/// What runs that are compared have in common.
#[derive(clap::Args, Clone, Debug)]
pub struct Setting {
    /// N:M, along the input features. Sparse tensor cores run 2:4.
    #[arg(long, default_value = "2:4")]
    pattern: Pattern,
    /// Leave these layers dense; `*` stands for any text. May be given more than once.
    #[arg(long, value_name = "NAMES")]
    leave: Vec<String>,
    /// Plain text that shows the layers' inputs, of a Llama or BERT.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    calibration: Vec<PathBuf>,
    /// XᵀX of each layer's inputs, as another framework made it, of any model: see README.
    #[arg(long, value_name = "FILE", conflicts_with = "calibration")]
    grams: Option<PathBuf>,
    /// Most of the pruned layers' weights that may stay: the most sensitive layers are spared until it is
    /// reached.
    #[arg(long, value_name = "SHARE")]
    density: Option<f64>,
    /// With --density, patterns that a layer may get instead before it is spared, such as 6:8.
    #[arg(long, value_name = "N:M", requires = "density")]
    soften: Vec<Pattern>,
    /// Sequences of calibration text.
    #[arg(long, default_value_t = 64)]
    sequences: usize,
    /// Tokens of each.
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// The type in which pruned weights ship: f16, bf16 or f32.
    #[arg(long, default_value = "f16")]
    dtype: Narrow,
}

impl Setting {
    /// In one line.
    pub fn text(&self) -> String {
        let files: Vec<_> = self.calibration.iter().map(|p| p.display().to_string()).collect();
        let left = match self.leave.as_slice() {
            [] => String::new(),
            names => format!(", but {}", names.join(", ")),
        };
        let budget = self.density.map_or(String::new(), |density| {
            let softer: Vec<_> = self.soften.iter().map(|p| format!("{p}, ")).collect();
            format!(", {}or dense until {density} of the weights stay", softer.concat())
        });
        let inputs = match &self.grams {
            Some(file) => format!("calibrated by {}", file.display()),
            None if files.is_empty() => "not calibrated".to_owned(),
            None => format!(
                "calibrated on {} sequences of {} tokens of {}",
                self.sequences,
                self.length,
                files.join(", ")
            ),
        };
        format!("{}{budget} in {}{left}; {inputs}", self.pattern, self.dtype)
    }
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
    density: Option<f64>,
    soften: Vec<String>,
    calibration: String,
    sequences: usize,
    length: usize,
    seed: u64,
    dtype: Narrow,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let model = Model::open(&args.model).into_diagnostic()?;
    if args.out.exists() && !args.resume {
        return Err(exists(&args.out));
    }
    let text = match args.eval.as_slice() {
        [] => None,
        files => {
            model.architecture().decoder().into_diagnostic().wrap_err("--eval")?;
            let tokenizer = model.tokenizer().into_diagnostic()?;
            Some(Text::read(files, tokenizer).into_diagnostic().wrap_err("--eval")?)
        }
    };
    if !args.json {
        println!("\n  {}\n", bold("Quickpick prune"));
    }
    let existing = match (args.resume, args.fresh) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Discard,
        _ => Existing::Refuse,
    };
    let plan = Plan::new(&model, &args.model, &args.how)?;
    let (report, folder) = match plan.reported(&args.out)? {
        Some(report) => (report, plan.run_folder(&args.out, existing)?),
        None => {
            let (mut report, folder) = plan.prune(&args.out, existing)?;
            if let Some(text) = &text {
                report.before = Some(measure(&model, text, &args.protocol, &args.model)?);
                let pruned = Model::open(&args.out).into_diagnostic()?;
                report.after = Some(measure(&pruned, text, &args.protocol, &args.out)?);
            }
            report.peak_bytes = process::peak();
            (report, folder)
        }
    };
    let page = args.out.join(REPORT_PAGE);
    let json = serde_json::to_string_pretty(&report).into_diagnostic()?;
    write_atomic(&args.out.join(REPORT_JSON), json.as_bytes()).into_diagnostic()?;
    write_atomic(&page, report.page().as_bytes()).into_diagnostic()?;
    folder.remove().into_diagnostic()?; // last, so that whatever kills the run before can be made good
    if args.json {
        println!("{json}");
        return Ok(());
    }
    report.facts.iter().for_each(|(name, value)| fact(name, value));
    println!("\n{}", report.text());
    report.findings().iter().for_each(|line| println!("  {line}"));
    println!("\n  {}  {}", dim("checkpoint"), args.out.display());
    println!("  {}      {}\n", dim("report"), page.display());
    Ok(())
}

/// The report, beside the tensors.
const REPORT_JSON: &str = "quickpick-report.json";
const REPORT_PAGE: &str = "quickpick-report.html";
/// What was asked, beside the tensors: a resumed run knows its own checkpoint by it.
const JOB: &str = "quickpick-job.json";

fn measure(model: &Model, text: &Text, protocol: &Protocol, path: &Path) -> Result<Evaluated> {
    evaluate(model, text, protocol, &path.display().to_string())
}

/// A checkpoint is not written over.
pub fn exists(out: &Path) -> miette::Report {
    let help = "name another folder with --out, or remove this one";
    miette!(help = help, "{} exists", out.display())
}

/// A model, and how it is pruned.
pub struct Plan<'a> {
    model: &'a Model,
    path: &'a Path,
    how: &'a How,
    inputs: Inputs,
    rules: Rules,
    asked: Asked,
}

impl<'a> Plan<'a> {
    /// Reads what shows the inputs and checks what is asked against the model.
    pub fn new(model: &'a Model, path: &'a Path, how: &'a How) -> Result<Self> {
        let inputs = Inputs::read(how, model)?;
        let Setting { pattern, leave, sequences, length, dtype, density, soften, .. } =
            &how.setting;
        let rules = leave.iter().fold(Rules::new(*pattern), |rules, names| rules.leave(names));
        misspelt(&rules, model)?;
        let asked = Asked {
            version: 1,
            model: format!("{:016x}", model.digest().into_diagnostic()?),
            method: how.method.to_string(),
            pattern: pattern.to_string(),
            permute: how.permute,
            leave: leave.clone(),
            density: *density,
            soften: soften.iter().map(Pattern::to_string).collect(),
            calibration: inputs.identity(),
            sequences: *sequences,
            length: *length,
            seed: how.seed,
            dtype: *dtype,
        };
        Ok(Self { model, path, how, inputs, rules, asked })
    }

    /// Prunes into a folder; an unfinished run lies beside it, under the name with `.run`, and is the
    /// caller's to remove once nothing more is to be done.
    pub fn prune(&self, out: &Path, existing: Existing) -> Result<(Report, RunFolder)> {
        let start = Instant::now();
        let (cpu, dtype) = (process::cpu_seconds(), self.how.setting.dtype);
        let there = out.exists();
        if there && !self.made(out)? {
            return Err(exists(out));
        }
        let (stack, ids) = self.inputs.stack(self.how, self.model)?;
        let folder = self.run_folder(out, existing)?;
        let permute = self.how.permute.then_some(self.how.seed);
        let rules = self.rules.clone();
        let given = BTreeMap::new();
        let mut job = Job { method: self.how.method, rules, permute, narrow: dtype, given };
        let bar = bar("prune", stack.blocks() as u64);
        let source = self.model.source();
        if let Some(density) = self.how.setting.density {
            let soften = &self.how.setting.soften;
            job.given = watched(&bar, |progress| {
                budget::spend(density, soften, &*stack, source, &ids, &job, progress)
            })?;
        }
        let layers = watched(&bar, |progress| {
            prune_blocks(&*stack, source, &ids, &job, &folder, progress).into_diagnostic()
        })?;
        if !there {
            let companions = self.companions()?;
            assemble(out, source, &folder, stack.blocks(), dtype, &companions, DEFAULT_LIMIT)
                .into_diagnostic()?;
        }
        let report = Report {
            facts: facts(self.path, self.how, &self.inputs, self.model),
            method: self.asked.method.clone(),
            pattern: self.asked.pattern.clone(),
            bytes: bytes(&layers, self.how),
            layers,
            before: None,
            after: None,
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: process::cpu_seconds().zip(cpu).map(|(now, then)| now - then),
            peak_bytes: None,
        };
        Ok((report, folder))
    }

    fn run_folder(&self, out: &Path, existing: Existing) -> Result<RunFolder> {
        RunFolder::open(&run_path(out), &self.asked, existing).map_err(|why| {
            miette!(help = "--resume goes on with it, --fresh throws it away", "{why}")
        })
    }

    /// Whether a checkpoint came of the same model and the same wishes, and so is this plan's own.
    fn made(&self, out: &Path) -> Result<bool> {
        match read(&out.join(JOB))? {
            None => Ok(false),
            Some(bytes) => {
                Ok(serde_json::from_slice::<Asked>(&bytes).is_ok_and(|a| a == self.asked))
            }
        }
    }

    /// The report of this plan's checkpoint, if it was finished.
    fn reported(&self, out: &Path) -> Result<Option<Report>> {
        match (self.made(out)?, read(&out.join(REPORT_JSON))?) {
            (true, Some(bytes)) => serde_json::from_slice(&bytes)
                .into_diagnostic()
                .wrap_err_with(|| out.join(REPORT_JSON).display().to_string()),
            _ => Ok(None),
        }
    }

    /// The model's, without what an earlier pruning left there, and the job.
    fn companions(&self) -> Result<Vec<Companion>> {
        let ours = |name: &Path| [JOB, REPORT_JSON, REPORT_PAGE].map(Path::new).contains(&name);
        let theirs = self.model.companions().iter().filter(|(name, _)| !ours(name));
        let job = serde_json::to_vec_pretty(&self.asked).into_diagnostic()?;
        Ok(theirs.cloned().chain([(PathBuf::from(JOB), job)]).collect())
    }
}

/// A file's bytes; none if there is no such file.
pub fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).into_diagnostic().wrap_err_with(|| file.display().to_string()),
    }
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

/// Where an unfinished run lies, beside what it makes.
pub fn run_path(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".run");
    out.with_file_name(name)
}

fn facts(path: &Path, how: &How, inputs: &Inputs, model: &Model) -> Vec<(String, String)> {
    [
        ("model", format!("{}: {}", path.display(), model.architecture())),
        (
            "method",
            format!(
                "{}{}, {}, shipped in {}",
                how.method,
                if how.permute { " after permuting features" } else { "" },
                how.setting.pattern,
                how.setting.dtype
            ),
        ),
        ("inputs", inputs.describe(how)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Of a 2:4 matrix: half the values and 2 bits for each of them, rows in whole words of 32 columns. Patterns that
/// are not 2:4 as well ship dense. A recovered weight takes its value and a column of 16 bits, and each row a start.
fn bytes(layers: &[LayerReport], how: &How) -> Bytes {
    let element = if how.setting.dtype == Narrow::F32 { 4 } else { 2 };
    let mut sum = Bytes::default();
    for layer in layers {
        let [rows, cols] = layer.shape.map(|n| n as u64);
        let dense = rows * cols * element;
        sum.dense += dense;
        sum.compressed += match &layer.pruned {
            Some(p) if report::on_hardware(&p.pattern) => {
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
