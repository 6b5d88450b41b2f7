//! One trial for each kernel and shape: the same for every backend.

use crate::{check, shapes};
use libtest_mimic::{Failed, Trial};
use quickpick::Backend;
use quickpick::kernels::{KERNELS, KernelSpec, Unsupported};
use std::sync::Arc;

/// Cases by name.
pub type Cases = Vec<(String, Vec<shapes::Make>)>;

/// The trials of one backend: one for each kernel for which `runs` holds, and shape. A kernel that needs a
/// feature which the device lacks is listed as ignored.
pub fn on<B: Backend + Send + Sync + 'static>(
    name: &str,
    backend: Arc<B>,
    runs: impl Fn(&KernelSpec) -> bool,
) -> Vec<Trial> {
    of(name, backend, |spec| if runs(spec) { shapes::cases(spec) } else { vec![] })
}

/// The same of each kernel's cases that `cases` chooses.
pub fn of<B: Backend + Send + Sync + 'static>(
    name: &str,
    backend: Arc<B>,
    cases: impl Fn(&KernelSpec) -> Cases,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for spec in KERNELS {
        let cases = cases(spec);
        let lacks = if cases.is_empty() { None } else { lacks(spec, &*backend) };
        if let Some(why) = &lacks {
            eprintln!("skipped: {name}: {spec}: {why}");
        }
        for (shape, makes) in cases {
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
pub fn lacks<B: Backend>(spec: &'static KernelSpec, backend: &B) -> Option<String> {
    let (_, makes) = shapes::cases(spec).into_iter().next()?;
    let problem = makes.first()?().problem;
    match spec.plan(&problem, backend.caps()) {
        Err(why @ Unsupported::Feature(_)) => Some(why.to_string()),
        _ => None,
    }
}
