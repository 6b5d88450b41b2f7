//! A gram as the solvers use it: damped, scaled and factored, once for all layers that share it.

use crate::{Gram, LayerProblem, SolveError};
use faer::linalg::cholesky::llt::factor::LltError;
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Mat, Par, Side};

/// What damping 0 is raised to.
const FIRST: f64 = 1e-6;

/// The most that damping is raised to.
const MOST: f64 = 1.0;

/// A gram H and its factorisations, each made when a solver first asks for it. Layers with the same
/// input (q, k and v; gate and up) share one.
///
/// Solvers see the *system* A = S⁻¹(H + λ·mean(diag H)·I)S⁻¹ with S such that A has a diagonal of
/// ones, and weights W·S. Features that are zero in every input have no part in the mean; their
/// rows and columns of A are the identity's, and solvers give them weight zero (SparseGPT, arXiv
/// 2301.00774, does the same).
///
/// If A has no Cholesky factor, λ is raised tenfold (from 0 to 1e-6), up to 1; solutions say how
/// often. Nothing else ever stands in for A.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    gram: &'a Gram,
    damping: f64,
    system: Option<System>,
    factor: Option<Vec<f64>>,
    spectrum: Option<Spectrum>,
}

/// A, and what was needed to have it.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// A, `k × k`, symmetric.
    pub a: Mat<f64>,
    /// The diagonal of S; 0 for features that are zero in every input, so that weights vanish there.
    pub scale: Vec<f64>,
    /// λ.
    pub damping: f64,
    /// How often λ was raised.
    pub retries: u32,
    /// L of J·A·J = L·Lᵀ, where J reverses the order of features.
    cholesky: Mat<f64>,
}

/// A = Q·Λ·Qᵀ.
#[derive(Clone, Debug)]
pub(crate) struct Spectrum {
    /// Q, `k × k`: an eigenvector in each column.
    pub vectors: Mat<f64>,
    /// The diagonal of Λ.
    pub values: Vec<f64>,
}

impl<'a> Prepared<'a> {
    /// λ of the papers (SparseGPT §4, ALPS appendix B).
    pub const DAMPING: f64 = 0.01;

    /// `damping`: λ, a factor of the mean diagonal. Errors: not finite, or negative.
    pub fn new(gram: &'a Gram, damping: f64) -> Result<Self, SolveError> {
        match damping.is_finite() && damping >= 0.0 {
            true => Ok(Self { gram, damping, system: None, factor: None, spectrum: None }),
            false => Err(SolveError::Damping(damping)),
        }
    }

    /// What was prepared.
    pub fn gram(&self) -> &'a Gram {
        self.gram
    }

    /// The system of a layer. Errors: its gram is another one, or A has no Cholesky factor.
    pub(crate) fn system(&mut self, problem: &LayerProblem<'_>) -> Result<&System, SolveError> {
        if !std::ptr::eq(problem.gram(), self.gram) && problem.gram() != self.gram {
            return Err(SolveError::OtherGram);
        }
        filled(&mut self.system, || System::new(self.gram, self.damping))
    }

    /// The system, and U of A⁻¹ = UᵀU: upper triangular, `k × k`, row-major.
    pub(crate) fn factor(
        &mut self,
        problem: &LayerProblem<'_>,
    ) -> Result<(&System, &[f64]), SolveError> {
        self.system(problem)?;
        let system = filled(&mut self.system, || System::new(self.gram, self.damping))?;
        Ok((system, filled(&mut self.factor, || Ok(system.factor()))?))
    }

    /// The system and its eigendecomposition.
    pub(crate) fn spectrum(
        &mut self,
        problem: &LayerProblem<'_>,
    ) -> Result<(&System, &Spectrum), SolveError> {
        self.system(problem)?;
        let system = filled(&mut self.system, || System::new(self.gram, self.damping))?;
        Ok((system, filled(&mut self.spectrum, || system.spectrum())?))
    }
}

/// What the slot holds, made now if it is empty.
fn filled<T>(
    slot: &mut Option<T>,
    make: impl FnOnce() -> Result<T, SolveError>,
) -> Result<&T, SolveError> {
    let made = match slot.take() {
        Some(made) => made,
        None => make()?,
    };
    Ok(slot.insert(made))
}

impl System {
    fn new(gram: &Gram, damping: f64) -> Result<Self, SolveError> {
        let diagonal = gram.diagonal();
        let live = diagonal.iter().filter(|&&d| d > 0.0);
        let mean = live.clone().sum::<f64>() / live.count().max(1) as f64;
        let (mut damping, mut retries) = (damping, 0);
        loop {
            let scaled = |&d: &f64| if d > 0.0 { (d + damping * mean).sqrt() } else { 0.0 };
            let scale: Vec<f64> = diagonal.iter().map(scaled).collect();
            let element = |i: usize, j: usize| match (i == j, scale[i] * scale[j]) {
                (true, _) => 1.0,
                (false, 0.0) => 0.0,
                (false, both) => gram.at(i, j) / both,
            };
            let a = Mat::from_fn(gram.k(), gram.k(), element);
            match reversed_cholesky(&a) {
                Ok(cholesky) => return Ok(Self { a, scale, damping, retries, cholesky }),
                Err(feature) if damping >= MOST => {
                    return Err(SolveError::NotPositive { damping, retries, feature });
                }
                Err(_) => {
                    damping = (10.0 * damping).clamp(FIRST, MOST);
                    retries += 1;
                }
            }
        }
    }

    /// Features.
    pub fn k(&self) -> usize {
        self.scale.len()
    }

    /// Weights in the system's scale: W·S.
    pub fn scaled(&self, weight: &[f32]) -> Vec<f64> {
        let rows = weight.chunks_exact(self.k());
        rows.flat_map(|row| row.iter().zip(&self.scale).map(|(&w, s)| f64::from(w) * s)).collect()
    }

    /// Weights back from it.
    pub fn unscaled(&self, weight: &[f64]) -> Vec<f32> {
        let back = |(&w, &s): (&f64, &f64)| if s > 0.0 { (w / s) as f32 } else { 0.0 };
        weight
            .chunks_exact(self.k())
            .flat_map(|row| row.iter().zip(&self.scale).map(back))
            .collect()
    }

    /// From J·A·J = L·Lᵀ follows A = R·Rᵀ with R = J·L·J, upper triangular, and A⁻¹ = UᵀU with
    /// U = R⁻¹ = J·L⁻¹·J: no inverse is factored, as SparseGPT's code does it.
    fn factor(&self) -> Vec<f64> {
        let k = self.k();
        let mut inverse = Mat::zeros(k, k);
        invert_lower_triangular(inverse.as_mut(), self.cholesky.as_ref(), Par::rayon(0));
        (0..k * k).map(|at| inverse[(k - 1 - at / k, k - 1 - at % k)]).collect()
    }

    fn spectrum(&self) -> Result<Spectrum, SolveError> {
        let eigen = self.a.self_adjoint_eigen(Side::Lower);
        let eigen = eigen.map_err(|_| SolveError::Eigen { features: self.k() })?;
        let values = eigen.S().column_vector().iter().copied().collect();
        Ok(Spectrum { vectors: eigen.U().to_owned(), values })
    }
}

/// L of J·A·J = L·Lᵀ, or the feature at which it stops. A pivot of A's rounding is none: of a matrix
/// with a diagonal of ones, k·ε is what a sum of k products may be off.
fn reversed_cholesky(a: &Mat<f64>) -> Result<Mat<f64>, usize> {
    let last = a.nrows() - 1;
    let reversed = Mat::from_fn(a.nrows(), a.nrows(), |i, j| a[(last - i, last - j)]);
    let factor = reversed
        .llt(Side::Lower)
        .map_err(|LltError::NonPositivePivot { index }| last - index.min(last))?;
    let least = a.nrows() as f64 * f64::EPSILON;
    match (0..=last).find(|&i| factor.L()[(i, i)].powi(2) <= least) {
        Some(index) => Err(last - index),
        None => Ok(factor.L().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of inputs that share a few causes; feature 3 is dead.
    fn gram(k: usize, tokens: usize) -> Gram {
        let mut rng = crate::rng::Rng::new(7);
        let mut draw = || (rng.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let mut gram = Gram::new(k);
        for _ in 0..tokens {
            let common = draw();
            let mut x: Vec<f32> = (0..k).map(|j| common + draw() * (1.0 + j as f32)).collect();
            x[3] = 0.0;
            gram.add(&x).unwrap();
        }
        gram
    }

    #[test]
    fn factors_multiply_to_the_system() {
        let (k, gram) = (24, gram(24, 10));
        let weight = vec![1.0; k];
        let problem = LayerProblem::new(&weight, 1, k, &gram).unwrap();
        let mut prepared = Prepared::new(&gram, 0.01).unwrap();
        let (system, u) = prepared.factor(&problem).unwrap();
        assert_eq!((system.damping, system.retries, system.scale[3]), (0.01, 0, 0.0));
        let at = |i: usize, j: usize| (0..k).map(|l| u[l * k + i] * u[l * k + j]).sum::<f64>();
        for (i, j) in (0..k * k).map(|at| (at / k, at % k)) {
            let product: f64 = (0..k).map(|l| system.a[(i, l)] * at(l, j)).sum();
            assert!((product - f64::from(i == j)).abs() < 1e-9, "A·UᵀU at ({i}, {j}): {product}");
            assert!(i <= j || u[i * k + j] == 0.0);
        }
        let (system, spectrum) = prepared.spectrum(&problem).unwrap();
        for (i, j) in (0..k * k).map(|at| (at / k, at % k)) {
            let q = &spectrum.vectors;
            let sum: f64 = (0..k).map(|l| q[(i, l)] * spectrum.values[l] * q[(j, l)]).sum();
            assert!((sum - system.a[(i, j)]).abs() < 1e-12);
        }
    }

    /// A rank-deficient gram without damping, an indefinite matrix that some damping mends, and one
    /// that none within bounds does.
    #[test]
    fn damping_is_raised_and_reported() {
        let weight = [1.0; 24];
        let gram = gram(24, 10);
        let problem = LayerProblem::new(&weight, 1, 24, &gram).unwrap();
        let mut prepared = Prepared::new(&gram, 0.0).unwrap();
        let system = prepared.system(&problem).unwrap();
        assert_eq!((system.damping, system.retries), (FIRST, 1));

        let indefinite = |off: f64| Gram::from_matrix(&[1.0, off, off, 1.0], 2, 1).unwrap();
        let gram = indefinite(1.05);
        let problem = LayerProblem::new(&weight[..2], 1, 2, &gram).unwrap();
        let mut prepared = Prepared::new(&gram, 0.01).unwrap();
        let system = prepared.system(&problem).unwrap();
        assert_eq!((system.damping, system.retries), (0.1, 1));
        let gram = indefinite(2.5);
        let problem = LayerProblem::new(&weight[..2], 1, 2, &gram).unwrap();
        let why = Prepared::new(&gram, 0.01).unwrap().system(&problem).err();
        assert_eq!(why, Some(SolveError::NotPositive { damping: 1.0, retries: 2, feature: 0 }));

        assert!(matches!(Prepared::new(&gram, -1.0), Err(SolveError::Damping(_))));
        let other = indefinite(0.5);
        let mut prepared = Prepared::new(&other, 0.01).unwrap();
        assert_eq!(prepared.system(&problem).err(), Some(SolveError::OtherGram));
    }
}
