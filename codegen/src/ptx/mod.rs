//! PTX: one file per kernel family.

mod argmax;
mod attention;
mod epilogue;
mod gather;
mod mma;
mod pack24;
mod packing;
mod params;
mod pieces;
mod quantize;
mod raster;
mod rmsnorm;
mod rotary;
mod rows;
mod skinny;
mod store;
mod swiglu;
mod tiled;
mod unpack24;
mod wgmma;

use crate::Conflict;
use quickpick_kernels::{Form, KernelSpec, OpKind};

pub(crate) fn emit(spec: &KernelSpec) -> String {
    match spec.op {
        OpKind::Linear(_) => {
            let families = [tiled::emit, skinny::emit, wgmma::emit];
            return families.iter().find_map(|emit| emit(spec)).unwrap_or_default();
        }
        OpKind::RmsNorm => rmsnorm::emit(spec),
        OpKind::Rotary => rotary::emit(spec),
        OpKind::Attention => attention::emit(spec),
        OpKind::SwiGlu => swiglu::emit(spec),
        OpKind::Gather => gather::emit(spec),
        OpKind::ArgMax => argmax::emit(spec),
        OpKind::Quantize => quantize::emit(spec),
        OpKind::Pack24 => pack24::emit(spec),
        OpKind::Unpack24 => unpack24::emit(spec),
        // no kernel yet: a row without text is refused by `gen-kernels`
        OpKind::SpmmCsr => return String::new(),
    }
    .to_string()
}

pub(crate) fn accepts(spec: &KernelSpec) -> bool {
    tiled::accepts(spec) || wgmma::accepts(spec)
}

/// Each family's, told beside the instructions that have them.
pub(crate) fn conflicts(spec: &KernelSpec) -> &'static [Conflict] {
    match (spec.op, spec.form) {
        (OpKind::Linear(_), Form::Skinny { .. }) => skinny::CONFLICTS,
        (OpKind::Attention, _) => attention::CONFLICTS,
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
