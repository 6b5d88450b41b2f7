//! Stage `decode`: a whole decoder, one token after the other. The same weights as 2:4 and as their dense
//! twin, in turn; then, operation by operation, where a token's time goes.

use crate::contender::quartiles;
use crate::error::{Error, Result};
use crate::record::Record;
use quickpick::Backend;
use quickpick::kernels::OpKind;
use quickpick_prune::{Mask, Masks, Pattern};
use quickpick_transformer::score::{largest_difference, reference};
use quickpick_transformer::{Compact, Config, Decoder, Kind, Slot, Stored, Weights};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What is run, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only models whose name contains this.
    pub only: Option<String>,
    /// Tokens before the first that is timed.
    pub prompt: usize,
    /// Tokens of a sequence that are timed.
    pub tokens: usize,
    /// Samples of each.
    pub rounds: u32,
    /// No model is begun after so long.
    pub budget: Duration,
}

/// A model's tokens per second with one form of its weights. Weights and caches are f16, the residual
/// stream is f32.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Decoded {
    /// `cpu`, `wgpu` or `cuda`.
    pub backend: String,
    /// Its name in [`MODELS`].
    pub model: String,
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Width within the feed-forward layer.
    pub ffn: usize,
    /// Tokens that there are.
    pub vocab: usize,
    /// `2:4` or `dense`, its twin.
    pub weights: String,
    /// Bytes of weights that a token reads: all but the embedding.
    pub bytes: u64,
    /// Tokens before the first that is timed.
    pub prompt: usize,
    /// Tokens of a sequence that are timed.
    pub tokens: usize,
    /// Samples.
    pub rounds: u32,
    /// The largest difference of a logit from the trainer's forward pass in f32, as a share of its bound.
    pub error: f64,
    /// Tokens per second: the median.
    pub rate: f64,
    /// Lower quartile.
    pub rate_low: f64,
    /// Upper quartile.
    pub rate_high: f64,
    /// Microseconds of a token, and of its parts, in the fastest sample of each: what other processes take is
    /// nobody's share.
    pub us: f64,
    /// Of operations in the middle of the sequence, by themselves: linear layers.
    pub linear_us: f64,
    /// Attention over the caches.
    pub attention_us: f64,
    /// Norms.
    pub norm_us: f64,
    /// Rotary embeddings, and the caches' new rows.
    pub rotary_us: f64,
    /// Gated products.
    pub swiglu_us: f64,
    /// The token's row of the embedding, and the likeliest next token.
    pub ends_us: f64,
    /// What is left: the token's way to the device, the hand-over, the wait. Below 0 where operations run
    /// slower one kind at a time than in their places.
    pub rest_us: f64,
}

/// A shape with a name.
struct Model {
    name: &'static str,
    config: Config,
}

/// The demo's model; one between; two of the 32 blocks of Llama-3-8B, whose layers outgrow every cache.
fn models() -> [Model; 3] {
    let shape = |layers, dim, heads, kv_heads, ffn| Config {
        layers,
        dim,
        heads,
        kv_heads,
        ffn,
        vocab: 8192,
        max_seq: 1024,
        ..Config::tiny()
    };
    [
        Model { name: "demo", config: Config::tiny() },
        Model { name: "medium", config: shape(8, 1024, 16, 8, 2816) },
        Model { name: "llama-3-8b/2 blocks", config: shape(2, 4096, 32, 8, 14336) },
    ]
}

/// A sample lasts about so long, or one sequence.
const SAMPLE: Duration = Duration::from_millis(200);
/// Tokens that are checked before anything is timed.
const CHECKED: usize = 24;
const FILE: &str = "decode.csv";

/// Runs the stage; rows go to `decode.csv` after every model.
///
/// Errors: [`Error::Wrong`] where a logit is out of its bound; no model of this name; the device's.
pub fn run<B: Backend>(backend: &B, options: &Options, record: &Record) -> Result<()> {
    let mut rows: Vec<Decoded> = record.rows(FILE)?;
    record.facts([(backend.name().to_string(), backend.describe())])?;
    let (start, mut found) = (Instant::now(), false);
    for Model { name, config } in models() {
        if options.only.as_deref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        found = true;
        let most = config.max_seq;
        if options.tokens == 0 || options.prompt == 0 || options.prompt + options.tokens > most {
            return Err(Error::Failed(format!(
                "{name} takes 1 to {most} tokens, not {} and then {}",
                options.prompt, options.tokens
            )));
        }
        if start.elapsed() >= options.budget {
            println!("{name}: not reached in {} s", options.budget.as_secs());
            continue;
        }
        let new = one(backend, name, config, options)?;
        new.iter().for_each(Decoded::print);
        println!("{name}: 2:4 is {:.2}× of dense", new[0].rate / new[1].rate);
        rows.retain(|r| (&r.backend, r.model.as_str()) != (&new[0].backend, name));
        rows.extend(new);
        record.write(FILE, &rows)?;
    }
    if found { Ok(()) } else { Err(Error::Failed("no model of this name".into())) }
}

/// A decoder that is timed, and what is known of it.
struct Arm<'b, B: Backend> {
    row: Decoded,
    decoder: Decoder<'b, B>,
    /// Sequences of a sample.
    sequences: u32,
    /// Seconds of a token.
    samples: Vec<f64>,
}

/// A model as 2:4, and its dense twin.
fn one<B: Backend>(
    backend: &B,
    name: &str,
    config: Config,
    options: &Options,
) -> Result<Vec<Decoded>> {
    let weights = Weights::init(config, 1).map_err(failed)?;
    let sparse = Compact::new(&weights, &masks(&config)?).map_err(failed)?;
    let wide = sparse.widen().map_err(failed)?;
    drop(weights);
    let dense = Compact::new(&wide, &Masks::new()).map_err(failed)?;
    let text = |n: usize| Vec::from_iter((0..n).map(|i| ((i * 37 + 11) % config.vocab) as u32));
    let (window, prompt) = (text(CHECKED + 1), text(options.prompt));
    let want = reference(&wide, std::slice::from_ref(&window)).map_err(failed)?;
    drop(wide);

    let mut arms = Vec::new();
    for (weights, model) in [("2:4", &sparse), ("dense", &dense)] {
        let mut decoder = Decoder::new(backend, model).map_err(failed)?;
        let row = Decoded {
            backend: backend.name().into(),
            model: name.into(),
            layers: config.layers,
            dim: config.dim,
            ffn: config.ffn,
            vocab: config.vocab,
            weights: weights.into(),
            bytes: bytes(model)?,
            prompt: options.prompt,
            tokens: options.tokens,
            rounds: options.rounds,
            error: checked(&mut decoder, &window, &want)? / model.logit_bound().map_err(failed)?,
            ..Decoded::default()
        };
        if row.error > 1.0 {
            let of = row.error;
            return Err(Error::Wrong(format!(
                "{name}, {weights}: a logit is {of:.2} of its bound off"
            )));
        }
        arms.push(Arm { row, decoder, sequences: 1, samples: vec![] });
    }
    for arm in &mut arms {
        let seconds = arm.sample(&prompt)? * options.tokens as f64; // warm
        arm.sequences = (SAMPLE.as_secs_f64() / seconds).ceil().clamp(1.0, 1e3) as u32;
    }
    for round in 0..options.rounds as usize {
        for turn in 0..arms.len() {
            let i = (round + turn) % 2;
            let seconds = arms[i].sample(&prompt)?;
            arms[i].samples.push(seconds);
        }
    }
    let rows = arms.into_iter().map(|arm| arm.finish(backend, &prompt));
    rows.collect()
}

/// The largest difference of a logit, of tokens by the eight, and by one.
fn checked<B: Backend>(decoder: &mut Decoder<'_, B>, window: &[u32], want: &[f32]) -> Result<f64> {
    let (many, few) = window[..CHECKED].split_at(CHECKED / 2);
    let mut got = decoder.logits(many).map_err(failed)?;
    for token in few {
        got.extend(decoder.logits(&[*token]).map_err(failed)?);
    }
    Ok(largest_difference(&got, want))
}

impl<B: Backend> Arm<'_, B> {
    /// Seconds of a token.
    fn sample(&mut self, prompt: &[u32]) -> Result<f64> {
        let mut spent = Duration::ZERO;
        for _ in 0..self.sequences {
            self.decoder.restart();
            let mut token = self.decoder.feed_greedy(prompt).map_err(failed)?;
            let start = Instant::now();
            for _ in 0..self.row.tokens {
                token = self.decoder.feed_greedy(&[token]).map_err(failed)?;
            }
            spent += start.elapsed();
        }
        Ok(spent.as_secs_f64() / f64::from(self.sequences) / self.row.tokens as f64)
    }

    /// The row, with each kind of operation timed in the middle of a sequence.
    fn finish(self, backend: &B, prompt: &[u32]) -> Result<Decoded> {
        let Self { mut row, mut decoder, samples, .. } = self;
        row.us = 1e6 * least(&samples);
        let [low, median, high] = quartiles(samples);
        row.rate = 1.0 / median;
        (row.rate_low, row.rate_high) = (1.0 / high, 1.0 / low);
        decoder.restart();
        let mut token = decoder.feed_greedy(prompt).map_err(failed)?;
        for _ in 0..row.tokens / 2 {
            token = decoder.feed_greedy(&[token]).map_err(failed)?;
        }
        let mut left = row.us;
        for (kind, us) in shares(backend, decoder.into_decode_steps(), row.rounds)? {
            left -= us;
            *match kind {
                OpKind::Linear(_) | OpKind::SpmmCsr => &mut row.linear_us,
                OpKind::Attention => &mut row.attention_us,
                OpKind::RmsNorm => &mut row.norm_us,
                OpKind::Rotary => &mut row.rotary_us,
                OpKind::SwiGlu => &mut row.swiglu_us,
                OpKind::Gather | OpKind::ArgMax => &mut row.ends_us,
                // a decoder of 8-bit layers has one before each; there is none yet
                OpKind::Quantize => &mut row.linear_us,
                // no part of a decoder's step
                OpKind::Pack24 | OpKind::Unpack24 => continue,
            } += us;
        }
        row.rest_us = left;
        Ok(row)
    }
}

/// Microseconds of the steps of each kind, without the hand-over and the wait: run in their order, all
/// kinds in turn.
fn shares<B: Backend>(
    backend: &B,
    steps: Vec<(OpKind, B::Step)>,
    rounds: u32,
) -> Result<Vec<(OpKind, f64)>> {
    let mut kinds: Vec<(Option<OpKind>, Vec<B::Step>, Vec<f64>)> = vec![(None, vec![], vec![])];
    for (kind, step) in steps {
        match kinds.iter_mut().find(|(have, ..)| *have == Some(kind)) {
            Some((_, group, _)) => group.push(step),
            None => kinds.push((Some(kind), vec![step], vec![])),
        }
    }
    // handed over as the decoder's are
    for (_, group, _) in &mut kinds {
        if let Some(recorded) = backend.record(group)? {
            *group = vec![recorded];
        }
    }
    let something = backend.buffer(4)?;
    for round in 0..=rounds {
        for (_, group, samples) in &mut kinds {
            let (start, mut runs) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_millis(20) {
                backend.run_then_read(group, &something, 0, 4)?;
                runs += 1;
            }
            // the first round is for warmth
            samples
                .extend((round > 0).then(|| 1e6 * start.elapsed().as_secs_f64() / f64::from(runs)));
        }
    }
    let alone = least(&kinds[0].2);
    let own = |samples: &[f64]| (least(samples) - alone).max(0.0);
    Ok(kinds.iter().filter_map(|(kind, _, samples)| Some(((*kind)?, own(samples)))).collect())
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Every block's linear layers, each with a mask of its own.
fn masks(config: &Config) -> Result<Masks> {
    let slots = config.slots().into_iter().zip(1..).filter(|(slot, _)| slot.kind == Kind::Linear);
    let mask = |(slot, seed): (Slot, u64)| {
        let (rows, cols) = (slot.shape[0], slot.shape[1]);
        let mask = Mask::random(rows, cols, Pattern::TWO_OF_FOUR, seed).map_err(failed)?;
        Ok((slot.name, mask))
    };
    slots.map(mask).collect()
}

/// Of all matrices but the embedding, as they lie in memory.
fn bytes(model: &Compact) -> Result<u64> {
    let mut bytes = 0;
    for slot in model.config().slots() {
        if matches!(slot.kind, Kind::Linear | Kind::Head) {
            bytes += match model.tensor(&slot.name).map_err(failed)? {
                Stored::Dense(values) => 2 * values.len(),
                Stored::Sparse(m) | Stored::Recovered { matrix: m, .. } => m.rows() * m.k() * 9 / 8,
            };
        }
    }
    Ok(bytes as u64)
}

impl Decoded {
    fn print(&self) {
        let Self { model, weights, rate, us, rest_us, .. } = self;
        let parts = [
            ("linear", self.linear_us),
            ("attention", self.attention_us),
            ("norm", self.norm_us),
            ("rotary", self.rotary_us),
            ("swiglu", self.swiglu_us),
            ("ends", self.ends_us),
            ("rest", *rest_us),
        ];
        let parts = parts.map(|(name, part)| format!("{name} {:.0} %", 100.0 * part / us));
        println!("{model} {weights}: {rate:.1} tokens/s, {us:.0} µs: {}", parts.join(", "));
    }
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::Failed(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick::Cpu;

    #[test]
    fn both_forms_are_checked_and_timed() {
        let folder = std::env::temp_dir().join(format!("quickpick-decode-{}", std::process::id()));
        let record = Record::open(&folder).unwrap();
        let options = Options {
            only: Some("demo".into()),
            prompt: 3,
            tokens: 2,
            rounds: 1,
            budget: Duration::from_secs(60),
        };
        for _ in 0..2 {
            run(&Cpu::new(), &options, &record).unwrap();
            let rows: Vec<Decoded> = record.rows(FILE).unwrap();
            assert_eq!(rows.len(), 2, "rows are replaced");
            let [sparse, dense] = [&rows[0], &rows[1]];
            assert_eq!((sparse.weights.as_str(), dense.weights.as_str()), ("2:4", "dense"));
            // 2 · 128 · 256 of the head, which stays dense
            assert_eq!((sparse.bytes - 65536) * 16, (dense.bytes - 65536) * 9);
            for row in [sparse, dense] {
                assert!(row.error > 0.0 && row.rate > 0.0 && row.us > 0.0, "{row:?}");
            }
        }
        let refused = |options| run(&Cpu::new(), &options, &record).unwrap_err().to_string();
        let long = Options { tokens: 510, ..options.clone() };
        assert!(refused(long).contains("takes 1 to 512 tokens, not 3 and then 510"));
        let none = Options { only: Some("no such".into()), ..options };
        assert!(refused(none).contains("no model of this name"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
