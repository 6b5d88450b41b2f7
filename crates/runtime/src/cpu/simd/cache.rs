//! What attention does with a block of a cache's rows: elements are widened on their way to the arithmetic.

use super::{Element, Simd};

/// Vectors of columns that are summed at a time: as many sums in flight, and few enough for every set's
/// registers.
const COLUMNS: usize = 4;

/// What attention asks of a cache, for every set.
pub(in crate::cpu) trait CacheExt: Simd {
    /// `acc = acc·scale + Σ weights[j] · row j`, rows as long as `acc`, `stride` elements apart. Each column is
    /// summed in the order of the rows.
    #[inline(always)]
    fn add_weighted<T: Element>(
        self,
        weights: &[f32],
        rows: &[T],
        stride: usize,
        scale: f32,
        acc: &mut [f32],
    ) {
        let columns = COLUMNS * Self::LANES;
        let mut at = 0;
        while at + columns <= acc.len() {
            self.some_columns::<T, COLUMNS>(weights, rows, stride, scale, (acc, at));
            at += columns;
        }
        while at + Self::LANES <= acc.len() {
            self.some_columns::<T, 1>(weights, rows, stride, scale, (acc, at));
            at += Self::LANES;
        }
        for (column, acc) in acc.iter_mut().enumerate().skip(at) {
            *acc *= scale;
            for (j, weight) in weights.iter().enumerate() {
                *acc += weight * rows[j * stride + column].widen();
            }
        }
    }

    /// The columns of `V` vectors from `at` on.
    #[inline(always)]
    fn some_columns<T: Element, const V: usize>(
        self,
        weights: &[f32],
        rows: &[T],
        stride: usize,
        scale: f32,
        (acc, at): (&mut [f32], usize),
    ) {
        let acc = &mut acc[at..][..V * Self::LANES];
        // SAFETY: v is below V, and acc is V vectors long
        let mut sums: [Self::F; V] =
            std::array::from_fn(|v| unsafe { self.load(acc.as_ptr().add(v * Self::LANES)) });
        let (scale, zero) = (self.splat(scale), self.splat(0.0));
        sums = sums.map(|sum| self.fma(sum, scale, zero));
        for (j, weight) in weights.iter().enumerate() {
            let row = &rows[j * stride + at..][..V * Self::LANES];
            let weight = self.splat(*weight);
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: v is below V, and row is V vectors long
                let x = unsafe { T::load(self, row.as_ptr().add(v * Self::LANES)) };
                *sum = self.fma(weight, x, *sum);
            }
        }
        for (v, sum) in sums.into_iter().enumerate() {
            // SAFETY: v is below V, and acc is V vectors long
            unsafe { self.store(acc.as_mut_ptr().add(v * Self::LANES), sum) };
        }
    }
}

impl<S: Simd> CacheExt for S {}
