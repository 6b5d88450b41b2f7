//! AVX2, FMA, F16C.

use super::{Kernel, Simd};
use core::arch::x86_64::*;

/// Proof that the processor has AVX2, FMA, F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn enabled<K: Kernel>(s: Avx2, kernel: K) -> K::Output {
            kernel.run(s)
        }
        // SAFETY: `self` is proof of the features
        unsafe { enabled(self, kernel) }
    }
}

/// Calls intrinsics inside a method of `Avx2`.
macro_rules! avx2 {
    ($($body:tt)*) => {
        // SAFETY: `self` is proof of the features; pointers are the caller's promise
        unsafe { $($body)* }
    };
}

impl Simd for Avx2 {
    type F = __m256;
    type I = __m256i;
    const LANES: usize = 8;
    const GROUPS: usize = 1;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        avx2!(_mm256_set1_ps(x))
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        avx2!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn sum(self, x: __m256) -> f32 {
        avx2! {
            let half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
        }
    }

    #[inline(always)]
    unsafe fn places(self, codes: *const u32, row: usize, which: usize, _: usize) -> __m256i {
        // lanes 2q and 2q + 1 share 64 bits: bits 2q of the even rows' word, and of the odd rows'; those above them
        // `pick` does not see
        avx2! {
            let rows = _mm256_setr_epi64x(0, 2, 4, 6);
            let shifts = _mm256_add_epi64(rows, _mm256_set1_epi64x((row + 16 * which) as i64));
            _mm256_srlv_epi64(_mm256_set1_epi64x(codes.cast::<i64>().read_unaligned()), shifts)
        }
    }

    #[inline(always)]
    fn pick(self, inputs: __m256, at: __m256i) -> __m256 {
        avx2!(_mm256_permutevar_ps(inputs, at))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        avx2!(_mm256_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m256) {
        avx2!(_mm256_storeu_ps(to, x))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> __m256 {
        avx2!(_mm256_cvtph_ps(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, x: __m256) {
        avx2!(_mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)))
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> __m256 {
        avx2! {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u32, which: usize) -> __m256 {
        avx2! {
            let words = _mm256_loadu_si256(from.cast());
            _mm256_castsi256_ps(match which {
                0 => _mm256_slli_epi32::<16>(words),
                _ => _mm256_and_si256(words, _mm256_set1_epi32(!0xFFFF)),
            })
        }
    }

    #[inline(always)]
    unsafe fn load_byte(self, from: *const u32, which: usize) -> __m256 {
        avx2! {
            let up = _mm_cvtsi32_si128(24 - 8 * which as i32);
            let words = _mm256_sll_epi32(_mm256_loadu_si256(from.cast()), up);
            _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(words))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, x: __m256) {
        // (bits + 0x7fff + bit 16) >> 16; NaN keeps its upper half, made quiet
        avx2! {
            let bits = _mm256_castps_si256(x);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let carry = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
            let rounded = _mm256_blendv_epi8(_mm256_add_epi32(bits, carry), quiet, nan);
            let high = _mm256_srli_epi32::<16>(rounded);
            let packed = _mm256_packus_epi32(high, high);
            let ordered = _mm256_permute4x64_epi64::<0b1000>(packed);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(ordered))
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        avx2!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}
