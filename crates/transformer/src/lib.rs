//! Llama decoders: a small byte-level one to train; checkpoints of other people's making to prune, block
//! by block, and to measure; generation on any backend. BERT encoders, to prune and to measure.
#![forbid(unsafe_code)]

mod architecture;
mod attention;
pub mod block;
pub mod checkpoint;
pub mod compact;
pub mod config;
pub mod corpus;
pub mod encoder;
mod error;
pub mod export;
pub mod finetune;
pub mod generate;
pub mod infer;
mod model;
pub mod oneshot;
mod ops;
pub mod optim;
pub mod perplexity;
mod recovered;
pub mod reorder;
pub mod score;
mod slices;
mod state;
pub mod text;
mod threads;
mod tokenizer;
pub mod train;
pub mod weights;

pub use architecture::Architecture;
pub use block::{Block, Forward, Head, Site};
pub use compact::{Compact, Stored};
pub use config::{Config, Kind, Slot};
pub use corpus::Corpus;
pub use error::Error;
pub use generate::{Generated, Sampler, generate, generate_while};
pub use infer::Decoder;
pub use perplexity::{Perplexity, Windows, perplexity};
pub use reorder::{BlockOrders, Orders};
pub use score::{Score, score};
pub use text::Text;
pub use tokenizer::Tokenizer;
pub use train::{DecoderTrainer, Evaluation, Settings};
pub use weights::{Tensor, Tensors, Weights};
