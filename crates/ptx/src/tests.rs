//! Every row prints, reads back, and is PTX to NVIDIA's assembler.

use crate::table::samples;
use crate::*;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel that declares every name that the samples use, with these instructions.
fn kernel_of(instructions: &[Inst]) -> Module {
    let mut k = Kernel::new("rows");
    for (name, kind) in [("x", ParamKind::U64), ("m", ParamKind::U32), ("scale", ParamKind::F32)] {
        k.param(name, kind);
    }
    k.dynamic_shared("smem", 128);
    k.limits.max_threads = Some(128);
    let p = k.regs::<Pred, 8>("p");
    k.regs::<B16, 8>("h");
    k.regs::<B32, 8>("r");
    k.regs::<B64, 8>("rd");
    k.regs::<F32, 8>("f");
    k.reg::<Pred>("pone");
    k.reg::<B16>("hone");
    k.reg::<B32>("rone");
    k.reg::<B64>("rdone");
    k.reg::<F32>("fone");
    k.section("every row").note("and every form of its operands: n ≥ 2·m\n\n  indented");
    k.place("k_loop");
    for (i, inst) in instructions.iter().enumerate() {
        match i % 3 {
            0 => &mut k,
            1 => k.when(p[i % 8]),
            _ => k.unless(p[i % 8]),
        };
        k.inst(*inst);
    }
    k.ret();
    Module::new("rows: every row of the table\n\nplan: none", k)
}

#[test]
fn every_row_reads_back() {
    for inst in samples() {
        let module = kernel_of(&[inst]);
        let text = module.to_string();
        match parse(&text) {
            Ok(back) => assert_eq!(back, module, "{}", inst.text()),
            Err(error) => panic!("{}: {error}\n{text}", inst.text()),
        }
    }
    let all = kernel_of(&samples());
    assert_eq!(parse(&all.to_string()), Ok(all));
}

#[test]
fn rows_are_one_to_one() {
    let seen: std::collections::HashSet<_> = samples().iter().map(|i| i.row().name).collect();
    assert_eq!(seen.len(), TABLE.len());
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
    let acc = k.regs::<F32, 4>("acc");
    k.mma_sp_16832(Half::F16, acc, d, d, acc, d[0], 1);
    assert_eq!(k.isa(), 85);
}

#[test]
fn located_lines() {
    let module = kernel_of(&samples());
    let text = module.to_string();
    let located = parse_located(&text).expect("reads back");
    assert_eq!(located.module, module);
    assert_eq!(located.at.len(), module.kernel.lines.len());
    let lines: Vec<_> = text.lines().collect();
    for (at, line) in located.at.iter().zip(&module.kernel.lines) {
        let have = lines[at - 1];
        match line {
            Line::Section(t) => assert_eq!(have, format!("    // ---- {t}")),
            Line::Note(t) => assert!(have.trim().starts_with("//") && have.ends_with(t.as_str())),
            Line::Label(l) => assert_eq!(have, format!("{l}:")),
            Line::Inst { inst, .. } => {
                let word = inst.text();
                assert!(have.contains(word.split([' ', ';']).next().unwrap_or("")), "{have}");
            }
        }
    }
}

/// Line, column and a part of the message for one damaged line of a good kernel.
#[track_caller]
fn refused(line: &str, at: (isize, usize), part: &str) {
    let mut k = Kernel::new("bad");
    k.param("x", ParamKind::U64);
    k.reg::<Pred>("p");
    k.regs::<B32, 2>("r");
    k.reg::<B64>("address");
    k.ret();
    let text = Module::new("", k).to_string();
    let text = text.replace("    ret;\n", &format!("    {line}\n    ret;\n"));
    let row = text.lines().position(|l| l.trim() == line).expect("the line is there") + 1;
    let error = parse(&text).expect_err(line);
    assert_eq!(
        (error.line, error.column),
        (row.saturating_add_signed(at.0), at.1),
        "{error}\n{text}"
    );
    assert!(error.message.contains(part), "{error}");
}

#[test]
fn malformed_lines() {
    refused("frobnicate.b32 %r0, %r1;", (0, 5), "no such instruction");
    refused("add.u32 %r0, %r1;", (0, 21), "`,` is wanted");
    refused("add.u32 %r0, %r1, %r2;", (0, 23), "%r2 is not declared");
    refused("add.u32 %r0, %r1, %r00;", (0, 23), "%r00 is not declared");
    refused("add.u32 %r0, %r1, %address;", (0, 23), ".b64, .b32 is wanted");
    refused("add.u32 %r0, %r1, 4294967296;", (0, 23), "outside");
    refused("add.u32 %r0, %r1, +3;", (0, 23), "an integer");
    refused("add.u32 %r0, %r1, 3", (1, 5), "`;` is wanted");
    refused("bra nowhere;", (0, 9), "no such label");
    refused("ld.param.u64 %address, [y];", (0, 29), "no such parameter");
    refused("ld.global.b32 %r0, [%address+x];", (0, 34), "an integer");
    refused("ld.global.b32 %r0, [%r1];", (0, 25), ".b64 is wanted");
    refused("@%r0 ret;", (0, 6), ".pred is wanted");
    refused("setp.zz.u32 %p, %r0, %r1;", (0, 10), "one of");
    refused("mov.u32 %r0, smem;", (0, 18), "");
    refused("/* comment */ ret;", (0, 5), "no such instruction");
    refused("// n ≥ m", (0, 10), "ASCII");
    refused("movmatrix.sync.aligned.m8n8.trans.b16 %r0, %r1;", (-11, 1), "7.8");
}

#[test]
fn malformed_modules() {
    for text in
        ["", "//", ".version 8.5", ".version 8.5\n.target sm_80\n.address_size 32", "{", "é"]
    {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn registers_are_declared_once() {
    for (first, second, good) in [
        ("%a", "%a", false),
        ("%a", "%a<2>", false),
        ("%a<2>", "%a1", false),
        ("%a1", "%a<2>", false),
        ("%a2", "%a<2>", true),
        ("%a01", "%a<2>", true),
    ] {
        let text = format!(
            ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{{\n\
             .reg .b32 {first};\n.reg .f32 {second};\nret;\n}}\n"
        );
        assert_eq!(parse(&text).is_ok(), good, "{first} {second}");
    }
}

/// Cuts and single damaged bytes never panic, and a cut text is never whole.
#[test]
fn damage_is_an_error_or_another_module() {
    let text = kernel_of(&samples()[..40]).to_string();
    for cut in 0..text.trim_end().len() {
        assert!(parse(text.get(..cut).unwrap_or("")).is_err());
    }
    for at in 0..text.len() {
        for byte in [b'%', b'{', b'9', b'\n', b' ', b':', 0] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte;
            let damaged = String::from_utf8_lossy(&bytes).into_owned();
            if let Ok(module) = parse(&damaged) {
                assert_eq!(parse(&module.to_string()), Ok(module));
            }
        }
    }
}

/// `QUICKPICK_PTXAS`, else on the path, else where xtask puts it.
fn ptxas() -> Option<PathBuf> {
    let runs =
        |p: &Path| Command::new(p).arg("--version").output().is_ok_and(|o| o.status.success());
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let fetched = std::fs::read_dir(tools).into_iter().flatten().filter_map(Result::ok);
    let fetched = fetched.flat_map(|entry| {
        ["nvidia/cu13/bin/ptxas", "nvidia/cuda_nvcc/bin/ptxas"].map(|p| entry.path().join(p))
    });
    let named = std::env::var_os("QUICKPICK_PTXAS").map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("ptxas")]).chain(fetched).find(|p| runs(p))
}

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
    // constants have no range in the table; these are the ones that the instructions take
    let legal: Vec<Inst> = samples()
        .into_iter()
        .map(|inst| match inst {
            Inst::CpAsyncCa { prefetch, d, a, .. } => {
                Inst::CpAsyncCa { prefetch, d, a, size: Imm(8) }
            }
            Inst::CpAsyncCaFill { prefetch, d, a, .. } => {
                Inst::CpAsyncCaFill { prefetch, d, a, size: Imm(4), bytes: Src::Imm(0) }
            }
            Inst::CpAsyncCgFill { prefetch, d, a, .. } => {
                Inst::CpAsyncCgFill { prefetch, d, a, bytes: Src::Imm(8) }
            }
            Inst::CpAsyncWait { .. } => Inst::CpAsyncWait { pending: Imm(2) },
            Inst::BfeU32 { d, a, .. } => Inst::BfeU32 { d, a, b: Src::Imm(8), c: Src::Imm(4) },
            Inst::BarSync { .. } => Inst::BarSync { id: Imm(0) },
            Inst::Lop3 { d, a, b, c, .. } => Inst::Lop3 { d, a, b, c, lut: Imm(0x96) },
            Inst::MmaSp16832 { ty, d, a, b, c, meta, .. } => {
                Inst::MmaSp16832 { ty, d, a, b, c, meta, selector: Imm(1) }
            }
            other => other,
        })
        .collect();
    let dir = std::env::temp_dir().join(format!("quickpick-ptx-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder for the assembler");
    let file = dir.join("rows.ptx");
    std::fs::write(&file, kernel_of(&legal).to_string()).expect("the text is written");
    for target in ["sm_80", "sm_90a"] {
        let output = Command::new(&ptxas)
            .args(["-arch", target, "-o"])
            .arg(dir.join("rows.cubin"))
            .arg(&file)
            .output()
            .expect("the assembler starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::remove_dir_all(&dir).expect("the folder goes");
}
