//! The printer: one canonical text for each module.

use crate::kernel::*;
use crate::reg::Kind;
use std::fmt;

/// Operands begin in this column (from 0).
const COLUMN: usize = 28;
/// A longer statement has its operands on a line of their own.
const WIDTH: usize = 100;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.features {
            Features::Common => "",
            Features::Family => "f",
            Features::Own => "a",
        };
        write!(f, "sm_{}{suffix}", self.sm)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { x, y: 1, z: 1 } => write!(f, "{x}"),
            Self { x, y, z: 1 } => write!(f, "{x}, {y}"),
            Self { x, y, z } => write!(f, "{x}, {y}, {z}"),
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.header {
            comment(f, "", line)?;
        }
        let k = &self.kernel;
        let isa = self.version.unwrap_or_else(|| k.isa());
        writeln!(f, ".version {}.{}", isa / 10, isa % 10)?;
        writeln!(f, ".target {}", self.target.unwrap_or_else(|| k.target()))?;
        writeln!(f, ".address_size 64\n")?;
        for Shared { symbol, align, bytes } in &k.shared {
            match bytes {
                None => writeln!(f, ".extern .shared .align {align} .b8 {symbol}[];\n")?,
                Some(bytes) => writeln!(f, ".shared .align {align} .b8 {symbol}[{bytes}];\n")?,
            }
        }
        writeln!(f, ".visible .entry {}(", k.name)?;
        for (i, Param { name, kind }) in k.params.iter().enumerate() {
            let comma = if i + 1 < k.params.len() { "," } else { "" };
            match kind {
                ParamKind::Bytes { align, len } => {
                    writeln!(f, "    .param .align {align} .b8 {name}[{len}]{comma}")?
                }
                scalar => writeln!(f, "    .param {} {name}{comma}", scalar.directive())?,
            }
        }
        writeln!(f, ")")?;
        fmt::Display::fmt(&k.limits, f)?;
        writeln!(f, "{{")?;
        for kind in Kind::ALL {
            declarations(f, kind, k.registers())?;
        }
        for line in &k.lines {
            fmt::Display::fmt(line, f)?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut say = |directive, value: Option<String>| match value {
            Some(value) => writeln!(f, "{directive} {value}"),
            None => Ok(()),
        };
        say(".maxntid", self.max_threads.map(|e| e.to_string()))?;
        say(".reqntid", self.threads.map(|e| e.to_string()))?;
        say(".minnctapersm", self.min_blocks.map(|n| n.to_string()))?;
        say(".maxnreg", self.max_registers.map(|n| n.to_string()))?;
        say(".reqnctapercluster", self.cluster.map(|e| e.to_string()))?;
        say(".maxclusterrank", self.max_cluster.map(|n| n.to_string()))?;
        if self.explicit_cluster { writeln!(f, ".explicitcluster") } else { Ok(()) }
    }
}

fn comment(f: &mut fmt::Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    let space = if text.is_empty() { "" } else { " " };
    writeln!(f, "{indent}//{space}{text}")
}

/// `.reg .b32 %m, %acc<4>;`, in lines of at most [`WIDTH`] columns.
fn declarations(f: &mut fmt::Formatter<'_>, kind: Kind, all: &[Declared]) -> fmt::Result {
    let mut line = String::new();
    for d in all.iter().filter(|d| d.kind == kind) {
        let item = match d.count {
            None => format!("%{}", d.role),
            Some(count) => format!("%{}<{count}>", d.role),
        };
        if line.is_empty() {
            line = format!("    .reg {:<6}{item}", kind.directive());
        } else if line.len() + item.len() + 3 > WIDTH {
            writeln!(f, "{line};")?;
            line = format!("    .reg {:<6}{item}", kind.directive());
        } else {
            line.push_str(", ");
            line.push_str(&item);
        }
    }
    if line.is_empty() { Ok(()) } else { writeln!(f, "{line};") }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(text) => {
                writeln!(f)?;
                comment(f, "    ", &format!("---- {text}"))
            }
            Self::Note(text) => comment(f, "    ", text),
            Self::Label(label) => writeln!(f, "{label}:"),
            Self::Inst { guard, inst } => {
                let mut head = String::from("    ");
                if let Some(Guard { pred, negated }) = guard {
                    head.push_str(&format!("@{}{pred} ", if *negated { "!" } else { "" }));
                }
                let text = inst.text();
                let Some((mnemonic, operands)) = text.split_once(' ') else {
                    return writeln!(f, "{head}{text}");
                };
                head.push_str(mnemonic);
                let width = head.len().max(COLUMN - 1) + 1 + operands.len();
                if width > WIDTH && head.len() > COLUMN {
                    writeln!(f, "{head}\n{:COLUMN$}{operands}", "")
                } else {
                    writeln!(f, "{head:<w$} {operands}", w = COLUMN - 1)
                }
            }
        }
    }
}
