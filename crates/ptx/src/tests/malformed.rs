//! What is refused, and where it says so; damage; line numbers.

use super::samples::kernel_of;
use crate::table::samples;
use crate::*;

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
    refused("add.u32 %r0, %r1, +3;", (0, 23), "an operand");
    refused("add.u32 %r0, %r1, 3", (1, 5), "`;` is wanted");
    refused("bra nowhere;", (0, 9), "no such label");
    refused("ld.param.u64 %address, [y];", (0, 29), "y is not declared");
    refused("ld.global.b32 %r0, [%address+x];", (0, 34), "an integer");
    refused("ld.global.b32 %r0, [%r1];", (0, 24), ".b64 is wanted");
    refused("@%r0 ret;", (0, 6), ".pred is wanted");
    refused("setp.zz.u32 %p, %r0, %r1;", (0, 10), "one of");
    refused("mov.u32 %r0, smem;", (0, 18), "");
    refused("/* comment */ rot;", (0, 19), "no such instruction");
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
