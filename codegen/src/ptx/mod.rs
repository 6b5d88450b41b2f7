//! PTX: one file per kernel family.

mod attention;
mod epilogue;
mod gather;
mod pieces;
mod rmsnorm;
mod rotary;
mod rows;
mod skinny;
mod swiglu;
mod tiled;

use quickpick_kernels::{KernelSpec, OpKind};

pub(crate) fn emit(spec: &KernelSpec) -> String {
    match spec.op {
        OpKind::Linear(_) => {
            return tiled::emit(spec).or_else(|| skinny::emit(spec)).unwrap_or_default();
        }
        OpKind::RmsNorm => rmsnorm::emit(spec),
        OpKind::Rotary => rotary::emit(spec),
        OpKind::Attention => attention::emit(spec),
        OpKind::SwiGlu => swiglu::emit(spec),
        OpKind::Gather => gather::emit(spec),
    }
    .to_string()
}

pub(crate) fn accepts(spec: &KernelSpec) -> bool {
    tiled::accepts(spec)
}

#[cfg(test)]
mod tests;
