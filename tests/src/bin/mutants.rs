//! `mutants [--only PATTERN]`: what the emulator says to each kernel with one barrier, wait, fence or
//! guard less. Fails if a survivor has no argument.

use quickpick::kernels::KernelSpec;
use quickpick_tests::mutants::{Argued, Judged, Tally, Verdict, judge, kernels};
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
    let mut all = Tally::default();
    let mut survivors = Vec::new();
    for (spec, judged) in in_parallel(&specs) {
        let judged = match judged {
            Ok(judged) => judged,
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        };
        let tally = Tally::of(&judged);
        println!("{:44}{tally}", spec.to_string());
        all.add(&tally);
        survivors.extend(judged.into_iter().filter(|m| matches!(m.verdict, Verdict::Survived(_))));
    }
    println!("{:44}{all}", "all");
    let (argued, bare): (Vec<_>, Vec<_>) = survivors.iter().partition(|m| Argued::of(m).is_some());
    for mutant in argued {
        let why = Argued::of(mutant).map_or("", |a| a.why);
        println!("\nargued: {mutant}\n        {why}");
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
