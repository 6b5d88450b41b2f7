//! From the parsed text to steps: registers become slots, arithmetic becomes functions. Every row of
//! the table is matched, without a wildcard: an instruction without a meaning does not compile.

mod access;
mod apply;
mod class;
mod convert;
mod float;
mod format;
mod forms;
mod integer;
mod names;
mod orders;
mod rows;

#[cfg(test)]
mod tests;

use crate::code::{Guard, Op, Step};
use crate::program::{ParamInfo, Program};
use class::class;
use names::Names;
use quickpick_ptx::{Extent, Line, Located, ParseError, Shared};

pub(crate) type F1 = Box<dyn Fn(u64) -> u64 + Send + Sync>;
pub(crate) type F2 = Box<dyn Fn(u64, u64) -> u64 + Send + Sync>;
pub(crate) type F3 = Box<dyn Fn(u64, u64, u64) -> u64 + Send + Sync>;
pub(crate) type F4 = Box<dyn Fn(u64, u64, u64, u64) -> u64 + Send + Sync>;

/// Registers of a kernel's text, virtual as they are: a warp keeps 256 bytes for each.
const MOST_REGISTERS: usize = 1 << 16;

/// A step's operation; the error says what is not modelled.
type Lowered = Result<Op, String>;

/// Makes a program of a kernel's text.
pub(crate) fn program(located: &Located) -> Result<Program, ParseError> {
    let kernel = &located.module.kernel;
    let mut names = Names::default();
    for declared in kernel.registers() {
        names.declare(declared);
    }
    if names.slots.len() > MOST_REGISTERS {
        let message =
            format!("{} registers; {MOST_REGISTERS} are possible here", names.slots.len());
        return Err(ParseError { line: 1, column: 1, message });
    }
    let mut param_bytes = 0;
    for param in &kernel.params {
        let (bytes, align) = (param.kind.bytes() as usize, param.kind.align() as usize);
        param_bytes = usize::next_multiple_of(param_bytes, align.max(1));
        names.params.push((param.name, param_bytes));
        names.infos.push(ParamInfo { name: param.name.to_string(), offset: param_bytes, bytes });
        param_bytes += bytes;
    }
    let dynamic_from = place_shared(&kernel.shared, &mut names);
    let mut at = 0;
    for line in &kernel.lines {
        match line {
            Line::Label(label) => drop(names.labels.insert(label.0, at)),
            Line::Inst { .. } => at += 1,
            Line::Section(_) | Line::Note(_) => {}
        }
    }
    let mut code = Vec::new();
    for (line, at) in kernel.lines.iter().zip(&located.at) {
        let Line::Inst { guard, inst } = line else { continue };
        let fault = |message: String| ParseError { line: *at, column: 1, message };
        let op = names.op(inst).map_err(|why| fault(format!("`{}`: {why}", inst.text())))?;
        let mut text = inst.text();
        let guard = match guard {
            Some(guard) => {
                let (pred, negated) = (guard.pred, guard.negated);
                text = format!("@{}{pred} {text}", if negated { "!" } else { "" });
                let slot = names.slot(pred.into()).map_err(fault)?;
                Some(Guard { slot, wanted: u64::from(!negated) })
            }
            None => None,
        };
        code.push(Step { guard, op, line: *at, text, class: class(inst) });
    }
    let has_groups = code.iter().any(|step| matches!(step.op, Op::Group(_)));
    let limits = &kernel.limits;
    Ok(Program {
        name: kernel.name.clone(),
        code,
        slots: names.slots,
        params: names.infos,
        param_bytes,
        dynamic_from,
        exact_block: limits.threads.map(axes),
        max_threads: limits.max_threads.map(|t| t.count()),
        exact_cluster: limits.cluster.map(axes),
        has_groups,
    })
}

fn axes(extent: Extent) -> [u32; 3] {
    [extent.x, extent.y, extent.z]
}

/// Places the arrays of shared memory one after the other, each as aligned as it asks to be and no
/// more; returns where dynamic shared memory begins, or all ends.
fn place_shared(arrays: &[Shared], names: &mut Names) -> u32 {
    let mut at = 0u32;
    for array in arrays.iter().filter(|a| a.bytes.is_some()) {
        at = misaligned(at, array.align);
        names.shared.push((array.symbol.0, at));
        at = at.saturating_add(array.bytes.unwrap_or(0));
    }
    let dynamic = arrays.iter().filter(|a| a.bytes.is_none());
    let align = dynamic.clone().map(|a| a.align).max();
    if let Some(align) = align {
        at = misaligned(at, align);
        names.shared.extend(dynamic.map(|a| (a.symbol.0, at)));
    }
    at
}

/// The next multiple of an alignment that is no multiple of twice that, so that a kernel which
/// assumes more than it declares is caught; from 1024 on (no pattern is longer) any multiple.
fn misaligned(at: u32, align: u32) -> u32 {
    let align = align.max(1);
    let next = at.next_multiple_of(align);
    if align < 1024 && (next / align).is_multiple_of(2) { next + align } else { next }
}
