//! Every kernel on every backend of this machine, against the f64 oracle within its bound.
//!
//! `cargo test --release --test suite -- <filter>`; a test's name is
//! `<backend>::<kernel>::<shape>`. wgpu runs the kernels' committed text; so does the emulator, in
//! `emulate.rs`. `stand-in` runs on wgpu what needs an extension that is not there ([`stand_in`]).

use libtest_mimic::Arguments;
use quickpick::cpu::{Cpu, Path};
use quickpick::kernels::{KernelSpec, Target};
use quickpick::wgpu::{ADAPTER_VARIABLE, api::Limits, choose};
use quickpick::{Backend, Result, Wgpu};
use quickpick_tests::{parts, skip, stand_in, trials::on};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for path in Path::ALL {
        match Cpu::with_path(path) {
            Ok(cpu) => {
                let name = format!("cpu-{path}").to_lowercase();
                trials.extend(on(&name, Arc::new(cpu), |spec| spec.target == Target::Cpu));
            }
            Err(why) => eprintln!("skipped: {why}"),
        }
    }
    match wgpus() {
        Ok([wgpu, parted]) => {
            eprintln!("wgpu: {}", wgpu.describe());
            let runs = |spec: &KernelSpec| spec.target.is_wgsl();
            trials.extend(parts::trials(&wgpu, &parted));
            trials.extend(on("wgpu", wgpu, runs));
        }
        Err(why) => skip("wgpu", why),
    }
    trials.extend(stand_in::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A device, and one that binds so little at a time that plans are cut.
fn wgpus() -> Result<[Arc<Wgpu>; 2]> {
    let wanted = std::env::var(ADAPTER_VARIABLE).ok();
    let adapter = choose(wanted.as_deref(), true)?;
    let limits = Limits { max_storage_buffer_binding_size: parts::LIMIT, ..adapter.limits() };
    Ok([Arc::new(adapter.open()?), Arc::new(adapter.open_within(limits)?)])
}
