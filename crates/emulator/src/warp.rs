//! A warp: 32 lanes with their own program counters, registers and copies under way.

use crate::program::Program;
use crate::trap::Fault;
use quickpick_ptx::{Class, Kind, Reg, Src, Vector};
use std::collections::VecDeque;

/// Where a warp stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// At `bar.sync` with this number.
    Waiting(u32),
    Exited,
}

/// A copy that this lane began: its data, captured from its source.
pub(crate) struct Copy {
    pub to: u64,
    pub data: Vec<u8>,
}

pub(crate) struct Warp<'p> {
    program: &'p Program,
    pub number: u32,
    pub state: State,
    /// The next instruction of each lane; `None` once it has returned.
    pub pcs: [Option<usize>; 32],
    /// A value of each lane for each slot, and the lanes that wrote it.
    values: Vec<[u64; 32]>,
    written: Vec<u32>,
    /// Copies of each lane that no group holds yet.
    pub open: [Vec<Copy>; 32],
    /// Groups of each lane under way, the oldest first.
    pub groups: [VecDeque<Vec<Copy>>; 32],
}

/// The lanes of a mask.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}

impl<'p> Warp<'p> {
    pub fn new(program: &'p Program, number: u32) -> Self {
        Self {
            program,
            number,
            state: State::Running,
            pcs: [Some(0); 32],
            values: vec![[0; 32]; program.slots],
            written: vec![0; program.slots],
            open: Default::default(),
            groups: Default::default(),
        }
    }

    /// The lowest program counter of any lane, and the lanes that are there: lanes that went the
    /// other way wait for those behind them.
    pub fn front(&self) -> Option<(usize, u32)> {
        let pc = self.pcs.iter().flatten().min().copied()?;
        let here = self.pcs.iter().enumerate().filter(|(_, p)| **p == Some(pc));
        Some((pc, here.fold(0, |mask, (lane, _)| mask | 1 << lane)))
    }

    fn slot<C: Class>(&self, reg: Reg<C>) -> Result<usize, Fault> {
        let base = self.program.role(reg.kind(), reg.role());
        // the parser has checked each register against its declaration
        base.map(|b| b + reg.index().unwrap_or(0) as usize)
            .filter(|slot| *slot < self.values.len())
            .ok_or_else(|| Fault::Launch(format!("register {reg} is not declared")))
    }

    pub fn get<C: Class>(&self, reg: Reg<C>, lane: usize) -> Result<u64, Fault> {
        let slot = self.slot(reg)?;
        if self.written[slot] >> lane & 1 == 0 {
            return Err(Fault::PoisonRegister { lane: lane as u32, register: reg.to_string() });
        }
        Ok(self.values[slot][lane])
    }

    pub fn set<C: Class>(&mut self, reg: Reg<C>, lane: usize, value: u64) -> Result<(), Fault> {
        let slot = self.slot(reg)?;
        self.values[slot][lane] = match C::KIND {
            Kind::Pred => value & 1,
            Kind::B16 => value & 0xFFFF,
            Kind::B32 | Kind::F32 => value & 0xFFFF_FFFF,
            Kind::B64 => value,
        };
        self.written[slot] |= 1 << lane;
        Ok(())
    }

    /// A register's value, or the constant in its place (of f32, its bits).
    pub fn src<C: Class>(&self, src: Src<C>, lane: usize) -> Result<u64, Fault> {
        match (src, C::KIND) {
            (Src::Reg(reg), _) => self.get(reg, lane),
            (Src::Imm(value), Kind::B64) => Ok(value as u64),
            (Src::Imm(value), _) => Ok(value as u32 as u64),
        }
    }

    /// Registers of all lanes, for what the whole warp does.
    pub fn all<C: Class, const N: usize>(&self, v: Vector<C, N>) -> Result<[[u32; 32]; N], Fault> {
        let mut out = [[0; 32]; N];
        for (row, reg) in out.iter_mut().zip(v.0) {
            let slot = self.slot(reg)?;
            let missing = (!self.written[slot]).trailing_zeros();
            if missing < 32 {
                return Err(Fault::PoisonRegister { lane: missing, register: reg.to_string() });
            }
            for (value, have) in row.iter_mut().zip(&self.values[slot]) {
                *value = *have as u32;
            }
        }
        Ok(out)
    }

    pub fn set_all<C: Class, const N: usize>(
        &mut self,
        v: Vector<C, N>,
        values: &[[u32; 32]; N],
    ) -> Result<(), Fault> {
        for (reg, row) in v.0.into_iter().zip(values) {
            let slot = self.slot(reg)?;
            for (have, value) in self.values[slot].iter_mut().zip(row) {
                *have = *value as u64;
            }
            self.written[slot] = u32::MAX;
        }
        Ok(())
    }
}
