//! 2:4 matrices: build, compress, validate, reorder, store.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
extern crate alloc;

mod dtype;
mod element;
mod error;
mod matrix;
mod order;
mod pack;
mod pair;

pub use dtype::DType;
pub use element::Element;
pub use error::Error;
pub use matrix::{Matrix24, WORD_COLUMNS};
pub use order::Order;
pub use pack::Packed;
pub use pair::{IllegalCode, Pair};
