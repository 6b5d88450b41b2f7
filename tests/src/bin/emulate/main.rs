//! `cargo xtask emulate`: one kernel in the emulator, its result against the oracle, its counts, and,
//! when asked, each instruction of a warp.
#![forbid(unsafe_code)]

mod args;
mod committed;
mod foreign;
mod problem;
mod report;
mod run;
mod trace;
mod value;

use args::Args;
use clap::Parser;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

/// Why there is no result, or not the right one.
enum Failure {
    /// Standard output is closed, or a file cannot be written.
    Io(io::Error),
    /// To be told to the caller.
    Said(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Said(why)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let done = emulate(&args, &mut out);
    let flushed = out.flush().map_err(Failure::Io);
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        // `| head` has seen enough
        Err(Failure::Io(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Io(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Err(Failure::Said(why)) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A file that is called by hand, or a kernel whose problem we know.
fn emulate(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    match (args.file(), &args.problem.shape) {
        (Some(path), None) => foreign::run(args, path, out),
        (None, None) => Err(Failure::Said(committed::missing_shape(&args.what))),
        (path, Some(shape)) => committed::run(args, path, shape, out),
    }
}
