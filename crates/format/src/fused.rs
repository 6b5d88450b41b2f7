//! Rows of several weights in one, so that one launch multiplies all of them.
//!
//! **Stacked** ([`Matrix24::stacked`]): those of one after those of the other, as q, k and v of an attention. Y has their
//! features in that order, so that each reads its own columns; transposed it has them in rows of its own.
//!
//! **Interleaved** ([`interleave_gate_up`]): eight rows of a gate, the same eight of an up, the next eight of the gate,
//! and so on ([`gate_up_rows`]). A gated layer's epilogue multiplies what they make. Eight, because in an `m16n8`
//! accumulator rows g and g + 8 meet in a lane, and because a strip of 16 rows then holds whole pairs.

use crate::matrix::check_length;
use crate::{Element, Error, Matrix24};
use alloc::vec::Vec;

/// Rows of a gate, and of an up, that lie together.
pub const GATE_ROWS: usize = 8;

/// Where the rows of feature f lie in an interleaved weight: the gate's and the up's.
pub const fn gate_up_rows(feature: usize) -> [usize; 2] {
    let gate = feature / GATE_ROWS * 2 * GATE_ROWS + feature % GATE_ROWS;
    [gate, gate + GATE_ROWS]
}

/// Interleaves the rows of two row-major matrices with `cols` columns: dense weights, or with one column biases and
/// scales of features.
///
/// Errors: [`Error::GateRows`] for rows that are no multiple of 8, or not whole; [`Error::Length`] for an up of another
/// length.
pub fn interleave_gate_up<T: Copy>(gate: &[T], up: &[T], cols: usize) -> Result<Vec<T>, Error> {
    check_length("up", up.len(), gate.len())?;
    let turn = GATE_ROWS * cols;
    if gate.len().checked_rem(turn) != Some(0) {
        return Err(Error::GateRows { elements: gate.len(), cols });
    }
    let turns = gate.chunks_exact(turn).zip(up.chunks_exact(turn));
    Ok(turns.flat_map(|(gate, up)| gate.iter().chain(up)).copied().collect())
}

impl<T: Element> Matrix24<T> {
    /// The rows of each matrix after those of the one before.
    ///
    /// Errors: [`Error::Length`] for other columns than the first one's; [`Error::Empty`] for no matrix;
    /// [`Error::TooLarge`].
    pub fn stacked(parts: &[&Self]) -> Result<Self, Error> {
        let cols = parts.first().map_or(0, |first| first.cols());
        let (mut values, mut metadata, mut rows) = (Vec::new(), Vec::new(), 0);
        for part in parts {
            check_length("columns of a stacked matrix", part.cols(), cols)?;
            values.extend_from_slice(part.values());
            metadata.extend_from_slice(part.metadata());
            rows += part.rows();
        }
        Self::from_parts(values, metadata, rows, cols)
    }

    /// The rows of a gate and an up by turns of eight, as [`interleave_gate_up`] has those of dense matrices.
    ///
    /// Errors: as there, and for other columns.
    pub fn gate_up(gate: &Self, up: &Self) -> Result<Self, Error> {
        check_length("columns of up", up.cols(), gate.cols())?;
        check_length("rows of up", up.rows(), gate.rows())?;
        let k = gate.k();
        let values = interleave_gate_up(gate.values(), up.values(), k / 2)?;
        let words = k / crate::WORD_COLUMNS;
        let metadata = interleave_gate_up(gate.metadata(), up.metadata(), words)?;
        Self::from_parts(values, metadata, 2 * gate.rows(), gate.cols())
    }
}
