//! Advanced SIMD of aarch64. binary16 is widened and rounded by the base set's own conversions.

use super::{Kernel, Simd};
use core::arch::aarch64::*;

/// Proof that the processor has Advanced SIMD.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn enabled<K: Kernel>(s: Neon, kernel: K) -> K::Output {
            kernel.run(s)
        }
        // SAFETY: `self` is proof of the feature
        unsafe { enabled(self, kernel) }
    }
}

/// Calls intrinsics inside a method of `Neon`.
macro_rules! neon {
    ($($body:tt)*) => {
        // SAFETY: `self` is proof of the feature; pointers are the caller's promise
        unsafe { $($body)* }
    };
}

impl Simd for Neon {
    type F = float32x4_t;
    type I = uint8x16_t;
    const LANES: usize = 4;
    const GROUPS: usize = 1;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        neon!(vdupq_n_f32(x))
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        neon!(vfmaq_f32(c, a, b))
    }

    #[inline(always)]
    fn sum(self, x: float32x4_t) -> f32 {
        neon!(vaddvq_f32(x))
    }

    #[inline(always)]
    unsafe fn places(self, codes: *const u32, row: usize, which: usize, _: usize) -> uint8x16_t {
        // lanes 2q and 2q + 1 share 64 bits, of the even rows' word and the odd rows'; then the bytes of each f32
        neon! {
            let [even, odd] = codes.cast::<[u32; 2]>().read_unaligned();
            let codes = vdupq_n_u64(u64::from(even) | u64::from(odd) << 32);
            let down = -((row + 16 * which) as i64);
            let shifts = vld1q_s64([down, down - 2].as_ptr());
            let places = vreinterpretq_u32_u64(vshlq_u64(codes, shifts));
            let places = vandq_u32(places, vdupq_n_u32(3));
            let bytes = vmlaq_u32(vdupq_n_u32(0x0302_0100), places, vdupq_n_u32(0x0404_0404));
            vreinterpretq_u8_u32(bytes)
        }
    }

    #[inline(always)]
    fn pick(self, inputs: float32x4_t, at: uint8x16_t) -> float32x4_t {
        neon!(vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(inputs), at)))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        neon!(vld1q_f32(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: float32x4_t) {
        neon!(vst1q_f32(to, x))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> float32x4_t {
        neon!(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))))
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, x: float32x4_t) {
        neon!(vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x))))
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> float32x4_t {
        neon!(vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from))))
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u32, which: usize) -> float32x4_t {
        neon! {
            let words = vld1q_u32(from);
            vreinterpretq_f32_u32(match which {
                0 => vshlq_n_u32::<16>(words),
                _ => vandq_u32(words, vdupq_n_u32(!0xFFFF)),
            })
        }
    }

    #[inline(always)]
    unsafe fn load_byte(self, from: *const u32, which: usize) -> float32x4_t {
        neon! {
            let words = vreinterpretq_s32_u32(vld1q_u32(from));
            let words = vshlq_s32(words, vdupq_n_s32(24 - 8 * which as i32));
            vcvtq_f32_s32(vshrq_n_s32::<24>(words))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, x: float32x4_t) {
        // (bits + 0x7fff + bit 16) >> 16; NaN keeps its upper half, made quiet
        neon! {
            let bits = vreinterpretq_u32_f32(x);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
            let quiet = vorrq_u32(bits, vdupq_n_u32(0x40_0000));
            let number = vceqq_f32(x, x);
            vst1_u16(to, vshrn_n_u32::<16>(vbslq_u32(number, rounded, quiet)))
        }
    }
}
