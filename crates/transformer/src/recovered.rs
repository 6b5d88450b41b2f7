//! Matrices that are nearly 2:4: two of each four weights, and the others beside them.
//!
//! Weight-Recover-Prune (ACL 2024, long.347, §3) makes such a matrix: W₂₄ + R, R of few entries.

use crate::Error;
use quickpick_format::{Csr, Element, Matrix24};

/// Whether a fraction of weights beside a 2:4 matrix makes sense. Errors: it is not in 0..=1.
pub(crate) fn check_fraction(fraction: f64) -> Result<(), Error> {
    match (0.0..=1.0).contains(&fraction) {
        true => Ok(()),
        false => Err(Error::Config(format!("a residual of {fraction} of a matrix, not 0..=1"))),
    }
}

/// How many weights a 2:4 matrix of these has no room for: of each four, those beyond two that are not
/// zero.
pub(crate) fn excess<T>(weights: &[T], is_zero: impl Fn(&T) -> bool) -> usize {
    let beyond = |g: &[T]| g.iter().filter(|&w| !is_zero(w)).count().saturating_sub(2);
    weights.chunks(4).map(beyond).sum()
}

/// Whether so many of a matrix's weights are within a fraction of them.
pub(crate) fn within(count: usize, elements: usize, fraction: f64) -> bool {
    count as f64 <= fraction * elements as f64
}

/// Parts a dense matrix in two whose sum it is: of each four weights the two of the largest magnitude,
/// ties to the lower column, and all the others that are not zero.
///
/// Errors: as [`Matrix24::from_mask`] and [`Csr::from_dense`].
pub(crate) fn split<T: Element>(
    dense: &[T],
    rows: usize,
    cols: usize,
) -> Result<(Matrix24<T>, Csr<T>), quickpick_format::Error> {
    let mut kept = Vec::with_capacity(dense.len());
    for group in dense.chunks(4) {
        let size = |i: usize| group[i].to_f32().abs();
        let mut order: Vec<usize> = (0..group.len()).collect();
        order.sort_by(|&i, &j| size(j).total_cmp(&size(i))); // stable: the lower column first
        kept.extend((0..group.len()).map(|i| order.iter().take(2).any(|&o| o == i)));
    }
    let matrix = Matrix24::from_mask(dense, &kept, rows, cols)?;
    let rest = dense.iter().zip(&kept).map(|(&w, &kept)| if kept { T::zeroed() } else { w });
    Ok((matrix, Csr::from_dense(&Vec::from_iter(rest), rows, cols)?))
}

/// Adds a sparse residual to its matrix, row-major. Errors, as the reason: a sum that the matrix's type
/// does not hold exactly. Where the matrix keeps nothing, which is where residuals are, any entry of its
/// own type is exact.
pub(crate) fn add<T: Element, R: Element>(
    dense: &mut [T],
    residual: &Csr<R>,
) -> Result<(), String> {
    for (row, out) in dense.chunks_exact_mut(residual.cols()).enumerate() {
        for (col, r) in residual.row(row) {
            let (w, r) = (f64::from(out[col].to_f32()), f64::from(r.to_f32()));
            let sum = T::from_f32((w + r) as f32);
            let wide = f64::from(sum.to_f32());
            if (wide - w, wide - r) != (r, w) {
                let why = format!("{w} and its residual {r} make no {}", T::DTYPE);
                return Err(format!("row {row}, column {col}: {why}"));
            }
            out[col] = sum;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn the_larger_two_of_four_and_the_rest_make_the_whole() {
        let dense =
            [1.0, -3.0, 2.0, 0.5, /**/ 2.0, -2.0, 2.0, 0.0, /**/ 0.0, 0.0, 0.0, 4.0];
        let dense = dense.map(f16::from_f32);
        let zero = |w: &f16| w.is_zero();
        assert_eq!(excess(&dense, zero), 3);
        assert!(within(3, 12, 0.25) && !within(3, 12, 0.24) && within(0, 12, 0.0));
        let (matrix, rest) = split(&dense, 1, 12).unwrap();
        let want = [0.0, -3.0, 2.0, 0.0, 2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0];
        assert_eq!(matrix.expand(), want.map(f16::from_f32));
        let entries = [(0, 1.0), (3, 0.5), (6, 2.0)].map(|(c, v)| (c, f16::from_f32(v)));
        assert!(rest.row(0).eq(entries));
        let mut sum = matrix.expand();
        add(&mut sum, &rest).unwrap();
        assert_eq!(sum, dense);
        // what is 2:4 already stays as compression has it
        assert_eq!(split(&matrix.expand(), 1, 12).unwrap().0, matrix);
        assert_eq!(matrix, Matrix24::compress(&matrix.expand(), 1, 12).unwrap());
    }

    #[test]
    fn a_sum_that_would_lose_bits_is_an_error() {
        let one = |v: f32| Csr::from_dense(&[bf16::from_f32(v), bf16::ZERO], 1, 2).unwrap();
        let mut dense = [f16::from_f32(1.5), f16::ONE];
        add(&mut dense, &one(-0.25)).unwrap();
        assert_eq!(dense, [1.25, 1.0].map(f16::from_f32));
        let why = add(&mut dense, &one(2f32.powi(-20))).unwrap_err();
        assert!(why.starts_with("row 0, column 0: 1.25 and its residual 0.00000095"), "{why}");
        assert!(add(&mut [0.0f32; 2], &one(2f32.powi(-120))).is_ok());
        assert!(add(&mut [2f32.powi(100), 0.0], &one(2f32.powi(-120))).is_err());
        assert!(add(&mut [f16::ZERO; 2], &one(1e6)).is_err());
        assert!(add(&mut [1i8, 0], &one(2.0)).is_ok() && add(&mut [1i8, 0], &one(0.5)).is_err());
    }

    #[test]
    fn fractions_are_checked() {
        assert!(check_fraction(0.0).is_ok() && check_fraction(1.0).is_ok());
        assert!([-0.1, 1.1, f64::NAN].iter().all(|&f| check_fraction(f).is_err()));
    }
}
