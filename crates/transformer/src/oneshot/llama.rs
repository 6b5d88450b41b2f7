//! Llama-style decoders as a stack of blocks.

use super::stack::named;
use super::{Flow, Free, Stack};
use crate::block::{Block, Forward, Site};
use crate::checkpoint::Source;
use crate::config::{self, in_block};
use crate::{Config, Error, Tensors};

/// A decoder's blocks, for sequences of one length.
pub struct Llama {
    config: Config,
    forward: Forward,
}

impl Llama {
    /// For calibration sequences of `len` tokens. Errors: an invalid configuration, a length that the model
    /// does not take.
    pub fn new(config: &Config, len: usize) -> Result<Self, Error> {
        Ok(Self { config: *config, forward: Forward::new(config, len)? })
    }
}

impl Stack for Llama {
    fn blocks(&self) -> usize {
        self.config.layers
    }

    fn stages(&self, block: usize) -> Vec<Vec<String>> {
        let names = |site: &Site| site.layers().iter().map(|part| in_block(block, part)).collect();
        Site::ALL.iter().map(names).collect()
    }

    fn tensors(&self, block: usize) -> Vec<String> {
        let prefix = in_block(block, "");
        let names = self.config.slots().into_iter().map(|slot| slot.name);
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Attention adds up value rows, head by head, and query heads share them; gate and up meet elementwise.
    /// The residual stream's order would have to be one for all blocks, and rotary positions hold q and k.
    fn free(&self, block: usize, stage: usize) -> Option<Free> {
        let c = &self.config;
        let names = |parts: &[&str]| parts.iter().map(|part| in_block(block, part)).collect();
        match Site::ALL.get(stage)? {
            Site::Output => {
                let shared = c.heads / c.kv_heads;
                let family = |head| (head * shared..(head + 1) * shared).collect();
                let families = (0..c.kv_heads).map(family).collect();
                Some(Free { makers: names(&[config::V]), width: c.head_dim(), families })
            }
            Site::Down => {
                let makers = names(&[config::GATE, config::UP]);
                Some(Free { makers, width: c.ffn, families: vec![vec![0]] })
            }
            Site::Attention | Site::FeedForward => None,
        }
    }

    fn embed(&self, source: &dyn Source, ids: &[u32]) -> Result<Flow, Error> {
        let table = source.tensor(config::EMBEDDING)?;
        let stream = self.forward.embed(&table.data, ids)?;
        Ok(Flow { stream, inputs: Vec::new() })
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
            Some(Site::Attention) => self.forward.attention_inputs(&block, stream)?,
            Some(Site::Output) => self.forward.output_inputs(&block, inputs)?,
            Some(Site::FeedForward) => self.forward.feed_forward_inputs(&block, stream, inputs)?,
            Some(Site::Down) => self.forward.down_inputs(&block, inputs)?,
            None => {
                self.forward.finish(&block, stream, inputs)?;
                Vec::new()
            }
        };
        Ok(())
    }
}
