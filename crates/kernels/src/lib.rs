//! What Quickpick's kernels are: rows, problems, plans, fragment layouts, selection, and the
//! committed PTX and WGSL text. No GPU dependency, `no_std + alloc`: an engine with its own device,
//! stream and buffers needs this crate alone.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod bound;
mod caps;
pub mod clocks;
mod cost;
pub mod fragment;
mod packing;
pub mod plan;
mod problem;
mod quantize;
pub mod reference;
mod select;
mod spec;
mod table;
#[cfg(feature = "text")]
mod text;
mod tuned;
mod unsupported;

pub use caps::{Caps, CudaCaps, WgpuCaps};
pub use packing::{NO_GROUP, Packing};
pub use plan::{Access, Binding, MapError, MapRule, Plan, TensorMap};
pub use problem::{
    Activation, ArgMax, Attention, Epilogue, Gather, Linear, Problem, RmsNorm, Rotary, SpmmCsr,
    SwiGlu, Weights,
};
pub use quantize::Quantize;
pub use quickpick_format::{DType, GATE_ROWS, Order, gate_up_rows};
pub use select::{Basis, Considered, NoKernel, Selection, select};
pub use spec::{Form, KernelSpec, OCTET, OpKind, Target, Teams, Tile, Values, Wgmma};
pub use table::KERNELS;
pub use tuned::{REACH, Untuned};
pub use unsupported::Unsupported;
