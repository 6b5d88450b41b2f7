//! WGSL: one file per kernel family.
//!
//! Everything that is emitted is plain WGSL, valid for naga and for Chrome's Tint, with no extension
//! but what the row's target says: `f16`, or subgroups, which naga takes without a directive and Tint
//! with `enable subgroups;` put before the text; but for `coop`, whose extension is wgpu's own. Loops that hold a barrier are bounded by
//! uniforms; operands' edges are met by clamping an index, never by a branch around a barrier.

mod argmax;
mod attention;
mod coop;
mod dot4;
mod epilogue;
mod gather;
mod gemv;
mod octet;
mod packing;
mod pieces;
mod quantize;
mod rmsnorm;
mod rotary;
mod spmm_csr;
mod swiglu;
mod tiled;
mod writer;

use quickpick_kernels::plan::GEMV_FEATURES;
use quickpick_kernels::{DType, Form, KERNELS, KernelSpec, OpKind, Target, Tile};
use writer::Writer;

/// What the emitters of linear layers assume: of a tile, that invocations share it evenly, each an even
/// number of features, and stage it in whole rows; of a GEMV, that lanes are a power of two; sizes that every
/// adapter has.
pub(crate) fn accepts(spec: &KernelSpec) -> bool {
    let shared = match spec.form {
        // cut for its rows alone
        _ if !matches!(spec.target, Target::WgslPortable | Target::WgslF16) => {
            KERNELS.contains(spec)
        }
        Form::Tiled { tile: Tile { m, n, k }, stages, warps: (across, along) } => {
            let even = |size: u32, by: u32| by > 0 && size > 0 && size.is_multiple_of(by);
            let (pairs, all) = (even(m, 2 * across), across.saturating_mul(along));
            // rows of X of 64 bytes
            let whole = (k * spec.dtype.bytes() as u32, stages) == (64, 1);
            whole && pairs && even(n, along) && even(all, 8)
        }
        Form::Gemv { rows, lanes, tokens } => {
            rows > 0
                && rows.is_multiple_of(GEMV_FEATURES)
                && lanes.is_power_of_two()
                && [1, 4].contains(&tokens)
        }
        _ => false,
    };
    let sized = || spec.threads() <= 256 && spec.shared_bytes() <= 16 << 10;
    let typed = match spec.target {
        Target::WgslPortable | Target::WgslSubgroups => {
            [DType::F16, DType::I8].contains(&spec.dtype)
        }
        _ => spec.dtype == DType::F16,
    };
    matches!(spec.op, OpKind::Linear(_)) && typed && shared && sized()
}

pub(crate) fn emit(spec: &KernelSpec) -> String {
    let mut w = Writer::default();
    match (spec.op, spec.form) {
        (OpKind::Linear(weights), Form::Tiled { tile, warps, .. })
            if spec.target == Target::WgslSubgroups =>
        {
            octet::emit(&mut w, spec, weights, tile, warps);
        }
        (OpKind::Linear(weights), Form::Tiled { tile, warps, .. })
            if let Some(side) = spec.target.cooperative() =>
        {
            coop::emit(&mut w, spec, weights, tile, (side, warps));
        }
        (OpKind::Linear(weights), Form::Tiled { tile, warps, .. }) if spec.dtype == DType::I8 => {
            dot4::emit(&mut w, spec, weights, tile, warps);
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
        (OpKind::ArgMax, Form::Rowwise { threads }) => argmax::emit(&mut w, spec, threads),
        (OpKind::Quantize, Form::Rowwise { threads }) => quantize::emit(&mut w, spec, threads),
        (OpKind::Pack24, Form::Rowwise { threads }) => packing::pack(&mut w, spec, threads),
        (OpKind::Unpack24, Form::Rowwise { threads }) => packing::unpack(&mut w, spec, threads),
        // a row without an emitter has no text, which the golden and naga tests refuse
        _ => {}
    }
    w.finish()
}
