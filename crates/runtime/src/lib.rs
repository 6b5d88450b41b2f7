//! Quickpick runs 2:4 sparse linear layers, and the rest of a decoder, on CUDA, wgpu or the CPU:
//! plan, upload, run.
//!
//! ```
//! use quickpick::format::Matrix24;
//! use quickpick::kernels::{Activation, DType};
//! use quickpick::{Backend, Cpu, LinearLayer, Operands, f16};
//!
//! /// silu(X·Wᵀ + bias) for n tokens, on any backend.
//! fn project<B: Backend>(backend: &B, w: Matrix24<f16>, bias: &[f32], x: &[f16], n: u32)
//!     -> quickpick::Result<Vec<u8>>
//! {
//!     let mut layer = LinearLayer::sparse(backend, w, Some(bias))?;
//!     // plan: the selection says which kernel, how it was chosen, and what memory it wants
//!     let selection = layer.select(backend, n, DType::F16, Activation::Silu, false)?;
//!     println!("{selection}");
//!     // upload, once
//!     let bytes = 2 * u64::from(n * layer.m());
//!     let operands = Operands {
//!         x: backend.upload(bytemuck::cast_slice(x))?.into(),
//!         x_scale: None,
//!         residual: None,
//!         y: backend.buffer(bytes)?.into(),
//!         workspace: match selection.plan.workspace_bytes() {
//!             0 => None,
//!             bytes => Some(backend.buffer(bytes)?.into()),
//!         },
//!         sum: None,
//!     };
//!     let steps = [layer.step(backend, &selection.plan, &operands)?];
//!     // run, as often as wanted: a run allocates nothing and waits for nothing
//!     backend.run(&steps)?;
//!     backend.read(&operands.y.buffer, 0, bytes)
//! }
//!
//! # fn main() -> quickpick::Result<()> {
//! let (m, k, n) = (64, 128, 4);
//! // keep two of each four columns
//! let dense = Vec::from_iter((0..m * k).map(|i| f16::from_f32(if i % 4 < 2 { 0.25 } else { 0.0 })));
//! let w = Matrix24::compress(&dense, m, k)?;
//! let x = vec![f16::ONE; n * k];
//! // or Wgpu::open()?, Cuda::open()?, or quickpick::open(Kind::Auto)? and a Visitor
//! let y = project(&Cpu::new(), w, &vec![-16.0; m], &x, n as u32)?;
//! assert_eq!(y, vec![0; 2 * n * m]); // 64 · 0.25 − 16 = 0, and silu(0) = 0
//! # Ok(())
//! # }
//! ```
//!
//! # Weights that are on the device already
//!
//! [`Weight::packed`] prunes and packs a dense buffer there, in one pass, and [`LinearLayer::packed`] makes a layer of
//! one; [`Weight::unpacked`] goes back.
//!
//! # For engines
//!
//! An engine that has its own device needs no allocator of ours. [`quickpick_kernels`](kernels) alone
//! has the kernels' text, their plans and the calling convention, without any GPU dependency. Here,
//! [`wgpu`] takes the engine's device, buffers at offsets and compute pass, and [`cuda`] its stream
//! and device pointers. [`script`] (feature `script`) writes launches down for a browser's WebGPU.
//!
//! # Environment
//!
//! `QUICKPICK_ADAPTER` chooses a wgpu adapter by number or name, `QUICKPICK_CUDA_DEVICE` a CUDA
//! device by number.
#![deny(unsafe_code)] // allowed by name in cuda/, cpu/ and wgpu/pipelines.rs

#[cfg(any(feature = "cpu", feature = "wgpu", feature = "cuda"))]
mod auto;
mod backend;
#[cfg(any(feature = "cpu", feature = "wgpu", feature = "cuda", feature = "script"))]
mod check;
#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
mod linear;
mod packing;
#[cfg(feature = "script")]
pub mod script;
mod weight;
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
pub use half::{bf16, f16};
pub use linear::{LinearLayer, Operands};
pub use quickpick_format as format;
pub use quickpick_kernels as kernels;
#[cfg(feature = "script")]
pub use script::Script;
pub use weight::{Weight, pad_columns};
#[cfg(feature = "wgpu")]
pub use wgpu::Wgpu;

/// The README's example, compiled and run as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
