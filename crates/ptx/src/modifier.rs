//! Parts of a mnemonic that take one of a few spellings. Where two of them fit, the longer is meant.

use crate::cursor::{Cursor, Fault};
use crate::operand::Operand;
use std::fmt;

macro_rules! modifier {
    ($(#[$doc:meta])* $Type:ident { $(
        $(#[$vdoc:meta])* $Variant:ident = $text:literal $(isa $isa:literal)? $(sm $sm:literal)?
    ),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Type { $( $(#[$vdoc])* #[doc = concat!(" `", $text, "`")] $Variant ),* }

        impl $Type {
            /// Every spelling.
            pub const ALL: &[Self] = &[$( Self::$Variant ),*];

            /// As PTX writes it.
            pub const fn text(self) -> &'static str {
                match self { $( Self::$Variant => $text ),* }
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }

        impl Operand for $Type {
            fn parse(c: &mut Cursor<'_>) -> Result<Self, Fault> {
                let fits = Self::ALL.iter().filter(|v| c.starts_with(v.text()));
                match fits.max_by_key(|v| v.text().len()) {
                    Some(value) => { c.advance(value.text().len()); Ok(*value) }
                    None => Err(c.fault(concat!("one of", $( " `", $text, "`" ),*, " is wanted here"))),
                }
            }

            #[allow(unreachable_patterns)] // where every spelling names its least
            fn isa(&self) -> u16 {
                match self { $( $( Self::$Variant => $isa, )? )* _ => crate::table::BASE_ISA }
            }

            #[allow(unreachable_patterns)] // where every spelling names its least
            fn sm(&self) -> u16 {
                match self { $( $( Self::$Variant => $sm, )? )* _ => crate::table::BASE_SM }
            }

            #[cfg(test)]
            fn samples() -> Vec<Self> {
                Self::ALL.to_vec()
            }
        }
    };
}

modifier!(
    /// What an instruction takes its operands for (manual, 5.2).
    Type {
        /// A truth value.
        Pred = "pred",
        /// 8 bits.
        B8 = "b8",
        /// 16 bits.
        B16 = "b16",
        /// 32 bits.
        B32 = "b32",
        /// 64 bits.
        B64 = "b64",
        /// Unsigned.
        U8 = "u8",
        /// Unsigned.
        U16 = "u16",
        /// Unsigned.
        U32 = "u32",
        /// Unsigned.
        U64 = "u64",
        /// Two's complement.
        S8 = "s8",
        /// Two's complement.
        S16 = "s16",
        /// Two's complement.
        S32 = "s32",
        /// Two's complement.
        S64 = "s64",
        /// IEEE binary16.
        F16 = "f16",
        /// Two of them in a word, the first in the low half.
        F16x2 = "f16x2",
        /// bfloat16.
        Bf16 = "bf16",
        /// Two of them in a word, the first in the low half.
        Bf16x2 = "bf16x2",
        /// IEEE binary32.
        F32 = "f32",
        /// IEEE binary64.
        F64 = "f64",
        /// The upper 19 bits of a binary32; the others are ignored.
        Tf32 = "tf32",
        /// 8 bits: 4 of exponent, 3 of fraction.
        E4m3 = "e4m3",
        /// 8 bits: 5 of exponent, 2 of fraction.
        E5m2 = "e5m2",
        /// Two of them in 16 bits, the first in the low half.
        E4m3x2 = "e4m3x2",
        /// Two of them in 16 bits, the first in the low half.
        E5m2x2 = "e5m2x2",
    }
);

impl Type {
    /// Width of a value; 1 for a predicate, and 32 for what takes a word.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Pred => 1,
            Self::B8 | Self::U8 | Self::S8 | Self::E4m3 | Self::E5m2 => 8,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::Bf16 => 16,
            Self::E4m3x2 | Self::E5m2x2 => 16,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 64,
            _ => 32,
        }
    }

    /// Whether values are floating-point numbers, alone or in pairs.
    pub const fn is_float(self) -> bool {
        use Type::*;
        matches!(
            self,
            F16 | F16x2 | Bf16 | Bf16x2 | F32 | F64 | Tf32 | E4m3 | E5m2 | E4m3x2 | E5m2x2
        )
    }

    /// Whether values are integers in two's complement.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    /// Whether values are integers, signed or not.
    pub const fn is_integer(self) -> bool {
        self.is_signed() || matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64)
    }

    /// Whether values are bits without a meaning.
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::B8 | Self::B16 | Self::B32 | Self::B64)
    }
}

modifier!(
    /// Special registers (manual, 10).
    Special {
        /// Thread in the block.
        TidX = "%tid.x",
        /// Thread in the block.
        TidY = "%tid.y",
        /// Thread in the block.
        TidZ = "%tid.z",
        /// Threads of a block.
        NtidX = "%ntid.x",
        /// Threads of a block.
        NtidY = "%ntid.y",
        /// Threads of a block.
        NtidZ = "%ntid.z",
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
        /// Warp in the block; not constant, says the manual.
        WarpId = "%warpid",
        /// Most warps of a block.
        NwarpId = "%nwarpid",
        /// Multiprocessor.
        SmId = "%smid",
        /// This lane's bit.
        LanemaskEq = "%lanemask_eq",
        /// Bits of the lanes up to this one.
        LanemaskLe = "%lanemask_le",
        /// Bits of the lanes before this one.
        LanemaskLt = "%lanemask_lt",
        /// Bits of the lanes from this one on.
        LanemaskGe = "%lanemask_ge",
        /// Bits of the lanes after this one.
        LanemaskGt = "%lanemask_gt",
        /// Cycles, low 32 bits.
        Clock = "%clock",
        /// Cycles.
        Clock64 = "%clock64",
        /// Nanoseconds.
        GlobalTimer = "%globaltimer",
        /// Bytes of shared memory that the launch added.
        DynamicSmemSize = "%dynamic_smem_size",
        /// Bytes of shared memory.
        TotalSmemSize = "%total_smem_size",
        /// Cluster along x.
        ClusterIdX = "%clusterid.x" isa 78 sm 90,
        /// Cluster along y.
        ClusterIdY = "%clusterid.y" isa 78 sm 90,
        /// Cluster along z.
        ClusterIdZ = "%clusterid.z" isa 78 sm 90,
        /// Clusters along x.
        NclusterIdX = "%nclusterid.x" isa 78 sm 90,
        /// Clusters along y.
        NclusterIdY = "%nclusterid.y" isa 78 sm 90,
        /// Clusters along z.
        NclusterIdZ = "%nclusterid.z" isa 78 sm 90,
        /// Block within the cluster.
        ClusterCtaidX = "%cluster_ctaid.x" isa 78 sm 90,
        /// Block within the cluster.
        ClusterCtaidY = "%cluster_ctaid.y" isa 78 sm 90,
        /// Block within the cluster.
        ClusterCtaidZ = "%cluster_ctaid.z" isa 78 sm 90,
        /// Blocks of a cluster.
        ClusterNctaidX = "%cluster_nctaid.x" isa 78 sm 90,
        /// Blocks of a cluster.
        ClusterNctaidY = "%cluster_nctaid.y" isa 78 sm 90,
        /// Blocks of a cluster.
        ClusterNctaidZ = "%cluster_nctaid.z" isa 78 sm 90,
        /// Number of the block in the cluster.
        ClusterCtaRank = "%cluster_ctarank" isa 78 sm 90,
        /// Blocks in the cluster.
        ClusterNctaRank = "%cluster_nctarank" isa 78 sm 90,
    }
);

impl Special {
    /// Width.
    pub const fn bits(self) -> u32 {
        if matches!(self, Self::Clock64 | Self::GlobalTimer) { 64 } else { 32 }
    }
}

modifier!(
    /// 16-bit types of the tensor units.
    Half {
        /// IEEE binary16.
        F16 = "f16",
        /// bfloat16.
        BF16 = "bf16",
    }
);

impl From<Half> for Type {
    fn from(half: Half) -> Self {
        match half {
            Half::F16 => Self::F16,
            Half::BF16 => Self::Bf16,
        }
    }
}

impl Half {
    /// Two of them in a word.
    pub const fn pair(self) -> Type {
        match self {
            Self::F16 => Type::F16x2,
            Self::BF16 => Type::Bf16x2,
        }
    }
}

modifier!(
    /// How an operation reads 32 bits as a number.
    Int {
        /// Unsigned.
        U32 = "u32",
        /// Two's complement.
        S32 = "s32",
    }
);

impl From<Int> for Type {
    fn from(int: Int) -> Self {
        match int {
            Int::U32 => Self::U32,
            Int::S32 => Self::S32,
        }
    }
}

mod arithmetic;
mod control;
mod matrix;
mod memory;

pub use arithmetic::*;
pub use control::*;
pub use matrix::*;
pub use memory::*;
