//! The generator: a kernel's row to the text of its file.
#![forbid(unsafe_code)]

mod ptx;
mod wgsl;

use quickpick_kernels::{KernelSpec, Target};

/// The text of the row's file; `None` for the host's rows, which are written in Rust.
pub fn emit(spec: &KernelSpec) -> Option<String> {
    match spec.target {
        Target::Sm80 => Some(ptx::emit(spec)),
        Target::WgslPortable | Target::WgslF16 => Some(wgsl::emit(spec)),
        Target::Cpu => None,
    }
}
