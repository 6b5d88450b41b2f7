//! Products by pairs: AVX512_BF16's `vdpbf16ps` adds two of bf16 to each of 16 sums in f32, AVX512_VNNI's
//! `vpdpwssd` two of 16-bit integers to sums in i32, exactly.
//!
//! Lanes are tokens, and a lane's 32 bits hold two inputs of its token. Dense weights meet the inputs two by two.
//! Of a group of four, a row of 2:4 weights keeps one of six pairs, so a panel holds all six; the two kept weights
//! lie side by side, 32 bits as well. That makes one multiply-add a group, where dense weights take two.

#![allow(clippy::needless_range_loop)] // indices name registers

use super::linear::Rows;
use bytemuck::Pod;
use core::arch::x86_64::*;
use half::bf16;

/// Proof that the processor has AVX-512 F, BW, BF16 and VNNI.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Pairs(());

/// Tokens in a vector.
const LANES: usize = 16;

/// Columns of 2:4 weights in a block: the six pairs of each of its groups by 128 tokens take 48 KB, which the second
/// cache hands over as fast as they are used; half of it, for the first cache, would carry the sums twice as often.
const DEPTH: usize = 64;

/// Groups of such a block.
const GROUPS: usize = DEPTH / 4;

/// Columns of dense weights in a block: their pairs by 64 tokens take 16 KB of the first cache.
const DENSE_DEPTH: usize = 128;

/// Rows of W that are multiplied at once, at most.
const MOST_ROWS: usize = 6;

/// Room for the weights of such rows in a block, two in each word.
type Room = [[u32; DENSE_DEPTH / 2]; MOST_ROWS];

/// Panel rows of a group of four inputs, under 2:4 weights and under dense ones.
pub(in crate::cpu) const fn pairs_of_group(sparse: bool) -> usize {
    if sparse { 6 } else { 2 }
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

/// A type whose products come by pairs. For functions that have the features of [`Pairs`].
pub(in crate::cpu) trait Pair: Pod + Send + Sync {
    /// Four inputs of each lane's token, each in the lower 16 bits of its lane; zero where `mask` is. Lane t's lie
    /// `at[t]` elements from x.
    ///
    /// # Safety
    ///
    /// The features are there, and what the lanes of the mask read.
    unsafe fn four(x: *const Self, at: __m512i, mask: u16) -> [__m512i; 4];

    /// A row's weights in a block, two in each 32 bits; in `room` if they do not lie so already.
    fn two(row: &[Self], room: &mut [u32; DENSE_DEPTH / 2]) -> *const u32;

    /// Adds two products to each sum.
    ///
    /// # Safety
    ///
    /// The features are there.
    unsafe fn add(sum: __m512i, w: __m512i, x: __m512i) -> __m512i;

    /// Makes f32 of finished sums.
    fn finish(sums: &mut [f32]);
}

impl Pair for bf16 {
    #[inline(always)]
    unsafe fn four(x: *const Self, at: __m512i, mask: u16) -> [__m512i; 4] {
        // SAFETY: the caller's promise
        unsafe {
            let gather = |x: *const Self| {
                _mm512_mask_i32gather_epi32::<2>(_mm512_setzero_si512(), mask, at, x.cast())
            };
            let (first, last) = (gather(x), gather(x.wrapping_add(2)));
            let low = |pair| _mm512_and_si512(pair, _mm512_set1_epi32(0xFFFF));
            let high = |pair| _mm512_srli_epi32::<16>(pair);
            [low(first), high(first), low(last), high(last)]
        }
    }

    #[inline(always)]
    fn two(row: &[Self], _: &mut [u32; DENSE_DEPTH / 2]) -> *const u32 {
        row.as_ptr().cast()
    }

    #[inline(always)]
    unsafe fn add(sum: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: the caller's promise; the types are the same 512 bits
        unsafe {
            let pairs = |x| core::mem::transmute::<__m512i, __m512bh>(x);
            _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), pairs(w), pairs(x)))
        }
    }

    #[inline(always)]
    fn finish(_: &mut [f32]) {}
}

impl Pair for i8 {
    #[inline(always)]
    unsafe fn four(x: *const Self, at: __m512i, mask: u16) -> [__m512i; 4] {
        // SAFETY: the caller's promise
        unsafe {
            let all = _mm512_mask_i32gather_epi32::<1>(_mm512_setzero_si512(), mask, at, x.cast());
            // sign-extended to 16 bits
            let low = |x| _mm512_and_si512(x, _mm512_set1_epi32(0xFFFF));
            [
                low(_mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(all))),
                low(_mm512_srai_epi32::<24>(_mm512_slli_epi32::<16>(all))),
                low(_mm512_srai_epi32::<24>(_mm512_slli_epi32::<8>(all))),
                low(_mm512_srai_epi32::<24>(all)),
            ]
        }
    }

    #[inline(always)]
    fn two(row: &[Self], room: &mut [u32; DENSE_DEPTH / 2]) -> *const u32 {
        for (to, &[a, b]) in room.iter_mut().zip(row.as_chunks().0) {
            *to = u32::from(i16::from(a) as u16) | u32::from(i16::from(b) as u16) << 16;
        }
        room.as_ptr()
    }

    #[inline(always)]
    unsafe fn add(sum: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: the caller's promise
        unsafe { _mm512_dpwssd_epi32(sum, w, x) }
    }

    #[inline(always)]
    fn finish(sums: &mut [f32]) {
        sums.iter_mut().for_each(|sum| *sum = sum.to_bits().cast_signed() as f32);
    }
}

/// x, `tokens × k`, columns `start..`, as rows of a panel, `panel[row·width + t]`; zero for tokens that are not
/// there.
pub(in crate::cpu) struct PackPairs<'a, T> {
    pub x: &'a [T],
    pub k: usize,
    pub start: usize,
    pub width: usize,
    /// For 2:4 weights.
    pub sparse: bool,
    pub panel: &'a mut [u32],
}

/// `acc[r·width + t] = Σ W[r]·x[t]`; the panel as [`PackPairs`] makes it of all k columns, acc `rows × width`; width 1,
/// 2, 4 or 8 vectors.
pub(in crate::cpu) struct TilePairs<'a, T> {
    pub weights: Rows<'a, T>,
    pub panel: &'a [u32],
    pub k: usize,
    pub acc: &'a mut [f32],
}

impl Pairs {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }

    pub(in crate::cpu) fn pack<T: Pair>(self, job: PackPairs<'_, T>) {
        let PackPairs { x, k, start, width, sparse, panel } = job;
        let depth = panel.len() / width / pairs_of_group(sparse) * 4;
        assert_eq!(panel.len(), depth / 4 * pairs_of_group(sparse) * width, "whole groups");
        assert!(
            k.is_multiple_of(4) && start.is_multiple_of(4) && start + depth <= k,
            "columns of x"
        );
        assert!(x.len().is_multiple_of(k) && width.is_multiple_of(LANES), "tokens of x");
        // SAFETY: `self` is proof of the features; the asserts are what `pack` asks for
        unsafe { pack(x, k, start, width, sparse, panel) }
    }

    pub(in crate::cpu) fn tile<T: Pair>(self, job: TilePairs<'_, T>) {
        let TilePairs { weights, panel, k, acc } = job;
        let sparse = matches!(weights, Rows::Sparse(..));
        let width = panel.len() / (k / 4 * pairs_of_group(sparse));
        let rows = acc.len() / width;
        weights.check(rows, k);
        assert_eq!(panel.len(), k / 4 * pairs_of_group(sparse) * width, "a panel of k columns");
        assert_eq!(acc.len(), rows * width, "whole rows of sums");
        acc.fill(0.0);
        // SAFETY: `self` is proof of the features; the asserts fix all lengths by rows, k and width
        unsafe {
            match width / LANES {
                1 => blocks::<T, 1>(weights, panel, k, acc),
                2 => blocks::<T, 2>(weights, panel, k, acc),
                4 => blocks::<T, 4>(weights, panel, k, acc),
                _ => {
                    assert_eq!(width, 8 * LANES, "a panel of 1, 2, 4 or 8 vectors");
                    blocks::<T, 8>(weights, panel, k, acc)
                }
            }
        }
        T::finish(acc);
    }
}

/// # Safety
///
/// `start + depth <= k`, all multiples of 4, where the panel has `depth/4` groups of rows of `width`, a multiple of
/// [`LANES`]; x has whole rows of k.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx512vnni")]
unsafe fn pack<T: Pair>(
    x: &[T],
    k: usize,
    start: usize,
    width: usize,
    sparse: bool,
    panel: &mut [u32],
) {
    let tokens = x.len() / k;
    let rows = pairs_of_group(sparse);
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let at = _mm512_mullo_epi32(lane, _mm512_set1_epi32(k as i32));
    for t in (0..width).step_by(LANES) {
        let mask = match tokens.saturating_sub(t) {
            LANES.. => u16::MAX,
            here => (1 << here) - 1,
        };
        let x = x.as_ptr().wrapping_add(t * k + start);
        for (group, panel) in panel.chunks_exact_mut(rows * width).enumerate() {
            // SAFETY: lanes of tokens that are there read columns below k of their rows; `panel` has `rows` rows
            // of `width` words
            unsafe {
                let x = T::four(x.wrapping_add(4 * group), at, mask);
                let to = panel.as_mut_ptr().add(t);
                let store = |row: usize, a: usize, b: usize| {
                    let pair = _mm512_or_si512(x[a], _mm512_slli_epi32::<16>(x[b]));
                    _mm512_storeu_si512(to.add(row * width).cast(), pair);
                };
                store(0, 0, 1);
                store(rows - 1, 2, 3);
                if sparse {
                    store(1, 0, 2);
                    store(2, 0, 3);
                    store(3, 1, 2);
                    store(4, 1, 3);
                }
            }
        }
    }
}

/// # Safety
///
/// The panel has the pairs of k columns by V vectors; acc whole rows of as many, which `weights` has.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx512vnni")]
unsafe fn blocks<T: Pair, const V: usize>(
    weights: Rows<'_, T>,
    panel: &[u32],
    k: usize,
    acc: &mut [f32],
) {
    let width = V * LANES;
    let rows = acc.len() / width;
    let deepest = match weights {
        Rows::Sparse(..) => DEPTH,
        Rows::Dense(_) => DENSE_DEPTH,
    };
    let mut room: Room = [[0; _]; _];
    for start in (0..k).step_by(deepest) {
        let depth = deepest.min(k - start);
        let mut row = 0;
        while row < rows {
            let left = rows - row;
            // SAFETY: the caller's promise; row + R <= rows
            unsafe {
                let acc = acc.as_mut_ptr().add(row * width);
                let at = Block { row, start, depth, k };
                row += match weights {
                    Rows::Sparse(v, c) => {
                        let panel = panel.as_ptr().add(start / 4 * 6 * width);
                        // at most 24 sums; a row's weight is broadcast for V vectors
                        match (left, V) {
                            (3.., 8) => sparse::<T, 3, V>(v, c, at, &mut room, panel, acc),
                            (6.., 4) => sparse::<T, 6, V>(v, c, at, &mut room, panel, acc),
                            (4.., 1..=4) => sparse::<T, 4, V>(v, c, at, &mut room, panel, acc),
                            _ => sparse::<T, 1, V>(v, c, at, &mut room, panel, acc),
                        }
                    }
                    Rows::Dense(w) => {
                        let panel = panel.as_ptr().add(start / 2 * width);
                        match (left, V) {
                            (6.., 1..=4) => dense::<T, 6, V>(w, at, &mut room, panel, acc),
                            (2.., _) => dense::<T, 2, V>(w, at, &mut room, panel, acc),
                            _ => dense::<T, 1, V>(w, at, &mut room, panel, acc),
                        }
                    }
                }
            }
        }
    }
}

/// Where a block of W lies.
#[derive(Clone, Copy)]
struct Block {
    row: usize,
    start: usize,
    depth: usize,
    k: usize,
}

/// R rows of 2:4 weights × V vectors of tokens; returns R.
///
/// # Safety
///
/// W has R rows from `at.row` on; the panel has the pairs of `at.depth` columns, acc R rows, of V vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx512vnni")]
unsafe fn sparse<T: Pair, const R: usize, const V: usize>(
    values: &[T],
    codes: &[u32],
    at: Block,
    room: &mut Room,
    panel: *const u32,
    acc: *mut f32,
) -> usize {
    let width = (V * LANES) as i32;
    let nibble = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut offset = [[0u32; GROUPS]; R];
    let two: [_; R] = two(values, at.row, at.k / 2, at.start / 2, at.depth / 2, room);
    // SAFETY: the caller's promise: depth/32 words of each row; an offset is below the panel's depth/4 groups of 6 rows
    unsafe {
        let place = _mm512_loadu_si512(PLACE.as_ptr().cast());
        let place = _mm512_mullo_epi32(place, _mm512_set1_epi32(width));
        let group = _mm512_mullo_epi32(lane, _mm512_set1_epi32(6 * width));
        let codes = codes.as_ptr().add(at.row * (at.k / 32) + at.start / 32);
        for (r, offset) in offset.iter_mut().enumerate() {
            let codes = codes.add(r * (at.k / 32));
            let second = if at.depth > 32 { *codes.add(1) } else { 0 };
            let both = _mm512_inserti64x4::<1>(
                _mm512_set1_epi32(*codes as i32),
                _mm256_set1_epi32(second as i32),
            );
            let code = _mm512_and_si512(_mm512_srlv_epi32(both, nibble), _mm512_set1_epi32(15));
            let at = _mm512_add_epi32(group, _mm512_permutexvar_epi32(code, place));
            _mm512_storeu_si512(offset.as_mut_ptr().cast(), at);
        }
        let mut sum = load_acc::<R, V>(acc);
        for g in 0..at.depth / 4 {
            for r in 0..R {
                let w = _mm512_set1_epi32(two[r].add(g).read_unaligned().cast_signed());
                let row = panel.add(*offset.get_unchecked(r).get_unchecked(g) as usize);
                for v in 0..V {
                    let x = _mm512_loadu_si512(row.add(v * LANES).cast());
                    sum[r][v] = T::add(sum[r][v], w, x);
                }
            }
        }
        store_acc::<R, V>(acc, sum);
    }
    R
}

/// R rows of dense weights × V vectors of tokens; returns R.
///
/// # Safety
///
/// As [`sparse`]'s.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx512vnni")]
unsafe fn dense<T: Pair, const R: usize, const V: usize>(
    values: &[T],
    at: Block,
    room: &mut Room,
    panel: *const u32,
    acc: *mut f32,
) -> usize {
    let two: [_; R] = two(values, at.row, at.k, at.start, at.depth, room);
    // SAFETY: the caller's promise
    unsafe {
        let mut sum = load_acc::<R, V>(acc);
        for pair in 0..at.depth / 2 {
            let row = panel.add(pair * V * LANES);
            let x: [__m512i; V] =
                core::array::from_fn(|v| _mm512_loadu_si512(row.add(v * LANES).cast()));
            for r in 0..R {
                let w = _mm512_set1_epi32(two[r].add(pair).read_unaligned().cast_signed());
                for v in 0..V {
                    sum[r][v] = T::add(sum[r][v], w, x[v]);
                }
            }
        }
        store_acc::<R, V>(acc, sum);
    }
    R
}

/// The weights of R rows from `row` on, of `stride` elements each, in a block: `count` from `start` on, two in each 32
/// bits. Asks for the next block's, in another cache line.
#[inline(always)]
fn two<T: Pair, const R: usize>(
    values: &[T],
    row: usize,
    stride: usize,
    start: usize,
    count: usize,
    room: &mut Room,
) -> [*const u32; R] {
    let mut room = room.iter_mut();
    core::array::from_fn(|r| {
        let values = &values[(row + r) * stride + start..][..count];
        for line in values.chunks(64 / size_of::<T>()) {
            let next = line.as_ptr().wrapping_add(count);
            // SAFETY: SSE is part of x86-64, and any address will do
            unsafe { _mm_prefetch::<_MM_HINT_T0>(next.cast()) };
        }
        room.next().map_or(values.as_ptr().cast(), |room| T::two(values, room))
    })
}

/// # Safety
///
/// `acc` holds R rows of V vectors.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_acc<const R: usize, const V: usize>(acc: *const f32) -> [[__m512i; V]; R] {
    core::array::from_fn(|r| {
        core::array::from_fn(|v| {
            // SAFETY: the caller's promise
            unsafe { _mm512_loadu_si512(acc.add((r * V + v) * LANES).cast()) }
        })
    })
}

/// # Safety
///
/// `acc` has room for R rows of V vectors.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_acc<const R: usize, const V: usize>(acc: *mut f32, sum: [[__m512i; V]; R]) {
    for (r, row) in sum.iter().enumerate() {
        for (v, x) in row.iter().enumerate() {
            // SAFETY: the caller's promise
            unsafe { _mm512_storeu_si512(acc.add((r * V + v) * LANES).cast(), *x) };
        }
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
