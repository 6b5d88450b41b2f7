//! How rows that touch memory become steps: copies, mbarriers, atomics.

use super::apply::none;
use super::names::{Names, bytes, space};
use super::orders::atom_order;
use super::{F2, Lowered, float, integer};
use crate::code::{Mbar, Op, Src, Take};
use quickpick_ptx::{Address, Arg, AtomOp, AtomOrder, AtomScope, Imm, Space, Type, WaitOrder};

impl Names {
    /// An operand that may be absent.
    pub(super) fn optional(&self, arg: &Arg, bits: u32) -> Result<Option<Src>, String> {
        if *arg == Arg::Sink { Ok(None) } else { self.src(arg, bits).map(Some) }
    }

    /// `cp.async` (9.7.9.25.3.1).
    pub(super) fn copy(&self, d: &Address, a: &Address, size: Imm, take: Take) -> Lowered {
        Ok(Op::Copy { to: self.at(d)?, from: self.at(a)?, size: size.0 as usize, take })
    }

    /// An instruction on an mbarrier (9.7.13.15).
    pub(super) fn mbarrier(&self, s: Space, a: &Address, d: Option<usize>, op: Mbar) -> Lowered {
        Ok(Op::Mbarrier { space: space(s), a: self.at(a)?, d, op })
    }

    /// `mbarrier.test_wait` and `try_wait` (9.7.13.15.16), of a parity or of a state.
    pub(super) fn test(
        &self,
        (order, s): (WaitOrder, Space),
        d: &Arg,
        a: &Address,
        (phase, bits): (&Arg, u32),
        blocking: bool,
    ) -> Lowered {
        let relaxed = matches!(order, WaitOrder::RelaxedCta | WaitOrder::RelaxedCluster);
        let phase = self.src(phase, bits)?;
        let op = Mbar::Test { phase, token: bits == 64, blocking, relaxed };
        self.mbarrier(s, a, Some(self.dst(d)?), op)
    }

    /// `atom` and `red` (9.7.13.5, 9.7.13.6).
    pub(super) fn atomic(
        &self,
        (order, scope, s): (AtomOrder, AtomScope, Space),
        (op, ty): (AtomOp, Type),
        d: Option<usize>,
        a: &Address,
        b: &Arg,
    ) -> Lowered {
        let f = none(atom(op, ty))?;
        Ok(Op::Atomic {
            space: space(s),
            order: atom_order(order, scope),
            f: Box::new(move |old, b, _| f(old, b)),
            size: bytes(ty),
            d,
            a: self.at(a)?,
            b: self.src(b, ty.bits())?,
            c: Src::Const(0),
        })
    }
}

/// What `atom` and `red` put in place of a for b (9.7.13.5, 9.7.13.6).
pub(super) fn atom(op: AtomOp, ty: Type) -> Option<F2> {
    match op {
        AtomOp::Add | AtomOp::AddNoftz if ty.is_float() => {
            float::binary(ty, false, false, |a, b| a + b)
        }
        AtomOp::Add | AtomOp::AddNoftz => integer::add(ty, false),
        AtomOp::Min => integer::min(ty),
        AtomOp::Max => integer::max(ty),
        AtomOp::And => Some(Box::new(|a, b| a & b)),
        AtomOp::Or => Some(Box::new(|a, b| a | b)),
        AtomOp::Xor => Some(Box::new(|a, b| a ^ b)),
        AtomOp::Exch => Some(Box::new(|_, b| b)),
        AtomOp::Inc => Some(Box::new(|a, b| if a >= b { 0 } else { a + 1 })),
        AtomOp::Dec => Some(Box::new(|a, b| if a == 0 || a > b { b } else { a - 1 })),
    }
}

/// `atom.cas`: what is put in place of a (9.7.13.5).
pub(super) fn cas(a: u64, b: u64, c: u64) -> u64 {
    if a == b { c } else { a }
}
