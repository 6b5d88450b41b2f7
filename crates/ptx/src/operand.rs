//! What stands between the commas of an instruction: each kind of operand prints itself and reads
//! itself back. Whether it suits its instruction, the row's rule says (`rule.rs`).

use crate::cursor::{Cursor, Fault};
use crate::modifier::Special;
use crate::name::Name;
use crate::reg::AnyReg;
use crate::table::{BASE_ISA, BASE_SM};
use crate::typed::Label;
use std::fmt;

/// A kind of operand, or of modifier.
pub trait Operand: Clone + PartialEq + fmt::Debug + fmt::Display + Sized {
    /// Reads what `Display` writes.
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault>;

    /// The least PTX ISA version × 10 that knows it.
    fn isa(&self) -> u16 {
        BASE_ISA
    }

    /// The least target that knows it.
    fn sm(&self) -> u16 {
        BASE_SM
    }

    /// Values that reach every form of its text; the tests of the table use them. Where a row states
    /// a rule, that gives them.
    #[cfg(test)]
    fn samples() -> Vec<Self> {
        Vec::new()
    }
}

/// A source or a destination.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Arg {
    /// A register.
    Reg(AnyReg),
    /// `!%p`: the predicate's opposite.
    Not(AnyReg),
    /// `{a, b}`: registers, sinks or constants.
    Vector(Vec<Arg>),
    /// An integer; for 64 bits without sign, the same bits.
    Int(i64),
    /// The bits of an f32 constant.
    F32(u32),
    /// The bits of an f64 constant.
    F64(u64),
    /// A special register.
    Special(Special),
    /// The address of an array in shared memory, or of a parameter, plus so many bytes.
    Symbol(Name, i32),
    /// `_`: the value is dropped. Also an optional operand that is absent.
    Sink,
}

impl Arg {
    /// The register, if it is one.
    pub fn reg(&self) -> Option<AnyReg> {
        match self {
            Self::Reg(reg) => Some(*reg),
            _ => None,
        }
    }

    /// The elements of a vector, or the one operand.
    pub fn elements(&self) -> &[Arg] {
        match self {
            Self::Vector(elements) => elements,
            one => std::slice::from_ref(one),
        }
    }

    fn element(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        if c.sink() {
            return Ok(Self::Sink);
        }
        match c.peek() {
            Some(b'-' | b'0'..=b'9') => c.constant(),
            _ => c.register().map(Self::Reg),
        }
    }
}

impl From<AnyReg> for Arg {
    fn from(reg: AnyReg) -> Self {
        Self::Reg(reg)
    }
}

impl From<Special> for Arg {
    fn from(special: Special) -> Self {
        Self::Special(special)
    }
}

/// From here on a constant is a mask or a pattern rather than a count: written in hexadecimal.
const HEX_FROM: i64 = 1 << 16;

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => fmt::Display::fmt(reg, f),
            Self::Not(reg) => write!(f, "!{reg}"),
            Self::Vector(elements) => {
                f.write_str("{")?;
                for (i, element) in elements.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    fmt::Display::fmt(element, f)?;
                }
                f.write_str("}")
            }
            Self::Int(value) if *value >= HEX_FROM => write!(f, "{value:#x}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::F32(bits) => write!(f, "0f{bits:08X}"),
            Self::F64(bits) => write!(f, "0d{bits:016X}"),
            Self::Special(special) => fmt::Display::fmt(special, f),
            Self::Symbol(name, 0) => fmt::Display::fmt(name, f),
            Self::Symbol(name, offset) => write!(f, "{name}+{offset}"),
            Self::Sink => f.write_str("_"),
        }
    }
}

impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Operand for Arg {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        if c.accept("!") {
            return c.register().map(Self::Not);
        }
        if c.accept("{") {
            let mut elements = vec![Self::element(c)?];
            while c.accept(",") {
                elements.push(Self::element(c)?);
            }
            c.expect("}")?;
            return Ok(Self::Vector(elements));
        }
        if c.sink() {
            return Ok(Self::Sink);
        }
        if matches!(c.peek(), Some(b'-' | b'0'..=b'9')) {
            return c.constant();
        }
        if let Some(special) = c.special() {
            return Ok(Self::Special(special));
        }
        if let Some(symbol) = c.symbol()? {
            return Ok(Self::Symbol(symbol, c.offset()?));
        }
        c.register().map(Self::Reg)
    }

    fn isa(&self) -> u16 {
        if let Self::Special(special) = self { special.isa() } else { BASE_ISA }
    }

    fn sm(&self) -> u16 {
        if let Self::Special(special) = self { special.sm() } else { BASE_SM }
    }
}

/// What an address counts from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Base {
    /// A register.
    Reg(AnyReg),
    /// A parameter of the kernel.
    Param(Name),
    /// An array in shared memory.
    Symbol(Name),
    /// Zero.
    Absolute,
}

/// An address, `[base+offset]`, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// What it counts from.
    pub base: Base,
    /// Bytes.
    pub offset: i32,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            Base::Reg(reg) => write!(f, "[{reg}")?,
            Base::Param(name) | Base::Symbol(name) => write!(f, "[{name}")?,
            Base::Absolute => return write!(f, "[{}]", self.offset),
        }
        match self.offset {
            0 => f.write_str("]"),
            offset => write!(f, "+{offset}]"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Operand for Address {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        c.expect("[")?;
        let base = match c.peek() {
            Some(b'-' | b'0'..=b'9') => {
                let offset = c.integer(i32::MIN as i128, i32::MAX as i128)? as i32;
                c.expect("]")?;
                return Ok(Self { base: Base::Absolute, offset });
            }
            _ => match c.symbol()? {
                Some(name) if c.is_param(name) => Base::Param(name),
                Some(name) => Base::Symbol(name),
                None => Base::Reg(c.register()?),
            },
        };
        let offset = c.offset()?;
        c.expect("]")?;
        Ok(Self { base, offset })
    }
}

/// An unsigned constant: a selector, a size, a count of groups.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Imm(pub u32);

impl From<u32> for Imm {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl fmt::Display for Imm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 as i64 >= HEX_FROM { write!(f, "{:#x}", self.0) } else { write!(f, "{}", self.0) }
    }
}

impl Operand for Imm {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        c.integer(0, u32::MAX as i128).map(|v| Self(v as u32))
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        [0, 1, 2, 4, 8, 16, 24, 0x96, u32::MAX].map(Self).to_vec()
    }
}

/// Constants that end a `wgmma`: signs of A and B, then which of them is transposed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Imms(pub Vec<i8>);

impl fmt::Display for Imms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|value| write!(f, ", {value}"))
    }
}

impl Operand for Imms {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        let mut list = Vec::new();
        while list.len() < 4 && c.accept(",") {
            list.push(c.integer(-1, 1)? as i8);
        }
        Ok(Self(list))
    }
}

/// The shape of a warpgroup's product, `m64nNkK`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WgmmaShape {
    /// Columns of B and D: a multiple of 8, at most 256.
    pub n: u16,
    /// Depth, before the sparse half of A is left out.
    pub k: u16,
}

impl fmt::Display for WgmmaShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m64n{}k{}", self.n, self.k)
    }
}

impl Operand for WgmmaShape {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        let start = c.position();
        let extents = c.digits_after("m64n").zip(c.digits_after("k"));
        let shape = extents.map(|(n, k)| Self { n, k });
        let n_fits = |s: &Self| s.n.is_multiple_of(8) && (8..=256).contains(&s.n);
        shape.filter(|s| n_fits(s) && [8, 16, 32, 64].contains(&s.k)).ok_or_else(|| {
            c.fault_at(start, "m64nNkK is wanted here: N a multiple of 8 up to 256, K of 8 to 64")
        })
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        let n = [8, 24, 64, 96]; // more of them at once is too much for ptxas
        n.iter().flat_map(|&n| [8, 16, 32, 64].map(|k| Self { n, k })).collect()
    }
}

/// The text of a `.pragma`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Quoted(pub String);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl Operand for Quoted {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        c.quoted().map(Self)
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        vec![Self("nounroll".to_string())]
    }
}

impl Operand for Label {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        let start = c.position();
        let name = c.identifier()?;
        c.label(name).map(Self).ok_or_else(|| c.fault_at(start, "no such label in this kernel"))
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        vec![Self::from("k_loop")]
    }
}
