//! `silu(gate) · up`, four elements a thread.

use super::pieces::half;
use super::rows::*;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{Cache, Cmp, F32, Int, Module, Special};

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let threads = threads(spec);
    let mut k = kernel(spec);
    let k = &mut k;

    k.section("operands");
    let [gate, up, y] = ["gate", "up", "y"].map(|name| pointer(k, name));
    let elements = word(k, "elements");
    let f32_out = word(k, "f32_out");
    let out = Output::new(k, half(spec.dtype), f32_out);

    k.section("this thread's four elements; they exist or lie past the end together");
    let block = special(k, "block", Special::CtaidX);
    let thread = special(k, "thread", Special::TidX);
    let (four_index, fours, past) = (k.reg("four"), k.reg("fours"), k.reg("past"));
    k.mad_lo_u32(four_index, block, threads, thread).shr(Int::U32, fours, elements, 2);
    k.setp(Cmp::Ge, Int::U32, past, four_index, fours).when(past).ret();
    let pg = address(k, "pg", gate, four_index, 16);
    let pu = address(k, "pu", up, four_index, 16);
    let (g, u) = (k.regs::<F32, 4>("g"), k.regs::<F32, 4>("u"));
    k.ld_global_v4_f32(Cache::NcOnce, g, pg).ld_global_v4_f32(Cache::NcOnce, u, pu);
    let s = k.regs::<F32, 4>("s");
    for ((s, g), u) in s.0.into_iter().zip(g.0).zip(u.0) {
        silu(k, s, g);
        k.mul_f32(s, s, u);
    }
    let bytes = k.reg("bytes");
    k.mov_b32(bytes, 4);
    out.bytes(k, bytes, bytes);
    let py = address(k, "py", y, four_index, bytes);
    out.store4(k, py, s);
    k.ret();

    module(
        spec,
        &format!(
            "y = silu(gate) · up, element by element; silu(x) = x / (1 + e⁻ˣ)\n\
             gate, up: f32, y: the kernel's type, or f32 where f32_out is 1\n\
             grid ⌈elements / {}⌉, block {threads}; elements is a multiple of 32",
            4 * threads
        ),
        k.clone(),
    )
}
