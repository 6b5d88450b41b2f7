//! Integers (9.7.1), floats (9.7.3, 9.7.4), comparisons (9.7.7), bits (9.7.8), conversions (9.7.9.21).

macro_rules! arithmetic {
    ({ $($rows:tt)* } $next:ident $($more:ident)*) => { $next! { { $($rows)*
    /// a + b
    Add { round: Round, ftz: Ftz, sat: Sat, ty: Type = among(&[INTEGERS, HALVES, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty) }
        => "add{round}{ftz}{sat}.{ty} {d}, {a}, {b};";
    /// a − b
    Sub { round: Round, ftz: Ftz, sat: Sat, ty: Type = among(&[INTEGERS, HALVES, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty) }
        => "sub{round}{ftz}{sat}.{ty} {d}, {a}, {b};";
    /// a · b, or its low or high half
    Mul { mode: MulMode, round: Round, ftz: Ftz, sat: Sat, ty: Type = among(&[INTEGERS, HALVES, FLOATS]), d: Arg = reg(&widened(*mode == MulMode::Wide, *ty)), a: Arg = from(ty), b: Arg = from(ty) }
        => "mul{mode}{round}{ftz}{sat}.{ty} {d}, {a}, {b};";
    /// a · b, or its low or high half, + c
    Mad { mode: MadMode, sat: Sat, ty: Type = among(&[INTEGERS]), d: Arg = reg(&widened(*mode == MadMode::Wide, *ty)), a: Arg = from(ty), b: Arg = from(ty), c: Arg = from(&widened(*mode == MadMode::Wide, *ty)) }
        => "mad{mode}{sat}.{ty} {d}, {a}, {b}, {c};";
    /// a · b + c, rounded once
    Fma { round: Round, ftz: Ftz, sat: Sat, relu: Relu, ty: Type = among(&[HALVES, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty), c: Arg = from(ty) }
        => "fma{round}{ftz}{sat}{relu}.{ty} {d}, {a}, {b}, {c};";
    /// a / b
    Div { mode: DivMode, ftz: Ftz, ty: Type = among(&[INTEGERS, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty) }
        => "div{mode}{ftz}.{ty} {d}, {a}, {b};";
    /// a mod b, of the sign of a
    Rem { ty: Type = among(&[INTEGERS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty) } => "rem.{ty} {d}, {a}, {b};";
    /// The lesser; of floats the other where one is NaN.
    Min { ftz: Ftz, nan: Nan, ty: Type = among(&[INTEGERS, HALVES, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty) }
        => "min{ftz}{nan}.{ty} {d}, {a}, {b};";
    /// The greater; of floats the other where one is NaN.
    Max { ftz: Ftz, nan: Nan, ty: Type = among(&[INTEGERS, HALVES, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty) }
        => "max{ftz}{nan}.{ty} {d}, {a}, {b};";
    /// −a
    Neg { ftz: Ftz, ty: Type = among(&[SIGNED, HALVES, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty) } => "neg{ftz}.{ty} {d}, {a};";
    /// |a|
    Abs { ftz: Ftz, ty: Type = among(&[SIGNED, HALVES, FLOATS]), d: Arg = reg(ty), a: Arg = from(ty) } => "abs{ftz}.{ty} {d}, {a};";
    /// |b| with the sign of a (9.7.3.2)
    Copysign { ty: Type = among(&[FLOATS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty) } => "copysign.{ty} {d}, {a}, {b};";
    /// √a
    Sqrt { round: RootMode, ftz: Ftz, ty: Type = among(&[FLOATS]), d: Arg = reg(ty), a: Arg = from(ty) }
        => "sqrt{round}{ftz}.{ty} {d}, {a};";
    /// 1/a; approximate: error ≤ 1 ulp
    Rcp { round: RootMode, ftz: Ftz, ty: Type = among(&[FLOATS]), d: Arg = reg(ty), a: Arg = from(ty) }
        => "rcp{round}{ftz}.{ty} {d}, {a};";
    /// 1/√a, relative error ≤ 2⁻²²·⁹
    Rsqrt { ftz: Ftz, ty: Type = among(&[FLOATS]), d: Arg = reg(ty), a: Arg = from(ty) } => "rsqrt.approx{ftz}.{ty} {d}, {a};";
    /// 2ᵃ, relative error ≤ 2⁻²²
    Ex2 { ftz: Ftz, ty: Type = among(&[SINGLE, HALVES]), d: Arg = reg(ty), a: Arg = from(ty) } => "ex2.approx{ftz}.{ty} {d}, {a};";
    /// log₂ a
    Lg2 { ftz: Ftz, ty: Type = among(&[SINGLE]), d: Arg = reg(ty), a: Arg = from(ty) } => "lg2.approx{ftz}.{ty} {d}, {a};";
    /// sin a
    Sin { ftz: Ftz, ty: Type = among(&[SINGLE]), d: Arg = reg(ty), a: Arg = from(ty) } => "sin.approx{ftz}.{ty} {d}, {a};";
    /// cos a
    Cos { ftz: Ftz, ty: Type = among(&[SINGLE]), d: Arg = reg(ty), a: Arg = from(ty) } => "cos.approx{ftz}.{ty} {d}, {a};";
    /// tanh a, relative error ≤ 2⁻¹¹
    Tanh { ty: Type = among(&[SINGLE, HALVES]), d: Arg = reg(ty), a: Arg = from(ty) } => "tanh.approx.{ty} {d}, {a};";

    /// a · 2ᵇ; 0 from the width on
    Shl { ty: Type = among(&[BITS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(&Type::U32) } => "shl.{ty} {d}, {a}, {b};";
    /// ⌊a / 2ᵇ⌋, by the type's sign
    Shr { ty: Type = among(&[BITS, INTEGERS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(&Type::U32) } => "shr.{ty} {d}, {a}, {b};";
    /// A word of {b, a} shifted by c bits (9.7.8.8).
    Shf { dir: ShfDir, mode: ShfMode, d: Arg = reg(&Type::B32), a: Arg = from(&Type::B32), b: Arg = from(&Type::B32), c: Arg = from(&Type::U32) }
        => "shf.{dir}.{mode}.b32 {d}, {a}, {b}, {c};";
    /// a ∧ b
    And { ty: Type = among(&[PRED, BITS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty).or_constant() } => "and.{ty} {d}, {a}, {b};";
    /// a ∨ b
    Or { ty: Type = among(&[PRED, BITS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty).or_constant() } => "or.{ty} {d}, {a}, {b};";
    /// a ⊕ b
    Xor { ty: Type = among(&[PRED, BITS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty).or_constant() } => "xor.{ty} {d}, {a}, {b};";
    /// ¬a
    Not { ty: Type = among(&[PRED, BITS]), d: Arg = reg(ty), a: Arg = from(ty) } => "not.{ty} {d}, {a};";
    /// Any function of three bits: bit 4a + 2b + c of `lut`.
    Lop3 { d: Arg = reg(&Type::B32), a: Arg = from(&Type::B32), b: Arg = from(&Type::B32), c: Arg = from(&Type::B32), lut: Imm }
        => "lop3.b32 {d}, {a}, {b}, {c}, {lut};";
    /// The field of c bits from bit b on, by the type's sign.
    Bfe { ty: Type = among(&[WORDS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(&Type::U32).between(0, 255), c: Arg = from(&Type::U32).between(0, 255) }
        => "bfe.{ty} {d}, {a}, {b}, {c};";
    /// b with the low e bits of a from bit c on.
    Bfi { ty: Type = among(&[WIDE_BITS]), d: Arg = reg(ty), a: Arg = from(ty), b: Arg = from(ty), c: Arg = from(&Type::U32).between(0, 255), e: Arg = from(&Type::U32).between(0, 255) }
        => "bfi.{ty} {d}, {a}, {b}, {c}, {e};";
    /// The bits backwards.
    Brev { ty: Type = among(&[WIDE_BITS]), d: Arg = reg(ty), a: Arg = from(ty) } => "brev.{ty} {d}, {a};";
    /// Zeros before the highest one.
    Clz { ty: Type = among(&[WIDE_BITS]), d: Arg = reg(&Type::U32), a: Arg = from(ty) } => "clz.{ty} {d}, {a};";
    /// Ones.
    Popc { ty: Type = among(&[WIDE_BITS]), d: Arg = reg(&Type::U32), a: Arg = from(ty) } => "popc.{ty} {d}, {a};";
    /// The place of the highest bit that differs from the sign; all ones if there is none.
    Bfind { shift: ShiftAmt, ty: Type = among(&[WORDS]), d: Arg = reg(&Type::U32), a: Arg = from(ty) } => "bfind{shift}.{ty} {d}, {a};";
    /// c + the sum of the four products of bytes of a and b (9.7.1.23).
    Dp4a { aty: Type = among(&[HALF_WORDS]), bty: Type = among(&[HALF_WORDS]), d: Arg = reg(&Type::U32), a: Arg = from(&Type::U32), b: Arg = from(&Type::U32), c: Arg = from(&Type::U32) }
        => "dp4a.{aty}.{bty} {d}, {a}, {b}, {c};";

    /// Compares.
    Setp { cmp: Cmp, ftz: Ftz, ty: Type = among(&[BITS, INTEGERS, SINGLE_HALVES, FLOATS]), d: Arg = reg(&Type::Pred), a: Arg = from(ty), b: Arg = from(ty) }
        => "setp.{cmp}{ftz}.{ty} {d}, {a}, {b};";
    /// Compares: all ones, or the 1.0 of a float, if it holds, else zero; of pairs each half for
    /// itself (9.7.6.1, 9.7.7.1).
    Set { cmp: Cmp, ftz: Ftz, dty: Type = among(&[SET]), aty: Type = set_from(dty), d: Arg = reg(dty), a: Arg = from(aty), b: Arg = from(aty) }
        => "set.{cmp}{ftz}.{dty}.{aty} {d}, {a}, {b};";
    /// Compares, and combines the result with c.
    SetpBool { cmp: Cmp, bool: BoolOp, ftz: Ftz, ty: Type = among(&[BITS, INTEGERS, SINGLE_HALVES, FLOATS]), d: Arg = reg(&Type::Pred), a: Arg = from(ty), b: Arg = from(ty), c: Arg = reg(&Type::Pred).or_not() }
        => "setp.{cmp}.{bool}{ftz}.{ty} {d}, {a}, {b}, {c};";

    /// A value of one type as one of another. (bf16 to f32 is a shift by 16: `cvt.f32.bf16` needs sm_90.)
    Cvt { round: CvtRound, ftz: Ftz, relu: Relu, sat: Sat, dty: Type = among(&[BYTES, INTEGERS, SINGLE_HALVES, FLOATS, TF32]), aty: Type = among(&[BYTES, INTEGERS, SINGLE_HALVES, FLOATS]), d: Arg = reg(dty).wider_if(*dty != Type::Bf16 && *aty != Type::Bf16), a: Arg = from(aty).wider_if(*dty != Type::Bf16 && *aty != Type::Bf16) }
        => "cvt{round}{ftz}{relu}{sat}.{dty}.{aty} {d}, {a};";
    /// Two f32 as 16-bit floats; `a` goes to the high half.
    Cvt2 { round: CvtRound, relu: Relu, dty: Type = among(&[HALF_PAIRS]), d: Arg = reg(dty), a: Arg = from(&Type::F32), b: Arg = from(&Type::F32) }
        => "cvt{round}{relu}.{dty}.f32 {d}, {a}, {b};";
    /// Two 8-bit floats, in a register, as f16: exactly.
    CvtFloat8 { aty: Type = among(&[FLOAT8_PAIRS]), d: Arg = reg(&Type::F16x2), a: Arg = reg(&Type::B16) }
        => "cvt.rn.f16x2.{aty} {d}, {a};";
    } $($more)* } };
}
