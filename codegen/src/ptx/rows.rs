//! What the decoder's small kernels say in the same words: operands, 16-bit elements, sums.

use super::pieces::NOTICE;
use quickpick_kernels::{Form, KernelSpec};
use quickpick_ptx::{
    Addr, B16, B32, B64, Cmp, F32, Half, Int, Kernel, Module, ParamKind, Pred, Reg, Shuffle,
    Special, Vector,
};

/// All lanes of a warp.
pub(super) const WARP: u32 = 0xffff_ffff;
/// `shfl.sync`: no clamp below lane 31, one segment of 32 lanes.
pub(super) const CLAMP: u32 = 0x1f;

/// Threads of a block, as the row says.
pub(super) fn threads(spec: &KernelSpec) -> u32 {
    match spec.form {
        Form::Rowwise { threads } => threads,
        Form::Skinny { warps, .. } => 32 * warps,
        _ => 1,
    }
}

/// The kernel under the comment that every file begins with: name, meaning, launch, notice.
pub(super) fn module(spec: &KernelSpec, about: &str, k: Kernel) -> Module {
    Module::new(&format!("{spec}\n\n{about}\n\n{NOTICE}"), k)
}

/// A kernel for exactly the row's block.
pub(super) fn kernel(spec: &KernelSpec) -> Kernel {
    let mut k = Kernel::new(spec.to_string());
    k.limits.threads = Some(threads(spec).into());
    k
}

/// A binding: the parameter and the global address in it, both of this name.
pub(super) fn pointer(k: &mut Kernel, name: &str) -> Reg<B64> {
    let (param, reg) = (k.param(name, ParamKind::U64), k.reg(name));
    k.ld_param_u64(reg, param).cvta_to_global(reg, reg);
    reg
}

/// A 32-bit parameter.
pub(super) fn word(k: &mut Kernel, name: &str) -> Reg<B32> {
    let (param, reg) = (k.param(name, ParamKind::U32), k.reg(name));
    k.ld_param_u32(reg, param);
    reg
}

/// An f32 parameter; the host passes its bits.
pub(super) fn scalar(k: &mut Kernel, name: &str) -> Reg<F32> {
    let (param, reg) = (k.param(name, ParamKind::F32), k.reg(name));
    k.ld_param_f32(reg, param);
    reg
}

/// A special register under a role of its own.
pub(super) fn special(k: &mut Kernel, role: &str, from: Special) -> Reg<B32> {
    let reg = k.reg(role);
    k.mov_special(reg, from);
    reg
}

/// Whether a 32-bit parameter is set.
pub(super) fn flag(k: &mut Kernel, role: &str, word: Reg<B32>) -> Reg<Pred> {
    let set = k.reg(role);
    k.setp(Cmp::Ne, Int::U32, set, word, 0);
    set
}

/// Registers that take 16-bit elements apart.
pub(super) struct Widen {
    half: Half,
    pair: Vector<B16, 2>,
    bits: Reg<B32>,
}

impl Widen {
    pub fn new(k: &mut Kernel, half: Half) -> Self {
        Self { half, pair: k.regs("pair"), bits: k.reg("wide_bits") }
    }

    /// Two 16-bit elements of a word to f32, the low one first; exact.
    pub fn word(&self, k: &mut Kernel, low: Reg<F32>, high: Reg<F32>, word: Reg<B32>) {
        match self.half {
            Half::F16 => {
                k.unpack_b16(self.pair, word);
                k.cvt_f32_f16(low, self.pair[0]).cvt_f32_f16(high, self.pair[1]);
            }
            // bf16 is the upper half of an f32
            Half::BF16 => {
                k.shl_b32(self.bits, word, 16).f32_from_bits(low, self.bits);
                k.and_b32(self.bits, word, 0xffff_0000u32).f32_from_bits(high, self.bits);
            }
        }
    }
}

/// An output of a 16-bit type or f32, chosen by a parameter.
pub(super) struct Output {
    half: Half,
    is_f32: Reg<Pred>,
    /// log2 of an element's bytes.
    shift: Reg<B32>,
    words: Vector<B32, 2>,
}

impl Output {
    /// `f32_out`: the parameter, 1 if the output is f32, else 0.
    pub fn new(k: &mut Kernel, half: Half, f32_out: Reg<B32>) -> Self {
        let shift = k.reg("y_shift");
        k.note("bytes of an element of y: 4 if f32, else 2");
        k.add_u32(shift, f32_out, 1);
        Self { half, is_f32: flag(k, "y_is_f32", f32_out), shift, words: k.regs("y_words") }
    }

    /// `bytes = elements` of the output in bytes.
    pub fn bytes(&self, k: &mut Kernel, bytes: Reg<B32>, elements: Reg<B32>) {
        k.shl_b32(bytes, elements, self.shift);
    }

    /// Stores four neighbours. `at` is aligned to four elements.
    pub fn store4(&self, k: &mut Kernel, at: Reg<B64>, v: Vector<F32, 4>) {
        k.when(self.is_f32).st_global_v4_f32(at, v);
        k.cvt_half2_f32(self.half, self.words[0], v[1], v[0]);
        k.cvt_half2_f32(self.half, self.words[1], v[3], v[2]);
        k.unless(self.is_f32).st_global_v2_b32(at, self.words);
    }

    /// Stores one element through a register for it.
    pub fn store1(&self, k: &mut Kernel, at: Reg<B64>, v: Reg<F32>, narrow: Reg<B16>) {
        k.when(self.is_f32).st_global_f32(at, v);
        k.cvt_half_f32(self.half, narrow, v);
        k.unless(self.is_f32).st_global_b16(at, narrow);
    }
}

/// Adds a value over the lanes of a warp; every lane gets the sum.
pub(super) fn warp_sum(k: &mut Kernel, sum: Reg<F32>, other: Reg<F32>) {
    for lanes in [16, 8, 4, 2, 1] {
        k.shfl_f32(Shuffle::Bfly, other, sum, lanes, CLAMP, WARP).add_f32(sum, sum, other);
    }
}

/// σ(x)·x = x / (1 + e⁻ˣ), by 2^(−x·log2 e); leaves it in `y`.
pub(super) fn silu(k: &mut Kernel, y: Reg<F32>, x: Reg<F32>) {
    k.mul_f32(y, x, -std::f32::consts::LOG2_E).ex2(y, y).add_f32(y, y, 1.0);
    k.rcp(y, y).mul_f32(y, y, x);
}

/// `[base + bytes]` where bytes = index · size.
pub(super) fn address(
    k: &mut Kernel,
    role: &str,
    base: Reg<B64>,
    index: Reg<B32>,
    size: impl Into<quickpick_ptx::Src<B32>>,
) -> Reg<B64> {
    let at = k.reg(role);
    k.mad_wide(Int::U32, at, index, size, base);
    at
}

/// Eight 16-bit elements, 16 bytes, to f32.
pub(super) fn widen8(k: &mut Kernel, widen: &Widen, v: &[Reg<F32>], words: Vector<B32, 4>) {
    for (pair, word) in v.chunks_exact(2).zip(words.0) {
        widen.word(k, pair[0], pair[1], word);
    }
}

/// Four floats of a longer list, as one operand.
pub(super) fn four(list: &[Reg<F32>], from: usize) -> Vector<F32, 4> {
    Vector(std::array::from_fn(|i| list[from + i]))
}

/// The address of an element in shared memory.
pub(super) fn shared(base: Reg<B32>, offset: u32) -> Addr<B32> {
    base.at(offset as i32)
}
