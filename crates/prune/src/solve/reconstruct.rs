//! The best weights on a given support.

use super::finish;
use super::prepared::System;
use super::solution::TILE;
use crate::{Keep, LayerProblem, Mask, Prepared, Solution, SolveError};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Kept weights of a row up to which it is solved exactly. Of 288 weights that takes 0.3 ms of a core, of
/// 768 it takes 6.7 ms, as much as about 20 and 60 steps of conjugate gradients, and leaves no error.
const EXACT: usize = 768;

/// Steps after which conjugate gradients stop in any case.
const STEPS: usize = 100;

/// Conjugate gradients stop where the residual's norm is this part of the right side's, P(A·t): on
/// the layers of `examples/solve.rs`, 1e-5 changes no error in its fourth digit, 1e-3 does.
const TOLERANCE: f64 = 1e-4;

/// The best weights for a mask: for each row the least squares solution on what is kept, of
/// ‖(w − ŵ)X‖² + λ·mean(diag H)·‖w − ŵ‖², from the kept weights as the start.
/// The error is thus never above that of the mask with its weights unchanged.
///
/// Errors: a mask of another shape, another gram, no Cholesky factor.
pub fn reconstruct(
    problem: &LayerProblem<'_>,
    prepared: &mut Prepared<'_>,
    mask: &Mask,
) -> Result<Solution, SolveError> {
    Keep::Mask(mask).check(problem)?;
    let system = prepared.system(problem)?;
    let target = system.scaled(problem.weight());
    let mut weight = target.clone();
    let steps = least_squares(system, &target, mask.kept(), &mut weight)?;
    finish(problem, system, &weight, mask.kept().to_vec(), mask.pattern(), steps)
}

/// Minimises (w − t)·A·(w − t)ᵀ for each row w over the kept columns; `weight` is the start, and what
/// it has elsewhere is dropped. Returns the steps of conjugate gradients, of the row that took the most;
/// 0 where rows are solved exactly.
///
/// The gradient on the support is −r with r = P(A(t − w)), where P drops what is not kept. Up to
/// [`EXACT`] weights a row, a Cholesky factor of A's kept rows and columns solves for the step to the
/// optimum; beyond, conjugate gradients do.
pub(crate) fn least_squares(
    system: &System,
    target: &[f64],
    kept: &[bool],
    weight: &mut [f64],
) -> Result<usize, SolveError> {
    let k = system.k();
    let count = |row: &[bool]| row.iter().filter(|&&kept| kept).count();
    let most = kept.chunks_exact(k).map(count).max().unwrap_or(0);
    let tiles = weight.par_chunks_mut(TILE * k).zip(target.par_chunks(TILE * k));
    let steps = tiles.zip(kept.par_chunks(TILE * k)).map(|((weight, target), kept)| {
        let tile = Tile { a: system.a.as_ref(), target, kept };
        match most <= EXACT {
            true => tile.exact(weight).map(|()| 0).map_err(|feature| {
                let (damping, retries) = (system.damping, system.retries);
                SolveError::NotPositive { damping, retries, feature }
            }),
            false => Ok(tile.conjugate_gradients(weight)),
        }
    });
    steps.try_reduce(|| 0, |a, b| Ok(a.max(b)))
}

/// Some rows and what they keep: a step of all of them is one matrix product.
struct Tile<'a> {
    a: MatRef<'a, f64>,
    target: &'a [f64],
    kept: &'a [bool],
}

impl Tile<'_> {
    /// X·A.
    fn product(&self, x: &[f64], out: &mut [f64]) {
        let (rows, k) = (x.len() / self.a.nrows(), self.a.nrows());
        let x = MatRef::from_row_major_slice(x, rows, k);
        let out = MatMut::from_row_major_slice_mut(out, rows, k);
        matmul(out, Accum::Replace, x, self.a, 1.0, Par::Seq);
    }

    /// P.
    fn project(&self, x: &mut [f64]) {
        x.iter_mut().zip(self.kept).filter(|(_, kept)| !**kept).for_each(|(x, _)| *x = 0.0);
    }

    /// P(A(t − w)), after w ← P(w).
    fn residual(&self, weight: &mut [f64]) -> Vec<f64> {
        self.project(weight);
        let lost: Vec<f64> = self.target.iter().zip(weight.iter()).map(|(t, w)| t - w).collect();
        let mut residual = vec![0.0; weight.len()];
        self.product(&lost, &mut residual);
        self.project(&mut residual);
        residual
    }

    /// w + A_SS⁻¹·r on each row's support S. Errors: the feature at which A_SS has no Cholesky factor,
    /// which a factored A rules out but for rounding.
    fn exact(&self, weight: &mut [f64]) -> Result<(), usize> {
        let k = self.a.nrows();
        let residual = self.residual(weight);
        let rows = weight.chunks_exact_mut(k).zip(residual.chunks_exact(k));
        for ((w, r), kept) in rows.zip(self.kept.chunks_exact(k)) {
            let on: Vec<usize> = (0..k).filter(|&j| kept[j]).collect();
            let lower = |i: usize, j: usize| if i >= j { self.a[(on[i], on[j])] } else { 0.0 };
            let mut factor = Mat::from_fn(on.len(), on.len(), lower);
            let request = cholesky_in_place_scratch::<f64>(on.len(), Par::Seq, Default::default());
            let mut memory = MemBuffer::new(request);
            let (none, stack) = (Default::default(), MemStack::new(&mut memory));
            cholesky_in_place(factor.as_mut(), none, Par::Seq, stack, Default::default())
                .map_err(|LltError::NonPositivePivot { index }| on[index.min(on.len() - 1)])?;
            let mut step = Mat::from_fn(on.len(), 1, |i, _| r[on[i]]);
            solve_lower_triangular_in_place(factor.as_ref(), step.as_mut(), Par::Seq);
            solve_upper_triangular_in_place(factor.transpose(), step.as_mut(), Par::Seq);
            on.iter().enumerate().for_each(|(i, &j)| w[j] += step[(i, 0)]);
        }
        Ok(())
    }

    /// A has a diagonal of ones, so the diagonal preconditioner of the ALPS paper (algorithm 2) is in
    /// the scale already. Returns the steps.
    fn conjugate_gradients(&self, weight: &mut [f64]) -> usize {
        let k = self.a.nrows();
        let squares = |v: &[f64]| -> Vec<f64> { v.chunks_exact(k).map(|v| dot(v, v)).collect() };
        let mut image = vec![0.0; weight.len()];
        self.product(self.target, &mut image);
        self.project(&mut image);
        let enough: Vec<f64> = squares(&image).iter().map(|b| b * TOLERANCE * TOLERANCE).collect();
        let mut residual = self.residual(weight);
        let mut direction = residual.clone();
        let mut square = squares(&residual);
        for step in 0..STEPS {
            if square.iter().zip(&enough).all(|(r, enough)| r <= enough) {
                return step;
            }
            self.product(&direction, &mut image);
            for row in 0..square.len() {
                let at = row * k..(row + 1) * k;
                let (p, r) = (&mut direction[at.clone()], &mut residual[at.clone()]);
                let (q, kept) = (&image[at.clone()], &self.kept[at.clone()]);
                let curvature = dot(p, q);
                if square[row] <= enough[row] || curvature <= 0.0 {
                    continue; // at its optimum
                }
                let alpha = square[row] / curvature;
                let w = &mut weight[at];
                for j in 0..k {
                    w[j] += alpha * p[j];
                    r[j] = if kept[j] { r[j] - alpha * q[j] } else { 0.0 };
                }
                let new = dot(r, r);
                let beta = new / square[row];
                square[row] = new;
                p.iter_mut().zip(r.iter()).for_each(|(p, r)| *p = r + beta * *p);
            }
        }
        STEPS
    }
}

/// In eight sums, for the compiler to keep in vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    rest + sums.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::{Gram, Pattern};
    use faer::Side;
    use faer::linalg::solvers::Solve;

    /// Both ways against the normal equations of every row.
    #[test]
    fn rows_reach_their_optimum() {
        let (rows, k) = (TILE + 3, 96);
        let mut rng = Rng::new(11);
        let mut draw = || (rng.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let mut gram = Gram::new(k);
        for _ in 0..70 {
            let common = draw();
            let size = |j: usize| (1 + j % 7) as f32;
            gram.add(&(0..k).map(|j| size(j) * (common + draw())).collect::<Vec<_>>()).unwrap();
        }
        let weight: Vec<f32> = (0..rows * k).map(|_| draw()).collect();
        let problem = LayerProblem::new(&weight, rows, k, &gram).unwrap();
        let mut prepared = Prepared::new(&gram, 0.01).unwrap();
        let system = prepared.system(&problem).unwrap();
        let mask = Mask::random(rows, k, Pattern::TWO_OF_FOUR, 5).unwrap();
        let target = system.scaled(&weight);
        let tile = Tile { a: system.a.as_ref(), target: &target, kept: mask.kept() };
        let (mut iterated, mut solved) = (target.clone(), target.clone());
        let steps = tile.conjugate_gradients(&mut iterated);
        assert!((5..STEPS).contains(&steps), "{steps} steps");
        tile.exact(&mut solved).unwrap();

        let cost = |w: &[f64], t: &[f64]| -> f64 {
            let lost = Mat::from_fn(1, k, |_, j| w[j] - t[j]);
            (&lost * &system.a * lost.transpose())[(0, 0)]
        };
        for row in 0..rows {
            let at = row * k..(row + 1) * k;
            let t = Mat::from_fn(k, 1, |j, _| target[row * k + j]);
            let right = &system.a * t;
            let on: Vec<usize> = (0..k).filter(|j| mask.kept()[row * k + j]).collect();
            let a = Mat::from_fn(on.len(), on.len(), |i, j| system.a[(on[i], on[j])]);
            let b = Mat::from_fn(on.len(), 1, |i, _| right[(on[i], 0)]);
            let best = a.llt(Side::Lower).unwrap().solve(b);
            let mut exact = vec![0.0; k];
            on.iter().enumerate().for_each(|(i, &j)| exact[j] = best[(i, 0)]);
            let t = &target[at.clone()];
            let want = cost(&exact, t);
            for (found, slack) in [(&iterated, 1e-4), (&solved, 1e-9)] {
                let have = cost(&found[at.clone()], t);
                assert!((-1e-9..slack).contains(&(have / want - 1.0)), "{have}, best {want}");
            }
        }
    }
}
