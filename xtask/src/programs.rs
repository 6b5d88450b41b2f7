//! `cargo xtask emulate`, `parity`: hand over to the programs of the tests crate, which have the oracle.

use crate::error::{Error, Result, failed};
use crate::run::cargo;
use crate::{gen_kernels, marks, tools};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

/// In place of a kernel: weaken every kernel, and see whether the emulator objects.
const MUTANTS: &str = "--mutants";

/// Runs `emulate`, or with `--mutants` `mutants`, with these arguments.
pub fn emulate(root: &Path, args: &[String]) -> Result<()> {
    let (program, args) = program(args);
    run(root, program, &args, &[])
}

/// In place of files: what `parity` asks or merges becomes the README's table.
const README: &str = "--readme";

/// Runs `parity` with these arguments.
pub fn parity(root: &Path, args: &[String]) -> Result<()> {
    let env = tools::browser(root);
    let rest: Vec<_> = args.iter().filter(|arg| *arg != README).map(String::as_str).collect();
    if rest.len() == args.len() {
        return run(root, "parity", &rest, &env);
    }
    let table = root.join("target/parity.md");
    let file = table.display().to_string();
    run(root, "parity", &[&rest[..], &["--markdown", &file]].concat(), &env)?;
    let table = fs::read_to_string(&table).map_err(Error::file(&table))?;
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).map_err(Error::file(&readme))?;
    let text = marks::replace(&text, "parity", &table)?;
    gen_kernels::write(&readme, &text)
}

/// Runs a program of the tests crate.
pub fn run(
    root: &Path,
    program: &str,
    args: &[impl AsRef<OsStr>],
    env: &[(&str, String)],
) -> Result<()> {
    // all of the workspace, as the ladder builds it: with one package's features its dependencies would be compiled anew
    let built = cargo(root)
        .args(["build", "--release", "--quiet", "--workspace", "--bin", program])
        .status()
        .map_err(Error::file("cargo".as_ref()))?;
    if !built.success() {
        return failed(format!("cargo build: {built}"));
    }
    // where the caller is, for files are named from there
    let path = root.join("target/release").join(program);
    let status = Command::new(&path)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .args(args)
        .status()
        .map_err(Error::file(&path))?;
    if status.success() { Ok(()) } else { failed(format!("{program}: {status}")) }
}

/// The program that is meant, and its arguments.
fn program(args: &[String]) -> (&'static str, Vec<&String>) {
    let rest: Vec<_> = args.iter().filter(|arg| *arg != MUTANTS).collect();
    (if rest.len() < args.len() { "mutants" } else { "emulate" }, rest)
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn mutants_are_a_program_of_their_own() {
        let args = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let (kernel, mutants) = (args("gather --shape 1,32,1"), args("--mutants --only gather"));
        assert_eq!(program(&kernel).0, "emulate");
        assert_eq!(program(&kernel).1, kernel.iter().collect::<Vec<_>>());
        assert_eq!(program(&mutants).0, "mutants");
        assert_eq!(program(&mutants).1, ["--only", "gather"]);
    }
}
