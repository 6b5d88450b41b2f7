//! What a combination of modifiers asks for beyond its row: PTX version × 10 and target, as the
//! notes at the end of each section of the manual say.

use super::{BASE_ISA, BASE_SM, Inst};
use crate::modifier::*;

use Type::*;

const NOTHING: (u16, u16) = (BASE_ISA, BASE_SM);

fn if_bf16(ty: Type) -> (u16, u16) {
    if matches!(ty, Bf16 | Bf16x2) { (78, 90) } else { NOTHING }
}

impl Inst {
    pub(super) fn needs(&self) -> (u16, u16) {
        match self {
            Self::Add { ty, .. }
            | Self::Sub { ty, .. }
            | Self::Mul { ty, .. }
            | Self::Ex2 { ty, .. }
            | Self::Tanh { ty, .. }
            | Self::Setp { ty, .. }
            | Self::SetpBool { ty, .. }
            | Self::Atom { ty, .. }
            | Self::Red { ty, .. } => if_bf16(*ty),
            Self::Set { aty, .. } => if_bf16(*aty),
            Self::Cvt { dty, aty, round, .. } => match (dty, aty) {
                (Bf16, F32) if *round == CvtRound::Rn => NOTHING,
                (Tf32, _) if *round != CvtRound::Rna => (78, 90),
                (Bf16, F32) => (71, 80),
                (Bf16, _) | (_, Bf16) => (78, 90),
                _ => NOTHING,
            },
            Self::CvtFloat8 { .. } => (81, 89),
            Self::Cvta { space: Space::Param, .. } | Self::CvtaTo { space: Space::Param, .. } => {
                (77, 80)
            }
            Self::MbarArrive { space: Space::SharedCluster, .. }
            | Self::MbarArriveCount { space: Space::SharedCluster, .. } => (80, 90),
            Self::BulkLoad { space: Space::SharedCta, .. }
            | Self::TensorLoad { space: Space::SharedCta, .. } => (86, 90),
            Self::Mma { aty: E4m3 | E5m2, .. } | Self::MmaSp { aty: E4m3 | E5m2, .. } => (84, 89),
            Self::Wgmma { aty, bty, .. } | Self::WgmmaSp { aty, bty, .. }
                if aty != bty && !aty.is_float() =>
            {
                (84, 90)
            }
            _ => NOTHING,
        }
    }
}
