//! The forward pass of a Llama-style decoder block by block, on slices in f32: what calibration and
//! perplexity run on. One block's weights are in memory at a time.
//!
//! ```text
//! h = rmsnorm(x)                     Site::Attention     → q, k, v
//! y = attention(rotary(q, k), v)     Site::Output        → x += y·Woᵀ
//! h = rmsnorm(x)                     Site::FeedForward   → gate, up
//! a = silu(gate) · up                Site::Down          → x += a·Wdownᵀ
//! ```
//!
//! Each stage is a call of its own, so that a caller may replace the weights that a stage's inputs
//! meet before the next stage runs on them: what a layer is pruned for is then what the pruned layers
//! before it really put out.

use crate::attention::{Heads, attend};
use crate::config::{self, Config, in_block};
use crate::slices::{add_linear, cross_entropy, gated, linear, rms_norm};
use crate::{Error, Tensor};
use rayon::prelude::*;

/// Where the inputs of a block's linear layers are seen; layers with one input share a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Inputs of q, k and v.
    Attention,
    /// Inputs of o.
    Output,
    /// Inputs of gate and up.
    FeedForward,
    /// Inputs of down.
    Down,
}

impl Site {
    /// In the order in which a block meets them.
    pub const ALL: [Self; 4] = [Self::Attention, Self::Output, Self::FeedForward, Self::Down];

    /// The layers that read these inputs, as [`in_block`] takes them.
    pub fn layers(self) -> &'static [&'static str] {
        match self {
            Self::Attention => &[config::Q, config::K, config::V],
            Self::Output => &[config::O],
            Self::FeedForward => &[config::GATE, config::UP],
            Self::Down => &[config::DOWN],
        }
    }
}

/// One block's weights, row-major `out × in`.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    attn_norm: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    o: Vec<f32>,
    ffn_norm: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    down: Vec<f32>,
}

impl Block {
    /// Takes a block's tensors by name from `tensor`.
    ///
    /// Errors: `tensor`'s own; another shape than the configuration's, a number that is not finite.
    pub fn load(
        config: &Config,
        layer: usize,
        mut tensor: impl FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        let (d, f, kv) = (config.dim, config.ffn, config.kv_dim());
        let mut get = |part: &str, shape: &[usize]| {
            let name = in_block(layer, part);
            checked(&name, tensor(&name)?, shape)
        };
        Ok(Self {
            attn_norm: get(config::ATTN_NORM, &[d])?,
            q: get(config::Q, &[d, d])?,
            k: get(config::K, &[kv, d])?,
            v: get(config::V, &[kv, d])?,
            o: get(config::O, &[d, d])?,
            ffn_norm: get(config::FFN_NORM, &[d])?,
            gate: get(config::GATE, &[f, d])?,
            up: get(config::UP, &[f, d])?,
            down: get(config::DOWN, &[d, f])?,
        })
    }

    /// A linear layer's weights: `block.weight(config::Q)`. None: the block has no such layer.
    pub fn weight(&self, part: &str) -> Option<&[f32]> {
        Some(match part {
            config::Q => &self.q,
            config::K => &self.k,
            config::V => &self.v,
            config::O => &self.o,
            config::GATE => &self.gate,
            config::UP => &self.up,
            config::DOWN => &self.down,
            _ => return None,
        })
    }

    /// Replaces a linear layer's weights. Errors: no such layer, another length, a number that is not
    /// finite.
    pub fn replace(&mut self, part: &str, weight: Vec<f32>) -> Result<(), Error> {
        let slot = match part {
            config::Q => &mut self.q,
            config::K => &mut self.k,
            config::V => &mut self.v,
            config::O => &mut self.o,
            config::GATE => &mut self.gate,
            config::UP => &mut self.up,
            config::DOWN => &mut self.down,
            _ => return Err(Error::Weights(format!("a block has no linear layer {part}"))),
        };
        let (have, want) = (weight.len(), slot.len());
        if have != want {
            return Err(Error::Weights(format!("{part} has {want} weights, not {have}")));
        }
        finite(part, &weight)?;
        *slot = weight;
        Ok(())
    }
}

/// A tensor's data, if it has that shape and is finite.
pub(crate) fn checked(name: &str, tensor: Tensor, shape: &[usize]) -> Result<Vec<f32>, Error> {
    let Tensor { shape: have, data } = tensor;
    if have != shape || data.len() != shape.iter().product::<usize>() {
        let len = data.len();
        return Err(Error::Weights(format!(
            "{name} is {have:?} with {len} elements, but the configuration calls for {shape:?}"
        )));
    }
    finite(name, &data)?;
    Ok(data)
}

fn finite(name: &str, data: &[f32]) -> Result<(), Error> {
    match data.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::Weights(format!("{name}[{i}] is {}", data[i]))),
        None => Ok(()),
    }
}

/// Errors: ids that are no whole sequences of `len`, or outside the vocabulary.
pub(crate) fn sequences(ids: &[u32], len: usize, vocab: usize) -> Result<(), Error> {
    if ids.is_empty() || !ids.len().is_multiple_of(len) {
        let have = ids.len();
        return Err(Error::Inference(format!("{have} tokens are no sequences of {len}")));
    }
    match ids.iter().find(|id| **id as usize >= vocab) {
        None => Ok(()),
        Some(id) => {
            Err(Error::Inference(format!("token {id} is outside the vocabulary of {vocab}")))
        }
    }
}

/// Rows of `x`, if they are whole sequences of `len`.
pub(crate) fn rows(x: &[f32], columns: usize, len: usize) -> Result<usize, Error> {
    match x.len() {
        have if have > 0 && have.is_multiple_of(columns * len) => Ok(have / columns),
        have => Err(Error::Inference(format!(
            "{have} activations are no sequences of {len} × {columns}"
        ))),
    }
}

/// Errors: other rows than `n`.
pub(crate) fn same_rows(n: usize, x: &[f32], columns: usize, len: usize) -> Result<(), Error> {
    match rows(x, columns, len)? {
        have if have == n => Ok(()),
        have => Err(Error::Inference(format!("inputs of {have} tokens for a stream of {n}"))),
    }
}

/// The forward pass over sequences of one length. Activations are row-major, a row a token, sequence
/// after sequence.
///
/// Every stage's errors: activations of another size than whole sequences.
pub struct Forward {
    config: Config,
    len: usize,
    /// `len × head_dim`, see [`Config::rotary_table`].
    rotary: Vec<f32>,
}

impl Forward {
    /// For sequences of `len` tokens.
    ///
    /// Errors: a configuration that is invalid, a length outside `1..=max_seq`.
    pub fn new(config: &Config, len: usize) -> Result<Self, Error> {
        config.validate()?;
        if len == 0 || len > config.max_seq {
            let most = config.max_seq;
            return Err(Error::Inference(format!("sequences of {len} tokens, not 1..={most}")));
        }
        Ok(Self { config: *config, len, rotary: config.rotary_rows(len) })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The blocks' input, `ids.len() × dim`: rows of the embedding `table`, `vocab × dim`.
    ///
    /// Errors: ids outside the vocabulary or not whole sequences, a table of another size.
    pub fn embed(&self, table: &[f32], ids: &[u32]) -> Result<Vec<f32>, Error> {
        let (dim, vocab) = (self.config.dim, self.config.vocab);
        if table.len() != vocab * dim {
            let have = table.len();
            return Err(Error::Weights(format!("an embedding of {have}, not {vocab} × {dim}")));
        }
        sequences(ids, self.len, vocab)?;
        Ok(ids.iter().flat_map(|&id| &table[id as usize * dim..][..dim]).copied().collect())
    }

    /// The inputs of q, k and v, `n × dim`, from the block's input x, `n × dim`.
    pub fn attention_inputs(&self, block: &Block, x: &[f32]) -> Result<Vec<f32>, Error> {
        self.rows(x, self.config.dim)?;
        Ok(rms_norm(x, &block.attn_norm, self.config.eps))
    }

    /// The inputs of o, `n × dim`, from those of q, k and v.
    pub fn output_inputs(&self, block: &Block, h: &[f32]) -> Result<Vec<f32>, Error> {
        let n = self.rows(h, self.config.dim)?;
        let mut q = linear(h, &block.q, n);
        let mut k = linear(h, &block.k, n);
        let v = linear(h, &block.v, n);
        self.rotate(&mut q, self.config.dim);
        self.rotate(&mut k, self.config.kv_dim());
        let Config { heads, kv_heads, .. } = self.config;
        let heads = Heads {
            count: heads,
            key_value: kv_heads,
            width: self.config.head_dim(),
            causal: true,
        };
        Ok(attend(&q, &k, &v, n, self.len, heads))
    }

    /// Adds o's outputs to x; then the inputs of gate and up, `n × dim`. `y`: the inputs of o.
    pub fn feed_forward_inputs(
        &self,
        block: &Block,
        x: &mut [f32],
        y: &[f32],
    ) -> Result<Vec<f32>, Error> {
        let n = self.rows(x, self.config.dim)?;
        self.same_rows(n, y, self.config.dim)?;
        add_linear(y, &block.o, n, x);
        Ok(rms_norm(x, &block.ffn_norm, self.config.eps))
    }

    /// The inputs of down, `n × ffn`, from those of gate and up.
    pub fn down_inputs(&self, block: &Block, h: &[f32]) -> Result<Vec<f32>, Error> {
        let n = self.rows(h, self.config.dim)?;
        Ok(gated(h, &block.gate, &block.up, n))
    }

    /// Adds down's outputs to x, which then is the block's output. `a`: the inputs of down.
    pub fn finish(&self, block: &Block, x: &mut [f32], a: &[f32]) -> Result<(), Error> {
        let n = self.rows(x, self.config.dim)?;
        self.same_rows(n, a, self.config.ffn)?;
        add_linear(a, &block.down, n, x);
        Ok(())
    }

    /// The whole block: x becomes its output. `observe` sees each site's inputs, `n × dim` or, of
    /// down, `n × ffn`. Errors: also those of `observe`.
    pub fn block(
        &self,
        block: &Block,
        x: &mut [f32],
        mut observe: impl FnMut(Site, &[f32]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let h = self.attention_inputs(block, x)?;
        observe(Site::Attention, &h)?;
        let y = self.output_inputs(block, &h)?;
        observe(Site::Output, &y)?;
        let h = self.feed_forward_inputs(block, x, &y)?;
        observe(Site::FeedForward, &h)?;
        let a = self.down_inputs(block, &h)?;
        observe(Site::Down, &a)?;
        self.finish(block, x, &a)
    }

    fn rows(&self, x: &[f32], columns: usize) -> Result<usize, Error> {
        rows(x, columns, self.len)
    }

    fn same_rows(&self, n: usize, x: &[f32], columns: usize) -> Result<(), Error> {
        same_rows(n, x, columns, self.len)
    }

    /// Turns the halves of each head by its position's angles, in place. `width`: of a row.
    fn rotate(&self, x: &mut [f32], width: usize) {
        let hd = self.config.head_dim();
        let angles = |row: usize| self.rotary[row % self.len * hd..][..hd].split_at(hd / 2);
        x.par_chunks_mut(width).enumerate().for_each(|(row, x)| {
            let (cos, sin) = angles(row);
            for head in x.chunks_exact_mut(hd) {
                let (a, b) = head.split_at_mut(hd / 2);
                for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        });
    }
}

/// The model after its blocks: the last norm and the head.
pub struct Head {
    norm: Vec<f32>,
    weight: Vec<f32>,
    eps: f32,
}

impl Head {
    /// Takes the tensors by name from `tensor`; of tied embeddings, the embedding table.
    ///
    /// Errors: `tensor`'s own; another shape than the configuration's, a number that is not finite.
    pub fn load(
        config: &Config,
        mut tensor: impl FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        let norm = tensor(config::FINAL_NORM)?;
        let weight = tensor(config.head())?;
        Ok(Self {
            norm: checked(config::FINAL_NORM, norm, &[config.dim])?,
            weight: checked(config.head(), weight, &[config.vocab, config.dim])?,
            eps: config.eps,
        })
    }

    /// Logits `n × vocab` of the blocks' output x, `n × dim`.
    ///
    /// Errors: activations that are no rows of `dim`.
    pub fn logits(&self, x: &[f32]) -> Result<Vec<f32>, Error> {
        let n = self.rows(x)?;
        Ok(linear(&rms_norm(x, &self.norm, self.eps), &self.weight, n))
    }

    /// `−ln softmax(logits)[target]` of each row of the blocks' output x, `n × dim`, in nats. Logits are
    /// made a tile at a time, and never all.
    ///
    /// Errors: another number of targets than rows, a target outside the vocabulary.
    pub fn losses(&self, x: &[f32], targets: &[u32]) -> Result<Vec<f64>, Error> {
        let n = self.rows(x)?;
        let vocab = self.weight.len() / self.norm.len();
        if n != targets.len() {
            let have = targets.len();
            return Err(Error::Inference(format!("{have} targets for {n} predictions")));
        }
        if let Some(id) = targets.iter().find(|id| **id as usize >= vocab) {
            return Err(Error::Inference(format!(
                "token {id} is outside the vocabulary of {vocab}"
            )));
        }
        Ok(cross_entropy(&rms_norm(x, &self.norm, self.eps), &self.weight, targets))
    }

    fn rows(&self, x: &[f32]) -> Result<usize, Error> {
        let dim = self.norm.len();
        match x.len() {
            n if n > 0 && n.is_multiple_of(dim) => Ok(n / dim),
            n => Err(Error::Inference(format!("{n} activations are no rows of {dim}"))),
        }
    }
}

#[cfg(test)]
mod tests;
