//! Perplexity of a causal language model on a text, its uncertainty, and two models compared on the
//! same windows.
//!
//! `perplexity = e^(mean −ln p(token | those before it in its window))`, over the predictions of all
//! windows. Nothing is put before a window. The numbers of two protocols must not be compared: a
//! longer context alone lowers perplexity.

use crate::block::{Block, Forward, Head};
use crate::config::EMBEDDING;
use crate::corpus::fnv1a;
use crate::{Config, Error, Tensor, Text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Windows of a text: of `context` tokens, each beginning `stride` tokens after the one before.
///
/// A window predicts its tokens but the first, and counts those that no window before it has
/// predicted. With `stride = context` windows are apart and count `context − 1` predictions each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Tokens of a window.
    pub context: usize,
    /// Tokens from one window's start to the next's; at most `context`.
    pub stride: usize,
    /// Most windows, from the text's start.
    pub most: usize,
}

/// What was measured, exactly enough to be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// What the text is, for people.
    pub source: String,
    /// FNV-1a of the text's bytes, hexadecimal.
    pub text: String,
    /// FNV-1a of the tokenizer's JSON, hexadecimal.
    pub tokenizer: String,
    /// FNV-1a of the text's token ids (u32, little-endian), hexadecimal.
    pub token_ids: String,
    /// Tokens of the text.
    pub tokens: usize,
    /// How it was cut.
    pub windows: Windows,
}

/// A model's losses on a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// What was measured.
    pub protocol: Protocol,
    /// Mean loss of each window's predictions, in nats.
    pub nats: Vec<f64>,
    /// Predictions of each window.
    pub predictions: Vec<usize>,
}

/// An estimate and its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// Most bytes of the residual stream at a time; a group of windows that fits goes through all blocks.
const STREAM: usize = 1 << 28;
/// Tokens that go through a block together: their activations stay small.
const TOGETHER: usize = 1 << 12;

/// Measures a model, block by block: `tensor` gives its tensors by name, and is asked again for each
/// 256 MB of residual stream. `progress`: steps done, and of how many.
///
/// Errors: windows that make no sense or of which the text has fewer than two, which leaves the
/// uncertainty unknown; `tensor`'s own; losses that are not finite.
pub fn perplexity(
    config: &Config,
    tensor: &dyn Fn(&str) -> Result<Tensor, Error>,
    text: &Text,
    windows: Windows,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Perplexity, Error> {
    let Windows { context, stride, most } = windows;
    let tokens = text.tokens();
    if context < 2 || stride == 0 || stride > context {
        return Err(Error::Inference(format!("windows of {context} tokens, {stride} apart")));
    }
    let starts: Vec<usize> =
        (0..tokens.len()).step_by(stride).take_while(|s| s + context <= tokens.len()).collect();
    let starts = &starts[..starts.len().min(most)];
    if starts.len() < 2 {
        let (source, have) = (text.source(), tokens.len());
        return Err(Error::Corpus(format!(
            "{source}: {} windows of {context} tokens from {have}; at least 2 are needed",
            starts.len()
        )));
    }
    let len = context - 1; // a window's last token is only predicted
    let forward = Forward::new(config, len)?;
    let table = crate::block::checked(EMBEDDING, tensor(EMBEDDING)?, &[config.vocab, config.dim])?;
    let head = Head::load(config, tensor)?;
    let group = (STREAM / (4 * config.dim * len)).max(1);
    let together = (TOGETHER / len).max(1) * len * config.dim;
    let steps = starts.len().div_ceil(group) * (config.layers + 1);
    let (mut nats, mut predictions, mut done) = (Vec::new(), Vec::new(), 0);
    for starts in starts.chunks(group) {
        let ids: Vec<u32> = starts.iter().flat_map(|&s| &tokens[s..s + len]).copied().collect();
        let mut x = forward.embed(&table, &ids)?;
        for layer in 0..config.layers {
            let block = Block::load(config, layer, tensor)?;
            for x in x.chunks_mut(together) {
                forward.block(&block, x, |_, _| Ok(()))?;
            }
            done += 1;
            progress(done, steps);
        }
        let targets: Vec<u32> =
            starts.iter().flat_map(|&s| &tokens[s + 1..s + context]).copied().collect();
        let losses = head.losses(&x, &targets)?;
        for (&start, losses) in starts.iter().zip(losses.chunks(len)) {
            let new = if start == 0 { len } else { stride.min(len) };
            let sum: f64 = losses[len - new..].iter().sum();
            if !sum.is_finite() {
                return Err(Error::Inference(format!(
                    "the loss of the window at {start} is {sum}"
                )));
            }
            nats.push(sum / new as f64);
            predictions.push(new);
        }
        done += 1;
        progress(done, steps);
    }
    let ids: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
    let protocol = Protocol {
        source: text.source().to_owned(),
        text: format!("{:016x}", text.digest()),
        tokenizer: format!("{:016x}", text.tokenizer()),
        token_ids: format!("{:016x}", fnv1a(&ids)),
        tokens: tokens.len(),
        windows,
    };
    Ok(Perplexity { protocol, nats, predictions })
}

impl Perplexity {
    /// Perplexity. Its interval is Student's t of the mean loss over windows, which are taken as
    /// independent, weighed by their predictions, and then `e^` of its ends.
    pub fn estimate(&self) -> Estimate {
        self.exponential(&self.nats)
    }

    /// `perplexity(self) / perplexity(other)`, paired: the interval is that of the windows' differences
    /// in loss, from which the text's own variance drops out.
    ///
    /// Errors: another protocol.
    pub fn ratio(&self, other: &Self) -> Result<Estimate, Error> {
        if self.protocol != other.protocol || self.predictions != other.predictions {
            let (a, b) = (&self.protocol, &other.protocol);
            return Err(Error::Inference(format!("not to be compared: {a}; {b}")));
        }
        let pairs = self.nats.iter().zip(&other.nats);
        Ok(self.exponential(&pairs.map(|(a, b)| a - b).collect::<Vec<f64>>()))
    }

    /// `e^` of the mean of the windows' values, by the ratio estimator's variance
    /// `n/(n−1) · Σ cᵢ²(xᵢ − mean)² / (Σ cᵢ)²`.
    fn exponential(&self, values: &[f64]) -> Estimate {
        let counts: Vec<f64> = self.predictions.iter().map(|&c| c as f64).collect();
        let (n, all) = (counts.len() as f64, counts.iter().sum::<f64>());
        let mean = values.iter().zip(&counts).map(|(x, c)| x * c).sum::<f64>() / all;
        let squares = values.iter().zip(&counts).map(|(x, c)| (c * (x - mean)).powi(2));
        let error = (n / (n - 1.0) * squares.sum::<f64>()).sqrt() / all;
        let reach = student(counts.len().saturating_sub(1)) * error;
        Estimate { value: mean.exp(), low: (mean - reach).exp(), high: (mean + reach).exp() }
    }
}

/// The 97.5 % quantile of Student's t; infinite without a degree of freedom. From five degrees on by
/// Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5), within 0.001.
fn student(degrees: usize) -> f64 {
    match degrees {
        0 => f64::INFINITY,
        1 => 12.7062,
        2 => 4.3027,
        3 => 3.1824,
        4 => 2.7764,
        _ => {
            let (z, v) = (1.959_964f64, degrees as f64);
            let p = |n: i32| z.powi(n);
            z + (p(3) + z) / (4.0 * v)
                + (5.0 * p(5) + 16.0 * p(3) + 3.0 * z) / (96.0 * v.powi(2))
                + (3.0 * p(7) + 19.0 * p(5) + 17.0 * p(3) - 15.0 * z) / (384.0 * v.powi(3))
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Windows { context, stride, most } = self.windows;
        write!(
            f,
            "{} (text {}, tokenizer {}), {} tokens (ids {}), the first {most} windows of {context} \
             tokens, {stride} apart, nothing before them, each token after a window's first predicted \
             once, in f32",
            self.source, self.text, self.tokenizer, self.tokens, self.token_ids
        )
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:.4} [{:.4}, {:.4}]", self.value, self.low, self.high)
    }
}
