//! Products by pairs and fours: AVX512_BF16's `vdpbf16ps` adds two of bf16 to each of 16 sums in f32, AVX512_VNNI's
//! `vpdpbusd` four of 8-bit integers, one factor unsigned, to sums in i32.
//!
//! AVX512_BW's `vpermt2w` and AVX512_VBMI's `vpermt2b` pick inputs as they lie in memory, out of 64 or 128.

use super::avx512;
use super::dot::{self, Dot};
use super::panels::{MOST_WORDS, Panels};
use super::products::{Products, finish_i32};
use super::tile::{self, Tile, VECTORS};
use bytemuck::Zeroable;
use core::arch::x86_64::*;
use half::bf16;

/// Proof that the processor has AVX-512 F, BW, VL, DQ, BF16, VNNI and VBMI.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Pairs(());

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
        // SAFETY: `self` is proof of the features
        unsafe { enabled(Bf16(self), job) }
    }

    /// 2:4 weights.
    pub(super) fn tile_bf16(self, job: Tile<'_, bf16>) {
        #[target_feature(
            enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,avx512vbmi,fma,f16c"
        )]
        fn enabled(pairs: Pairs, job: Tile<'_, bf16>) {
            tile::sparse(Bf16(pairs), job)
        }
        // SAFETY: `self` is proof of the features
        unsafe { enabled(self, job) }
    }

    pub(super) fn dot_i8(self, job: Dot<'_, i8>) {
        // SAFETY: `self` is proof of the features
        unsafe { enabled(Int8(self), job) }
    }
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,avx512vbmi,fma,f16c"
)]
fn enabled<P: Products>(p: P, job: Dot<'_, P::W>) {
    dot::run(p, job)
}

/// Calls intrinsics inside a method of something that holds [`Pairs`].
macro_rules! avx512 {
    ($($body:tt)*) => {
        // SAFETY: `Pairs` is proof of the features; pointers are the caller's promise
        unsafe { $($body)* }
    };
}

/// Two bits of each code, for the kept values' groups: 4·(j/2) + code in lane j. `bits` has code j's at the bottom
/// of lane j, and others above; 0xEA is (a & b) | c.
macro_rules! places {
    ($bits:expr, $three:expr, $groups:expr) => {
        _mm512_ternarylogic_epi32::<0xEA>(
            $bits,
            $three,
            _mm512_loadu_si512($groups.as_ptr().cast()),
        )
    };
}

/// bf16, inputs as they are.
#[derive(Clone, Copy)]
struct Bf16(Pairs);

/// Where, in the 64 bits of their group's codes, those of each of 32 lanes of 16 bits begin: 2j, for its lower byte.
const BF16_BITS: [u16; 32] = {
    let mut bits = [0; 32];
    let mut j = 0;
    while j < 32 {
        bits[j] = 2 * j as u16;
        j += 1;
    }
    bits
};

/// Where, of 64 inputs, the group of each lane's kept value begins.
const BF16_GROUPS: [u16; 32] = {
    let mut groups = [0; 32];
    let mut j = 0;
    while j < 32 {
        groups[j] = 4 * (j as u16 / 2);
        j += 1;
    }
    groups
};

impl Products for Bf16 {
    type W = bf16;
    type X = bf16;
    type V = __m512i;
    type At = __m512i;
    type Sum = __m512;
    type Out = f32;
    const KEPT: usize = 32;
    const TOKENS: usize = 4;

    #[inline(always)]
    fn zero(self) -> __m512 {
        avx512!(_mm512_setzero_ps())
    }

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
    unsafe fn places(self, codes: *const u32, kept: usize) -> __m512i {
        avx512! {
            let codes = _mm512_set1_epi64(codes.add(kept / 16).cast::<i64>().read_unaligned());
            let at = _mm512_loadu_si512(BF16_BITS.as_ptr().cast());
            places!(_mm512_multishift_epi64_epi8(at, codes), _mm512_set1_epi16(3), BF16_GROUPS)
        }
    }

    #[inline(always)]
    fn pick(self, low: __m512i, high: __m512i, at: __m512i) -> __m512i {
        avx512!(_mm512_permutex2var_epi16(low, at, high))
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
    fn total(self, sum: __m512, _: __m512) -> f32 {
        avx512!(_mm512_reduce_add_ps(sum))
    }

    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        avx512!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}

/// 8-bit integers, inputs 128 higher, and so unsigned.
#[derive(Clone, Copy)]
struct Int8(Pairs);

/// Where, in 64 bits of codes, those of each of 64 lanes of 8 bits begin; 32 of them share such 64 bits.
const INT8_BITS: [u8; 64] = {
    let mut bits = [0; 64];
    let mut j = 0;
    while j < 64 {
        bits[j] = 2 * (j as u8 % 32);
        j += 1;
    }
    bits
};

/// Where, of 128 inputs, the group of each lane's kept value begins.
const INT8_GROUPS: [u8; 64] = {
    let mut groups = [0; 64];
    let mut j = 0;
    while j < 64 {
        groups[j] = 4 * (j as u8 / 2);
        j += 1;
    }
    groups
};

impl Products for Int8 {
    type W = i8;
    type X = u8;
    type V = __m512i;
    type At = __m512i;
    type Sum = __m512i;
    type Out = i32;
    const KEPT: usize = 64;
    const TOKENS: usize = 4;
    const SHIFT: Option<u8> = Some(super::weight::INT8_SHIFT);

    #[inline(always)]
    fn zero(self) -> __m512i {
        avx512!(_mm512_setzero_si512())
    }

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
    unsafe fn places(self, codes: *const u32, _: usize) -> __m512i {
        // all 64 kept values of a block's row
        avx512! {
            let codes = codes.cast::<i64>();
            let (first, second) = (codes.read_unaligned(), codes.add(1).read_unaligned());
            let codes = _mm512_inserti64x4::<1>(
                _mm512_set1_epi64(first),
                _mm256_set1_epi64x(second),
            );
            let at = _mm512_loadu_si512(INT8_BITS.as_ptr().cast());
            places!(_mm512_multishift_epi64_epi8(at, codes), _mm512_set1_epi8(3), INT8_GROUPS)
        }
    }

    #[inline(always)]
    fn pick(self, low: __m512i, high: __m512i, at: __m512i) -> __m512i {
        avx512!(_mm512_permutex2var_epi8(low, at, high))
    }

    #[inline(always)]
    fn add(self, sum: __m512i, w: __m512i, x: __m512i) -> __m512i {
        avx512!(_mm512_dpbusd_epi32(sum, x, w))
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

    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        avx512!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}

/// Where a group's pair lies among the six, by its code, `a | b << 2`: (0,1), (0,2), (0,3), (1,2), (1,3), (2,3).
/// Other codes are none of 2:4 weights, and lie anywhere.
const PLACE: [u32; 16] = {
    let mut place = [0; 16];
    let (mut a, mut next) = (0, 0);
    while a < 4 {
        let mut b = a + 1;
        while b < 4 {
            place[a | b << 2] = next;
            next += 1;
            b += 1;
        }
        a += 1;
    }
    place
};

/// The six pairs of each group of 64 columns, of a panel of 64 tokens: 24 KB of the first cache.
#[derive(Clone, Copy, Zeroable)]
#[repr(C, align(64))]
struct SixPairs([f32; 6 * 16 * VECTORS * 16]);

/// bf16, a word being the two kept weights of a group. They meet one of the six pairs of its inputs, of which a block
/// holds all; a panel in memory holds each pair of neighbours.
impl Panels for Bf16 {
    type W = bf16;
    type V = __m512;
    type Room = SixPairs;
    const LANES: usize = 16;
    const ROWS: usize = 4;
    const COLUMNS: usize = 64;
    const WORD_COLUMNS: usize = 4;
    const ROW_COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        avx512!(_mm512_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m512) {
        avx512!(_mm512_storeu_ps(to, x))
    }

    #[inline(always)]
    fn splat(self, word: f32) -> __m512 {
        avx512!(_mm512_set1_ps(word))
    }

    #[inline(always)]
    unsafe fn splat4(self, from: *const f32) -> [__m512; 4] {
        avx512!(avx512::splat4(from))
    }

    #[inline(always)]
    fn add(self, sum: __m512, w: __m512, x: __m512) -> __m512 {
        avx512! {
            let (w, x) = (_mm512_castps_si512(w), _mm512_castps_si512(x));
            Products::add(self, sum, w, x)
        }
    }

    #[inline(always)]
    unsafe fn block(self, from: *const f32, columns: usize, room: &mut SixPairs) -> *const f32 {
        // of words a = (x0, x1) and b = (x2, x3); 0xEA is (a & b) | c, 0xCA is a ? b : c, bit by bit
        avx512! {
            const WIDTH: usize = VECTORS * 16;
            let low = _mm512_set1_epi32(0xFFFF);
            for (group, room) in room.0.as_chunks_mut::<{ 6 * WIDTH }>().0[..columns / 4].iter_mut().enumerate() {
                for v in (0..WIDTH).step_by(16) {
                    let from = from.add(2 * group * WIDTH + v);
                    let a = _mm512_loadu_si512(from.cast());
                    let b = _mm512_loadu_si512(from.add(WIDTH).cast());
                    let (a_high, b_high) = (_mm512_srli_epi32::<16>(a), _mm512_slli_epi32::<16>(b));
                    let pairs = [
                        a,
                        _mm512_ternarylogic_epi32::<0xEA>(a, low, b_high),
                        _mm512_ternarylogic_epi32::<0xCA>(low, a, b),
                        _mm512_or_si512(a_high, b_high),
                        _mm512_ternarylogic_epi32::<0xCA>(low, a_high, b),
                        b,
                    ];
                    let to = room.as_mut_ptr().add(v);
                    for (i, pair) in pairs.into_iter().enumerate() {
                        _mm512_storeu_si512(to.add(i * WIDTH).cast(), pair);
                    }
                }
            }
            room.0.as_ptr()
        }
    }

    #[inline(always)]
    fn words(self, values: &[bf16], _: &mut [f32; MOST_WORDS]) -> *const f32 {
        values.as_ptr().cast()
    }

    #[inline(always)]
    fn places(self, codes: &[u32], places: &mut [u32; MOST_WORDS]) {
        let (first, second) = (codes[0].cast_signed(), codes.get(1).map_or(0, |c| c.cast_signed()));
        // SAFETY: PLACE has 16 words, and `places` room for them; the other intrinsics touch no memory
        avx512! {
            const LOG_WIDTH: u32 = (VECTORS * 16).ilog2();
            let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
            let codes = _mm512_mask_set1_epi32(_mm512_set1_epi32(first), 0xFF00, second);
            let codes = _mm512_and_si512(_mm512_srlv_epi32(codes, shifts), _mm512_set1_epi32(15));
            let pair = _mm512_permutexvar_epi32(codes, _mm512_loadu_si512(PLACE.as_ptr().cast()));
            let row = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(6)), pair);
            let at = _mm512_slli_epi32::<LOG_WIDTH>(row);
            _mm512_storeu_si512(places.as_mut_ptr().cast(), at);
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        Products::prefetch(self, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_pairs_have_places() {
        let pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
        let places = pairs.map(|(a, b)| PLACE[a | b << 2]);
        assert_eq!(places, [0, 1, 2, 3, 4, 5]);
        assert_eq!(PLACE.iter().filter(|&&place| place == 0).count(), 11);
    }
}
