//! One-shot pruning of a model, block by block.
//!
//! Calibration text goes through the blocks one after the other. In each, a stage's inputs are summed to a
//! gram, its layers are solved, and the next stage sees what the pruned layers before it make of the text:
//! later layers make good what earlier ones have lost. In memory are one block's weights and grams and one
//! layer of activations, never the model.
//!
//! A finished block lies in the run's folder ([`RunFolder`]). A run that was killed goes on behind the last
//! of them and ends in the same bytes, since what the text became is computed again from what ships.

mod assemble;
mod bare;
mod bert;
mod folder;
mod llama;
mod order;
mod report;
mod sensitivity;
mod stack;

pub use assemble::{Companion, assemble};
pub use bare::{Bare, Grams};
pub use bert::Bert;
pub use folder::{Existing, RunFolder};
pub use llama::Llama;
pub use report::{LayerReport, Narrow, Pruned};
pub use sensitivity::sensitivity;
pub use stack::{Flow, Free, Stack};

use crate::checkpoint::Source;
use crate::{Error, Tensor, Tensors};
use quickpick_prune::{
    Eligibility, Gram, LayerInfo, LayerProblem, Method, Pattern, Prepared, Reason, Rules,
    relative_error,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What is done to the layers.
#[derive(Clone, Debug)]
pub struct Job {
    /// How they are solved.
    pub method: Method,
    /// Which are pruned, and the pattern.
    pub rules: Rules,
    /// Whether features change places first, where that costs nothing: the seed of the search.
    pub permute: Option<u64>,
    /// The type in which they ship.
    pub narrow: Narrow,
    /// Layers that a budget gives another pattern than the rules', by name; one that keeps all leaves them
    /// dense.
    pub given: BTreeMap<String, Pattern>,
}

/// Where a run is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Blocks that are finished.
    pub block: usize,
    /// All blocks.
    pub blocks: usize,
    /// What is done now: a layer's name, or `calibration`.
    pub what: &'a str,
}

/// Prunes every block that the folder lacks, and returns the reports of all layers.
///
/// `ids`: calibration tokens, sequence after sequence, of the length that the stack takes. Errors: a tensor that is missing or of another shape
/// than its stage's input, a layer that cannot be solved, a folder that cannot be written; finished blocks
/// stay in the folder.
pub fn run(
    stack: &dyn Stack,
    source: &dyn Source,
    ids: &[u32],
    job: &Job,
    folder: &RunFolder,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<LayerReport>, Error> {
    let blocks = stack.blocks();
    let last = (0..blocks).rev().find(|&block| !folder.has(block));
    let mut flow = match last {
        Some(_) => stack.embed(source, ids)?,
        None => Flow::default(),
    };
    let mut reports = Vec::new();
    for block in 0..blocks {
        let weights = stack.load(block, source)?;
        let mut walk = Walk { stack, block, job, flow: &mut flow, weights };
        let mut doing = |what: &str| progress(&Progress { block, blocks, what });
        if folder.has(block) {
            let (pruned, layers) = folder.block(block)?;
            walk.adopt(pruned, &folder.block_file(block))?;
            reports.extend(layers);
            if last.is_some_and(|last| block < last) {
                doing("calibration");
                walk.through()?;
            }
        } else {
            let (pruned, layers) = walk.prune(&mut doing)?;
            folder.keep(block, &pruned, job.narrow, &layers)?;
            reports.extend(layers);
        }
    }
    Ok(reports)
}

/// One block, and the text in front of it.
struct Walk<'a> {
    stack: &'a dyn Stack,
    block: usize,
    job: &'a Job,
    flow: &'a mut Flow,
    weights: Tensors,
}

impl Walk<'_> {
    /// Prunes the block's layers, each stage on what the pruned stages before it put out, and leaves the
    /// block. Returns the tensors that changed, and the reports of all layers.
    fn prune(&mut self, doing: &mut dyn FnMut(&str)) -> Result<(Tensors, Vec<LayerReport>), Error> {
        let (mut pruned, mut reports) = (Tensors::new(), Vec::new());
        let stages = self.stack.stages(self.block);
        for (stage, names) in stages.iter().enumerate() {
            doing("calibration");
            self.stack.advance(self.block, stage, &self.weights, self.flow)?;
            let layers =
                names.iter().map(|name| self.decide(name)).collect::<Result<Vec<_>, _>>()?;
            let first = layers.iter().find(|(_, _, decision)| *decision == Eligibility::Prune);
            // what follows from the inputs alone serves all layers of the stage
            let gram = first.map(|(name, [_, k], _)| self.stack.gram(name, *k, self.flow));
            let mut gram = gram.transpose()?;
            let efficacy = match &mut gram {
                Some(gram) => self.permute(stage, names, gram, &mut pruned)?,
                None => None,
            };
            let mut inputs = gram.as_ref().map(|gram| self.prepare(gram)).transpose()?;
            for (name, shape, decision) in layers {
                let how = match &mut inputs {
                    Some(inputs) if decision == Eligibility::Prune => {
                        doing(name);
                        let (tensor, mut how) = solve(self.job, name, self.matrix(name)?, inputs)?;
                        how.efficacy = efficacy;
                        self.weights.insert(name.clone(), tensor.clone());
                        pruned.insert(name.clone(), tensor);
                        Some(how)
                    }
                    _ => None,
                };
                let (name, decision) = (name.clone(), decision.to_string());
                reports.push(LayerReport { name, shape, decision, pruned: how });
            }
        }
        self.stack.advance(self.block, stages.len(), &self.weights, self.flow)?;
        Ok((pruned, reports))
    }

    /// Lets the stage's inputs change places, if that is asked and they can: in the weights, in the inputs at
    /// hand and in their gram. Returns the search's efficacy.
    fn permute(
        &mut self,
        stage: usize,
        readers: &[String],
        gram: &mut Gram,
        pruned: &mut Tensors,
    ) -> Result<Option<f64>, Error> {
        let (Some(seed), Some(free)) = (self.job.permute, self.stack.free(self.block, stage))
        else {
            return Ok(None);
        };
        let tensors =
            readers.iter().map(|name| self.matrix(name)).collect::<Result<Vec<_>, _>>()?;
        let found = order::search(&free, &tensors, gram, self.job.rules.pattern(), seed)?;
        *gram = gram.reordered(found.inputs.as_slice()).map_err(|e| self.failed(&e))?;
        for name in order::apply(&found, &free, readers, &mut self.weights, self.flow)? {
            if let Some(tensor) = self.weights.get_mut(&name) {
                self.job.narrow.round(&name, &mut tensor.data)?;
                pruned.insert(name, tensor.clone());
            }
        }
        Ok(Some(found.retained.efficacy()))
    }

    /// Takes the text through the block as it is.
    fn through(&mut self) -> Result<(), Error> {
        let stages = self.stack.stages(self.block).len();
        (0..=stages).try_for_each(|s| self.stack.advance(self.block, s, &self.weights, self.flow))
    }

    /// Puts a finished block's weights in the place of the source's.
    fn adopt(&mut self, pruned: Tensors, file: &Path) -> Result<(), Error> {
        for (name, tensor) in pruned {
            match self.weights.get_mut(&name) {
                Some(old) if old.shape == tensor.shape => *old = tensor,
                Some(old) => {
                    let why = format!("{name} is {:?}, the model's {:?}", tensor.shape, old.shape);
                    return Err(Error::file(file, why));
                }
                None => return Err(Error::file(file, format!("the block has no {name}"))),
            }
        }
        Ok(())
    }

    fn matrix(&self, name: &str) -> Result<&Tensor, Error> {
        match self.weights.get(name) {
            Some(tensor) if tensor.shape.len() == 2 => Ok(tensor),
            Some(t) => Err(Error::Weights(format!("{name} is {:?}, not a matrix", t.shape))),
            None => Err(Error::Weights(format!("there is no {name}"))),
        }
    }

    fn decide<'n>(&self, name: &'n String) -> Result<(&'n String, [usize; 2], Eligibility), Error> {
        let tensor = self.matrix(name)?;
        let shape = [tensor.shape[0], tensor.shape[1]];
        let decision = self.job.rules.decide(&LayerInfo::new(name.as_str(), shape));
        let whole = self.job.given.get(name).is_some_and(|p| p.kept() == p.group());
        match decision {
            Eligibility::Prune if whole => Ok((name, shape, Eligibility::Leave(Reason::Budget))),
            decision => Ok((name, shape, decision)),
        }
    }

    fn prepare<'g>(&self, gram: &'g Gram) -> Result<Prepared<'g>, Error> {
        Prepared::new(gram, Prepared::DAMPING).map_err(|e| self.failed(&e))
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Prune(format!("block {}: {why}", self.block))
    }
}

/// Solves one layer and rounds it to what ships.
fn solve(
    job: &Job,
    name: &str,
    tensor: &Tensor,
    inputs: &mut Prepared<'_>,
) -> Result<(Tensor, Pruned), Error> {
    let start = Instant::now();
    let failed = |e: &dyn std::fmt::Display| Error::Prune(format!("{name}: {e}"));
    let (rows, cols) = (tensor.shape[0], tensor.shape[1]);
    let gram = inputs.gram();
    let problem = LayerProblem::new(&tensor.data, rows, cols, gram).map_err(|e| failed(&e))?;
    let pattern = job.given.get(name).copied().unwrap_or(job.rules.pattern());
    let solution = job.method.solve(&problem, inputs, pattern).map_err(|e| failed(&e))?;
    let mut data = solution.dense();
    job.narrow.round(name, &mut data)?;
    let pruned = Pruned {
        pattern: pattern.to_string(),
        error: relative_error(&problem, &data).map_err(|e| failed(&e))?,
        tokens: gram.tokens(),
        damping: solution.damping,
        retries: solution.retries,
        dead: gram.diagonal().iter().filter(|&&d| d == 0.0).count(),
        kept: data.iter().filter(|&&w| w != 0.0).count(),
        recovered: solution.residual.as_ref().map_or(0, |r| r.values().len()),
        efficacy: None,
        seconds: start.elapsed().as_secs_f64(),
    };
    Ok((Tensor { shape: tensor.shape.clone(), data }, pruned))
}
