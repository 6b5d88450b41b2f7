//! How much a weight matters.

use crate::LayerInfo;

/// Ranks the weights of a layer; the highest of each group stay.
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
        weight.iter().map(|w| w.abs()).collect()
    }
}
