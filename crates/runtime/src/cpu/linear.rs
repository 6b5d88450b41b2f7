//! Linear layers: how the products of `simd/linear.rs` are cut into tasks.
//!
//! Few tokens ([`dot_tokens`]): x is widened to f32, tasks take rows of W. Beyond: tokens are taken
//! [`PASS`] at a time, packed into transposed panels, and tasks take (panel, rows of W). Either way
//! sums land in scratch memory, by output feature, and the epilogue carries them to y.
//!
//! bf16 and i8 go the way of tiles by pairs of inputs, where the processor multiplies those (`simd/pairs.rs`);
//! elsewhere 8-bit integers go another way to their sums: `integer.rs`.

use super::epilogue::Epilogue;
use super::integer;
use super::memory::Views;
use super::simd::linear::{Dot, MAX_DEPTH, Pack, Rows, Tile};
#[cfg(target_arch = "x86_64")]
use super::simd::pairs::{PackPairs, Pair, Pairs, TilePairs, pairs_of_group};
use super::simd::{Element, Isa, Widen};
use bytemuck::Pod;
use half::bf16;
use quickpick_kernels::{DType, Linear, Problem, Weights};
use rayon::prelude::*;

/// Most tokens for which each output is a dot product: below, too few lanes of a panel would be
/// used, and 2:4 rows, which share no load of a panel's, gain less from one.
const fn dot_tokens(weights: Weights) -> usize {
    match weights {
        Weights::Sparse24 => 16,
        Weights::Dense => 8,
    }
}

/// Tokens that one pass over W serves: bounds the scratch memory.
const PASS: usize = 256;

/// Rows of W in a task of the tiled form; a multiple of every register block.
const TILE_ROWS: usize = 48;

/// Bytes of W in a task of the dot form: enough to hide a task's cost, few enough to share out.
const DOT_BYTES: usize = 128 << 10;

/// Tokens that share a task of the epilogue in the tiled form; divides every full panel.
const EPILOGUE_TOKENS: usize = 16;

/// f32s of scratch: x as f32, then the sums.
pub(super) fn scratch(p: &Linear, isa: Isa) -> usize {
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    #[cfg(target_arch = "x86_64")]
    if by_pairs(p, isa).is_some() {
        let tokens = padded(n.min(PASS), 4 * isa.lanes(), isa);
        return tokens * k / 4 * pairs_of_group(p.weights == Weights::Sparse24) + tokens * m;
    }
    if p.dtype == DType::I8 {
        return n.min(PASS) * m;
    }
    let tokens =
        if n <= dot_tokens(p.weights) { n } else { padded(n.min(PASS), 4 * isa.lanes(), isa) };
    // the sums start at a cache line
    (tokens * k).next_multiple_of(16) + tokens * m
}

/// A layer's operands: weights and x of T, y and residual of O.
struct Operands<'a, T, O> {
    weights: Rows<'a, T>,
    x: &'a [T],
    epilogue: Epilogue<'a>,
    residual: &'a [O],
    y: &'a mut [O],
}

impl<'a, T: Pod, O: Pod> Operands<'a, T, O> {
    /// In the plan's order.
    fn take(p: &Linear, views: &mut Views<'a>) -> Self {
        let values = views.input(0);
        let (weights, x) = match p.weights {
            Weights::Sparse24 => (Rows::Sparse(values, views.input(1)), 2),
            Weights::Dense => (Rows::Dense(values), 1),
        };
        let epilogue = Epilogue {
            rule: p.epilogue,
            w_scale: views.input(x + 1),
            x_scale: views.input(x + 2),
            bias: views.input(x + 3),
            m: p.m as usize,
            n: p.n as usize,
        };
        let (residual, y) = (views.input(x + 4), views.output(x + 5));
        Self { weights, x: views.input(x), epilogue, residual, y }
    }
}

/// Runs a layer of I8: sums in i32, exact, rounded once.
pub(super) fn run_i8<O: Element>(
    isa: Isa,
    problem: &Problem,
    views: &mut Views<'_>,
    scratch: &mut [f32],
) {
    let Problem::Linear(p) = problem else { return };
    #[cfg(target_arch = "x86_64")]
    if let Some(pairs) = by_pairs(p, isa) {
        return run_pairs::<i8, O>(pairs, isa, p, views, scratch);
    }
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let Operands { weights, x, epilogue, residual, y } = Operands::<i8, O>::take(p, views);
    for start in (0..n).step_by(PASS) {
        let tokens = start..n.min(start + PASS);
        let sums = &mut scratch[..tokens.len() * m];
        integer::products(weights, &x[tokens.start * k..tokens.end * k], k, sums);
        epilogue.run(isa, sums, tokens.len(), tokens, residual, y, EPILOGUE_TOKENS);
    }
}

/// Runs a layer of floats: weights and x of T, y and residual of O.
pub(super) fn run<T: Element, O: Element>(
    isa: Isa,
    problem: &Problem,
    views: &mut Views<'_>,
    scratch: &mut [f32],
) {
    let Problem::Linear(p) = problem else { return };
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let Operands { weights, x, epilogue, residual, y } = Operands::<T, O>::take(p, views);
    if n <= dot_tokens(p.weights) {
        let (wide, sums) = scratch.split_at_mut((n * k).next_multiple_of(16));
        let sums = &mut sums[..n * m];
        dot(isa, weights, x, k, &mut wide[..n * k], sums);
        epilogue.run(isa, sums, n, 0..n, residual, y, 1);
        return;
    }
    let panel = 4 * isa.lanes();
    for start in (0..n).step_by(PASS) {
        let tokens = start..n.min(start + PASS);
        let padded = padded(tokens.len(), panel, isa);
        let (panels, sums) = scratch.split_at_mut((padded * k).next_multiple_of(16));
        let (panels, sums) = (&mut panels[..padded * k], &mut sums[..padded * m]);
        let x = &x[tokens.start * k..tokens.end * k];
        tiles(isa, weights, x, k, panels, sums, (panel, m));
        epilogue.run(isa, sums, panel, tokens, residual, y, EPILOGUE_TOKENS);
    }
}

/// Most tokens of bf16 for which each output is a dot product even where pairs can be multiplied.
#[cfg(target_arch = "x86_64")]
const PAIR_DOT_TOKENS: u32 = 4;

/// Rows of W in a task by pairs: enough that a panel block, brought to the first cache, serves many.
#[cfg(target_arch = "x86_64")]
const PAIR_ROWS: usize = 96;

#[cfg(target_arch = "x86_64")]
fn by_pairs(p: &Linear, isa: Isa) -> Option<Pairs> {
    isa.pairs().filter(|_| match p.dtype {
        DType::BF16 => p.n > PAIR_DOT_TOKENS,
        other => other == DType::I8,
    })
}

/// Runs a layer of bf16, y and residual of O.
pub(super) fn run_bf16<O: Element>(
    isa: Isa,
    problem: &Problem,
    views: &mut Views<'_>,
    scratch: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if let Problem::Linear(p) = problem
        && let Some(pairs) = by_pairs(p, isa)
    {
        return run_pairs::<bf16, O>(pairs, isa, p, views, scratch);
    }
    run::<bf16, O>(isa, problem, views, scratch)
}

#[cfg(target_arch = "x86_64")]
fn run_pairs<T: Pair, O: Element>(
    pairs: Pairs,
    isa: Isa,
    p: &Linear,
    views: &mut Views<'_>,
    scratch: &mut [f32],
) {
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let Operands { weights, x, epilogue, residual, y } = Operands::<T, O>::take(p, views);
    let sparse = p.weights == Weights::Sparse24;
    // words of a panel for each token
    let words = k / 4 * pairs_of_group(sparse);
    for start in (0..n).step_by(PASS) {
        let tokens = start..n.min(start + PASS);
        // under 2:4 weights, eight vectors share a broadcast, where no more tokens are padded for it
        let [four, eight] = [4, 8].map(|vectors| vectors * isa.lanes());
        let padded_to = |panel| padded(tokens.len(), panel, isa);
        let wide = sparse && padded_to(eight) == padded_to(four);
        let panel = if wide { eight } else { four };
        let padded = padded_to(four);
        let (panels, sums) = scratch.split_at_mut(padded * words);
        let (panels, sums) =
            (bytemuck::cast_slice_mut::<f32, u32>(panels), &mut sums[..padded * m]);
        let x = &x[tokens.start * k..tokens.end * k];
        panels.par_chunks_mut(panel * words).zip(x.par_chunks(panel * k)).for_each(|(panel, x)| {
            let width = panel.len() / words;
            let part = PACK_COLUMNS / 4 * pairs_of_group(sparse) * width;
            panel.par_chunks_mut(part).enumerate().for_each(|(i, panel)| {
                pairs.pack(PackPairs { x, k, start: i * PACK_COLUMNS, width, sparse, panel });
            });
        });
        let panels = &*panels;
        sums.par_chunks_mut(panel * m).zip(panels.par_chunks(panel * words)).for_each(
            |(acc, panel)| {
                let width = acc.len() / m;
                acc.par_chunks_mut(PAIR_ROWS * width).enumerate().for_each(|(i, acc)| {
                    let weights = weights.part(i * PAIR_ROWS, acc.len() / width, k);
                    pairs.tile(TilePairs { weights, panel, k, acc });
                });
            },
        );
        epilogue.run(isa, sums, panel, tokens, residual, y, EPILOGUE_TOKENS);
    }
}

/// Columns of x in a task of packing pairs.
#[cfg(target_arch = "x86_64")]
const PACK_COLUMNS: usize = 512;

/// Tokens after padding the last panel to 1, 2, 4 … vectors.
fn padded(tokens: usize, panel: usize, isa: Isa) -> usize {
    let rest = (tokens % panel).div_ceil(isa.lanes()).next_power_of_two() * isa.lanes();
    tokens / panel * panel + if tokens.is_multiple_of(panel) { 0 } else { rest }
}

fn dot<T: Element>(
    isa: Isa,
    weights: Rows<'_, T>,
    x: &[T],
    k: usize,
    wide: &mut [f32],
    sums: &mut [f32],
) {
    isa.run(Widen { from: x, to: &mut *wide });
    let (n, wide) = (x.len() / k, &*wide);
    let row_bytes =
        k * size_of::<T>() * if matches!(weights, Rows::Dense(_)) { 16 } else { 9 } / 16;
    let rows = (DOT_BYTES / row_bytes).next_multiple_of(4);
    let task = |(i, out): (usize, &mut [f32])| {
        let weights = weights.part(i * rows, out.len() / n, k);
        isa.run(Dot { weights, x: wide, k, out });
    };
    sums.par_chunks_mut(rows * n).enumerate().for_each(task);
}

fn tiles<T: Element>(
    isa: Isa,
    weights: Rows<'_, T>,
    x: &[T],
    k: usize,
    panels: &mut [f32],
    sums: &mut [f32],
    (panel, m): (usize, usize),
) {
    panels.par_chunks_mut(panel * k).zip(x.par_chunks(panel * k)).for_each(|(panel, x)| {
        let width = panel.len() / k;
        panel.par_chunks_mut(MAX_DEPTH * width).enumerate().for_each(|(i, panel)| {
            isa.run(Pack { x, k, start: i * MAX_DEPTH, width, panel });
        });
    });
    sums.par_chunks_mut(panel * m).zip(panels.par_chunks(panel * k)).for_each(|(acc, panel)| {
        let width = acc.len() / m;
        acc.par_chunks_mut(TILE_ROWS * width).enumerate().for_each(|(i, acc)| {
            let weights = weights.part(i * TILE_ROWS, acc.len() / width, k);
            isa.run(Tile { weights, panel, k, acc });
        });
    });
}
