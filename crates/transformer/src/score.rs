//! Held-out loss through a backend, and how far two sets of logits lie apart.

use crate::{Decoder, Error, Weights, model};
use candle_core::{Device, Tensor};
use quickpick::Backend;
use std::sync::Arc;

/// The loss of a model on a sample, with the logits that gave it.
#[derive(Clone, Debug)]
pub struct Score {
    /// Mean of −log₂ p(next token); bits per byte where tokens are bytes.
    pub bits: f64,
    /// Of all windows in turn: `(window length − 1) × vocab` each.
    pub logits: Vec<f32>,
}

/// Scores windows, each a sequence of its own: every token after a window's first is predicted from
/// all tokens before it.
///
/// Errors: no window has two tokens, or the decoder fails.
pub fn score<B: Backend>(decoder: &mut Decoder<B>, windows: &[Vec<u32>]) -> Result<Score, Error> {
    let mut logits = Vec::new();
    for window in windows {
        let Some((_, context)) = window.split_last() else { continue };
        decoder.restart();
        logits.extend(decoder.logits(context)?);
    }
    let bits = bits(&logits, windows, decoder.config().vocab)?;
    Ok(Score { bits, logits })
}

/// The same logits by the trainer's forward pass, candle in f32 on the host.
pub fn reference(weights: &Weights, windows: &[Vec<u32>]) -> Result<Vec<f32>, Error> {
    let tensor = |(name, t): (&String, &crate::Tensor)| {
        let tensor = Tensor::from_slice(&t.data, t.shape.as_slice(), &Device::Cpu)?;
        Ok((name.clone(), tensor))
    };
    let params = weights.tensors().iter().map(tensor).collect::<Result<model::Params, Error>>()?;
    let rotary: Arc<[f32]> = weights.config().rotary_table().into();
    let mut logits = Vec::new();
    for window in windows {
        let Some((_, context)) = window.split_last() else { continue };
        logits.extend(
            model::forward(weights.config(), &params, &rotary, &[context])?
                .flatten_all()?
                .to_vec1::<f32>()?,
        );
    }
    Ok(logits)
}

/// Mean of −log₂ softmax(logits)[next token] over windows, in f64.
///
/// `logits`: `(length − 1) × vocab` for each window in turn. Errors: another number of logits, a
/// token outside the vocabulary, or nothing to predict.
pub fn bits(logits: &[f32], windows: &[Vec<u32>], vocab: usize) -> Result<f64, Error> {
    let targets = || windows.iter().flat_map(|w| w.iter().skip(1));
    let count = targets().count();
    if count == 0 || vocab == 0 || logits.len() != count * vocab {
        return Err(Error::Inference(format!(
            "{} logits for {count} predictions over a vocabulary of {vocab}",
            logits.len()
        )));
    }
    let mut nats = 0.0;
    for (row, &target) in logits.chunks(vocab).zip(targets()) {
        let Some(&hit) = row.get(target as usize) else {
            return Err(Error::Inference(format!("token {target} of a vocabulary of {vocab}")));
        };
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&l| f64::from(l - top).exp()).sum();
        nats += sum.ln() - f64::from(hit - top);
    }
    Ok(nats / count as f64 / std::f64::consts::LN_2)
}

/// The largest |a − b|; infinite where one of them is not a number or the lengths differ, so that a
/// broken model cannot pass for a close one.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let differences = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { f64::INFINITY } else { most.max(d) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_logits_cost_the_logarithm_of_the_vocabulary() {
        let windows = vec![vec![0, 3, 1], vec![2, 2]];
        assert!((bits(&[5.0; 12], &windows, 4).unwrap() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_certain_hit_is_free_and_a_known_case_is_exact() {
        assert!(bits(&[0.0, 1000.0], &[vec![0, 1]], 2).unwrap().abs() < 1e-12);
        // p = ¼ : logits 0 and ln 3
        let quarter = bits(&[0.0, 3f32.ln()], &[vec![1, 0]], 2).unwrap();
        assert!((quarter - 2.0).abs() < 1e-6, "{quarter}");
    }

    #[test]
    fn wrong_sizes_are_refused() {
        assert!(bits(&[0.0; 3], &[vec![0, 1]], 2).is_err());
        assert!(bits(&[], &[vec![0]], 2).is_err());
        assert!(bits(&[0.0; 2], &[vec![0, 2]], 2).is_err());
    }

    #[test]
    fn a_nan_is_infinitely_far() {
        assert_eq!(largest_difference(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
        assert_eq!(largest_difference(&[f32::NAN], &[0.0]), f64::INFINITY);
        assert_eq!(largest_difference(&[0.0], &[]), f64::INFINITY);
    }
}
