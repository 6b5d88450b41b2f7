//! `quickpick prune` under a kill, and on a disk that takes no more: what is finished is kept, and the run
//! that goes on ends in the same bytes.
#![cfg(unix)]

mod common;

use common::{Scratch, command, files, json, model, quickpick, refused, succeeded};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Holds times of the run; the same facts in both are compared by themselves.
const REPORT: [&str; 2] = ["quickpick-report.json", "quickpick-report.html"];

fn prune(scratch: &Scratch, out: &str, more: &[&str]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["prune".into(), scratch.path("model").into()];
    args.extend(["--out".into(), scratch.path(out).into(), "--calibration".into()]);
    args.push(scratch.path("a.txt").into());
    let fixed = ["--method", "alps", "--permute", "--sequences", "24", "--length", "96"];
    args.extend(fixed.iter().chain(more).map(OsString::from));
    args
}

/// A report without what a clock or the system says.
fn facts(folder: &Path) -> serde_json::Value {
    let bytes = fs::read(folder.join(REPORT[0])).unwrap();
    let mut report: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for key in ["seconds", "cpu_seconds", "peak_bytes"] {
        report.as_object_mut().unwrap().remove(key);
    }
    for layer in report["layers"].as_array_mut().unwrap() {
        layer["pruned"].as_object_mut().unwrap().remove("seconds").unwrap();
    }
    report
}

#[track_caller]
fn same(scratch: &Scratch, out: &str, undisturbed: &str) {
    let (out, undisturbed) = (scratch.path(out), scratch.path(undisturbed));
    let (have, want) = (files(&out, &REPORT), files(&undisturbed, &REPORT));
    assert_eq!(have.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (name, bytes) in &want {
        assert!(have[name] == *bytes, "{} differs", name.display());
    }
    assert_eq!(facts(&out), facts(&undisturbed));
    for left in ["run", "tmp"] {
        let path = out.with_extension(left);
        assert!(!path.exists(), "{} is left", path.display());
    }
}

#[test]
fn ten_kills_at_random_moments_change_no_byte() {
    let scratch = Scratch::new("kill");
    model(&scratch);
    let start = Instant::now();
    succeeded(quickpick(prune(&scratch, "whole", &[])));
    let whole = start.elapsed();
    // another moment each time that the test runs; it says which
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}, undisturbed in {whole:?}");
    let mut state = seed;
    let (mut kills, mut late, mut behind) = (0, 0, [0; 7]);
    while kills < 10 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let moment = whole.mul_f64((state >> 11) as f64 / (1u64 << 53) as f64);
        let out = format!("out-{kills}-{late}");
        let mut run = command(prune(&scratch, &out, &[]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(moment);
        run.kill().unwrap(); // SIGKILL
        if run.wait().unwrap().success() {
            late += 1; // it was quicker this time
            assert!(late < 20, "runs are over before {moment:?}");
            continue;
        }
        kills += 1;
        let folder = scratch.path(&out).with_extension("run");
        let blocks = fs::read_dir(folder).map_or(0, |entries| {
            let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
            names.filter(|n| n.starts_with("block-") && n.ends_with(".safetensors")).count()
        });
        behind[blocks] += 1;
        succeeded(quickpick(prune(&scratch, &out, &["--resume"])));
        same(&scratch, &out, "whole");
    }
    println!("killed with 0 to 6 blocks finished: {behind:?}");
    assert!(behind[1..].iter().sum::<usize>() > 0, "no kill left a finished block behind");
}

/// The blocks' files are small enough, the checkpoint is not.
#[test]
fn a_full_disk_is_an_error_and_loses_no_block() {
    let scratch = Scratch::new("full");
    model(&scratch);
    succeeded(quickpick(prune(&scratch, "whole", &[])));
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let most = size(&scratch.path("whole/model.safetensors")) / 2;
    let mut shell = Command::new("sh");
    // a signal that is ignored stays so in the program: writes beyond the limit fail, as on a full disk
    shell.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\""]);
    shell.arg((most / 512).to_string()).arg(env!("CARGO_BIN_EXE_quickpick"));
    let words = refused(shell.args(prune(&scratch, "out", &[])).output().unwrap());
    assert!(words.contains("out.tmp") && words.contains("File too large"), "{words}");
    assert!(!scratch.path("out").exists() && !scratch.path("out.tmp").exists());
    let kept = files(&scratch.path("out.run"), &[]);
    let blocks = kept.keys().filter(|name| name.to_string_lossy().starts_with("block-")).count();
    assert_eq!(blocks, common::CONFIG.layers);
    assert!(kept.values().all(|bytes| (bytes.len() as u64) < most));

    let words = refused(quickpick(prune(&scratch, "out", &[])));
    assert!(words.contains("unfinished run") && words.contains("--resume"), "{words}");
    let words = refused(quickpick(prune(&scratch, "out", &["--resume", "--seed", "2"])));
    assert!(words.contains("seed was 1, is 2"), "{words}");
    let report = json(quickpick(prune(&scratch, "out", &["--resume", "--json"])));
    assert_eq!(report["layers"].as_array().unwrap().len(), 7 * common::CONFIG.layers);
    same(&scratch, "out", "whole");
}

/// A finished block's file that was cut short is not taken for one.
#[test]
fn a_truncated_block_is_named() {
    let scratch = Scratch::new("cut");
    model(&scratch);
    succeeded(quickpick(prune(&scratch, "whole", &[])));
    let mut run = command(prune(&scratch, "out", &[])).stdout(Stdio::null()).spawn().unwrap();
    let block = scratch.path("out.run/block-0001.safetensors");
    while !block.exists() {
        assert!(run.try_wait().unwrap().is_none(), "it must not end before the second block");
        std::thread::sleep(Duration::from_millis(1));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let bytes = fs::read(&block).unwrap();
    fs::write(&block, &bytes[..bytes.len() - 7]).unwrap();
    let words = refused(quickpick(prune(&scratch, "out", &["--resume"])));
    assert!(words.contains("block-0001.safetensors"), "{words}");
    fs::remove_file(&block).unwrap();
    succeeded(quickpick(prune(&scratch, "out", &["--resume"])));
    same(&scratch, "out", "whole");
}
