//! What a child does with the driver that it finds. It tells its stages and errors on stderr, among the
//! lines of the fake driver.

use crate::{fake, recorded};
use quickpick::kernels::{DType, Epilogue, KERNELS, Linear, OpKind, Plan, Problem};
use quickpick::{Backend, Cuda, Error, Result, Slice};
use std::process::ExitCode;

/// Runs a scenario: 0 if all went well, [`fake::ERRORS`] after errors.
pub fn main(scenario: &str) -> ExitCode {
    stage("open");
    if let Err(why) = only_the_fake() {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    let outcome = match scenario {
        "ordinary" => ordinary(false),
        "stubborn" => ordinary(true),
        "devices" => devices(),
        "embedder" => recorded::embedder(),
        "decoder" => recorded::decoder(),
        "threads" => recorded::threads(),
        "huge" => huge(),
        other => panic!("there is no scenario {other}"),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tell(&why);
            ExitCode::from(fake::ERRORS)
        }
    }
}

pub fn stage(name: &str) {
    eprintln!("stage {name}");
}

fn tell(error: &Error) {
    eprintln!("error<{error}>error");
}

/// Whether each driver that is loaded lies in the folder of the fake. A real one is opened here at worst,
/// and asked for its version.
fn only_the_fake() -> std::result::Result<(), String> {
    let _ = quickpick::cuda::probe();
    let folder = std::env::var(fake::FOLDER).map_err(|why| why.to_string())?;
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|why| why.to_string())?;
    let foreign = maps.lines().find(|l| l.contains("libcuda.so") && !l.contains(&folder));
    foreign.map_or(Ok(()), |line| Err(format!("a driver that is no fake: {line}")))
}

/// A plan that this device serves and that is as wanted.
pub fn plan(cuda: &Cuda, wanted: impl Fn(&Plan) -> bool) -> Plan {
    let mut plans = KERNELS.iter().filter(|spec| spec.target.is_ptx()).filter_map(|spec| {
        let OpKind::Linear(weights) = spec.op else { return None };
        let (dtype, out) = (spec.dtype, Linear::narrow_out(spec.dtype));
        let p = Linear { m: 256, n: 128, k: 128, weights, dtype, out, epilogue: Epilogue::NONE };
        spec.plan(&Problem::Linear(p), cuda.caps()).ok().filter(|_| dtype == DType::F16)
    });
    plans.find(wanted).expect("the table has such a row")
}

/// Asks for shared memory.
pub fn is_tiled(plan: &Plan) -> bool {
    plan.maps.is_empty() && plan.shared_bytes > 48 << 10
}

/// Has tensor maps.
pub fn is_hoppers(plan: &Plan) -> bool {
    !plan.maps.is_empty()
}

/// A step on memory of its own.
pub fn step(cuda: &Cuda, plan: &Plan) -> Result<<Cuda as Backend>::Step> {
    let operands = plan.bindings.iter().map(|binding| {
        let memory = binding.is_present().then(|| cuda.buffer(binding.bytes));
        Ok(memory.transpose()?.map(Slice::from))
    });
    cuda.step(plan, &operands.collect::<Result<Vec<_>>>()?)
}

/// Open, upload, compile and bind, record, run, read. A stubborn caller goes on after a failure to run or read.
fn ordinary(stubborn: bool) -> Result<()> {
    let cuda = Cuda::open()?;
    let sent: Vec<u8> = (0..=255).collect();
    stage("upload");
    let buffer = cuda.upload(&sent)?;
    stage("step");
    let tiled = plan(&cuda, is_tiled);
    let steps = [step(&cuda, &tiled)?, step(&cuda, &plan(&cuda, is_hoppers))?];
    stage("record");
    let recorded = cuda.record(&steps)?;
    stage("run");
    let run = cuda.run(&steps).and_then(|()| cuda.run(recorded.as_slice()));
    stage("read");
    let read = run.and_then(|()| cuda.read(&buffer, 0, 256));
    if let (true, Err(_)) = (stubborn, &read) {
        let other = plan(&cuda, |p| p.maps.is_empty() && p.spec != tiled.spec);
        let attempts = [
            cuda.buffer(64).err(),
            cuda.write(&buffer, 0, &sent).err(),
            cuda.kernel(&other).err(),
            cuda.run(&steps).err(),
            cuda.read(&buffer, 0, 256).err(),
        ];
        // the first is told last, by `main`: in order, then
        let first = read.err();
        first.iter().chain(attempts.iter().flatten()).for_each(tell);
        stage("drop");
        drop((steps, recorded, buffer, cuda));
        std::process::exit(i32::from(fake::ERRORS));
    }
    assert_eq!(read?, sent, "what was uploaded comes back");
    stage("drop");
    Ok(())
}

fn devices() -> Result<()> {
    let found = quickpick::cuda::devices()?;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(name, caps)| name == "Fake GPU" && caps.sm == 90), "{found:?}");
    Ok(())
}

/// Asks for more than the device has.
fn huge() -> Result<()> {
    let cuda = Cuda::open()?;
    stage("upload");
    let small = cuda.buffer(16)?;
    let huge = cuda.buffer(64 << 30)?;
    assert!(cuda.len(&small) < cuda.len(&huge));
    Ok(())
}
