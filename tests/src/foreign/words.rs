//! Kernels of integers: every bit of their output is fixed.

use super::{Arg, Bytes, Expected, Foreign, filled};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// `transpose.cu`, with tiles that hang over both edges.
pub fn transpose(rows: usize, cols: usize) -> Foreign {
    let mut rng = SmallRng::seed_from_u64(1);
    let x: Vec<u32> = (0..rows * cols).map(|_| rng.random()).collect();
    let y: Vec<u32> = (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect();
    Foreign {
        name: "transpose",
        arch: "compute_80",
        grid: [cols.div_ceil(32) as u32, rows.div_ceil(32) as u32, 1],
        block: [32, 8, 1],
        args: vec![
            Arg::In(x.bytes()),
            filled(Expected::Bytes(y.bytes())),
            Arg::U32(rows as u32),
            Arg::U32(cols as u32),
        ],
    }
}

/// `histogram.cu`: three blocks meet in the same bins.
pub fn histogram(n: usize) -> Foreign {
    let mut rng = SmallRng::seed_from_u64(2);
    // few values, so that lanes of one warp collide
    let x: Vec<u8> = (0..n).map(|_| rng.random_range(40..90)).collect();
    let before: Vec<u32> = (0..256).map(|_| rng.random_range(0..1000)).collect();
    let mut bins = before.clone();
    for &v in &x {
        bins[v as usize] += 1;
    }
    let most = x.iter().copied().max().unwrap_or(0) as u32;
    Foreign {
        name: "histogram",
        arch: "compute_80",
        grid: [3, 1, 1],
        block: [128, 1, 1],
        args: vec![
            Arg::In(x),
            Arg::U32(n as u32),
            Arg::Out { before: Some(before.bytes()), expected: Expected::Bytes(bins.bytes()) },
            Arg::Out { before: Some([7u32].bytes()), expected: Expected::Bytes([most].bytes()) },
        ],
    }
}

/// `integers.cu`: words of all lengths and both signs, and the ends of their ranges.
pub fn integers(n: usize) -> Foreign {
    let mut rng = SmallRng::seed_from_u64(3);
    let ends = [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, u32::MAX as u64, 1 << 32, 1 << 31];
    let mut word = |i: usize| match ends.get(i) {
        Some(&end) => end,
        None => rng.random::<u64>() >> rng.random_range(0..64),
    };
    let a: Vec<u64> = (0..n).map(|i| word(i / 8)).collect();
    let b: Vec<u64> = (0..n).map(|i| word(i % 8 + 8 * (i / 64)).max(1)).collect();
    let out: Vec<u64> = a.iter().zip(&b).flat_map(|(&x, &y)| words_of(x, y)).collect();
    Foreign {
        name: "integers",
        arch: "compute_80",
        grid: [n.div_ceil(128) as u32, 1, 1],
        block: [128, 1, 1],
        args: vec![
            Arg::In(a.bytes()),
            Arg::In(b.bytes()),
            filled(Expected::Bytes(out.bytes())),
            Arg::U32(n as u32),
        ],
    }
}

/// The eight words that `integers.cu` makes of a pair.
fn words_of(x: u64, y: u64) -> [u64; 8] {
    let (xl, xh, yl) = (x as u32, (x >> 32) as u32, y as u32);
    let signed = x as i64 / (((y as i64 >> 3) & !1) | 2);
    let rest = xh as i32 % (((yl as i32 >> 2) & !1) | 2);
    let high = (x as u128 * y as u128) >> 64;
    let high32 = (xl as i32 as i64 * yl as i32 as i64) >> 32;
    let first_set = if xh == 0 { 0 } else { xh.trailing_zeros() + 1 };
    let counts = [x.count_ones(), x.leading_zeros(), yl.count_ones(), yl.leading_zeros()];
    let counts = u32::from_le_bytes(counts.map(|c| c as u8));
    let picked = [0, 4, 8, 12].map(|at| x.to_le_bytes()[(yl >> at & 7) as usize]);
    [
        x / y,
        x % y,
        signed as u64,
        ((xl / (yl | 1)) as u64) << 32 | rest as u32 as u64,
        high as u64 ^ high32 as u64,
        counts as u64 | ((xl.reverse_bits() & 0xFFFF) as u64) << 32 | (first_set as u64) << 48,
        (x << (yl % 32)) >> 32 << 32 | (x >> (yl % 32)) & 0xFFFF_FFFF,
        mix(x.wrapping_add(y)) ^ crc32(x) as u64 ^ (u32::from_le_bytes(picked) as u64) << 32,
    ]
}

/// The CRC of zip and PNG, of eight bytes.
fn crc32(word: u64) -> u32 {
    !word.to_le_bytes().iter().fold(!0, |crc, &byte| {
        (0..8).fold(
            crc ^ byte as u32,
            |crc: u32, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }
            },
        )
    })
}

fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h ^= h >> 29;
    h = h.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ h >> 32
}

/// `votes.cu`: warps that keep some, all and none.
pub fn votes() -> Foreign {
    const MASK: u32 = 0x6;
    const LIMIT: u32 = 1 << 20;
    let mut rng = SmallRng::seed_from_u64(4);
    // per warp: the bits that may be set, and those that are
    let kinds = [(!0, 0), (!1, 0), (!MASK, 0), (!0, 2), (LIMIT - 1, 0), ((LIMIT - 1) & !MASK, 0)];
    let mut x = Vec::new();
    for (may, must) in kinds {
        x.extend((0..32).map(|_| rng.random::<u32>() & may | must));
    }
    let before: Vec<u32> = vec![0xAAAA_AAAA; x.len()];
    let (mut out, mut counts) = (before.clone(), Vec::new());
    for (warp, part) in x.chunks(32).zip(out.chunks_mut(32)) {
        let kept: Vec<u32> = warp.iter().copied().filter(|v| v & MASK != 0).collect();
        if let Some(&first) = kept.first() {
            part.fill(first);
            part[..kept.len()].copy_from_slice(&kept);
        }
        let odd = warp.iter().any(|v| v & 1 == 1);
        let below = warp.iter().all(|&v| v < LIMIT);
        counts.push(kept.len() as u32 | (odd as u32) << 8 | (below as u32) << 9);
    }
    Foreign {
        name: "votes",
        arch: "compute_80",
        grid: [2, 1, 1],
        block: [96, 1, 1],
        args: vec![
            Arg::In(x.bytes()),
            Arg::Out { before: Some(before.bytes()), expected: Expected::Bytes(out.bytes()) },
            filled(Expected::Bytes(counts.bytes())),
            Arg::U32(MASK),
            Arg::U32(LIMIT),
        ],
    }
}
