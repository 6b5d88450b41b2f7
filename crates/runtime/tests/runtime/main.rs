//! The runtime from outside: linear layers, choosing a backend. What the kernels compute is judged in
//! `tests/tests/suite.rs`.

mod choosing;
mod layers;
mod packing;
mod quantised;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod skip;
