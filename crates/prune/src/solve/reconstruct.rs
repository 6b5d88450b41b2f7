//! The best weights on a given support.

use super::finish;
use super::prepared::System;
use super::solution::TILE;
use crate::{Keep, LayerProblem, Mask, Prepared, Solution, SolveError};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Steps after which conjugate gradients stop in any case.
pub(crate) const STEPS: usize = 100;

/// Conjugate gradients stop where the residual's norm is this part of the right side's, P(A·t): on
/// the layers of `examples/solve.rs`, 1e-5 changes no error in its fourth digit, 1e-3 does.
const TOLERANCE: f64 = 1e-4;

/// The best weights for a mask: for each row the least squares solution on what is kept, of
/// ‖(w − ŵ)X‖² + λ·mean(diag H)·‖w − ŵ‖², by conjugate gradients that start at the kept weights.
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
    let steps = least_squares(system, &target, mask.kept(), &mut weight);
    finish(problem, system, &weight, mask.kept().to_vec(), mask.pattern(), steps)
}

/// Minimises (w − t)·A·(w − t)ᵀ for each row w over the kept columns; `weight` is the start, and what
/// it has elsewhere is dropped. Returns the steps of the row that took the most.
///
/// The gradient on the support is −r with r = P(A(t − w)), where P drops what is not kept; A has a
/// diagonal of ones, so the diagonal preconditioner of the ALPS paper (algorithm 2) is in the scale
/// already. Rows go in tiles, so that a step is one matrix product.
pub(crate) fn least_squares(
    system: &System,
    target: &[f64],
    kept: &[bool],
    weight: &mut [f64],
) -> usize {
    let k = system.k();
    let tiles = weight.par_chunks_mut(TILE * k).zip(target.par_chunks(TILE * k));
    let steps = tiles.zip(kept.par_chunks(TILE * k)).map(|((weight, target), kept)| {
        conjugate_gradients(system.a.as_ref(), target, kept, weight)
    });
    steps.max().unwrap_or(0)
}

fn conjugate_gradients(
    a: MatRef<'_, f64>,
    target: &[f64],
    kept: &[bool],
    weight: &mut [f64],
) -> usize {
    let k = a.nrows();
    let rows = weight.len() / k;
    let product = |x: &[f64], out: &mut [f64]| {
        let x = MatRef::from_row_major_slice(x, rows, k);
        let out = MatMut::from_row_major_slice_mut(out, rows, k);
        matmul(out, Accum::Replace, x, a, 1.0, Par::Seq);
    };
    let project = |x: &mut [f64]| {
        x.iter_mut().zip(kept).filter(|(_, kept)| !**kept).for_each(|(x, _)| *x = 0.0);
    };
    let squares = |v: &[f64]| -> Vec<f64> { v.chunks_exact(k).map(|v| dot(v, v)).collect() };
    let (mut residual, mut image) = (vec![0.0; rows * k], vec![0.0; rows * k]);
    product(target, &mut residual);
    project(&mut residual);
    let enough: Vec<f64> = squares(&residual).iter().map(|b| b * TOLERANCE * TOLERANCE).collect();
    project(weight);
    image.iter_mut().zip(target).zip(weight.iter()).for_each(|((d, t), w)| *d = t - w);
    product(&image, &mut residual);
    project(&mut residual);
    let mut direction = residual.clone();
    let mut square = squares(&residual);
    for step in 0..STEPS {
        if square.iter().zip(&enough).all(|(r, enough)| r <= enough) {
            return step;
        }
        product(&direction, &mut image);
        for row in 0..rows {
            let at = row * k..(row + 1) * k;
            let (p, r) = (&mut direction[at.clone()], &mut residual[at.clone()]);
            let (q, kept) = (&image[at.clone()], &kept[at.clone()]);
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
