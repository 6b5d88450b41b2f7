//! Sparse fine-tuning: a pruned checkpoint is trained on text while its layers stay N:M, and may hear
//! the dense model that it was pruned from.
//!
//! Linear layers of the blocks and all norms are trained. The embedding table and the head stay as they
//! are: a third of the weights of a small model, which pruning has not touched.
//!
//! In memory, in f32: of trained weights the value, two moments, a copy and two gradients a thread;
//! the rest of the student once; the teacher once; the activations of a shard a thread. With
//! `CANDLE_NUM_THREADS=1` in the environment a step takes a tenth less processor time ([`crate::train`]
//! has the reason), and ends in the same bits.

mod distill;
mod ship;
mod sparsity;

pub use ship::{round, write};
pub use sparsity::{Sparsity, masks};

use crate::corpus::fnv1a;
use crate::model::{self, Params};
use crate::optim::{AdamW, Param, drop_masked};
use crate::threads::Threads;
use crate::{Config, Error, Kind, Tensor, Tensors, Text, Weights, state};
use candle_core::{Device, Var};
use distill::Distillation;
use quickpick_prune::{LayerInfo, Mask, Masks, Pattern, Trainer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sparsity::{by_magnitude, refine};
use std::path::Path;
use std::sync::Arc;

/// How a checkpoint is fine-tuned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The optimiser and its schedule.
    pub adam: AdamW,
    /// Sequences of a step.
    pub batch: usize,
    /// Predictions of a sequence.
    pub length: usize,
    /// Equal parts of a batch, each on one thread; divides `batch`.
    pub shards: usize,
    /// Shuffles the text's sequences.
    pub seed: u64,
    /// Sequences that are held out.
    pub held_out: usize,
    /// The teacher's share of the loss, 0 to 1; above 0 there must be a teacher.
    pub distill: f32,
    /// Softens what the teacher says, if above 1.
    pub temperature: f32,
    /// How layers stay sparse.
    pub sparsity: Sparsity,
}

impl Settings {
    fn validate(&self, config: &Config) -> Result<(), Error> {
        let Self { adam, batch, length, shards, held_out, distill, temperature, .. } = *self;
        let fail = |why: String| Err(Error::Config(why));
        if batch == 0 || length == 0 || shards == 0 || held_out == 0 {
            return fail("batch, length, shards and held-out sequences must be above 0".into());
        }
        if !batch.is_multiple_of(shards) {
            return fail(format!("a batch of {batch} does not divide into {shards} equal shards"));
        }
        if length > config.max_seq {
            return fail(format!("sequences of {length} exceed the model's {}", config.max_seq));
        }
        if !(adam.lr > 0.0 && adam.lr.is_finite() && adam.clip > 0.0) {
            return fail(format!("lr {} and clip {} must be above 0", adam.lr, adam.clip));
        }
        if !(0.0..=1.0).contains(&distill) {
            return fail(format!("the teacher's share is {distill}, not 0 to 1"));
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return fail(format!("the temperature is {temperature}; it must be above 0"));
        }
        match self.sparsity {
            Sparsity::SrSte { lambda } if !(lambda >= 0.0 && lambda.is_finite()) => {
                fail(format!("SR-STE's decay is {lambda}; it must be at least 0"))
            }
            _ => Ok(()),
        }
    }
}

/// A model that is only read.
struct Teacher {
    config: Config,
    params: Params,
    rotary: Arc<[f32]>,
}

/// A pruned checkpoint in training.
pub struct FineTuner {
    config: Config,
    settings: Settings,
    /// The first rows of [`Config::rotary_table`].
    rotary: Arc<[f32]>,
    /// What is trained, in the order of [`Config::slots`].
    params: Vec<Param>,
    /// Embedding table and head.
    fixed: Params,
    /// Held masks, aligned with `params`.
    masks: Vec<Option<Mask>>,
    /// Patterns of the layers that SR-STE projects, aligned with `params`.
    patterns: Vec<Option<Pattern>>,
    teacher: Option<Teacher>,
    /// The text's sequences of `length + 1` tokens, shuffled; the first are held out.
    text: Vec<u32>,
    origin: String,
    step: u64,
    threads: Threads,
}

/// The line of a state's file that is not tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    step: u64,
    origin: String,
    settings: Settings,
}

impl FineTuner {
    /// At step 0, with the weights of `student`. `masks`: of its sparse layers, by [`masks`]. Without a
    /// share of the loss the teacher is not kept.
    ///
    /// Errors: settings that make no sense or ask for a teacher that is not there; a teacher of another
    /// vocabulary or of shorter sequences; masks of other layers; text of too few sequences for the held
    /// out ones and one batch, or with tokens outside the vocabulary.
    pub fn new(
        student: Weights,
        masks: &Masks,
        teacher: Option<Weights>,
        text: &Text,
        settings: Settings,
    ) -> Result<Self, Error> {
        let config = *student.config();
        settings.validate(&config)?;
        let mut origin = format!("student {:016x}", digest(&student));
        let teacher = match teacher {
            Some(teacher) if settings.distill > 0.0 => {
                origin += &format!(", teacher {:016x}", digest(&teacher));
                Some(Teacher::new(teacher, &config, settings.length)?)
            }
            None if settings.distill > 0.0 => {
                return Err(Error::Config("distillation needs a teacher".into()));
            }
            _ => None,
        };
        origin += &format!(", text {:016x} {:016x}", text.digest(), text.tokenizer());
        if let Some(id) = text.tokens().iter().find(|id| **id as usize >= config.vocab) {
            let vocab = config.vocab;
            return Err(Error::Corpus(format!("token {id} of a vocabulary of {vocab}")));
        }
        let (len, least) = (settings.length + 1, settings.held_out + settings.batch);
        let sequences = (text.tokens().len() / len).max(least);
        let text = text.sequences(sequences, len, settings.seed)?;
        let mut tensors = student.into_tensors();
        let (mut params, mut fixed) = (Vec::new(), Params::new());
        for slot in config.slots() {
            let tensor = tensors.remove(&slot.name);
            let Tensor { data, .. } =
                tensor.ok_or_else(|| Error::Weights(format!("{} is missing", slot.name)))?;
            match slot.kind {
                Kind::Norm | Kind::Linear => params.push(Param::new(slot, data)),
                Kind::Embedding | Kind::Head => {
                    let tensor = candle_core::Tensor::from_vec(data, slot.shape, &Device::Cpu)?;
                    fixed.insert(slot.name, tensor);
                }
            }
        }
        let mut trainer = Self {
            rotary: config.rotary_rows(settings.length).into(),
            threads: Threads::new(settings.shards)?,
            patterns: vec![None; params.len()],
            masks: vec![None; params.len()],
            step: 0,
            config,
            settings,
            params,
            fixed,
            teacher,
            text,
            origin,
        };
        match settings.sparsity {
            Sparsity::Frozen => trainer.hold(masks)?,
            Sparsity::SrSte { .. } => {
                let pattern = |mask: &Option<Mask>| mask.as_ref().map(Mask::pattern);
                trainer.patterns = trainer.aligned(masks)?.iter().map(pattern).collect();
            }
        }
        Ok(trainer)
    }

    /// What the training began with: digests of student, teacher and text.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How it is trained.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sequences to train on; a text is read anew, in the same order, when they are used up.
    pub fn sequences(&self) -> usize {
        self.text.len() / (self.settings.length + 1) - self.settings.held_out
    }

    /// The trained tensors as the forward pass sees them: sparse layers with their zeros.
    pub fn trained(&self) -> Result<Tensors, Error> {
        let values = self.projected(&self.chosen()?);
        let params = self.params.iter().zip(values);
        let tensor = |(p, data): (&Param, Vec<f32>)| {
            (p.slot.name.clone(), Tensor { shape: p.slot.shape.clone(), data })
        };
        Ok(params.map(tensor).collect())
    }

    /// SR-STE's masks of the present weights, aligned with `params`; none where nothing is projected.
    fn chosen(&self) -> Result<Vec<Option<Mask>>, Error> {
        let layers = self.params.par_iter().zip(&self.patterns);
        let mask = |(p, pattern): (&Param, &Option<Pattern>)| {
            let mask =
                |pattern: &Pattern| by_magnitude(&p.slot.name, &p.value, &p.slot.shape, *pattern);
            pattern.as_ref().map(mask).transpose()
        };
        layers.map(mask).collect()
    }

    /// The weights without what the masks drop.
    fn projected(&self, masks: &[Option<Mask>]) -> Vec<Vec<f32>> {
        let layers = self.params.par_iter().zip(masks);
        let value = |(p, mask): (&Param, &Option<Mask>)| {
            let mut value = p.value.clone();
            if let Some(mask) = mask {
                drop_masked(&mut value, mask);
            }
            value
        };
        layers.map(value).collect()
    }

    /// The mean loss of `rows`, and its gradients by `vars`.
    fn gradients(&self, vars: &[Var], rows: &[&[u32]]) -> Result<(f32, Vec<Vec<f32>>), Error> {
        let mut params = self.fixed.clone();
        let named = self.params.iter().zip(vars);
        params.extend(named.map(|(p, v)| (p.slot.name.clone(), v.as_tensor().clone())));
        let losses = match &self.teacher {
            None => model::losses(&self.config, &params, &self.rotary, rows)?,
            Some(t) => {
                let (inputs, targets) = model::shifted(rows);
                let heard = model::forward(&t.config, &t.params, &t.rotary, &inputs)?;
                let Settings { distill: share, temperature, .. } = self.settings;
                let teacher = crate::ops::to_vec(&heard)?;
                let logits = model::forward(&self.config, &params, &self.rotary, &inputs)?;
                logits.apply_op1(Distillation { targets, teacher, share, temperature })?
            }
        };
        model::backward(&losses.mean_all()?, &self.params, vars)
    }

    /// The sequences of the next step.
    fn rows(&self) -> Vec<&[u32]> {
        let (len, held_out) = (self.settings.length + 1, self.settings.held_out);
        let all: Vec<&[u32]> = self.text.chunks_exact(len).skip(held_out).collect();
        let first = self.step as usize * self.settings.batch;
        (first..first + self.settings.batch)
            .filter_map(|i| all.get(i % all.len()).copied())
            .collect()
    }

    /// Masks in the order of the parameters. Errors: no trained tensor has that name and shape.
    fn aligned(&self, masks: &Masks) -> Result<Vec<Option<Mask>>, Error> {
        let mut aligned = vec![None; self.params.len()];
        for (name, mask) in masks {
            let i = self.index(name)?;
            let (rows, cols, shape) = (mask.rows(), mask.cols(), &self.params[i].slot.shape);
            if *shape != [rows, cols] {
                return Err(Error::Prune(format!(
                    "the mask of {name} is {rows}×{cols}, the tensor {shape:?}"
                )));
            }
            aligned[i] = Some(mask.clone());
        }
        Ok(aligned)
    }

    fn index(&self, name: &str) -> Result<usize, Error> {
        let found = self.params.iter().position(|p| p.slot.name == name);
        found.ok_or_else(|| Error::Weights(format!("no {name} is trained")))
    }
}

impl Teacher {
    fn new(weights: Weights, student: &Config, length: usize) -> Result<Self, Error> {
        let config = *weights.config();
        if config.vocab != student.vocab {
            return Err(Error::Config(format!(
                "the teacher's vocabulary is {}, the student's {}",
                config.vocab, student.vocab
            )));
        }
        if length > config.max_seq {
            return Err(Error::Config(format!(
                "sequences of {length} exceed the teacher's {}",
                config.max_seq
            )));
        }
        Ok(Self {
            config,
            rotary: config.rotary_rows(length).into(),
            params: constants(weights.into_tensors())?,
        })
    }
}

/// Tensors that no gradient follows.
fn constants(tensors: Tensors) -> Result<Params, Error> {
    let tensor = |(name, t): (String, Tensor)| {
        Ok((name, candle_core::Tensor::from_vec(t.data, t.shape, &Device::Cpu)?))
    };
    tensors.into_iter().map(tensor).collect()
}

/// FNV-1a of all names and of each tensor's own.
fn digest(weights: &Weights) -> u64 {
    let tensors = weights.tensors().par_iter();
    let parts = tensors.map(|(name, t)| (name, fnv1a(bytemuck::cast_slice(&t.data))));
    let bytes: Vec<Vec<u8>> =
        parts.map(|(name, of)| [name.as_bytes(), &of.to_le_bytes()].concat()).collect();
    fnv1a(&bytes.concat())
}

impl Trainer for FineTuner {
    type Error = Error;

    fn describe(&self) -> String {
        format!("{:?}; {:?}; {}", self.config, self.settings, self.origin)
    }

    /// Of what is trained.
    fn layers(&self) -> Vec<LayerInfo> {
        let info = |p: &Param| LayerInfo::new(p.slot.name.clone(), p.slot.shape.clone());
        self.params.iter().map(info).collect()
    }

    /// With SR-STE the dense weights; [`FineTuner::trained`] has their projection.
    fn weight(&self, name: &str) -> Result<Vec<f32>, Error> {
        Ok(self.params[self.index(name)?].value.clone())
    }

    fn steps(&self) -> u64 {
        self.step
    }

    /// Always an error: a checkpoint's weights are drawn from no seed, and are not kept twice to go back
    /// to. Make another trainer.
    fn init(&mut self, _: u64) -> Result<(), Error> {
        Err(Error::Training("a checkpoint's weights cannot be drawn from a seed".into()))
    }

    fn step(&mut self) -> Result<f64, Error> {
        let Settings { adam, batch, shards, sparsity, .. } = self.settings;
        let chosen = self.chosen()?;
        let rows = self.rows();
        let parts: Vec<_> = rows.chunks(batch / shards).collect();
        let var = |(p, value): (&Param, Vec<f32>)| {
            Var::from_vec(value, p.slot.shape.as_slice(), &Device::Cpu)
        };
        let values = self.params.iter().zip(self.projected(&chosen));
        let vars = values.map(var).collect::<Result<Vec<_>, _>>()?;
        let (loss, mut gradients) =
            self.threads.mean(&parts, |rows| self.gradients(&vars, rows))?;
        if !loss.is_finite() {
            return Err(Error::Training(format!("the loss is {loss} after {} steps", self.step)));
        }
        drop(vars);
        if let Sparsity::SrSte { lambda } = sparsity {
            for ((gradient, p), mask) in gradients.iter_mut().zip(&self.params).zip(&chosen) {
                if let Some(mask) = mask {
                    refine(gradient, &p.value, mask, lambda);
                }
            }
        }
        adam.step(self.step, &mut self.params, gradients, &self.masks);
        self.step += 1;
        Ok(loss)
    }

    /// Errors also with SR-STE, which chooses masks itself.
    fn hold(&mut self, masks: &Masks) -> Result<(), Error> {
        if matches!(self.settings.sparsity, Sparsity::SrSte { .. }) && !masks.is_empty() {
            return Err(Error::Training("SR-STE chooses its masks itself".into()));
        }
        self.masks = self.aligned(masks)?;
        for (p, mask) in self.params.iter_mut().zip(&self.masks) {
            if let Some(mask) = mask {
                p.hold(mask);
            }
        }
        Ok(())
    }

    /// Cross entropy, without the teacher.
    fn evaluate(&mut self) -> Result<f64, Error> {
        let mut params = constants(self.trained()?)?;
        params.extend(self.fixed.iter().map(|(name, t)| (name.clone(), t.clone())));
        let len = self.settings.length + 1;
        let rows: Vec<&[u32]> = self.text.chunks_exact(len).take(self.settings.held_out).collect();
        let losses = self.threads.each(&rows, |row| {
            let losses = model::losses(&self.config, &params, &self.rotary, &[*row])?;
            Ok(losses.mean_all()?.to_scalar::<f32>()?)
        })?;
        Ok(losses.iter().map(|x| f64::from(*x)).sum::<f64>() / losses.len() as f64)
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let (origin, settings) = (self.origin.clone(), self.settings);
        state::save(path, &self.params, &Header { step: self.step, origin, settings })
    }

    fn load(&mut self, path: &Path) -> Result<(), Error> {
        let (origin, settings) = (&self.origin, self.settings);
        let ours = |header: &Header| header.origin == *origin && header.settings == settings;
        self.step = state::load(path, &mut self.params, ours)?.step;
        self.masks.fill(None);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
