//! WGSL: one file per kernel family.
//!
//! Everything that is emitted is plain WGSL, valid for naga and for Chrome's Tint, with no extension
//! but what the row's target says: `f16`, or subgroups, which naga takes without a directive and Tint
//! with `enable subgroups;` put before the text. Loops that hold a barrier are bounded by
//! uniforms; operands' edges are met by clamping an index, never by a branch around a barrier.

mod attention;
mod epilogue;
mod gather;
mod gemv;
mod octet;
mod pieces;
mod rmsnorm;
mod rotary;
mod spmm_csr;
mod swiglu;
mod tiled;
mod writer;

use quickpick_kernels::{Form, KernelSpec, OpKind, Target};
use writer::Writer;

pub(crate) fn emit(spec: &KernelSpec) -> String {
    let mut w = Writer::default();
    match (spec.op, spec.form) {
        (OpKind::Linear(weights), Form::Tiled { tile, warps, .. })
            if spec.target == Target::WgslSubgroups =>
        {
            octet::emit(&mut w, spec, weights, tile, warps);
        }
        (OpKind::Linear(weights), Form::Tiled { tile, warps, .. }) => {
            tiled::emit(&mut w, spec, weights, tile, warps);
        }
        (OpKind::Linear(weights), Form::Gemv { rows, lanes, tokens }) => {
            gemv::emit(&mut w, spec, weights, gemv::Cut { rows, lanes, tokens });
        }
        (OpKind::RmsNorm, Form::Rowwise { threads }) => rmsnorm::emit(&mut w, spec, threads),
        (OpKind::Rotary, Form::Rowwise { threads }) => rotary::emit(&mut w, spec, threads),
        (OpKind::Attention, Form::Rowwise { threads }) => attention::emit(&mut w, spec, threads),
        (OpKind::SwiGlu, Form::Rowwise { threads }) => swiglu::emit(&mut w, spec, threads),
        (OpKind::Gather, Form::Rowwise { threads }) => gather::emit(&mut w, spec, threads),
        (OpKind::SpmmCsr, Form::Rowwise { threads }) => spmm_csr::emit(&mut w, spec, threads),
        // a row without an emitter has no text, which the golden and naga tests refuse
        _ => {}
    }
    w.finish()
}
