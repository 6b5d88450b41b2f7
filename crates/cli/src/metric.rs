//! By what pruned models are compared with the dense one: a decoder's perplexity, an encoder's embeddings.

use crate::columns::Side;
use crate::demo::terminal::bar;
use crate::eval::{Evaluated, Protocol, evaluate};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use quickpick_transformer::checkpoint::Model;
use quickpick_transformer::encoder::{self, Agreement, Sentences, agreement, embed};
use quickpick_transformer::perplexity::Estimate;
use quickpick_transformer::{Architecture, Text};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// On what it is measured.
#[derive(clap::Args)]
pub struct Args {
    /// Plain text to measure on; not the calibration text.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    eval: Vec<PathBuf>,
    #[command(flatten)]
    protocol: Protocol,
    /// Most sentences, spread evenly over the text, on which encoders are compared; each is cut after --context.
    #[arg(long, default_value_t = 1000)]
    sentences: usize,
}

/// The dense model's measure, as records keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dense {
    /// Perplexity.
    Decoder(Box<Evaluated>),
    /// An encoder agrees with itself.
    Encoder {
        /// The sentences, in words.
        protocol: String,
    },
}

/// A pruned model's measure, as records keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Of a decoder.
    Perplexity {
        /// Its perplexity.
        after: Box<Evaluated>,
        /// Perplexity over the dense model's, by windows in pairs.
        ratio: Estimate,
    },
    /// Of an encoder.
    Embeddings {
        /// With the dense model's.
        agreement: Agreement,
    },
}

/// A measure, taken of the dense model already.
pub enum Metric<'a> {
    /// A decoder's.
    Perplexity { text: Text, protocol: &'a Protocol, dense: Box<Evaluated> },
    /// An encoder's.
    Embeddings { sentences: Sentences, dense: Vec<f32>, dim: usize },
}

impl<'a> Metric<'a> {
    /// Measures the dense model, if `known` does not say it all. Errors: `known` is of other sentences.
    pub fn new(model: &Model, args: &'a Args, known: Option<&Dense>) -> Result<Self> {
        let Args { eval, protocol, sentences } = args;
        let tokenizer = model.tokenizer().into_diagnostic()?;
        match model.architecture() {
            Architecture::Other(why) => Err(miette!("--eval: {why}")),
            Architecture::Llama(_) => {
                let text = Text::read(eval, tokenizer).into_diagnostic().wrap_err("--eval")?;
                let dense = match known {
                    Some(Dense::Decoder(dense)) => dense.clone(),
                    _ => Box::new(evaluate(model, &text, protocol, "dense")?),
                };
                Ok(Self::Perplexity { text, protocol, dense })
            }
            Architecture::Bert(config) => {
                let longest = protocol.context.min(config.max_seq);
                let sentences = Sentences::read(eval, tokenizer, *sentences, longest)
                    .into_diagnostic()
                    .wrap_err("--eval")?;
                match known {
                    Some(Dense::Encoder { protocol }) if protocol != sentences.protocol() => {
                        let now = sentences.protocol();
                        Err(miette!("the record is of {protocol}; not to be compared: {now}"))
                    }
                    _ => {
                        let dense = embeddings(config, model, &sentences, "dense")?;
                        Ok(Self::Embeddings { sentences, dense, dim: config.dim })
                    }
                }
            }
        }
    }

    /// What a record keeps of the dense model.
    pub fn dense(&self) -> Dense {
        match self {
            Self::Perplexity { dense, .. } => Dense::Decoder(dense.clone()),
            Self::Embeddings { sentences, .. } => {
                Dense::Encoder { protocol: sentences.protocol().to_owned() }
            }
        }
    }

    /// Measures a pruned model.
    pub fn outcome(&self, pruned: &Model, name: &str) -> Result<Outcome> {
        match (self, pruned.architecture()) {
            (Self::Embeddings { sentences, dense, dim }, Architecture::Bert(config)) => {
                let after = embeddings(config, pruned, sentences, name)?;
                let agreement = agreement(dense, &after, *dim).into_diagnostic()?;
                Ok(Outcome::Embeddings { agreement })
            }
            (Self::Embeddings { .. }, _) => {
                Err(miette!("{name} is no encoder, as the dense model is"))
            }
            (Self::Perplexity { text, protocol, dense }, _) => {
                let after = evaluate(pruned, text, protocol, name)?;
                let ratio = after.measured.ratio(&dense.measured).into_diagnostic()?;
                Ok(Outcome::Perplexity { after: Box::new(after), ratio })
            }
        }
    }
}

fn embeddings(
    config: &encoder::Config,
    model: &Model,
    sentences: &Sentences,
    name: &str,
) -> Result<Vec<f32>> {
    let bar = bar("embeddings", config.layers as u64);
    bar.set_message(name.to_owned());
    let progress = &mut |done| bar.set_position(done as u64);
    let all = embed(config, model.source(), sentences.ids(), progress).into_diagnostic()?;
    bar.finish_and_clear();
    Ok(all)
}

impl Dense {
    /// What was measured, in words.
    pub fn protocol(&self) -> &str {
        match self {
            Self::Decoder(dense) => &dense.protocol,
            Self::Encoder { protocol } => protocol,
        }
    }

    /// The measure's columns.
    pub fn head(&self) -> &'static [(&'static str, Side)] {
        match self {
            Self::Decoder(_) => &[("perplexity", Side::Right), ("÷ dense", Side::Right)],
            Self::Encoder { .. } => {
                &[("cosine", Side::Right), ("worst", Side::Right), ("same neighbour", Side::Right)]
            }
        }
    }

    /// The dense model's cells.
    pub fn cells(&self) -> Vec<String> {
        match self {
            Self::Decoder(dense) => vec![dense.figure(), "1".into()],
            Self::Encoder { .. } => ["1", "1", "100 %"].map(String::from).to_vec(),
        }
    }
}

impl Outcome {
    /// More for a worse model; to be compared within one record.
    pub fn damage(&self) -> f64 {
        match self {
            Self::Perplexity { ratio, .. } => ratio.value,
            Self::Embeddings { agreement } => -agreement.cosine.value,
        }
    }

    /// A pruned model's cells.
    pub fn cells(&self) -> Vec<String> {
        match self {
            Self::Perplexity { after, ratio: Estimate { value, low, high } } => {
                vec![after.figure(), format!("{value:.3} ({low:.3} to {high:.3})")]
            }
            Self::Embeddings { agreement: Agreement { cosine, worst, neighbours } } => {
                let Estimate { value, low, high } = cosine;
                vec![
                    format!("{value:.4} ({low:.4} to {high:.4})"),
                    format!("{worst:.3}"),
                    format!("{:.1} %", 100.0 * neighbours),
                ]
            }
        }
    }
}
