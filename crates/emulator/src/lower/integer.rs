//! Integers, bits and predicates (ISA 9.7.1, 9.7.6, 9.7.8, `prmt` and `redux`). Values are the
//! zero-extended bits of registers; what a function returns is cut to its register.

use super::{F1, F2, F3, F4};
use quickpick_ptx::{BoolOp, Cmp, MadMode, MulMode, ReduxOp, ShfDir, ShfMode, Type};

/// A function of integers of the type: the operands are `$x`, of Rust's type for it.
macro_rules! by_int {
    ($ty:expr, |$($x:ident),+| $body:expr) => {{
        let f: Box<dyn Fn($(by_int!(@u64 $x)),+) -> u64 + Send + Sync> = match $ty {
            Type::U16 | Type::B16 => Box::new(|$($x),+| { $(let $x = $x as u16;)+ ($body) as u64 }),
            Type::S16 => Box::new(|$($x),+| { $(let $x = $x as i16;)+ ($body) as i64 as u64 }),
            Type::U32 | Type::B32 => Box::new(|$($x),+| { $(let $x = $x as u32;)+ ($body) as u64 }),
            Type::S32 => Box::new(|$($x),+| { $(let $x = $x as i32;)+ ($body) as i64 as u64 }),
            Type::U64 | Type::B64 => Box::new(|$($x),+| { $(let $x = $x as u64;)+ ($body) as u64 }),
            Type::S64 => Box::new(|$($x),+| { $(let $x = $x as i64;)+ ($body) as i64 as u64 }),
            _ => return None,
        };
        Some(f)
    }};
    (@u64 $x:ident) => { u64 };
}

/// The bits of a value of this type.
pub(super) fn cut(bits: u32, value: u64) -> u64 {
    if bits >= 64 { value } else { value & ((1 << bits) - 1) }
}

/// Sign-extended from so many bits.
pub(super) fn extend(bits: u32, value: u64) -> i64 {
    let shift = 64 - bits.clamp(1, 64);
    (value << shift) as i64 >> shift
}

/// The value that a register's bits have in this type.
pub(super) fn number(ty: Type, value: u64) -> i128 {
    if ty.is_signed() {
        i128::from(extend(ty.bits(), value))
    } else {
        i128::from(cut(ty.bits(), value))
    }
}

/// `add` (9.7.1.1).
pub(super) fn add(ty: Type, saturate: bool) -> Option<F2> {
    match (ty, saturate) {
        (Type::S32, true) => {
            Some(Box::new(|a, b| (a as i32).saturating_add(b as i32) as u32 as u64))
        }
        (_, true) => None,
        _ => by_int!(ty, |a, b| a.wrapping_add(b)),
    }
}

/// `sub` (9.7.1.2).
pub(super) fn sub(ty: Type, saturate: bool) -> Option<F2> {
    match (ty, saturate) {
        (Type::S32, true) => {
            Some(Box::new(|a, b| (a as i32).saturating_sub(b as i32) as u32 as u64))
        }
        (_, true) => None,
        _ => by_int!(ty, |a, b| a.wrapping_sub(b)),
    }
}

/// The low or high half, or all, of a product (9.7.1.3).
fn product(ty: Type, mode: MulMode, a: u64, b: u64) -> u64 {
    let all = number(ty, a).wrapping_mul(number(ty, b));
    match mode {
        MulMode::Hi => (all >> ty.bits()) as u64,
        MulMode::Lo | MulMode::Plain | MulMode::Wide => all as u64,
    }
}

/// `mul` (9.7.1.3).
pub(super) fn mul(ty: Type, mode: MulMode) -> Option<F2> {
    match (mode, ty) {
        (MulMode::Lo, Type::U32) => Some(Box::new(|a, b| (a as u32).wrapping_mul(b as u32) as u64)),
        (MulMode::Plain, _) => None,
        // 128 bits hold the product of unsigned 64 with its sign to spare only as u128
        (MulMode::Hi, Type::U64) => {
            Some(Box::new(|a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64))
        }
        _ => Some(Box::new(move |a, b| product(ty, mode, a, b))),
    }
}

/// `mad` (9.7.1.4); only `.hi.s32` saturates, the sum.
pub(super) fn mad(ty: Type, mode: MadMode, saturate: bool) -> Option<F3> {
    let mul = match mode {
        MadMode::Lo => mul(ty, MulMode::Lo)?,
        MadMode::Hi => mul(ty, MulMode::Hi)?,
        MadMode::Wide => mul(ty, MulMode::Wide)?,
    };
    match (saturate, mode, ty) {
        (false, ..) => {}
        (true, MadMode::Hi, Type::S32) => {
            return Some(Box::new(move |a, b, c| {
                (mul(a, b) as i32).saturating_add(c as i32) as u32 as u64
            }));
        }
        (true, ..) => return None,
    }
    Some(Box::new(move |a, b, c| mul(a, b).wrapping_add(c)))
}

/// `div` (9.7.1.8). By zero: unspecified; all ones, as the hardware's division of unsigned integers
/// gives.
pub(super) fn div(ty: Type) -> Option<F2> {
    by_int!(ty, |a, b| if b == 0 { !0 } else { a.wrapping_div(b) })
}

/// `rem` (9.7.1.9), of the sign of a; by zero unspecified.
pub(super) fn rem(ty: Type) -> Option<F2> {
    by_int!(ty, |a, b| if b == 0 { a } else { a.wrapping_rem(b) })
}

/// `min` (9.7.1.12).
pub(super) fn min(ty: Type) -> Option<F2> {
    by_int!(ty, |a, b| a.min(b))
}

/// `max` (9.7.1.13).
pub(super) fn max(ty: Type) -> Option<F2> {
    by_int!(ty, |a, b| a.max(b))
}

/// `neg` (9.7.1.11).
pub(super) fn neg(ty: Type) -> Option<F1> {
    by_int!(ty, |a| a.wrapping_neg())
}

/// `abs` (9.7.1.10).
pub(super) fn abs(ty: Type) -> Option<F1> {
    let bits = ty.bits();
    ty.is_signed().then(|| -> F1 { Box::new(move |a| extend(bits, a).unsigned_abs()) })
}

/// `shl` (9.7.8.8). Shift amounts above the width count as the width.
pub(super) fn shl(ty: Type) -> Option<F2> {
    let bits = ty.bits();
    Some(Box::new(move |a, b| if b as u32 >= bits { 0 } else { a << b as u32 }))
}

/// `shr` (9.7.8.9).
pub(super) fn shr(ty: Type) -> Option<F2> {
    let bits = ty.bits();
    if ty.is_signed() {
        return Some(Box::new(move |a, b| (extend(bits, a) >> (b as u32).min(bits - 1)) as u64));
    }
    Some(Box::new(move |a, b| if b as u32 >= bits { 0 } else { cut(bits, a) >> b as u32 }))
}

/// `shf` (9.7.8.7): the high word of {b, a} shifted left, or the low word of it shifted right.
pub(super) fn shf(dir: ShfDir, mode: ShfMode) -> F3 {
    Box::new(move |a, b, c| {
        let by = match mode {
            ShfMode::Wrap => c as u32 & 31,
            ShfMode::Clamp => (c as u32).min(32),
        };
        let pool = a | b << 32;
        match dir {
            ShfDir::Left => (u128::from(pool) << by >> 32) as u32 as u64,
            ShfDir::Right => (pool >> by) as u32 as u64,
        }
    })
}

/// `lop3` (9.7.8.6): bit 4a + 2b + c of the table.
pub(super) fn lop3(lut: u32) -> F3 {
    Box::new(move |a, b, c| {
        (0..8u32).filter(|i| lut >> i & 1 == 1).fold(0, |out, i| {
            let pick = |x: u64, bit: u32| if i >> bit & 1 == 1 { x } else { !x };
            out | (pick(a, 2) & pick(b, 1) & pick(c, 0))
        })
    })
}

/// `bfe` (9.7.1.19): c bits from bit b on; of signed types the field's top bit spreads.
pub(super) fn bfe(ty: Type) -> Option<F3> {
    let bits = ty.bits();
    let signed = ty.is_signed();
    Some(Box::new(move |a, b, c| {
        let (from, count) = (b as u32 & 255, c as u32 & 255);
        let (a, value) = (cut(bits, a), extend(bits, a));
        if count == 0 {
            return 0;
        }
        let field =
            if signed { (value >> from.min(63)) as u64 } else { a.checked_shr(from).unwrap_or(0) };
        // the field may reach past the top: then the sign, or zeros, fill it
        if count >= bits {
            return field;
        }
        if signed {
            let top = (from + count - 1).min(bits - 1);
            let sign = a >> top & 1;
            let low = field & ((1 << count) - 1);
            return if sign == 1 { low | !0 << count } else { low };
        }
        field & ((1 << count) - 1)
    }))
}

/// `bfi` (9.7.1.20): the low bits of a in place of d bits of b from bit c on.
pub(super) fn bfi(ty: Type) -> Option<F4> {
    let bits = ty.bits();
    Some(Box::new(move |a, b, c, d| {
        let (from, count) = (c as u32 & 255, d as u32 & 255);
        let field = if count >= 64 { !0 } else { (1u64 << count) - 1 };
        let mask = cut(bits, field.checked_shl(from).unwrap_or(0));
        b & !mask | a.checked_shl(from).unwrap_or(0) & mask
    }))
}

/// `brev` (9.7.1.18).
pub(super) fn brev(ty: Type) -> Option<F1> {
    let bits = ty.bits();
    Some(Box::new(move |a| a.reverse_bits() >> (64 - bits)))
}

/// `clz` (9.7.1.15).
pub(super) fn clz(ty: Type) -> Option<F1> {
    let bits = ty.bits();
    Some(Box::new(move |a| u64::from(a.leading_zeros() - (64 - bits))))
}

/// `popc` (9.7.1.14).
pub(super) fn popc(_: Type) -> Option<F1> {
    Some(Box::new(|a| u64::from(a.count_ones())))
}

/// `bfind` (9.7.1.16): the place of the top bit that is not the sign; all ones if there is none.
pub(super) fn bfind(ty: Type, shift: bool) -> Option<F1> {
    let bits = ty.bits();
    let signed = ty.is_signed();
    Some(Box::new(move |a| {
        let value = extend(bits, a);
        let a = if signed && value < 0 { cut(bits, !a) } else { cut(bits, a) };
        match 63u32.checked_sub(a.leading_zeros()) {
            None => u64::from(u32::MAX),
            Some(top) if shift => u64::from(bits - 1 - top),
            Some(top) => u64::from(top),
        }
    }))
}

/// `dp4a` (9.7.1.23): four products of bytes, and c.
pub(super) fn dp4a(a_signed: bool, b_signed: bool) -> F3 {
    Box::new(move |a, b, c| {
        let byte = |word: u64, i: u32, signed: bool| {
            let byte = (word >> (8 * i)) as u8;
            if signed { i32::from(byte as i8) } else { i32::from(byte) }
        };
        let sum = (0..4).map(|i| byte(a, i, a_signed).wrapping_mul(byte(b, i, b_signed)));
        sum.fold(c as i32, i32::wrapping_add) as u32 as u64
    })
}

/// `prmt` (9.7.9.7): nibble i of c chooses byte i of the result from the pool {b, a} of eight; its
/// fourth bit spreads the sign of that byte.
pub(super) fn prmt(a: u64, b: u64, c: u64) -> u64 {
    let pool = a | b << 32;
    (0..4).fold(0, |out, i| {
        let nibble = c >> (4 * i) & 15;
        let byte = pool >> (8 * (nibble & 7)) & 255;
        let byte = if nibble & 8 == 0 { byte } else { (byte >> 7) * 255 };
        out | byte << (8 * i)
    })
}

/// A comparison by order (9.3.1), and what it says of unordered operands.
pub(super) fn holds(cmp: Cmp, order: Option<std::cmp::Ordering>) -> bool {
    use Cmp::*;
    let Some(order) = order else {
        return matches!(cmp, Equ | Neu | Ltu | Leu | Gtu | Geu | Nan);
    };
    match cmp {
        Eq | Equ => order.is_eq(),
        Ne | Neu => order.is_ne(),
        Lt | Lo | Ltu => order.is_lt(),
        Le | Ls | Leu => order.is_le(),
        Gt | Hi | Gtu => order.is_gt(),
        Ge | Hs | Geu => order.is_ge(),
        Num => true,
        Nan => false,
    }
}

/// `setp` (9.7.6.2).
pub(super) fn setp(ty: Type, cmp: Cmp) -> Option<F2> {
    if ty == Type::U32 || ty == Type::B32 {
        return Some(Box::new(move |a, b| holds(cmp, Some((a as u32).cmp(&(b as u32)))) as u64));
    }
    Some(Box::new(move |a, b| holds(cmp, Some(number(ty, a).cmp(&number(ty, b)))) as u64))
}

/// What `setp` makes of its comparison and c (9.7.6.2).
pub(super) fn boolean(op: BoolOp, a: u64, b: u64) -> u64 {
    match op {
        BoolOp::And => a & b,
        BoolOp::Or => a | b,
        BoolOp::Xor => a ^ b,
    }
}

/// `redux.sync` (9.7.13.12), of two lanes.
pub(super) fn redux(op: ReduxOp, ty: Type) -> Option<F2> {
    match op {
        ReduxOp::Add => add(ty, false),
        ReduxOp::Min => min(ty),
        ReduxOp::Max => max(ty),
        ReduxOp::And => Some(Box::new(|a, b| a & b)),
        ReduxOp::Or => Some(Box::new(|a, b| a | b)),
        ReduxOp::Xor => Some(Box::new(|a, b| a ^ b)),
    }
}
