//! Every kernel on every backend of this machine, against the f64 oracle within its bound.
//!
//! `cargo test --release --test suite -- <filter>`; a test's name is
//! `<backend>::<kernel>::<shape>`. CUDA, wgpu and the emulator run the kernels' committed text.

use libtest_mimic::{Arguments, Failed, Trial};
use quickpick::cpu::{Cpu, Path};
use quickpick::kernels::{KERNELS, KernelSpec, Target};
use quickpick::{Backend, Wgpu};
use quickpick_tests::{check, shapes, skip};
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
    match Wgpu::open() {
        Ok(wgpu) => {
            eprintln!("wgpu: {}", wgpu.describe());
            let runs =
                |spec: &KernelSpec| matches!(spec.target, Target::WgslF16 | Target::WgslPortable);
            trials.extend(on("wgpu", Arc::new(wgpu), runs));
        }
        Err(why) => skip("wgpu", why),
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The trials of one backend: one for each kernel and shape. A kernel that needs a feature which the
/// device lacks is listed as ignored.
fn on<B: Backend + Send + Sync + 'static>(
    name: &str,
    backend: Arc<B>,
    runs: impl Fn(&KernelSpec) -> bool,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for spec in KERNELS.iter().filter(|spec| runs(spec)) {
        let lacks = lacks(spec, &*backend);
        if let Some(why) = &lacks {
            eprintln!("skipped: {name}: {spec}: {why}");
        }
        for (shape, makes) in shapes::cases(spec) {
            let backend = backend.clone();
            let test = move || {
                for make in makes {
                    let case = make();
                    check(&*backend, spec, &case)
                        .map_err(|e| Failed::from(format!("{}: {e}", case.problem)))?;
                }
                Ok(())
            };
            let trial = Trial::test(format!("{name}::{spec}::{shape}"), test);
            trials.push(trial.with_ignored_flag(lacks.is_some()));
        }
    }
    trials
}

/// The optional feature that a kernel needs and the device lacks.
fn lacks<B: Backend>(spec: &'static KernelSpec, backend: &B) -> Option<String> {
    use quickpick::kernels::Unsupported;
    let (_, makes) = shapes::cases(spec).into_iter().next()?;
    let problem = makes.first()?().problem;
    match spec.plan(&problem, backend.caps()) {
        Err(why @ Unsupported::Feature(_)) => Some(why.to_string()),
        _ => None,
    }
}
