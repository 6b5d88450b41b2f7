//! 2:4 matrices: build, compress, validate, reorder, store.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
extern crate alloc;

mod dtype;
mod order;

pub use dtype::DType;
pub use order::Order;
