//! Plain Rust: arrays that the compiler may or may not put into vector registers.

use super::{Simd, bf16_bits};
use half::f16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

const LANES: usize = 4;

impl Simd for Portable {
    type F = [f32; LANES];
    type I = [u8; LANES];
    const LANES: usize = LANES;
    const GROUPS: usize = 1;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        x.iter().sum()
    }

    #[inline(always)]
    unsafe fn places(self, codes: *const u32, row: usize, which: usize, _: usize) -> Self::I {
        // SAFETY: the caller promises two words: the even rows', the odd rows'
        let words = unsafe { codes.cast::<[u32; 2]>().read_unaligned() };
        let words = words.map(|word| word >> (row + 16 * which));
        std::array::from_fn(|i| (words[i % 2] >> (i / 2 * 2) & 3) as u8)
    }

    #[inline(always)]
    fn pick(self, inputs: Self::F, at: Self::I) -> Self::F {
        at.map(|at| inputs[at as usize % LANES])
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F {
        // SAFETY: the caller promises LANES values
        unsafe { from.cast::<Self::F>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: Self::F) {
        // SAFETY: the caller promises room for LANES values
        unsafe { to.cast::<Self::F>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> Self::F {
        // SAFETY: the caller promises LANES values
        let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        bits.map(widen_f16)
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, x: Self::F) {
        let bits = x.map(|x| f16::from_f32(x).to_bits());
        // SAFETY: the caller promises room for LANES values
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(bits) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> Self::F {
        // SAFETY: the caller promises LANES values
        let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        bits.map(|b| f32::from_bits((b as u32) << 16))
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u32, which: usize) -> Self::F {
        // SAFETY: the caller promises LANES words
        let words = unsafe { from.cast::<[u32; LANES]>().read_unaligned() };
        words.map(|word| f32::from_bits(if which == 0 { word << 16 } else { word & !0xFFFF }))
    }

    #[inline(always)]
    unsafe fn load_byte(self, from: *const u32, which: usize) -> Self::F {
        // SAFETY: the caller promises LANES words
        let words = unsafe { from.cast::<[u32; LANES]>().read_unaligned() };
        words.map(|word| (word >> (8 * which)) as u8 as i8 as f32)
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, x: Self::F) {
        // SAFETY: the caller promises room for LANES values
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(x.map(bf16_bits)) }
    }
}

/// binary16 to f32 without a branch: the exponent is rebiased by a product with 2¹¹², which is
/// exact and puts subnormals right; infinities and NaNs get the highest exponent after it.
#[inline(always)]
fn widen_f16(bits: u16) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let (sign, rest) = ((bits as u32 & 0x8000) << 16, (bits as u32 & 0x7fff) << 13);
    let magnitude = (f32::from_bits(rest) * REBIAS).to_bits();
    let special = if rest >= 0x7c00 << 13 { 255 << 23 } else { 0 };
    f32::from_bits(magnitude | special | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact_for_every_f16() {
        for bits in 0..=u16::MAX {
            let (got, want) = (widen_f16(bits), f16::from_bits(bits).to_f32());
            assert!(got == want || (got.is_nan() && want.is_nan()), "{bits:#06x}: {got} {want}");
        }
    }
}
