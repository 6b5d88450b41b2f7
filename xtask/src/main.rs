//! Project tasks: `cargo xtask <task>`.
#![forbid(unsafe_code)]

mod bundle;
mod counts;
mod decode;
mod error;
mod gen_kernels;
mod ladder;
mod marks;
mod on_paper;
mod page;
mod programs;
mod record;
mod run;
mod sass;
mod streams;
mod study;
mod tools;
mod tuned;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Quickpick's tasks", disable_version_flag = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write ptx/, shaders/ and their tables from the kernel rows
    GenKernels {
        /// Change nothing; fail, with a diff, if a file is not what the generator writes
        #[arg(long)]
        check: bool,
        /// Only kernels whose name contains this
        #[arg(long, value_name = "PATTERN")]
        only: Option<String>,
    },
    /// Run every rung of the test ladder that this machine has
    Test {
        /// Rungs that must run, `1,2,…` or `all`: a skipped one fails
        #[arg(long, value_name = "RUNGS", default_value = "")]
        require: String,
    },
    /// Train a tiny transformer, find its 2:4 ticket, run it on this machine's backend
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of `quickpick demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run a PTX kernel without a GPU: its result against the oracle, its counts, each instruction
    #[command(disable_help_flag = true)]
    Emulate {
        /// Arguments of the emulator's program (`--help` lists them), or `--mutants`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Every kernel by every executor of this machine: the oracle, each CPU path, the emulator, wgpu's adapters, CUDA,
    /// Chromium; or what files say of other machines
    #[command(disable_help_flag = true)]
    Parity {
        /// Arguments of the program (`--help` lists them): `--html FILE`, `--json FILE`, `--merge FILE…`, `--only TEXT`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Drivers, adapters, limits, tools, and which kernel would be chosen for a shape and why
    #[command(disable_help_flag = true)]
    Doctor {
        /// Arguments of `quickpick doctor`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check every kernel here, time every shape beside its rivals, and record it below benches/record
    Bench {
        /// cpu, wgpu or cuda
        #[arg(long, default_value = "cpu")]
        backend: String,
        /// Arguments of the kit's stage `time`: `-- --only llama-3-8b --tokens 1,16 --seconds 60`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Find this device's fastest kernel for each shape, all that the generator can write among them, each
    /// checked first; `cargo xtask record` then writes the table that selection asks
    Tune {
        /// wgpu or cuda
        #[arg(long)]
        backend: String,
        /// One layer at few tokens
        #[arg(long)]
        quick: bool,
        /// Arguments of the kit's stage `tune`: `-- --only llama-3-8b --tokens 1,16 --seconds 60`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Decode with whole decoders, 2:4 beside its dense twin, and record tokens per second and where they go
    Decode {
        /// cpu, wgpu or cuda
        #[arg(long, default_value = "cpu")]
        backend: String,
        /// Arguments of the kit's stage `decode`: `-- --only demo --tokens 32`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Prune SmolLM2-135M and MiniLM by every method, and write the README's tables (an hour; goes on after a kill)
    Study {
        /// Only this one: smollm2 or minilm
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// Arguments of `quickpick compare` besides: `-- --seeds 1,2`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Write the README's tables of figures, and the table of the fastest kernels, from the newest records
    Record {
        /// Change nothing; fail if a file is not what the records say
        #[arg(long)]
        check: bool,
    },
    /// Write the browser's page with a model: a folder for any static server
    Page {
        /// The folder
        #[arg(long, default_value = "target/page")]
        out: PathBuf,
        /// A 2:4 model of the demo's; if not given, the ticket of its latest run below target/demo
        #[arg(long, value_name = "FILE")]
        ticket: Option<PathBuf>,
    },
    /// Build the GPU kit: one folder that proves, records, tunes and times on a GPU host
    Bundle {
        /// The folder
        #[arg(long, default_value = "target/quickpick-kit")]
        out: PathBuf,
    },
    /// Assemble every PTX kernel and print what its main loop is made of
    Sass {
        /// Only kernels whose name contains this
        #[arg(long, value_name = "PATTERN")]
        only: Option<String>,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::GenKernels { check, only } => gen_kernels::run(&root(), check, only.as_deref()),
        Task::Test { require } => ladder::run(&root(), &require),
        Task::Demo { args } => run::quickpick(&root(), "demo", &args),
        Task::Emulate { args } => programs::emulate(&root(), &args),
        Task::Parity { args } => programs::parity(&root(), &args),
        Task::Doctor { args } => run::quickpick(&root(), "doctor", &args),
        Task::Bench { backend, args } => run::bench(&root(), &backend, &args),
        Task::Tune { backend, quick, args } => run::tune(&root(), &backend, quick, &args),
        Task::Decode { backend, args } => run::decode(&root(), &backend, &args),
        Task::Study { only, args } => study::run(&root(), only.as_deref(), &args),
        Task::Record { check } => record::run(&root(), check),
        Task::Page { out, ticket } => page::run(&root(), &out, ticket.as_deref()),
        Task::Bundle { out } => bundle::run(&root(), &out),
        Task::Sass { only } => tools::nvidia(&root()).and_then(|(new, old, disassembler)| {
            sass::run(&root(), &new, &old, &disassembler, only.as_deref()).map(drop)
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: the parent of this crate.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
