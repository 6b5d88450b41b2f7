//! A small Llama-style byte-level decoder: train, prune, generate on any backend.
#![forbid(unsafe_code)]

pub mod config;
mod error;
pub mod weights;

pub use config::{Config, Kind, Slot};
pub use error::Error;
pub use weights::{Tensor, Tensors, Weights};
