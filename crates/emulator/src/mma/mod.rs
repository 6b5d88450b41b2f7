//! Matrix multiplies of a warp and of a warpgroup, as pure functions over fragments (PTX ISA
//! 9.7.14.5 `mma`, 9.7.14.6 `mma.sp`, 9.7.15.5 `wgmma`, 9.7.15.6 `wgmma.sp`).
//!
//! The manual leaves the order and rounding of the sum open. Here products are exact, their sum with
//! C is made in f64 and rounded once to the accumulator's type, so a kernel is judged by a bound, not
//! by its bits. Integers are exact.
//!
//! Notation: g = lane / 4 (the manual's `groupID`), t = lane mod 4 (`threadID_in_group`), e = elements
//! in a 32-bit register. A form whose A is compressed stores half of its K columns.

mod descriptor;
mod element;
mod form;
mod fragment;
mod group;
mod metadata;
mod warp;

#[cfg(test)]
mod tests;

pub(crate) use descriptor::Descriptor;
pub(crate) use element::{Acc, Element, to_bf16, to_f16, to_f32};
pub(crate) use form::{Form, Sparsity};
pub(crate) use group::{GroupA, group};
pub(crate) use metadata::Metadata;
pub(crate) use warp::warp;

/// A 32-bit register of every lane.
pub(crate) type Lanes = [u32; 32];
