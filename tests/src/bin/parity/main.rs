//! `parity`: every kernel by every executor of this machine, or what files say of other machines.

mod executors;

use clap::Parser;
use executors::Executor;
use indicatif::{ProgressBar, ProgressStyle};
use quickpick_format::write_atomic;
use quickpick_parity::{Column, Depth, Report, Scope};
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
    /// Run nothing; take the results from these files
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["only", "all"])]
    merge: Vec<PathBuf>,
    /// Executors that must be there, by the beginnings of their names: `cpu,emulator,wgpu`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    require: Vec<String>,
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
    let depth = if args.all { Depth::All } else { Depth::Sample };
    let scope = Scope { depth, only: args.only.clone() };
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
    Ok(Report::of(&scope, columns(&scope, &executors)))
}

/// Asks all executors for all of their kernels, on every core; columns and cells come in order.
fn columns(scope: &Scope, executors: &[Executor]) -> Vec<Column> {
    let work: Vec<_> =
        executors.iter().flat_map(|e| e.specs().map(move |spec| (e, spec))).collect();
    let count: usize = work.iter().map(|(e, spec)| scope.cases(&e.name, spec).len()).sum();
    let bar = ProgressBar::new(count as u64);
    bar.set_style(ProgressStyle::with_template(PROGRESS).expect("a template of indicatif's"));
    bar.enable_steady_tick(Duration::from_secs(1));
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![Vec::new(); work.len()]);
    let worker = || {
        loop {
            let at = next.fetch_add(1, Relaxed);
            let Some((executor, spec)) = work.get(at) else { break };
            bar.set_message(format!("{} {spec}", executor.name));
            let cells = (executor.ask)(scope, spec, &mut |_| bar.inc(1));
            lock(&answers)[at] = cells;
        }
    };
    std::thread::scope(|threads| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(threads.spawn(worker)));
    });
    bar.finish_and_clear();
    let mut answers = std::mem::take(&mut *lock(&answers)).into_iter();
    let column = |e: &Executor| Column {
        executor: e.name.clone(),
        kind: e.kind,
        device: e.device.clone(),
        cells: answers.by_ref().take(e.specs().count()).flatten().collect(),
    };
    executors.iter().map(column).collect()
}

/// A worker that panicked leaves nothing half-done behind this lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
