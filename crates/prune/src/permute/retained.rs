//! What an order keeps, exactly.

use crate::Pattern;
use rayon::prelude::*;

/// Rows of a task.
const CHUNK: usize = 256;

/// Score that the pattern keeps with columns in that order, summed over all rows in f64.
pub(super) fn kept(rows: &[&[f32]], order: &[usize], pattern: Pattern) -> f64 {
    let (n, m) = (pattern.kept(), pattern.group());
    sum(rows, |row| {
        let mut top = vec![0.0; n];
        let group = |columns: &[usize]| {
            top.fill(0.0);
            for &column in columns {
                let mut new = row[column];
                for held in &mut top {
                    (*held, new) = if *held > new { (*held, new) } else { (new, *held) };
                }
            }
            top.iter().map(|&s| f64::from(s)).sum::<f64>()
        };
        order.chunks_exact(m).map(group).sum()
    })
}

/// Score of each row's largest, as many as the pattern keeps: no order keeps more.
pub(super) fn best(rows: &[&[f32]], cols: usize, pattern: Pattern) -> f64 {
    let n = cols / pattern.group() * pattern.kept();
    sum(rows, |row| {
        let mut row = row.to_vec();
        if n < cols {
            row.select_nth_unstable_by(n, |a, b| b.total_cmp(a));
        }
        row[..n].iter().map(|&s| f64::from(s)).sum()
    })
}

/// Always in one order, whatever the number of threads.
fn sum(rows: &[&[f32]], of_row: impl Fn(&[f32]) -> f64 + Sync) -> f64 {
    let chunk = |rows: &[&[f32]]| rows.iter().map(|row| of_row(row)).sum::<f64>();
    rows.par_chunks(CHUNK).map(chunk).collect::<Vec<_>>().iter().sum()
}
