//! One trial for each kernel and shape: the same for every backend.

use crate::{check, shapes};
use libtest_mimic::{Failed, Trial};
use quickpick::Backend;
use quickpick::kernels::{KERNELS, KernelSpec, Unsupported};
use std::sync::Arc;

/// The trials of one backend: one for each kernel and shape for which `runs` holds, shapes by number. A kernel that needs a feature which the
/// device lacks is listed as ignored.
pub fn on<B: Backend + Send + Sync + 'static>(
    name: &str,
    backend: Arc<B>,
    runs: impl Fn(&KernelSpec, usize) -> bool,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for spec in KERNELS {
        let cases = shapes::cases(spec).into_iter().enumerate();
        let cases: Vec<_> = cases.filter(|(number, _)| runs(spec, *number)).collect();
        let lacks = if cases.is_empty() { None } else { lacks(spec, &*backend) };
        if let Some(why) = &lacks {
            eprintln!("skipped: {name}: {spec}: {why}");
        }
        for (_, (shape, makes)) in cases {
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
    let (_, makes) = shapes::cases(spec).into_iter().next()?;
    let problem = makes.first()?().problem;
    match spec.plan(&problem, backend.caps()) {
        Err(why @ Unsupported::Feature(_)) => Some(why.to_string()),
        _ => None,
    }
}
