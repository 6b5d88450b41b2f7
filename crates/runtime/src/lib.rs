//! Quickpick runs 2:4 sparse linear layers, and the rest of a decoder, on CUDA, wgpu or the CPU:
//! plan, upload, run.
#![deny(unsafe_code)] // allowed by name in cuda/launch.rs and cpu/simd/

mod backend;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
mod linear;
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use backend::{Backend, Slice};
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use error::{Error, Result};
pub use linear::Weight;
pub use quickpick_format as format;
pub use quickpick_kernels as kernels;
#[cfg(feature = "wgpu")]
pub use wgpu::Wgpu;
