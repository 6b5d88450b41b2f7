//! The forward pass of a BERT-style encoder block by block: what calibration and embeddings run on.
//!
//! ```text
//! x = block's input                      Site::Attention     → q, k, v
//! y = attention(q, k, v)                 Site::Output        → x = layernorm(x + y·Woᵀ + bo)
//! x                                      Site::FeedForward   → up
//! a = gelu(x·Wupᵀ + bup)                 Site::Down          → x = layernorm(x + a·Wdownᵀ + bdown)
//! ```

use super::config::{self, Config};
use crate::attention::{Heads, attend};
use crate::block::{checked, rows, same_rows, sequences};
use crate::slices::{add_bias, add_linear, gelu, layer_norm, linear};
use crate::{Error, Tensor};

/// A linear layer, row-major `out × in`, or a norm's gain, and its bias.
struct Affine {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Affine {
    /// `name`: without `.weight` and `.bias`; `shape`: of the weight, whose first extent is the bias's.
    fn load(
        name: &str,
        shape: &[usize],
        tensor: &mut impl FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        let mut get = |what: &str, shape: &[usize]| {
            let name = format!("{name}.{what}");
            checked(&name, tensor(&name)?, shape)
        };
        let first = shape.first().copied().into_iter();
        Ok(Self { weight: get("weight", shape)?, bias: get("bias", &first.collect::<Vec<_>>())? })
    }

    /// `x·wᵀ + b`, `n × out`.
    fn apply(&self, x: &[f32], n: usize) -> Vec<f32> {
        let mut y = linear(x, &self.weight, n);
        add_bias(&mut y, &self.bias);
        y
    }

    /// `y += x·wᵀ + b`.
    fn add(&self, x: &[f32], n: usize, y: &mut [f32]) {
        add_linear(x, &self.weight, n, y);
        add_bias(y, &self.bias);
    }

    /// LayerNorm of each row, in place.
    fn norm(&self, x: &mut [f32], eps: f32) {
        layer_norm(x, &self.weight, &self.bias, eps);
    }
}

/// What makes the first block's input.
pub struct Embeddings {
    words: Vec<f32>,
    positions: Vec<f32>,
    types: Vec<f32>,
    norm: Affine,
}

impl Embeddings {
    /// Takes the tensors by name from `tensor`.
    ///
    /// Errors: `tensor`'s own; another shape than the configuration's, a number that is not finite.
    pub fn load(
        config: &Config,
        mut tensor: impl FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        let mut table = |part: &str, rows: usize| {
            let name = config.name(part);
            checked(&name, tensor(&name)?, &[rows, config.dim])
        };
        Ok(Self {
            words: table(config::WORDS, config.vocab)?,
            positions: table(config::POSITIONS, config.max_seq)?,
            types: table(config::TYPES, config.types)?,
            norm: Affine::load(&config.name(config::NORM), &[config.dim], &mut tensor)?,
        })
    }
}

/// One block's weights.
pub struct Block {
    q: Affine,
    k: Affine,
    v: Affine,
    o: Affine,
    attn_norm: Affine,
    up: Affine,
    down: Affine,
    ffn_norm: Affine,
}

impl Block {
    /// Takes a block's tensors by name from `tensor`.
    ///
    /// Errors: `tensor`'s own; another shape than the configuration's, a number that is not finite.
    pub fn load(
        config: &Config,
        block: usize,
        mut tensor: impl FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        let (d, f) = (config.dim, config.ffn);
        let mut get = |part: &str, shape: &[usize]| {
            Affine::load(&config.in_block(block, part), shape, &mut tensor)
        };
        Ok(Self {
            q: get(config::Q, &[d, d])?,
            k: get(config::K, &[d, d])?,
            v: get(config::V, &[d, d])?,
            o: get(config::O, &[d, d])?,
            attn_norm: get(config::ATTN_NORM, &[d])?,
            up: get(config::UP, &[f, d])?,
            down: get(config::DOWN, &[d, f])?,
            ffn_norm: get(config::FFN_NORM, &[d])?,
        })
    }
}

/// The forward pass over sequences of one length, without padding. Activations are row-major, a row a token,
/// sequence after sequence.
///
/// Every stage's errors: activations of another size than whole sequences.
pub struct Forward {
    config: Config,
    len: usize,
}

impl Forward {
    /// For sequences of `len` tokens. Errors: an invalid configuration, a length outside `1..=max_seq`.
    pub fn new(config: &Config, len: usize) -> Result<Self, Error> {
        config.validate()?;
        if len == 0 || len > config.max_seq {
            let most = config.max_seq;
            return Err(Error::Inference(format!("sequences of {len} tokens, not 1..={most}")));
        }
        Ok(Self { config: *config, len })
    }

    /// The blocks' input, `ids.len() × dim`: the LayerNorm of each token's, its position's and the first type's
    /// embeddings' sum.
    ///
    /// Errors: ids outside the vocabulary or not whole sequences.
    pub fn embed(&self, embeddings: &Embeddings, ids: &[u32]) -> Result<Vec<f32>, Error> {
        let dim = self.config.dim;
        sequences(ids, self.len, self.config.vocab)?;
        let mut x = Vec::with_capacity(ids.len() * dim);
        for (at, &id) in ids.iter().enumerate() {
            let word = &embeddings.words[id as usize * dim..][..dim];
            let position = &embeddings.positions[at % self.len * dim..][..dim];
            let sum = word.iter().zip(position).zip(&embeddings.types);
            x.extend(sum.map(|((word, position), kind)| word + kind + position));
        }
        embeddings.norm.norm(&mut x, self.config.eps);
        Ok(x)
    }

    /// The inputs of o, `n × dim`, from the block's input x, `n × dim`, which q, k and v read as it is.
    pub fn output_inputs(&self, block: &Block, x: &[f32]) -> Result<Vec<f32>, Error> {
        let n = rows(x, self.config.dim, self.len)?;
        let [q, k, v] = [&block.q, &block.k, &block.v].map(|layer| layer.apply(x, n));
        let (count, width) = (self.config.heads, self.config.head_dim());
        let heads = Heads { count, key_value: count, width, causal: false };
        Ok(attend(&q, &k, &v, n, self.len, heads))
    }

    /// Adds o's outputs to x and takes their LayerNorm: the inputs of up. `y`: the inputs of o.
    pub fn after_attention(&self, block: &Block, x: &mut [f32], y: &[f32]) -> Result<(), Error> {
        let n = rows(x, self.config.dim, self.len)?;
        same_rows(n, y, self.config.dim, self.len)?;
        block.o.add(y, n, x);
        block.attn_norm.norm(x, self.config.eps);
        Ok(())
    }

    /// The inputs of down, `n × ffn`, from those of up.
    pub fn down_inputs(&self, block: &Block, x: &[f32]) -> Result<Vec<f32>, Error> {
        let mut a = block.up.apply(x, rows(x, self.config.dim, self.len)?);
        gelu(&mut a);
        Ok(a)
    }

    /// Adds down's outputs to x and takes their LayerNorm: the block's output. `a`: the inputs of down.
    pub fn finish(&self, block: &Block, x: &mut [f32], a: &[f32]) -> Result<(), Error> {
        let n = rows(x, self.config.dim, self.len)?;
        same_rows(n, a, self.config.ffn, self.len)?;
        block.down.add(a, n, x);
        block.ffn_norm.norm(x, self.config.eps);
        Ok(())
    }

    /// The whole block: x becomes its output.
    pub fn block(&self, block: &Block, x: &mut [f32]) -> Result<(), Error> {
        let y = self.output_inputs(block, x)?;
        self.after_attention(block, x, &y)?;
        let a = self.down_inputs(block, x)?;
        self.finish(block, x, &a)
    }
}
