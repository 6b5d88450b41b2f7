//! Root-mean-square normalisation: a block per row, two passes, the second from cache.

use super::pieces::{half, shared_base};
use super::rows::*;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{Cache, Cmp, F32, Int, Module, Special};

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let threads = threads(spec);
    let warps = threads / 32;
    let mut k = kernel(spec);
    let k = &mut k;
    let partials = k.static_shared("partials", 16, 4 * warps);

    k.section("operands");
    let [x, gain, y] = ["x", "gain", "y"].map(|name| pointer(k, name));
    // n is the grid's: no thread asks for it
    k.param("n", quickpick_ptx::ParamKind::U32);
    let d = word(k, "d");
    let eps = scalar(k, "eps");
    let f32_out = word(k, "f32_out");
    let out = Output::new(k, half(spec.dtype), f32_out);
    let row = special(k, "row", Special::CtaidX);
    let thread = special(k, "thread", Special::TidX);

    k.section("sum of squares of this thread's columns: four of each block of columns");
    let (bytes, first, column) = (k.reg("row_bytes"), k.reg("first"), k.reg("column"));
    k.shl_b32(bytes, d, 2).shl_b32(first, thread, 2);
    let px = address(k, "px", x, row, bytes);
    k.mad_wide(Int::U32, px, thread, 16, px);
    let v = k.regs::<F32, 4>("v");
    let (sum, other) = (k.reg::<F32>("sum"), k.reg::<F32>("other"));
    let more = k.reg("more");
    let step = 16 * threads;
    k.mov_f32(sum, 0.0).mov_b32(column, first).setp(Cmp::Ge, Int::U32, more, column, d);
    k.when(more).bra("squares_done");
    k.place("squares");
    k.ld_global_v4_f32(Cache::Nc, v, px);
    for value in v.0 {
        k.fma_f32(sum, value, value, sum);
    }
    k.add_u64(px, px, step as i32).add_u32(column, column, 4 * threads);
    k.setp(Cmp::Lt, Int::U32, more, column, d).when(more).bra("squares");
    k.place("squares_done");

    k.section("the row's sum: lanes, then warps");
    warp_sum(k, sum, other);
    let smem = shared_base(k, partials);
    let (at, lane, is_first) = (k.reg("partial_at"), k.reg("lane"), k.reg("is_first"));
    k.and_b32(lane, thread, 31).setp(Cmp::Eq, Int::U32, is_first, lane, 0);
    k.shr(Int::U32, at, thread, 5).shl_b32(at, at, 2).add_u32(at, at, smem);
    k.when(is_first).st_shared_f32(at, sum).bar_sync(0).mov_f32(sum, 0.0);
    for warp in 0..warps {
        k.ld_shared_f32(other, shared(smem, 4 * warp)).add_f32(sum, sum, other);
    }

    k.section("1 / sqrt(sum/d + eps)");
    let (inverse, columns) = (k.reg::<F32>("inverse"), k.reg("columns"));
    k.cvt_f32_int(Int::U32, columns, d).div_f32(inverse, sum, columns);
    k.add_f32(inverse, inverse, eps).rsqrt(inverse, inverse);

    k.section("y = x · gain · inverse");
    k.mad_wide(Int::U32, px, row, bytes, x).mad_wide(Int::U32, px, thread, 16, px);
    let pg = address(k, "pg", gain, thread, 16);
    out.bytes(k, bytes, d);
    let py = address(k, "py", y, row, bytes);
    out.bytes(k, bytes, first);
    let (py_bytes, py_step) = (k.reg("py_bytes"), k.reg("py_step"));
    k.cvt_u64_u32(py_bytes, bytes).add_u64(py, py, py_bytes);
    k.mov_b32(bytes, 4 * threads);
    out.bytes(k, bytes, bytes);
    k.cvt_u64_u32(py_step, bytes);
    let g = k.regs::<F32, 4>("g");
    k.mov_b32(column, first).setp(Cmp::Ge, Int::U32, more, column, d);
    k.when(more).bra("scale_done");
    k.place("scale");
    k.ld_global_v4_f32(Cache::Nc, v, px).ld_global_v4_f32(Cache::Nc, g, pg);
    for (value, gain) in v.0.into_iter().zip(g.0) {
        k.mul_f32(gain, gain, inverse).mul_f32(value, value, gain);
    }
    out.store4(k, py, v);
    k.add_u64(px, px, step as i32).add_u64(pg, pg, step as i32).add_u64(py, py, py_step);
    k.add_u32(column, column, 4 * threads);
    k.setp(Cmp::Lt, Int::U32, more, column, d).when(more).bra("scale");
    k.place("scale_done").ret();

    module(
        spec,
        &format!(
            "y[i] = x[i] · gain / √(mean(x[i]²) + eps) for each row i\n\
             x: f32 [n, d], gain: f32 [d], y: [n, d] of the kernel's type, or f32 where f32_out is 1\n\
             grid n, block {threads}; d is a multiple of 32"
        ),
        k.clone(),
    )
}
