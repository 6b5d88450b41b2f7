//! Roundings, comparisons and other ways to compute (manual, 9.7.1 to 9.7.8).

use crate::cursor::{Cursor, Fault};
use crate::operand::Operand;
use std::fmt;

modifier!(
    /// How a float result is rounded.
    Round {
        /// To nearest, and a product may be contracted with a sum.
        Plain = "",
        /// To nearest, ties to even.
        Rn = ".rn",
        /// Towards zero.
        Rz = ".rz",
        /// Down.
        Rm = ".rm",
        /// Up.
        Rp = ".rp",
    }
);
modifier!(
    /// How a conversion is rounded.
    CvtRound {
        /// It is exact, or drops bits of an integer.
        Plain = "",
        /// To nearest, ties to even.
        Rn = ".rn",
        /// Towards zero.
        Rz = ".rz",
        /// Down.
        Rm = ".rm",
        /// Up.
        Rp = ".rp",
        /// To the nearest integer, ties to even.
        Rni = ".rni",
        /// To an integer, towards zero.
        Rzi = ".rzi",
        /// To an integer, down.
        Rmi = ".rmi",
        /// To an integer, up.
        Rpi = ".rpi",
        /// To nearest, ties away from zero.
        Rna = ".rna",
    }
);
modifier!(
    /// Whether subnormal f32 count as zero.
    Ftz {
        /// They keep their value.
        No = "",
        /// They are zeros of their sign, as operands and as results.
        Yes = ".ftz",
    }
);
modifier!(
    /// Whether a result clamps: integers to their range, floats to 0…1.
    Sat {
        /// No.
        No = "",
        /// It clamps.
        Yes = ".sat",
    }
);
modifier!(
    /// Whether a negative result becomes zero.
    Relu {
        /// It stays.
        No = "",
        /// It becomes zero; NaN becomes the canonical one.
        Yes = ".relu",
    }
);
modifier!(
    /// What a comparison makes of NaN.
    Nan {
        /// The other operand.
        No = "",
        /// NaN.
        Yes = ".NaN",
    }
);
modifier!(
    /// Which part of an integer product.
    MulMode {
        /// Floats: the whole.
        Plain = "",
        /// Its low half.
        Lo = ".lo",
        /// Its high half.
        Hi = ".hi",
        /// All of it, in twice the width.
        Wide = ".wide",
    }
);
modifier!(
    /// Which part of an integer product is added to.
    MadMode {
        /// Its low half.
        Lo = ".lo",
        /// Its high half.
        Hi = ".hi",
        /// All of it, in twice the width.
        Wide = ".wide",
    }
);
modifier!(
    /// How a quotient is rounded.
    DivMode {
        /// Integers: towards zero.
        Plain = "",
        /// To nearest, ties to even.
        Rn = ".rn",
        /// Towards zero.
        Rz = ".rz",
        /// Down.
        Rm = ".rm",
        /// Up.
        Rp = ".rp",
        /// Within 2 ulp, for divisors within 2^±126.
        Approx = ".approx",
        /// Within 2 ulp.
        Full = ".full",
    }
);
modifier!(
    /// How a root or a reciprocal is rounded.
    RootMode {
        /// To nearest, ties to even.
        Rn = ".rn",
        /// Towards zero.
        Rz = ".rz",
        /// Down.
        Rm = ".rm",
        /// Up.
        Rp = ".rp",
        /// Approximate.
        Approx = ".approx",
    }
);
modifier!(
    /// Comparisons. Of floats, `eq` to `ge` are false with a NaN, but for `ne`, which is so too;
    /// `equ` to `geu` are true with one.
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
        /// < without sign
        Lo = "lo",
        /// ≤ without sign
        Ls = "ls",
        /// > without sign
        Hi = "hi",
        /// ≥ without sign
        Hs = "hs",
        /// = or NaN
        Equ = "equ",
        /// ≠ or NaN
        Neu = "neu",
        /// < or NaN
        Ltu = "ltu",
        /// ≤ or NaN
        Leu = "leu",
        /// > or NaN
        Gtu = "gtu",
        /// ≥ or NaN
        Geu = "geu",
        /// Neither is NaN
        Num = "num",
        /// One is NaN
        Nan = "nan",
    }
);
modifier!(
    /// How a comparison's result is combined with a predicate.
    BoolOp {
        /// Both.
        And = "and",
        /// Either.
        Or = "or",
        /// One of them.
        Xor = "xor",
    }
);
modifier!(
    /// Which way a funnel shift goes.
    ShfDir {
        /// The upper word of {b, a} shifted up.
        Left = "l",
        /// The lower word of {b, a} shifted down.
        Right = "r",
    }
);
modifier!(
    /// What a funnel shift makes of counts above 31.
    ShfMode {
        /// 32.
        Clamp = "clamp",
        /// The count mod 32.
        Wrap = "wrap",
    }
);
modifier!(
    /// How `prmt` chooses bytes (manual, 9.7.9.7).
    PrmtMode {
        /// By the four nibbles of c.
        Plain = "",
        /// Four from {b, a}, shifted down by c bytes.
        F4e = ".f4e",
        /// Four, backwards.
        B4e = ".b4e",
        /// Byte c in all places.
        Rc8 = ".rc8",
        /// Clamped from the left.
        Ecl = ".ecl",
        /// Clamped from the right.
        Ecr = ".ecr",
        /// Half c in both places.
        Rc16 = ".rc16",
    }
);
modifier!(
    /// What `bfind` gives.
    ShiftAmt {
        /// The place of the highest bit.
        No = "",
        /// The shift that brings it to the top.
        Yes = ".shiftamt",
    }
);
