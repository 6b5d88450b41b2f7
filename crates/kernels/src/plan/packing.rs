//! Plans of packing and unpacking: geometry, and the parts on a device that binds little at a time.
//!
//! A thread makes or reads one metadata word: that of its number, in memory. So metadata are side by side, and
//! dense rows and values nearly so, whatever the order. A strip's words come by two, for a value of the even
//! rows shares its word with one of the odd rows.

use super::rows::build;
use super::{Binding, MAX_DIM, Part, Plan, multiple, range, same_type};
use crate::spec::{Form, KernelSpec};
use crate::{OpKind, Order, Packing, Problem, Unsupported};
use alloc::vec;
use alloc::vec::Vec;

/// Which parameter of the WGSL kernels is the number of the first group, to report others by: 0, but of a part.
const FIRST: usize = 7;

/// Rows are cut at multiples of this: whole blocks of every order, and whole alignments of their memory.
const ROWS: u32 = 256;

/// Most elements, padding included: groups and words of metadata are counted in 32 bits.
const MAX_ELEMENTS: u64 = 1 << 33;

/// The number by which an order is named to the kernels: its place in [`Order::ALL`].
pub const fn order_number(order: Order) -> u32 {
    match order {
        Order::RowMajor => 0,
        Order::MmaSpSm80 => 1,
        Order::FragmentSm80 => 2,
        Order::WgmmaSm90 => 3,
        Order::Strips => 4,
    }
}

/// Bindings dense, values, metadata, status (unpacking: values, metadata, dense, status); parameters m, k, order,
/// items (words of metadata; pairs of words in strips), items of a line (what lies between two rows, blocks of rows or,
/// of [`Order::MmaSpSm80`], chunks of columns), rows with values, columns with values, in WGSL the first group.
pub(super) fn packing(spec: &'static KernelSpec, p: &Packing) -> Result<Plan, Unsupported> {
    same_type("W", spec.dtype, p.dtype)?;
    range("m", p.m, 1, MAX_DIM)?;
    range("k", p.k, 4, MAX_DIM)?;
    multiple("k", p.k, 4)?;
    let (m, k) = (p.m as usize, p.k as usize);
    let (rows, columns) = p.order.padded(p.dtype, m, k);
    let (value_rows, value_k) = (p.order.value_rows(m), p.order.value_cols(p.dtype, k));
    let elements = rows as u64 * columns as u64;
    if elements > MAX_ELEMENTS {
        let (what, needs, has) = ("elements, with padding", elements, MAX_ELEMENTS);
        return Err(Unsupported::Limit { what, needs, has });
    }
    let line = match p.order {
        Order::RowMajor => columns / 32,
        Order::MmaSpSm80 => rows,
        Order::FragmentSm80 | Order::WgmmaSm90 => columns / 2,
        Order::Strips => columns / 4,
    };
    let words = elements / 32;
    let items = if p.order == Order::Strips { words / 2 } else { words } as u32;
    let (dense, values) = (super::bytes(p.dtype, m as u64 * k as u64), {
        super::bytes(p.dtype, value_rows as u64 * value_k as u64 / 2)
    });
    let (metadata, status) = (4 * words, Binding::read_write("status", 4));
    let (problem, bindings) = match spec.op {
        OpKind::Unpack24 => (
            Problem::Unpack24(*p),
            vec![
                Binding::read("values", values),
                Binding::read("metadata", metadata),
                Binding::write("dense", dense),
                status,
            ],
        ),
        _ => (
            Problem::Pack24(*p),
            vec![
                Binding::read("dense", dense),
                Binding::write("values", values),
                Binding::write("metadata", metadata),
                status,
            ],
        ),
    };
    let [line, value_rows, value_k] = [line, value_rows, value_k].map(|size| size as u32);
    let mut params = vec![p.m, p.k, order_number(p.order), items, line, value_rows, value_k];
    if spec.target.is_wgsl() {
        params.push(0); // FIRST
    }
    let grid = match spec.form {
        Form::Rowwise { threads } => [items.div_ceil(threads), 1, 1],
        _ => [1, 1, 1],
    };
    Ok(build(spec, problem, grid, bindings, params))
}

/// The parts of a plan, along rows; none where it fits as it is, or cannot be cut: with chunks of columns outermost a
/// range of rows is no range of memory. Of every other order parts follow each other in each operand.
pub(super) fn parts(
    plan: &Plan,
    p: &Packing,
    limit: u64,
    launch: impl Fn(&Problem) -> Result<Plan, Unsupported>,
) -> Result<Vec<Part>, Unsupported> {
    let largest = |bindings: &[Binding]| bindings.iter().map(|b| b.bytes).max().unwrap_or(0);
    if p.order == Order::MmaSpSm80 || largest(&plan.bindings) <= limit {
        return Ok(Vec::new());
    }
    let of = |m: u32| {
        let p = Packing { m, ..*p };
        launch(&match plan.problem {
            Problem::Unpack24(_) => Problem::Unpack24(p),
            _ => Problem::Pack24(p),
        })
    };
    let needs = largest(&of(p.m.min(ROWS))?.bindings);
    let rows = ROWS * (limit / needs.max(1)).min(p.m as u64) as u32;
    if rows == 0 {
        return Err(Unsupported::Limit { what: "bytes in one binding", needs, has: limit });
    }
    let mut starts = vec![0; plan.bindings.len()];
    let mut parts = Vec::new();
    for from in (0..p.m).step_by(rows as usize) {
        let Plan { grid, mut params, bindings, .. } = of(rows.min(p.m - from))?;
        params[FIRST] = from * (p.k / 4);
        let range = |(start, b): (&mut u64, &Binding)| {
            let range = *start..*start + b.bytes;
            // all report to the same word
            *start = if b.name == "status" { 0 } else { range.end };
            range
        };
        let ranges = starts.iter_mut().zip(&bindings).map(range).collect();
        parts.push(Part { grid, ranges, params });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_list() {
        for (i, order) in Order::ALL.into_iter().enumerate() {
            assert_eq!(order_number(order) as usize, i);
        }
    }
}
