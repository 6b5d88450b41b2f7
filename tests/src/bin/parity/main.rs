//! `parity`: every kernel by every executor of this machine, or what files say of other machines.

mod executors;

use clap::Parser;
use executors::{Ask, Executor};
use indicatif::{ProgressBar, ProgressStyle};
use quickpick::kernels::KernelSpec;
use quickpick_format::write_atomic;
use quickpick_parity::{Column, Depth, Questions, Report, Scope};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PROGRESS: &str = "{bar:24} {pos}/{len}  {elapsed} of about {duration}  {wide_msg}";

/// Every kernel × case × executor within reach: the f64 oracle, each CPU path, the emulator, wgpu's adapters, CUDA
#[derive(Parser)]
#[command(name = "cargo xtask parity", disable_version_flag = true)]
struct Args {
    /// Only cells whose `executor::kernel::case` contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// All cases of each kernel, not a sample of at most eight
    #[arg(long)]
    all: bool,
    /// Write the results as a file to send to others
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the results as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write what each device gave as a table of Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Run nothing; take the results from these files
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["only", "all"])]
    merge: Vec<PathBuf>,
    /// Ask nobody; write the questions for the browser's page to this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "merge")]
    questions: Option<PathBuf>,
    /// Executors that must be there, by the beginnings of their names: `cpu,emulator,wgpu`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    require: Vec<String>,
}

impl Args {
    fn scope(&self) -> Scope {
        let depth = if self.all { Depth::All } else { Depth::Sample };
        Scope { depth, only: self.only.clone() }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all answers are one.
fn run(args: &Args) -> Result<bool, String> {
    if let Some(folder) = &args.questions {
        Questions::save(&args.scope(), executors::BROWSER, folder, &mut |_| {})?;
        return Ok(true);
    }
    let report = match args.merge.is_empty() {
        true => asked(args)?,
        false => merged(&args.merge)?,
    };
    print!("{report}");
    let write = |file: &Option<PathBuf>, text: String| match file {
        Some(file) => write_atomic(file, text.as_bytes()).map_err(|why| named(file, &why)),
        None => Ok(()),
    };
    write(&args.json, report.to_json())?;
    write(&args.html, report.to_html())?;
    write(&args.markdown, report.to_markdown())?;
    Ok(report.is_one_answer())
}

fn named(file: &Path, why: &dyn ToString) -> String {
    format!("{}: {}", file.display(), why.to_string())
}

fn merged(files: &[PathBuf]) -> Result<Report, String> {
    let mut reports = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|why| named(file, &why))?;
        reports.push(Report::from_json(&text).map_err(|why| named(file, &why))?);
    }
    Report::merge(reports).map_err(|why| why.to_string())
}

/// What every executor of this machine answers.
fn asked(args: &Args) -> Result<Report, String> {
    let scope = args.scope();
    let (mut executors, absent) = executors::here();
    for (name, why) in &absent {
        println!("absent  {name}: {why}");
    }
    for wanted in &args.require {
        if !executors.iter().any(|e| e.name.starts_with(wanted.as_str())) {
            let why = absent.iter().find(|(name, _)| name.starts_with(wanted.as_str()));
            let why = why.map_or("no executor's name begins so", |(_, why)| why);
            return Err(format!("--require {wanted}: {why}"));
        }
    }
    executors.retain(|e| e.specs().any(|spec| !scope.cases(&e.name, spec).is_empty()));
    if executors.is_empty() {
        return Err(format!("--only {:?}: no executor::kernel::case contains it", args.only));
    }
    Ok(Report::of(&scope, columns(&scope, &executors)?))
}

/// Asks all executors for all of their kernels, on every core; columns and cells come in order.
fn columns(scope: &Scope, executors: &[Executor]) -> Result<Vec<Column>, String> {
    // of each executor: its kernels one by one, or all at once
    let work: Vec<(&Executor, Option<&'static KernelSpec>)> = executors
        .iter()
        .flat_map(|e| match e.ask {
            Ask::Kernel(_) => e.specs().map(|spec| (e, Some(spec))).collect(),
            Ask::Whole(_) => vec![(e, None)],
        })
        .collect();
    let count =
        |e: &Executor| e.specs().map(|spec| scope.cases(&e.name, spec).len()).sum::<usize>();
    let bar = ProgressBar::new(executors.iter().map(count).sum::<usize>() as u64);
    bar.set_style(ProgressStyle::with_template(PROGRESS).expect("a template of indicatif's"));
    bar.enable_steady_tick(Duration::from_secs(1));
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![Ok(Vec::new()); work.len()]);
    let worker = || {
        loop {
            let at = next.fetch_add(1, Relaxed);
            let Some((executor, spec)) = work.get(at) else { break };
            let answer = match (&executor.ask, spec) {
                (Ask::Kernel(ask), Some(spec)) => {
                    bar.set_message(format!("{} {spec}", executor.name));
                    Ok(ask(scope, spec, &mut |_| bar.inc(1)))
                }
                (Ask::Whole(ask), _) => {
                    bar.set_message(executor.name.clone());
                    let answer = ask(scope);
                    bar.inc(count(executor) as u64);
                    answer
                }
                (Ask::Kernel(_), None) => Ok(Vec::new()),
            };
            lock(&answers)[at] = answer;
        }
    };
    std::thread::scope(|threads| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(threads.spawn(worker)));
    });
    bar.finish_and_clear();
    let answers = std::mem::take(&mut *lock(&answers));
    let mut columns = Vec::<Column>::new();
    for ((executor, _), answer) in work.iter().zip(answers) {
        let Executor { name, kind, device, .. } = executor;
        let cells = answer.map_err(|why| format!("{name}: {why}"))?;
        match columns.last_mut() {
            Some(column) if column.executor == *name => column.cells.extend(cells),
            _ => columns.push(Column {
                executor: name.clone(),
                kind: *kind,
                device: device.clone(),
                cells,
            }),
        }
    }
    Ok(columns)
}

/// A worker that panicked leaves nothing half-done behind this lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
