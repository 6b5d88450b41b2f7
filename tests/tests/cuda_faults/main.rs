//! The CUDA backend meets a driver that fails, at every call that it makes: each fault is an error with
//! its words, none a panic, and what was made until then is released. The driver is a fake
//! (tests/cuda/fake), so no GPU is needed, and none is touched.
//!
//! A process loads one driver, once: each case is this program again, as [`child`].

mod child;
mod fake;
mod recorded;

use fake::{Fake, Run};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

type Outcome = Result<(), Failed>;
type Case = fn(&Fake) -> Outcome;

const UNKNOWN: &str = "CUDA_ERROR_UNKNOWN: unknown error";

const CASES: &[(&str, Case)] = &[
    ("a_whole_driver_serves_the_whole_path", whole),
    ("no_driver", no_driver),
    ("every_missing_symbol_is_named", missing_symbols),
    ("the_library_that_is_asked_is_the_one_that_is_used", two_libraries),
    ("every_fault_of_the_ordinary_path_is_an_error", |fake| sweep(fake, "ordinary", "")),
    ("every_fault_of_the_list_of_devices_is_an_error", |fake| sweep(fake, "devices", "devices=2")),
    ("no_device", no_device),
    ("an_old_device", old_device),
    ("an_old_driver", old_driver),
    ("out_of_memory", out_of_memory),
    ("a_refused_kernel_shows_the_log", refused_kernel),
    ("a_failed_launch", failed_launch),
    ("a_lost_context", lost_context),
    ("what_an_embedder_captures_is_what_would_have_run", recorded::captured),
    ("a_decode_step_is_one_launch_of_a_graph", recorded::one_launch_each),
    ("two_decoders_do_not_disturb_each_other", recorded::undisturbed),
];

fn main() -> ExitCode {
    if let Ok(scenario) = std::env::var(fake::SCENARIO) {
        return child::main(&scenario);
    }
    let trials = match Fake::build() {
        Ok(fake) => {
            let fake = Arc::new(fake);
            let trial = |(name, case): &(&str, Case)| {
                let (fake, case) = (fake.clone(), *case);
                Trial::test(*name, move || case(&fake))
            };
            CASES.iter().map(trial).collect()
        }
        Err(fake::NoFake::Absent(why)) => {
            quickpick_tests::skip("unit", format!("cuda_faults: {why}"));
            vec![]
        }
        Err(fake::NoFake::Refused(why)) => panic!("{why}"),
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Fails with what a run said, unless a condition holds.
fn expect(condition: bool, what: &str, run: &Run) -> Outcome {
    if condition { Ok(()) } else { Err(format!("{what}\n{run}").into()) }
}

/// The run ended with one error that has all these words.
fn says(run: &Run, words: &[&str]) -> Outcome {
    let [error] = run.errors() else {
        return Err(format!("not one error\n{run}").into());
    };
    words.iter().try_for_each(|w| expect(error.contains(w), &format!("no {w:?} in it"), run))
}

fn whole(fake: &Fake) -> Outcome {
    let run = fake.run("ordinary", "")?;
    expect(run.errors().is_empty(), "an error without a fault", &run)?;
    balanced(&run)?;
    // what the fake exports and no call reaches would be a fault that nothing tests
    let mut called: BTreeSet<_> = run.calls().map(|call| call.function.to_string()).collect();
    let oom = fake.run("ordinary", "cuMemAlloc_v2:1:2")?;
    called.extend(oom.calls().map(|call| call.function.to_string()));
    expect(called == fake.exports(), &format!("{called:?} is not what is exported"), &run)
}

fn no_driver(fake: &Fake) -> Outcome {
    for scenario in ["ordinary", "devices"] {
        let run = fake.without_library()?.run(scenario, "")?;
        says(&run, &["cuda is not available: no NVIDIA driver: none of libcuda.so"])?;
        expect(run.calls().count() == 0, "a driver was called", &run)?;
    }
    Ok(())
}

fn missing_symbols(fake: &Fake) -> Outcome {
    for symbol in fake.exports() {
        let run = fake.lacking(&symbol)?.run("ordinary", "")?;
        says(&run, &["cuda is not available: ", &format!("driver lacks {symbol}; it is too old")])?;
    }
    Ok(())
}

/// A toolkit's libcuda.so beside the driver's libcuda.so.1: cudarc takes the former.
fn two_libraries(fake: &Fake) -> Outcome {
    let run = fake.with_stub("cuLaunchKernel")?.run("ordinary", "")?;
    says(&run, &["cuda is not available: ", "lacks cuLaunchKernel"])
}

/// Each call of a scenario fails, once or with all that follow: one error that says so, and what was made
/// is released; or silence where a destructor called.
fn sweep(fake: &Fake, scenario: &str, plan: &str) -> Outcome {
    let whole = fake.run(scenario, plan)?;
    expect(whole.errors().is_empty(), "an error without a fault", &whole)?;
    let mut uses = BTreeMap::new();
    let mut calls = whole.calls().peekable();
    while let Some(call) = calls.next() {
        let nth = uses.entry(call.function).and_modify(|n| *n += 1).or_insert(1);
        let fault = format!("{plan} {}:{nth}:999", call.function);
        let (run, lost) = (fake.run(scenario, &fault)?, fake.run(scenario, &(fault + ":lost"))?);
        // a device of the list is closed before the next is opened
        let release = |function| function == "cuDevicePrimaryCtxRelease_v2";
        let closes = release(call.function) || calls.peek().is_some_and(|c| release(c.function));
        if call.stage == "drop" || closes {
            expect(run.errors().is_empty(), "a destructor's fault was told", &run)?;
            continue;
        }
        for run in [&run, &lost] {
            // `cuDriverGetVersion` is asked before the driver can be asked for words
            let word = if call.function == "cuDriverGetVersion" { "CUresult 999" } else { UNKNOWN };
            says(run, &["cuda", word])?;
            let doing: &[&str] = match call.stage {
                "open" => &["cuda is not available", "asking for the device's attributes"],
                "upload" => &["allocating 256 bytes", "writing 256 bytes"],
                "step" => &["allocating ", "compiling spmm24_", "encoding "],
                "record" => &["recording spmm24_", "recording 2 launches"],
                "run" => &["launching spmm24_", "launching a graph of 2 launches"],
                _ => &["reading 256 bytes"],
            };
            expect(doing.iter().any(|w| run.errors()[0].contains(w)), "doing what?", run)?;
        }
        balanced(&run)?;
    }
    Ok(())
}

/// Whatever was made was released, in an order that the driver allows.
fn balanced(run: &Run) -> Outcome {
    expect(!run.misused(), "a misuse of the driver", run)?;
    let count = |name| run.calls().filter(|c| c.function == name && c.answer == 0).count();
    for (make, release) in [
        ("cuMemAlloc_v2", "cuMemFree_v2"),
        ("cuModuleLoadDataEx", "cuModuleUnload"),
        ("cuStreamCreate", "cuStreamDestroy_v2"),
        ("cuGraphCreate", "cuGraphDestroy"),
        ("cuGraphInstantiateWithFlags", "cuGraphExecDestroy"),
    ] {
        // a capture makes a graph, too
        let captured = if make == "cuGraphCreate" { count("cuStreamEndCapture") } else { 0 };
        let (made, released) = (count(make) + captured, count(release));
        expect(made == released, &format!("{make} {made} times, {release} {released}"), run)?;
    }
    Ok(())
}

fn no_device(fake: &Fake) -> Outcome {
    let none = "cuda is not available: the NVIDIA driver finds no device";
    says(&fake.run("ordinary", "devices=0")?, &[none])?;
    // what cuInit really says on such a machine
    let words = "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected";
    says(&fake.run("ordinary", "cuInit:1:100")?, &["cuda is not available: ", words])?;
    let stub = "cuda is not available: the libcuda that is found is a toolkit's stub, no driver";
    says(&fake.run("ordinary", "cuDriverGetVersion:1:34")?, &[stub])
}

fn old_device(fake: &Fake) -> Outcome {
    let words = ["Fake GPU has compute capability 7.5, and 8.0 is the least"];
    says(&fake.run("ordinary", "capability=75")?, &words)
}

fn old_driver(fake: &Fake) -> Outcome {
    let words = ["the NVIDIA driver serves CUDA 12.2, and 12.5 is needed: please update"];
    says(&fake.run("ordinary", "driver=12020")?, &words)?;
    let words = ["compiling ", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled"];
    says(&fake.run("ordinary", "cuModuleLoadDataEx:1:222 log=none")?, &words)
}

fn out_of_memory(fake: &Fake) -> Outcome {
    let room = "(268435456 of 1073741824 bytes are free): CUDA_ERROR_OUT_OF_MEMORY: out of memory";
    let run = fake.run("huge", "")?;
    says(&run, &["cuda: allocating 68719476736 bytes ", room])?;
    balanced(&run)?;
    // the driver that cannot tell what is free has still said what is wrong
    let run = fake.run("huge", "cuMemGetInfo_v2:1:999")?;
    says(&run, &["cuda: allocating 68719476736 bytes: CUDA_ERROR_OUT_OF_MEMORY"])
}

fn refused_kernel(fake: &Fake) -> Outcome {
    let words = "CUDA_ERROR_INVALID_PTX: a PTX JIT compilation failed";
    let log =
        "line 7; error   : Unknown modifier '.frobnicate'\nptxas fatal   : Ptx assembly aborted";
    let run = fake.run("ordinary", "cuModuleLoadDataEx:1:218")?;
    says(&run, &["cuda: compiling ", words, log])?;
    balanced(&run)?;
    let run = fake.run("ordinary", "cuModuleLoadDataEx:1:218 log=none")?;
    says(&run, &["cuda: compiling ", words])?;
    expect(run.errors()[0].ends_with("failed"), "more than the words", &run)?;
    // a log that fills its buffer has no zero at its end
    let run = fake.run("ordinary", "cuModuleLoadDataEx:2:218 log=full")?;
    says(&run, &["cuda: compiling ", words, &"x".repeat(16 << 10)])?;
    let run = fake.run("ordinary", "cuModuleGetFunction:1:500")?;
    says(&run, &["cuda: compiling ", "CUDA_ERROR_NOT_FOUND: unknown to the driver"])?;
    balanced(&run)
}

fn failed_launch(fake: &Fake) -> Outcome {
    let run = fake.run("ordinary", "cuLaunchKernel:1:701")?;
    says(&run, &["cuda: launching ", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"])?;
    expect(!run.errors()[0].contains("anew"), "no context was lost", &run)?;
    balanced(&run)
}

/// A kernel's fault shows at the launch, or at the next wait; then every call says the same, and what is
/// dropped is silent.
fn lost_context(fake: &Fake) -> Outcome {
    let waits = fake.run("ordinary", "")?;
    let before_read = waits.calls().take_while(|c| c.stage != "read" && c.stage != "drop");
    let wait = 1 + before_read.filter(|c| c.function == "cuStreamSynchronize").count();
    for (fault, words) in [
        ("cuLaunchKernel:1:700:lost".to_string(), "cuda: launching "),
        (format!("cuStreamSynchronize:{wait}:700:lost"), "cuda: reading 256 bytes: "),
    ] {
        let run = fake.run("stubborn", &fault)?;
        let errors = run.errors();
        expect(errors.len() == 6, "the first, and one for each of five attempts", &run)?;
        expect(errors[0].contains(words), words, &run)?;
        let cause = "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered; work \
                     enqueued before may have caused it, and CUDA fails until the process is started anew";
        expect(errors.iter().all(|e| e.ends_with(cause)), cause, &run)?;
    }
    Ok(())
}
