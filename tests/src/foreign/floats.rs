//! Kernels of floats without tensor units.

use super::{Arg, Bytes, Expected, Foreign, NEAREST, Near, filled};
use half::{bf16, f16};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn floats(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..2.0)).collect()
}

/// `block_sum.cu`: three blocks of 128 threads stride over n elements.
pub fn block_sum(n: usize) -> Foreign {
    let (blocks, threads) = (3, 128);
    let x = floats(11, n);
    let of = |block: usize| {
        let mine = move |&(i, _): &(usize, &f32)| i / threads % blocks == block;
        Near::sum(x.iter().enumerate().filter(mine).map(|(_, &v)| v as f64), n, NEAREST)
    };
    let sums = (0..blocks).map(of).collect();
    Foreign {
        name: "block_sum",
        arch: "compute_80",
        grid: [blocks as u32, 1, 1],
        block: [threads as u32, 1, 1],
        args: vec![Arg::In(x.bytes()), filled(Expected::Near(sums)), Arg::U32(n as u32)],
    }
}

/// `matmul.cu`.
pub fn matmul(m: usize, n: usize, k: usize) -> Foreign {
    let (a, b) = (floats(12, m * k), floats(13, k * n));
    let element = |i: usize| {
        let (row, col) = (i / n, i % n);
        let terms = (0..k).map(|j| a[row * k + j] as f64 * b[j * n + col] as f64);
        Near::sum(terms, k, NEAREST) // one fma each
    };
    let c = (0..m * n).map(element).collect();
    Foreign {
        name: "matmul",
        arch: "compute_80",
        grid: [n.div_ceil(16) as u32, m.div_ceil(16) as u32, 1],
        block: [16, 16, 1],
        args: vec![
            Arg::In(a.bytes()),
            Arg::In(b.bytes()),
            filled(Expected::Near(c)),
            Arg::U32(m as u32),
            Arg::U32(n as u32),
            Arg::U32(k as u32),
        ],
    }
}

/// `split_sum.cu`: `splits` blocks for each row, `piece` elements each.
pub fn split_sum(rows: usize, splits: usize, piece: usize) -> Foreign {
    let cols = splits * piece;
    let x = floats(14, rows * cols);
    let sums = |len: usize| -> Vec<Near> {
        let sum = |c: &[f32]| Near::sum(c.iter().map(|&v| v as f64), len, NEAREST);
        x.chunks(len).map(sum).collect()
    };
    let counters = vec![0u32; rows].bytes();
    Foreign {
        name: "split_sum",
        arch: "compute_80",
        grid: [splits as u32, rows as u32, 1],
        block: [64, 1, 1],
        args: vec![
            Arg::In(x.bytes()),
            filled(Expected::Near(sums(piece))),
            Arg::Out { before: Some(counters.clone()), expected: Expected::Bytes(counters) },
            filled(Expected::Near(sums(cols))),
            Arg::U32(cols as u32),
        ],
    }
}

/// `halves.cu`, for n pairs. The inputs have few bits, so that a · b + c is exact in f32 and the
/// kernel's one rounding to 16 bits is the only one.
pub fn halves(n: usize) -> Foreign {
    const LIMIT: f32 = 2.5;
    let mut rng = SmallRng::seed_from_u64(15);
    let mut few = |unit: f32| -> Vec<f32> {
        (0..2 * n).map(|_| rng.random_range(-32..32) as f32 * unit).collect()
    };
    let [a, b, c] = [0.125, 0.0625, 0.0625].map(&mut few);
    let [p, q, r] = [0.125, 0.125, 0.25].map(&mut few);
    let h: Vec<f32> = (0..2 * n)
        .map(|i| {
            let x = f16::from_f32((a[i] * b[i] + c[i]).max(0.0)).to_f32();
            if x > LIMIT { x / 2.0 } else { x }
        })
        .collect();
    let g: Vec<f32> =
        (0..2 * n).map(|i| bf16::from_f32((p[i] * q[i] + r[i]).max(0.0)).to_f32()).collect();
    let wide: Vec<f32> = h
        .as_chunks::<2>()
        .0
        .iter()
        .zip(g.as_chunks::<2>().0)
        .flat_map(|(h, g)| [h[0] + h[1], g[0] + g[1]])
        .collect();
    let f16s =
        |x: &[f32]| x.iter().map(|&v| f16::from_f32(v).to_bits()).collect::<Vec<_>>().bytes();
    let bf16s =
        |x: &[f32]| x.iter().map(|&v| bf16::from_f32(v).to_bits()).collect::<Vec<_>>().bytes();
    Foreign {
        name: "halves",
        arch: "compute_80",
        grid: [n.div_ceil(96) as u32, 1, 1],
        block: [96, 1, 1],
        args: vec![
            Arg::In(f16s(&a)),
            Arg::In(f16s(&b)),
            Arg::Out { before: Some(f16s(&c)), expected: Expected::Bytes(f16s(&h)) },
            Arg::In(bf16s(&p)),
            Arg::In(bf16s(&q)),
            Arg::Out { before: Some(bf16s(&r)), expected: Expected::Bytes(bf16s(&g)) },
            filled(Expected::Bytes(wide.bytes())),
            Arg::F32(LIMIT),
            Arg::U32(n as u32),
        ],
    }
}

/// `bulk_scale.cu`: two blocks take turns at `tiles` tiles.
pub fn bulk_scale(tiles: usize) -> Foreign {
    const FACTOR: f32 = 1.7;
    let n = 1024 * tiles;
    let x = floats(16, n);
    let y: Vec<f32> = x.iter().map(|v| v * FACTOR).collect();
    Foreign {
        name: "bulk_scale",
        arch: "compute_90a",
        grid: [2, 1, 1],
        block: [128, 1, 1],
        args: vec![
            Arg::In(x.bytes()),
            filled(Expected::Bytes(y.bytes())),
            Arg::F32(FACTOR),
            Arg::U32(n as u32),
        ],
    }
}
