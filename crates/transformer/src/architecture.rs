//! Which kind of model a checkpoint is.

use crate::oneshot::{Bert, Llama, Stack};
use crate::{Config, Error, Text, Tokenizer, encoder};
use serde_json::Value;
use std::fmt;

/// A model's kind and shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// A decoder of the Llama family.
    Llama(Config),
    /// An encoder of the BERT family.
    Bert(encoder::Config),
    /// One that cannot be run here, and why; its tensors can be read all the same.
    Other(String),
}

impl Architecture {
    /// Reads `config.json` of a checkpoint that has the tensors that `has` knows.
    ///
    /// Errors: another model type than llama and bert, and those of the configurations.
    pub fn from_hugging_face(json: &Value, has: impl Fn(&str) -> bool) -> Result<Self, Error> {
        match json.get("model_type").and_then(Value::as_str) {
            Some("llama") => Config::from_hugging_face(json).map(Self::Llama),
            Some("bert") => encoder::Config::from_hugging_face(json, has).map(Self::Bert),
            Some(other) => {
                let why = format!("model_type is {other:?}; only llama and bert are supported");
                Err(Error::Config(why))
            }
            None => {
                let why = "there is no model_type; only llama and bert are supported";
                Err(Error::Config(why.into()))
            }
        }
    }

    /// The decoder's shape. Errors: it is an encoder, which predicts no next token.
    pub fn decoder(&self) -> Result<&Config, Error> {
        match self {
            Self::Llama(config) => Ok(config),
            Self::Bert(_) => {
                let why = "this takes a decoder; the model is an encoder (bert), which predicts no next token";
                Err(Error::Config(why.into()))
            }
            Self::Other(why) => Err(Error::Config(why.clone())),
        }
    }

    /// What one-shot pruning walks, for calibration sequences of `len` tokens. Errors: a length that the model
    /// does not take, a model that cannot be run.
    pub fn stack(&self, len: usize) -> Result<Box<dyn Stack>, Error> {
        Ok(match self {
            Self::Llama(config) => Box::new(Llama::new(config, len)?),
            Self::Bert(config) => Box::new(Bert::new(config, len)?),
            Self::Other(why) => return Err(Error::Config(why.clone())),
        })
    }

    /// `count` calibration sequences of `len` tokens, as [`Text::sequences`] draws them; an encoder's begin and end
    /// with the tokens that its tokenizer puts around every text.
    pub fn sequences(
        &self,
        text: &Text,
        tokenizer: &Tokenizer,
        count: usize,
        len: usize,
        seed: u64,
    ) -> Result<Vec<u32>, Error> {
        match self {
            Self::Llama(_) => text.sequences(count, len, seed),
            Self::Other(why) => Err(Error::Config(why.clone())),
            Self::Bert(_) => {
                let [start, end] = tokenizer.frame()?;
                let inner = len.saturating_sub(2);
                let ids = text.sequences(count, inner, seed)?;
                Ok(ids.chunks(inner).flat_map(|ids| [&[start], ids, &[end]].concat()).collect())
            }
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layers, dim, vocab) = match self {
            Self::Llama(c) => (c.layers, c.dim, c.vocab),
            Self::Bert(c) => (c.layers, c.dim, c.vocab),
            Self::Other(_) => return f.write_str("matrices alone"),
        };
        write!(f, "{layers} blocks, {dim} wide, vocabulary of {vocab}")
    }
}
