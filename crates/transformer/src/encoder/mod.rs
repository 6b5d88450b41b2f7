//! BERT-style encoders (arXiv 1810.04805): their forward pass on slices in f32, sentence embeddings, and how far two
//! models agree on those.

pub mod agreement;
mod block;
pub mod config;
mod sentences;

pub use agreement::{Agreement, agreement, embed};
pub use block::{Block, Embeddings, Forward};
pub use config::Config;
pub use sentences::Sentences;
