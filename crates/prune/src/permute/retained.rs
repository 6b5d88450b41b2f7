//! What an order keeps, exactly.

use crate::Pattern;
use rayon::prelude::*;

/// Rows of a task.
const CHUNK: usize = 256;

/// Score that the pattern keeps with columns in that order, summed over all rows in f64.
pub(super) fn kept(rows: &[&[f32]], order: &[usize], pattern: Pattern) -> f64 {
    let (n, m) = (pattern.kept(), pattern.group());
    sum(rows, |row| {
        let mut group = Vec::with_capacity(m);
        order
            .chunks_exact(m)
            .map(|columns| {
                group.clear();
                group.extend(columns.iter().map(|&c| row[c]));
                top(&mut group, n)
            })
            .sum()
    })
}

/// Score of each row's largest, as many as the pattern keeps: no order keeps more.
pub(super) fn best(rows: &[&[f32]], cols: usize, pattern: Pattern) -> f64 {
    let n = cols / pattern.group() * pattern.kept();
    sum(rows, |row| top(&mut row.to_vec(), n))
}

/// Always in one order, whatever the number of threads.
fn sum(rows: &[&[f32]], of_row: impl Fn(&[f32]) -> f64 + Sync) -> f64 {
    let chunk = |rows: &[&[f32]]| rows.iter().map(|row| of_row(row)).sum::<f64>();
    rows.par_chunks(CHUNK).map(chunk).collect::<Vec<_>>().iter().sum()
}

/// Sum of the `n` largest.
fn top(scores: &mut [f32], n: usize) -> f64 {
    if n < scores.len() {
        scores.select_nth_unstable_by(n, |a, b| b.total_cmp(a));
    }
    // in falling order, so that equal choices have equal sums
    scores[..n].sort_unstable_by(|a, b| b.total_cmp(a));
    scores[..n].iter().map(|&s| f64::from(s)).sum()
}
