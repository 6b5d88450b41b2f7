//! Tasks that hand over to cargo, so that xtask itself stays light to build.

use crate::error::{Error, Result, failed};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// `cargo run --release -p quickpick-cli -- SUBCOMMAND ARGS`.
///
/// candle hands large tensors to a pool of its own that spins; training shards its batches over
/// rayon already, so candle gets one thread, unless the caller has decided.
pub fn quickpick<S: AsRef<OsStr>>(root: &Path, subcommand: &str, args: &[S]) -> Result<()> {
    const CANDLE: &str = "CANDLE_NUM_THREADS";
    let threads = std::env::var_os(CANDLE).unwrap_or("1".into());
    let status = cargo(root)
        .env(CANDLE, threads)
        .args(["run", "--release", "--quiet", "-p", "quickpick-cli", "--", subcommand])
        .args(args)
        .status()
        .map_err(Error::file("cargo".as_ref()))?;
    if status.success() { Ok(()) } else { failed(format!("quickpick {subcommand}: {status}")) }
}

/// What a `cargo test` said of itself.
#[derive(Default)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// The process ended well.
    pub success: bool,
}

impl Tally {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.success &= other.success;
    }
}

/// Runs `cargo test --release ARGS`, shows its output, and adds up its closing lines.
pub fn cargo_test<S: AsRef<OsStr>>(
    root: &Path,
    args: &[S],
    env: &[(&str, String)],
) -> Result<Tally> {
    let mut command = cargo(root);
    command.args(["test", "--release", "--no-fail-fast"]).args(args).stdout(Stdio::piped());
    command.envs(env.iter().map(|(key, value)| (key, value)));
    let mut child = command.spawn().map_err(Error::file("cargo".as_ref()))?;
    let mut tally = Tally::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(std::result::Result::ok) {
            if let Some(rest) = line.strip_prefix("test result: ") {
                tally.passed += count(rest, "passed");
                tally.failed += count(rest, "failed");
            }
            println!("{line}");
        }
        let _ = std::io::stdout().flush();
    }
    tally.success = child.wait().map_err(Error::file("cargo".as_ref()))?.success();
    Ok(tally)
}

/// The number before `word` in `ok. 12 passed; 0 failed; …`.
fn count(line: &str, word: &str) -> usize {
    let words: Vec<_> = line.split([' ', ';', '.']).filter(|w| !w.is_empty()).collect();
    words.windows(2).find(|w| w[1] == word).and_then(|w| w[0].parse().ok()).unwrap_or(0)
}

/// `cargo xtask bench`: the kit's stages `correct` and `time` here, their record below benches/record.
pub fn bench(root: &Path, backend: &str, args: &[String]) -> Result<()> {
    stage(root, "correct", backend, &[])?;
    stage(root, "time", backend, args)
}

/// `cargo xtask decode`: the kit's stage of that name.
pub fn decode(root: &Path, backend: &str, args: &[String]) -> Result<()> {
    stage(root, "decode", backend, args)
}

/// What `cargo xtask tune --quick` tunes: a layer of Llama-3-8B at a few tokens, some minutes on a software
/// adapter.
const QUICK: [&str; 8] =
    ["--only", "llama-3-8b/o", "--tokens", "1,16,64", "--rounds", "3", "--rotate", "40"];

/// `cargo xtask tune`: the kit's stage of that name, which goes on where a killed one of the same day, code
/// and machine stopped.
///
/// Errors: a backend that has nothing to choose from.
pub fn tune(root: &Path, backend: &str, quick: bool, args: &[String]) -> Result<()> {
    match backend {
        "wgpu" | "cuda" => {}
        "cpu" => {
            return failed(
                "there is nothing to tune on the cpu: one function serves each type, and which of its ways a \
                 layer goes follows from instruction set, type and tokens (crates/runtime/src/cpu/linear.rs)",
            );
        }
        other => return failed(format!("{other:?} cannot be tuned; wgpu and cuda can")),
    }
    let quick = QUICK.iter().filter(|_| quick).map(ToString::to_string);
    let all = ["--resume".to_string()].into_iter().chain(quick).chain(args.iter().cloned());
    stage(root, "tune", backend, &Vec::from_iter(all))
}

/// A stage of the kit.
fn stage(root: &Path, name: &str, backend: &str, args: &[String]) -> Result<()> {
    let status = cargo(root)
        .args(["run", "--release", "--quiet", "-p", "quickpick-benches", "--bin", "kit", "--"])
        .args([name, "--backend", backend, "--records", RECORDS, "--revision", &revision(root)?])
        .args(args)
        .status()
        .map_err(Error::file("cargo".as_ref()))?;
    if status.success() { Ok(()) } else { failed(format!("kit {name}: {status}")) }
}

/// Where records are, from the root.
pub const RECORDS: &str = "benches/record";

/// The commit that is checked out, short; `…-dirty` where a tracked file differs from it, records
/// apart: one that grows does not change the code that it measures.
pub fn revision(root: &Path) -> Result<String> {
    let git = |args: &[&str]| -> Result<String> {
        let out = Command::new("git").current_dir(root).args(args).output();
        let out = out.map_err(Error::file("git".as_ref()))?;
        match out.status.success() {
            true => Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned()),
            false => {
                failed(format!("git {}: {}", args[0], String::from_utf8_lossy(&out.stderr).trim()))
            }
        }
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let but_records = format!(":!{RECORDS}");
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", &but_records])?;
    Ok(if changed.is_empty() { commit } else { commit + "-dirty" })
}

/// cargo, in the root.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root);
    command
}

#[cfg(test)]
mod tests {
    use super::{count, tune};

    #[test]
    fn what_cannot_be_tuned_says_why() {
        let said = |backend| tune(".".as_ref(), backend, true, &[]).unwrap_err().to_string();
        assert!(said("cpu").starts_with("there is nothing to tune on the cpu"));
        assert_eq!(said("rocm"), "\"rocm\" cannot be tuned; wgpu and cuda can");
    }

    #[test]
    fn counts_libtest_lines() {
        let line =
            "ok. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!((count(line, "passed"), count(line, "failed")), (12, 3));
    }
}
