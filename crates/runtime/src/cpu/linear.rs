//! Linear layers: how the products of `simd/dot.rs` and `simd/outer.rs` are cut into tasks.
//!
//! Tokens are taken [`PASS`] at a time. 2:4 weights always, and dense ones where there are many tokens, are multiplied as
//! outer products with panels of x; else as dot products. A task takes strips of W: sums land in its thread's memory, by
//! strip, token and row, and the epilogue carries them to y.

use super::epilogue::{Epilogue, Sums};
use super::memory::Views;
use super::simd::dot::Dot;
use super::simd::outer::{self, Outer};
use super::simd::tiles::tiles;
use super::simd::weights::{Rows, STRIP};
use super::simd::{Element, Form, Inputs, Isa, Weight};
use bytemuck::{Pod, cast_slice_mut};
use half::{bf16, f16};
use quickpick_format::{E4m3, E5m2};
use quickpick_kernels::{DType, Linear, Problem, Weights};
use rayon::prelude::*;
use std::cell::RefCell;

/// Tokens that one pass over W serves, at most: bounds the scratch memory.
const PASS: usize = 256;

/// Strips of a task, at most: as many as leave its weights and sums room in the second cache.
const STRIPS: usize = 32;

/// Bytes of dense weights of a task for few tokens, at most.
const FEW_BYTES: usize = 256 << 10;

/// Tasks for each thread, so that none waits long for the last.
const TASKS: usize = 4;

/// What a task costs at least, in bytes of dense weights that are read: enough to hide its own cost.
const LEAST: usize = 128 << 10;

/// Multiply-adds that take as long as a byte of weights: 170 a nanosecond and core beside 20 bytes, measured.
const PRODUCTS: usize = 8;

/// Bytes of a panel in a task of packing.
const PACK_BYTES: usize = 64 << 10;

thread_local! {
    /// Sums of the task that a thread is at: they stay in its cache.
    static SUMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// f32s of scratch: x as the products take it.
pub(super) fn scratch(p: &Linear, isa: Isa) -> usize {
    match p.dtype {
        DType::F32 => scratch_of::<f32>(p, isa),
        DType::F16 => scratch_of::<f16>(p, isa),
        DType::BF16 => scratch_of::<bf16>(p, isa),
        DType::E4M3 => scratch_of::<E4m3>(p, isa),
        DType::E5M2 => scratch_of::<E5m2>(p, isa),
        DType::I8 => scratch_of::<i8>(p, isa),
    }
}

fn scratch_of<T: Weight>(p: &Linear, isa: Isa) -> usize {
    let passes = [PASS.min(p.n as usize), p.n as usize % PASS];
    let needs = passes.map(|tokens| {
        let form = T::form(isa, p.weights, tokens);
        (width(isa, form, tokens) * p.k as usize * T::input_bytes(isa, form)).div_ceil(4)
    });
    needs[0].max(needs[1])
}

/// Tokens with those that fill panels.
fn width(isa: Isa, form: Form, tokens: usize) -> usize {
    match form {
        Form::Dots => tokens,
        Form::Picks => outer::padded(tokens, isa.panel()),
        Form::Lanes => tokens.next_multiple_of(STRIP),
    }
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
        let form = T::form(isa, p.weights, tokens.len());
        let width = width(isa, form, tokens.len());
        let room = &mut cast_slice_mut(scratch)[..width * k * T::input_bytes(isa, form)];
        let x = match form {
            Form::Dots => T::prepare(isa, x, room),
            Form::Picks | Form::Lanes => pack(isa, form, x, k, room),
        };
        let features = STRIP * strips::<T>(m, width, k);
        let each = if p.epilogue.gated { 2 } else { 1 };
        let tiles = tiles(y, m / each, n, epilogue.rule.transposed, features / each);
        tiles.enumerate().for_each(|(i, mut tile)| {
            let start = i * features;
            let rows = features.min(m - start);
            let weights = weights.part(start, rows, k);
            SUMS.with_borrow_mut(|sums| {
                let len = rows.next_multiple_of(STRIP) * width;
                if sums.len() < len {
                    sums.resize(len, 0.0);
                }
                let out = &mut sums[..len];
                match (form, weights) {
                    (Form::Dots, Rows::Dense(w)) => T::dot(isa, Dot { w, x, k, n: width, out }),
                    _ => T::outer(isa, Outer { form, weights, x, k, tokens: tokens.len(), out }),
                }
                let sums = Sums { sums: &sums[..len], width, start, tokens: tokens.clone() };
                epilogue.run(isa, sums, residual, &mut tile);
            });
        });
    }
}

/// Packs x, `tokens × k`, into panels.
fn pack<'a, T: Weight>(isa: Isa, form: Form, x: &[T], k: usize, room: &'a mut [u8]) -> &'a [u8] {
    let bytes = k * T::input_bytes(isa, form);
    let most = if form == Form::Lanes { STRIP } else { isa.panel() };
    let panel = |(x, panel): (&[T], &mut [u8])| {
        let width = panel.len() / bytes;
        let columns = (PACK_BYTES / (width * bytes / k)).max(1).next_multiple_of(512);
        panel.par_chunks_mut(columns * panel.len() / k).enumerate().for_each(|(i, panel)| {
            let start = i * columns;
            T::pack(isa, Inputs { form, x, k, start, width }, panel);
        });
    };
    // whole panels, and what is left in panels of its own
    let tokens = x.len() / k;
    let whole = tokens / most * most;
    let (panels, mut rest) = room.split_at_mut(whole * bytes);
    x.par_chunks_exact(most * k).zip(panels.par_chunks_mut(most * bytes)).for_each(panel);
    let mut token = whole;
    while token < tokens {
        let width = match form {
            Form::Lanes => STRIP,
            Form::Dots | Form::Picks => outer::panel(tokens - token, most),
        };
        let (first, others) = rest.split_at_mut(width * bytes);
        panel((&x[token * k..tokens.min(token + width) * k], first));
        (token, rest) = (token + width, others);
    }
    room
}

/// Strips in a task.
fn strips<T>(m: usize, tokens: usize, k: usize) -> usize {
    let (strips, threads) = (m.div_ceil(STRIP), rayon::current_num_threads());
    let bytes = STRIP * k * size_of::<T>();
    let most = if tokens < 16 { (FEW_BYTES / bytes).clamp(1, STRIPS) } else { STRIPS };
    let tasks = strips.div_ceil(most).max(TASKS * threads).next_multiple_of(threads);
    let least = LEAST.div_ceil(bytes + STRIP * k * tokens / PRODUCTS);
    strips.div_ceil(tasks).max(least)
}
