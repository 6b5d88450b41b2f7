//! The activation between accumulator and memory, in f32, by the bits of `Epilogue::flags`.

use quickpick_kernels::Activation;
use quickpick_ptx::{B32, Cmp, F32, Int, Kernel, Pred, Reg};
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

/// The activation, decided once and applied wherever it is wanted.
pub(super) struct Activate {
    none: Reg<Pred>,
    relu: Reg<Pred>,
    silu: Reg<Pred>,
    tmp: Reg<F32>,
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
            k.max_f32(x, x, 0.0);
        }
        k.place(done.as_str());
    }

    /// `x = x / (1 + 2^tmp)`
    fn logistic(&self, k: &mut Kernel, x: Reg<F32>) {
        k.ex2(self.tmp, self.tmp).add_f32(self.tmp, self.tmp, 1.0);
        k.rcp(self.tmp, self.tmp).mul_f32(x, x, self.tmp);
    }
}
