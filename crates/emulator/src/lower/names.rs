//! What names of the text stand for: registers, parameters, arrays, labels; and operands made of
//! them.

use super::integer::cut;
use crate::block::param_address;
use crate::code::{At, Slot, Space, Src, Which};
use crate::program::{ParamInfo, SlotInfo};
use quickpick_ptx::{self as ptx, Address, AnyReg, Arg, Base, Declared, Kind, Name, Special, Type};
use std::collections::HashMap;

#[derive(Default)]
pub(super) struct Names {
    roles: HashMap<(Kind, Name), Slot>,
    pub slots: Vec<SlotInfo>,
    /// Parameters by name: their offsets.
    pub params: Vec<(Name, usize)>,
    pub infos: Vec<ParamInfo>,
    /// Arrays in shared memory: their addresses.
    pub shared: Vec<(Name, u32)>,
    pub labels: HashMap<Name, usize>,
}

impl Names {
    pub fn declare(&mut self, declared: &Declared) {
        let Declared { kind, role, count } = *declared;
        self.roles.insert((kind, role), self.slots.len());
        let bits = kind.bits();
        let mask = cut(bits, u64::MAX);
        match count {
            None => self.slots.push(SlotInfo { name: format!("%{role}"), mask }),
            Some(count) => {
                let name = |i| SlotInfo { name: format!("%{role}{i}"), mask };
                self.slots.extend((0..count).map(name));
            }
        }
    }

    pub fn slot(&self, reg: AnyReg) -> Result<Slot, String> {
        let base = self.roles.get(&(reg.kind, reg.role));
        // the parser has checked each register against its declaration
        base.map(|b| b + reg.index.unwrap_or(0) as usize)
            .filter(|slot| *slot < self.slots.len())
            .ok_or_else(|| format!("register {reg} is not declared"))
    }

    /// A destination.
    pub fn dst(&self, arg: &Arg) -> Result<Slot, String> {
        match arg {
            Arg::Reg(reg) => self.slot(*reg),
            other => Err(format!("{other} is no register")),
        }
    }

    /// A destination that may be absent.
    pub fn maybe(&self, arg: &Arg) -> Result<Option<Slot>, String> {
        if *arg == Arg::Sink { Ok(None) } else { self.dst(arg).map(Some) }
    }

    /// Destinations, some of which may be dropped.
    pub fn dsts(&self, arg: &Arg) -> Result<Vec<Option<Slot>>, String> {
        arg.elements().iter().map(|a| self.maybe(a)).collect()
    }

    pub fn slots(&self, arg: &Arg) -> Result<Vec<Slot>, String> {
        arg.elements().iter().map(|a| self.dst(a)).collect()
    }

    /// A source of so many bits.
    pub fn src(&self, arg: &Arg, bits: u32) -> Result<Src, String> {
        Ok(match arg {
            Arg::Reg(reg) => Src::Slot(self.slot(*reg)?),
            Arg::Int(value) => Src::Const(cut(bits, *value as u64)),
            Arg::F32(value) => Src::Const(u64::from(*value)),
            Arg::F64(value) => Src::Const(*value),
            Arg::Symbol(name, offset) => Src::Const(self.symbol(*name, *offset)?),
            other => return Err(format!("{other} is no source")),
        })
    }

    pub fn srcs(&self, arg: &Arg, bits: u32) -> Result<Vec<Src>, String> {
        arg.elements().iter().map(|a| self.src(a, bits)).collect()
    }

    /// A predicate, and whether its opposite is meant.
    pub fn pred(&self, arg: &Arg) -> Result<(Src, bool), String> {
        match arg {
            Arg::Not(reg) => Ok((Src::Slot(self.slot(*reg)?), true)),
            other => Ok((self.src(other, 1)?, false)),
        }
    }

    fn shared_at(&self, name: Name) -> Option<u32> {
        self.shared.iter().find(|(n, _)| *n == name).map(|(_, at)| *at)
    }

    fn param_at(&self, name: Name) -> Option<usize> {
        self.params.iter().find(|(n, _)| *n == name).map(|(_, at)| *at)
    }

    /// The address of an array within shared memory, or of a parameter within their space.
    fn symbol(&self, name: Name, offset: i32) -> Result<u64, String> {
        let base = self.shared_at(name).map(u64::from).or(self.param_at(name).map(|at| at as u64));
        let base = base.ok_or_else(|| format!("nothing here is called {name}"))?;
        Ok(base.wrapping_add_signed(i64::from(offset)))
    }

    pub fn at(&self, address: &Address) -> Result<At, String> {
        let base = match address.base {
            Base::Reg(reg) => Src::Slot(self.slot(reg)?),
            Base::Param(name) | Base::Symbol(name) => Src::Const(self.symbol(name, 0)?),
            Base::Absolute => Src::Const(0),
        };
        Ok(At { base, offset: i64::from(address.offset) })
    }

    /// Where a tensor map is: a generic address, or a parameter by name.
    pub fn map(&self, arg: &Arg) -> Result<At, String> {
        let base = match arg {
            Arg::Symbol(name, offset) => {
                let at = self.param_at(*name).ok_or_else(|| format!("{name} is no parameter"))?;
                Src::Const(param_address(at as u64).wrapping_add_signed(i64::from(*offset)))
            }
            other => self.src(other, 64)?,
        };
        Ok(At { base, offset: 0 })
    }

    pub fn label(&self, label: ptx::Label) -> Result<usize, String> {
        self.labels.get(&label.0).copied().ok_or_else(|| format!("no label {}", label.0))
    }
}

pub(super) fn space(space: ptx::Space) -> Space {
    match space {
        ptx::Space::Generic => Space::Generic,
        ptx::Space::Global => Space::Global,
        ptx::Space::Shared | ptx::Space::SharedCta => Space::Shared,
        ptx::Space::SharedCluster => Space::Cluster,
        ptx::Space::Param => Space::Param,
    }
}

/// The bytes of a type in memory.
pub(super) fn bytes(ty: Type) -> usize {
    ty.bits() as usize / 8
}

pub(super) fn special(special: Special) -> Result<Which, String> {
    use crate::code::LaneMask as Mask;
    use Special::*;
    Ok(match special {
        TidX => Which::Tid(0),
        TidY => Which::Tid(1),
        TidZ => Which::Tid(2),
        NtidX => Which::Ntid(0),
        NtidY => Which::Ntid(1),
        NtidZ => Which::Ntid(2),
        CtaidX => Which::Ctaid(0),
        CtaidY => Which::Ctaid(1),
        CtaidZ => Which::Ctaid(2),
        NctaidX => Which::Nctaid(0),
        NctaidY => Which::Nctaid(1),
        NctaidZ => Which::Nctaid(2),
        LaneId => Which::LaneId,
        WarpId => Which::WarpId,
        NwarpId => Which::NwarpId,
        LanemaskEq => Which::LaneMask(Mask::Eq),
        LanemaskLe => Which::LaneMask(Mask::Le),
        LanemaskLt => Which::LaneMask(Mask::Lt),
        LanemaskGe => Which::LaneMask(Mask::Ge),
        LanemaskGt => Which::LaneMask(Mask::Gt),
        Clock | Clock64 | GlobalTimer => Which::Clock,
        SmId => return Err(format!("{special} is not modelled")),
        DynamicSmemSize => Which::DynamicShared,
        TotalSmemSize => Which::TotalShared,
        ClusterIdX => Which::ClusterId(0),
        ClusterIdY => Which::ClusterId(1),
        ClusterIdZ => Which::ClusterId(2),
        NclusterIdX => Which::NclusterId(0),
        NclusterIdY => Which::NclusterId(1),
        NclusterIdZ => Which::NclusterId(2),
        ClusterCtaidX => Which::ClusterCtaid(0),
        ClusterCtaidY => Which::ClusterCtaid(1),
        ClusterCtaidZ => Which::ClusterCtaid(2),
        ClusterNctaidX => Which::ClusterNctaid(0),
        ClusterNctaidY => Which::ClusterNctaid(1),
        ClusterNctaidZ => Which::ClusterNctaid(2),
        ClusterCtaRank => Which::ClusterCtarank,
        ClusterNctaRank => Which::ClusterNctarank,
    })
}
