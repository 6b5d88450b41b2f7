//! The shape of a BERT-style encoder, and the names of its tensors: Hugging Face's.

use crate::Error;
use crate::block::Site;
use crate::config::hugging_face::{count, number, only, optional_count};
use serde_json::{Value, json};

/// The shape of an encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Width of the stream.
    pub dim: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub ffn: usize,
    /// Tokens.
    pub vocab: usize,
    /// Most tokens of one sequence.
    pub max_seq: usize,
    /// Token types, of which a single text has the first.
    pub types: usize,
    /// Added to the variance under LayerNorm's root.
    pub eps: f32,
    /// What stands before every name: `bert.` where a model has more than the encoder.
    pub prefix: &'static str,
}

/// Table of the tokens, `vocab × dim`.
pub const WORDS: &str = "embeddings.word_embeddings.weight";
/// Table of the positions, `max_seq × dim`.
pub const POSITIONS: &str = "embeddings.position_embeddings.weight";
/// Table of the token types, `types × dim`.
pub const TYPES: &str = "embeddings.token_type_embeddings.weight";
/// LayerNorm of the embeddings' sum.
pub const NORM: &str = "embeddings.LayerNorm";
/// A block's parts, each with `.weight` and `.bias`: the query layer.
pub const Q: &str = "attention.self.query";
/// Key layer.
pub const K: &str = "attention.self.key";
/// Value layer.
pub const V: &str = "attention.self.value";
/// Attention's output layer.
pub const O: &str = "attention.output.dense";
/// LayerNorm after attention.
pub const ATTN_NORM: &str = "attention.output.LayerNorm";
/// The feed-forward layer's first half.
pub const UP: &str = "intermediate.dense";
/// Its second half.
pub const DOWN: &str = "output.dense";
/// LayerNorm after the feed-forward layer.
pub const FFN_NORM: &str = "output.LayerNorm";

/// All parts of a block.
const PARTS: [&str; 8] = [Q, K, V, O, ATTN_NORM, UP, DOWN, FFN_NORM];

impl Config {
    /// Reads `config.json` of a checkpoint that has the tensors that `has` knows, with Hugging Face's defaults for
    /// absent keys.
    ///
    /// Errors: another model type than bert, a setting that is not implemented (by name and value), a missing or
    /// malformed key, heads that do not divide the width.
    pub fn from_hugging_face(json: &Value, has: impl Fn(&str) -> bool) -> Result<Self, Error> {
        only(
            json,
            &[
                ("model_type", json!("bert")),
                ("hidden_act", json!("gelu")),
                ("position_embedding_type", json!("absolute")),
                ("is_decoder", json!(false)),
                ("add_cross_attention", json!(false)),
            ],
        )?;
        let config = Self {
            dim: count(json, "hidden_size")?,
            layers: count(json, "num_hidden_layers")?,
            heads: count(json, "num_attention_heads")?,
            ffn: count(json, "intermediate_size")?,
            vocab: count(json, "vocab_size")?,
            max_seq: optional_count(json, "max_position_embeddings")?.unwrap_or(512),
            types: optional_count(json, "type_vocab_size")?.unwrap_or(2),
            eps: number("layer_norm_eps", json.get("layer_norm_eps"))?.unwrap_or(1e-12),
            prefix: if has(&format!("bert.{WORDS}")) { "bert." } else { "" },
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether the forward pass can run this shape.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { dim, layers, heads, ffn, vocab, max_seq, types, eps, .. } = *self;
        for (what, n) in [
            ("hidden_size", dim),
            ("num_hidden_layers", layers),
            ("num_attention_heads", heads),
            ("intermediate_size", ffn),
            ("vocab_size", vocab),
            ("max_position_embeddings", max_seq),
            ("type_vocab_size", types),
        ] {
            if n == 0 || n > 1 << 20 {
                let why = format!("{what} is {n}, which is outside 1..=2^20");
                return Err(Error::Config(why));
            }
        }
        if !dim.is_multiple_of(heads) {
            let why = format!("hidden_size {dim} does not divide into {heads} heads");
            return Err(Error::Config(why));
        }
        match eps {
            eps if eps.is_finite() && eps >= 0.0 => Ok(()),
            eps => Err(Error::Config(format!("layer_norm_eps is {eps}"))),
        }
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    /// A tensor's full name.
    pub fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// The full name of a part of a block, without `.weight` or `.bias`.
    pub fn in_block(&self, block: usize, part: &str) -> String {
        self.name(&format!("encoder.layer.{block}.{part}"))
    }

    /// The names of a block's tensors.
    pub fn block_tensors(&self, block: usize) -> Vec<String> {
        let both = |part| {
            let part = self.in_block(block, part);
            [format!("{part}.weight"), format!("{part}.bias")]
        };
        PARTS.into_iter().flat_map(both).collect()
    }
}

/// The layers that read a site's inputs.
pub fn layers(site: Site) -> &'static [&'static str] {
    match site {
        Site::Attention => &[Q, K, V],
        Site::Output => &[O],
        Site::FeedForward => &[UP],
        Site::Down => &[DOWN],
    }
}
