//! The checks that every backend makes, so that each of them says the same.

use crate::backend::Slice;
use crate::error::{Error, Result};
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "script"))]
use quickpick_kernels::Caps;
use quickpick_kernels::plan::ALIGNMENT;
use quickpick_kernels::{Access, Plan};

/// The checks that every backend's `write` and `read` make first. A buffer of `has` bytes ends at a
/// multiple of 4.
pub(crate) fn check_range(what: &str, has: u64, offset: u64, len: u64) -> Result<()> {
    let argument = |what: String, got, expected| Err(Error::Argument { what, got, expected });
    if !offset.is_multiple_of(4) {
        return argument(format!("{what}: remainder of the offset by 4"), offset % 4, 0);
    }
    if !len.is_multiple_of(4) {
        return argument(format!("{what}: remainder of the length by 4"), len % 4, 0);
    }
    match offset.checked_add(len) {
        Some(end) if end <= has.next_multiple_of(4) => Ok(()),
        end => argument(
            format!("{what}: end, in a buffer of {has} bytes"),
            end.unwrap_or(u64::MAX),
            has,
        ),
    }
}

/// The check that a device's `step` makes first: the plan is the one that its own abilities give.
/// wgpu checks no workgroup memory, the CUDA driver no lengths, and a plan's fields are public.
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "script"))]
pub(crate) fn check_plan(plan: &Plan, caps: &Caps) -> Result<()> {
    let kernel = plan.spec.to_string();
    match plan.spec.plan(&plan.problem, caps) {
        Ok(own) if own == *plan => Ok(()),
        Ok(_) => Err(Error::Argument {
            what: format!("{kernel}: plans for this device (it was altered, or made for another)"),
            got: 0,
            expected: 1,
        }),
        Err(why) => Err(Error::Unsupported { kernel, why }),
    }
}

/// The checks that every backend's `step` makes of its operands. `id` tells buffers apart.
pub(crate) fn check_operands<B, I: PartialEq>(
    plan: &Plan,
    operands: &[Option<Slice<B>>],
    len: impl Fn(&B) -> u64,
    id: impl Fn(&B) -> I,
) -> Result<()> {
    let kernel = plan.spec.to_string();
    let argument = |what: String, got, expected| Err(Error::Argument { what, got, expected });
    if operands.len() != plan.bindings.len() {
        let (got, expected) = (operands.len() as u64, plan.bindings.len() as u64);
        return argument(format!("{kernel}: operands"), got, expected);
    }
    for (binding, operand) in plan.bindings.iter().zip(operands) {
        match operand {
            Some(slice) => {
                let has = len(&slice.buffer).saturating_sub(slice.offset);
                if has < binding.bytes {
                    let what = format!("{kernel}: bytes of {}", binding.name);
                    return argument(what, has, binding.bytes);
                }
                let beyond = slice.offset % ALIGNMENT;
                if beyond != 0 {
                    let name = binding.name;
                    let what = format!("{kernel}: remainder of {name}'s offset by {ALIGNMENT}");
                    return argument(what, beyond, 0);
                }
            }
            None if binding.is_present() => {
                return argument(format!("{kernel}: bytes of {}", binding.name), 0, binding.bytes);
            }
            None => {}
        }
    }
    for (i, a) in plan.bindings.iter().enumerate() {
        for (j, b) in plan.bindings.iter().enumerate() {
            if i == j || !a.is_present() || !b.is_present() || a.access == Access::Read {
                continue;
            }
            let (Some(x), Some(y)) = (&operands[i], &operands[j]) else { continue };
            if id(&x.buffer) == id(&y.buffer) {
                return Err(Error::Aliased { kernel, first: a.name, second: b.name });
            }
        }
    }
    Ok(())
}
