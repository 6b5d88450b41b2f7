//! Sentence embeddings, and how far two models agree on them.

use super::{Block, Config, Embeddings, Forward};
use crate::Error;
use crate::checkpoint::Source;
use crate::perplexity::Estimate;
use crate::slices::linear;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tokens that go through a block together: their activations stay small.
const TOGETHER: usize = 1 << 12;

/// How far two models agree on sentences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Mean cosine of a sentence's two embeddings; its interval takes sentences as independent.
    pub cosine: Estimate,
    /// The least cosine.
    pub worst: f64,
    /// The share of sentences whose nearest other sentence, by cosine, is the same in both.
    pub neighbours: f64,
}

/// Embeddings of sentences, `sentences.len() × dim`: the mean of the last hidden states, of length one, as
/// sentence-transformers makes them. One block's weights are in memory at a time. `progress`: blocks done.
///
/// Errors: a tensor that is missing or of another shape, a sentence without a token or longer than the model
/// takes, an embedding that has no direction.
pub fn embed(
    config: &Config,
    source: &dyn Source,
    sentences: &[Vec<u32>],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f32>, Error> {
    let dim = config.dim;
    let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, sentence) in sentences.iter().enumerate() {
        lengths.entry(sentence.len()).or_default().push(i);
    }
    let embeddings = Embeddings::load(config, |name| source.tensor(name))?;
    let mut groups = Vec::new();
    for (len, members) in lengths {
        for members in members.chunks((TOGETHER / len.max(1)).max(1)) {
            let forward = Forward::new(config, len)?;
            let ids: Vec<u32> = members.iter().flat_map(|&i| &sentences[i]).copied().collect();
            let x = forward.embed(&embeddings, &ids)?;
            groups.push((forward, len, members.to_vec(), x));
        }
    }
    for block in 0..config.layers {
        let weights = Block::load(config, block, |name| source.tensor(name))?;
        for (forward, _, _, x) in &mut groups {
            forward.block(&weights, x)?;
        }
        progress(block + 1);
    }
    let mut all = vec![0.0; sentences.len() * dim];
    for (_, len, members, x) in groups {
        for (i, tokens) in members.into_iter().zip(x.chunks_exact(len * dim)) {
            // the sum's direction is the mean's
            let embedding = &mut all[i * dim..][..dim];
            for token in tokens.chunks_exact(dim) {
                embedding.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
            }
            let norm = embedding.iter().map(|x| x * x).sum::<f32>().sqrt();
            if !(norm.is_finite() && norm > 0.0) {
                return Err(Error::Inference(format!("the norm of sentence {i} is {norm}")));
            }
            embedding.iter_mut().for_each(|x| *x /= norm);
        }
    }
    Ok(all)
}

/// Compares two models' [`embed`]dings of the same sentences, `n × dim`.
///
/// Errors: different sizes, fewer than three sentences.
pub fn agreement(a: &[f32], b: &[f32], dim: usize) -> Result<Agreement, Error> {
    let n = a.len() / dim.max(1);
    if n < 3 || a.len() != b.len() || a.len() != n * dim {
        let (a, b) = (a.len(), b.len());
        return Err(Error::Inference(format!("{a} and {b} numbers as embeddings of {dim}")));
    }
    let dot = |(a, b): (&[f32], &[f32])| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let cosines: Vec<f64> = a.chunks_exact(dim).zip(b.chunks_exact(dim)).map(dot).collect();
    let pairs = nearest(a, n).into_iter().zip(nearest(b, n));
    Ok(Agreement {
        cosine: Estimate::mean(&cosines, &vec![1.0; n]),
        worst: cosines.iter().copied().fold(f64::INFINITY, f64::min),
        neighbours: pairs.filter(|(a, b)| a == b).count() as f64 / n as f64,
    })
}

/// The nearest other row of each.
fn nearest(x: &[f32], n: usize) -> Vec<Option<usize>> {
    let cosines = linear(x, x, n);
    let rows = cosines.chunks_exact(n).enumerate();
    let best = |(i, row): (usize, &[f32])| {
        (0..n).filter(|&j| j != i).max_by(|&a, &b| row[a].total_cmp(&row[b]))
    };
    rows.map(best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_by_hand() {
        // on the unit circle: 0°, 10°, 30°, and the second turned by 15°, which brings it nearer to the third
        let at =
            |degrees: f64| [degrees.to_radians().cos() as f32, degrees.to_radians().sin() as f32];
        let a = [at(0.0), at(10.0), at(30.0)].concat();
        let b = [at(0.0), at(25.0), at(30.0)].concat();
        let same = agreement(&a, &a, 2).unwrap();
        assert!((same.cosine.value - 1.0).abs() < 1e-6 && same.neighbours == 1.0);
        let other = agreement(&a, &b, 2).unwrap();
        let turned = 15f64.to_radians().cos();
        assert!((other.worst - turned).abs() < 1e-6);
        assert!((other.cosine.value - (2.0 + turned) / 3.0).abs() < 1e-6);
        // only the second changes neighbours: from the first to the third
        assert!((other.neighbours - 2.0 / 3.0).abs() < 1e-12);
        let reach = other.cosine.high - other.cosine.value;
        // deviation of (1, t, 1) is (1 − t)/√3, and Student's t of two degrees 4.3027
        assert!((reach - 4.3027 * (1.0 - turned) / 3.0).abs() < 1e-5, "{reach}");
        assert!(agreement(&a, &b[..4], 2).is_err() && agreement(&a[..4], &b[..4], 2).is_err());
    }
}
