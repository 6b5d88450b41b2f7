//! Columns in groups, and what a group would keep with another column in one of its places.

use crate::Pattern;
use rayon::prelude::*;

/// Rows of a block.
const BLOCK: usize = 128;
/// Sums that run side by side, for the machine's vectors.
const LANES: usize = 16;
/// Places whose exchanges one task prices: a block's columns are read once for all of them.
const TILE: usize = 16;

/// One block of one column.
type Block = [f32; BLOCK];

/// Columns dealt to places; place p belongs to group p / M.
///
/// Of the M − 1 other columns of a place's group let `t_r` be the Nth largest score of row r. A
/// column x in that place makes the group keep `const + Σ_r max(t_r, x_r)`: x is kept where it
/// exceeds `t`, and else `t` is. So an exchange costs one pass over two columns, whatever N and M.
pub(super) struct Groups {
    n: usize,
    m: usize,
    /// Row blocks × columns; rows that fill the last block score 0, and so change no sum.
    columns: Vec<Block>,
    /// Row blocks × places: `t`.
    thresholds: Vec<Block>,
    /// The column at each place.
    order: Vec<usize>,
}

impl Groups {
    /// Columns where they are. `rows`: each `cols` scores, finite and at least 0; `n < m`, and
    /// `cols` are whole groups.
    pub(super) fn new(rows: &[&[f32]], cols: usize, pattern: Pattern) -> Self {
        let blocks = rows.len().div_ceil(BLOCK);
        let mut columns = vec![[0.0; BLOCK]; blocks * cols];
        columns.par_chunks_mut(cols).zip(rows.par_chunks(BLOCK)).for_each(|(block, rows)| {
            for (r, row) in rows.iter().enumerate() {
                block.iter_mut().zip(*row).for_each(|(column, &score)| column[r] = score);
            }
        });
        let mut groups = Self {
            n: pattern.kept(),
            m: pattern.group(),
            thresholds: vec![[0.0; BLOCK]; columns.len()],
            columns,
            order: (0..cols).collect(),
        };
        groups.refresh(&(0..cols / groups.m).collect::<Vec<_>>());
        groups
    }

    pub(super) fn cols(&self) -> usize {
        self.order.len()
    }

    /// Columns of a group.
    pub(super) fn m(&self) -> usize {
        self.m
    }

    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// `Σ_r max(t_r, x_r)` of a place's thresholds and a column.
    pub(super) fn with(&self, place: usize, column: usize) -> f32 {
        let cols = self.cols();
        let mut sums = [0.0; LANES];
        let blocks = self.thresholds.chunks_exact(cols).zip(self.columns.chunks_exact(cols));
        for (thresholds, columns) in blocks {
            add_max(&mut sums, &thresholds[place], &columns[column]);
        }
        sums.iter().sum()
    }

    /// [`Self::with`] of each of some places (rows) and the columns of all of them, in f64.
    pub(super) fn exchanges(&self, places: &[usize]) -> Vec<f64> {
        let (cols, n) = (self.cols(), places.len());
        let mut table = vec![0.0; n * n];
        table.par_chunks_mut(TILE * n).zip(places.par_chunks(TILE)).for_each(|(table, tile)| {
            let blocks = self.thresholds.chunks_exact(cols).zip(self.columns.chunks_exact(cols));
            for (thresholds, columns) in blocks {
                for (sums, &place) in table.chunks_exact_mut(n).zip(tile) {
                    for (sum, &other) in sums.iter_mut().zip(places) {
                        let mut lanes = [0.0; LANES];
                        add_max(&mut lanes, &thresholds[place], &columns[self.order[other]]);
                        *sum += f64::from(lanes.iter().sum::<f32>());
                    }
                }
            }
        });
        table
    }

    /// Puts columns into places; the caller keeps it an order.
    pub(super) fn put(&mut self, places: &[usize], columns: &[usize]) {
        let mut changed = Vec::new();
        for (&place, &column) in places.iter().zip(columns) {
            if std::mem::replace(&mut self.order[place], column) != column {
                changed.push(place / self.m);
            }
        }
        self.refresh(&changed);
    }

    /// Finds the thresholds of groups anew.
    fn refresh(&mut self, groups: &[usize]) {
        let (n, m, order) = (self.n, self.m, &self.order);
        let cols = order.len();
        let block = |(thresholds, columns): (&mut [Block], &[Block])| {
            let mut top = vec![[0.0; BLOCK]; n + 1];
            for &group in groups {
                let own = &order[group * m..][..m];
                top.fill([0.0; BLOCK]);
                own.iter().for_each(|&column| insert(&mut top, columns[column]));
                let (cut, next) = (&top[n - 1], &top[n]);
                for (threshold, &column) in thresholds[group * m..].iter_mut().zip(own) {
                    // without a column of the top N, the N+1st is the others' Nth
                    for (r, t) in threshold.iter_mut().enumerate() {
                        *t = if columns[column][r] >= cut[r] { next[r] } else { cut[r] };
                    }
                }
            }
        };
        let blocks = (self.thresholds.len() / cols, groups.len() * m * BLOCK);
        // a thread is not worth waking for less than some thousands of scores
        if blocks.0 * blocks.1 < 1 << 16 {
            let parts = self.thresholds.chunks_exact_mut(cols);
            parts.zip(self.columns.chunks_exact(cols)).for_each(block);
        } else {
            let parts = self.thresholds.par_chunks_exact_mut(cols);
            parts.zip(self.columns.par_chunks_exact(cols)).for_each(block);
        }
    }
}

/// Adds `max(a, b)` of a block to side-by-side sums.
#[inline(always)]
fn add_max(sums: &mut [f32; LANES], a: &Block, b: &Block) {
    let (a, b) = (a.as_chunks::<LANES>().0, b.as_chunks::<LANES>().0);
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            // not f32::max: its rule for NaN costs instructions, and there is none here
            sums[lane] += if a[lane] > b[lane] { a[lane] } else { b[lane] };
        }
    }
}

/// Keeps the largest scores of each row, sorted.
#[inline(always)]
fn insert(top: &mut [Block], mut column: Block) {
    for held in top {
        for (held, new) in held.iter_mut().zip(&mut column) {
            let (high, low) = if *held > *new { (*held, *new) } else { (*new, *held) };
            (*held, *new) = (high, low);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// What all groups keep, by sorting.
    fn kept(rows: &[&[f32]], order: &[usize], pattern: Pattern) -> f64 {
        let group = |row: &[f32], group: &[usize]| {
            let mut scores: Vec<f32> = group.iter().map(|&c| row[c]).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            scores[..pattern.kept()].iter().map(|&s| f64::from(s)).sum::<f64>()
        };
        let groups = || order.chunks(pattern.group());
        rows.iter().flat_map(|row| groups().map(move |g| group(row, g))).sum()
    }

    #[test]
    fn exchanges_are_priced_exactly() {
        let mut rng = Rng::new(3);
        for (n, m) in [(2, 4), (1, 4), (1, 2), (3, 5), (4, 8)] {
            let pattern = Pattern::new(n, m).unwrap();
            let (rows, cols) = (BLOCK + 9, 3 * m);
            // whole numbers, few of them: exact sums, many ties
            let data: Vec<f32> = (0..rows * cols).map(|_| rng.below(9) as f32).collect();
            let rows: Vec<&[f32]> = data.chunks(cols).collect();
            let mut groups = Groups::new(&rows, cols, pattern);
            for _ in 0..40 {
                let (p, q) = (rng.below(m), m + rng.below(2 * m));
                let before = kept(&rows, groups.order(), pattern);
                let (a, b) = (groups.order()[p], groups.order()[q]);
                let now = groups.with(p, a) + groups.with(q, b);
                let then = groups.with(p, b) + groups.with(q, a);
                let table = groups.exchanges(&[p, q]);
                assert_eq!(table[0] + table[3], f64::from(now));
                assert_eq!(table[1] + table[2], f64::from(then));
                groups.put(&[p, q], &[b, a]);
                assert_eq!(kept(&rows, groups.order(), pattern) - before, f64::from(then - now));
            }
        }
    }
}
