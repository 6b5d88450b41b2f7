//! The emulator's rung: every PTX kernel against the f64 oracle within its bound (the committed text,
//! the cases of `suite.rs`), and kernels that nvcc made of CUDA C++; asynchronous work, warps and
//! blocks as early, as late and as random as they may be.

use libtest_mimic::{Arguments, Failed, Trial};
use quickpick::kernels::{Form, KERNELS, KernelSpec};
use quickpick_emulator::{self as emulator, Global, Launch, Options, Program, Schedule};
use quickpick_tests::foreign::{Arg, Foreign, launches};
use quickpick_tests::nvcc::{NoPtx, compile};
use quickpick_tests::trials::{Cases, of};
use quickpick_tests::{emulated::Emulated, shapes, skip, twin::twin};
use std::process::ExitCode;
use std::sync::Arc;

const SCHEDULES: [(&str, Schedule); 5] = [
    ("early", Schedule::Early),
    ("late", Schedule::Late),
    ("random-1", Schedule::Random(1)),
    ("random-2", Schedule::Random(2)),
    ("random-3", Schedule::Random(3)),
];

/// Of a kernel of tiles, which take long, each case runs as early and as late as can be, and in one of so many
/// random orders.
const RANDOM: usize = SCHEDULES.len() - 2;
/// A twin, which is another kernel but for its type, runs every so many-th case.
const OF_A_TWIN: usize = 8;

/// What a kernel runs under a schedule: everything; of tiles a part of the cases under each random one; of a
/// kernel for warpgroups fewer cases, and of the two or three inputs of each one fewer, by turns.
fn cases(spec: &KernelSpec, schedule: usize) -> Cases {
    let every = if twin(spec).is_some() { OF_A_TWIN } else { 1 };
    let mut cases = Vec::from_iter(shapes::cases(spec).into_iter().step_by(every));
    if matches!(spec.form, Form::Wgmma(_)) {
        for (number, (_, inputs)) in cases.iter_mut().enumerate() {
            if let Some(last) = inputs.len().checked_sub(1).filter(|last| *last > 0) {
                drop(inputs.remove(last - number % 2));
            }
        }
    }
    let takes_long = matches!(spec.form, Form::Tiled { .. } | Form::Wgmma(_));
    let runs = |number: usize| !takes_long || schedule < 2 || number % RANDOM == schedule - 2;
    cases.into_iter().enumerate().filter(|(i, _)| runs(*i)).map(|(_, case)| case).collect()
}

/// A kernel for each device that is emulated.
fn devices() -> impl Iterator<Item = &'static KernelSpec> {
    let kind = |spec: &KernelSpec| (spec.least_sm(), spec.cluster());
    let first = move |i: usize| !KERNELS[..i].iter().any(|other| kind(other) == kind(&KERNELS[i]));
    (0..KERNELS.len()).filter(move |&i| KERNELS[i].target.is_ptx() && first(i)).map(|i| &KERNELS[i])
}

fn main() -> ExitCode {
    let mut trials = foreign();
    for (i, (name, schedule)) in SCHEDULES.into_iter().enumerate() {
        for device in devices() {
            let emulated = Arc::new(Emulated::least(device, schedule));
            let like = |spec: &KernelSpec| {
                (spec.least_sm(), spec.cluster()) == (device.least_sm(), device.cluster())
            };
            trials.extend(of(
                name,
                emulated,
                |spec| if like(spec) { cases(spec, i) } else { vec![] },
            ));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One trial for each launch of a kernel that nobody here wrote.
fn foreign() -> Vec<Trial> {
    let trial = |launch: Foreign| {
        let ptx = match compile(&launch.source(), launch.arch) {
            Ok(ptx) => Ok(ptx),
            Err(NoPtx::Refused(why)) => Err(why),
            Err(NoPtx::Absent(why)) => {
                skip("emulator", format!("CUDA C++: {why}"));
                return None;
            }
        };
        let name = format!("nvcc::{}::{:?}", launch.name, launch.grid);
        let run = move || {
            let text = ptx.map_err(Failed::from)?;
            for (name, schedule) in SCHEDULES {
                run(&launch, &text, schedule).map_err(|why| format!("{name}: {why}"))?;
            }
            Ok(())
        };
        Some(Trial::test(name, run))
    };
    launches().into_iter().filter_map(trial).collect()
}

fn run(foreign: &Foreign, text: &str, schedule: Schedule) -> Result<(), String> {
    let program = Program::parse(text).map_err(|e| e.to_string())?;
    let mut memory = Global::default();
    let mut outs = Vec::new();
    let args = foreign.args.iter().map(|arg| match arg {
        Arg::In(bytes) => emulator::Arg::U64(memory.put("in", bytes, true)),
        Arg::Out { before, expected } => {
            let at = match before {
                Some(bytes) => memory.put("out", bytes, false),
                None => memory.poisoned("out", expected.len()),
            };
            outs.push((at, expected));
            emulator::Arg::U64(at)
        }
        Arg::U32(value) => emulator::Arg::U32(*value),
        Arg::F32(value) => emulator::Arg::U32(value.to_bits()),
    });
    let args = args.collect();
    let launch = Launch { block: foreign.block, ..Launch::new(foreign.grid, 0, args) };
    let options = Options { schedule, ..Options::default() };
    program.run_with(&launch, &mut memory, &options).map_err(|trap| trap.to_string())?;
    for (at, expected) in outs {
        let (bytes, written) = memory.get(at).ok_or("a buffer is gone")?;
        if let Some(gap) = written.iter().position(|w| !w) {
            return Err(format!("byte {gap} of an output is unwritten"));
        }
        expected.judge(bytes)?;
    }
    Ok(())
}
