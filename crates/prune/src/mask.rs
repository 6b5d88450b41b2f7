//! Masks: which weights stay.

use crate::rng::Rng;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// N of every M consecutive weights of a row stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    n: usize,
    m: usize,
}

impl Pattern {
    /// The pattern that sparse tensor cores multiply: two of four.
    pub const TWO_OF_FOUR: Self = Self { n: 2, m: 4 };

    /// Keeps `n` of every `m`. Errors: `n` is 0 or exceeds `m`.
    pub fn new(n: usize, m: usize) -> Result<Self, MaskError> {
        match n {
            0 => Err(MaskError::Pattern { n, m }),
            n if n > m => Err(MaskError::Pattern { n, m }),
            n => Ok(Self { n, m }),
        }
    }

    /// Weights of a group that stay.
    pub const fn kept(self) -> usize {
        self.n
    }

    /// Weights of a group.
    pub const fn group(self) -> usize {
        self.m
    }

    /// Whether every matrix of this pattern is 2:4 too, and so runs on sparse tensor cores and compressed: 2:4, 1:4
    /// and 1:2.
    pub const fn runs_as_two_of_four(self) -> bool {
        4 % self.m == 0 && self.n * (4 / self.m) <= 2
    }

    /// The fraction of weights that stays.
    pub fn density(self) -> f64 {
        self.n as f64 / self.m as f64
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.n, self.m)
    }
}

impl FromStr for Pattern {
    type Err = MaskError;

    fn from_str(text: &str) -> Result<Self, MaskError> {
        let bad = || MaskError::PatternText(text.to_owned());
        let (n, m) = text.split_once(':').ok_or_else(bad)?;
        Self::new(n.parse().map_err(|_| bad())?, m.parse().map_err(|_| bad())?)
    }
}

/// The masks of a model by layer name; a layer without one stays dense.
pub type Masks = BTreeMap<String, Mask>;

/// Which weights of one matrix stay: `rows × cols`, row-major, exactly `pattern` in every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    kept: Vec<bool>,
    rows: usize,
    cols: usize,
    pattern: Pattern,
}

impl Mask {
    /// Checks that every group of every row keeps exactly as many as the pattern says.
    pub fn new(
        kept: Vec<bool>,
        rows: usize,
        cols: usize,
        pattern: Pattern,
    ) -> Result<Self, MaskError> {
        check_shape(kept.len(), rows, cols, pattern)?;
        for (index, group) in kept.chunks(pattern.m).enumerate() {
            let count = group.iter().filter(|&&k| k).count();
            if count != pattern.n {
                let start = index * pattern.m;
                return Err(MaskError::Count {
                    row: start / cols,
                    col: start % cols,
                    count,
                    pattern,
                });
            }
        }
        Ok(Self { kept, rows, cols, pattern })
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The pattern that every group follows.
    pub fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Whether each weight stays, row-major.
    pub fn kept(&self) -> &[bool] {
        &self.kept
    }

    /// Weights that stay.
    pub fn count(&self) -> usize {
        self.kept.len() / self.pattern.m * self.pattern.n
    }

    /// The fraction of weights that stays.
    pub fn density(&self) -> f64 {
        self.pattern.density()
    }

    /// A mask drawn from a seed: every choice of every group equally likely. Errors: columns that
    /// are no whole groups, a matrix too large to address.
    pub fn random(
        rows: usize,
        cols: usize,
        pattern: Pattern,
        seed: u64,
    ) -> Result<Self, MaskError> {
        Self::draw(rows, cols, pattern, &mut Rng::new(seed))
    }

    pub(crate) fn draw(
        rows: usize,
        cols: usize,
        pattern: Pattern,
        rng: &mut Rng,
    ) -> Result<Self, MaskError> {
        let len = rows.checked_mul(cols).ok_or(MaskError::Length { have: 0, rows, cols })?;
        check_shape(len, rows, cols, pattern)?;
        let mut kept: Vec<bool> = (0..len).map(|i| i % pattern.m < pattern.n).collect();
        kept.chunks_exact_mut(pattern.m).for_each(|group| rng.shuffle(group));
        Ok(Self { kept, rows, cols, pattern })
    }

    /// The same groups in other places of the layer, at random: how often each choice occurs stays,
    /// where it occurs does not.
    pub fn shuffled(&self, seed: u64) -> Self {
        self.deal(&mut Rng::new(seed))
    }

    pub(crate) fn deal(&self, rng: &mut Rng) -> Self {
        let mut groups: Vec<&[bool]> = self.kept.chunks_exact(self.pattern.m).collect();
        rng.shuffle(&mut groups);
        Self { kept: groups.concat(), ..*self }
    }

    /// The fraction of what this mask keeps that the other keeps too: 1 for the same mask, about the
    /// other's density for an unrelated one. Errors: another shape.
    pub fn overlap(&self, other: &Self) -> Result<f64, MaskError> {
        if (self.rows, self.cols) != (other.rows, other.cols) {
            let (have, rows, cols) = (other.kept.len(), self.rows, self.cols);
            return Err(MaskError::Length { have, rows, cols });
        }
        let both = self.kept.iter().zip(&other.kept).filter(|&(&a, &b)| a && b).count();
        Ok(both as f64 / self.count() as f64)
    }

    /// Sets every dropped weight to zero.
    pub fn apply(&self, weights: &mut [f32]) -> Result<(), MaskError> {
        if weights.len() != self.kept.len() {
            return Err(MaskError::Length {
                have: weights.len(),
                rows: self.rows,
                cols: self.cols,
            });
        }
        for (w, &kept) in weights.iter_mut().zip(&self.kept) {
            if !kept {
                *w = 0.0;
            }
        }
        Ok(())
    }
}

/// Whether the elements fill the matrix and its rows are whole groups.
pub(crate) fn check_shape(
    len: usize,
    rows: usize,
    cols: usize,
    pattern: Pattern,
) -> Result<(), MaskError> {
    if len == 0 || rows.checked_mul(cols) != Some(len) {
        return Err(MaskError::Length { have: len, rows, cols });
    }
    match cols % pattern.m {
        0 => Ok(()),
        _ => Err(MaskError::Groups { cols, pattern }),
    }
}

/// Why there is no such mask; the caller's fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// No such pattern.
    #[error("no pattern keeps {n} of {m}: 1 ≤ n ≤ m")]
    Pattern {
        /// Kept.
        n: usize,
        /// Of.
        m: usize,
    },
    /// Not the text of a pattern.
    #[error("`{0}` is no pattern; write it as 2:4")]
    PatternText(String),
    /// The data does not fill the matrix.
    #[error("{have} elements do not fill {rows} × {cols}")]
    Length {
        /// Elements given.
        have: usize,
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// A row is not made of whole groups.
    #[error("{cols} columns are not whole groups of {pattern}")]
    Groups {
        /// Columns given.
        cols: usize,
        /// The pattern.
        pattern: Pattern,
    },
    /// A group keeps another number of weights than the pattern.
    #[error("row {row}, columns from {col}: {count} weights are kept, {pattern} asked")]
    Count {
        /// Row.
        row: usize,
        /// First column of the group.
        col: usize,
        /// Weights that the group keeps.
        count: usize,
        /// The pattern.
        pattern: Pattern,
    },
    /// The rows are not whole groups either, as a mask for both directions needs.
    #[error("{rows} rows are not whole groups of {pattern}")]
    RowGroups {
        /// Rows given.
        rows: usize,
        /// The pattern.
        pattern: Pattern,
    },
    /// A group of a column keeps another number of weights than the pattern.
    #[error("column {col}, rows from {row}: {count} weights are kept, {pattern} asked")]
    ColumnCount {
        /// First row of the group.
        row: usize,
        /// Column.
        col: usize,
        /// Weights that the group keeps.
        count: usize,
        /// The pattern.
        pattern: Pattern,
    },
    /// A score that cannot be added to others.
    #[error("row {row}, column {col}: the score is not finite")]
    ScoreNotFinite {
        /// Row.
        row: usize,
        /// Column.
        col: usize,
    },
    /// A score that has no place in an order.
    #[error("row {row}, column {col}: the score is not a number")]
    ScoreNan {
        /// Row.
        row: usize,
        /// Column.
        col: usize,
    },
}
