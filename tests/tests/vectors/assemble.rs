//! ptxas takes every probe, for the least target of its form and for later ones.

use quickpick_tests::vectors::{FORMS, Form, Probe, Target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Targets of a form that its probe is assembled for: its own, then Hopper's and Blackwell's.
fn targets(form: &Form) -> Vec<String> {
    let own = form.target.to_string();
    match form.target {
        Target::Exactly(_) => vec![own],
        Target::From(_) => vec![own, "sm_90a".into(), "sm_120a".into()],
    }
}

/// What is wrong with what `ptxas -v` says: spills, local memory, a warning.
fn faults(log: &str) -> Vec<&str> {
    let clean = |line: &&str| {
        let spills = line.contains("bytes stack frame")
            && !line.contains("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads");
        spills || line.contains("lmem") || line.contains("warning")
    };
    log.lines().filter(clean).collect()
}

#[test]
fn every_probe_assembles() {
    let Some(ptxas) = std::env::var_os("QUICKPICK_PTXAS").map(PathBuf::from) else {
        let why = "probes are not assembled: QUICKPICK_PTXAS names no ptxas";
        return quickpick_tests::skip("ptxas", why);
    };
    let folder = std::env::temp_dir().join(format!("quickpick-probes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the assembler");
    let mut count = 0;
    for form in FORMS {
        for selector in 0..form.selectors.max(1) {
            let text = Probe::new(form, selector).text;
            let file = folder.join(format!("{}_{selector}.ptx", form.name));
            std::fs::write(&file, &text).expect("the text is written");
            for target in targets(form) {
                assemble(&ptxas, &target, &file, &text);
                count += 1;
            }
        }
    }
    println!("{count} probes are assembled");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

fn assemble(ptxas: &Path, target: &str, file: &Path, text: &str) {
    let output = Command::new(ptxas)
        .args(["-v", "-arch", target, "-o"])
        .arg(file.with_extension("cubin"))
        .arg(file)
        .output()
        .expect("the assembler starts");
    let log = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    let name = file.display();
    assert!(output.status.success(), "{name}, {target}:\n{log}\n{text}");
    let faults = faults(&log);
    assert!(faults.is_empty(), "{name}, {target}:\n{}", faults.join("\n"));
    assert!(log.contains("Used "), "{name}, {target}: ptxas -v names no registers:\n{log}");
}
