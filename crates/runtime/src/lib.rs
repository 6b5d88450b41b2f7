//! Quickpick runs 2:4 sparse linear layers, and the rest of a decoder, on CUDA, wgpu or the CPU:
//! plan, upload, run.
#![deny(unsafe_code)] // allowed by name in cuda/launch.rs and cpu/simd/

#[cfg(any(feature = "cpu", feature = "wgpu", feature = "cuda"))]
mod auto;
mod backend;
#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
mod linear;
#[cfg(feature = "wgpu")]
pub mod wgpu;

#[cfg(any(feature = "cpu", feature = "wgpu", feature = "cuda"))]
pub use auto::{Device, Kind, Opened, UnknownKind, Visitor, open};
pub use backend::{Backend, Slice};
#[cfg(feature = "cpu")]
pub use cpu::Cpu;
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use error::{Error, Result};
pub use linear::{LinearLayer, Operands, Weight, pad_columns};
pub use quickpick_format as format;
pub use quickpick_kernels as kernels;
#[cfg(feature = "wgpu")]
pub use wgpu::Wgpu;
