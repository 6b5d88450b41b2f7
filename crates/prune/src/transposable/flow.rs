//! N:M both ways, for any N and M: a transport of N units from every row to N of every column.

use crate::Pattern;

/// The mask of a tile, M × M, that keeps the most score with N in every row and column.
///
/// Successive shortest paths: each of a row's N units takes the cheapest alternating path to a column
/// that is not full. Node potentials keep reduced costs `c + π(row) − π(column)` at least 0 on free
/// cells and at most 0 on taken ones, so Dijkstra's algorithm finds the path (Edmonds and Karp 1972),
/// and after each unit the flow is the cheapest of its size. N·M paths of O(M²).
pub(super) fn solve(tile: &[f32], pattern: Pattern) -> Vec<bool> {
    let (n, m) = (pattern.kept(), pattern.group());
    let cost: Vec<f64> = tile.iter().map(|&score| -f64::from(score)).collect();
    let least = |j: usize| (0..m).map(|i| cost[i * m + j]).fold(f64::INFINITY, f64::min);
    let mut flow = Flow {
        n,
        m,
        row: vec![0.0; m],
        column: (0..m).map(least).collect(),
        cost,
        taken: vec![false; m * m],
        filled: vec![0; m],
    };
    for unit in 0..n * m {
        flow.send(unit / n);
    }
    flow.taken
}

struct Flow {
    n: usize,
    m: usize,
    cost: Vec<f64>,
    /// Potentials of rows.
    row: Vec<f64>,
    /// Potentials of columns.
    column: Vec<f64>,
    taken: Vec<bool>,
    /// Units that each column has.
    filled: Vec<usize>,
}

impl Flow {
    fn reduced(&self, i: usize, j: usize) -> f64 {
        self.cost[i * self.m + j] + self.row[i] - self.column[j]
    }

    /// Sends one more unit from a row.
    fn send(&mut self, source: usize) {
        let m = self.m;
        let mut to_row = vec![f64::INFINITY; m];
        let mut to_column = vec![f64::INFINITY; m];
        // the row that a column is reached from, and the column that a row is reached from
        let (mut row_before, mut column_before) = (vec![source; m], vec![0; m]);
        let (mut row_done, mut column_done) = (vec![false; m], vec![false; m]);
        to_row[source] = 0.0;
        let mut next = Some(source);
        let (end, length) = loop {
            if let Some(i) = next {
                row_done[i] = true;
                for j in (0..m).filter(|&j| !column_done[j] && !self.taken[i * m + j]) {
                    let through = to_row[i] + self.reduced(i, j).max(0.0);
                    if through < to_column[j] {
                        (to_column[j], row_before[j]) = (through, i);
                    }
                }
            }
            // There always is an open node: a row with a unit left has a path to a column with room.
            let nearest = |distance: &[f64], done: &[bool]| {
                let open = (0..m).filter(|&k| !done[k]).map(|k| (distance[k], k));
                open.fold((f64::INFINITY, m), |best, new| if new.0 < best.0 { new } else { best })
            };
            let (row, column) = (nearest(&to_row, &row_done), nearest(&to_column, &column_done));
            if row.0 <= column.0 {
                next = Some(row.1);
                continue;
            }
            let (length, j) = column;
            column_done[j] = true;
            if self.filled[j] < self.n {
                break (j, length);
            }
            next = None;
            for i in (0..m).filter(|&i| !row_done[i] && self.taken[i * m + j]) {
                let through = length + (-self.reduced(i, j)).max(0.0);
                if through < to_row[i] {
                    (to_row[i], column_before[i]) = (through, j);
                }
            }
        };
        self.row.iter_mut().zip(&to_row).for_each(|(p, d)| *p += d.min(length));
        self.column.iter_mut().zip(&to_column).for_each(|(p, d)| *p += d.min(length));
        self.filled[end] += 1;
        let mut j = end;
        loop {
            let i = row_before[j];
            self.taken[i * m + j] = true;
            if i == source {
                break;
            }
            j = column_before[i];
            self.taken[i * m + j] = false;
        }
    }
}
