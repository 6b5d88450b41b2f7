//! What lies between accumulator and memory, by the bits of `Epilogue::flags`: the activation, in f32, and Y's
//! elements of 16 bits.

use super::mma::Element;
use super::rows::{CLAMP, WARP};
use quickpick_kernels::{Activation, GATE_ROWS};
use quickpick_ptx::{B16, B32, Cmp, F32, Half, Int, Kernel, Pred, Reg, Shuffle, Vector};
use std::f32::consts::LOG2_E;

/// Bits 1:0 of the flags.
const ACTIVATION_MASK: u32 = 3;
/// Bit 2 of the flags: add the bias.
pub(super) const BIAS: u32 = 1 << 2;
/// Bit 3 of the flags: add the residual.
pub(super) const RESIDUAL: u32 = 1 << 3;
/// Bit 4 of the flags: Y and residual are f32.
pub(super) const OUT_F32: u32 = 1 << 4;
/// Bit 5 of the flags: multiply by the scales.
pub(super) const SCALES: u32 = 1 << 5;
/// Bit 6 of the flags: Y and residual are features × tokens.
pub(super) const TRANSPOSED: u32 = 1 << 6;
/// Bit 7 of the flags: Y and residual are f16. Read where X is of 8 bits, whose Y may be bf16, too.
const OUT_F16: u32 = 1 << 7;

/// Declares a predicate that holds where a bit of the flags is set.
pub(super) fn flag(
    k: &mut Kernel,
    role: &str,
    flags: Reg<B32>,
    bit: u32,
    tmp: Reg<B32>,
) -> Reg<Pred> {
    let p = k.reg(role);
    k.and_b32(tmp, flags, bit).setp(Cmp::Ne, Int::U32, p, tmp, 0);
    p
}

/// Bit 8 of the flags: W's rows are gates and ups by turns of eight.
const GATED: u32 = 1 << 8;

/// Elements of 16 bits of Y and residual: of X's type; where X is of 8 bits bf16, or f16 if the flags say so.
/// f16 past 65504 is infinity: `cvt.rn` does not saturate.
#[derive(Clone, Copy)]
pub(super) struct Narrow {
    ty: Half,
    /// They are f16, though `ty` is bf16.
    is_f16: Option<Reg<Pred>>,
}

impl Narrow {
    pub fn declare(k: &mut Kernel, element: Element) -> Self {
        let is_f16 = (element.bytes() == 1).then(|| k.reg("is_f16"));
        Self { ty: element.half(), is_f16 }
    }

    /// Reads the type out of the flags.
    pub fn decide(self, k: &mut Kernel, flags: Reg<B32>, tmp: Reg<B32>) {
        if let Some(is_f16) = self.is_f16 {
            k.and_b32(tmp, flags, OUT_F16).setp(Cmp::Ne, Int::U32, is_f16, tmp, 0);
        }
    }

    /// `half` = v
    pub fn one(self, k: &mut Kernel, half: Reg<B16>, v: Reg<F32>) {
        k.cvt_half_f32(self.ty, half, v);
        if let Some(is_f16) = self.is_f16 {
            k.when(is_f16).cvt_half_f32(Half::F16, half, v);
        }
    }

    /// `word` = both, the low one in the low half.
    pub fn pair(self, k: &mut Kernel, word: Reg<B32>, high: Reg<F32>, low: Reg<F32>) {
        k.cvt_half2_f32(self.ty, word, high, low);
        if let Some(is_f16) = self.is_f16 {
            k.when(is_f16).cvt_half2_f32(Half::F16, word, high, low);
        }
    }

    /// `v` = the f32 of `half`, by sm_90's conversions.
    pub fn widen_sm90(self, k: &mut Kernel, v: Reg<F32>, half: Reg<B16>) {
        k.cvt_f32_half(self.ty, v, half);
        if let Some(is_f16) = self.is_f16 {
            k.when(is_f16).cvt_f32_half(Half::F16, v, half);
        }
    }

    /// `v` = the f32 of `half`, where that was loaded.
    pub fn widen(self, k: &mut Kernel, v: Reg<F32>, half: Reg<B16>, loaded: Reg<Pred>) {
        match self.ty {
            Half::F16 => k.when(loaded).cvt_f32_f16(v, half),
            Half::BF16 => {
                let bits = k.scratch("bits");
                k.when(loaded).cvt_u32_u16(bits, half);
                k.when(loaded).shl_b32(bits, bits, 16);
                k.when(loaded).f32_from_bits(v, bits)
            }
        };
        if let Some(loaded) = self.loaded_f16(k, loaded) {
            k.when(loaded).cvt_f32_f16(v, half);
        }
    }

    /// `v` = the f32 of the two halves of `word`, low first, where that was loaded.
    pub fn widen_pair(
        self,
        k: &mut Kernel,
        v: [Reg<F32>; 2],
        word: Reg<B32>,
        halves: Vector<B16, 2>,
        loaded: Reg<Pred>,
    ) {
        let by_halves = |k: &mut Kernel, loaded| {
            k.when(loaded).unpack_b16(halves, word);
            for (v, half) in v.into_iter().zip(halves.0) {
                k.when(loaded).cvt_f32_f16(v, half);
            }
        };
        match self.ty {
            Half::F16 => by_halves(k, loaded),
            Half::BF16 => {
                let bits = k.scratch("bits");
                k.when(loaded).shl_b32(bits, word, 16);
                k.when(loaded).f32_from_bits(v[0], bits);
                k.when(loaded).and_b32(bits, word, 0xffff_0000u32);
                k.when(loaded).f32_from_bits(v[1], bits);
            }
        }
        if let Some(loaded) = self.loaded_f16(k, loaded) {
            by_halves(k, loaded);
        }
    }

    /// Whether what was loaded is f16, though `ty` is bf16.
    fn loaded_f16(self, k: &mut Kernel, loaded: Reg<Pred>) -> Option<Reg<Pred>> {
        let is_f16 = self.is_f16?;
        let both = k.scratch("loaded_f16");
        k.and_pred(both, loaded, is_f16);
        Some(both)
    }
}

/// The activation, decided once and applied wherever it is wanted.
pub(super) struct Activate {
    none: Reg<Pred>,
    relu: Reg<Pred>,
    silu: Reg<Pred>,
    tmp: Reg<F32>,
    /// The lanes whose values it changes, if not all.
    only: Option<Reg<Pred>>,
}

impl Activate {
    /// Reads the activation out of the flags.
    pub fn new(k: &mut Kernel, flags: Reg<B32>, tmp: Reg<B32>) -> Self {
        let of = |k: &mut Kernel, role: &str, activation: Activation| {
            let p = k.reg(role);
            k.setp(Cmp::Eq, Int::U32, p, tmp, activation as u32);
            p
        };
        k.and_b32(tmp, flags, ACTIVATION_MASK);
        Self {
            none: of(k, "act_none", Activation::None),
            relu: of(k, "act_relu", Activation::Relu),
            silu: of(k, "act_silu", Activation::Silu),
            tmp: k.reg("act_tmp"),
            only: None,
        }
    }

    /// The same for these lanes; the others keep their values.
    pub fn only(self, lanes: Reg<Pred>) -> Self {
        Self { only: Some(lanes), ..self }
    }

    /// Guards what changes a value.
    fn write<'k>(&self, k: &'k mut Kernel) -> &'k mut Kernel {
        match self.only {
            Some(lanes) => k.when(lanes),
            None => k,
        }
    }

    /// `v = act(v)`. The warp agrees on the branches; `at` keeps the labels of each use apart.
    pub fn apply(&self, k: &mut Kernel, at: &str, v: &[Reg<F32>]) {
        let (relu, silu, done) =
            (format!("{at}_relu"), format!("{at}_silu"), format!("{at}_activated"));
        k.when(self.none).bra_uni(done.as_str());
        k.when(self.relu).bra_uni(relu.as_str());
        k.when(self.silu).bra_uni(silu.as_str());
        // 1 + tanh u = 2 / (1 + e⁻²ᵘ), so that gelu(x) = x / (1 + e⁻²ᵘ), u = √(2/π)·(x + 0.044715·x³)
        let scale = -2.0 * LOG2_E * (2.0 / std::f32::consts::PI).sqrt();
        k.note("gelu: x / (1 + 2^(x·(c + d·x²)))");
        for &x in v {
            k.mul_f32(self.tmp, x, x).fma_f32(self.tmp, self.tmp, scale * 0.044715, scale);
            k.mul_f32(self.tmp, self.tmp, x);
            self.logistic(k, x);
        }
        k.bra_uni(done.as_str());
        k.place(silu.as_str()).note("silu: x / (1 + 2^(−x/ln 2))");
        for &x in v {
            k.mul_f32(self.tmp, x, -LOG2_E);
            self.logistic(k, x);
        }
        k.bra_uni(done.as_str());
        k.place(relu.as_str());
        for &x in v {
            self.write(k).max_f32(x, x, 0.0);
        }
        k.place(done.as_str());
    }

    /// `x = x / (1 + 2^tmp)`
    fn logistic(&self, k: &mut Kernel, x: Reg<F32>) {
        k.ex2(self.tmp, self.tmp).add_f32(self.tmp, self.tmp, 1.0);
        k.rcp(self.tmp, self.tmp);
        self.write(k).mul_f32(x, x, self.tmp);
    }
}

/// Gates and ups of a gated layer, by turns of eight rows of W: a lane's features are either gates or ups, and those that
/// belong to them are `lanes` further on.
pub(super) struct Gated {
    /// The layer is gated.
    is: Reg<Pred>,
    /// What this lane holds goes to Y: not ups.
    pub kept: Reg<Pred>,
    lanes: u32,
    other: Reg<F32>,
}

impl Gated {
    /// Lanes that hold ups have the bit `lanes` in their number.
    pub fn new(k: &mut Kernel, flags: Reg<B32>, lane: Reg<B32>, lanes: u32, tmp: Reg<B32>) -> Self {
        let is = flag(k, "is_gated", flags, GATED, tmp);
        let kept = k.reg("is_kept");
        k.note("lanes with ups of a gated layer hand them over, and store nothing");
        k.and_b32(tmp, lane, lanes).setp(Cmp::Ne, Int::U32, kept, tmp, 0);
        k.and_pred(kept, kept, is).not_pred(kept, kept);
        Self { is, kept, lanes, other: k.reg("up") }
    }

    /// Halves a number of rows, or of what lies between rows.
    pub fn halve(&self, k: &mut Kernel, rows: Reg<B32>) {
        k.when(self.is).shr(Int::U32, rows, rows, 1);
    }

    /// `row` = the feature of a gate's row: 8a + b of 16a + b.
    pub fn feature(&self, k: &mut Kernel, row: Reg<B32>, tmp: Reg<B32>) {
        k.and_b32(tmp, row, GATE_ROWS as u32 - 1);
        k.when(self.is).add_u32(row, row, tmp);
        self.halve(k, row);
    }

    /// `v = v · up` in the lanes that hold gates; `at` keeps the labels of each use apart.
    pub fn multiply(&self, k: &mut Kernel, at: &str, v: &[Reg<F32>]) {
        let done = format!("{at}_gated");
        k.unless(self.is).bra_uni(done.as_str());
        for &v in v {
            k.shfl_f32(Shuffle::Bfly, self.other, v, self.lanes, CLAMP, WARP);
            k.mul_f32(v, v, self.other);
        }
        k.place(done.as_str());
    }
}
