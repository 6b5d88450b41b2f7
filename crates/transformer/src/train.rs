//! Training: the decoder, AdamW and the corpus as a [`Trainer`] that can be saved, masked and rewound.
//!
//! A step's shards each run on one thread, from end to end. candle splits what has 2¹⁶ elements or
//! more over a pool of its own, for which shards then queue, spinning: set `CANDLE_NUM_THREADS=1`
//! where a shard's sequences × width reach that ([`Settings::tiny`] stays below it). And it reads the
//! number of cores from the system before every product of attention unless `RAYON_NUM_THREADS` is
//! set. Neither changes a bit of the result.

use crate::corpus::{Corpus, splitmix64};
use crate::optim::{AdamW, Param};
use crate::threads::Threads;
use crate::weights::{Tensor, Weights};
use crate::{Config, Error, model, state};
use candle_core::{Device, Var};
use quickpick_prune::{LayerInfo, Mask, Masks, Trainer};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// How a decoder is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The optimiser and its schedule.
    pub adam: AdamW,
    /// Sequences of a step.
    pub batch: usize,
    /// Predictions of a sequence.
    pub seq: usize,
    /// Equal parts of a batch, each on one thread; divides `batch`. Their gradients are added in a
    /// fixed order, so that the number of cores changes no bit.
    pub shards: usize,
    /// Chooses the training windows.
    pub data_seed: u64,
    /// Held-out windows of `seq` predictions behind each point of a curve.
    pub eval_windows: usize,
}

impl Settings {
    /// For [`Config::tiny`]: about a minute and a half a run on two cores. Small batches, because
    /// so short a run gains more from more steps.
    pub fn tiny() -> Self {
        let adam = AdamW {
            lr: 3e-3,
            final_lr: 0.05,
            warmup: 30,
            steps: 1200,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.0,
            clip: 1.0,
        };
        Self { adam, batch: 4, seq: 128, shards: 4, data_seed: 0, eval_windows: 128 }
    }

    /// For [`Config::small`].
    pub fn small() -> Self {
        let tiny = Self::tiny();
        let adam = AdamW { lr: 2e-3, warmup: 200, steps: 10_000, weight_decay: 0.1, ..tiny.adam };
        Self { adam, batch: 16, seq: 256, shards: 16, eval_windows: 256, ..tiny }
    }

    /// The preset of that name; the names are those of [`Config::preset`].
    pub fn preset(name: &str) -> Result<Self, Error> {
        match name {
            "tiny" => Ok(Self::tiny()),
            "small" => Ok(Self::small()),
            _ => Err(Error::Config(format!(
                "no preset is called {name:?}; there are tiny and small"
            ))),
        }
    }

    fn validate(&self, config: &Config) -> Result<(), Error> {
        let Self { adam, batch, seq, shards, eval_windows, .. } = *self;
        let fail = |why: String| Err(Error::Config(why));
        if batch == 0 || seq == 0 || shards == 0 || eval_windows == 0 {
            return fail("batch, seq, shards and eval_windows must be above 0".into());
        }
        if batch % shards != 0 {
            return fail(format!("a batch of {batch} does not divide into {shards} equal shards"));
        }
        if seq > config.max_seq {
            return fail(format!("sequences of {seq} exceed the model's {}", config.max_seq));
        }
        if !(adam.lr > 0.0 && adam.lr.is_finite() && adam.clip > 0.0) {
            return fail(format!("lr {} and clip {} must be above 0", adam.lr, adam.clip));
        }
        Ok(())
    }
}

/// Loss on held-out text, window by window, so that two models can be compared pairwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss of each window in bits per byte.
    pub windows: Vec<f64>,
    /// Predictions of a window.
    pub seq: usize,
}

impl Evaluation {
    /// Mean over all predictions.
    pub fn bits_per_byte(&self) -> f64 {
        self.windows.iter().sum::<f64>() / self.windows.len() as f64
    }

    /// Bytes predicted.
    pub fn bytes(&self) -> usize {
        self.windows.len() * self.seq
    }

    /// Standard error of [`Self::bits_per_byte`], windows taken as independent.
    pub fn standard_error(&self) -> f64 {
        standard_error(&self.windows)
    }

    /// Mean difference `self − other` in bits per byte, and its standard error; paired, because both
    /// read the same windows, which takes the text's own variance out. None for other windows.
    pub fn minus(&self, other: &Self) -> Option<(f64, f64)> {
        if self.windows.len() != other.windows.len() || self.seq != other.seq {
            return None;
        }
        let pairs = self.windows.iter().zip(&other.windows);
        let differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let mean = differences.iter().sum::<f64>() / differences.len() as f64;
        Some((mean, standard_error(&differences)))
    }
}

fn standard_error(samples: &[f64]) -> f64 {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (squares / (n - 1.0) / n).sqrt()
}

/// A decoder in training.
pub struct DecoderTrainer {
    config: Config,
    settings: Settings,
    corpus: Arc<Corpus>,
    /// [`Config::rotary_table`].
    rotary: Arc<[f32]>,
    /// In the order of [`Config::slots`].
    params: Vec<Param>,
    /// Aligned with `params`.
    masks: Vec<Option<Mask>>,
    step: u64,
    threads: Threads,
}

/// The line of a state's file that is not tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    step: u64,
    config: Config,
    settings: Settings,
}

impl DecoderTrainer {
    /// A trainer at step 0 with weights from seed 0.
    pub fn new(config: Config, settings: Settings, corpus: Arc<Corpus>) -> Result<Self, Error> {
        config.validate()?;
        settings.validate(&config)?;
        let threads = Threads::new(settings.shards)?;
        let masks = vec![None; config.slots().len()];
        let (rotary, params) = (config.rotary_table().into(), Vec::new());
        let mut trainer =
            Self { config, settings, corpus, rotary, params, masks, step: 0, threads };
        trainer.init(0)?;
        Ok(trainer)
    }

    /// The decoder's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How it is trained.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The present weights.
    pub fn weights(&self) -> Result<Weights, Error> {
        let tensor = |p: &Param| Tensor { shape: p.slot.shape.clone(), data: p.value.clone() };
        Weights::new(
            self.config,
            self.params.iter().map(|p| (p.slot.name.clone(), tensor(p))).collect(),
        )
    }

    /// Loss on that many windows of the held-out text, spread evenly over it; fewer if it is short.
    pub fn evaluation(&self, windows: usize) -> Result<Evaluation, Error> {
        let seq = self.settings.seq;
        let windows = self.corpus.held_out_windows(windows, seq + 1);
        let params = self.constants()?;
        let parts: Vec<_> = windows.chunks(1).collect();
        let losses = self.threads.each(&parts, |rows| {
            let losses = model::losses(&self.config, &params, &self.rotary, rows)?;
            Ok(losses.reshape((rows.len(), seq))?.mean(1)?.to_vec1::<f32>()?)
        })?;
        let bits = |nats: &f32| f64::from(*nats) / std::f64::consts::LN_2;
        Ok(Evaluation { windows: losses.iter().flatten().map(bits).collect(), seq })
    }

    /// Logits of each position of one sequence, `ids.len() × vocab`: what inference is held against.
    pub fn logits(&self, ids: &[u8]) -> Result<Vec<f32>, Error> {
        let logits = model::forward(&self.config, &self.constants()?, &self.rotary, &[ids])?;
        Ok(logits.flatten_all()?.to_vec1()?)
    }

    /// The parameters as tensors that no gradient follows.
    fn constants(&self) -> Result<HashMap<String, candle_core::Tensor>, Error> {
        let tensor = |p: &Param| {
            let tensor =
                candle_core::Tensor::from_slice(&p.value, p.slot.shape.as_slice(), &Device::Cpu)?;
            Ok((p.slot.name.clone(), tensor))
        };
        self.params.iter().map(tensor).collect()
    }

    /// Mean loss of `rows` and its gradients, in the order of the parameters.
    fn gradients(&self, vars: &[Var], rows: &[&[u8]]) -> Result<(f32, Vec<Vec<f32>>), Error> {
        let named = self.params.iter().zip(vars);
        let params = named.map(|(p, v)| (p.slot.name.clone(), v.as_tensor().clone())).collect();
        let loss = model::losses(&self.config, &params, &self.rotary, rows)?.mean_all()?;
        model::backward(&loss, &self.params, vars)
    }

    fn index(&self, name: &str) -> Result<usize, Error> {
        let found = self.params.iter().position(|p| p.slot.name == name);
        found.ok_or_else(|| Error::Weights(format!("there is no {name}")))
    }
}

impl Trainer for DecoderTrainer {
    type Error = Error;

    fn describe(&self) -> String {
        format!("{:?}; {:?}; text {:016x}", self.config, self.settings, self.corpus.digest())
    }

    fn layers(&self) -> Vec<LayerInfo> {
        let info = |p: &Param| LayerInfo::new(p.slot.name.clone(), p.slot.shape.clone());
        self.params.iter().map(info).collect()
    }

    fn weight(&self, name: &str) -> Result<Vec<f32>, Error> {
        Ok(self.params[self.index(name)?].value.clone())
    }

    fn steps(&self) -> u64 {
        self.step
    }

    fn init(&mut self, seed: u64) -> Result<(), Error> {
        let mut tensors = Weights::init(self.config, splitmix64(seed))?.into_tensors();
        let param = |slot: crate::Slot| {
            let tensor = tensors.remove(&slot.name);
            let tensor =
                tensor.ok_or_else(|| Error::Weights(format!("{} is missing", slot.name)))?;
            Ok(Param::new(slot, tensor.data))
        };
        self.params = self.config.slots().into_iter().map(param).collect::<Result<_, Error>>()?;
        self.masks.fill(None);
        self.step = 0;
        Ok(())
    }

    fn step(&mut self) -> Result<f64, Error> {
        let Settings { batch, seq, shards, data_seed, adam, .. } = self.settings;
        let rows = self.corpus.batch(data_seed, self.step, batch, seq + 1);
        let parts: Vec<_> = rows.chunks(batch / shards).collect();
        let var = |p: &Param| Var::from_slice(&p.value, p.slot.shape.as_slice(), &Device::Cpu);
        let vars = self.params.iter().map(var).collect::<Result<Vec<_>, _>>()?;
        let (loss, gradients) = self.threads.mean(&parts, |rows| self.gradients(&vars, rows))?;
        if !loss.is_finite() {
            return Err(Error::Training(format!("the loss is {loss} after {} steps", self.step)));
        }
        adam.step(self.step, &mut self.params, gradients, &self.masks);
        self.step += 1;
        Ok(loss)
    }

    fn hold(&mut self, masks: &Masks) -> Result<(), Error> {
        let mut held = vec![None; self.params.len()];
        for (name, mask) in masks {
            let i = self.index(name)?;
            if self.params[i].slot.shape != [mask.rows(), mask.cols()] {
                return Err(Error::Prune(format!(
                    "the mask of {name} is {}×{}, the tensor {:?}",
                    mask.rows(),
                    mask.cols(),
                    self.params[i].slot.shape
                )));
            }
            self.params[i].hold(mask);
            held[i] = Some(mask.clone());
        }
        self.masks = held;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<f64, Error> {
        Ok(self.evaluation(self.settings.eval_windows)?.bits_per_byte() * std::f64::consts::LN_2)
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let header = Header { step: self.step, config: self.config, settings: self.settings };
        state::save(path, &self.params, &header)
    }

    fn load(&mut self, path: &Path) -> Result<(), Error> {
        let (config, settings) = (self.config, self.settings);
        let ours = |header: &Header| header.config == config && header.settings == settings;
        self.step = state::load(path, &mut self.params, ours)?.step;
        self.masks.fill(None);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
