//! The linear assignment problem.

/// Which column each row takes, one each, so that the sum of `cost` (`n × n`, row-major) is least.
///
/// Jonker and Volgenant (Computing 38, 1987), dense: column reduction; twice augmenting row
/// reduction, in which a free row takes its best column and lowers the column's price as far as its
/// second best allows; then for every row still free a shortest path over reduced costs
/// `cost − price` to a free column (Dijkstra). O(n³) at worst.
pub(super) fn assign(n: usize, cost: &[f64]) -> Vec<usize> {
    let mut solver =
        Solver { n, cost, price: vec![0.0; n], column_of: vec![None; n], row_of: vec![None; n] };
    if n < 2 {
        return (0..n).collect();
    }
    solver.reduce_columns();
    let mut free: Vec<usize> = (0..n).filter(|&i| solver.column_of[i].is_none()).collect();
    for _ in 0..2 {
        free = solver.reduce_rows(free);
    }
    for row in free {
        solver.augment(row);
    }
    // every augmentation assigns one free row, so none is left
    solver.column_of.into_iter().flatten().collect()
}

struct Solver<'a> {
    n: usize,
    cost: &'a [f64],
    /// Of each column: dual variables.
    price: Vec<f64>,
    column_of: Vec<Option<usize>>,
    row_of: Vec<Option<usize>>,
}

impl<'a> Solver<'a> {
    fn row(&self, i: usize) -> &'a [f64] {
        &self.cost[i * self.n..][..self.n]
    }

    /// Prices a column at its least cost, and gives it to that row if the row has none.
    fn reduce_columns(&mut self) {
        for j in (0..self.n).rev() {
            let mut least = 0;
            for i in 1..self.n {
                if self.row(i)[j] < self.row(least)[j] {
                    least = i;
                }
            }
            self.price[j] = self.row(least)[j];
            if self.column_of[least].is_none() {
                self.column_of[least] = Some(j);
                self.row_of[j] = Some(least);
            }
        }
    }

    /// Lets each free row take its best column from whoever has it. Returns the rows that stay free.
    fn reduce_rows(&mut self, free: Vec<usize>) -> Vec<usize> {
        let mut left = Vec::new();
        for mut i in free {
            // A chain of rows that drive each other out; its length is bounded, since prices may
            // fall by ever smaller steps.
            for step in 0.. {
                let (mut best, mut second) = ((f64::INFINITY, 0), (f64::INFINITY, 0));
                for (j, (&c, &price)) in self.row(i).iter().zip(&self.price).enumerate() {
                    let reduced = c - price;
                    if reduced < best.0 {
                        (second, best) = (best, (reduced, j));
                    } else if reduced < second.0 {
                        second = (reduced, j);
                    }
                }
                let cheaper = best.0 < second.0;
                let mut j = best.1;
                if cheaper {
                    self.price[j] -= second.0 - best.0;
                } else if self.row_of[j].is_some() {
                    j = second.1; // as good, and perhaps free
                }
                self.column_of[i] = Some(j);
                let Some(driven_out) = self.row_of[j].replace(i) else { break };
                self.column_of[driven_out] = None;
                if !cheaper || step == self.n {
                    left.push(driven_out);
                    break;
                }
                i = driven_out;
            }
        }
        left
    }

    /// Assigns a free row along the shortest alternating path, and corrects the prices.
    fn augment(&mut self, free: usize) {
        let n = self.n;
        let mut distance: Vec<f64> =
            self.row(free).iter().zip(&self.price).map(|(c, p)| c - p).collect();
        let mut from = vec![free; n];
        let mut done = vec![false; n];
        let mut scanned = Vec::new();
        let (end, length) = loop {
            let mut nearest = (f64::INFINITY, n);
            for j in 0..n {
                if !done[j] && (distance[j] < nearest.0 || nearest.1 == n) {
                    nearest = (distance[j], j);
                }
            }
            let (length, j) = nearest;
            let Some(i) = self.row_of[j] else { break (j, length) };
            done[j] = true;
            scanned.push(j);
            let row = self.row(i);
            let offset = row[j] - self.price[j] - length;
            for k in 0..n {
                let through = row[k] - self.price[k] - offset;
                if !done[k] && through < distance[k] {
                    distance[k] = through;
                    from[k] = i;
                }
            }
        };
        for j in scanned {
            self.price[j] += distance[j] - length;
        }
        let mut j = end;
        loop {
            let i = from[j];
            self.row_of[j] = Some(i);
            let before = self.column_of[i].replace(j);
            match before {
                Some(before) if i != free => j = before,
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn least(n: usize, cost: &[f64], row: usize, taken: u32) -> f64 {
        if row == n {
            return 0.0;
        }
        let free = (0..n).filter(|j| taken >> j & 1 == 0);
        free.map(|j| cost[row * n + j] + least(n, cost, row + 1, taken | 1 << j))
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn is_as_cheap_as_the_cheapest_of_all() {
        let mut rng = Rng::new(1);
        for case in 0..600 {
            let n = 1 + case % 7;
            // few values: ties; small whole numbers: exact sums
            let values = [3, 10, 1000][case / 7 % 3];
            let cost: Vec<f64> = (0..n * n).map(|_| rng.below(values) as f64 - 1.0).collect();
            let taken = assign(n, &cost);
            let mut seen = taken.clone();
            seen.sort();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
            let sum: f64 = taken.iter().enumerate().map(|(i, &j)| cost[i * n + j]).sum();
            assert_eq!(sum, least(n, &cost, 0, 0), "{cost:?}");
        }
    }

    #[test]
    fn a_large_one_has_prices_that_prove_it() {
        let (n, mut rng) = (150, Rng::new(2));
        let cost: Vec<f64> = (0..n * n).map(|_| rng.below(1 << 20) as f64).collect();
        let taken = assign(n, &cost);
        let swap_gains = (0..n).flat_map(|a| (0..a).map(move |b| (a, b))).filter(|&(a, b)| {
            let at = |i: usize, j: usize| cost[i * n + j];
            at(a, taken[b]) + at(b, taken[a]) < at(a, taken[a]) + at(b, taken[b])
        });
        assert_eq!(swap_gains.count(), 0);
    }
}
