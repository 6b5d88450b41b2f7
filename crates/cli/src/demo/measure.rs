//! Running the models on a backend: loss on the sample, texts, speed.

use indicatif::ProgressBar;
use quickpick::Backend;
use quickpick::Visitor;
use quickpick_transformer::{Compact, Decoder, Error, Sampler, Score, generate, score};
use std::time::Instant;

/// What every backend is asked to do with each model.
pub struct Task {
    /// Held-out windows of bytes, as tokens.
    pub windows: Vec<Vec<u32>>,
    /// What texts begin with.
    pub prompt: Vec<u32>,
    /// Bytes to write.
    pub length: usize,
    /// Temperature of the sampled text.
    pub temperature: f32,
    /// Seed of the sampled text.
    pub seed: u64,
}

/// Rounds of the speed measurement; every model runs once a round, so that what slows the machine
/// slows all of them.
pub const ROUNDS: usize = 7;
/// Prompt tokens of a round.
pub const PREFILL: usize = 256;
/// Generated tokens of a round.
pub const DECODE: usize = 64;

/// What a backend did with one model.
pub struct Measured {
    /// Loss and logits on the windows.
    pub score: Score,
    /// The text at temperature 0.
    pub text: String,
    /// The text at the task's temperature.
    pub sampled: String,
    /// Prompt tokens per second, the fastest round; 0 if speed was not asked for.
    pub prefill: f64,
    /// Generated tokens per second, the fastest round; 0 if speed was not asked for.
    pub decode: f64,
    /// The names of the kernels that ran.
    pub kernels: Vec<String>,
}

/// The task, on models.
pub struct Measure<'a> {
    /// What to do.
    pub task: &'a Task,
    /// With which models.
    pub models: &'a [&'a Compact],
    /// Whether to take times.
    pub speed: bool,
    /// Moves on by one for each step of the work; see [`Measure::steps`].
    pub bar: &'a ProgressBar,
}

impl Measure<'_> {
    /// Steps that the bar will take.
    pub fn steps(&self) -> u64 {
        (self.models.len() * (3 + if self.speed { ROUNDS } else { 0 })) as u64
    }
}

impl Visitor for Measure<'_> {
    type Output = Result<Vec<Measured>, Error>;

    fn visit<B: Backend>(self, backend: &B) -> Self::Output {
        let mut decoders = Vec::new();
        for model in self.models {
            decoders.push(Decoder::new(backend, model)?);
        }
        let mut all = Vec::new();
        for decoder in &mut decoders {
            let task = self.task;
            let score = score(decoder, &task.windows)?;
            self.bar.inc(1);
            let mut write = |temperature| -> Result<String, Error> {
                let mut sampler = Sampler::new(temperature, task.seed)?;
                let text = generate(decoder, &task.prompt, task.length, &mut sampler)?.text();
                self.bar.inc(1);
                Ok(text)
            };
            let (text, sampled) = (write(0.0)?, write(task.temperature)?);
            let kernels = decoder.kernels().map(str::to_owned).collect();
            all.push(Measured { score, text, sampled, prefill: 0.0, decode: 0.0, kernels });
        }
        if self.speed {
            let speeds = speeds(&mut decoders, &self.task.windows, self.bar)?;
            for (measured, (prefill, decode)) in all.iter_mut().zip(speeds) {
                (measured.prefill, measured.decode) = (prefill, decode);
            }
        }
        Ok(all)
    }
}

/// (prefill, decode) tokens per second of each model: the fastest of [`ROUNDS`].
fn speeds<B: Backend>(
    decoders: &mut [Decoder<B>],
    windows: &[Vec<u32>],
    bar: &ProgressBar,
) -> Result<Vec<(f64, f64)>, Error> {
    let text: Vec<u32> = windows.iter().flatten().copied().cycle().take(PREFILL).collect();
    let mut times = vec![(Vec::new(), Vec::new()); decoders.len()];
    for round in 0..ROUNDS {
        for i in 0..decoders.len() {
            // each round begins with another model
            let i = (i + round) % decoders.len();
            let decoder = &mut decoders[i];
            let prompt = &text[..text.len().min(decoder.config().max_seq - DECODE)];
            decoder.restart();
            let start = Instant::now();
            decoder.feed(prompt)?;
            decoder.last_logits()?;
            times[i].0.push(start.elapsed().as_secs_f64() / prompt.len() as f64);
            let written = generate(decoder, &text[..1], DECODE + 1, &mut Sampler::Greedy)?;
            times[i].1.push(written.decode_seconds / written.decoded as f64);
            bar.inc(1);
        }
    }
    Ok(times.iter().map(|(p, d)| (1.0 / fastest(p), 1.0 / fastest(d))).collect())
}

/// The least time: what other processes take from a round is not the model's.
fn fastest(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}
