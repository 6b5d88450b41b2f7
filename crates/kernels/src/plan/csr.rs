//! The plan of a product with a sparse residual.

use super::rows::build;
use super::{Binding, MAX_DIM, Plan, multiple, range, same_type};
use crate::spec::{Form, KernelSpec};
use crate::{Problem, SpmmCsr, Unsupported};
use alloc::vec;

/// Invocations that share a row of R in WGSL: they take its entries by turns, so that neighbours read
/// neighbouring words. A row of 4096 columns of which 2 % are kept has some 80.
pub const CSR_LANES: u32 = 8;

/// Columns that the 16 bits of an entry can name.
const MAX_K: u32 = 1 << 16;

/// Bindings rows, entries, x, residual, y; parameters m, n, k, nnz, has-residual. Grid (blocks of rows, n).
pub(super) fn spmm(spec: &'static KernelSpec, p: &SpmmCsr) -> Result<Plan, Unsupported> {
    same_type("R and X", spec.dtype, p.dtype)?;
    range("m", p.m, 1, MAX_DIM)?;
    range("n", p.n, 1, MAX_DIM)?;
    range("k", p.k, 32, MAX_K)?;
    multiple("k", p.k, 32)?;
    let (m, n, k) = (p.m as u64, p.n as u64, p.k as u64);
    range("nnz", p.nnz, 0, u32::try_from(m * k).unwrap_or(u32::MAX))?;
    let bindings = vec![
        Binding::read("rows", 4 * (m + 1)),
        Binding::read("entries", 4 * p.nnz as u64),
        Binding::read("x", super::bytes(p.dtype, n * k)),
        Binding::read("residual", if p.residual { 4 * n * m } else { 0 }),
        Binding::write("y", 4 * n * m),
    ];
    let params = vec![p.m, p.n, p.k, p.nnz, p.residual as u32];
    let grid = match spec.form {
        Form::Rowwise { threads } => [p.m.div_ceil(threads / CSR_LANES), p.n, 1],
        _ => [1, 1, 1],
    };
    Ok(build(spec, Problem::SpmmCsr(*p), grid, bindings, params))
}
