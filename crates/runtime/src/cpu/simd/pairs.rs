//! Products of bf16 by pairs: AVX512_BF16's `vdpbf16ps` adds two of them to each of 16 sums in f32.
//!
//! Lanes are tokens, and a lane's 32 bits hold two inputs of its token. Dense weights meet the inputs two by two.
//! Of a group of four, a row of 2:4 weights keeps one of six pairs, so a panel holds all six; the two kept weights
//! lie side by side, 32 bits as well. That makes one multiply-add a group, where dense weights take two.

use super::linear::Rows;
use core::arch::x86_64::*;
use half::bf16;

/// Proof that the processor has AVX-512 F, BW and BF16.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Pairs(());

/// Tokens in a vector.
const LANES: usize = 16;

/// Columns of W in a block: the six pairs of each of its groups by 128 tokens take 48 KB, which the second cache
/// hands over as fast as they are used; half of it, for the first cache, would carry the sums twice as often.
const DEPTH: usize = 64;

/// Groups of a block.
const GROUPS: usize = DEPTH / 4;

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

/// x, `tokens × k`, columns `start..`, as rows of a panel, `panel[row·width + t]`; zero for tokens that are not
/// there.
pub(in crate::cpu) struct PackPairs<'a> {
    pub x: &'a [bf16],
    pub k: usize,
    pub start: usize,
    pub width: usize,
    /// For 2:4 weights.
    pub sparse: bool,
    pub panel: &'a mut [u32],
}

/// `acc[r·width + t] = Σ W[r]·x[t]`; the panel as [`PackPairs`] makes it of all k columns, acc `rows × width`; width 1,
/// 2, 4 or 8 vectors.
pub(in crate::cpu) struct TilePairs<'a> {
    pub weights: Rows<'a, bf16>,
    pub panel: &'a [u32],
    pub k: usize,
    pub acc: &'a mut [f32],
}

impl Pairs {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16");
        has.then_some(Self(()))
    }

    pub(in crate::cpu) fn pack(self, job: PackPairs<'_>) {
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

    pub(in crate::cpu) fn tile(self, job: TilePairs<'_>) {
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
                1 => blocks::<1>(weights, panel, k, acc),
                2 => blocks::<2>(weights, panel, k, acc),
                4 => blocks::<4>(weights, panel, k, acc),
                _ => {
                    assert_eq!(width, 8 * LANES, "a panel of 1, 2, 4 or 8 vectors");
                    blocks::<8>(weights, panel, k, acc)
                }
            }
        }
    }
}

/// # Safety
///
/// `start + depth <= k`, all multiples of 4, where the panel has `depth/4` groups of rows of `width`, a multiple of
/// [`LANES`]; x has whole rows of k.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack(x: &[bf16], k: usize, start: usize, width: usize, sparse: bool, panel: &mut [u32]) {
    let tokens = x.len() / k;
    let rows = pairs_of_group(sparse);
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let index = _mm512_mullo_epi32(lane, _mm512_set1_epi32((k / 2) as i32));
    let (zero, upper) = (_mm512_setzero_si512(), _mm512_set1_epi32(0xFFFF_0000u32 as i32));
    for t in (0..width).step_by(LANES) {
        let mask = match tokens.saturating_sub(t) {
            LANES.. => u16::MAX,
            here => (1 << here) - 1,
        };
        let x = x.as_ptr().wrapping_add(t * k + start).cast::<i32>();
        for (group, panel) in panel.chunks_exact_mut(rows * width).enumerate() {
            let x = x.wrapping_add(2 * group);
            // SAFETY: lanes of tokens that are there read columns below k of their rows; `panel` has `rows` rows
            // of `width` words
            unsafe {
                let first = _mm512_mask_i32gather_epi32::<4>(zero, mask, index, x);
                let last = _mm512_mask_i32gather_epi32::<4>(zero, mask, index, x.wrapping_add(1));
                let to = panel.as_mut_ptr().add(t).cast::<i32>();
                let store =
                    |row: usize, pair| _mm512_storeu_si512(to.add(row * width).cast(), pair);
                store(0, first);
                store(rows - 1, last);
                if sparse {
                    let (x0, x1) =
                        (_mm512_andnot_si512(upper, first), _mm512_srli_epi32::<16>(first));
                    let (x2, x3) = (_mm512_slli_epi32::<16>(last), _mm512_and_si512(upper, last));
                    store(1, _mm512_or_si512(x0, x2));
                    store(2, _mm512_or_si512(x0, x3));
                    store(3, _mm512_or_si512(x1, x2));
                    store(4, _mm512_or_si512(x1, x3));
                }
            }
        }
    }
}

/// # Safety
///
/// The panel has the pairs of k columns by V vectors; acc whole rows of as many, which `weights` has.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn blocks<const V: usize>(
    weights: Rows<'_, bf16>,
    panel: &[u32],
    k: usize,
    acc: &mut [f32],
) {
    let width = V * LANES;
    let rows = acc.len() / width;
    for start in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - start);
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
                            (3.., 8) => sparse::<3, V>(v, c, at, panel, acc),
                            (6.., 4) => sparse::<6, V>(v, c, at, panel, acc),
                            (4.., 1..=4) => sparse::<4, V>(v, c, at, panel, acc),
                            _ => sparse::<1, V>(v, c, at, panel, acc),
                        }
                    }
                    Rows::Dense(w) => {
                        let panel = panel.as_ptr().add(start / 2 * width);
                        match (left, V) {
                            (6.., 1..=4) => dense::<6, V>(w, at, panel, acc),
                            (2.., _) => dense::<2, V>(w, at, panel, acc),
                            _ => dense::<1, V>(w, at, panel, acc),
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
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn sparse<const R: usize, const V: usize>(
    values: &[bf16],
    codes: &[u32],
    at: Block,
    panel: *const u32,
    acc: *mut f32,
) -> usize {
    let width = (V * LANES) as i32;
    let nibble = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut offset = [[0u32; GROUPS]; R];
    // SAFETY: the caller's promise: depth/32 words and depth/2 values of each row; an offset is below the
    // panel's depth/4 groups of 6 rows
    unsafe {
        let place = _mm512_loadu_si512(PLACE.as_ptr().cast());
        let place = _mm512_mullo_epi32(place, _mm512_set1_epi32(width));
        let group = _mm512_mullo_epi32(lane, _mm512_set1_epi32(6 * width));
        let values = values.as_ptr().add(at.row * (at.k / 2) + at.start / 2);
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
        for r in 0..R {
            // the next block's, in another line
            let next = values.wrapping_add(r * (at.k / 2) + DEPTH / 2);
            _mm_prefetch::<_MM_HINT_T0>(next.cast());
        }
        let mut sum = load_acc::<R, V>(acc);
        for g in 0..at.depth / 4 {
            for r in 0..R {
                let kept = values.add(r * (at.k / 2) + 2 * g).cast::<i32>().read_unaligned();
                let w: __m512bh = core::mem::transmute(_mm512_set1_epi32(kept));
                let row = panel.add(*offset.get_unchecked(r).get_unchecked(g) as usize);
                for v in 0..V {
                    let x = core::mem::transmute(_mm512_loadu_si512(row.add(v * LANES).cast()));
                    sum[r][v] = _mm512_dpbf16_ps(sum[r][v], w, x);
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
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn dense<const R: usize, const V: usize>(
    values: &[bf16],
    at: Block,
    panel: *const u32,
    acc: *mut f32,
) -> usize {
    // SAFETY: the caller's promise
    unsafe {
        let values = values.as_ptr().add(at.row * at.k + at.start);
        for r in 0..R {
            let next = values.wrapping_add(r * at.k + DEPTH);
            _mm_prefetch::<_MM_HINT_T0>(next.cast());
            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(32).cast());
        }
        let mut sum = load_acc::<R, V>(acc);
        for pair in 0..at.depth / 2 {
            let row = panel.add(pair * V * LANES);
            let x: [__m512bh; V] = core::array::from_fn(|v| {
                core::mem::transmute(_mm512_loadu_si512(row.add(v * LANES).cast()))
            });
            for r in 0..R {
                let two = values.add(r * at.k + 2 * pair).cast::<i32>().read_unaligned();
                let w: __m512bh = core::mem::transmute(_mm512_set1_epi32(two));
                for v in 0..V {
                    sum[r][v] = _mm512_dpbf16_ps(sum[r][v], w, x[v]);
                }
            }
        }
        store_acc::<R, V>(acc, sum);
    }
    R
}

/// # Safety
///
/// `acc` holds R rows of V vectors.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_acc<const R: usize, const V: usize>(acc: *const f32) -> [[__m512; V]; R] {
    // SAFETY: the caller's promise
    let row =
        |r| core::array::from_fn(|v| unsafe { _mm512_loadu_ps(acc.add((r * V + v) * LANES)) });
    core::array::from_fn(row)
}

/// # Safety
///
/// `acc` has room for R rows of V vectors.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_acc<const R: usize, const V: usize>(acc: *mut f32, sum: [[__m512; V]; R]) {
    for (r, row) in sum.iter().enumerate() {
        for (v, x) in row.iter().enumerate() {
            // SAFETY: the caller's promise
            unsafe { _mm512_storeu_ps(acc.add((r * V + v) * LANES), *x) };
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
