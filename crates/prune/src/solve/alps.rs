//! ALPS (Meng et al. 2024, arXiv 2406.07831): the support by ADMM, then the best weights on it.

use super::prepared::{Spectrum, System};
use super::reconstruct::least_squares;
use super::solution::{TILE, energies};
use super::{Keep, finish};
use crate::project::keep_highest;
use crate::{LayerProblem, Pattern, Prepared, Solution, SolveError};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// What ADMM computes in. It only chooses the support, for which f32 does: see `examples/solve.rs`.
type Real = f32;

/// ρ of the first iteration.
const RHO: Real = 0.1;

/// ρ is not divided below this.
const LEAST_RHO: Real = 1e-4;

/// Iterations between two looks at the support.
const LOOK: usize = 3;

/// Iterations of ADMM in any case, as in the paper's code.
const ITERATIONS: usize = 300;

/// A row leaves the start for ADMM's support only if it gains more than rounding may feign.
const GAIN: f64 = 1e-9;

/// Chooses a mask and its weights together. ADMM splits the layer into weights W, which are free and
/// close to the layer's outputs, and D, which follows the pattern, and lets a growing penalty ρ pull
/// them together; when the support of D no longer moves, least squares find the best weights on
/// it. A row for which this is worse than its start, the pattern's best |w|·√H_jj with weights
/// unchanged, keeps the start: so no row's error is above that of Wanda with the same damping.
///
/// Errors: columns that are no whole groups, another gram, no Cholesky factor or eigenvalues.
pub fn alps(
    problem: &LayerProblem<'_>,
    prepared: &mut Prepared<'_>,
    pattern: Pattern,
) -> Result<Solution, SolveError> {
    Keep::Pattern(pattern).check(problem)?;
    let (system, spectrum) = prepared.spectrum(problem)?;
    let target = system.scaled(problem.weight());
    let (start, found, iterations) = admm(system, spectrum, &target, pattern);
    let mut kept: Vec<bool> = found.iter().map(|&(_, kept)| kept).collect();
    let mut weight: Vec<f64> = found.into_iter().map(|(d, _)| d).collect();
    let steps = least_squares(system, &target, &kept, &mut weight)?;
    keep_better(problem, system, &target, &start, &mut weight, &mut kept);
    finish(problem, system, &weight, kept, pattern, iterations + steps)
}

/// For each row the start, where the weights found are no better.
fn keep_better(
    problem: &LayerProblem<'_>,
    system: &System,
    target: &[f64],
    start: &[bool],
    weight: &mut [f64],
    kept: &mut [bool],
) {
    let k = system.k();
    let error = |weight: &[f64]| {
        let weight = system.unscaled(weight);
        let lost = problem.weight().iter().zip(weight).map(|(&w, v)| f64::from(w) - f64::from(v));
        energies(&lost.collect::<Vec<_>>(), problem.gram())
    };
    let unchanged: Vec<f64> =
        target.iter().zip(start).map(|(&t, &kept)| if kept { t } else { 0.0 }).collect();
    let (before, after) = (error(&unchanged), error(weight));
    for row in 0..before.len() {
        if after[row] < before[row] * (1.0 - GAIN) {
            continue;
        }
        let at = row * k..(row + 1) * k;
        weight[at.clone()].copy_from_slice(&unchanged[at.clone()]);
        kept[at.clone()].copy_from_slice(&start[at]);
    }
}

/// The start's support, the weights D with their support, and the iterations.
///
/// minimise (W − T)·A·(W − T)ᵀ subject to W = D, D of the pattern (equation 5 of the paper):
/// W ← (A·T − V + ρD)·(A + ρI)⁻¹; D ← the pattern's best of W + V/ρ; V ← V + ρ(W − D), from D = T
/// and V = 0, where the first W is T. (A + ρI)⁻¹ = Q(Λ + ρI)⁻¹Qᵀ is made anew only when ρ moves.
fn admm(
    system: &System,
    spectrum: &Spectrum,
    target: &[f64],
    pattern: Pattern,
) -> (Vec<bool>, Vec<(f64, bool)>, usize) {
    let k = system.k();
    let t: Vec<Real> = target.iter().map(|&t| t as Real).collect();
    let a = Mat::<Real>::from_fn(k, k, |i, j| system.a[(i, j)] as Real);
    let mut at = vec![0.0; t.len()];
    product(&t, a.as_ref(), &mut at);
    let mut split = Split::new(&t, pattern);
    let start = split.kept.clone();
    let mut seen = start.clone();
    let mut w = vec![0.0; t.len()];
    let (mut rho, mut moved, mut iterations) = (RHO, false, 1); // the first W is T
    split.step(&t, rho, pattern);
    let mut inverse = shifted_inverse(spectrum, rho);
    while iterations < ITERATIONS {
        iterations += 1;
        split.free(&at, inverse.as_ref(), rho, &mut w);
        split.step(&w, rho, pattern);
        if !iterations.is_multiple_of(LOOK) {
            continue;
        }
        let changed = seen.iter().zip(&split.kept).filter(|(old, new)| old != new).count();
        let fraction = changed as f64 / (t.len() as f64 * pattern.density());
        seen.copy_from_slice(&split.kept);
        moved |= changed > 0;
        rho *= match fraction {
            0.0 if moved || rho <= LEAST_RHO => break,
            0.0 => 0.2,
            f if f > 0.1 => 1.3,
            f if f > 0.005 => 1.2,
            _ => 1.1,
        };
        if !moved {
            split = Split::new(&t, pattern);
            split.step(&t, rho, pattern);
        }
        inverse = shifted_inverse(spectrum, rho);
    }
    let d = split.values.iter().zip(split.kept).map(|(&d, kept)| (f64::from(d), kept));
    (start, d.collect(), iterations)
}

/// D and V in one: V is zero where D is kept, for there the step of V takes back what W misses of D.
struct Split {
    /// D where it is kept, V elsewhere.
    values: Vec<Real>,
    kept: Vec<bool>,
}

impl Split {
    /// D = T on the pattern's best of it, V = 0.
    fn new(t: &[Real], pattern: Pattern) -> Self {
        let size: Vec<Real> = t.iter().map(|t| t.abs()).collect();
        let mut kept = vec![false; t.len()];
        keep_highest(&size, pattern, &mut kept);
        let values = t.iter().zip(&kept).map(|(&t, &kept)| if kept { t } else { 0.0 }).collect();
        Self { values, kept }
    }

    /// W ← (A·T − V + ρD)·(A + ρI)⁻¹.
    fn free(&self, at: &[Real], inverse: MatRef<'_, Real>, rho: Real, w: &mut [Real]) {
        let part = TILE * inverse.nrows();
        let split = self.values.par_chunks(part).zip(self.kept.par_chunks(part));
        split.zip(at.par_chunks(part)).zip(w.par_chunks_mut(part)).for_each(
            |(((values, kept), at), w)| {
                let sum = |((at, z), kept): ((&Real, &Real), &bool)| {
                    at + if *kept { rho * z } else { -z }
                };
                let b: Vec<Real> = at.iter().zip(values).zip(kept).map(sum).collect();
                product(&b, inverse, w);
            },
        );
    }

    /// D ← the pattern's best of W + V/ρ; V ← V + ρ(W − D), which is ρ(W + V/ρ) off its support.
    fn step(&mut self, w: &[Real], rho: Real, pattern: Pattern) {
        let part = pattern.group() * 1024;
        let split = self.values.par_chunks_mut(part).zip(self.kept.par_chunks_mut(part));
        split.zip(w.par_chunks(part)).for_each(|((values, kept), w)| {
            let sum =
                |((z, kept), w): ((&Real, &bool), &Real)| w + if *kept { 0.0 } else { z / rho };
            let sums: Vec<Real> = values.iter().zip(kept.iter()).zip(w).map(sum).collect();
            let size: Vec<Real> = sums.iter().map(|s| s.abs()).collect();
            keep_highest(&size, pattern, kept);
            for ((z, &kept), s) in values.iter_mut().zip(kept.iter()).zip(sums) {
                *z = if kept { s } else { rho * s };
            }
        });
    }
}

/// (A + ρI)⁻¹ = Q(Λ + ρI)⁻¹Qᵀ.
fn shifted_inverse(spectrum: &Spectrum, rho: Real) -> Mat<Real> {
    let q = &spectrum.vectors;
    let k = q.nrows();
    // columns of Q over √(Λ + ρ): half the products make the lower triangle, the rest is its mirror
    let root: Vec<f64> = spectrum.values.iter().map(|l| (l + f64::from(rho)).sqrt()).collect();
    let scaled = Mat::<Real>::from_fn(k, k, |i, j| (q[(i, j)] / root[j]) as Real);
    let mut inverse = Mat::<Real>::zeros(k, k);
    let (lower, all) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    let (one, par) = (1.0, Par::rayon(0));
    let right = scaled.transpose();
    triangular(inverse.as_mut(), lower, Accum::Replace, &scaled, all, right, all, one, par);
    for j in 1..k {
        for i in 0..j {
            inverse[(i, j)] = inverse[(j, i)];
        }
    }
    inverse
}

/// X·A of a `rows × k` matrix X, row-major, and a symmetric A. Rows in tiles and not a product on all
/// cores, whose threads would spin for each other where the cores are shared.
fn product(x: &[Real], a: MatRef<'_, Real>, out: &mut [Real]) {
    let k = a.nrows();
    x.par_chunks(TILE * k).zip(out.par_chunks_mut(TILE * k)).for_each(|(x, out)| {
        let x = MatRef::from_row_major_slice(x, x.len() / k, k);
        let out = MatMut::from_row_major_slice_mut(out, out.len() / k, k);
        matmul(out, Accum::Replace, x, a, 1.0, Par::Seq);
    });
}
