//! Activations to 8 bits: a block per row. What the block's threads hold of a row at once stays in their
//! registers; the rest of a longer one is read again, from cache.
//!
//! 8-bit floats are rounded by integers: `cvt.rn.satfinite.e4m3x2` asks for sm_89, and rows are for sm_80.

use super::pieces::shared_base;
use super::rows::*;
use quickpick_kernels::{DType, KernelSpec, Quantize};
use quickpick_ptx::{
    B16, B32, B64, Cache, Cmp, F32, Int, Kernel, Module, ParamKind, Pred, Reg, Shuffle, Special,
    Vector,
};

/// Columns that a thread takes at a time: 16 bytes of 16-bit elements.
const COLUMNS: u32 = 8;
const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;
const NAN: u32 = 0x7fc0_0000;

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let threads = threads(spec);
    let (warps, step) = (threads / 32, COLUMNS * threads);
    let mut k = kernel(spec);
    let k = &mut k;
    let partials = k.static_shared("partials", 16, 4 * warps);

    k.section("operands");
    let [x, q, scale] = ["x", "q", "scale"].map(|name| pointer(k, name));
    // n is the grid's: no thread asks for it
    k.param("n", ParamKind::U32);
    let d = word(k, "d");
    let x_type = word(k, "x_type");
    let source = Source::new(k, x_type);
    let row = special(k, "row", Special::CtaidX);
    let thread = special(k, "thread", Special::TidX);

    k.section("this thread's columns: eight of each block of columns, the first of which it keeps");
    let (first, column, bytes) = (k.reg("first"), k.reg("column"), k.reg("bytes"));
    k.shl_b32(first, thread, COLUMNS.trailing_zeros());
    k.shl_b32(bytes, d, source.shift);
    let px = address(k, "px", x, row, bytes);
    k.mov_b32(bytes, 1).shl_b32(bytes, bytes, source.shift);
    k.mad_wide(Int::U32, px, first, bytes, px);
    let (pq, more) = (address(k, "pq", q, row, d), k.reg("more"));
    let (px_step, first_bytes) = (k.reg("px_step"), k.reg("first_bytes"));
    k.mul_wide(Int::U32, px_step, bytes, step).cvt_u64_u32(first_bytes, first);
    k.add_u64(pq, pq, first_bytes);
    let (kept, v) = (k.reg_list("kept", 8), k.reg_list("v", 8));
    let (largest, past): (Reg<B32>, Reg<Pred>) = (k.reg("largest"), k.reg("past"));
    k.mov_b32(largest, 0).setp(Cmp::Ge, Int::U32, past, first, d);
    k.when(past).bra("magnitudes_done");
    source.load(k, "first", &kept, px);
    magnitudes(k, largest, &kept);
    let rest: Reg<B64> = k.reg("px_rest");
    k.add_u64(rest, px, px_step).add_u32(column, first, step);
    k.setp(Cmp::Ge, Int::U32, more, column, d).when(more).bra("magnitudes_done");
    k.place("magnitudes");
    source.load(k, "measured", &v, rest);
    magnitudes(k, largest, &v);
    k.add_u64(rest, rest, px_step).add_u32(column, column, step);
    k.setp(Cmp::Lt, Int::U32, more, column, d).when(more).bra("magnitudes");
    k.place("magnitudes_done");

    k.section("the row's: lanes, then warps; a NaN is above infinity, and that above all numbers");
    let other = k.reg("other");
    for lanes in [16, 8, 4, 2, 1] {
        k.shfl_b32(Shuffle::Bfly, other, largest, lanes, CLAMP, WARP);
        k.max(Int::U32, largest, largest, other);
    }
    let smem = shared_base(k, partials);
    let (at, lane, is_first) = (k.reg("partial_at"), k.reg("lane"), k.reg("is_first"));
    k.and_b32(lane, thread, 31).setp(Cmp::Eq, Int::U32, is_first, lane, 0);
    k.shr(Int::U32, at, thread, 5).shl_b32(at, at, 2).add_u32(at, at, smem);
    k.when(is_first).st_shared_b32(at, largest).bar_sync(0);
    let others = k.regs::<B32, 4>("others");
    for four in 0..warps / 4 {
        k.ld_shared_v4_b32(others, shared(smem, 16 * four));
        for other in others.0 {
            k.max(Int::U32, largest, largest, other);
        }
    }

    k.section("scale = a / L, inverse = L / a; NaN of a row that is not finite");
    let limit = Quantize::largest(spec.dtype);
    let (a, quotient, inverse) = (k.reg("a"), k.reg("quotient"), k.reg("inverse"));
    let (bits, bad) = (k.reg("scale_bits"), k.reg("bad"));
    k.setp(Cmp::Ge, Int::U32, bad, largest, INFINITY);
    k.max(Int::U32, largest, largest, Quantize::LEAST.to_bits()).f32_from_bits(a, largest);
    k.div_f32(quotient, a, limit).div_f32(inverse, limit, a);
    k.f32_to_bits(bits, quotient).selp_b32(bits, NAN, bits, bad);
    let ps: Reg<B64> = address(k, "ps", scale, row, 4);
    k.setp(Cmp::Eq, Int::U32, is_first, thread, 0).when(is_first).st_global_b32(ps, bits);

    k.section("q = x · inverse");
    let goal = Goal { dtype: spec.dtype, inverse, bad, words: k.regs("q_words") };
    k.when(past).bra("values_done");
    goal.store(k, pq, &kept);
    k.add_u64(rest, px, px_step).add_u32(column, first, step);
    k.setp(Cmp::Ge, Int::U32, more, column, d).when(more).bra("values_done");
    k.place("values");
    source.load(k, "quantised", &v, rest);
    k.add_u64(pq, pq, step as i32);
    goal.store(k, pq, &v);
    k.add_u64(rest, rest, px_step).add_u32(column, column, step);
    k.setp(Cmp::Lt, Int::U32, more, column, d).when(more).bra("values");
    k.place("values_done").ret();

    let (ty, bad) = match spec.dtype {
        DType::E4M3 => ("e4m3", "NaN"),
        DType::E5M2 => ("e5m2", "NaN"),
        _ => ("i8", "0"),
    };
    module(
        spec,
        &format!(
            "scale[i] = a / {limit}, q[i] = x[i] · ({limit} / a), a = max(|x[i]|, 2^-100), for each row i;\n\
             NaN and {bad} where x[i] holds a NaN or an infinity\n\
             x: [n, d], f32, f16 or bf16 where x_type is 0, 1 or 2; q: {ty} [n, d]; scale: f32 [n]\n\
             grid n, block {threads}; d is a multiple of 32; up to {step} columns are read once"
        ),
        k.clone(),
    )
}

/// Where x comes from, of any of its types.
struct Source {
    narrow: Reg<Pred>,
    is_bf16: Reg<Pred>,
    /// log2 of an element's bytes.
    shift: Reg<B32>,
    words: Vector<B32, 4>,
    pair: Vector<B16, 2>,
}

impl Source {
    fn new(k: &mut Kernel, x_type: Reg<B32>) -> Self {
        let (narrow, is_bf16) = (flag(k, "x_is_narrow", x_type), k.reg("x_is_bf16"));
        let shift = k.reg("x_shift");
        k.setp(Cmp::Eq, Int::U32, is_bf16, x_type, 2);
        k.note("bytes of an element of x: 4 if f32, else 2").selp_b32(shift, 1, 2, narrow);
        Self { narrow, is_bf16, shift, words: k.regs("x_words"), pair: k.regs("pair") }
    }

    /// Eight neighbours to f32, exactly; labels begin with `site`.
    fn load(&self, k: &mut Kernel, site: &str, v: &[Reg<F32>], at: Reg<B64>) {
        let label = |name: &str| format!("{site}_{name}");
        let [narrow, bf16, loaded] = ["narrow", "bf16", "loaded"].map(label);
        k.when(self.narrow).bra_uni(&*narrow);
        k.ld_global_v4_f32(Cache::Nc, four(v, 0), at);
        k.ld_global_v4_f32(Cache::Nc, four(v, 4), at.at(16)).bra_uni(&*loaded);
        k.place(&*narrow).ld_global_v4_b32(Cache::Nc, self.words, at);
        k.when(self.is_bf16).bra_uni(&*bf16);
        for (v, word) in v.chunks_exact(2).zip(self.words.0) {
            k.unpack_b16(self.pair, word);
            k.cvt_f32_f16(v[0], self.pair[0]).cvt_f32_f16(v[1], self.pair[1]);
        }
        k.bra_uni(&*loaded).place(&*bf16);
        let high = k.scratch("high");
        for (v, word) in v.chunks_exact(2).zip(self.words.0) {
            k.shl_b32(high, word, 16).f32_from_bits(v[0], high);
            k.and_b32(high, word, 0xffff_0000u32).f32_from_bits(v[1], high);
        }
        k.place(&*loaded);
    }
}

/// The largest of what it was and these, without their signs, as integers.
fn magnitudes(k: &mut Kernel, largest: Reg<B32>, v: &[Reg<F32>]) {
    let magnitude = k.scratch("magnitude");
    for v in v {
        k.f32_to_bits(magnitude, *v).and_b32(magnitude, magnitude, MAGNITUDE);
        k.max(Int::U32, largest, largest, magnitude);
    }
}

/// Where q goes.
struct Goal {
    dtype: DType,
    inverse: Reg<F32>,
    /// Whether the row is not finite.
    bad: Reg<Pred>,
    words: Vector<B32, 2>,
}

impl Goal {
    /// Eight neighbours, of which nothing is left.
    fn store(&self, k: &mut Kernel, at: Reg<B64>, v: &[Reg<F32>]) {
        let bytes = k.scratches::<B32, 4>("bytes_of");
        let poison = if self.dtype.is_float8() { 0x7f7f_7f7fu32 } else { 0 };
        for (word, v) in self.words.0.into_iter().zip(v.chunks_exact(4)) {
            for (byte, v) in bytes.0.into_iter().zip(v) {
                k.mul_f32(*v, *v, self.inverse);
                match self.dtype {
                    DType::E4M3 | DType::E5M2 => float8(k, byte, *v, self.dtype),
                    _ => i8(k, byte, *v),
                }
            }
            k.prmt(bytes[0], bytes[0], bytes[1], 0x0040).prmt(bytes[2], bytes[2], bytes[3], 0x0040);
            k.prmt(word, bytes[0], bytes[2], 0x5410).selp_b32(word, poison, word, self.bad);
        }
        k.st_global_v2_b32(at, self.words);
    }
}

/// The low byte is the nearest integer, at most 127 in magnitude: 1.5·2²³ leaves no fraction bits.
fn i8(k: &mut Kernel, byte: Reg<B32>, v: Reg<F32>) {
    k.add_f32(v, v, 12_582_912.0).f32_to_bits(byte, v);
}

/// The low byte is the nearest 8-bit float, ties to even, the largest beyond it. Exponents differ by `rebias`: what is
/// normal loses `lost` of its bits; what is not is rounded by a sum whose ulp is the type's least step.
fn float8(k: &mut Kernel, byte: Reg<B32>, v: Reg<F32>, dtype: DType) {
    let (rebias, lost) = if dtype == DType::E4M3 { (120, 20) } else { (112, 21) };
    let largest = Quantize::largest(dtype).to_bits();
    let (least_normal, subnormal) = ((rebias + 1) << 23, (rebias + 1 + lost) << 23);
    let half = (1u32 << (lost - 1)) - 1;
    let [magnitude, normal] = ["magnitude", "normal"].map(|role| k.scratch(role));
    let below = k.scratch("is_subnormal");
    k.f32_to_bits(byte, v).and_b32(magnitude, byte, MAGNITUDE);
    k.min(Int::U32, magnitude, magnitude, largest);
    k.bfe_u32(normal, magnitude, lost, 1).add_u32(normal, normal, magnitude);
    k.add_u32(normal, normal, half.wrapping_sub(rebias << 23)).shr(Int::U32, normal, normal, lost);
    k.setp(Cmp::Lt, Int::U32, below, magnitude, least_normal);
    k.f32_from_bits(v, magnitude).add_f32(v, v, f32::from_bits(subnormal));
    k.f32_to_bits(magnitude, v).sub_u32(magnitude, magnitude, subnormal);
    k.selp_b32(normal, magnitude, normal, below);
    k.shr(Int::U32, byte, byte, 24).lop3(byte, byte, 0x80, normal, 0xea);
}
