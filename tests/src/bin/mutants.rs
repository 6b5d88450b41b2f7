//! `mutants [--only PATTERN]`: what the emulator says to each kernel with one barrier, wait, fence or
//! guard less. Fails if a survivor has no argument.

use quickpick::kernels::KernelSpec;
use quickpick_tests::mutants::{ARGUED, Argued, Judged, Tally, Verdict, judge, kernels};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut only = String::new();
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--only", Some(pattern)) => only = pattern,
            _ => {
                eprintln!("usage: mutants [--only PATTERN]");
                return ExitCode::FAILURE;
            }
        }
    }
    let specs: Vec<_> = kernels().filter(|s| s.to_string().contains(&only)).collect();
    println!("{:44}{}", "kernel", Tally::header());
    let mut mutants = Vec::new();
    for (spec, judged) in in_parallel(&specs) {
        let judged = match judged {
            Ok(judged) => judged,
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        };
        println!("{:44}{}", spec.to_string(), Tally::of(&judged));
        mutants.extend(judged);
    }
    println!("{:44}{}\n\n{:44}{}", "all", Tally::of(&mutants), "mutation", Tally::header());
    let mut groups = BTreeMap::<String, Vec<&Judged>>::new();
    for mutant in &mutants {
        groups.entry(mutant.group()).or_default().push(mutant);
    }
    for (group, mutants) in groups {
        println!("{group:44}{}", Tally::of(mutants));
    }
    let survivors = mutants.iter().filter(|m| matches!(m.verdict, Verdict::Survived(_)));
    let (argued, bare): (Vec<_>, Vec<_>) = survivors.partition(|m| Argued::of(m).is_some());
    for argument in ARGUED {
        let about: Vec<_> = argued.iter().filter(|m| argument.fits(m)).collect();
        if !about.is_empty() {
            println!("\nsurvive, for {}:", argument.why);
        }
        about.iter().for_each(|mutant| println!("    {mutant}"));
    }
    for mutant in &bare {
        println!("\nsurvived: {mutant}");
    }
    if bare.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Answer = Result<Vec<Judged>, String>;

/// Judges the kernels on all cores; the answers are in the kernels' order.
fn in_parallel(specs: &[&'static KernelSpec]) -> Vec<(&'static KernelSpec, Answer)> {
    let (next, answers) = (Mutex::new(specs.iter().enumerate()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some((i, spec)) = next.lock().ok().and_then(|mut next| next.next()) else { return };
            let answer = judge(spec);
            if let Ok(mut answers) = answers.lock() {
                answers.push((i, *spec, answer));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut answers = answers.into_inner().unwrap_or_default();
    answers.sort_by_key(|(i, ..)| *i);
    answers.into_iter().map(|(_, spec, answer)| (spec, answer)).collect()
}
