//! Registers, named by role: `%acc3`, `%meta`. A new role renumbers nothing.

use crate::name::Name;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// The register classes, in the order of their declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `.pred`
    Pred,
    /// `.b16`
    B16,
    /// `.b32`: integers of 32 bits, packed halves, shared-memory addresses.
    B32,
    /// `.b64`: global addresses.
    B64,
    /// `.f32`
    F32,
    /// `.f64`
    F64,
}

impl Kind {
    /// Every class.
    pub const ALL: [Self; 6] = [Self::Pred, Self::B16, Self::B32, Self::B64, Self::F32, Self::F64];

    /// As PTX writes it.
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Pred => ".pred",
            Self::B16 => ".b16",
            Self::B32 => ".b32",
            Self::B64 => ".b64",
            Self::F32 => ".f32",
            Self::F64 => ".f64",
        }
    }

    /// Width; 1 for a predicate.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Pred => 1,
            Self::B16 => 16,
            Self::B32 | Self::F32 => 32,
            Self::B64 | Self::F64 => 64,
        }
    }
}

/// A register class as a type.
pub trait Class: Copy + fmt::Debug + Eq + Hash + 'static {
    /// The class as a value.
    const KIND: Kind;
}

macro_rules! classes {
    ($($Class:ident),*) => { $(
        #[doc = concat!("The class of [`Kind::", stringify!($Class), "`].")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Class {}
        impl Class for $Class {
            const KIND: Kind = Kind::$Class;
        }
    )* };
}
classes!(Pred, B16, B32, B64, F32, F64);

/// A register: `%role`, or `%role3` as one of a declared array.
pub struct Reg<C> {
    role: Name,
    index: Option<u16>,
    class: PhantomData<C>,
}

impl Reg<B32> {
    /// The same register, where an instruction takes its bits for a float: `.b32` agrees with all types of
    /// 32 bits (9.7.1).
    pub const fn as_f32(self) -> Reg<F32> {
        Reg::new(self.role, self.index)
    }
}

impl<C: Class> Reg<C> {
    pub(crate) const fn new(role: Name, index: Option<u16>) -> Self {
        Self { role, index, class: PhantomData }
    }

    /// What it is for.
    pub fn role(&self) -> Name {
        self.role
    }

    /// Its place in the declared array of its role, if that is one.
    pub fn index(&self) -> Option<u16> {
        self.index
    }

    /// The class as a value.
    pub fn kind(&self) -> Kind {
        C::KIND
    }

    /// The address `[self + offset]`, in bytes.
    pub fn at(self, offset: i32) -> crate::Addr<C> {
        crate::Addr { base: self, offset }
    }
}

// By hand, for a derive would ask the same of the class.
impl<C> Clone for Reg<C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> Copy for Reg<C> {}
impl<C> PartialEq for Reg<C> {
    fn eq(&self, other: &Self) -> bool {
        (self.role, self.index) == (other.role, other.index)
    }
}
impl<C> Eq for Reg<C> {}
impl<C> Hash for Reg<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.role, self.index).hash(state);
    }
}

impl<C> fmt::Display for Reg<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => write!(f, "%{}", self.role),
            Some(i) => write!(f, "%{}{i}", self.role),
        }
    }
}

impl<C> fmt::Debug for Reg<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A register whose class is a value: what an instruction holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnyReg {
    /// Its class.
    pub kind: Kind,
    /// What it is for.
    pub role: Name,
    /// Its place in the declared array of its role, if that is one.
    pub index: Option<u16>,
}

impl<C: Class> From<Reg<C>> for AnyReg {
    fn from(reg: Reg<C>) -> Self {
        Self { kind: C::KIND, role: reg.role, index: reg.index }
    }
}

impl fmt::Display for AnyReg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => write!(f, "%{}", self.role),
            Some(i) => write!(f, "%{}{i}", self.role),
        }
    }
}

impl fmt::Debug for AnyReg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// N registers as one operand: `{%acc0, %acc1}`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vector<C, const N: usize>(pub [Reg<C>; N]);

impl<C, const N: usize> From<[Reg<C>; N]> for Vector<C, N> {
    fn from(regs: [Reg<C>; N]) -> Self {
        Self(regs)
    }
}

impl<C, const N: usize> std::ops::Index<usize> for Vector<C, N> {
    type Output = Reg<C>;
    fn index(&self, i: usize) -> &Reg<C> {
        &self.0[i]
    }
}

impl<C, const N: usize> fmt::Display for Vector<C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, reg) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            fmt::Display::fmt(reg, f)?;
        }
        f.write_str("}")
    }
}

impl<C, const N: usize> fmt::Debug for Vector<C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
