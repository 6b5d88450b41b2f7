//! What became of each layer, and the type that weights ship in.

use crate::Error;
use half::{bf16, f16};
use quickpick_format::StoredType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerReport {
    /// Its tensor's name.
    pub name: String,
    /// Output features, input features.
    pub shape: [usize; 2],
    /// `pruned`, or `dense` and why.
    pub decision: String,
    /// What was done, if it was pruned.
    pub pruned: Option<Pruned>,
}

/// How a layer was pruned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruned {
    /// N:M.
    pub pattern: String,
    /// ‖(W−Ŵ)X‖² / ‖WX‖² over the calibration inputs, of the weights as they ship; without inputs,
    /// ‖W−Ŵ‖² / ‖W‖².
    pub error: f64,
    /// Tokens of calibration.
    pub tokens: u64,
    /// What was added to the gram's diagonal, as a share of its mean; 0 if nothing was inverted.
    pub damping: f64,
    /// How often damping had to be raised.
    pub retries: u32,
    /// Input features that no calibration token touched.
    pub dead: usize,
    /// Weights that are not zero.
    pub kept: usize,
    /// Of them, those beyond the pattern (Weight-Recover-Prune).
    pub recovered: usize,
    /// What changing the features' places gained: (kept − before) / (best − before) of |w|·‖x‖, where best
    /// keeps as many of each row without a pattern; none if they were left.
    pub efficacy: Option<f64>,
    /// Wall clock, solving only.
    pub seconds: f64,
}

/// The type in which pruned weights ship.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Narrow {
    /// IEEE binary16.
    F16,
    /// Upper half of binary32.
    BF16,
    /// As solved.
    F32,
}

impl Narrow {
    /// Rounds weights to what ships. Errors: one that becomes infinite.
    pub fn round(self, name: &str, weights: &mut [f32]) -> Result<(), Error> {
        for (i, w) in weights.iter_mut().enumerate() {
            let rounded = match self {
                Self::F16 => f16::from_f32(*w).to_f32(),
                Self::BF16 => bf16::from_f32(*w).to_f32(),
                Self::F32 => *w,
            };
            if !rounded.is_finite() {
                return Err(Error::Weights(format!("{name}[{i}] = {w} exceeds {self}")));
            }
            *w = rounded;
        }
        Ok(())
    }

    /// The type as files call it.
    pub(crate) fn stored(self) -> StoredType {
        match self {
            Self::F16 => StoredType::F16,
            Self::BF16 => StoredType::BF16,
            Self::F32 => StoredType::F32,
        }
    }
}

impl fmt::Display for Narrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
        })
    }
}

impl FromStr for Narrow {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::F16, Self::BF16, Self::F32];
        let found = all.into_iter().find(|t| t.to_string() == text);
        found.ok_or_else(|| Error::Config(format!("{text:?} is no type; there are f16, bf16, f32")))
    }
}
