//! Does a device give the one answer? Every kernel, over shapes around every edge of its tile, random, ramp and
//! one-hot data, every epilogue and output type, against an f64 oracle within a derived bound
//! ([`quickpick_kernels::bound`]); operands lie inside poison, and each step runs twice.
//!
//! An engine that embeds the kernels asks its own device in its own tests:
//!
//! ```
//! use quickpick::cpu::Cpu; // or Wgpu::from_device(your_device, your_queue)
//! use quickpick_parity::{Report, Scope};
//!
//! let scope = Scope { only: "argmax".into(), ..Scope::default() };
//! let report = Report::of(&scope, [scope.run("my engine", &Cpu::new(), &mut |_| {})]);
//! assert!(report.failures().next().is_none(), "{report}");
//! ```
//!
//! [`Report::to_json`] is the file to send to others; [`Report::from_json`] says why it trusts one, or not.
#![forbid(unsafe_code)]

pub mod case;
pub mod check;
pub mod data;
pub mod digest;
mod file;
mod html;
mod markdown;
pub mod packing;
pub mod quantize;
#[cfg(feature = "script")]
mod questions;
mod report;
mod scope;
pub mod shapes;
mod table;

pub use case::{Case, Expected, Operand};
pub use check::{Agreement, check};
pub use data::Fill;
pub use digest::Digest;
pub use file::{FORM, FileError};
#[cfg(feature = "script")]
pub use questions::Questions;
pub use report::{Cell, Column, Kind, Outcome, Report, Tally, name};
pub use scope::{Depth, Scope};
