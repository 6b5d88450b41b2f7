//! The generator: a kernel's row to the text of its file.
#![forbid(unsafe_code)]

mod ptx;
mod wgsl;

use quickpick_kernels::{KernelSpec, Target};

/// Whether a spec that is no row of the table can be written all the same: a tuner's candidate. So
/// far, tiled linear layers in PTX.
pub fn accepts(spec: &KernelSpec) -> bool {
    spec.target == Target::Sm80 && ptx::accepts(spec)
}

/// The text of the row's file; `None` for the host's rows, which are written in Rust.
pub fn emit(spec: &KernelSpec) -> Option<String> {
    match spec.target {
        Target::Sm80 => Some(ptx::emit(spec)),
        Target::WgslPortable | Target::WgslF16 => Some(wgsl::emit(spec)),
        Target::Cpu => None,
    }
}
