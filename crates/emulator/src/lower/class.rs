//! What the counts call an instruction: every row of the table, without a wildcard.

use crate::code::Class;
use quickpick_ptx::{Inst, Type};

/// The kind of an instruction, for the counts.
pub(super) fn class(inst: &Inst) -> Class {
    let float = |ty: &Type| if ty.is_float() { Class::Float } else { Class::Integer };
    match inst {
        Inst::Mma { .. } | Inst::MmaSp { .. } | Inst::Wgmma { .. } | Inst::WgmmaSp { .. } => {
            Class::Tensor
        }
        Inst::Ld { .. }
        | Inst::St { .. }
        | Inst::Atom { .. }
        | Inst::AtomCas { .. }
        | Inst::Red { .. } => Class::Memory,
        Inst::Ldmatrix { .. } | Inst::Stmatrix { .. } | Inst::Movmatrix { .. } => Class::Matrix,
        Inst::CpAsync { .. }
        | Inst::CpAsyncFill { .. }
        | Inst::CpAsyncIgnore { .. }
        | Inst::CpAsyncCommit {}
        | Inst::CpAsyncWait { .. }
        | Inst::CpAsyncWaitAll {}
        | Inst::CpAsyncMbarrierArrive { .. }
        | Inst::BulkLoad { .. }
        | Inst::BulkCopy { .. }
        | Inst::BulkStore { .. }
        | Inst::TensorLoad { .. }
        | Inst::TensorStore { .. }
        | Inst::TensorPrefetchMap { .. }
        | Inst::BulkCommit {}
        | Inst::BulkWait { .. } => Class::Copy,
        Inst::BarSync { .. }
        | Inst::BarSyncCount { .. }
        | Inst::BarArrive { .. }
        | Inst::BarWarpSync { .. }
        | Inst::ClusterArrive { .. }
        | Inst::ClusterWait { .. }
        | Inst::Fence { .. }
        | Inst::Membar { .. }
        | Inst::FenceMbarrierInit {}
        | Inst::FenceProxyAsync { .. }
        | Inst::MbarInit { .. }
        | Inst::MbarInval { .. }
        | Inst::MbarArrive { .. }
        | Inst::MbarArriveCount { .. }
        | Inst::MbarExpectTx { .. }
        | Inst::MbarArriveExpectTx { .. }
        | Inst::MbarTryWaitParity { .. }
        | Inst::MbarTryWaitParityHint { .. }
        | Inst::MbarTestWaitParity { .. }
        | Inst::MbarTryWait { .. }
        | Inst::MbarTestWait { .. }
        | Inst::WgmmaFence {}
        | Inst::WgmmaCommit {}
        | Inst::WgmmaWait { .. }
        | Inst::Setmaxnreg { .. } => Class::Barrier,
        Inst::Bra { .. }
        | Inst::Ret {}
        | Inst::Exit {}
        | Inst::Trap {}
        | Inst::Nanosleep { .. }
        | Inst::Pragma { .. } => Class::Control,
        Inst::Add { ty, .. }
        | Inst::Sub { ty, .. }
        | Inst::Mul { ty, .. }
        | Inst::Fma { ty, .. }
        | Inst::Div { ty, .. }
        | Inst::Min { ty, .. }
        | Inst::Max { ty, .. }
        | Inst::Neg { ty, .. }
        | Inst::Abs { ty, .. }
        | Inst::Copysign { ty, .. }
        | Inst::Sqrt { ty, .. }
        | Inst::Rcp { ty, .. }
        | Inst::Rsqrt { ty, .. }
        | Inst::Ex2 { ty, .. }
        | Inst::Lg2 { ty, .. }
        | Inst::Sin { ty, .. }
        | Inst::Cos { ty, .. }
        | Inst::Tanh { ty, .. } => float(ty),
        Inst::Mov { .. }
        | Inst::Prmt { .. }
        | Inst::Shfl { .. }
        | Inst::Selp { .. }
        | Inst::Vote { .. }
        | Inst::Activemask { .. }
        | Inst::Elect { .. }
        | Inst::Redux { .. }
        | Inst::CvtaTo { .. }
        | Inst::Cvta { .. }
        | Inst::Mapa { .. }
        | Inst::Mad { .. }
        | Inst::Rem { .. }
        | Inst::Shl { .. }
        | Inst::Shr { .. }
        | Inst::Shf { .. }
        | Inst::And { .. }
        | Inst::Or { .. }
        | Inst::Xor { .. }
        | Inst::Not { .. }
        | Inst::Lop3 { .. }
        | Inst::Bfe { .. }
        | Inst::Bfi { .. }
        | Inst::Brev { .. }
        | Inst::Clz { .. }
        | Inst::Popc { .. }
        | Inst::Bfind { .. }
        | Inst::Dp4a { .. }
        | Inst::Setp { .. }
        | Inst::Set { .. }
        | Inst::SetpBool { .. }
        | Inst::Cvt { .. }
        | Inst::Cvt2 { .. }
        | Inst::CvtFloat8 { .. } => Class::Integer,
    }
}
