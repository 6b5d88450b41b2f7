//! Linear layers: how the products of `simd/dot.rs` and `simd/tile.rs` are cut into tasks.
//!
//! Tokens are taken [`PASS`] at a time. As dot products: tasks take rows of W, with all these tokens. With panels,
//! where those are faster: x is packed into transposed panels, and tasks take (panel, rows of W). Either way sums
//! land in scratch memory, by output feature, and the epilogue carries them to y.

use super::epilogue::Epilogue;
use super::memory::Views;
use super::simd::dot::Dot;
use super::simd::tile::Tile;
use super::simd::weights::{BLOCK_ROWS, Rows};
use super::simd::{Element, Isa, Weight};
use bytemuck::Pod;
use half::{bf16, f16};
use quickpick_format::E4m3;
use quickpick_kernels::{DType, Linear, Problem, Weights};
use rayon::prelude::*;
use std::ops::{Range, RangeInclusive};

/// Tokens that one pass over W serves, at most: bounds the scratch memory.
const PASS: usize = 256;

/// Rows of W in a task with panels: at least enough for a part of a panel to be worth its way to the first cache, at
/// most what leaves the sums room in the second.
const TILE_ROWS: RangeInclusive<usize> = 96..=480;

/// A multiple of all rows that are multiplied at once.
const ROW_STEP: usize = 12;

/// Tasks for each thread, so that none waits long for the last.
const TASKS: usize = 4;

/// Columns of x in a task of packing.
const PACK_COLUMNS: usize = 512;

/// Bytes of W in a task of the dot form: enough to hide a task's cost, few enough to share out.
const DOT_BYTES: usize = 128 << 10;

/// Tokens that share a task of the epilogue where there are many; divides every panel.
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
    let (m, k) = (p.m as usize, p.k as usize);
    let needs = passes::<T>(isa, p).map(|(tokens, width)| match width {
        None => aligned(T::room(isa, tokens.len() * k)) + tokens.len() * m,
        Some(width) => tokens.len().next_multiple_of(width) * (T::panel_rows(isa, k) + m),
    });
    needs.max().unwrap_or(0)
}

/// The passes over W: which tokens each serves, and the width of the panels if it takes such: whole ones, and a last one
/// if it is so full that dot products would take longer. They hold many sums; with few registers they read inputs often.
fn passes<T: Weight>(isa: Isa, p: &Linear) -> impl Iterator<Item = (Range<usize>, Option<usize>)> {
    let (n, panel) = (p.n as usize, T::panel(isa, p.weights));
    let share = if isa.registers() == 32 { 2 } else { 4 };
    let by_panels = match panel {
        Some(width) if n % width > width / share => n,
        Some(width) => n / width * width,
        None => 0,
    };
    let parts = move |all: Range<usize>, width| {
        let end = all.end;
        all.step_by(PASS).map(move |start| (start..end.min(start + PASS), width))
    };
    parts(0..by_panels, panel).chain(parts(by_panels..n, None))
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
    for (tokens, width) in passes::<T>(isa, p) {
        let x = &x[tokens.start * k..tokens.end * k];
        let (sums, width) = match width {
            None => (dots(isa, weights, x, k, m, scratch), tokens.len()),
            Some(width) => (tiles(isa, weights, x, k, m, width, scratch), width),
        };
        let group = if n < EPILOGUE_TOKENS { 1 } else { EPILOGUE_TOKENS };
        epilogue.run(isa, sums, width, tokens, residual, y, group);
    }
}

/// Sums of all tokens in one block.
fn dots<'a, T: Weight>(
    isa: Isa,
    weights: Rows<'_, T>,
    x: &[T],
    k: usize,
    m: usize,
    scratch: &'a mut [f32],
) -> &'a mut [f32] {
    let n = x.len() / k;
    let (room, sums) = scratch.split_at_mut(aligned(T::room(isa, x.len())));
    let (x, sums) = (T::prepare(isa, x, room), &mut sums[..n * m]);
    let row_bytes =
        k * size_of::<T>() * if matches!(weights, Rows::Dense(_)) { 16 } else { 9 } / 16;
    let rows = (DOT_BYTES / row_bytes).max(1).next_multiple_of(BLOCK_ROWS);
    sums.par_chunks_mut(rows * n).enumerate().for_each(|(i, out)| {
        let weights = weights.part(i * rows, out.len() / n, k);
        T::dot(isa, Dot { weights, x, k, n, out });
    });
    sums
}

/// Sums in a block for each panel.
fn tiles<'a, T: Weight>(
    isa: Isa,
    weights: Rows<'_, T>,
    x: &[T],
    k: usize,
    m: usize,
    width: usize,
    scratch: &'a mut [f32],
) -> &'a mut [f32] {
    let panels = (x.len() / k).div_ceil(width);
    let panel = T::panel_rows(isa, k) * width;
    let (packed, sums) = scratch.split_at_mut(panels * panel);
    packed.par_chunks_mut(panel).zip(x.par_chunks(width * k)).for_each(|(panel, x)| {
        panel.par_chunks_mut(PACK_COLUMNS * width).enumerate().for_each(|(i, panel)| {
            T::pack(isa, x, k, i * PACK_COLUMNS, width, panel);
        });
    });
    let (packed, sums) = (&*packed, &mut sums[..panels * width * m]);
    let rows = tile_rows(m, panels, rayon::current_num_threads());
    sums.par_chunks_mut(width * m).zip(packed.par_chunks(panel)).for_each(|(acc, panel)| {
        acc.par_chunks_mut(rows * width).enumerate().for_each(|(i, acc)| {
            let weights = weights.part(i * rows, acc.len() / width, k);
            T::tile(isa, Tile { weights, panel, k, acc });
        });
    });
    sums
}

/// Rows of W in a task: as few as make enough tasks, and as many for each thread.
fn tile_rows(m: usize, panels: usize, threads: usize) -> usize {
    let tasks = m.div_ceil(*TILE_ROWS.end()).max((TASKS * threads).div_ceil(panels));
    let tasks = tasks.next_multiple_of(threads.div_ceil(panels));
    m.div_ceil(tasks).next_multiple_of(ROW_STEP).max(*TILE_ROWS.start())
}
