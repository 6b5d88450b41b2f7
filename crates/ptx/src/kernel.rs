//! A kernel as declarations and lines, and how they are added. The instructions' methods are in
//! `builder.rs`, the printer in `print.rs`.

use crate::name::Name;
use crate::reg::{Class, Kind, Pred, Reg, Vector};
use crate::table::{BASE_ISA, BASE_SM, Inst};
use crate::typed::{Label, ParamName, Symbol};

/// A text: its comment, then one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Lines of the comment at the top, without slashes.
    pub header: Vec<String>,
    /// PTX ISA version × 10, where it says a higher one than its kernel needs.
    pub version: Option<u16>,
    /// The target, where it says another one than its kernel needs.
    pub target: Option<Target>,
    /// The kernel.
    pub kernel: Kernel,
}

/// A target: `sm_80`, `sm_90a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Compute capability × 10.
    pub sm: u16,
    /// What it has beyond the capability.
    pub features: Features,
}

/// Which instructions a target has beyond those that later ones have too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// None.
    Common,
    /// `f`: those of its family.
    Family,
    /// `a`: its own.
    Own,
}

impl Target {
    /// Whether code for `self` may use what needs `least`.
    pub fn has(self, least: Target) -> bool {
        match least.features {
            Features::Common => self.sm >= least.sm,
            _ => self == least,
        }
    }
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
    /// The arrays in shared memory.
    pub shared: Vec<Shared>,
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

macro_rules! param_kinds {
    ($($(#[$doc:meta])* $Kind:ident = $text:literal, $bytes:literal;)*) => {
        /// The type of a parameter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ParamKind {
            $($(#[$doc])* #[doc = concat!("`", $text, "`")] $Kind,)*
            /// `.align A .b8 name[N]`: a value of the kernel's own type, such as a tensor map.
            Bytes {
                /// Alignment in bytes.
                align: u32,
                /// Bytes.
                len: u32,
            },
        }

        impl ParamKind {
            /// Every type but the arrays.
            pub const ALL: &[Self] = &[$(Self::$Kind),*];

            /// As PTX writes it.
            pub const fn directive(self) -> &'static str {
                match self { $(Self::$Kind => $text,)* Self::Bytes { .. } => ".b8" }
            }

            /// Bytes.
            pub const fn bytes(self) -> u32 {
                match self { $(Self::$Kind => $bytes,)* Self::Bytes { len, .. } => len }
            }

            /// Alignment in bytes.
            pub const fn align(self) -> u32 {
                match self { Self::Bytes { align, .. } => align, scalar => scalar.bytes() }
            }
        }
    };
}

param_kinds! {
    /// A pointer, or a number.
    U64 = ".u64", 8;
    /// A number.
    U32 = ".u32", 4;
    /// A number.
    F32 = ".f32", 4;
    /// A number.
    U16 = ".u16", 2;
    /// A number.
    U8 = ".u8", 1;
    /// A number.
    S64 = ".s64", 8;
    /// A number.
    S32 = ".s32", 4;
    /// A number.
    S16 = ".s16", 2;
    /// A number.
    S8 = ".s8", 1;
    /// Bits.
    B64 = ".b64", 8;
    /// Bits.
    B32 = ".b32", 4;
    /// Bits.
    B16 = ".b16", 2;
    /// Bits.
    B8 = ".b8", 1;
    /// A number.
    F64 = ".f64", 8;
}

/// Threads of a block, or blocks of a cluster, along x, y and z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Along x.
    pub x: u32,
    /// Along y; 1 if not said.
    pub y: u32,
    /// Along z; 1 if not said.
    pub z: u32,
}

impl Extent {
    /// How many in all.
    pub fn count(self) -> u64 {
        [self.x, self.y, self.z].into_iter().map(u64::from).fold(1, u64::saturating_mul)
    }
}

impl From<u32> for Extent {
    fn from(x: u32) -> Self {
        Self { x, y: 1, z: 1 }
    }
}

/// Bounds on the launch, each absent by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `.maxntid`: most threads of a block.
    pub max_threads: Option<Extent>,
    /// `.reqntid`: exactly so many.
    pub threads: Option<Extent>,
    /// `.minnctapersm`: blocks that a multiprocessor should hold.
    pub min_blocks: Option<u32>,
    /// `.maxnreg`: registers of a thread.
    pub max_registers: Option<u32>,
    /// `.reqnctapercluster`: blocks of a cluster.
    pub cluster: Option<Extent>,
    /// `.maxclusterrank`: most blocks of a cluster.
    pub max_cluster: Option<u32>,
    /// `.explicitcluster`: the launch names the cluster.
    pub explicit_cluster: bool,
}

impl Limits {
    /// Whether clusters are mentioned: PTX 7.8 and sm_90.
    fn clusters(&self) -> bool {
        self.cluster.is_some() || self.max_cluster.is_some() || self.explicit_cluster
    }
}

/// An array of bytes in shared memory.
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
            shared: Vec::new(),
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
        self.shared.push(Shared { symbol, align, bytes });
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

    /// `%role`, for use in passing: declared when it is first asked for, the same each time.
    pub fn scratch<C: Class>(&mut self, role: &str) -> Reg<C> {
        match self.has(role) {
            true => Reg::new(Name::new(role), None),
            false => self.reg(role),
        }
    }

    /// `%role0` … `%role{N-1}`, for use in passing.
    pub fn scratches<C: Class, const N: usize>(&mut self, role: &str) -> Vector<C, N> {
        match self.has(role) {
            true => Vector(std::array::from_fn(|i| Reg::new(Name::new(role), Some(i as u16)))),
            false => self.regs(role),
        }
    }

    fn has(&self, role: &str) -> bool {
        let role = Name::new(role);
        self.registers.iter().any(|d| d.role == role)
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

    /// The least PTX ISA version × 10 for all that it says.
    pub fn isa(&self) -> u16 {
        let limits = if self.limits.clusters() { 78 } else { BASE_ISA };
        self.instructions().map(Inst::isa).fold(limits, u16::max)
    }

    /// The least target for all that it says.
    pub fn sm(&self) -> u16 {
        let limits = if self.limits.clusters() { 90 } else { BASE_SM };
        self.instructions().map(Inst::sm).fold(limits, u16::max)
    }

    /// The same with what the target must have beyond.
    pub fn target(&self) -> Target {
        let own = self.instructions().any(|i| i.row().exact);
        Target { sm: self.sm(), features: if own { Features::Own } else { Features::Common } }
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
        let header = header.lines().map(one_line).collect();
        Self { header, version: None, target: None, kernel }
    }
}
