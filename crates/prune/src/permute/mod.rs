//! Orders of input features that let an N:M pattern keep more.
//!
//! A layer's input features may come in any order if whatever makes them keeps the same: rows of the
//! layer before it, gains of a norm. Groups of an N:M pattern are consecutive features, so the order
//! decides which weights compete (Pool and Yu, NeurIPS 2021). [`OrderSearch`] looks for an order that
//! keeps the most score; [`Order`] applies it.

mod anneal;
mod assign;
mod error;
mod groups;
mod order;
mod retained;

pub use error::OrderError;
pub use order::{Order, stack_blocks};

use crate::layer::check_order;
use crate::mask::check_shape;
use crate::rng::Rng;
use crate::{MaskError, Pattern};
use groups::Groups;

/// A search for an order of columns, the same for a given seed on any number of threads.
///
/// Both of its moves rest on one fact. Take one column out of a group; what the group keeps with
/// column x in the gap is `const + Σ_r max(t_r, x_r)`, where `t_r` is the Nth largest of the M − 1
/// others in row r.
///
/// 1. *Assignments*: take one random column out of every group and put all of them back in the best
///    way there is, a linear assignment problem (as RIA's last step does, ICLR 2024, there after a
///    deal by rank, which after five of these steps was no help). The move for many columns.
/// 2. *Swaps*: simulated annealing from there over swaps of two columns. The move that finds the
///    better orders, if columns are few enough to try every pair many times.
///
/// Pool and Yu exhaust the 35 deals of two groups of four and stop where no two groups gain; the bench
/// `permute` measures that beside this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderSearch {
    /// What is kept.
    pub pattern: Pattern,
    /// Of all that is random.
    pub seed: u64,
    /// Assignment steps; each costs `rows · (cols/M)²` and a little.
    pub assignments: u32,
    /// Swaps tried for each column (one that is made counts as 64, its cost); memory is 8 bytes · cols².
    pub swaps: u32,
    /// Most rows that the search looks at, spread evenly over all; what is kept is always counted
    /// over all rows.
    pub rows: usize,
}

/// An order, and what it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered {
    /// Of the columns.
    pub order: Order,
    /// By the pattern, with it and without.
    pub retained: Retained,
}

/// Scores kept, summed over all rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retained {
    /// With columns where they were.
    pub before: f64,
    /// In the new order; never less.
    pub after: f64,
    /// If each row could keep its best, as many as the pattern keeps, wherever they are.
    pub best: f64,
}

impl Retained {
    /// What an order of columns keeps of matrices that share them, as [`OrderSearch::search`] takes
    /// them. Errors: what that refuses, or an order of other columns.
    pub fn of(
        scores: &[&[f32]],
        cols: usize,
        pattern: Pattern,
        order: &Order,
    ) -> Result<Self, OrderError> {
        let rows = rows_of(scores, cols, pattern)?;
        check_order(order.as_slice(), cols)?;
        let before = retained::kept(&rows, Order::identity(cols).as_slice(), pattern);
        let after = retained::kept(&rows, order.as_slice(), pattern);
        Ok(Self { before, after, best: retained::best(&rows, cols, pattern) })
    }

    /// Of these matrices and of others together.
    pub fn plus(self, other: Self) -> Self {
        let (before, after) = (self.before + other.before, self.after + other.after);
        Self { before, after, best: self.best + other.best }
    }

    /// `(after − before) / (best − before)`: the part of what the pattern costs that the order brings
    /// back (Pool and Yu's efficacy). 0 where the pattern costs nothing.
    pub fn efficacy(&self) -> f64 {
        match self.best > self.before {
            true => (self.after - self.before) / (self.best - self.before),
            false => 0.0,
        }
    }
}

impl OrderSearch {
    /// Columns up to which swaps are worth their time: beyond, the same time in assignments keeps more.
    const FEW: usize = 256;

    /// With effort that suits the columns: a hundredth of a second for 64 columns and 128 rows,
    /// seconds for thousands of either.
    pub fn new(pattern: Pattern, cols: usize) -> Self {
        let swaps = if cols <= Self::FEW { 6000 } else { 0 };
        Self { pattern, seed: 0, assignments: 24, swaps, rows: 1 << 14 }
    }

    /// Searches for matrices of scores that share their columns, such as layers with one input.
    ///
    /// Each of `scores` is row-major with `cols` columns, finite and at least 0. Errors: no matrix, one
    /// that is not whole rows, columns that are no whole groups, another score.
    pub fn search(&self, scores: &[&[f32]], cols: usize) -> Result<Ordered, OrderError> {
        let rows = rows_of(scores, cols, self.pattern)?;
        let kept = |order: &[usize]| retained::kept(&rows, order, self.pattern);
        let mut order: Vec<usize> = (0..cols).collect();
        let before = kept(&order);
        let mut after = before;
        // one group has no order, and a pattern that keeps all keeps it in any
        if cols > self.pattern.group() && self.pattern.kept() < self.pattern.group() {
            let looked_at = self.rows.clamp(1, rows.len());
            let sample: Vec<&[f32]> =
                (0..looked_at).map(|i| rows[i * rows.len() / looked_at]).collect();
            let mut groups = Groups::new(&sample, cols, self.pattern);
            let mut take = |candidate: &[usize]| {
                let candidate_kept = kept(candidate);
                if candidate_kept > after {
                    after = candidate_kept;
                    order.copy_from_slice(candidate);
                }
            };
            let mut rng = Rng::new(self.seed);
            let unit = anneal::unit(&groups, &mut rng);
            for _ in 0..self.assignments {
                reassign(&mut groups, &mut rng);
            }
            take(groups.order());
            if self.swaps > 0 {
                let swaps = u64::from(self.swaps) * cols as u64;
                anneal::anneal(&mut groups, unit, swaps, &mut rng);
                take(groups.order());
            }
        }
        let best = retained::best(&rows, cols, self.pattern);
        Ok(Ordered { order: Order::new(order)?, retained: Retained { before, after, best } })
    }
}

/// Takes one column out of every group, and puts all back where together they keep the most.
fn reassign(groups: &mut Groups, rng: &mut Rng) {
    let m = groups.m();
    let places: Vec<usize> = (0..groups.cols()).step_by(m).map(|g| g + rng.below(m)).collect();
    let mut cost = groups.exchanges(&places);
    cost.iter_mut().for_each(|kept| *kept = -*kept);
    let taken = assign::assign(places.len(), &cost);
    let columns: Vec<usize> = taken.iter().map(|&i| groups.order()[places[i]]).collect();
    groups.put(&places, &columns);
}

/// All rows of all matrices.
fn rows_of<'a>(
    scores: &[&'a [f32]],
    cols: usize,
    pattern: Pattern,
) -> Result<Vec<&'a [f32]>, OrderError> {
    let mut rows = Vec::new();
    for (matrix, scores) in scores.iter().enumerate() {
        let shape = match cols {
            0 => Err(MaskError::Length { have: scores.len(), rows: 0, cols }),
            _ => check_shape(scores.len(), scores.len() / cols, cols, pattern),
        };
        shape.map_err(|source| OrderError::Matrix { matrix, source })?;
        let bad = |s: &f32| !(s.is_finite() && *s >= 0.0);
        if let Some(at) = scores.iter().position(bad) {
            let (row, col, score) = (at / cols, at % cols, scores[at]);
            return Err(OrderError::Score { matrix, row, col, score });
        }
        rows.extend(scores.chunks_exact(cols));
    }
    match rows.is_empty() {
        true => Err(OrderError::Empty),
        false => Ok(rows),
    }
}
