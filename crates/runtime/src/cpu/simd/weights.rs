//! The weights of a task: some rows of W.

/// Rows of W, row-major without gaps, or in the order [`Rows4`](quickpick_format::Order::Rows4).
#[derive(Clone, Copy)]
pub(in crate::cpu) enum Rows<'a, T> {
    /// `rows × k` elements.
    Dense(&'a [T]),
    /// Kept values and metadata words, in blocks of [`BLOCK_ROWS`] rows × [`BLOCK_COLUMNS`] columns.
    Sparse(&'a [T], &'a [u32]),
}

/// Rows of a block of 2:4 weights.
pub(in crate::cpu) const BLOCK_ROWS: usize = 4;
/// Columns of a block.
pub(super) const BLOCK_COLUMNS: usize = 128;
/// Kept values of one row of a block.
pub(super) const BLOCK_KEPT: usize = BLOCK_COLUMNS / 2;
/// Metadata words of one row of a block.
pub(super) const BLOCK_WORDS: usize = BLOCK_COLUMNS / 32;

impl<'a, T> Rows<'a, T> {
    /// `count` rows from `start` on. Of 2:4 weights `start` is a multiple of [`BLOCK_ROWS`], and so is
    /// `count`, but where the matrix ends.
    pub(in crate::cpu) fn part(self, start: usize, count: usize, k: usize) -> Self {
        match self {
            Self::Dense(w) => Self::Dense(&w[start * k..][..count * k]),
            Self::Sparse(v, c) => {
                let (start, count) = (start * blocks(k), padded(count) * blocks(k));
                Self::Sparse(
                    &v[start * BLOCK_KEPT..][..count * BLOCK_KEPT],
                    &c[start * BLOCK_WORDS..][..count * BLOCK_WORDS],
                )
            }
        }
    }

    pub(super) fn check(self, rows: usize, k: usize) {
        assert_eq!(k % 32, 0, "k of a packed matrix");
        match self {
            Self::Dense(w) => assert_eq!(w.len(), rows * k, "elements of W"),
            Self::Sparse(v, c) => {
                assert_eq!(v.len(), padded(rows) * blocks(k) * BLOCK_KEPT, "kept values of W");
                assert_eq!(c.len(), padded(rows) * blocks(k) * BLOCK_WORDS, "metadata words of W");
            }
        }
    }
}

/// Blocks along k.
pub(super) fn blocks(k: usize) -> usize {
    k.div_ceil(BLOCK_COLUMNS)
}

fn padded(rows: usize) -> usize {
    rows.next_multiple_of(BLOCK_ROWS)
}
