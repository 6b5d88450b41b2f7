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
    /// Most windows: spread evenly over the text if they are apart, else from its start.
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
    let count = starts.len().min(most);
    let starts: Vec<usize> = match stride == context {
        true => (0..count).map(|i| starts[i * starts.len() / count]).collect(),
        false => starts[..count].to_vec(),
    };
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

    /// `e^` of the mean of the windows' values.
    fn exponential(&self, values: &[f64]) -> Estimate {
        let counts: Vec<f64> = self.predictions.iter().map(|&c| c as f64).collect();
        let Estimate { value, low, high } = Estimate::mean(values, &counts);
        Estimate { value: value.exp(), low: low.exp(), high: high.exp() }
    }
}

impl Estimate {
    /// The mean of independent values that weigh `counts`, by the ratio estimator's variance
    /// `n/(n−1) · Σ cᵢ²(xᵢ − mean)² / (Σ cᵢ)²` and Student's t.
    pub(crate) fn mean(values: &[f64], counts: &[f64]) -> Self {
        let (n, all) = (counts.len() as f64, counts.iter().sum::<f64>());
        let mean = values.iter().zip(counts).map(|(x, c)| x * c).sum::<f64>() / all;
        let squares = values.iter().zip(counts).map(|(x, c)| (c * (x - mean)).powi(2));
        let error = (n / (n - 1.0) * squares.sum::<f64>()).sqrt() / all;
        let reach = student(counts.len().saturating_sub(1)) * error;
        Self { value: mean, low: mean - reach, high: mean + reach }
    }
}

/// The 97.5 % quantile of Student's t; infinite without a degree of freedom. From five degrees on by
/// Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5), within 0.002.
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
                + (79.0 * p(9) + 776.0 * p(7) + 1482.0 * p(5) - 1920.0 * p(3) - 945.0 * z)
                    / (92_160.0 * v.powi(4))
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Windows { context, stride, most } = self.windows;
        write!(
            f,
            "{} (text {}, tokenizer {}), {} tokens (ids {}), {most} windows of {context} tokens{}, \
             nothing before them, each token after a window's first predicted once, in f32",
            self.source,
            self.text,
            self.tokenizer,
            self.tokens,
            self.token_ids,
            match stride == context {
                true => " spread evenly over it".to_owned(),
                false => format!(" from its start, {stride} apart"),
            }
        )
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:.4} [{:.4}, {:.4}]", self.value, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tokenizer, Weights};

    /// A byte-level vocabulary without merges: a token a byte.
    fn bytes() -> Tokenizer {
        crate::tokenizer::tests::bytes()
    }

    fn model() -> Weights {
        let config =
            Config { dim: 32, layers: 2, heads: 2, kv_heads: 1, ffn: 32, ..Config::tiny() };
        Weights::init(config, 3).unwrap()
    }

    fn text(n: usize) -> Text {
        let words = ["salt ", "and ", "other ", "stories, "];
        let pick = |i: u64| words[crate::corpus::splitmix64(i) as usize % 4];
        let text: String = (0..n as u64).map(pick).collect();
        Text::new(&text[..n], "words", &bytes()).unwrap()
    }

    fn measure(weights: &Weights, n: usize, windows: Windows) -> Result<Perplexity, Error> {
        let get = |name: &str| weights.get(name).cloned();
        let mut last = (0, 0);
        let result = perplexity(weights.config(), &get, &text(n), windows, &mut |done, of| {
            assert_eq!(done, last.0 + 1);
            last = (done, of);
        })?;
        assert_eq!(last.0, last.1);
        Ok(result)
    }

    #[test]
    fn losses_are_those_of_each_window_alone() {
        let weights = model();
        let windows = Windows { context: 20, stride: 20, most: 100 };
        let p = measure(&weights, 110, windows).unwrap();
        assert_eq!(p.predictions, [19; 5]);
        for (window, nats) in text(110).tokens().chunks_exact(20).zip(&p.nats) {
            let window = vec![window.to_vec()];
            let logits = crate::score::reference(&weights, &window).unwrap();
            let want = crate::score::bits(&logits, &window, 256).unwrap() * std::f64::consts::LN_2;
            assert!((nats - want).abs() < 1e-4, "{nats} {want}");
        }
        let mean = p.nats.iter().sum::<f64>() / 5.0;
        let e = p.estimate();
        assert!((e.value.ln() - mean).abs() < 1e-12 && e.low < e.value && e.value < e.high);
    }

    #[test]
    fn overlapping_windows_count_each_prediction_once() {
        let weights = model();
        let windows = Windows { context: 20, stride: 5, most: 100 };
        let p = measure(&weights, 110, windows).unwrap();
        assert_eq!(p.predictions[..3], [19, 5, 5]);
        assert_eq!(p.predictions.len(), 19);
        assert_eq!(p.predictions.iter().sum::<usize>(), 109);
        // the second window's last five predictions
        let window = vec![text(110).tokens()[5..25].to_vec()];
        let logits = crate::score::reference(&weights, &window).unwrap();
        let tail = [text(110).tokens()[19..25].to_vec()];
        let want = crate::score::bits(&logits[14 * 256..], &tail, 256).unwrap();
        assert!((p.nats[1] - want * std::f64::consts::LN_2).abs() < 1e-4);
    }

    #[test]
    fn pairs_are_closer_than_models() {
        let windows = Windows { context: 20, stride: 20, most: 100 };
        let a = measure(&model(), 400, windows).unwrap();
        let mut b = a.clone();
        b.nats.iter_mut().for_each(|x| *x += 0.5);
        let ratio = b.ratio(&a).unwrap();
        let half = 0.5f64.exp();
        assert!((ratio.value - half).abs() < 1e-9 && ratio.high - ratio.low < 1e-9, "{ratio}");
        let other = measure(&model(), 380, windows).unwrap();
        assert!(a.ratio(&other).unwrap_err().to_string().contains("not to be compared"));
    }

    /// Two windows of weights 1 and 3: mean 3.25, error √(2·(2.25² + 2.25²))/4, one degree of freedom.
    #[test]
    fn intervals_by_hand() {
        let windows = Windows { context: 4, stride: 4, most: 9 };
        let mut p = measure(&model(), 40, windows).unwrap();
        (p.nats, p.predictions) = (vec![1.0, 4.0], vec![1, 3]);
        let e = p.estimate();
        assert!((e.value.ln() - 3.25).abs() < 1e-12);
        let reach = 12.7062 * (2.0 * 2.0 * 2.25f64.powi(2)).sqrt() / 4.0;
        assert!((e.high.ln() - 3.25 - reach).abs() < 1e-9, "{e}");
        for (degrees, table) in [(1, 12.706), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042)] {
            assert!((student(degrees) - table).abs() < 2e-3, "{degrees}: {}", student(degrees));
        }
    }

    #[test]
    fn senseless_windows_are_refused() {
        let weights = model();
        for (context, stride) in [(1, 1), (20, 0), (20, 21), (1000, 20)] {
            let windows = Windows { context, stride, most: 9 };
            assert!(measure(&weights, 110, windows).is_err(), "{context} {stride}");
        }
        let windows = Windows { context: 20, stride: 20, most: 1 };
        let why = measure(&weights, 110, windows).unwrap_err().to_string();
        assert!(why.contains("at least 2 are needed"), "{why}");
    }
}
