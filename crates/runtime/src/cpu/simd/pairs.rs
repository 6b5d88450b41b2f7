//! Products by pairs and fours: AVX512_BF16's `vdpbf16ps` adds two of bf16 to each of 16 sums in f32, AVX512_VNNI's
//! `vpdpbusd` four of 8-bit integers, one factor unsigned, to sums in i32.

use super::avx512::Avx512;
use super::columns::Columns;
use super::dot::{self, Dot};
use super::outer::{self, Outer};
use super::products::{Products, finish_i32};
use super::weight::INT8_SHIFT;
use super::weights::Rows;
use core::arch::x86_64::*;
use half::bf16;

/// Proof that the processor has AVX-512 F, BW, VL, DQ, BF16, VNNI and VBMI.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Pairs(());

/// A function with all of these instructions, and its call.
macro_rules! enabled {
    ($name:ident($($arg:ident: $T:ty),*) $body:block) => {{
        #[target_feature(
            enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,avx512vbmi,fma,f16c"
        )]
        fn $name($($arg: $T),*) $body
        // SAFETY: `Pairs`, which every caller has, is proof of the features
        unsafe { $name($($arg),*) }
    }};
}

impl Pairs {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vbmi");
        has.then_some(Self(()))
    }

    pub(super) fn dot_bf16(self, job: Dot<'_, bf16>) {
        let p = Bf16(self);
        enabled!(bf16(p: Bf16, job: Dot<'_, bf16>) { dot::run(p, job) })
    }

    pub(super) fn dot_i8(self, job: Dot<'_, i8>) {
        let p = Int8(self);
        enabled!(int8(p: Int8, job: Dot<'_, i8>) { dot::run(p, job) })
    }

    pub(super) fn outer_bf16(self, s: Avx512, job: Outer<'_, bf16>) {
        let p = self;
        enabled!(bf16(p: Pairs, s: Avx512, job: Outer<'_, bf16>) {
            match job.weights {
                Rows::Sparse(..) => outer::sparse(KeptBf16(p), job),
                Rows::Dense(w) => {
                    let words: &[[bf16; 2]] = bytemuck::cast_slice(w);
                    outer::dense(WholeBf16(p), s, words, job)
                }
            }
        })
    }

    /// 2:4 weights.
    pub(super) fn outer_i8(self, job: Outer<'_, i8>) {
        let p = KeptInt8(self);
        enabled!(int8(p: KeptInt8, job: Outer<'_, i8>) { outer::sparse(p, job) })
    }
}

/// Calls intrinsics inside a method of something that holds [`Pairs`].
macro_rules! avx512 {
    ($($body:tt)*) => {
        // SAFETY: `Pairs` is proof of the features; pointers are the caller's promise
        unsafe { $($body)* }
    };
}

/// Sums in f32 of pairs of bf16.
macro_rules! bf16_pairs {
    () => {
        type W = bf16;
        type X = bf16;
        type V = __m512i;
        type Sum = __m512;

        #[inline(always)]
        fn zero(self) -> __m512 {
            avx512!(_mm512_setzero_ps())
        }

        #[inline(always)]
        fn add(self, sum: __m512, w: __m512i, x: __m512i) -> __m512 {
            // the types are the same 512 bits
            avx512! {
                let pairs = |x| core::mem::transmute::<__m512i, __m512bh>(x);
                _mm512_dpbf16_ps(sum, pairs(w), pairs(x))
            }
        }

        #[inline(always)]
        fn prefetch<T>(self, address: *const T) {
            avx512!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
        }
    };
}

/// Sums in i32 of fours of 8-bit integers, inputs 128 higher, and so unsigned.
macro_rules! int8_fours {
    () => {
        type W = i8;
        type X = u8;
        type V = __m512i;
        type Sum = __m512i;

        #[inline(always)]
        fn zero(self) -> __m512i {
            avx512!(_mm512_setzero_si512())
        }

        #[inline(always)]
        fn add(self, sum: __m512i, w: __m512i, x: __m512i) -> __m512i {
            avx512!(_mm512_dpbusd_epi32(sum, x, w))
        }

        #[inline(always)]
        fn prefetch<T>(self, address: *const T) {
            avx512!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
        }
    };
}

/// Dot products of bf16.
#[derive(Clone, Copy)]
struct Bf16(Pairs);

impl Products for Bf16 {
    bf16_pairs!();
    type Out = f32;
    const LENGTH: usize = 32;
    const TOKENS: usize = 4;

    #[inline(always)]
    unsafe fn weights(self, from: *const bf16) -> __m512i {
        avx512!(_mm512_loadu_si512(from.cast()))
    }

    #[inline(always)]
    unsafe fn inputs(self, from: *const bf16) -> __m512i {
        avx512!(_mm512_loadu_si512(from.cast()))
    }

    #[inline(always)]
    fn shift(self, x: bf16) -> __m512i {
        avx512!(_mm512_set1_epi16(x.to_bits().cast_signed()))
    }

    #[inline(always)]
    fn total(self, sum: __m512, _: __m512) -> f32 {
        avx512!(_mm512_reduce_add_ps(sum))
    }
}

/// Dot products of 8-bit integers.
#[derive(Clone, Copy)]
struct Int8(Pairs);

impl Products for Int8 {
    int8_fours!();
    type Out = i32;
    const LENGTH: usize = 64;
    const TOKENS: usize = 4;
    const SHIFT: Option<u8> = Some(INT8_SHIFT);

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> __m512i {
        avx512!(_mm512_loadu_si512(from.cast()))
    }

    #[inline(always)]
    unsafe fn inputs(self, from: *const u8) -> __m512i {
        avx512!(_mm512_loadu_si512(from.cast()))
    }

    #[inline(always)]
    fn shift(self, x: u8) -> __m512i {
        avx512!(_mm512_set1_epi8(x.cast_signed()))
    }

    #[inline(always)]
    fn total(self, sum: __m512i, shifted: __m512i) -> i32 {
        // both may wrap, their difference is right all the same
        avx512!(_mm512_reduce_add_epi32(_mm512_sub_epi32(sum, shifted)))
    }

    #[inline(always)]
    fn finish(sums: &mut [i32]) {
        finish_i32(sums);
    }
}

/// Rows of a strip, and words of 32 bits in a vector.
const ROWS: usize = 16;

/// Where, in the 16 bits of their piece of a group's codes, those of each of 32 lanes of 16 bits begin. Lane 2r + j holds
/// row r's j-th kept value; in 64 bits follow the even rows' first, second, the odd rows' first, second.
const BF16_BITS: [u16; 32] = {
    let mut bits = [0; 32];
    let mut lane = 0;
    while lane < 32 {
        bits[lane] = 2 * (lane as u16 / 4);
        lane += 1;
    }
    bits
};

/// Where, in a group's 64 bits, those of each byte begin: bytes 4r + 2g + j are row r's j-th kept of the g-th group.
const INT8_BITS: [u8; 64] = {
    let mut bits = [0; 64];
    let mut byte = 0;
    while byte < 64 {
        let (row, j) = (byte as u8 / 4, byte as u8 % 2);
        bits[byte] = 32 * (row % 2) + 16 * j + 2 * (row / 2);
        byte += 1;
    }
    bits
};

/// What strips of words have in common.
macro_rules! words {
    ($columns:literal, $values:literal) => {
        const ROWS: usize = ROWS;
        const OTHERS: usize = 16;
        const COLUMNS: usize = $columns;
        const VALUES: usize = $values;
        const PICKS: usize = 1;
        const UNIT: usize = $columns;

        #[inline(always)]
        unsafe fn weights(
            self,
            values: *const Self::W,
            group: usize,
            _: usize,
            _: usize,
        ) -> __m512i {
            avx512!(_mm512_loadu_si512(values.add(group * ROWS * $values).cast()))
        }
    };
}

/// Sums of f32.
macro_rules! store_f32 {
    () => {
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, sum: __m512, _: __m512, first: bool) {
            avx512! {
                let sum = if first { sum } else { _mm512_add_ps(_mm512_loadu_ps(to), sum) };
                _mm512_storeu_ps(to, sum)
            }
        }
    };
}

/// A unit of 64 bits, in every eighth of the vector.
macro_rules! eighths {
    () => {
        #[inline(always)]
        unsafe fn inputs(self, x: *const Self::X, group: usize, unit: usize) -> __m512i {
            avx512!(_mm512_set1_epi64(x.add(group * unit).cast::<i64>().read_unaligned()))
        }
    };
}

/// 2:4 bf16, a group at a time.
#[derive(Clone, Copy)]
struct KeptBf16(Pairs);

impl Columns for KeptBf16 {
    bf16_pairs!();
    words!(4, 2);
    eighths!();
    store_f32!();
    type At = __m512i;

    #[inline(always)]
    unsafe fn places(self, codes: *const u32, group: usize, _: usize, _: usize) -> __m512i {
        // bits above the lowest two choose among copies of the unit, which are the same
        avx512! {
            let codes = _mm512_set1_epi64(codes.cast::<i64>().add(group).read_unaligned());
            _mm512_srlv_epi16(codes, _mm512_loadu_si512(BF16_BITS.as_ptr().cast()))
        }
    }

    #[inline(always)]
    fn pick(self, inputs: __m512i, at: __m512i) -> __m512i {
        avx512!(_mm512_permutexvar_epi16(at, inputs))
    }
}

/// Dense bf16, two columns at a time.
#[derive(Clone, Copy)]
struct WholeBf16(Pairs);

impl Columns for WholeBf16 {
    bf16_pairs!();
    words!(2, 2);
    store_f32!();
    type At = ();

    #[inline(always)]
    unsafe fn places(self, _: *const u32, _: usize, _: usize, _: usize) {}

    #[inline(always)]
    unsafe fn inputs(self, x: *const bf16, group: usize, unit: usize) -> __m512i {
        avx512!(_mm512_set1_epi32(x.add(group * unit).cast::<i32>().read_unaligned()))
    }

    #[inline(always)]
    fn pick(self, inputs: __m512i, (): ()) -> __m512i {
        inputs
    }
}

/// 2:4 weights of 8-bit integers, two groups at a time.
#[derive(Clone, Copy)]
struct KeptInt8(Pairs);

impl Columns for KeptInt8 {
    int8_fours!();
    words!(8, 4);
    eighths!();
    type At = __m512i;

    #[inline(always)]
    unsafe fn places(self, codes: *const u32, group: usize, _: usize, _: usize) -> __m512i {
        // the second group's for the upper half of each word; (a & 3) | b in one (0xEA), b the group's first column
        avx512! {
            let bits = _mm512_loadu_si512(INT8_BITS.as_ptr().cast());
            let codes = codes.cast::<[i64; 2]>().add(group).read_unaligned();
            let [first, second] = [_mm512_set1_epi64(codes[0]), _mm512_set1_epi64(codes[1])];
            let first = _mm512_multishift_epi64_epi8(bits, first);
            let upper = 0xCCCC_CCCC_CCCC_CCCC;
            let both = _mm512_mask_multishift_epi64_epi8(first, upper, bits, second);
            let groups = _mm512_set1_epi32(0x0404_0000);
            _mm512_ternarylogic_epi32::<0xEA>(both, _mm512_set1_epi8(3), groups)
        }
    }

    #[inline(always)]
    fn pick(self, inputs: __m512i, at: __m512i) -> __m512i {
        avx512!(_mm512_shuffle_epi8(inputs, at))
    }

    #[inline(always)]
    fn shift(self) -> Option<__m512i> {
        Some(avx512!(_mm512_set1_epi8(INT8_SHIFT.cast_signed())))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, sum: __m512i, shifted: __m512i, first: bool) {
        // both may wrap, their difference is right all the same
        avx512! {
            let sum = _mm512_sub_epi32(sum, shifted);
            let before = if first { self.zero() } else { _mm512_loadu_si512(to.cast()) };
            _mm512_storeu_si512(to.cast(), _mm512_add_epi32(before, sum))
        }
    }

    #[inline(always)]
    fn finish(sums: &mut [f32]) {
        finish_i32(bytemuck::cast_slice_mut(sums));
    }
}
