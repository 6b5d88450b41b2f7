//! Rotary embedding of q and k, and the append of k and v to their caches: a block per (token, head).

use super::pieces::half;
use super::rows::*;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{B16, Cache, Cmp, F32, Half, Int, Kernel, Module, Reg, Special};

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let ty = half(spec.dtype);
    let mut k = kernel(spec);
    let k = &mut k;

    k.section("operands");
    let bindings = ["q", "k", "v", "pos", "table", "q_out", "k_cache", "v_cache"];
    let [q, key, v, pos, table, q_out, k_cache, v_cache] = bindings.map(|name| pointer(k, name));
    // n is the grid's: no thread asks for it
    k.param("n", quickpick_ptx::ParamKind::U32);
    let [heads, kv_heads, head_dim, max_seq] =
        ["heads", "kv_heads", "head_dim", "max_seq"].map(|name| word(k, name));
    let token = special(k, "token", Special::CtaidX);
    let head = special(k, "head", Special::CtaidY);
    let i = special(k, "i", Special::TidX);

    k.section("a thread per pair (i, i + head_dim/2); nothing for a position past the caches");
    let (half_dim, none) = (k.reg("half_dim"), k.reg("none"));
    k.shr(Int::U32, half_dim, head_dim, 1).setp(Cmp::Ge, Int::U32, none, i, half_dim);
    k.when(none).ret();
    let (position, room) = (k.reg("position"), k.reg("room"));
    k.ld_global_b32(Cache::Nc, position, pos).sub_u32(room, max_seq, token);
    k.setp(Cmp::Ge, Int::U32, none, position, room).when(none).ret();
    k.add_u32(position, position, token);

    k.section("heads of the grid: those of q, then of k, then of v");
    let (kv_head, row, cache_row) = (k.reg("kv_head"), k.reg("row"), k.reg("cache_row"));
    let (is_q, is_k) = (k.reg("is_q"), k.reg("is_k"));
    let (from, to) = (k.reg("from"), k.reg("to"));
    k.setp(Cmp::Lt, Int::U32, is_q, head, heads).sub_u32(kv_head, head, heads);
    k.setp(Cmp::Lt, Int::U32, is_k, kv_head, kv_heads);
    k.unless(is_k).sub_u32(kv_head, kv_head, kv_heads);
    k.selp_b64(from, key, v, is_k).selp_b64(from, q, from, is_q);
    k.selp_b64(to, k_cache, v_cache, is_k);
    k.mad_lo_u32(cache_row, position, kv_heads, kv_head);
    k.mad_lo_u32(row, token, kv_heads, kv_head);
    k.when(is_q).mad_lo_u32(row, token, heads, head);

    k.section("(a, b) = (x[i], x[i + head_dim/2])");
    let bytes = k.reg("head_bytes");
    k.shl_b32(bytes, head_dim, 2).mad_wide(Int::U32, from, row, bytes, from);
    let a_at = address(k, "a_at", from, i, 4);
    let b_at = address(k, "b_at", a_at, half_dim, 4);
    let (a, b) = (k.reg::<F32>("a"), k.reg::<F32>("b"));
    k.ld_global_f32(Cache::Nc, a, a_at).ld_global_f32(Cache::Nc, b, b_at);
    k.note("v is not rotated");
    let rotated = k.reg("rotated");
    k.or_pred(rotated, is_q, is_k).unless(rotated).bra("to_cache");

    k.section("(a·cos − b·sin, b·cos + a·sin)");
    let cos_at = address(k, "cos_at", table, position, bytes);
    k.mad_wide(Int::U32, cos_at, i, 4, cos_at);
    let sin_at = address(k, "sin_at", cos_at, half_dim, 4);
    let (cos, sin) = (k.reg::<F32>("cos"), k.reg::<F32>("sin"));
    let (a_sin, b_sin) = (k.reg::<F32>("a_sin"), k.reg::<F32>("b_sin"));
    k.ld_global_f32(Cache::Nc, cos, cos_at).ld_global_f32(Cache::Nc, sin, sin_at);
    k.mul_f32(a_sin, a, sin).mul_f32(b_sin, b, sin).neg_f32(b_sin, b_sin);
    k.fma_f32(a, a, cos, b_sin).fma_f32(b, b, cos, a_sin);
    k.unless(is_q).bra("to_cache");
    let q_at = address(k, "q_at", q_out, row, bytes);
    k.mad_wide(Int::U32, q_at, i, 4, q_at).st_global_f32(q_at, a);
    k.mad_wide(Int::U32, q_at, half_dim, 4, q_at).st_global_f32(q_at, b);
    k.ret();

    k.section("row `position` of the cache");
    k.place("to_cache").shl_b32(bytes, head_dim, 1);
    k.mad_wide(Int::U32, to, cache_row, bytes, to).mad_wide(Int::U32, to, i, 2, to);
    let narrow = k.reg("narrow");
    store_half(k, ty, to, a, narrow);
    k.mad_wide(Int::U32, to, half_dim, 2, to);
    store_half(k, ty, to, b, narrow);
    k.ret();

    module(
        spec,
        &format!(
            "(a, b) = (x[i], x[i + head_dim/2]) of each head of q and k becomes\n\
             (a·cos − b·sin, b·cos + a·sin); k and v are appended to their caches\n\
             q: f32 [n, heads, head_dim], k, v: f32 [n, kv_heads, head_dim]; token i has position pos[0] + i\n\
             table: f32 [max_seq, head_dim], a row holding head_dim/2 cosines, then the sines\n\
             q_out: like q; caches: [max_seq, kv_heads, head_dim] of the kernel's type\n\
             grid n × (heads + 2·kv_heads), block {}; head_dim ≤ 128",
            threads(spec)
        ),
        k.clone(),
    )
}

fn store_half(
    k: &mut Kernel,
    ty: Half,
    at: Reg<quickpick_ptx::B64>,
    v: Reg<F32>,
    narrow: Reg<B16>,
) {
    k.cvt_half_f32(ty, narrow, v).st_global_b16(at, narrow);
}
