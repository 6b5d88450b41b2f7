//! 8-bit floats multiplied as f16, which holds them exactly: for tensor cores whose `mma` does not take them.
//!
//! k may be summed in any order, as long as W, metadata and X agree. A word of an 8-bit A fragment (m16n8k64)
//! holds the kept pairs of the groups 2t and 2t + 1 of a row's half k-step; an f16 fragment (m16n8k32) has
//! groups t and 4 + t in two words. So a word becomes those two, and of a product's eight groups in memory
//! the even ones come first, then the odd ones: two products consume a k-step, each half of it.
//!
//! - *Metadata*: of a half k-step, lanes u = 0, 1 have the codes of row g + 8u. Lane u of the product is
//!   to have four codes of row g and four of row g + 8: the even groups' where u is 0, else the odd ones'. So
//!   neighbours exchange their words, and take alternate codes of both. The word serves both products:
//!   lanes t = 0, 1 have it for the first, t = 2, 3 for the second, by the selector.
//! - *X*: lane t is to have half t mod 2 of the groups 2·(t/2) and 2·(t/2) + 1, side by side in memory,
//!   and of those four groups further on.

use super::packed::Packed;
use super::ring::Ring;
use super::{Call, Shape};
use crate::ptx::mma::Accumulators;
use crate::ptx::rows::{CLAMP, WARP};
use quickpick_kernels::DType;
use quickpick_ptx::{B16, B32, Cmp, Int, Kernel, Reg, Shuffle, Type, Vector};

pub(super) struct Halves<'a> {
    shape: &'a Shape,
    /// Pairs of the elements.
    ty: Type,
    /// How bytes are taken: of X, this lane's half of two groups; of the exchanged words, the even bytes and
    /// the odd ones, of row g first.
    half: Reg<B32>,
    low: Reg<B32>,
    high: Reg<B32>,
    /// What brings this lane's codes to the low halves of the first bytes, and to the high halves of the second.
    down: Reg<B32>,
    up: Reg<B32>,
    a: Vector<B32, 4>,
    /// Of each fragment of features.
    meta: Vec<Reg<B32>>,
}

impl<'a> Halves<'a> {
    pub fn new(k: &mut Kernel, shape: &'a Shape, call: &Call) -> Self {
        let ty = match shape.element.dtype {
            DType::E5M2 => Type::E5m2x2,
            _ => Type::E4m3x2,
        };
        k.section("even and odd lanes take other halves of X, and other codes");
        let [half, low, high, down, up] =
            ["x_half", "low_codes", "high_codes", "codes_down", "codes_up"].map(|role| k.reg(role));
        let (lane, odd) = (call.lane(k), k.reg("is_odd"));
        k.and_b32(down, lane, 1).setp(Cmp::Eq, Int::U32, odd, down, 1);
        k.shl_b32(down, down, 2).xor_b32(up, down, 4);
        k.selp_b32(half, 0x7632, 0x5410, odd);
        k.selp_b32(low, 0x2064, 0x6420, odd).selp_b32(high, 0x3175, 0x7531, odd);
        let meta = k.reg_list("meta_half", shape.fragments() as usize);
        Self { shape, ty, half, low, high, down, up, a: k.regs("a_half"), meta }
    }

    /// Both k-steps of a stage, for each fragment of features and each tile of tokens.
    pub fn multiply(
        &self,
        k: &mut Kernel,
        packed: &Packed,
        ring: &Ring,
        stage: u32,
        b: &[Vector<B32, 4>],
        acc: &Accumulators,
    ) {
        let shape = self.shape;
        let weights = &packed.stages[stage as usize];
        for step in 0..2 {
            k.note("codes: every other one of rows g and g + 8, for two products");
            for (&meta, weights) in self.meta.iter().zip(weights) {
                self.codes(k, meta, weights.meta[step]);
            }
            for part in 0..2 {
                k.note("X as f16: halves of two groups, and of those four groups further on");
                for (tile, b) in (0..).zip(b) {
                    for piece in 0..2 {
                        let words = k.scratches::<B32, 2>("x_words");
                        let at = 4 * step + 2 * part + piece;
                        k.ld_shared_v2_b32(words, ring.fragment(shape, stage, tile, at));
                        k.prmt(words[0], words[0], words[1], self.half);
                        self.widen(k, [b[piece], b[piece + 2]], words[0]);
                    }
                }
                k.note("W as f16: a word is two groups of a row");
                for (fragment, weights) in (0..).zip(weights) {
                    for row in 0..2 {
                        let word = weights.a[step][2 * part + row];
                        self.widen(k, [self.a[row], self.a[row + 2]], word);
                    }
                    for (tile, &b) in (0..).zip(b) {
                        let tile = fragment * shape.tile.n / 8 + tile;
                        let meta = (self.meta[fragment as usize], part as u32);
                        acc.multiply_sparse(k, tile, self.a, b, meta);
                    }
                }
            }
        }
    }

    /// Four 8-bit floats to two words of f16.
    fn widen(&self, k: &mut Kernel, to: [Reg<B32>; 2], word: Reg<B32>) {
        let pairs = k.scratches::<B16, 2>("pairs");
        k.unpack_b16(pairs, word);
        for (to, pair) in to.into_iter().zip(pairs.0) {
            k.cvt_f16x2_float8(self.ty, to, pair);
        }
    }

    /// The metadata of both products of a k-step.
    fn codes(&self, k: &mut Kernel, to: Reg<B32>, own: Reg<B32>) {
        let [other, high] = ["other_codes", "odd_codes"].map(|role| k.scratch(role));
        k.shfl_b32(Shuffle::Bfly, other, own, 1, CLAMP, WARP);
        k.prmt(to, own, other, self.low).prmt(high, own, other, self.high);
        k.shr(Int::U32, to, to, self.down).shl_b32(high, high, self.up);
        // bits of the first where the mask has ones, else of the second
        k.lop3(to, to, high, 0x0f0f_0f0fu32, 0xe4);
    }
}
