//! What stands between the commas of an instruction, and inside its mnemonic: each kind of operand
//! prints itself, reads itself back, and names the PTX version that it asks for.

use crate::cursor::{Cursor, Fault};
use crate::reg::{B32, B64, Class, F32, Kind, Name, Reg, Vector};
use std::fmt;

/// A kind of operand.
pub trait Operand: Clone + PartialEq + fmt::Debug + fmt::Display + Sized {
    /// Reads what `Display` writes.
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault>;

    /// The least PTX ISA version × 10 that knows it.
    fn isa(&self) -> u16 {
        crate::table::BASE_ISA
    }

    /// Values that reach every form of its text; the tests of the table use them.
    #[cfg(test)]
    fn samples() -> Vec<Self>;
}

impl<C: Class> Operand for Reg<C> {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        c.register(C::KIND).map(|(role, index)| Self::new(role, index))
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        let role = match C::KIND {
            Kind::Pred => "p",
            Kind::B16 => "h",
            Kind::B32 => "r",
            Kind::B64 => "rd",
            Kind::F32 => "f",
        };
        let one = Name::new(&format!("{role}one"));
        vec![Self::new(Name::new(role), Some(7)), Self::new(one, None)]
    }
}

impl<C: Class, const N: usize> Operand for Vector<C, N> {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        c.expect("{")?;
        let mut read = |i: usize| {
            if i > 0 {
                c.expect(",")?;
            }
            Reg::<C>::parse(c)
        };
        let mut regs = [read(0)?; N];
        for (i, slot) in regs.iter_mut().enumerate().skip(1) {
            *slot = read(i)?;
        }
        c.expect("}")?;
        Ok(Self(regs))
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        let role = Reg::<C>::samples()[0].role();
        vec![Self(std::array::from_fn(|i| Reg::new(role, Some(i as u16))))]
    }
}

/// A register, or a constant in its place. Constants of f32 are written by their bits (`0f3F800000`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Src<C> {
    /// A register.
    Reg(Reg<C>),
    /// A constant; for f32 its 32 bits.
    Imm(i64),
}

impl<C> From<Reg<C>> for Src<C> {
    fn from(reg: Reg<C>) -> Self {
        Self::Reg(reg)
    }
}
impl From<i32> for Src<B32> {
    fn from(value: i32) -> Self {
        Self::Imm(value as i64)
    }
}
impl From<u32> for Src<B32> {
    fn from(value: u32) -> Self {
        Self::Imm(value as i64)
    }
}
impl From<i64> for Src<B64> {
    fn from(value: i64) -> Self {
        Self::Imm(value)
    }
}
impl From<i32> for Src<B64> {
    fn from(value: i32) -> Self {
        Self::Imm(value as i64)
    }
}
impl From<f32> for Src<F32> {
    fn from(value: f32) -> Self {
        Self::Imm(value.to_bits() as i64)
    }
}

/// From here on a constant is a mask or a pattern rather than a count: written in hexadecimal.
const HEX_FROM: i64 = 1 << 16;

impl<C: Class> fmt::Display for Src<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Reg(reg) => fmt::Display::fmt(&reg, f),
            Self::Imm(bits) if C::KIND == Kind::F32 => write!(f, "0f{bits:08X}"),
            Self::Imm(value) if value >= HEX_FROM => write!(f, "{value:#x}"),
            Self::Imm(value) => write!(f, "{value}"),
        }
    }
}

impl<C: Class> fmt::Debug for Src<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C: Class> Operand for Src<C> {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        if c.peek() == Some(b'%') {
            return Reg::parse(c).map(Self::Reg);
        }
        match C::KIND {
            Kind::F32 => c.f32_bits().map(|bits| Self::Imm(bits as i64)),
            Kind::B64 => c.integer(i64::MIN as i128, i64::MAX as i128).map(Self::Imm),
            Kind::B32 => c.integer(i32::MIN as i128, u32::MAX as i128).map(Self::Imm),
            Kind::B16 | Kind::Pred => Err(c.fault("a register is wanted here")),
        }
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        let mut all = vec![Self::Reg(Reg::samples()[0])];
        match C::KIND {
            Kind::F32 => {
                all.extend([0.0f32, -1.5, f32::NAN].map(|v| Self::Imm(v.to_bits() as i64)))
            }
            Kind::B32 => all.extend([0, -7, 65535, 65536, 0xffff_ffff].map(Self::Imm)),
            Kind::B64 => all.extend([0, i64::MIN, i64::MAX].map(Self::Imm)),
            Kind::B16 | Kind::Pred => {}
        }
        all
    }
}

/// An address, `[base+offset]`, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addr<C> {
    /// B64 for global memory, B32 for shared.
    pub base: Reg<C>,
    /// Bytes.
    pub offset: i32,
}

impl<C> From<Reg<C>> for Addr<C> {
    fn from(base: Reg<C>) -> Self {
        Self { base, offset: 0 }
    }
}

impl<C> fmt::Display for Addr<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            0 => write!(f, "[{}]", self.base),
            offset => write!(f, "[{}+{offset}]", self.base),
        }
    }
}

impl<C> fmt::Debug for Addr<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C: Class> Operand for Addr<C> {
    fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        c.expect("[")?;
        let base = Reg::parse(c)?;
        let offset =
            if c.accept("+") { c.integer(i32::MIN as i128, i32::MAX as i128)? as i32 } else { 0 };
        c.expect("]")?;
        Ok(Self { base, offset })
    }

    #[cfg(test)]
    fn samples() -> Vec<Self> {
        let base = Reg::samples()[0];
        [0, 16, -24].map(|offset| Self { base, offset }).to_vec()
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
        vec![Self(0), Self(16), Self(u32::MAX)]
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $Type:ident, $check:ident, $missing:literal, $sample:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub struct $Type(pub Name);

        impl From<&str> for $Type {
            fn from(name: &str) -> Self {
                Self(Name::new(name))
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl Operand for $Type {
            fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
                let start = c.position();
                let name = c.identifier()?;
                if c.$check(name) { Ok(Self(name)) } else { Err(c.fault_at(start, $missing)) }
            }

            #[cfg(test)]
            fn samples() -> Vec<Self> {
                vec![Self::from($sample)]
            }
        }
    };
}

named!(
    /// A place in the kernel that a branch may name.
    Label, has_label, "no such label in this kernel", "k_loop"
);
named!(
    /// A parameter of the kernel.
    ParamName, has_param, "no such parameter of this kernel", "x"
);
named!(
    /// The kernel's array in shared memory; as an operand, its address.
    Symbol, has_symbol, "no such array in shared memory", "smem"
);

/// A part of a mnemonic that takes one of a few spellings.
macro_rules! modifier {
    ($(#[$doc:meta])* $Type:ident { $( $(#[$vdoc:meta])* $Variant:ident = $text:literal $(isa $isa:literal)? ),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Type { $( $(#[$vdoc])* #[doc = concat!(" `", $text, "`")] $Variant ),* }

        impl $Type {
            /// Every spelling.
            pub const ALL: &[Self] = &[$( Self::$Variant ),*];
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $( Self::$Variant => $text ),* })
            }
        }

        impl Operand for $Type {
            fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
                let mut best: Option<(Self, &'static str)> = None;
                $( if c.starts_with($text) && best.is_none_or(|(_, b)| b.len() < $text.len()) {
                    best = Some((Self::$Variant, $text));
                } )*
                match best {
                    Some((value, text)) => { c.advance(text.len()); Ok(value) }
                    None => Err(c.fault(concat!("one of", $( " `", $text, "`" ),*, " is wanted here"))),
                }
            }

            #[allow(unreachable_patterns)]
            fn isa(&self) -> u16 {
                match self { $( $( Self::$Variant => $isa, )? )* _ => crate::table::BASE_ISA }
            }

            #[cfg(test)]
            fn samples() -> Vec<Self> {
                Self::ALL.to_vec()
            }
        }
    };
}

modifier!(
    /// Special registers.
    Special {
        /// Thread in the block.
        TidX = "%tid.x",
        /// Threads of a block.
        NtidX = "%ntid.x",
        /// Block along x.
        CtaidX = "%ctaid.x",
        /// Block along y.
        CtaidY = "%ctaid.y",
        /// Block along z.
        CtaidZ = "%ctaid.z",
        /// Blocks along x.
        NctaidX = "%nctaid.x",
        /// Blocks along y.
        NctaidY = "%nctaid.y",
        /// Blocks along z.
        NctaidZ = "%nctaid.z",
        /// Lane in the warp.
        LaneId = "%laneid",
    }
);
modifier!(
    /// How a load from global memory uses the caches.
    Cache {
        /// Coherent.
        Default = "",
        /// Read-only data.
        Nc = ".nc",
        /// Read-only data that is read once: kept out of L1.
        NcOnce = ".nc.L1::no_allocate" isa 74,
        /// The same, and L2 fetches 128 bytes.
        NcOnce128 = ".nc.L1::no_allocate.L2::128B" isa 74,
    }
);
modifier!(
    /// How much L2 fetches beside what is asked.
    Prefetch {
        /// Nothing more.
        None = "",
        /// 128 bytes.
        L2b128 = ".L2::128B" isa 74,
        /// 256 bytes.
        L2b256 = ".L2::256B" isa 74,
    }
);
modifier!(
    /// Whether `ldmatrix` transposes each 8×8 matrix.
    Trans {
        /// As stored.
        No = "",
        /// Transposed.
        Yes = ".trans",
    }
);
modifier!(
    /// 16-bit types of the tensor units.
    Half {
        /// IEEE binary16.
        F16 = "f16",
        /// bfloat16.
        BF16 = "bf16",
    }
);
modifier!(
    /// How an operation reads 32 bits as a number.
    Int {
        /// Unsigned.
        U32 = "u32",
        /// Two's complement.
        S32 = "s32",
    }
);
modifier!(
    /// Comparisons; of floats the ordered ones: false with a NaN, but `ne` too.
    Cmp {
        /// =
        Eq = "eq",
        /// ≠
        Ne = "ne",
        /// <
        Lt = "lt",
        /// ≤
        Le = "le",
        /// >
        Gt = "gt",
        /// ≥
        Ge = "ge",
    }
);
modifier!(
    /// Which lane `shfl.sync` reads.
    Shuffle {
        /// lane xor b
        Bfly = "bfly",
        /// lane + b
        Down = "down",
        /// lane − b
        Up = "up",
        /// lane b
        Idx = "idx",
    }
);
