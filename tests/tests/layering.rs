//! What may import what: the table of ARCHITECTURE.md, enforced on the manifests.

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Package → the packages of ours that its manifest may name, in any kind of dependency.
/// `quickpick-tests` and `quickpick-benches` may name anything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("quickpick-format", &[]),
    ("quickpick-ptx", &[]),
    ("quickpick-kernels", &["quickpick-format"]),
    ("quickpick-emulator", &["quickpick-ptx"]),
    ("quickpick-codegen", &["quickpick-kernels", "quickpick-ptx"]),
    ("quickpick-launch", &["quickpick-kernels", "quickpick-emulator"]),
    ("quickpick", &["quickpick-kernels", "quickpick-format"]),
    ("quickpick-parity", &["quickpick", "quickpick-kernels", "quickpick-format"]),
    ("quickpick-prune", &["quickpick-format"]),
    ("quickpick-transformer", &["quickpick", "quickpick-prune", "quickpick-format"]),
    (
        "quickpick-cli",
        &["quickpick", "quickpick-prune", "quickpick-transformer", "quickpick-format"],
    ),
    (
        "xtask",
        &[
            "quickpick-codegen",
            "quickpick-kernels",
            "quickpick-ptx",
            "quickpick-emulator",
            "quickpick-launch",
        ],
    ),
];

const UNBOUND: [&str; 2] = ["quickpick-tests", "quickpick-benches"];

/// Each workspace package and the workspace packages that it names.
fn manifests() -> BTreeMap<String, Vec<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let name = |v: &Value| v["name"].as_str().expect("a name").to_string();
    let ours: Vec<String> = packages.iter().map(name).collect();
    let dependencies = |p: &Value| {
        let all = p["dependencies"].as_array().expect("a list of dependencies");
        all.iter().map(name).filter(|d| ours.contains(d)).collect()
    };
    packages.iter().map(|p| (name(p), dependencies(p))).collect()
}

#[test]
fn imports_run_one_way() {
    let manifests = manifests();
    for (package, imports) in &manifests {
        if UNBOUND.contains(&package.as_str()) {
            continue;
        }
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(p, _)| p == package)
            .unwrap_or_else(|| panic!("{package} has no row in the import table: add it there"));
        for import in imports {
            assert!(
                allowed.contains(&import.as_str()),
                "{package} imports {import}; it may import only {allowed:?}"
            );
        }
    }
    for (package, _) in MAY_IMPORT {
        assert!(manifests.contains_key(*package), "{package} is in the table but not there");
    }
}

#[test]
fn the_table_has_no_cycle() {
    // packages in an order in which each imports only earlier ones
    let mut done: Vec<&str> = Vec::new();
    while done.len() < MAY_IMPORT.len() {
        let next = MAY_IMPORT
            .iter()
            .find(|(p, imports)| !done.contains(p) && imports.iter().all(|i| done.contains(i)));
        match next {
            Some((package, _)) => done.push(package),
            None => panic!("a cycle among the packages after {done:?}"),
        }
    }
}
