//! `cargo xtask test`: every rung that this machine has, then a table: ran, or skipped and why.

use crate::error::{Error, Result, failed};
use crate::run::{Tally, cargo_test};
use crate::{gen_kernels, record, sass, tools};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// One rung: its number, its name, and how it is climbed.
struct Rung {
    number: u8,
    name: &'static str,
    /// The word by which tests know that they may not skip it.
    word: &'static str,
    climb: fn(&Context) -> Result<Outcome>,
}

enum Outcome {
    Ran(String),
    Skipped(String),
}

struct Context<'a> {
    root: &'a Path,
    /// For tests: the rungs that may not be skipped, and where they write what they skip.
    env: Vec<(&'static str, String)>,
    skips: &'a Path,
}

const LADDER: &[Rung] = &[
    Rung { number: 1, name: "unit and property tests", word: "unit", climb: unit },
    Rung { number: 2, name: "generated files are current", word: "golden", climb: golden },
    Rung { number: 3, name: "naga: SPIR-V, MSL, HLSL", word: "naga", climb: naga },
    Rung { number: 4, name: "ptxas: every target, no spills", word: "ptxas", climb: ptxas },
    Rung { number: 5, name: "emulator against the f64 oracle", word: "emulator", climb: emulator },
    Rung { number: 6, name: "wgpu and CPU against the f64 oracle", word: "wgpu", climb: wgpu },
    Rung { number: 7, name: "Chromium's WebGPU", word: "chromium", climb: chromium },
    Rung { number: 8, name: "an NVIDIA GPU", word: "cuda", climb: cuda },
];

/// Climbs the ladder; fails if a rung fails, or if a required one is skipped.
pub fn run(root: &Path, require: &str) -> Result<()> {
    let required = parse(require)?;
    let skips = root.join("target/skipped-tests.txt");
    let _ = fs::remove_file(&skips);
    let mut words: Vec<_> =
        LADDER.iter().filter(|r| required.contains(&r.number)).map(|r| r.word).collect();
    if required.contains(&1) {
        words.push("numpy"); // the solvers' references, written in it
    }
    let mut env = vec![
        ("QUICKPICK_REQUIRE", words.join(",")),
        ("QUICKPICK_SKIP_LOG", skips.display().to_string()),
    ];
    // tests of early rungs assemble too; without ptxas they skip, and rung 4 says why
    if let Ok((ptxas, ..)) = tools::nvidia(root) {
        env.push(("QUICKPICK_PTXAS", ptxas.display().to_string()));
    }
    // the emulator's rung compiles CUDA C++; its tests report why they cannot
    env.push(match tools::nvcc(root) {
        Ok(nvcc) => ("QUICKPICK_NVCC", nvcc.display().to_string()),
        Err(why) => ("QUICKPICK_NO_NVCC", why.to_string()),
    });
    env.extend(tools::browser(root)); // what is missing, the browser's rung says
    let context = Context { root, env, skips: &skips };
    let mut rows = Vec::new();
    let mut bad = 0;
    for rung in LADDER {
        println!("\n== rung {}: {}", rung.number, rung.name);
        let start = Instant::now();
        let (state, text) = match (rung.climb)(&context) {
            Ok(Outcome::Ran(text)) => ("ran", text),
            Ok(Outcome::Skipped(why)) if required.contains(&rung.number) => {
                bad += 1;
                ("FAILED", format!("required, but skipped: {why}"))
            }
            Ok(Outcome::Skipped(why)) => ("skipped", why),
            Err(error) => {
                bad += 1;
                ("FAILED", error.to_string())
            }
        };
        println!("{text}");
        rows.push((rung, state, text, start.elapsed().as_secs()));
    }
    println!("\nrung  {:38} state    seconds  what", "name");
    for (rung, state, text, seconds) in rows {
        let first = text.lines().next().unwrap_or_default();
        println!("{:4}  {:38} {state:8} {seconds:7}  {first}", rung.number, rung.name);
    }
    let skipped = fs::read_to_string(&skips).unwrap_or_default();
    let tests: BTreeSet<_> = skipped.lines().collect();
    tests.iter().for_each(|why| println!("tests skipped: {why}"));
    if bad > 0 { failed(format!("{bad} of {} rungs failed", LADDER.len())) } else { Ok(()) }
}

fn parse(require: &str) -> Result<BTreeSet<u8>> {
    if require == "all" {
        return Ok(LADDER.iter().map(|r| r.number).collect());
    }
    let mut set = BTreeSet::new();
    for part in require.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match part.parse() {
            Ok(n) if LADDER.iter().any(|r| r.number == n) => set.insert(n),
            _ => {
                return failed(format!(
                    "--require {part}: rungs are 1 to {}, or all",
                    LADDER.len()
                ));
            }
        };
    }
    Ok(set)
}

fn unit(c: &Context) -> Result<Outcome> {
    let mut args = vec!["--workspace".to_string(), "--lib".into(), "--bins".into()];
    for test in tests(c.root)?.into_iter().filter(|t| !LATER_RUNGS.contains(&t.as_str())) {
        args.extend(["--test".to_string(), test]);
    }
    let mut tally = cargo_test(c.root, &args, &c.env)?;
    tally.add(&cargo_test(c.root, &["--workspace", "--doc"], &c.env)?);
    closed(c, &tally, "unit")
}

/// Integration tests that are rungs of their own.
const LATER_RUNGS: [&str; 7] =
    ["naga", "emulate", "mutants", "suite", "chromium", "chromium_parity", "cuda"];

/// Names of all integration tests: of each crate, and across crates.
///
/// Every cargo call names the whole workspace and picks targets: picking packages would change the
/// features of shared dependencies, and compile them again.
fn tests(root: &Path) -> Result<Vec<String>> {
    let mut folders = vec![root.join("tests/tests")];
    let crates = root.join("crates");
    for package in fs::read_dir(&crates).map_err(Error::file(&crates))? {
        folders.push(package.map_err(Error::file(&crates))?.path().join("tests"));
    }
    let mut names = Vec::new();
    for folder in folders.into_iter().filter(|f| f.is_dir()) {
        for entry in fs::read_dir(&folder).map_err(Error::file(&folder))? {
            let path = entry.map_err(Error::file(&folder))?.path();
            let is_test =
                path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").exists();
            if let (true, Some(name)) = (is_test, path.file_stem()) {
                names.push(name.to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

fn golden(c: &Context) -> Result<Outcome> {
    gen_kernels::run(c.root, true, None)?;
    record::run(c.root, true)?;
    Ok(Outcome::Ran("kernels and tables are what the generator and the records say".into()))
}

fn naga(c: &Context) -> Result<Outcome> {
    let tally = cargo_test(c.root, &["--workspace", "--test", "naga"], &c.env)?;
    closed(c, &tally, "naga")
}

fn ptxas(c: &Context) -> Result<Outcome> {
    let (new, old, disassembler) = match tools::nvidia(c.root) {
        Ok(tools) => tools,
        Err(why) => return Ok(Outcome::Skipped(why.to_string())),
    };
    let kernels = sass::run(c.root, &new, &old, &disassembler, None)?;
    Ok(Outcome::Ran(format!(
        "{kernels} kernels: ptxas 13.5 for sm_80, sm_90a, sm_120a; 12.9 for sm_80, sm_90a; \
         those of 8-bit floats for sm_89, sm_120a; those for sm_90a, for it alone"
    )))
}

fn emulator(c: &Context) -> Result<Outcome> {
    let tally =
        cargo_test(c.root, &["--workspace", "--test", "emulate", "--test", "mutants"], &c.env)?;
    closed(c, &tally, "emulator")
}

fn wgpu(c: &Context) -> Result<Outcome> {
    let tally = cargo_test(c.root, &["--workspace", "--test", "suite"], &c.env)?;
    closed(c, &tally, "wgpu")
}

fn chromium(c: &Context) -> Result<Outcome> {
    let tests = ["--workspace", "--test", "chromium", "--test", "chromium_parity"];
    let tally = cargo_test(c.root, &tests, &c.env)?;
    closed(c, &tally, "chromium")
}

fn cuda(c: &Context) -> Result<Outcome> {
    let tally = cargo_test(c.root, &["--workspace", "--test", "cuda"], &c.env)?;
    closed(c, &tally, "cuda")
}

/// A rung that is a `cargo test`: failed, or skipped by what its tests wrote, or ran.
fn closed(c: &Context, tally: &Tally, word: &str) -> Result<Outcome> {
    let Tally { passed, failed: bad, success } = *tally;
    if !success || bad > 0 {
        return failed(format!("{passed} passed, {bad} failed"));
    }
    let log = match fs::read_to_string(c.skips) {
        Ok(log) => log,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::file(c.skips)(error)),
    };
    let mine: BTreeSet<_> =
        log.lines().filter_map(|l| l.strip_prefix(word)?.strip_prefix(": ")).collect();
    match mine.first() {
        Some(why) if passed == 0 => Ok(Outcome::Skipped(why.to_string())),
        Some(why) => Ok(Outcome::Skipped(format!("{why} ({passed} other tests passed)"))),
        None if passed == 0 => failed("no test ran"),
        None => Ok(Outcome::Ran(format!("{passed} passed, {bad} failed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn require_names_rungs() {
        assert_eq!(parse("1,2, 6").unwrap().into_iter().collect::<Vec<_>>(), [1, 2, 6]);
        assert_eq!(parse("all").unwrap().len(), 8);
        assert!(parse("").unwrap().is_empty());
        assert!(parse("9").is_err() && parse("x").is_err());
    }
}
