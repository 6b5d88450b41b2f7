//! A kernel as lines, the builder that writes them, and the printer.

use crate::operand::{Label, ParamName, Symbol};
use crate::reg::{Class, Kind, Name, Pred, Reg, Vector};
use crate::table::{BASE_ISA, BASE_SM, Inst};
use std::fmt;

/// A text: its comment, then one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Lines of the comment at the top, without slashes.
    pub header: Vec<String>,
    /// The kernel.
    pub kernel: Kernel,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// The entry point.
    pub name: String,
    /// The parameters, in order.
    pub params: Vec<Param>,
    /// Bounds on the launch.
    pub limits: Limits,
    /// The array in shared memory.
    pub shared: Option<Shared>,
    /// The body.
    pub lines: Vec<Line>,
    registers: Vec<Declared>,
    pending: Option<Guard>,
}

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub kind: ParamKind,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// `.u64`: a pointer.
    U64,
    /// `.u32`
    U32,
    /// `.f32`
    F32,
}

impl ParamKind {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::U64, Self::U32, Self::F32];

    /// As PTX writes it.
    pub const fn directive(self) -> &'static str {
        match self {
            Self::U64 => ".u64",
            Self::U32 => ".u32",
            Self::F32 => ".f32",
        }
    }
}

/// Bounds on the launch, each absent by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `.maxntid`: most threads of a block.
    pub max_threads: Option<u32>,
    /// `.reqntid`: exactly so many.
    pub threads: Option<u32>,
    /// `.minnctapersm`: blocks that a multiprocessor should hold.
    pub min_blocks: Option<u32>,
}

/// The kernel's array of bytes in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Its name.
    pub symbol: Symbol,
    /// Alignment in bytes.
    pub align: u32,
    /// Bytes; `None`: the launch decides.
    pub bytes: Option<u32>,
}

/// A declared register, or array of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The class.
    pub kind: Kind,
    /// What they are for.
    pub role: Name,
    /// How many, for an array.
    pub count: Option<u16>,
}

/// A line of the body.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every line is an instruction")]
pub enum Line {
    /// A heading: `// ---- text`.
    Section(String),
    /// A remark on what follows.
    Note(String),
    /// A place to branch to.
    Label(Label),
    /// An instruction.
    Inst {
        /// Executed only by lanes where this holds.
        guard: Option<Guard>,
        /// The instruction.
        inst: Inst,
    },
}

/// `@p` or `@!p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The predicate.
    pub pred: Reg<Pred>,
    /// Whether it must be false.
    pub negated: bool,
}

impl Kernel {
    /// A kernel without parameters, registers or lines.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            params: Vec::new(),
            limits: Limits::default(),
            shared: None,
            lines: Vec::new(),
            registers: Vec::new(),
            pending: None,
        }
    }

    /// Adds a parameter.
    pub fn param(&mut self, name: &str, kind: ParamKind) -> ParamName {
        let name = Name::new(name);
        self.params.push(Param { name, kind });
        ParamName(name)
    }

    /// Shared memory whose size the launch decides.
    pub fn dynamic_shared(&mut self, name: &str, align: u32) -> Symbol {
        self.set_shared(name, align, None)
    }

    /// Shared memory of this many bytes.
    pub fn static_shared(&mut self, name: &str, align: u32, bytes: u32) -> Symbol {
        self.set_shared(name, align, Some(bytes))
    }

    fn set_shared(&mut self, name: &str, align: u32, bytes: Option<u32>) -> Symbol {
        let symbol = Symbol::from(name);
        self.shared = Some(Shared { symbol, align, bytes });
        symbol
    }

    /// Declares `%role`. Each role is declared once.
    pub fn reg<C: Class>(&mut self, role: &str) -> Reg<C> {
        let role = Name::new(role);
        self.declare(Declared { kind: C::KIND, role, count: None });
        Reg::new(role, None)
    }

    /// Declares `%role0` … `%role{N-1}`. Each role is declared once, and ends in no digit.
    pub fn regs<C: Class, const N: usize>(&mut self, role: &str) -> Vector<C, N> {
        let role = Name::new(role);
        self.declare(Declared { kind: C::KIND, role, count: Some(N as u16) });
        Vector(std::array::from_fn(|i| Reg::new(role, Some(i as u16))))
    }

    /// The same where the number is computed.
    pub fn reg_list<C: Class>(&mut self, role: &str, count: usize) -> Vec<Reg<C>> {
        let role = Name::new(role);
        self.declare(Declared { kind: C::KIND, role, count: Some(count as u16) });
        (0..count).map(|i| Reg::new(role, Some(i as u16))).collect()
    }

    /// Declarations are kept by class, each in the order of asking, as they are printed.
    pub(crate) fn declare(&mut self, new: Declared) {
        let at = self.registers.partition_point(|d| d.kind <= new.kind);
        self.registers.insert(at, new);
    }

    /// The declared registers.
    pub fn registers(&self) -> &[Declared] {
        &self.registers
    }

    /// A heading.
    pub fn section(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.lines.push(Line::Section(one_line(text.as_ref())));
        self
    }

    /// A remark; one line for each line of `text`.
    pub fn note(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.lines.extend(text.as_ref().lines().map(|l| Line::Note(one_line(l))));
        self
    }

    /// Puts the label here.
    pub fn place(&mut self, label: impl Into<Label>) -> &mut Self {
        self.lines.push(Line::Label(label.into()));
        self
    }

    /// The next instruction is executed only where `pred` holds.
    pub fn when(&mut self, pred: Reg<Pred>) -> &mut Self {
        self.pending = Some(Guard { pred, negated: false });
        self
    }

    /// The next instruction is executed only where `pred` does not hold.
    pub fn unless(&mut self, pred: Reg<Pred>) -> &mut Self {
        self.pending = Some(Guard { pred, negated: true });
        self
    }

    /// Adds an instruction, under the guard of a `when` or `unless` before it.
    pub fn inst(&mut self, inst: Inst) -> &mut Self {
        let guard = self.pending.take();
        self.lines.push(Line::Inst { guard, inst });
        self
    }

    /// The instructions, without their guards.
    pub fn instructions(&self) -> impl Iterator<Item = &Inst> {
        self.lines.iter().filter_map(|line| match line {
            Line::Inst { inst, .. } => Some(inst),
            _ => None,
        })
    }

    /// The least PTX ISA version × 10 for all of its instructions.
    pub fn isa(&self) -> u16 {
        self.instructions().map(Inst::isa).max().unwrap_or(BASE_ISA)
    }

    /// The least target for all of its instructions.
    pub fn sm(&self) -> u16 {
        self.instructions().map(|i| i.row().sm).max().unwrap_or(BASE_SM)
    }
}

/// Comments hold one line, without space at its end, in ASCII: PTX is ASCII (manual, 4.1), and
/// ptxas 12 refuses anything else even in comments. Generators write formulas as they like.
fn one_line(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => ascii.push(' '),
            c if c.is_ascii() => ascii.push(c),
            c => {
                let known = ASCII.iter().find(|(from, _)| from.contains(c));
                ascii.push_str(known.map_or("?", |(_, to)| to));
            }
        }
    }
    ascii.trim_end().to_string()
}

/// Characters of formulas, and what stands for them.
const ASCII: &[(&str, &str)] = &[
    ("×", "x"),
    ("·", "*"),
    ("−–—", "-"),
    ("≤", "<="),
    ("≥", ">="),
    ("≠", "!="),
    ("→", "->"),
    ("√", "sqrt "),
    ("Σ", "sum "),
    ("σ", "sigma"),
    ("π", "pi"),
    ("∞", "inf"),
    ("…", "..."),
    ("⌈", "ceil("),
    ("⌊", "floor("),
    ("⌉⌋", ")"),
    ("⊕", "xor"),
    ("∧", "and"),
    ("∨", "or"),
    ("ᵀ", "^T"),
    ("ᵃ", "^a"),
    ("ˣ", "x"),
    ("⁻", "^-"),
    ("²", "^2"),
    ("³", "^3"),
    ("ä", "ae"),
];

impl Module {
    /// A kernel under a comment; each line of `header` is a line of it.
    pub fn new(header: &str, kernel: Kernel) -> Self {
        Self { header: header.lines().map(one_line).collect(), kernel }
    }
}

/// Operands begin in this column (from 0).
const COLUMN: usize = 28;
/// A longer statement has its operands on a line of their own.
const WIDTH: usize = 100;

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.header {
            comment(f, "", line)?;
        }
        let k = &self.kernel;
        writeln!(f, ".version {}.{}", k.isa() / 10, k.isa() % 10)?;
        writeln!(f, ".target sm_{}", k.sm())?;
        writeln!(f, ".address_size 64\n")?;
        if let Some(Shared { symbol, align, bytes }) = k.shared {
            match bytes {
                None => writeln!(f, ".extern .shared .align {align} .b8 {symbol}[];\n")?,
                Some(bytes) => writeln!(f, ".shared .align {align} .b8 {symbol}[{bytes}];\n")?,
            }
        }
        writeln!(f, ".visible .entry {}(", k.name)?;
        for (i, param) in k.params.iter().enumerate() {
            let comma = if i + 1 < k.params.len() { "," } else { "" };
            writeln!(f, "    .param {} {}{comma}", param.kind.directive(), param.name)?;
        }
        writeln!(f, ")")?;
        let Limits { max_threads, threads, min_blocks } = k.limits;
        let limits =
            [(".maxntid", max_threads), (".reqntid", threads), (".minnctapersm", min_blocks)];
        for (directive, value) in limits {
            if let Some(value) = value {
                writeln!(f, "{directive} {value}")?;
            }
        }
        writeln!(f, "{{")?;
        for kind in Kind::ALL {
            declarations(f, kind, &k.registers)?;
        }
        for line in &k.lines {
            fmt::Display::fmt(line, f)?;
        }
        writeln!(f, "}}")
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
