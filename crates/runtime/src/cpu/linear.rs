//! Linear layers: how the products of `simd/dot.rs` and `simd/outer.rs` are cut into tasks.
//!
//! Tokens are taken [`PASS`] at a time. 2:4 weights always, and dense ones where many tokens make it worth their
//! transposition, are multiplied as outer products with panels of x; else as dot products. Either way tasks take strips
//! of W, sums land in scratch memory, by strip, token and row, and the epilogue carries them to y.

use super::epilogue::Epilogue;
use super::memory::Views;
use super::simd::dot::Dot;
use super::simd::outer::{self, Outer};
use super::simd::weights::{Rows, STRIP};
use super::simd::{Element, Inputs, Isa, Weight};
use bytemuck::{Pod, cast_slice_mut};
use half::{bf16, f16};
use quickpick_format::E4m3;
use quickpick_kernels::{DType, Linear, Problem, Weights};
use rayon::prelude::*;

/// Tokens that one pass over W serves, at most: bounds the scratch memory.
const PASS: usize = 256;

/// Strips of a task: as many as leave its weights and sums room in the second cache.
const STRIPS: usize = 32;

/// Bytes of W in a task for few tokens: enough to hide a task's cost, few enough to share out.
const FEW_BYTES: usize = 256 << 10;

/// Tasks for each thread, so that none waits long for the last.
const TASKS: usize = 4;

/// Columns of x in a task of packing.
const PACK_COLUMNS: usize = 512;

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
    let passes = [n.min(PASS), n % PASS];
    let needs = passes.map(|tokens| {
        let width = width::<T>(isa, p.weights, tokens).unwrap_or(tokens);
        input_floats::<T>(isa, p.weights, width * k) + m.next_multiple_of(STRIP) * width
    });
    needs[0].max(needs[1])
}

/// Tokens with those that fill panels, if the pass goes by outer products.
fn width<T: Weight>(isa: Isa, weights: Weights, tokens: usize) -> Option<usize> {
    match weights {
        Weights::Sparse24 => Some(outer::padded(tokens, isa.panel())),
        Weights::Dense => (tokens >= T::MANY).then(|| tokens.next_multiple_of(STRIP)),
    }
}

/// Room for inputs; the sums start at a cache line.
fn input_floats<T: Weight>(isa: Isa, weights: Weights, inputs: usize) -> usize {
    (inputs * T::input_bytes(isa, weights)).div_ceil(4).next_multiple_of(16)
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
    for start in (0..n).step_by(PASS) {
        let tokens = start..n.min(start + PASS);
        let x = &x[tokens.start * k..tokens.end * k];
        let panels = width::<T>(isa, p.weights, tokens.len());
        let width = panels.unwrap_or(tokens.len());
        let (room, sums) = scratch.split_at_mut(input_floats::<T>(isa, p.weights, width * k));
        let room = &mut cast_slice_mut(room)[..width * k * T::input_bytes(isa, p.weights)];
        let sums = &mut sums[..m.next_multiple_of(STRIP) * width];
        let strips = strips(m, width, k * size_of::<T>());
        let tasks = sums.par_chunks_mut(strips * STRIP * width).enumerate();
        let part = |task: usize| {
            let start = task * strips * STRIP;
            weights.part(start, (strips * STRIP).min(m - start), k)
        };
        match (panels, weights) {
            (None, Rows::Dense(_)) => {
                let x = T::prepare(isa, x, room);
                tasks.for_each(|(task, out)| {
                    let Rows::Dense(w) = part(task) else { return };
                    T::dot(isa, Dot { w, x, k, n: width, out });
                });
            }
            _ => {
                pack(isa, p.weights, x, k, room);
                let x = &*room;
                tasks.for_each(|(task, out)| {
                    T::outer(isa, Outer { weights: part(task), x, k, tokens: tokens.len(), out });
                });
            }
        }
        epilogue.run(isa, sums, width, tokens, residual, y);
    }
}

/// Packs x, `tokens × k`, into panels.
fn pack<T: Weight>(isa: Isa, weights: Weights, x: &[T], k: usize, mut room: &mut [u8]) {
    let (bytes, tokens) = (T::input_bytes(isa, weights), x.len() / k);
    let mut panels = Vec::new();
    let mut token = 0;
    while token < tokens {
        let width = match weights {
            Weights::Sparse24 => outer::panel(tokens - token, isa.panel()),
            Weights::Dense => STRIP,
        };
        let (panel, rest) = room.split_at_mut(width * k * bytes);
        panels.push((token, width, panel));
        (token, room) = (token + width, rest);
    }
    panels.into_par_iter().for_each(|(token, width, panel)| {
        let x = &x[token * k..x.len().min((token + width) * k)];
        panel.par_chunks_mut(PACK_COLUMNS * width * bytes).enumerate().for_each(|(i, panel)| {
            let start = i * PACK_COLUMNS;
            T::pack(isa, Inputs { weights, x, k, start, width }, panel);
        });
    });
}

/// Strips in a task.
fn strips(m: usize, tokens: usize, row_bytes: usize) -> usize {
    let (strips, threads) = (m.div_ceil(STRIP), rayon::current_num_threads());
    let most = match tokens {
        ..16 => (FEW_BYTES / (STRIP * row_bytes)).clamp(1, STRIPS),
        _ => STRIPS,
    };
    let tasks = strips.div_ceil(most).max(TASKS * threads).next_multiple_of(threads);
    strips.div_ceil(tasks)
}
