//! `kit STAGE`: the stages of a record, one command each. `cargo xtask bench` runs it here, `run.sh` on
//! a GPU host. Exit status: 0 done; 1 failed; 77 the machine lacks what the stage needs.
#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand};
use quickpick::{Backend, Device, Kind};
use quickpick_benches::contender::Method;
use quickpick_benches::peer::Shared;
use quickpick_benches::record::Record;
use quickpick_benches::stage::{Options, correct, decode, once, time, tune, vectors};
use quickpick_benches::{Error, Result, machine};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What a shell takes for "skipped" (the Automake manual, "Scripts-based Testsuites").
const SKIPPED: u8 = 77;
/// A stage that loses its device more often is broken throughout.
const MOST_LOST: u32 = 8;

/// Prove, record, time and tune every kernel on this machine.
#[derive(Parser)]
#[command(name = "kit", version)]
struct Kit {
    #[command(subcommand)]
    stage: Stage,
    /// Folder of the record. Default: one named by date, revision and machine
    #[arg(long, global = true)]
    record: Option<PathBuf>,
    /// Where that default is
    #[arg(long, global = true, default_value = "record")]
    records: PathBuf,
    /// The git revision of this program, for the record
    #[arg(long, global = true, default_value = "unknown")]
    revision: String,
    /// How often this stage has lost its device, each time to a process like this one
    #[arg(long, global = true, default_value_t = 0, hide = true)]
    lost: u32,
    /// The seconds that those processes have used up
    #[arg(long, global = true, default_value_t = 0, hide = true)]
    spent: u64,
}

#[derive(Subcommand)]
enum Stage {
    /// Prints the folder of the record
    Where,
    /// What this machine is: GPU, driver, clocks, power, adapters
    Doctor,
    /// Every kernel against the f64 oracle: ragged shapes, all data, epilogues and output types
    Correct {
        /// cpu, wgpu or cuda
        #[arg(long)]
        backend: Kind,
        /// Only kernels whose name contains this
        #[arg(long)]
        only: Option<String>,
        /// Kernels that are tried at once, each in a process. Default: half the host's threads, 8 at most;
        /// 1 on the cpu
        #[arg(long)]
        jobs: Option<usize>,
        /// One kernel in this process, the verdict on a line: what the stage runs for each
        #[arg(long, hide = true)]
        kernel: Option<String>,
    },
    /// What the hardware says of each form of matrix multiply: lane maps, metadata
    Record {
        /// cuda
        #[arg(long)]
        backend: Kind,
        /// One form in this process: what the stage runs for each
        #[arg(long, hide = true)]
        form: Option<String>,
    },
    /// Every shape: ours, the dense twin, and the peers that this machine has, in turn
    Time(Timing),
    /// The peers alone, also on types that we have no kernels for
    Peers(Timing),
    /// Which kernel is fastest for each shape, candidates of the generator among them
    Tune(Timing),
    /// Whole decoders, token by token: 2:4 beside its dense twin, and where a token's time goes
    Decode {
        /// cpu, wgpu or cuda
        #[arg(long)]
        backend: Kind,
        /// Only models whose name contains this: demo, medium, llama-3-8b
        #[arg(long)]
        only: Option<String>,
        /// Tokens before the first that is timed
        #[arg(long, default_value_t = 128)]
        prompt: usize,
        /// Tokens of a sequence that are timed
        #[arg(long, default_value_t = 128)]
        tokens: usize,
        /// Samples of each
        #[arg(long, default_value_t = 9)]
        rounds: u32,
        /// Begin no model after so many seconds
        #[arg(long, default_value_t = 300)]
        seconds: u64,
    },
    /// One kernel on one shape, for a profiler or a sanitizer around it
    Once {
        /// cpu, wgpu or cuda
        #[arg(long)]
        backend: Kind,
        /// Its name; default: the one that is chosen for the shape
        #[arg(long)]
        kernel: Option<String>,
        /// m,n,k
        #[arg(long, default_value = "4096,4096,4096")]
        shape: once::Size,
    },
}

#[derive(Args)]
struct Timing {
    /// cpu, wgpu or cuda
    #[arg(long)]
    backend: Kind,
    /// Only layers whose label contains this: llama-3-8b, square, ragged/prime, …
    #[arg(long)]
    only: Option<String>,
    /// Only these numbers of tokens: 1,16,64
    #[arg(long, value_delimiter = ',')]
    tokens: Vec<u32>,
    /// Element types: f16, bf16, f32, s8; for peers e4m3 too
    #[arg(long, value_delimiter = ',', default_value = "f16")]
    dtypes: Vec<String>,
    /// Begin no shape that would not end within so many seconds
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Samples of each contender
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// A sample lasts about so many milliseconds
    #[arg(long, default_value_t = 4.0)]
    sample: f64,
    /// On the CPU: our kernels forced to narrower instruction sets, beside the best
    #[arg(long)]
    paths: bool,
    /// Inputs are copied until they hold so many MiB, and run in turn
    #[arg(long, default_value_t = 256)]
    rotate: u64,
    /// Keep what the record has already, failures too, as after a lost device
    #[arg(long)]
    resume: bool,
}

impl Timing {
    fn method(&self) -> Method {
        Method {
            rounds: self.rounds.max(1),
            sample: Duration::from_secs_f64(self.sample.clamp(0.0, 1e4) / 1e3),
            rotate_bytes: self.rotate << 20,
        }
    }

    fn options(&self, kit: &Kit) -> Options {
        Options {
            only: self.only.clone(),
            tokens: self.tokens.clone(),
            dtypes: self.dtypes.clone(),
            budget: Duration::from_secs(self.seconds.saturating_sub(kit.spent)),
            method: self.method(),
            paths: self.paths,
            again: kit.lost > 0 || self.resume,
        }
    }
}

fn main() -> ExitCode {
    let (kit, start) = (Kit::parse(), Instant::now());
    match run(&kit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why @ Error::Lost(_)) if kit.lost < MOST_LOST => {
            eprintln!("error: {why}; another process goes on");
            go_on(&kit, start)
        }
        Err(Error::Absent(why)) => {
            println!("skipped: {why}");
            ExitCode::from(SKIPPED)
        }
        Err(Error::Backend(why @ quickpick::Error::Unavailable { .. })) => {
            println!("skipped: {why}");
            ExitCode::from(SKIPPED)
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The work on whichever backend is asked for.
macro_rules! on {
    ($kind:expr, $backend:ident => $work:expr) => {
        match &quickpick::open($kind)?.device {
            Device::Cpu($backend) => $work,
            Device::Wgpu($backend) => $work,
            Device::Cuda($backend) => $work,
            other => Err(Error::Absent(format!("{} is not timed", other.name()))),
        }
    };
}

/// A device that is lost is lost to this process alone: another goes on behind what cost it.
fn go_on(kit: &Kit, start: Instant) -> ExitCode {
    let again =
        [("--lost", u64::from(kit.lost) + 1), ("--spent", kit.spent + start.elapsed().as_secs())];
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    // those of an earlier loss are the last two pairs
    args.truncate(args.len() - if kit.lost > 0 { 4 } else { 0 });
    let record = ["--record".into(), folder(kit).into_os_string()];
    args.extend(record.into_iter().filter(|_| kit.record.is_none()));
    let again = again.into_iter().flat_map(|(flag, value)| [flag.into(), value.to_string().into()]);
    args.extend(again);
    let status = std::env::current_exe().and_then(|exe| Command::new(exe).args(args).status());
    // what was lost is a failure, whatever came after it
    match status.map(|status| status.code()) {
        Ok(Some(0)) | Ok(None) | Err(_) => ExitCode::FAILURE,
        Ok(Some(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
    }
}

fn run(kit: &Kit) -> Result<()> {
    match &kit.stage {
        Stage::Where => {
            println!("{}", folder(kit).display());
            Ok(())
        }
        Stage::Doctor => doctor(&record(kit)?),
        Stage::Correct { backend, kernel: Some(kernel), .. } => {
            on!(*backend, b => correct::one(&**b, kernel))
        }
        Stage::Correct { backend, only, jobs, .. } => on!(*backend, b => {
            let jobs = jobs.unwrap_or_else(|| correct::usual_jobs(b.caps()));
            correct::run(&**b, only.as_deref(), jobs, &record(kit)?)
        }),
        Stage::Record { backend: Kind::Cuda, form: Some(form) } => {
            vectors::one(&Record::open(&folder(kit))?, &kit.revision, form)
        }
        Stage::Record { backend: Kind::Cuda, form: None } => {
            vectors::run(&record(kit)?, &kit.revision)
        }
        Stage::Record { backend, .. } => {
            Err(Error::Absent(format!("{backend} has no matrix multiplies to record")))
        }
        Stage::Time(t) => on!(t.backend, b => {
            let record = record(kit)?;
            let peers = peers(b.name(), &record).inspect_err(|why| println!("{why}")).ok();
            time::run(&**b, peers.as_ref(), true, &t.options(kit), &record, "time.csv")
        }),
        Stage::Peers(t) => on!(t.backend, b => {
            let record = record(kit)?;
            let peers = peers(b.name(), &record)?;
            time::run(&**b, Some(&peers), false, &t.options(kit), &record, "peers.csv")
        }),
        Stage::Tune(t) => {
            on!(t.backend, b => tune::run(&**b, &t.options(kit), &record(kit)?))
        }
        Stage::Decode { backend, only, prompt, tokens, rounds, seconds } => {
            let (prompt, tokens, rounds) = (*prompt, *tokens, (*rounds).max(1));
            let budget = Duration::from_secs(*seconds);
            let options = decode::Options { only: only.clone(), prompt, tokens, rounds, budget };
            on!(*backend, b => decode::run(&**b, &options, &record(kit)?))
        }
        Stage::Once { backend, kernel, shape } => {
            on!(*backend, b => once::run(&**b, kernel.as_deref(), *shape))
        }
    }
}

fn folder(kit: &Kit) -> PathBuf {
    let name = || format!("{}_{}_{}", machine::now("%Y-%m-%d"), kit.revision, machine::slug());
    kit.record.clone().unwrap_or_else(|| kit.records.join(name()))
}

/// The record's folder, with the facts of the machine in it.
fn record(kit: &Kit) -> Result<Record> {
    let folder = folder(kit);
    let record = Record::open(&folder)?;
    record.facts(machine::facts(&kit.revision))?;
    println!("record: {}", folder.display());
    Ok(record)
}

fn doctor(record: &Record) -> Result<()> {
    for (name, value) in record.known()? {
        println!("{name:28} {value}");
    }
    match quickpick::open(Kind::Cuda) {
        Ok(cuda) => {
            println!("{cuda}");
            record.facts([("cuda".to_string(), cuda.device.describe())])
        }
        Err(why) => {
            println!("{why}");
            Ok(())
        }
    }
}

/// The peers that go with a backend; their versions go to the record.
fn peers(backend: &str, record: &Record) -> Result<Shared> {
    let peers = match backend {
        "cpu" => Shared::start("cpu"),
        "cuda" => Shared::start("cuda"),
        _ => Err(Error::Absent(format!("no peers for {backend}"))),
    }?;
    let named = |(name, value)| (format!("peers.{backend}.{name}"), value);
    record.facts(peers.hello().into_iter().map(named))?;
    Ok(peers)
}
