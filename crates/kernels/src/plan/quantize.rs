//! Plans of [`Quantize`].

use super::rows::{build, rows_of_32};
use super::{Binding, Plan, bytes, same_type};
use crate::{DType, KernelSpec, Problem, Quantize, Unsupported};
use alloc::vec;

/// Bindings x, q, scale; parameters n, d, the type of x ([`Quantize::code`]). One workgroup per row.
pub(super) fn plan(spec: &'static KernelSpec, p: &Quantize) -> Result<Plan, Unsupported> {
    same_type("q", spec.dtype, p.out)?;
    let other = Unsupported::Type { what: "x", kernel: DType::F32, asked: p.dtype };
    let code = Quantize::code(p.dtype).ok_or(other)?;
    rows_of_32(p.n, p.d)?;
    let elements = u64::from(p.n) * u64::from(p.d);
    let bindings = vec![
        Binding::read("x", bytes(p.dtype, elements)),
        Binding::write("q", bytes(p.out, elements)),
        Binding::write("scale", 4 * u64::from(p.n)),
    ];
    Ok(build(spec, Problem::Quantize(*p), [p.n, 1, 1], bindings, vec![p.n, p.d, code]))
}
