//! What the table's macro is built from.

use crate::cursor::{Cursor, Fault};
use crate::operand::Operand;

/// PTX ISA version × 10 that every row knows: `mma` of 16-bit types and `cp.async`.
pub const BASE_ISA: u16 = 70;
/// The target that every row knows.
pub const BASE_SM: u16 = 80;

/// What the tools say of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The variant of [`crate::Inst`].
    pub name: &'static str,
    /// Its text, with operands in braces.
    pub template: &'static str,
    /// Least PTX ISA version × 10, before its operands are asked.
    pub isa: u16,
    /// Least target, before its operands are asked.
    pub sm: u16,
    /// Whether only that target will do: `sm_90a`.
    pub exact: bool,
    /// Other orders of its modifiers that are read, and printed as `template`.
    pub others: &'static [&'static str],
}

pub(super) const fn pick(list: &[u16]) -> u16 {
    list[0]
}

pub(super) const fn given(list: &[&str]) -> bool {
    !list.is_empty()
}

/// Where the operands of an instruction began.
pub(super) struct Marks {
    start: usize,
    operands: Vec<(&'static str, usize)>,
}

impl Marks {
    pub fn new(c: &mut Cursor<'_>) -> Self {
        Self { start: c.position(), operands: Vec::new() }
    }

    pub fn mark(&mut self, c: &mut Cursor<'_>, name: &'static str) {
        self.operands.push((name, c.here()));
    }

    /// A fault where the named operand stands; without a name, at the mnemonic.
    pub fn judge(
        &self,
        c: &Cursor<'_>,
        verdict: Result<(), (&'static str, String)>,
    ) -> Result<(), Fault> {
        verdict.map_err(|(field, why)| {
            let at = self.operands.iter().find(|(name, _)| *name == field);
            Fault { judged: true, ..c.fault_at(at.map_or(self.start, |(_, at)| *at), &why) }
        })
    }
}

/// Reads an operand; one that the template names twice must be the same both times.
pub(super) fn fill<T: Operand>(c: &mut Cursor<'_>, slot: &mut Option<T>) -> Result<(), Fault> {
    let value = T::parse(c)?;
    match slot {
        Some(first) if *first != value => Err(c.fault("this operand must repeat the former")),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

pub(super) fn filled<T>(c: &mut Cursor<'_>, slot: Option<T>) -> Result<T, Fault> {
    slot.ok_or_else(|| c.fault("the row's template lacks an operand"))
}
