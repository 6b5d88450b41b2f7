//! AVX-512 F, BW, VL, DQ.

use super::{Kernel, SQUARE, Simd};
use core::arch::x86_64::*;

/// Proof that the processor has AVX-512 F, BW, VL, DQ, and FMA, F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
        fn enabled<K: Kernel>(s: Avx512, kernel: K) -> K::Output {
            kernel.run(s)
        }
        // SAFETY: `self` is proof of the features
        unsafe { enabled(self, kernel) }
    }
}

/// Calls intrinsics inside a method of `Avx512`.
macro_rules! avx512 {
    ($($body:tt)*) => {
        // SAFETY: `self` is proof of the features; pointers are the caller's promise
        unsafe { $($body)* }
    };
}

/// First inputs of four groups. From memory a broadcast costs no port that the products want.
static FIRST: [i32; 4] = [0, 4, 8, 12];

impl Simd for Avx512 {
    type F = __m512;
    type I = __m512i;
    const LANES: usize = 16;
    const GROUPS: usize = 4;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        avx512!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        avx512!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        avx512!(_mm512_reduce_add_ps(x))
    }

    #[inline(always)]
    unsafe fn places(self, codes: *const u32, _: usize, which: usize, group: usize) -> __m512i {
        // lanes 2q and 2q + 1 share 64 bits: bits 2q of the even rows' word, and of the odd rows'; then (a & 3) | b in
        // one (0xEA)
        avx512! {
            let rows = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
            let shifts = _mm512_add_epi64(rows, _mm512_set1_epi64(16 * which as i64));
            let codes = _mm512_srlv_epi64(_mm512_set1_epi64(codes.cast::<i64>().read_unaligned()), shifts);
            let first = _mm512_set1_epi32(FIRST[group % 4]);
            _mm512_ternarylogic_epi32::<0xEA>(codes, _mm512_set1_epi32(3), first)
        }
    }

    #[inline(always)]
    fn pick(self, inputs: __m512, at: __m512i) -> __m512 {
        avx512!(_mm512_permutexvar_ps(at, inputs))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        avx512!(_mm512_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m512) {
        avx512!(_mm512_storeu_ps(to, x))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> __m512 {
        avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast())))
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, x: __m512) {
        avx512! {
            let narrow = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
            _mm256_storeu_si256(to.cast(), narrow)
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> __m512 {
        avx512! {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u32, which: usize) -> __m512 {
        avx512! {
            let words = _mm512_loadu_si512(from.cast());
            _mm512_castsi512_ps(match which {
                0 => _mm512_slli_epi32::<16>(words),
                _ => _mm512_and_si512(words, _mm512_set1_epi32(!0xFFFF)),
            })
        }
    }

    #[inline(always)]
    unsafe fn load_byte(self, from: *const u32, which: usize) -> __m512 {
        avx512! {
            let up = _mm_cvtsi32_si128(24 - 8 * which as i32);
            let words = _mm512_sll_epi32(_mm512_loadu_si512(from.cast()), up);
            _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(words))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, x: __m512) {
        // (bits + 0x7fff + bit 16) >> 16; NaN keeps its upper half, made quiet
        avx512! {
            let bits = _mm512_castps_si512(x);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let carry = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            let rounded = _mm512_mask_mov_epi32(_mm512_add_epi32(bits, carry), nan, quiet);
            let narrow = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded));
            _mm256_storeu_si256(to.cast(), narrow)
        }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        // pairs of rows, then fours: lane l of `fours[4i + j]` is column 4l + j of rows 4i .. 4i + 4
        avx512! {
            let mut rows = [_mm512_setzero_ps(); SQUARE];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = _mm512_loadu_ps(from.add(i * stride));
            }
            let mut pairs = [_mm512_setzero_pd(); SQUARE];
            for i in (0..SQUARE).step_by(2) {
                pairs[i] = _mm512_castps_pd(_mm512_unpacklo_ps(rows[i], rows[i + 1]));
                pairs[i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(rows[i], rows[i + 1]));
            }
            let mut fours = rows;
            for i in (0..SQUARE).step_by(4) {
                for j in 0..2 {
                    let (a, b) = (pairs[i + j], pairs[i + j + 2]);
                    fours[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    fours[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            for j in 0..4 {
                let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
                let even = [_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d)];
                let odd = [_mm512_shuffle_f32x4::<0xDD>(a, b), _mm512_shuffle_f32x4::<0xDD>(c, d)];
                let columns = [
                    _mm512_shuffle_f32x4::<0x88>(even[0], even[1]),
                    _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]),
                    _mm512_shuffle_f32x4::<0xDD>(even[0], even[1]),
                    _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1]),
                ];
                for (l, column) in columns.into_iter().enumerate() {
                    _mm512_storeu_ps(to.add((4 * l + j) * to_stride), column);
                }
            }
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        avx512!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}
