//! The generator: a kernel's row to the text of its file.
#![forbid(unsafe_code)]

mod ptx;
mod wgsl;

use quickpick_kernels::{KernelSpec, Target};

/// Whether a spec that is no row of the table can be written all the same: a tuner's candidate. So
/// far, tiled linear layers in PTX and WGSL, those of warpgroups, and GEMV in WGSL.
pub fn accepts(spec: &KernelSpec) -> bool {
    match spec.target {
        Target::Sm80 | Target::Sm90a => ptx::accepts(spec),
        Target::Cpu => false,
        _ => wgsl::accepts(spec),
    }
}

/// The text of the row's file; `None` for the host's rows, which are written in Rust.
pub fn emit(spec: &KernelSpec) -> Option<String> {
    match spec.target {
        Target::Sm80 | Target::Sm90a => Some(ptx::emit(spec)),
        Target::Cpu => None,
        _ => Some(wgsl::emit(spec)),
    }
}

/// Instructions of a kernel whose lanes wait for each other at a bank of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// A part of their text, which no other instruction with a conflict has.
    pub instruction: &'static str,
    /// Why they are so.
    pub why: &'static str,
}

/// The bank conflicts that the row's text has; `gen-kernels` finds no others when it counts them.
pub fn conflicts(spec: &KernelSpec) -> &'static [Conflict] {
    match spec.target {
        Target::Sm80 | Target::Sm90a => ptx::conflicts(spec),
        _ => &[],
    }
}
