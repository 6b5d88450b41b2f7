//! The tensor units (manual, 9.7.14 and 9.7.15) and what brings matrices to them.

use super::Type;
use crate::cursor::{Cursor, Fault};
use crate::operand::Operand;
use std::fmt;

modifier!(
    /// How many 8×8 matrices.
    Num {
        /// One; lanes 0–7 address its rows.
        X1 = "x1",
        /// Two; lanes 0–15 address their rows.
        X2 = "x2",
        /// Four; all lanes address their rows.
        X4 = "x4",
    }
);

impl Num {
    /// How many.
    pub const fn count(self) -> usize {
        1 << self as usize
    }
}

modifier!(
    /// Whether each 8×8 matrix is transposed.
    Trans {
        /// As stored.
        No = "",
        /// Transposed.
        Yes = ".trans",
    }
);
modifier!(
    /// Whether sums of integers clamp.
    Satfinite {
        /// They wrap.
        No = "",
        /// They clamp to 32 bits.
        Yes = ".satfinite",
    }
);
modifier!(
    /// What is said of sparse metadata.
    Ordered {
        /// Nothing.
        No = "",
        /// Positions within a group rise.
        Yes = "::ordered_metadata" isa 85,
    }
);
modifier!(
    /// The shape of a warp's product.
    MmaShape {
        /// 4 deep.
        M16N8K4 = "m16n8k4",
        /// 8 deep.
        M16N8K8 = "m16n8k8",
        /// 16 deep.
        M16N8K16 = "m16n8k16",
        /// 32 deep.
        M16N8K32 = "m16n8k32",
        /// 64 deep.
        M16N8K64 = "m16n8k64",
    }
);

impl MmaShape {
    /// Depth, before the sparse half of A is left out.
    pub const fn k(self) -> usize {
        4 << self as usize
    }

    /// Registers of A in a lane: 16·k elements over 32 lanes.
    pub const fn a_registers(self, ty: Type) -> usize {
        registers(16 * self.k(), ty)
    }

    /// Registers of B in a lane.
    pub const fn b_registers(self, ty: Type) -> usize {
        registers(8 * self.k(), ty)
    }
}

const fn registers(elements: usize, ty: Type) -> usize {
    elements * ty.bits() as usize / 32 / 32
}
