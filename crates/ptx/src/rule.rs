//! What an operand must be for its instruction: which registers, how many, whether a constant will
//! do. A row states it beside the operand: `d: Arg = to(ty)`.

use crate::modifier::{Space, Type, VoteMode, Width};
use crate::operand::{Address, Arg, Base, Imm, Imms};
use crate::reg::Kind;

/// The rule of a source or destination.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Want {
    /// What an element is taken for; `None`: nothing may stand here.
    ty: Option<Type>,
    /// Elements of a vector; 0: one operand without braces.
    count: usize,
    /// A constant will do.
    constant: bool,
    /// A register may be wider than the type (manual, 9.4.1: loads, stores and conversions).
    wider: bool,
    /// `_` will do.
    sink: bool,
    /// `!%p` will do.
    not: bool,
    /// A vector that fills the type will do: `mov` packs, or takes apart.
    parts: bool,
    /// A special register will do.
    special: bool,
    /// The address of an array in shared memory will do.
    symbol: bool,
    /// A constant must lie within these, the bounds included.
    range: Option<(i64, i64)>,
    /// Instead of the vector, a register of 64 bits will do: a matrix descriptor.
    descriptor: bool,
}

/// A register of this type, written or read.
pub(crate) fn reg(ty: &Type) -> Want {
    Want { ty: Some(*ty), ..Want::default() }
}

/// A register of this type, or a constant.
pub(crate) fn from(ty: &Type) -> Want {
    Want { constant: ty.bits() >= 16 && !is_half(*ty), ..reg(ty) }
}

/// So many registers of this type, in braces.
pub(crate) fn regs(count: usize, ty: &Type) -> Want {
    Want { count, ..reg(ty) }
}

/// What a load writes.
pub(crate) fn loaded(vec: &Width, ty: &Type) -> Want {
    let count = if *vec == Width::V1 { 0 } else { vec.count() };
    Want { count, wider: true, sink: count > 0, ..reg(ty) }
}

/// What a store reads.
pub(crate) fn stored(vec: &Width, ty: &Type) -> Want {
    Want { sink: false, constant: true, ..loaded(vec, ty) }
}

/// An address within the space, or an array that lies there.
pub(crate) fn address_in(space: &Space) -> Want {
    Want { symbol: space.is_shared(), ..reg(&Type::U64) }
}

/// So many registers of this type or constants, in braces.
pub(crate) fn values(count: usize, ty: &Type) -> Want {
    Want { count, ..from(ty) }
}

/// Accumulators of a lane: so many values, two of f16 in a register.
pub(crate) fn accumulators(values: usize, ty: &Type) -> Want {
    match ty {
        Type::F16 => regs(values / 2, &Type::U32),
        ty => regs(values, ty),
    }
}

/// A lane's share of A, or the descriptor of A in shared memory.
pub(crate) fn registers_or_descriptor() -> Want {
    Want { descriptor: true, ..regs(4, &Type::U32) }
}

/// Nothing: an optional operand that is absent.
pub(crate) fn absent() -> Want {
    Want { sink: true, ..Want::default() }
}

/// The operand if the modifier before asks for it, else nothing.
pub(crate) fn only_if(asked: bool, want: Want) -> Want {
    if asked { want } else { absent() }
}

impl Want {
    /// A register may be wider than the type.
    pub(crate) fn wider_if(self, wider: bool) -> Self {
        Self { wider, ..self }
    }
    pub(crate) fn or_sink(self) -> Self {
        Self { sink: true, ..self }
    }
    pub(crate) fn or_not(self) -> Self {
        Self { not: true, ..self }
    }
    pub(crate) fn or_symbol(self) -> Self {
        Self { symbol: true, ..self }
    }
    /// Of `mov`: also a vector, which it packs or takes apart.
    pub(crate) fn or_parts(self) -> Self {
        Self { parts: true, ..self }
    }
    /// Of `mov`: also a special register or an address.
    pub(crate) fn or_special(self) -> Self {
        Self { special: true, symbol: true, ..self }
    }
    /// A constant lies within these bounds.
    pub(crate) fn between(self, least: i64, most: i64) -> Self {
        Self { range: Some((least, most)), ..self }
    }
    /// A constant will do even where the type is one of 8 bits or of a truth value.
    pub(crate) fn or_constant(self) -> Self {
        Self { constant: true, ..self }
    }

    /// The classes of register that suit the type, the usual one first (manual, 9.4, tables of
    /// operand types): bits suit all of their width, and registers of bits suit all types.
    fn kinds(&self) -> &'static [Kind] {
        use Kind::*;
        let Some(ty) = self.ty else { return &[] };
        match (ty, self.wider) {
            (Type::Pred, _) => &[Pred],
            (Type::F32, _) => &[F32, B32],
            (Type::F64, _) => &[F64, B64],
            (Type::F16x2 | Type::Bf16x2 | Type::Tf32, _) => &[B32],
            (Type::F16, false) | (Type::Bf16, _) => &[B16],
            (Type::B64, _) => &[B64, F64],
            (Type::B32, false) => &[B32, F32],
            (Type::B32, true) => &[B32, F32, B64],
            _ => match (ty.bits(), self.wider) {
                (8 | 16, true) => &[B16, B32, B64],
                (16, false) => &[B16],
                (32, true) => &[B32, B64],
                (32, false) => &[B32],
                (64, _) => &[B64],
                _ => &[],
            },
        }
    }

    fn meets_one(&self, arg: &Arg) -> Result<(), String> {
        match arg {
            Arg::Reg(reg) if self.kinds().contains(&reg.kind) => Ok(()),
            Arg::Reg(reg) => {
                let have = reg.kind.directive();
                let want: Vec<_> = self.kinds().iter().map(|k| k.directive()).collect();
                match want.is_empty() {
                    true => Err("no operand is wanted here".to_string()),
                    false => Err(format!("{reg} is {have}, {} is wanted here", want.join(" or "))),
                }
            }
            Arg::Not(reg) if self.not && reg.kind == Kind::Pred => Ok(()),
            Arg::Not(_) => Err("`!` is not wanted here".to_string()),
            Arg::Sink if self.sink => Ok(()),
            Arg::Sink => Err("`_` is not wanted here".to_string()),
            Arg::Int(value) => self.meets_constant(*value),
            Arg::F32(_) if self.constant && matches!(self.ty, Some(Type::F32 | Type::B32)) => {
                Ok(())
            }
            Arg::F64(_) if self.constant && matches!(self.ty, Some(Type::F64 | Type::B64)) => {
                Ok(())
            }
            Arg::F32(_) => Err("an f32 is not wanted here".to_string()),
            Arg::F64(_) => Err("an f64 is not wanted here".to_string()),
            Arg::Special(special) if self.special => {
                let bits = self.ty.map_or(0, Type::bits);
                if bits == special.bits() && !self.is_float() {
                    Ok(())
                } else {
                    Err(format!("{special} has {} bits", special.bits()))
                }
            }
            Arg::Special(special) => Err(format!("{special} is read by `mov` alone")),
            Arg::Symbol(..) if self.symbol && !self.is_float() => {
                match self.ty.map_or(0, Type::bits) {
                    32 | 64 => Ok(()),
                    bits => Err(format!("an address does not fit {bits} bits")),
                }
            }
            Arg::Symbol(..) => Err("an address is not wanted here".to_string()),
            Arg::Vector(_) => Err("`{` is not wanted here".to_string()),
        }
    }

    fn is_float(&self) -> bool {
        self.ty.is_some_and(Type::is_float)
    }

    fn meets_constant(&self, value: i64) -> Result<(), String> {
        let ty = match self.ty {
            Some(ty) if self.constant && !ty.is_float() => ty,
            _ => return Err("an integer is not wanted here".to_string()),
        };
        if let Some((least, most)) = self.range {
            return match (least..=most).contains(&value) {
                true => Ok(()),
                false => Err(format!("{value} lies outside {least}..={most}")),
            };
        }
        let bits = ty.bits();
        // all bits of a predicate are one bit: −1 is true
        let (min, max) = (-1i128 << bits.saturating_sub(1), (1i128 << bits) - 1);
        if bits < 64 && !(min..=max).contains(&(value as i128)) {
            return Err(format!("{value} lies outside {min}..={max}"));
        }
        Ok(())
    }
}

fn is_half(ty: Type) -> bool {
    matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2)
}

/// The rule of an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within(Space);

/// An address in this space.
pub(crate) fn within(space: &Space) -> Within {
    Within(*space)
}

/// An operand with a rule.
pub(crate) trait Ruled: Sized {
    /// What a row states.
    type Rule;

    /// Whether it is as the rule says, else why not.
    fn meets(&self, rule: &Self::Rule) -> Result<(), String>;

    /// Operands as the rule says.
    #[cfg(test)]
    fn samples_of(rule: &Self::Rule) -> Vec<Self>;
}

/// The types that a row has.
#[derive(Clone, Debug)]
pub(crate) struct Among(pub Vec<Type>);

/// One of the types of these lists.
pub(crate) fn among(lists: &[&[Type]]) -> Among {
    Among(lists.concat())
}

impl Ruled for Type {
    type Rule = Among;

    fn meets(&self, among: &Among) -> Result<(), String> {
        if among.0.contains(self) {
            return Ok(());
        }
        let list: Vec<_> = among.0.iter().map(|ty| format!(".{ty}")).collect();
        match list.is_empty() {
            true => Err(format!(".{self}: no type suits what stands before it")),
            false => Err(format!(".{self} is none of {}", list.join(" "))),
        }
    }

    #[cfg(test)]
    fn samples_of(among: &Among) -> Vec<Self> {
        among.0.clone()
    }
}

/// A number below this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Below(pub u32);

impl Ruled for Imm {
    type Rule = Below;

    fn meets(&self, below: &Below) -> Result<(), String> {
        match self.0 < below.0 {
            true => Ok(()),
            false => Err(format!("{self} lies outside 0..{}", below.0)),
        }
    }

    #[cfg(test)]
    fn samples_of(below: &Below) -> Vec<Self> {
        (0..below.0).map(Self).collect()
    }
}

/// So many signs, −1 or 1, and then so many flags, 0 or 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub signs: usize,
    pub flips: usize,
}

impl Ruled for Imms {
    type Rule = Ending;

    fn meets(&self, ending: &Ending) -> Result<(), String> {
        let (have, want) = (self.0.len(), ending.signs + ending.flips);
        if have != want {
            return Err(format!("{want} constants are wanted at the end, not {have}"));
        }
        let (signs, flips) = self.0.split_at(ending.signs);
        match signs.iter().all(|s| s.abs() == 1) && flips.iter().all(|t| *t >= 0) {
            true => Ok(()),
            false => Err("signs are -1 or 1, transpositions 0 or 1".to_string()),
        }
    }

    #[cfg(test)]
    fn samples_of(ending: &Ending) -> Vec<Self> {
        let list = |bits: usize| {
            let signs = (0..ending.signs).map(move |i| 1 - 2 * (bits >> i & 1) as i8);
            signs.chain((0..ending.flips).map(move |i| (bits >> (2 + i) & 1) as i8)).collect()
        };
        (0..16).map(|bits| Self(list(bits))).collect()
    }
}

impl Ruled for Arg {
    type Rule = Want;

    fn meets(&self, want: &Want) -> Result<(), String> {
        match self {
            Self::Vector(elements) if want.count > 0 => {
                if elements.len() != want.count {
                    let (have, want) = (elements.len(), want.count);
                    return Err(format!("{want} elements are wanted here, not {have}"));
                }
                alike(elements)?;
                elements.iter().try_for_each(|e| want.meets_one(e))
            }
            Self::Vector(elements) if want.parts => {
                let bits = want.ty.map_or(0, Type::bits);
                let ty = match (bits, elements.len()) {
                    (32, 2) | (64, 4) => Type::B16,
                    (64, 2) => Type::B32,
                    (_, n) => return Err(format!("{bits} bits are not {n} registers")),
                };
                let sink = want.sink || !want.constant; // a part that is taken apart may be dropped
                alike(elements)?;
                let element = Want {
                    parts: false,
                    special: false,
                    symbol: false,
                    sink,
                    ty: Some(ty),
                    ..*want
                };
                elements.iter().try_for_each(|e| element.meets_one(e))
            }
            Self::Reg(reg) if want.descriptor && reg.kind == Kind::B64 => Ok(()),
            _ if want.count > 0 => Err(format!("{} elements in braces are wanted", want.count)),
            one => want.meets_one(one),
        }
    }

    #[cfg(test)]
    fn samples_of(want: &Want) -> Vec<Self> {
        crate::tests::args(want.kinds(), want.count, |arg| arg.meets(want).is_ok())
    }
}

/// Elements of a vector are all numbers of floats, or all not (9.7.9.2).
fn alike(elements: &[Arg]) -> Result<(), String> {
    let float = |e: &Arg| match e {
        Arg::Reg(reg) => Some(matches!(reg.kind, Kind::F32 | Kind::F64)),
        Arg::F32(_) | Arg::F64(_) => Some(true),
        Arg::Int(_) => Some(false),
        _ => None,
    };
    let mut classes = elements.iter().filter_map(float);
    let first = classes.next();
    match classes.all(|class| Some(class) == first) {
        true => Ok(()),
        false => Err("elements of one vector are of one class".to_string()),
    }
}

impl Ruled for Address {
    type Rule = Within;

    fn meets(&self, within: &Within) -> Result<(), String> {
        let space = within.0;
        let named = if space == Space::Generic { "generic" } else { space.text() };
        match self.base {
            Base::Reg(reg) if reg.kind == Kind::B64 => Ok(()),
            Base::Reg(reg) if reg.kind == Kind::B32 && space.is_shared() => Ok(()),
            Base::Reg(reg) => {
                let want = if space.is_shared() { ".b32 or .b64" } else { ".b64" };
                Err(format!("{reg} is {}, {want} is wanted here", reg.kind.directive()))
            }
            Base::Param(_) if space == Space::Param => Ok(()),
            Base::Param(name) => Err(format!("{name} is a parameter, not in {named} memory")),
            Base::Symbol(_) if space.is_shared() => Ok(()),
            Base::Symbol(name) => Err(format!("{name} is in shared memory, not in {named} memory")),
            Base::Absolute if space != Space::Param => Ok(()),
            Base::Absolute => Err("a parameter is wanted here".to_string()),
        }
    }

    #[cfg(test)]
    fn samples_of(within: &Within) -> Vec<Self> {
        crate::tests::addresses(|address| address.meets(within).is_ok())
    }
}

/// The type of twice the width, if it is asked for.
pub(crate) fn widened(asked: bool, ty: Type) -> Type {
    match ty {
        Type::U16 if asked => Type::U32,
        Type::S16 if asked => Type::S32,
        Type::U32 if asked => Type::U64,
        Type::S32 if asked => Type::S64,
        ty => ty,
    }
}

/// What a vote answers.
pub(crate) fn voted(mode: &VoteMode) -> &'static Type {
    if *mode == VoteMode::Ballot { &Type::B32 } else { &Type::Pred }
}
