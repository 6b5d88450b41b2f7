//! The weights of a task: some rows of W.

/// Rows of W, row-major without gaps, or in the order [`Strips`](quickpick_format::Order::Strips).
#[derive(Clone, Copy)]
pub(in crate::cpu) enum Rows<'a, T> {
    /// `rows × k` elements.
    Dense(&'a [T]),
    /// Kept values and metadata words of strips of [`STRIP`] rows.
    Sparse(&'a [T], &'a [u32]),
}

/// Rows of a strip.
pub(in crate::cpu) const STRIP: usize = 16;

impl<'a, T> Rows<'a, T> {
    /// `count` rows from `start` on. Of 2:4 weights `start` is a multiple of [`STRIP`], and so is `count`, but where
    /// the matrix ends.
    pub(in crate::cpu) fn part(self, start: usize, count: usize, k: usize) -> Self {
        match self {
            Self::Dense(w) => Self::Dense(&w[start * k..][..count * k]),
            Self::Sparse(v, c) => {
                let count = count.next_multiple_of(STRIP);
                Self::Sparse(
                    &v[start * k / 2..][..count * k / 2],
                    &c[start * k / 32..][..count * k / 32],
                )
            }
        }
    }

    pub(super) fn check(self, rows: usize, k: usize) {
        assert_eq!(k % 32, 0, "k of a packed matrix");
        match self {
            Self::Dense(w) => assert_eq!(w.len(), rows * k, "elements of W"),
            Self::Sparse(v, c) => {
                let rows = rows.next_multiple_of(STRIP);
                assert_eq!(v.len(), rows * k / 2, "kept values of W");
                assert_eq!(c.len(), rows * k / 32, "metadata words of W");
            }
        }
    }
}
