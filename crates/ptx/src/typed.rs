//! Operands as the builder takes them: classes are types, so that a generator cannot mix them up.

use crate::name::Name;
use crate::operand::{Address, Arg, Base};
use crate::reg::{B32, B64, Class, F32, Kind, Reg, Vector};
use std::fmt;

/// A source operand: a register or a constant.
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

impl<C: Class> From<Src<C>> for Arg {
    fn from(src: Src<C>) -> Self {
        match src {
            Src::Reg(reg) => Self::Reg(reg.into()),
            Src::Imm(bits) if C::KIND == Kind::F32 => Self::F32(bits as u32),
            Src::Imm(bits) if C::KIND == Kind::F64 => Self::F64(bits as u64),
            Src::Imm(value) => Self::Int(value),
        }
    }
}

impl<C: Class> fmt::Debug for Src<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Arg::from(*self), f)
    }
}

impl<C: Class> From<Reg<C>> for Arg {
    fn from(reg: Reg<C>) -> Self {
        Self::Reg(reg.into())
    }
}

impl<C: Class, const N: usize> From<Vector<C, N>> for Arg {
    fn from(vector: Vector<C, N>) -> Self {
        Self::Vector(vector.0.into_iter().map(Self::from).collect())
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

impl<C: Class> From<Addr<C>> for Address {
    fn from(at: Addr<C>) -> Self {
        Self { base: Base::Reg(at.base.into()), offset: at.offset }
    }
}

impl<C: Class> fmt::Debug for Addr<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Address::from(*self), f)
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $Type:ident) => {
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
    };
}

named!(
    /// A place in the kernel that a branch may name.
    Label
);
named!(
    /// A parameter of the kernel.
    ParamName
);
named!(
    /// An array in shared memory; as an operand, its address.
    Symbol
);

impl From<ParamName> for Address {
    fn from(param: ParamName) -> Self {
        Self { base: Base::Param(param.0), offset: 0 }
    }
}

impl From<ParamName> for Arg {
    fn from(param: ParamName) -> Self {
        Self::Symbol(param.0, 0)
    }
}

impl From<Symbol> for Arg {
    fn from(symbol: Symbol) -> Self {
        Self::Symbol(symbol.0, 0)
    }
}
