//! What naga writes, as others judge it: SPIR-V by Khronos' validator, HLSL and MSL by the vendors' compilers
//! where those are. What Chrome's compiler says of the WGSL itself, rung 7 hears.

use crate::{hlsl, msl, shaders, spirv};
use quickpick_kernels::{KernelSpec, Target};
use quickpick_tests::{TempDir, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

fn put(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.0.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

fn folder(name: &str) -> TempDir {
    TempDir::new(name).expect("a folder for temporary files")
}

/// Whether a program is there and says its version.
fn there(program: &[&str]) -> bool {
    let asked = Command::new(program[0]).args(&program[1..]).arg("--version").output();
    asked.is_ok_and(|out| out.status.success())
}

/// Runs a judge on each file; all refusals together.
fn ask(judge: &[&str], files: Vec<(String, Vec<String>, PathBuf)>) -> Vec<String> {
    let mut refusals = Vec::new();
    for (kernel, args, file) in files {
        let out = Command::new(judge[0]).args(&judge[1..]).args(args).arg(&file).output();
        let out = out.expect("a judge that told its version");
        if !out.status.success() {
            let text = [out.stdout, out.stderr].concat();
            refusals.push(format!("{kernel}: {}", String::from_utf8_lossy(&text)));
        }
    }
    refusals
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Files of every shader for which `write` has something.
fn files(
    folder: &TempDir,
    ending: &str,
    write: impl Fn(&'static KernelSpec, &str) -> Option<(Vec<String>, Vec<u8>)>,
) -> Vec<(String, Vec<String>, PathBuf)> {
    let file = |(spec, text): (&'static KernelSpec, String)| {
        let (args, bytes) = write(spec, &text)?;
        Some((spec.to_string(), args, put(folder, &format!("{spec}.{ending}"), &bytes)))
    };
    shaders().filter_map(file).collect()
}

/// Khronos' SPIR-V validator (Debian: spirv-tools), which knows cooperative matrices from 2023.5 on.
#[test]
fn spirv_is_valid() {
    const VALIDATOR: &str = "spirv-val";
    if !there(&[VALIDATOR]) {
        return skip("naga", "SPIR-V: there is no spirv-val (Debian: spirv-tools)");
    }
    let folder = folder("spirv");
    let all = files(&folder, "spv", |spec, text| {
        (spec.target.cooperative().is_none()).then(|| (Vec::new(), bytes(&spirv(spec, text))))
    });
    assert!(all.len() > 30, "{} files", all.len());
    let judge = [VALIDATOR, "--target-env", "vulkan1.1"];
    let refusals = ask(&judge, all.clone());
    assert!(refusals.is_empty(), "{}", refusals.join("\n"));
    // and it does refuse: a module whose first result is used before its declaration
    let mut broken = std::fs::read(&all[0].2).expect("what was written");
    let end = broken.len() - 4;
    broken.truncate(end);
    let broken = put(&folder, "broken.spv", &broken);
    assert_eq!(ask(&judge, vec![("broken".into(), vec![], broken)]).len(), 1);
}

/// Microsoft's compiler, where it is.
#[test]
fn hlsl_compiles() {
    const COMPILER: &str = "dxc";
    if !there(&[COMPILER]) {
        return skip("dxc", "HLSL: there is no dxc; naga has written it, no compiler has read it");
    }
    let folder = folder("hlsl");
    let all = files(&folder, "hlsl", |spec, text| {
        let args = ["-T", "cs_6_2", "-enable-16bit-types", "-E", &spec.to_string()];
        Some((args.map(String::from).to_vec(), hlsl(spec, text)?.into_bytes()))
    });
    let refusals = ask(&[COMPILER, "-Fo", devnull()], all);
    assert!(refusals.is_empty(), "{}", refusals.join("\n"));
}

/// Apple's compiler, where it is.
#[test]
fn msl_compiles() {
    const COMPILER: [&str; 4] = ["xcrun", "-sdk", "macosx", "metal"];
    if !there(&COMPILER) {
        return skip(
            "metal",
            "MSL: there is no Metal compiler; naga has written it, no compiler has read it",
        );
    }
    let folder = folder("msl");
    let all = files(&folder, "metal", |spec, text| {
        let args = ["-std=metal2.4", "-c", "-o", devnull()].map(String::from);
        (spec.target != Target::WgslCoop16).then(|| (args.to_vec(), msl(spec, text).into_bytes()))
    });
    let refusals = ask(&COMPILER, all);
    assert!(refusals.is_empty(), "{}", refusals.join("\n"));
}

fn devnull() -> &'static str {
    if Path::new("/dev/null").exists() { "/dev/null" } else { "NUL" }
}
