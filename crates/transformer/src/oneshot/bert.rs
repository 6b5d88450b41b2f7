//! BERT-style encoders as a stack of blocks.

use super::stack::named;
use super::{Flow, Free, Stack};
use crate::block::Site;
use crate::checkpoint::Source;
use crate::encoder::config::{self, Config};
use crate::encoder::{Block, Embeddings, Forward};
use crate::{Error, Tensors};

/// An encoder's blocks, for sequences of one length.
pub struct Bert {
    config: Config,
    forward: Forward,
}

impl Bert {
    /// For calibration sequences of `len` tokens. Errors: an invalid configuration, a length that the model
    /// does not take.
    pub fn new(config: &Config, len: usize) -> Result<Self, Error> {
        Ok(Self { config: *config, forward: Forward::new(config, len)? })
    }

    fn both(&self, block: usize, part: &str) -> Vec<String> {
        let name = self.config.in_block(block, part);
        ["weight", "bias"].map(|what| format!("{name}.{what}")).to_vec()
    }
}

impl Stack for Bert {
    fn blocks(&self) -> usize {
        self.config.layers
    }

    fn stages(&self, block: usize) -> Vec<Vec<String>> {
        let name = |part: &&str| format!("{}.weight", self.config.in_block(block, part));
        Site::ALL.iter().map(|&site| config::layers(site).iter().map(name).collect()).collect()
    }

    fn tensors(&self, block: usize) -> Vec<String> {
        self.config.block_tensors(block)
    }

    /// Attention adds up value rows, head by head, its weights adding to one, so the bias moves along; GELU is
    /// elementwise.
    fn free(&self, block: usize, stage: usize) -> Option<Free> {
        let Config { heads, ffn, .. } = self.config;
        match Site::ALL.get(stage)? {
            Site::Output => {
                let makers = self.both(block, config::V);
                let families = (0..heads).map(|head| vec![head]).collect();
                Some(Free { makers, width: self.config.head_dim(), families })
            }
            Site::Down => {
                let makers = self.both(block, config::UP);
                Some(Free { makers, width: ffn, families: vec![vec![0]] })
            }
            Site::Attention | Site::FeedForward => None,
        }
    }

    fn embed(&self, source: &dyn Source, ids: &[u32]) -> Result<Flow, Error> {
        let embeddings = Embeddings::load(&self.config, |name| source.tensor(name))?;
        Ok(Flow { stream: self.forward.embed(&embeddings, ids)?, inputs: Vec::new() })
    }

    fn advance(
        &self,
        block: usize,
        stage: usize,
        weights: &Tensors,
        flow: &mut Flow,
    ) -> Result<(), Error> {
        let block = Block::load(&self.config, block, named(weights))?;
        let Flow { stream, inputs } = flow;
        *inputs = match Site::ALL.get(stage) {
            Some(Site::Attention) => stream.clone(),
            Some(Site::Output) => self.forward.output_inputs(&block, inputs)?,
            Some(Site::FeedForward) => {
                self.forward.after_attention(&block, stream, inputs)?;
                stream.clone()
            }
            Some(Site::Down) => self.forward.down_inputs(&block, inputs)?,
            None => {
                self.forward.finish(&block, stream, inputs)?;
                Vec::new()
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::order;
    use super::*;
    use crate::Tensor;
    use crate::corpus::splitmix64;
    use quickpick_prune::{Gram, Pattern};

    fn config() -> Config {
        let (dim, layers, heads, ffn) = (32, 1, 2, 64);
        let (vocab, max_seq, types, eps, prefix) = (9, 20, 1, 1e-12, "");
        Config { dim, layers, heads, ffn, vocab, max_seq, types, eps, prefix }
    }

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let draw = |i| splitmix64(splitmix64(seed) ^ i as u64) as f64 / u64::MAX as f64 - 0.5;
        (0..n).map(|i| draw(i) as f32).collect()
    }

    /// Features move through makers, their biases and readers, and the block's output stays.
    #[test]
    fn an_order_of_free_features_changes_nothing() {
        let c = config();
        let stack = Bert::new(&c, 20).unwrap();
        let mut weights = Tensors::new();
        for (i, name) in stack.tensors(0).into_iter().enumerate() {
            let rows = if name.contains(config::UP) { c.ffn } else { c.dim };
            let shape = match () {
                () if name.ends_with("bias") || name.contains("LayerNorm") => vec![rows],
                () if name.ends_with("encoder.layer.0.output.dense.weight") => vec![rows, c.ffn],
                () => vec![rows, c.dim],
            };
            let data = random(shape.iter().product(), i as u64);
            weights.insert(name, Tensor { shape, data });
        }
        let stream = random(40 * c.dim, 99);
        let walk = |weights: &mut Tensors, moved: &mut usize| {
            let mut flow = Flow { stream: stream.clone(), inputs: Vec::new() };
            for (stage, readers) in stack.stages(0).iter().enumerate() {
                stack.advance(0, stage, weights, &mut flow).unwrap();
                let Some(free) = stack.free(0, stage).filter(|_| *moved < 2) else { continue };
                let tensors: Vec<&Tensor> = readers.iter().map(|name| &weights[name]).collect();
                let mut gram = Gram::new(tensors[0].shape[1]);
                gram.add(&flow.inputs).unwrap();
                let pattern = Pattern::TWO_OF_FOUR;
                let found = order::search(&free, &tensors, &gram, pattern, 1).unwrap();
                assert!(!found.makers.is_identity() && !found.inputs.is_identity());
                order::apply(&found, &free, readers, weights, &mut flow).unwrap();
                *moved += 1;
            }
            stack.advance(0, 4, weights, &mut flow).unwrap();
            flow.stream
        };
        let want = walk(&mut weights.clone(), &mut 2);
        let mut moved = weights.clone();
        let mut count = 0;
        let first = walk(&mut moved, &mut count);
        assert_eq!(count, 2);
        // of the moved inputs, and of the moved weights anew
        for have in [first, walk(&mut moved, &mut 2)] {
            let distance = crate::score::largest_difference(&have, &want);
            assert!(distance < 1e-5, "{distance:e}");
        }
        let changed = moved.iter().filter(|(name, tensor)| weights[*name] != **tensor).count();
        assert_eq!(changed, 6, "two makers, their biases, two readers");
    }
}
