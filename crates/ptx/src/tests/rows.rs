//! Every row prints, reads back, and is PTX to NVIDIA's assembler.

use super::samples::kernel_of;
use crate::table::samples;
use crate::*;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_row_reads_back() {
    let all = samples();
    for inst in &all {
        let module = kernel_of(std::slice::from_ref(inst));
        let text = module.to_string();
        match parse(&text) {
            Ok(back) => assert_eq!(back, module, "{}", inst.text()),
            Err(error) => panic!("{}: {error}\n{text}", inst.text()),
        }
    }
    let all = kernel_of(&all);
    assert_eq!(parse(&all.to_string()), Ok(all));
}

#[test]
fn rows_are_one_to_one() {
    let seen: HashSet<_> = samples().iter().map(|i| i.row().name).collect();
    let unseen: Vec<_> = TABLE.iter().map(|r| r.name).filter(|n| !seen.contains(n)).collect();
    assert!(unseen.is_empty(), "no sample of {unseen:?}");
    let templates: HashSet<_> = TABLE.iter().map(|r| r.template).collect();
    assert_eq!(templates.len(), TABLE.len());
    for row in TABLE {
        assert!(row.template.ends_with(';'), "{}", row.template);
    }
}

#[test]
fn versions_are_maxima() {
    let mut k = Kernel::new("empty");
    k.ret();
    assert_eq!((k.isa(), k.sm()), (70, 80));
    let p = k.reg::<B64>("p");
    let d = k.regs::<B32, 4>("d");
    k.ld_global_v4_b32(Cache::NcOnce, d, p.at(16));
    assert_eq!(k.isa(), 74);
    let ordered =
        |inst: &Inst| matches!(inst, Inst::MmaSp { ordered: Ordered::Yes, aty: Type::F16, .. });
    k.inst(samples().into_iter().find(ordered).expect("a sample"));
    assert_eq!((k.isa(), k.target().to_string().as_str()), (85, "sm_80"));
    k.inst(Inst::WgmmaFence {});
    assert_eq!((k.isa(), k.target().to_string().as_str()), (85, "sm_90a"));
}

/// `QUICKPICK_PTXAS`, else on the path, else where xtask puts it.
fn ptxas() -> Option<PathBuf> {
    let runs =
        |p: &Path| Command::new(p).arg("--version").output().is_ok_and(|o| o.status.success());
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let fetched = std::fs::read_dir(tools).into_iter().flatten().filter_map(Result::ok);
    let mut fetched: Vec<_> = fetched.map(|entry| entry.path()).collect();
    // the newest first: 12.9 crashes at our samples for sm_90 when it is not to optimise
    fetched.sort_by(|a, b| b.cmp(a));
    let fetched = fetched.into_iter().flat_map(|tool| {
        ["nvidia/cu13/bin/ptxas", "nvidia/cuda_nvcc/bin/ptxas"].map(|p| tool.join(p))
    });
    let named = std::env::var_os("QUICKPICK_PTXAS").map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("ptxas")]).chain(fetched).find(|p| runs(p))
}

/// The samples by what they need, each lot with just that `.version` and `.target`: so the least
/// versions of the table are enough.
#[test]
fn every_row_assembles() {
    let Some(ptxas) = ptxas() else {
        let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|r| r == "ptxas" || r == "all"), "ptxas is required");
        let why = "skipped: no ptxas (QUICKPICK_PTXAS, the path, target/tools)";
        println!("{why}");
        if let Some(log) = std::env::var_os("QUICKPICK_SKIP_LOG") {
            let mut log =
                std::fs::File::options().append(true).create(true).open(log).expect("log");
            std::io::Write::write_all(&mut log, format!("ptxas: {why}\n").as_bytes()).expect("log");
        }
        return;
    };
    let mut lots: BTreeMap<(u16, u16, bool), Vec<Inst>> = BTreeMap::new();
    // an address without a base is in the manual (6.4.1), but ptxas has it for .local alone
    for inst in samples().into_iter().filter(|inst| !inst.text().contains(" [16]")) {
        lots.entry((inst.isa(), inst.sm(), inst.row().exact)).or_default().push(inst);
    }
    let dir = std::env::temp_dir().join(format!("quickpick-ptx-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder for the assembler");
    let mut complaints = String::new();
    for ((isa, sm, exact), lot) in lots {
        let file = dir.join(format!("rows_{isa}_{sm}.ptx"));
        let module = kernel_of(&lot);
        std::fs::write(&file, module.to_string()).expect("the text is written");
        let own = module.kernel.target().to_string();
        let targets = if exact { vec![own] } else { vec![own, "sm_90a".to_string()] };
        for target in targets {
            let output = Command::new(&ptxas)
                .args(["-arch", &target, "-O0", "-o"])
                .arg(dir.join("rows.cubin"))
                .arg(&file)
                .output()
                .expect("the assembler starts");
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                complaints += &format!("{isa} {target}:\n{}\n", named(&said, &module));
            }
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
    std::fs::remove_dir_all(&dir).expect("the folder goes");
}

/// The assembler's messages, each with the line that it names.
fn named(said: &str, module: &Module) -> String {
    let text = module.to_string();
    let lines: Vec<_> = text.lines().collect();
    let about = |message: &str| {
        let (_, rest) = message.split_once(", line ")?;
        let (number, what) = rest.split_once(';')?;
        let line = lines.get(number.parse::<usize>().ok()? - 1)?;
        Some(format!("{}\n    {}\n", line.trim(), what.trim()))
    };
    let mut all: Vec<_> = said
        .lines()
        .filter(|m| !["warning :", "ptxas info"].iter().any(|k| m.contains(k)))
        .map(|m| about(m).unwrap_or_else(|| format!("{m}\n")))
        .collect();
    all.dedup();
    all.concat()
}
