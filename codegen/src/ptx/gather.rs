//! Rows of an embedding table: a block per token.

use super::pieces::half;
use super::rows::*;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{Cache, Cmp, F32, Int, Module, ParamKind, Special};

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let threads = threads(spec);
    let mut k = kernel(spec);
    let k = &mut k;

    k.section("operands");
    let [table, ids, y] = ["table", "ids", "y"].map(|name| pointer(k, name));
    // n is the grid's: no thread asks for it
    k.param("n", ParamKind::U32);
    let d = word(k, "d");
    let vocab = word(k, "vocab");
    let token = special(k, "token", Special::CtaidX);
    let thread = special(k, "thread", Special::TidX);

    k.section("the token's id; one that names no row gives NaN");
    let at = address(k, "id_at", ids, token, 4);
    let (id, known) = (k.reg("id"), k.reg("known"));
    k.ld_global_b32(Cache::Nc, id, at).setp(Cmp::Lt, Int::U32, known, id, vocab);

    k.section("eight columns at a time");
    let (bytes, column, more) = (k.reg("row_bytes"), k.reg("column"), k.reg("more"));
    k.shl_b32(bytes, d, 1);
    let pt = address(k, "pt", table, id, bytes);
    k.mad_wide(Int::U32, pt, thread, 16, pt).shl_b32(bytes, d, 2);
    let py = address(k, "py", y, token, bytes);
    k.mad_wide(Int::U32, py, thread, 32, py);
    let words = k.regs("words");
    let v = k.reg_list::<F32>("v", 8);
    let widen = Widen::new(k, half(spec.dtype));
    for &v in &v {
        k.mov_f32(v, f32::NAN);
    }
    k.shl_b32(column, thread, 3).setp(Cmp::Ge, Int::U32, more, column, d);
    k.when(more).bra("done");
    k.place("columns").unless(known).bra("store");
    k.ld_global_v4_b32(Cache::Nc, words, pt);
    widen8(k, &widen, &v, words);
    k.place("store");
    k.st_global_v4_f32(py, four(&v, 0)).st_global_v4_f32(py.at(16), four(&v, 4));
    k.add_u64(pt, pt, (16 * threads) as i32).add_u64(py, py, (32 * threads) as i32);
    k.add_u32(column, column, 8 * threads);
    k.setp(Cmp::Lt, Int::U32, more, column, d).when(more).bra("columns");
    k.place("done").ret();

    module(
        spec,
        &format!(
            "y[i] = table[ids[i]]; NaN where ids[i] ≥ vocab\n\
             table: [vocab, d] of the kernel's type, ids: u32 [n], y: f32 [n, d]\n\
             grid n, block {threads}; d is a multiple of 32"
        ),
        k.clone(),
    )
}
