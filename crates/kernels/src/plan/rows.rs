//! Plans of the decoder's other operations: bindings, parameters, geometry.

use super::{Binding, MAX_DIM, Plan, bytes, multiple, range, same_type};
use crate::spec::{Form, KernelSpec, Target};
use crate::{ArgMax, Attention, DType, Gather, Problem, RmsNorm, Rotary, SwiGlu, Unsupported};
use alloc::vec;
use alloc::vec::Vec;

/// Bindings x, gain, y; parameters n, d, eps, out-is-f32. One workgroup per row.
pub(super) fn rmsnorm(spec: &'static KernelSpec, p: &RmsNorm) -> Result<Plan, Unsupported> {
    narrow_or_f32("y", spec.dtype, p.out)?;
    rows_of_32(p.n, p.d)?;
    let nd = p.n as u64 * p.d as u64;
    let bindings = vec![
        Binding::read("x", 4 * nd),
        Binding::read("gain", 4 * p.d as u64),
        Binding::write("y", bytes(p.out, nd)),
    ];
    let params = vec![p.n, p.d, p.eps.to_bits(), (p.out == DType::F32) as u32];
    Ok(build(spec, Problem::RmsNorm(*p), [p.n, 1, 1], bindings, params))
}

/// Bindings q, k, v, pos, table, q_out, k_cache, v_cache; parameters n, heads, kv_heads, head_dim,
/// max_seq. Grid (n, heads + kv_heads + kv_heads): q heads, then k heads, then v heads.
/// Rows at or past `max_seq` are not written.
pub(super) fn rotary(spec: &'static KernelSpec, p: &Rotary) -> Result<Plan, Unsupported> {
    same_type("the cache", spec.dtype, p.cache)?;
    heads(p.n, p.heads, p.kv_heads, p.head_dim, p.max_seq)?;
    let (n, hd) = (p.n as u64, p.head_dim as u64);
    let cache = bytes(p.cache, p.max_seq as u64 * p.kv_heads as u64 * hd);
    let bindings = vec![
        Binding::read("q", 4 * n * p.heads as u64 * hd),
        Binding::read("k", 4 * n * p.kv_heads as u64 * hd),
        Binding::read("v", 4 * n * p.kv_heads as u64 * hd),
        Binding::read("pos", 4),
        Binding::read("table", 4 * p.max_seq as u64 * hd),
        Binding::write("q_out", 4 * n * p.heads as u64 * hd),
        Binding::read_write("k_cache", cache),
        Binding::read_write("v_cache", cache),
    ];
    let params = vec![p.n, p.heads, p.kv_heads, p.head_dim, p.max_seq];
    let grid = [p.n, p.heads + 2 * p.kv_heads, 1];
    Ok(build(spec, Problem::Rotary(*p), grid, bindings, params))
}

/// Bindings q, k_cache, v_cache, pos, y; parameters n, heads, kv_heads, head_dim, max_seq, scale
/// (f32), out-is-f32. Grid (n, heads).
pub(super) fn attention(spec: &'static KernelSpec, p: &Attention) -> Result<Plan, Unsupported> {
    same_type("the cache", spec.dtype, p.cache)?;
    narrow_or_f32("y", spec.dtype, p.out)?;
    heads(p.n, p.heads, p.kv_heads, p.head_dim, p.max_seq)?;
    let (n, hd) = (p.n as u64, p.head_dim as u64);
    let cache = bytes(p.cache, p.max_seq as u64 * p.kv_heads as u64 * hd);
    let bindings = vec![
        Binding::read("q", 4 * n * p.heads as u64 * hd),
        Binding::read("k_cache", cache),
        Binding::read("v_cache", cache),
        Binding::read("pos", 4),
        Binding::write("y", bytes(p.out, n * p.heads as u64 * hd)),
    ];
    let scale = 1.0 / libm::sqrtf(p.head_dim as f32);
    let f32_out = (p.out == DType::F32) as u32;
    let params = vec![p.n, p.heads, p.kv_heads, p.head_dim, p.max_seq, scale.to_bits(), f32_out];
    Ok(build(spec, Problem::Attention(*p), [p.n, p.heads, 1], bindings, params))
}

/// Bindings gate, up, y; parameters elements, out-is-f32. Each thread computes four elements.
pub(super) fn swiglu(spec: &'static KernelSpec, p: &SwiGlu) -> Result<Plan, Unsupported> {
    narrow_or_f32("y", spec.dtype, p.out)?;
    rows_of_32(p.n, p.d)?;
    let nd = p.n as u64 * p.d as u64;
    let elements = u32::try_from(nd).map_err(|_| Unsupported::Limit {
        what: "elements",
        needs: nd,
        has: u32::MAX as u64,
    })?;
    let bindings = vec![
        Binding::read("gate", 4 * nd),
        Binding::read("up", 4 * nd),
        Binding::write("y", bytes(p.out, nd)),
    ];
    let params = vec![elements, (p.out == DType::F32) as u32];
    let grid = match spec.form {
        Form::Rowwise { threads } => [elements.div_ceil(4 * threads), 1, 1],
        _ => [1, 1, 1],
    };
    Ok(build(spec, Problem::SwiGlu(*p), grid, bindings, params))
}

/// Which parameter of the WGSL gather is the id of the table's first row: 0, but of a part.
pub(super) const FIRST: usize = 3;

/// Bindings table, ids, y; parameters n, d, vocab, in WGSL the id of the table's first row. One workgroup per row.
/// Ids before the first row are left alone: another part has them.
pub(super) fn gather(spec: &'static KernelSpec, p: &Gather) -> Result<Plan, Unsupported> {
    same_type("the table", spec.dtype, p.dtype)?;
    rows_of_32(p.n, p.d)?;
    range("vocab", p.vocab, 1, MAX_DIM)?;
    let bindings = vec![
        Binding::read("table", bytes(p.dtype, p.vocab as u64 * p.d as u64)),
        Binding::read("ids", 4 * p.n as u64),
        Binding::write("y", 4 * p.n as u64 * p.d as u64),
    ];
    let mut params = vec![p.n, p.d, p.vocab];
    if spec.target.is_wgsl() {
        params.push(0); // FIRST
    }
    Ok(build(spec, Problem::Gather(*p), [p.n, 1, 1], bindings, params))
}

/// Bindings x, y; parameters n, d. One workgroup per row.
pub(super) fn argmax(spec: &'static KernelSpec, p: &ArgMax) -> Result<Plan, Unsupported> {
    range("n", p.n, 1, MAX_DIM)?;
    range("d", p.d, 1, MAX_DIM)?;
    let bindings =
        vec![Binding::read("x", 4 * p.n as u64 * p.d as u64), Binding::write("y", 4 * p.n as u64)];
    Ok(build(spec, Problem::ArgMax(*p), [p.n, 1, 1], bindings, vec![p.n, p.d]))
}

pub(super) fn build(
    spec: &'static KernelSpec,
    problem: Problem,
    grid: [u32; 3],
    bindings: Vec<Binding>,
    params: Vec<u32>,
) -> Plan {
    let grid = if spec.target == Target::Cpu { [1, 1, 1] } else { grid };
    let (block, shared_bytes) = (spec.threads(), spec.shared_bytes());
    let (maps, parts) = (vec![], vec![]);
    Plan { spec, problem, grid, block, shared_bytes, bindings, params, maps, parts }
}

pub(super) fn rows_of_32(n: u32, d: u32) -> Result<(), Unsupported> {
    range("n", n, 1, MAX_DIM)?;
    range("d", d, 32, MAX_DIM)?;
    multiple("d", d, 32)
}

fn heads(n: u32, heads: u32, kv: u32, head_dim: u32, max_seq: u32) -> Result<(), Unsupported> {
    range("max_seq", max_seq, 1, 1 << 20)?;
    range("n", n, 1, max_seq)?;
    range("heads", heads, 1, 1024)?;
    range("kv_heads", kv, 1, heads)?;
    multiple("heads", heads, kv)?;
    range("head_dim", head_dim, 8, super::MAX_HEAD_DIM)?;
    multiple("head_dim", head_dim, 8)
}

fn narrow_or_f32(what: &'static str, kernel: DType, asked: DType) -> Result<(), Unsupported> {
    if asked == DType::F32 { Ok(()) } else { same_type(what, kernel, asked) }
}
