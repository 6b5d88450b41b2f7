//! The product with a sparse residual. X lies in a transposed panel, as for the tiled linear layers: an
//! entry's value multiplies the panel row of its column, the neighbouring tokens of one input feature.
//! Tasks take rows of R; sums land in scratch memory, and the epilogue carries them to y.

use super::epilogue::{Epilogue, Sums};
use super::memory::Views;
use super::simd::pack::Pack;
use super::simd::tiles::tiles;
use super::simd::weights::STRIP;
use super::simd::{Element, Isa, Kernel, Simd, SimdExt};
use quickpick_kernels::{Epilogue as Rule, Problem, SpmmCsr};
use rayon::prelude::*;
use std::marker::PhantomData;

/// Tokens that one pass over R serves at most.
const PASS: usize = 64;

/// Rows of a panel that a task packs.
const PACK_ROWS: usize = 512;

/// Rows of R in a task: some strips.
const ROWS: usize = 4 * STRIP;

/// Entries whose values are widened at a time; every number of partial sums divides it.
const BATCH: usize = 16;

/// Tokens of a panel, those past the last one zeros.
fn width(tokens: usize) -> usize {
    match tokens {
        1 => 1,
        2..=4 => 4,
        5..=16 => 16,
        _ => PASS,
    }
}

/// f32s of scratch: the panel, then the sums.
pub(super) fn scratch(p: &SpmmCsr) -> usize {
    width(p.n as usize) * (p.k as usize + (p.m as usize).next_multiple_of(STRIP))
}

/// Runs the product: R's values and x of T.
pub(super) fn run<T: Element>(isa: Isa, problem: &Problem, v: &mut Views<'_>, scratch: &mut [f32]) {
    let Problem::SpmmCsr(p) = problem else { return };
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let (rows, entries, x) = (v.input::<u32>(0), v.input::<u32>(1), v.input::<T>(2));
    let (residual, y) = (v.input::<f32>(3), v.output::<f32>(4));
    let rule = Rule { residual: p.residual, ..Rule::NONE };
    let epilogue = Epilogue { rule, w_scale: &[], x_scale: &[], bias: &[], m, n };
    for start in (0..n).step_by(PASS) {
        let tokens = start..n.min(start + PASS);
        let width = width(tokens.len());
        let (panel, sums) = scratch.split_at_mut(k * width);
        let x = &x[tokens.start * k..tokens.end * k];
        let sums = &mut sums[..m.next_multiple_of(STRIP) * width];
        panel.par_chunks_mut(PACK_ROWS * width).enumerate().for_each(|(i, panel)| {
            isa.run(Pack { x, k, start: i * PACK_ROWS, width, panel });
        });
        let panel = &*panel;
        let sums = sums.par_chunks_mut(ROWS * width);
        sums.zip(tiles(y, m, n, false, ROWS)).enumerate().for_each(|(i, (sums, mut tile))| {
            let start = i * ROWS;
            let rows = &rows[start..];
            match width {
                1 => products::<T, 1, 8>(isa, rows, entries, panel, sums),
                4 => products::<T, 4, 4>(isa, rows, entries, panel, sums),
                16 => products::<T, 16, 4>(isa, rows, entries, panel, sums),
                _ => products::<T, PASS, 1>(isa, rows, entries, panel, sums),
            }
            let sums = Sums { sums, width, start, tokens: tokens.clone() };
            epilogue.run(isa, sums, residual, &mut tile);
        });
    }
}

fn products<T: Element, const W: usize, const SUMS: usize>(
    isa: Isa,
    rows: &[u32],
    entries: &[u32],
    panel: &[f32],
    sums: &mut [f32],
) {
    let (panel, _) = panel.as_chunks::<W>();
    isa.run(Rows::<T, W, SUMS> { rows, entries, panel, sums, values: PhantomData });
}

/// `sums[(s·W + t)·16 + r] = Σ R[16s + r]·panel[·][t]` of W tokens. A row has as many partial sums as hide the time that
/// an addition takes: which of them an entry goes to depends on its place in the row alone.
struct Rows<'a, T, const W: usize, const SUMS: usize> {
    rows: &'a [u32],
    entries: &'a [u32],
    panel: &'a [[f32; W]],
    sums: &'a mut [f32],
    values: PhantomData<T>,
}

impl<T: Element, const W: usize, const SUMS: usize> Kernel for Rows<'_, T, W, SUMS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, entries, panel, sums, .. } = self;
        let Some(last) = panel.len().checked_sub(1) else { return };
        // the bounds hold for every matrix; what is none must not end the process
        let column = |entry: u32| &panel[((entry & 0xFFFF) as usize).min(last)];
        for (r, ends) in rows.windows(2).take(sums.len() / W).enumerate() {
            let row = entries.get(ends[0] as usize..ends[1] as usize).unwrap_or_default();
            let (batches, rest) = row.as_chunks::<BATCH>();
            let mut parts = [[0.0; W]; SUMS];
            for entries in batches {
                let (bits, mut values) = (entries.map(|entry| (entry >> 16) as u16), [0.0; BATCH]);
                s.widen::<T>(bytemuck::cast_slice(&bits), &mut values);
                for start in (0..BATCH).step_by(SUMS) {
                    for i in 0..SUMS {
                        add(values[start + i], column(entries[start + i]), &mut parts[i]);
                    }
                }
            }
            let mut total = [0.0; W];
            for entry in rest {
                let value: T = bytemuck::cast((entry >> 16) as u16);
                add(value.widen(), column(*entry), &mut total);
            }
            for part in &parts {
                add(1.0, part, &mut total);
            }
            let sums = sums[r / STRIP * STRIP * W + r % STRIP..].iter_mut().step_by(STRIP);
            sums.zip(total).for_each(|(sum, total)| *sum = total);
        }
    }
}

/// `sum += value·x`, token by token.
#[inline(always)]
fn add<const W: usize>(value: f32, x: &[f32; W], sum: &mut [f32; W]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += value * x;
    }
}
