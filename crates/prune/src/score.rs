//! How much a weight matters.

use crate::{LayerInfo, LayerProblem};
use std::fmt;

/// Ranks the weights of a layer from the weights alone; the highest of each group stay. Scores that
/// look at the layer's inputs are [`Criterion`]s.
pub trait Score {
    /// Its name in reports and tickets.
    fn name(&self) -> &str;

    /// A score for each weight, row-major as `weight`; none may be NaN.
    fn score(&self, layer: &LayerInfo, weight: &[f32]) -> Vec<f32>;
}

/// |w|: what is largest after training stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Magnitude;

impl Score for Magnitude {
    fn name(&self) -> &str {
        "magnitude"
    }

    fn score(&self, _: &LayerInfo, weight: &[f32]) -> Vec<f32> {
        magnitudes(weight)
    }
}

/// A score that may look at the layer's inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Criterion {
    /// |W_ij|.
    Magnitude,
    /// |W_ij|·√(mean over tokens of x_j²): what a weight adds to the output if it is alone (Sun et
    /// al. 2023, arXiv 2306.11695).
    Wanda,
    /// (|W_ij| / Σ_j |W_ij| + |W_ij| / Σ_i |W_ij|)·‖X_j‖^a: a weight counts against its row and its
    /// column, so that no input or output loses everything (Zhang et al., ICLR 2024, "Plug-and-Play").
    Ria {
        /// a: how much the inputs count; 0.5 in the paper. Finite, at least 0.
        exponent: f64,
    },
}

impl Criterion {
    /// As the paper of RIA has it: a = 0.5.
    pub const RIA: Self = Self::Ria { exponent: 0.5 };

    /// A score for each weight, row-major; finite or infinite, never NaN. A weight of a column or
    /// row of zeros, or of an input that is always zero, has score 0.
    pub fn scores(self, problem: &LayerProblem<'_>) -> Vec<f32> {
        let cols = problem.cols();
        let tokens = problem.gram().tokens().max(1) as f64;
        let norm: Vec<f64> = problem.gram().diagonal().iter().map(|sum| sum.sqrt()).collect();
        let weighted = |value: &dyn Fn(usize, usize, f64) -> f64| {
            let rows = problem.weight().chunks_exact(cols).enumerate();
            let scores = rows.flat_map(|(i, row)| {
                row.iter().enumerate().map(move |(j, w)| value(i, j, f64::from(w.abs())) as f32)
            });
            scores.collect()
        };
        match self {
            Self::Magnitude => magnitudes(problem.weight()),
            Self::Wanda => weighted(&|_, j, w| w * norm[j] / tokens.sqrt()),
            Self::Ria { exponent } => {
                let (mut row_sum, mut col_sum) = (vec![0.0; problem.rows()], vec![0.0; cols]);
                for (at, w) in problem.weight().iter().enumerate() {
                    row_sum[at / cols] += f64::from(w.abs());
                    col_sum[at % cols] += f64::from(w.abs());
                }
                let share = |w: f64, sum: f64| if sum > 0.0 { w / sum } else { 0.0 };
                let input: Vec<f64> = norm
                    .iter()
                    .map(|&norm| if norm > 0.0 { norm.powf(exponent) } else { 0.0 })
                    .collect();
                weighted(&|i, j, w| (share(w, row_sum[i]) + share(w, col_sum[j])) * input[j])
            }
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magnitude => f.write_str("magnitude"),
            Self::Wanda => f.write_str("wanda"),
            &Self::RIA => f.write_str("ria"),
            Self::Ria { exponent } => write!(f, "ria={exponent}"),
        }
    }
}

fn magnitudes(weight: &[f32]) -> Vec<f32> {
    weight.iter().map(|w| w.abs()).collect()
}
