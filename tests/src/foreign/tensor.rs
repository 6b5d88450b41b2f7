//! Kernels on tensor units.

use super::{Arg, Bytes, Expected, Foreign, Near, OPEN, filled};
use half::f16;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn halves(seed: u64, n: usize) -> Vec<f16> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..n).map(|_| f16::from_f32(rng.random_range(-2.0..2.0))).collect()
}

fn bytes(x: &[f16]) -> Vec<u8> {
    x.iter().map(|v| v.to_bits()).collect::<Vec<_>>().bytes()
}

/// C, whose elements are sums of k products that the units add in any order, rounding each time.
fn product(m: usize, n: usize, k: usize, term: impl Fn(usize, usize, usize) -> f64) -> Expected {
    let element = |i: usize| Near::sum((0..k).map(|j| term(i / n, j, i % n)), k, OPEN);
    Expected::Near((0..m * n).map(element).collect())
}

/// `mma_gemm.cu`: m and n multiples of 64, k of 32.
pub fn mma_gemm(m: usize, n: usize, k: usize) -> Foreign {
    let (a, b) = (halves(21, m * k), halves(22, k * n));
    let c = product(m, n, k, |row, j, col| a[row * k + j].to_f64() * b[j * n + col].to_f64());
    Foreign {
        name: "mma_gemm",
        arch: "compute_80",
        grid: [n as u32 / 64, m as u32 / 64, 1],
        block: [128, 1, 1],
        args: vec![
            Arg::In(bytes(&a)),
            Arg::In(bytes(&b)),
            filled(c),
            Arg::U32(n as u32),
            Arg::U32(k as u32),
        ],
    }
}

/// `mma_sparse.cu`: m, n, k multiples of 16, 8, 64.
pub fn mma_sparse(m: usize, n: usize, k: usize) -> Foreign {
    let (kept, b) = (halves(23, m * k / 2), halves(24, n * k));
    let mut rng = SmallRng::seed_from_u64(25);
    // of each four columns, the two that are kept: bits 1:0 the first, bits 3:2 the second
    let fours: Vec<u16> =
        (0..m * k / 4).map(|_| [0x4, 0x8, 0x9, 0xC, 0xD, 0xE][rng.random_range(0..6)]).collect();
    let codes: Vec<u16> = fours
        .as_chunks::<4>()
        .0
        .iter()
        .map(|f| f[0] | f[1] << 4 | f[2] << 8 | f[3] << 12)
        .collect();
    let a = |row: usize, col: usize| {
        let four = (row * k + col) / 4;
        let at = col as u16 % 4;
        match fours[four] {
            code if code & 3 == at => kept[2 * four].to_f64(),
            code if code >> 2 == at => kept[2 * four + 1].to_f64(),
            _ => 0.0,
        }
    };
    let c = product(m, n, k, |row, j, col| a(row, j) * b[col * k + j].to_f64());
    Foreign {
        name: "mma_sparse",
        arch: "compute_80",
        grid: [n as u32 / 8, m as u32 / 16, 1],
        block: [32, 1, 1],
        args: vec![
            Arg::In(bytes(&kept)),
            Arg::In(codes.bytes()),
            Arg::In(bytes(&b)),
            filled(c),
            Arg::U32(n as u32),
            Arg::U32(k as u32),
        ],
    }
}
