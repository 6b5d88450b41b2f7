//! Every committed PTX kernel with one barrier, wait, fence, commit, arrival or guard less: the emulator
//! objects to each, or `ARGUED` says why nobody can.

use libtest_mimic::{Arguments, Failed, Trial};
use quickpick::kernels::KernelSpec;
use quickpick_tests::mutants::{ARGUED, Argued, Verdict, judge, kernels};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut trials: Vec<_> =
        kernels().map(|spec| Trial::test(spec.to_string(), move || all_die(spec))).collect();
    trials.push(Trial::test("arguments_are_about_kernels", about_kernels));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// No mutant survives that is not argued for, and every argument is needed as often as it says.
fn all_die(spec: &'static KernelSpec) -> Result<(), Failed> {
    let judged = judge(spec)?;
    let mut wrong = Vec::new();
    for mutant in judged.iter().filter(|m| matches!(m.verdict, Verdict::Survived(_))) {
        if Argued::of(mutant).is_none() {
            wrong.push(mutant.to_string());
        }
    }
    for argument in ARGUED.iter().filter(|a| a.is_about(spec)) {
        let found = judged.iter().filter(|m| argument.fits(m)).count();
        if found != argument.each {
            let Argued { text, kind, each, .. } = argument;
            wrong.push(format!("argued: {each} survivors `{text}` {kind}; there are {found}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn about_kernels() -> Result<(), Failed> {
    match ARGUED.iter().find(|a| !kernels().any(|spec| a.is_about(spec))) {
        Some(argument) => Err(format!("no kernel is called `{}`", argument.kernel).into()),
        None => Ok(()),
    }
}
