//! The shape of a decoder, and the names and shapes of its tensors.
//!
//! Names and keys are those of Hugging Face's Llama, so that files are usable elsewhere.

pub(crate) mod hugging_face;

use crate::Error;
use serde::{Deserialize, Serialize};

/// The shape of a Llama-style decoder. Serialises under the keys of Hugging Face's `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Width of the residual stream.
    #[serde(rename = "hidden_size")]
    pub dim: usize,
    /// Decoder blocks.
    #[serde(rename = "num_hidden_layers")]
    pub layers: usize,
    /// Query heads.
    #[serde(rename = "num_attention_heads")]
    pub heads: usize,
    /// Key and value heads; divides `heads`. Query head h reads key-value head `h / (heads/kv_heads)`.
    #[serde(rename = "num_key_value_heads")]
    pub kv_heads: usize,
    /// Width of the feed-forward layer.
    #[serde(rename = "intermediate_size")]
    pub ffn: usize,
    /// Tokens; 256 for bytes.
    #[serde(rename = "vocab_size")]
    pub vocab: usize,
    /// Most tokens of one sequence.
    #[serde(rename = "max_position_embeddings")]
    pub max_seq: usize,
    /// Base of the rotary wavelengths: pair i turns by `pos · theta^(−2i/head_dim)`.
    pub rope_theta: f32,
    /// Added to the mean square under RMSNorm's root.
    #[serde(rename = "rms_norm_eps")]
    pub eps: f32,
    /// Whether the embedding table is the head too; then there is no [`HEAD`].
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// How Llama 3.1 and later stretch the rotary wavelengths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
}

/// A change of the rotary wavelengths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Llama 3.1's: with `c` the original context, wavelengths above `c/low` grow `factor`-fold, those
    /// below `c/high` stay, and between the two the frequency is interpolated.
    Llama3 {
        /// How much the longest wavelengths grow.
        factor: f32,
        /// Of the longest wavelengths.
        low_freq_factor: f32,
        /// Of the shortest wavelengths; above `low_freq_factor`.
        high_freq_factor: f32,
        /// Context before it was stretched.
        original_max_position_embeddings: usize,
    },
}

/// A tensor that a [`Config`] calls for: its name, its shape, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Hugging Face's name.
    pub name: String,
    /// `[out, in]` of a linear layer, `[vocab, dim]` of a table, `[dim]` of a norm's gain.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The embedding table.
    Embedding,
    /// A norm's gain.
    Norm,
    /// A block's linear layer: what pruning is for.
    Linear,
    /// The output head.
    Head,
}

/// Name of the embedding table, `vocab × dim`.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// Name of the gain before the head, `dim`.
pub const FINAL_NORM: &str = "model.norm.weight";
/// Name of the head, `vocab × dim`, where it is not the embedding table.
pub const HEAD: &str = "lm_head.weight";
/// A block's tensors, after `model.layers.{i}.`: norm before attention.
pub const ATTN_NORM: &str = "input_layernorm.weight";
/// Norm before the feed-forward layer.
pub const FFN_NORM: &str = "post_attention_layernorm.weight";
/// Query projection.
pub const Q: &str = "self_attn.q_proj.weight";
/// Key projection.
pub const K: &str = "self_attn.k_proj.weight";
/// Value projection.
pub const V: &str = "self_attn.v_proj.weight";
/// Attention's output projection.
pub const O: &str = "self_attn.o_proj.weight";
/// Gate projection.
pub const GATE: &str = "mlp.gate_proj.weight";
/// Up projection.
pub const UP: &str = "mlp.up_proj.weight";
/// Down projection.
pub const DOWN: &str = "mlp.down_proj.weight";

/// The full name of a block's tensor: `in_block(0, config::Q)`.
pub fn in_block(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

impl Config {
    /// Trains in minutes on two cores.
    pub fn tiny() -> Self {
        Self {
            dim: 128,
            layers: 4,
            heads: 4,
            kv_heads: 2,
            ffn: 352,
            vocab: 256,
            max_seq: 512,
            rope_theta: 10_000.0,
            eps: 1e-5,
            tie_word_embeddings: false,
            rope_scaling: None,
        }
    }

    /// Trains in an hour or two on a workstation.
    pub fn small() -> Self {
        Self { dim: 256, layers: 6, heads: 8, kv_heads: 4, ffn: 704, ..Self::tiny() }
    }

    /// The preset of that name.
    pub fn preset(name: &str) -> Result<Self, Error> {
        match name {
            "tiny" => Ok(Self::tiny()),
            "small" => Ok(Self::small()),
            _ => Err(Error::Config(format!(
                "no preset is called {name:?}; there are tiny and small"
            ))),
        }
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    /// Width of k and of v: `kv_heads · head_dim`.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim()
    }

    /// The name of the tensor that makes logits: [`HEAD`], or [`EMBEDDING`] where they are tied.
    pub fn head(&self) -> &'static str {
        if self.tie_word_embeddings { EMBEDDING } else { HEAD }
    }

    /// Whether the kernels can run this shape.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { dim, layers, heads, kv_heads, ffn, vocab, max_seq, .. } = *self;
        let fail = |why: String| Err(Error::Config(why));
        for (what, n) in [
            ("hidden_size", dim),
            ("num_hidden_layers", layers),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("intermediate_size", ffn),
            ("vocab_size", vocab),
            ("max_position_embeddings", max_seq),
        ] {
            if n == 0 || n > 1 << 20 {
                return fail(format!("{what} is {n}, which is outside 1..=2^20"));
            }
        }
        if !dim.is_multiple_of(heads) {
            return fail(format!("hidden_size {dim} does not divide into {heads} heads"));
        }
        if !heads.is_multiple_of(kv_heads) {
            return fail(format!("{heads} heads do not share {kv_heads} key-value heads evenly"));
        }
        let head_dim = self.head_dim();
        if !head_dim.is_multiple_of(8) || head_dim > 128 {
            return fail(format!("a head has {head_dim} elements; at most 128, a multiple of 8"));
        }
        if !dim.is_multiple_of(32) || !ffn.is_multiple_of(32) {
            return fail(format!(
                "hidden_size {dim} and intermediate_size {ffn} must be multiples of 32"
            ));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return fail(format!("rope_theta is {}; it must be above 1", self.rope_theta));
        }
        if !(self.eps.is_finite() && self.eps > 0.0) {
            return fail(format!("rms_norm_eps is {}; it must be above 0", self.eps));
        }
        if let Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: context,
        }) = self.rope_scaling
            && !(factor >= 1.0 && factor.is_finite() && low > 0.0 && high > low && context > 0)
        {
            return fail(format!("rope_scaling makes no sense: {:?}", self.rope_scaling));
        }
        Ok(())
    }

    /// Every tensor, in the order in which a forward pass meets them.
    pub fn slots(&self) -> Vec<Slot> {
        let (d, f, kv) = (self.dim, self.ffn, self.kv_dim());
        let slot = |name: String, shape: &[usize], kind| Slot { name, shape: shape.to_vec(), kind };
        let mut slots = vec![slot(EMBEDDING.into(), &[self.vocab, d], Kind::Embedding)];
        for layer in 0..self.layers {
            for (part, shape, kind) in [
                (ATTN_NORM, &[d][..], Kind::Norm),
                (Q, &[d, d], Kind::Linear),
                (K, &[kv, d], Kind::Linear),
                (V, &[kv, d], Kind::Linear),
                (O, &[d, d], Kind::Linear),
                (FFN_NORM, &[d], Kind::Norm),
                (GATE, &[f, d], Kind::Linear),
                (UP, &[f, d], Kind::Linear),
                (DOWN, &[d, f], Kind::Linear),
            ] {
                slots.push(slot(in_block(layer, part), shape, kind));
            }
        }
        slots.push(slot(FINAL_NORM.into(), &[d], Kind::Norm));
        if !self.tie_word_embeddings {
            slots.push(slot(HEAD.into(), &[self.vocab, d], Kind::Head));
        }
        slots
    }

    /// Elements of all tensors together.
    pub fn parameters(&self) -> usize {
        self.slots().iter().map(|s| s.shape.iter().product::<usize>()).sum()
    }

    /// The rotary table, f32 `max_seq × head_dim`: a position's head_dim/2 cosines, then its sines
    /// (the layout of the kernels' `Rotary`). Angles are computed in f64.
    pub fn rotary_table(&self) -> Vec<f32> {
        self.rotary_rows(self.max_seq)
    }

    /// The first rows of [`Self::rotary_table`].
    pub fn rotary_rows(&self, rows: usize) -> Vec<f32> {
        let half = self.head_dim() / 2;
        let frequencies: Vec<f64> = (0..half).map(|i| self.frequency(i)).collect();
        let frequencies = &frequencies;
        let mut table = Vec::with_capacity(rows * 2 * half);
        for pos in 0..rows {
            let angles = || frequencies.iter().map(move |f| pos as f64 * f);
            table.extend(angles().map(|a| a.cos() as f32));
            table.extend(angles().map(|a| a.sin() as f32));
        }
        table
    }

    /// Radians that the i-th pair turns by from one position to the next.
    fn frequency(&self, i: usize) -> f64 {
        let half = self.head_dim() / 2;
        let plain = f64::from(self.rope_theta).powf(-(i as f64) / half as f64);
        let Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: context,
        }) = self.rope_scaling
        else {
            return plain;
        };
        let (factor, low, high) = (f64::from(factor), f64::from(low), f64::from(high));
        let turns = context as f64 * plain / std::f64::consts::TAU;
        let share = ((turns - low) / (high - low)).clamp(0.0, 1.0); // 1: unchanged
        plain * (share + (1.0 - share) / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_mostly_prunable() {
        for config in [Config::tiny(), Config::small()] {
            config.validate().unwrap();
            let linear: usize = config
                .slots()
                .iter()
                .filter(|s| s.kind == Kind::Linear)
                .map(|s| s.shape.iter().product::<usize>())
                .sum();
            assert!(linear * 10 > config.parameters() * 8, "{linear} of {}", config.parameters());
        }
    }

    #[test]
    fn bad_shapes_are_refused_with_their_numbers() {
        let bad = Config { heads: 3, ..Config::tiny() };
        assert!(
            bad.validate().unwrap_err().to_string().contains("128 does not divide into 3 heads")
        );
        assert!(Config { kv_heads: 3, ..Config::tiny() }.validate().is_err());
        assert!(Config { ffn: 100, ..Config::tiny() }.validate().is_err());
        assert!(Config { layers: 0, ..Config::tiny() }.validate().is_err());
        assert!(Config { eps: f32::NAN, ..Config::tiny() }.validate().is_err());
    }

    #[test]
    fn config_speaks_hugging_face() {
        let text = serde_json::to_string(&Config::tiny()).unwrap();
        assert!(text.contains("\"hidden_size\":128") && text.contains("\"num_key_value_heads\":2"));
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::tiny());
    }
}
