//! Text from a decoder: greedy or sampled, with the time that it took.

use crate::{Decoder, Error};
use quickpick::Backend;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Instant;

/// How the next token is taken from the logits.
#[derive(Clone, Debug)]
pub enum Sampler {
    /// The largest logit; of equals, the lower token.
    Greedy,
    /// A draw from `softmax(logits / temperature)`.
    Random {
        /// Above 0.
        temperature: f32,
        /// Boxed: 320 bytes that the greedy variant does not need.
        draws: Box<StdRng>,
    },
}

impl Sampler {
    /// Temperature 0 is greedy; the same seed gives the same draws.
    ///
    /// Errors: a temperature that is negative or not finite.
    pub fn new(temperature: f32, seed: u64) -> Result<Self, Error> {
        if !temperature.is_finite() || temperature < 0.0 {
            return Err(Error::Config(format!("temperature is {temperature}; it must be ≥ 0")));
        }
        if temperature == 0.0 {
            return Ok(Self::Greedy);
        }
        Ok(Self::Random { temperature, draws: Box::new(StdRng::seed_from_u64(seed)) })
    }

    /// Feeds tokens and takes the next one: greedily where the device finds it, so that it alone comes back;
    /// by a draw from all the logits, which are read back for it.
    fn after<B: Backend>(
        &mut self,
        decoder: &mut Decoder<B>,
        tokens: &[u32],
    ) -> Result<u32, Error> {
        match self {
            Self::Greedy => decoder.feed_greedy(tokens),
            Self::Random { .. } => {
                decoder.feed(tokens)?;
                self.next(&decoder.last_logits()?)
            }
        }
    }

    /// The next token. Errors: no logits, or one that is not a number.
    pub fn next(&mut self, logits: &[f32]) -> Result<u32, Error> {
        if let Some(i) = logits.iter().position(|l| l.is_nan()) {
            return Err(Error::Inference(format!("logit {i} is not a number")));
        }
        let best = (0..logits.len()).reduce(|a, b| if logits[b] > logits[a] { b } else { a });
        let Some(best) = best else {
            return Err(Error::Inference("there are no logits".into()));
        };
        let Self::Random { temperature, draws } = self else { return Ok(best as u32) };
        let top = logits[best];
        let scale = f64::from(*temperature);
        let odds: Vec<f64> = logits.iter().map(|&l| (f64::from(l - top) / scale).exp()).collect();
        let mut left = draws.random::<f64>() * odds.iter().sum::<f64>();
        for (token, odd) in odds.iter().enumerate() {
            left -= odd;
            if left < 0.0 {
                return Ok(token as u32);
            }
        }
        Ok(best as u32) // rounding left a crumb beyond the last token
    }
}

/// What was written, and how fast.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The new tokens, without the prompt.
    pub tokens: Vec<u32>,
    /// Seconds from the start to the first token.
    pub prefill_seconds: f64,
    /// Seconds of all the decode steps after that.
    pub decode_seconds: f64,
    /// Tokens that went through decode steps: one fewer than `tokens`, whose first came from prefill.
    pub decoded: usize,
}

impl Generated {
    /// The new tokens as text, where tokens are bytes; for others see [`Tokenizer::decode`]. What is no
    /// byte becomes U+FFFD, as what is no UTF-8 does.
    ///
    /// [`Tokenizer::decode`]: crate::Tokenizer::decode
    pub fn text(&self) -> String {
        let byte = |&t: &u32| u8::try_from(t).unwrap_or(0xFF);
        let bytes: Vec<u8> = self.tokens.iter().map(byte).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Starts a new sequence, reads `prompt` and writes `count` tokens.
///
/// Errors: an empty prompt, or prompt and text beyond the decoder's longest sequence.
pub fn generate<B: Backend>(
    decoder: &mut Decoder<B>,
    prompt: &[u32],
    count: usize,
    sampler: &mut Sampler,
) -> Result<Generated, Error> {
    generate_while(decoder, prompt, count, sampler, |_| Ok(true))
}

/// As [`generate`], but stops behind the first token for which `goes_on`, which sees all new ones so far,
/// says no. Errors: its own too.
pub fn generate_while<B: Backend>(
    decoder: &mut Decoder<B>,
    prompt: &[u32],
    count: usize,
    sampler: &mut Sampler,
    mut goes_on: impl FnMut(&[u32]) -> Result<bool, Error>,
) -> Result<Generated, Error> {
    decoder.restart();
    let start = Instant::now();
    let mut token = sampler.after(decoder, prompt)?;
    let prefill_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut tokens = Vec::with_capacity(count);
    while tokens.len() < count {
        tokens.push(token);
        if !goes_on(&tokens)? || tokens.len() == count {
            break;
        }
        token = sampler.after(decoder, &[token])?;
    }
    let decode_seconds = start.elapsed().as_secs_f64();
    let decoded = tokens.len().saturating_sub(1);
    Ok(Generated { tokens, prefill_seconds, decode_seconds, decoded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_largest_and_of_equals_the_lower() {
        let mut greedy = Sampler::new(0.0, 1).unwrap();
        assert_eq!(greedy.next(&[1.0, 3.0, 3.0, -1.0]).unwrap(), 1);
        assert_eq!(greedy.next(&[f32::NEG_INFINITY, -5.0]).unwrap(), 1);
        assert!(greedy.next(&[]).is_err());
        assert!(greedy.next(&[0.0, f32::NAN]).is_err());
    }

    #[test]
    fn draws_follow_the_softmax_and_the_seed() {
        let logits = [0.0f32, (3.0f32).ln(), f32::NEG_INFINITY];
        let count = |seed| {
            let mut sampler = Sampler::new(1.0, seed).unwrap();
            let mut counts = [0u32; 3];
            for _ in 0..4000 {
                counts[sampler.next(&logits).unwrap() as usize] += 1;
            }
            counts
        };
        let [a, b, c] = count(7);
        // expected 1000 : 3000 : 0; the deviation of a is √(4000·¼·¾) = 27
        assert!(a.abs_diff(1000) < 5 * 27 && b == 4000 - a && c == 0, "{a} {b} {c}");
        assert_eq!(count(7), count(7));
        assert_ne!(count(7), count(8));
    }

    #[test]
    fn low_temperature_approaches_greedy() {
        let mut cold = Sampler::new(1e-3, 3).unwrap();
        assert!((0..100).all(|_| cold.next(&[0.0, 0.1, 0.05]).unwrap() == 1));
        assert!(Sampler::new(-1.0, 0).is_err() && Sampler::new(f32::NAN, 0).is_err());
    }
}
