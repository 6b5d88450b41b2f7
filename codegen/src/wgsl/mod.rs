//! WGSL: one file per kernel family.
//!
//! Everything that is emitted is plain WGSL: valid for naga and for Chrome's Tint, no subgroups, no
//! extension but `f16` where the row's target says so. Loops that hold a barrier are bounded by
//! uniforms; operands' edges are met by clamping an index, never by a branch around a barrier.

mod argmax;
mod attention;
mod epilogue;
mod gather;
mod gemv;
mod pieces;
mod rmsnorm;
mod rotary;
mod spmm_csr;
mod swiglu;
mod tiled;
mod writer;

use quickpick_kernels::{Form, KernelSpec, OpKind};
use writer::Writer;

pub(crate) fn emit(spec: &KernelSpec) -> String {
    let mut w = Writer::default();
    match (spec.op, spec.form) {
        (OpKind::Linear(weights), Form::Tiled { tile, warps, .. }) => {
            tiled::emit(&mut w, spec, weights, tile, warps);
        }
        (OpKind::Linear(weights), Form::Gemv { rows, lanes }) => {
            gemv::emit(&mut w, spec, weights, rows, lanes);
        }
        (OpKind::RmsNorm, Form::Rowwise { threads }) => rmsnorm::emit(&mut w, spec, threads),
        (OpKind::Rotary, Form::Rowwise { threads }) => rotary::emit(&mut w, spec, threads),
        (OpKind::Attention, Form::Rowwise { threads }) => attention::emit(&mut w, spec, threads),
        (OpKind::SwiGlu, Form::Rowwise { threads }) => swiglu::emit(&mut w, spec, threads),
        (OpKind::Gather, Form::Rowwise { threads }) => gather::emit(&mut w, spec, threads),
        (OpKind::SpmmCsr, Form::Rowwise { threads }) => spmm_csr::emit(&mut w, spec, threads),
        (OpKind::ArgMax, Form::Rowwise { threads }) => argmax::emit(&mut w, spec, threads),
        // a row without an emitter has no text, which the golden and naga tests refuse
        _ => {}
    }
    w.finish()
}
