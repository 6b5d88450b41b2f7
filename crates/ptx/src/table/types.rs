//! Lists of types that rows name, and which types of a product go together.

use crate::modifier::Type;
use crate::rule::{Among, Below, Ending};

use Type::*;

pub(super) const PRED: &[Type] = &[Pred];
pub(super) const BITS: &[Type] = &[B16, B32, B64];
pub(super) const WIDE_BITS: &[Type] = &[B32, B64];
pub(super) const INTEGERS: &[Type] = &[U16, U32, U64, S16, S32, S64];
pub(super) const SIGNED: &[Type] = &[S16, S32, S64];
pub(super) const WORDS: &[Type] = &[U32, U64, S32, S64];
pub(super) const HALVES: &[Type] = &[F16, F16x2, Bf16, Bf16x2];
pub(super) const HALF_PAIRS: &[Type] = &[F16x2, Bf16x2];
pub(super) const SINGLE_HALVES: &[Type] = &[F16, Bf16];
pub(super) const FLOATS: &[Type] = &[F32, F64];
pub(super) const SINGLE: &[Type] = &[F32];
pub(super) const BYTES: &[Type] = &[U8, S8];
pub(super) const HALF_WORDS: &[Type] = &[U32, S32];
pub(super) const REDUCED: &[Type] = &[U32, S32, B32];
pub(super) const MEMORY: &[Type] =
    &[B8, B16, B32, B64, U8, U16, U32, U64, S8, S16, S32, S64, F32, F64];
pub(super) const ATOMIC: &[Type] =
    &[U32, S32, U64, S64, F32, F64, B32, B64, F16, F16x2, Bf16, Bf16x2];
pub(super) const ACCUMULATED: &[Type] = &[F16, F32, S32];
pub(super) const FLOAT8_PAIRS: &[Type] = &[E4m3x2, E5m2x2];
pub(super) const TF32: &[Type] = &[Tf32];

pub(super) const SET: &[Type] = &[U32, S32, F32, F16, F16x2, Bf16, Bf16x2];

/// What `set` compares for a result of this type (9.7.6.1, 9.7.7.1).
pub(super) fn set_from(dty: &Type) -> Among {
    Among(match dty {
        U32 | S32 => [BITS, INTEGERS, FLOATS, HALVES].concat(),
        F32 => [BITS, INTEGERS, FLOATS].concat(),
        half => vec![*half],
    })
}

const MULTIPLIED: [Type; 7] = [F16, Bf16, Tf32, S8, U8, E4m3, E5m2];

/// The types of which one of the two depths of a warp's product is K: a row of A has 128 or 256
/// bits as it is stored, of 8-bit floats 256.
pub(super) fn mma_a(k: usize, sparse: bool, sum: &Type) -> Among {
    let bits = |ty: &Type| k as u32 * ty.bits() / if sparse { 2 } else { 1 };
    let fits = |ty: &Type| match bits(ty) {
        128 => !matches!(ty, E4m3 | E5m2),
        256 => true,
        _ => false,
    };
    Among(MULTIPLIED.into_iter().filter(|ty| fits(ty) && sums(ty, sum, false)).collect())
}

/// The same for a warpgroup, whose rows of A have 256 bits.
pub(super) fn wgmma_a(k: u16, sparse: bool, sum: &Type) -> Among {
    let bits = |ty: &Type| k as u32 * ty.bits() / if sparse { 2 } else { 1 };
    Among(MULTIPLIED.into_iter().filter(|ty| bits(ty) == 256 && sums(ty, sum, true)).collect())
}

/// Whether products of this type are summed in that one; a warpgroup's 8-bit floats also in f16.
fn sums(ty: &Type, sum: &Type, group: bool) -> bool {
    match ty {
        F16 => matches!(sum, F16 | F32),
        E4m3 | E5m2 => *sum == F32 || (group && *sum == F16),
        S8 | U8 => *sum == S32,
        _ => *sum == F32,
    }
}

/// What B may be beside A: the same, or another type of 8 bits.
pub(super) fn partner(a: &Type) -> Among {
    Among(match a {
        E4m3 | E5m2 => vec![E4m3, E5m2],
        S8 | U8 => vec![S8, U8],
        same => vec![*same],
    })
}

/// Which selectors there are: metadata takes 4 bits for each group, of four elements or of two of
/// 32 bits, so 16 rows fill the registers of this many of each four lanes.
pub(super) fn selectors(k: usize, aty: &Type) -> Below {
    let groups = k / if aty.bits() == 32 { 2 } else { 4 };
    let lanes = (16 * groups * 4).div_ceil(32 * 8).clamp(1, 4);
    Below(4 / lanes as u32)
}

/// What ends a product of a warpgroup: signs of A and B, unless they are integers; and for 16 bits
/// whether they are transposed, which A in registers is not.
pub(super) fn signs_and_flips(aty: &Type, in_registers: bool) -> Ending {
    Ending {
        signs: if aty.is_float() { 2 } else { 0 },
        flips: match aty.bits() {
            16 if in_registers => 1,
            16 => 2,
            _ => 0,
        },
    }
}
