//! `quickpick finetune`: what it writes stays sparse, a kill costs no byte, and bad input is named.

mod common;

use common::{Scratch, command, files, json, model, quickpick, refused, succeeded};
use quickpick_transformer::checkpoint::{Checkpoint, Source};
use std::ffi::OsString;
use std::process::{Output, Stdio};
use std::time::Duration;

const REPORT: &str = "quickpick-finetune.json";

fn args(scratch: &Scratch, pruned: &str, out: &str, more: &[&str]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["finetune".into(), scratch.path(pruned).into()];
    args.extend(["--dense".into(), scratch.path("model").into()]);
    args.extend(["--text".into(), scratch.path("a.txt").into()]);
    args.extend(["--out".into(), scratch.path(out).into()]);
    args.extend(["--batch", "2", "--length", "32", "--save-every", "3"].map(OsString::from));
    args.extend(more.iter().map(OsString::from));
    args
}

fn finetune(scratch: &Scratch, out: &str, more: &[&str]) -> Output {
    quickpick(args(scratch, "pruned", out, more))
}

fn pruned() -> Scratch {
    // a folder of its own for each test
    let thread = format!("{:?}", std::thread::current().id());
    let scratch = Scratch::new(&format!("finetune-{thread}"));
    model(&scratch);
    let out = scratch.path("pruned").into_os_string();
    let first = ["prune".into(), scratch.path("model").into(), "--out".into(), out];
    succeeded(quickpick(first.into_iter().chain(["--method", "magnitude"].map(OsString::from))));
    scratch
}

#[test]
fn zeros_stay_and_the_model_learns() {
    let scratch = pruned();
    let eval = scratch.path("b.txt").to_str().unwrap().to_owned();
    let measure = ["--eval", &eval, "--context", "64", "--windows", "8"];
    // the dense model is random, and teaches nothing
    let run = ["--steps", "30", "--lr", "3e-3", "--distill", "0", "--json"];
    let run = [&run[..], &measure].concat();
    let report = json(finetune(&scratch, "out", &run));
    let perplexity = |which: &str| report["measured"][which]["estimate"]["value"].as_f64().unwrap();
    let [dense, before, after] = ["dense", "pruned", "tuned"].map(perplexity);
    println!("dense {dense}, pruned {before}, fine-tuned {after}");
    assert!(after < 0.5 * before && before > 200.0, "it was trained on such text");
    let [old, new] = ["pruned", "out"].map(|name| Checkpoint::open(&scratch.path(name)).unwrap());
    let mut moved = 0;
    for entry in old.entries().iter().filter(|e| e.name.contains("proj")) {
        let [old, new] = [&old, &new].map(|c| c.tensor(&entry.name).unwrap().data);
        assert!(
            old.iter().zip(&new).all(|(old, new)| *old != 0.0 || *new == 0.0),
            "{}",
            entry.name
        );
        moved += old.iter().zip(&new).filter(|(old, new)| old != new).count();
    }
    assert!(moved > 1000, "{moved} weights moved");
    // the same names, types and companions
    let names = |name: &str| files(&scratch.path(name), &[REPORT]).into_keys().collect::<Vec<_>>();
    assert!(names("out").iter().all(|file| names("pruned").contains(file)));
    let stored = |c: &Checkpoint| c.entries().iter().map(|e| e.stored.clone()).collect::<Vec<_>>();
    assert_eq!(stored(&old), stored(&new));
}

#[test]
#[cfg(unix)]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let scratch = pruned();
    let long = ["--steps", "40", "--how", "srste"];
    succeeded(finetune(&scratch, "whole", &long));
    let mut run = command(args(&scratch, "pruned", "out", &long))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !scratch.path("out.run/state.safetensors").exists() {
        assert!(run.try_wait().unwrap().is_none(), "it must not end before its first state");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    run.kill().unwrap();
    assert!(!run.wait().unwrap().success(), "it was over before the kill");
    let why = refused(finetune(&scratch, "out", &long));
    assert!(why.contains("unfinished run") && why.contains("--resume"), "{why}");
    succeeded(finetune(&scratch, "out", &[&long[..], &["--resume"]].concat()));
    let (have, want) =
        (files(&scratch.path("out"), &[REPORT]), files(&scratch.path("whole"), &[REPORT]));
    assert!(have == want);
    assert!(!scratch.path("out.run").exists());
}

#[test]
fn what_cannot_be_trained_is_named() {
    let scratch = pruned();
    let text = scratch.path("a.txt").to_str().unwrap().to_owned();
    for (more, words) in [
        (&["--pattern", "1:4"][..], "1:4"),
        (&["--eval", &text], "would be trained on and measured on"),
        (&["--distill", "1.5"], "1.5"),
        (&["--temperature", "0"], "temperature"),
        (&["--lr", "0"], "lr 0"),
    ] {
        let why = refused(finetune(&scratch, "out", more));
        assert!(why.contains(words), "{more:?}: {why}");
        assert!(!scratch.path("out").exists() && !scratch.path("out.run").exists(), "{more:?}");
    }
    let why = refused(quickpick(args(&scratch, "model", "out", &[])));
    assert!(why.contains("2:4"), "a dense model: {why}");
}
