//! Quickpick runs 2:4 sparse linear layers, and the rest of a decoder, on CUDA, wgpu or the CPU:
//! plan, upload, run.
#![deny(unsafe_code)] // allowed by name in cuda/launch.rs and cpu/simd/

mod backend;
mod error;
mod linear;

pub use backend::{Backend, Slice};
pub use error::Error;
pub use linear::Weight;
pub use quickpick_format as format;
pub use quickpick_kernels as kernels;
