//! Linear layers: how the products of `simd/dot.rs` and `simd/tile.rs` are cut into tasks.
//!
//! Tokens are taken [`PASS`] at a time. As dot products: tasks take rows of W, with all these tokens. With panels,
//! where those are faster: x is packed into transposed panels, and tasks take (panel, rows of W). Either way sums
//! land in scratch memory, by output feature, and the epilogue carries them to y.

use super::epilogue::Epilogue;
use super::memory::Views;
use super::simd::dot::Dot;
use super::simd::tile::{MAX_DEPTH, Pack, Tile};
use super::simd::weights::{BLOCK_ROWS, Rows};
use super::simd::{Element, Isa, Weight};
use bytemuck::Pod;
use half::{bf16, f16};
use quickpick_format::E4m3;
use quickpick_kernels::{DType, Linear, Problem, Weights};
use rayon::prelude::*;

/// Most tokens for which each output is a dot product although the set has panels: below, too few lanes of a panel
/// would be used, and 2:4 rows, which share no load of a panel's, gain less from one.
const fn dot_tokens(weights: Weights) -> usize {
    match weights {
        Weights::Sparse24 => 32,
        Weights::Dense => 8,
    }
}

fn by_dots<T: Weight>(p: &Linear, isa: Isa) -> bool {
    T::always_dots(isa) || p.n as usize <= dot_tokens(p.weights)
}

/// Tokens that one pass over W serves: bounds the scratch memory.
const PASS: usize = 256;

/// Rows of W in a task of the tiled form; a multiple of every register block.
const TILE_ROWS: usize = 192;

/// Bytes of W in a task of the dot form: enough to hide a task's cost, few enough to share out.
const DOT_BYTES: usize = 128 << 10;

/// Tokens that share a task of the epilogue where there are many; divides every full panel.
const EPILOGUE_TOKENS: usize = 16;

/// f32s of scratch: x as the products take it, then the sums.
pub(super) fn scratch(p: &Linear, isa: Isa) -> usize {
    match p.dtype {
        DType::F32 => scratch_of::<f32>(p, isa),
        DType::F16 => scratch_of::<f16>(p, isa),
        DType::BF16 => scratch_of::<bf16>(p, isa),
        DType::E4M3 => scratch_of::<E4m3>(p, isa),
        DType::I8 => scratch_of::<i8>(p, isa),
    }
}

fn scratch_of<T: Weight>(p: &Linear, isa: Isa) -> usize {
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let tokens = n.min(PASS);
    if by_dots::<T>(p, isa) {
        return aligned(T::room(isa, tokens * k)) + tokens * m;
    }
    let tokens = padded(tokens, 4 * isa.lanes(), isa);
    aligned(tokens * k) + tokens * m
}

/// The sums start at a cache line.
fn aligned(floats: usize) -> usize {
    floats.next_multiple_of(16)
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

/// Runs a layer: weights and x of T, y and residual of O. Sums of 8-bit integers are exact, and rounded once.
pub(super) fn run<T: Weight, O: Element>(
    isa: Isa,
    problem: &Problem,
    views: &mut Views<'_>,
    scratch: &mut [f32],
) {
    let Problem::Linear(p) = problem else { return };
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let Operands { weights, x, epilogue, residual, y } = Operands::<T, O>::take(p, views);
    let by_dots = by_dots::<T>(p, isa);
    for start in (0..n).step_by(PASS) {
        let tokens = start..n.min(start + PASS);
        let x = &x[tokens.start * k..tokens.end * k];
        if by_dots {
            let (room, sums) = scratch.split_at_mut(aligned(T::room(isa, x.len())));
            let sums = &mut sums[..tokens.len() * m];
            dots(isa, weights, x, k, room, sums);
            let group = if n <= dot_tokens(p.weights) { 1 } else { EPILOGUE_TOKENS };
            epilogue.run(isa, sums, tokens.len(), tokens, residual, y, group);
        } else {
            let panel = 4 * isa.lanes();
            let padded = padded(tokens.len(), panel, isa);
            let (panels, sums) = scratch.split_at_mut(aligned(padded * k));
            let (panels, sums) = (&mut panels[..padded * k], &mut sums[..padded * m]);
            tiles(isa, weights, x, k, panels, sums, (panel, m));
            epilogue.run(isa, sums, panel, tokens, residual, y, EPILOGUE_TOKENS);
        }
    }
}

fn dots<T: Weight>(
    isa: Isa,
    weights: Rows<'_, T>,
    x: &[T],
    k: usize,
    room: &mut [f32],
    sums: &mut [f32],
) {
    let (n, x) = (x.len() / k, T::prepare(isa, x, room));
    let row_bytes =
        k * size_of::<T>() * if matches!(weights, Rows::Dense(_)) { 16 } else { 9 } / 16;
    let rows = (DOT_BYTES / row_bytes).max(1).next_multiple_of(BLOCK_ROWS);
    sums.par_chunks_mut(rows * n).enumerate().for_each(|(i, out)| {
        let weights = weights.part(i * rows, out.len() / n, k);
        T::dot(isa, Dot { weights, x, k, n, out });
    });
}

/// Tokens after padding the last panel to 1, 2, 4 … vectors.
fn padded(tokens: usize, panel: usize, isa: Isa) -> usize {
    let rest = (tokens % panel).div_ceil(isa.lanes()).next_power_of_two() * isa.lanes();
    tokens / panel * panel + if tokens.is_multiple_of(panel) { 0 } else { rest }
}

fn tiles<T: Weight>(
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
