//! An output that tasks write in pieces, each its own.

use rayon::prelude::*;
use std::marker::PhantomData;

/// Some output features of all tokens: a token's, or in a transposed output a feature's, are a line. Nobody else has them.
pub(in crate::cpu) struct Tile<'a, O> {
    first: *mut O,
    stride: usize,
    lines: usize,
    columns: usize,
    owner: PhantomData<&'a mut [O]>,
}

// SAFETY: as of the `&mut [O]` that it is a piece of
unsafe impl<O: Send> Send for Tile<'_, O> {}

impl<O> Tile<'_, O> {
    /// Panics where there is no such line.
    pub(in crate::cpu) fn line(&mut self, i: usize) -> &mut [O] {
        assert!(i < self.lines, "line {i} of {}", self.lines);
        // SAFETY: the line is in the matrix, as `tiles` has checked, and no other tile has these elements
        unsafe { std::slice::from_raw_parts_mut(self.first.add(i * self.stride), self.columns) }
    }
}

/// The matrix, which the closure below has alone: it cannot be copied, and so no tile is made twice.
struct Whole<O>(*mut O);

// SAFETY: as of the `&mut [O]` that it stands for
unsafe impl<O: Send> Send for Whole<O> {}
// SAFETY: only disjoint tiles are made of it
unsafe impl<O: Send> Sync for Whole<O> {}

/// The outputs y, n tokens × m features or transposed, in tiles of `features`, the last maybe of fewer.
pub(in crate::cpu) fn tiles<O: Send>(
    y: &mut [O],
    m: usize,
    n: usize,
    transposed: bool,
    features: usize,
) -> impl IndexedParallelIterator<Item = Tile<'_, O>> {
    assert_eq!(y.len(), m * n, "outputs");
    let whole = Whole(y.as_mut_ptr());
    (0..m.div_ceil(features)).into_par_iter().map(move |i| {
        let whole = &whole;
        let (start, owner) = (i * features, PhantomData);
        let some = features.min(m - start);
        // SAFETY: start < m
        unsafe {
            match transposed {
                false => {
                    Tile { first: whole.0.add(start), stride: m, lines: n, columns: some, owner }
                }
                true => Tile {
                    first: whole.0.add(start * n),
                    stride: n,
                    lines: some,
                    columns: n,
                    owner,
                },
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_all_of_the_outputs_once() {
        for transposed in [false, true] {
            let (m, n) = (37, 5);
            let mut y = vec![0u32; m * n];
            tiles(&mut y, m, n, transposed, 16).enumerate().for_each(|(i, mut tile)| {
                let features = 16.min(m - 16 * i);
                let (lines, columns) = if transposed { (features, n) } else { (n, features) };
                for line in 0..lines {
                    assert_eq!(tile.line(line).len(), columns);
                    for (column, y) in tile.line(line).iter_mut().enumerate() {
                        let (feature, token) =
                            if transposed { (line, column) } else { (column, line) };
                        *y += (token * m + 16 * i + feature) as u32 + 1;
                    }
                }
            });
            for (at, y) in y.into_iter().enumerate() {
                let (token, feature) = if transposed { (at % n, at / n) } else { (at / m, at % m) };
                assert_eq!(y, (token * m + feature) as u32 + 1);
            }
        }
    }
}
