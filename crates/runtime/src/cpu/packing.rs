//! Packing and unpacking along the places that `format` gives; blocks of rows are shared out.

use super::memory::Views;
use super::simd::Isa;
use quickpick_format::{DType, Order, Pair, Places};
use quickpick_kernels::{NO_GROUP, Packing, Problem};
use rayon::prelude::*;

/// Rows of a task: whole blocks of every order, so that it has its own parts of values and metadata.
const ROWS: usize = 64;

/// The bits of an element without its sign, which are ordered as magnitudes are.
const MAGNITUDE: u16 = 0x7fff;

/// What a task has of a matrix: its rows, and how much of each operand they take.
struct Block {
    rows: usize,
    dense: usize,
    values: usize,
    metadata: usize,
}

/// One task's rows; all of them where chunks of columns are outermost.
fn block(p: &Packing) -> Block {
    let rows = if p.order == Order::MmaSpSm80 { p.m as usize } else { ROWS };
    let k = p.k as usize;
    let size = |[rows, columns]: [usize; 2]| rows * columns;
    Block {
        rows,
        dense: rows * k,
        values: size(p.order.values_shape(p.dtype, rows, k)),
        metadata: size(p.order.metadata_shape(p.dtype, rows, k)),
    }
}

/// The two largest of each four.
pub(super) fn pack(_: Isa, problem: &Problem, v: &mut Views<'_>, _: &mut [f32]) {
    let Problem::Pack24(p) = problem else { return };
    let (dense, values) = (v.input::<u16>(0), v.output::<u16>(1));
    let (metadata, status) = (v.output::<u32>(2), v.output::<u32>(3));
    let of = block(p);
    let tasks = dense.par_chunks(of.dense).zip(values.par_chunks_mut(of.values));
    let tasks = tasks.zip(metadata.par_chunks_mut(of.metadata)).enumerate();
    let bad = tasks.map(|(i, ((dense, values), metadata))| {
        pack_block(p, dense, values, metadata).map(|bad| number(p, &of, i, bad))
    });
    lower(status, bad.flatten().min());
}

/// What is kept, and zeros.
pub(super) fn unpack(_: Isa, problem: &Problem, v: &mut Views<'_>, _: &mut [f32]) {
    let Problem::Unpack24(p) = problem else { return };
    let (values, metadata) = (v.input::<u16>(0), v.input::<u32>(1));
    let (dense, status) = (v.output::<u16>(2), v.output::<u32>(3));
    let of = block(p);
    let tasks = dense.par_chunks_mut(of.dense).zip(values.par_chunks(of.values));
    let tasks = tasks.zip(metadata.par_chunks(of.metadata)).enumerate();
    let bad = tasks.map(|(i, ((dense, values), metadata))| {
        unpack_block(p, dense, values, metadata).map(|bad| number(p, &of, i, bad))
    });
    lower(status, bad.flatten().min());
}

/// The number of a task's group among all.
fn number(p: &Packing, of: &Block, task: usize, group: usize) -> u32 {
    (task * of.rows * (p.k as usize / 4) + group) as u32
}

fn lower(status: &mut [u32], bad: Option<u32>) {
    for status in status {
        *status = (*status).min(bad.unwrap_or(NO_GROUP));
    }
}

/// The places of a block's rows. A plan has none but shapes that have them.
fn places(p: &Packing, dense: &[u16]) -> Option<Places> {
    Places::new(p.order, p.dtype, dense.len() / p.k as usize, p.k as usize).ok()
}

/// Packs rows; the first group that holds a NaN or an infinity.
fn pack_block(
    p: &Packing,
    dense: &[u16],
    values: &mut [u16],
    metadata: &mut [u32],
) -> Option<usize> {
    let places = places(p, dense)?;
    let groups = p.k as usize / 4;
    let infinity = if p.dtype == DType::BF16 { 0x7f80 } else { 0x7c00 };
    values.fill(0);
    metadata.fill(places.padding());
    let mut bad = None;
    for (number, group) in dense.chunks_exact(4).enumerate() {
        let (row, j) = (number / groups, number % groups * 2);
        let magnitudes = [0, 1, 2, 3].map(|i| group[i] & MAGNITUDE);
        if bad.is_none() && magnitudes.iter().any(|bits| *bits >= infinity) {
            bad = Some(number);
        }
        let pair = Pair::largest(magnitudes);
        for (j, position) in [(j, pair.first()), (j + 1, pair.second())] {
            let zero = magnitudes[position] == 0;
            values[places.value(row, j)] = if zero { 0 } else { group[position] };
            let (word, shift) = places.code(row, j);
            metadata[word] = metadata[word] & !(3 << shift) | (position as u32) << shift;
        }
    }
    bad
}

/// Unpacks rows; the first group with a code that names no pair.
fn unpack_block(p: &Packing, dense: &mut [u16], values: &[u16], metadata: &[u32]) -> Option<usize> {
    let places = places(p, dense)?;
    let groups = p.k as usize / 4;
    dense.fill(0);
    let mut bad = None;
    for (number, group) in dense.chunks_exact_mut(4).enumerate() {
        let (row, j) = (number / groups, number % groups * 2);
        let position = |j| {
            let (word, shift) = places.code(row, j);
            (metadata[word] >> shift & 3) as usize
        };
        match Pair::new(position(j), position(j + 1)) {
            Some(pair) => {
                group[pair.first()] = values[places.value(row, j)];
                group[pair.second()] = values[places.value(row, j + 1)];
            }
            None => bad = bad.or(Some(number)),
        }
    }
    bad
}
