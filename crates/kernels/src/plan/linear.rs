//! Plans of linear layers. Bindings: values, metadata (2:4 only), x, bias, residual, y, workspace
//! (PTX). Parameters: m, n, k, flags (see [`Epilogue::flags`](crate::Epilogue::flags)), then
//! in WGSL the elements from a row of Y to the next, for the tiled form of PTX tiles of k of a part, for the skinny
//! form k-blocks of a block's share, for the wgmma
//! form how many tiles are cut along k and the tiles of k of a share. The wgmma form takes tensor maps of values (unless they come to
//! registers), x, y and residual.

use super::split::Parts;
use super::wgmma::{self, Shares};
use super::{
    Access, Binding, MAX_DIM, Plan, bytes, multiple, range, same_type, skinny, tensor_map,
};
use crate::spec::{Form, KernelSpec, Target, Tile};
use crate::{Caps, DType, Linear, OpKind, Problem, Unsupported, Weights};
use alloc::vec;
use alloc::vec::Vec;
use quickpick_format::GATE_ROWS;

/// Largest k whose sums an i32 holds, whatever the data: a product is at most 2¹⁴.
const MAX_I8_K: u32 = (1 << 17) - 1;

/// Which parameter of the WGSL kernels says how far apart rows of Y are, in elements: m, but of a part, whose own
/// m is less.
pub(super) const STRIDE: usize = 4;

pub(super) fn plan(
    spec: &'static KernelSpec,
    p: &Linear,
    caps: &Caps,
) -> Result<Plan, Unsupported> {
    same_type("W and X", spec.dtype, p.dtype)?;
    if !Linear::outs(p.dtype).contains(&p.out) {
        let kernel = Linear::narrow_out(p.dtype);
        return Err(Unsupported::Type { what: "Y", kernel, asked: p.out });
    }
    for (asked, can, what) in [
        (p.epilogue.scales, spec.scales(), "scales"),
        (p.epilogue.transposed, spec.transposes(), "transposed"),
        (p.epilogue.gated, spec.gates(), "gated"),
    ] {
        if asked && !can {
            return Err(Unsupported::Epilogue(what));
        }
    }
    range("m", p.m, 1, MAX_DIM)?;
    multiple("m", p.m, if p.epilogue.gated { 2 * GATE_ROWS as u32 } else { 1 })?;
    range("n", p.n, 1, MAX_DIM)?;
    range("k", p.k, 32, if p.dtype == DType::I8 { MAX_I8_K } else { MAX_DIM })?;
    multiple("k", p.k, spec.k_multiple())?;
    let mut params = vec![p.m, p.n, p.k, p.epilogue.flags(p.out)];
    if spec.target.is_wgsl() {
        params.push(p.m); // STRIDE
    }
    let mut bindings = operands(spec, p);
    let grid = match spec.form {
        // x along m, y along n, z along k; PTX walks them in strips of its own (codegen's raster)
        Form::Tiled { tile, .. } if spec.target == Target::Sm80 => {
            let parts = Parts::new(spec, p, tile, caps);
            params.push(parts.share);
            bindings.push(parts.workspace(p, tile));
            [p.m.div_ceil(tile.m), p.n.div_ceil(tile.n), parts.count]
        }
        Form::Tiled { tile, .. } => [p.m.div_ceil(tile.m), p.n.div_ceil(tile.n), 1],
        Form::Wgmma(w) => {
            let shares = Shares::new(&w, p.weights, p, caps);
            params.extend([shares.split, shares.share]);
            bindings.push(shares.workspace(&w));
            [shares.groups * w.cluster, 1, 1]
        }
        Form::Skinny { tile, warps, .. } => {
            range("n", p.n, 1, tile.n)?;
            let shares = skinny::Shares::new(p, tile, warps, caps)?;
            params.push(shares.share);
            bindings.push(shares.workspace(p, tile));
            [shares.blocks, 1, 1]
        }
        Form::Gemv { rows, tokens, .. } => {
            range("n", p.n, 1, GEMV_TOKENS)?;
            [p.m.div_ceil(rows), p.n.div_ceil(tokens), 1]
        }
        Form::Host => [1, 1, 1],
        Form::Rowwise { .. } => return Err(Unsupported::Operation),
    };
    let (block, shared_bytes) = (spec.threads(), spec.shared_bytes());
    let (problem, maps) = (Problem::Linear(*p), tensor_map::linear(spec, p)?);
    Ok(Plan { spec, problem, grid, block, shared_bytes, bindings, params, maps, parts: vec![] })
}

/// Output features that each lane of a GEMV accumulates, so that one load of x serves all of them.
pub const GEMV_FEATURES: u32 = 4;

/// Lanes of a subgroup that multiplies cooperative matrices.
pub const COOP_LANES: u32 = 32;

/// From row to row of X and W in workgroup memory, f16 elements, for cooperative matrices: 32 columns, and eight
/// more that spread eight rows over all 32 banks.
pub const COOP_STRIDE: u32 = 40;

/// Beyond this the tiled kernel reads the weights less often.
const GEMV_TOKENS: u32 = 16;

fn operands(spec: &KernelSpec, p: &Linear) -> Vec<Binding> {
    let (m, n, k) = (p.m as u64, p.n as u64, p.k as u64);
    let y_bytes = bytes(p.out, n * u64::from(p.features()));
    let mut list = match spec.order() {
        None => vec![Binding::read("values", bytes(p.dtype, m * k))],
        Some(order) => {
            let (rows, cols) = (p.m as usize, p.k as usize);
            let elements = |[rows, cols]: [usize; 2]| rows as u64 * cols as u64;
            vec![
                Binding::read(
                    "values",
                    bytes(p.dtype, elements(order.values_shape(p.dtype, rows, cols))),
                ),
                Binding::read("metadata", 4 * elements(order.metadata_shape(p.dtype, rows, cols))),
            ]
        }
    };
    let present = |yes: bool, bytes: u64| if yes { bytes } else { 0 };
    list.push(Binding::read("x", bytes(p.dtype, n * k)));
    if spec.scales() {
        list.extend([
            Binding::read("w_scale", present(p.epilogue.scales, 4 * m)),
            Binding::read("x_scale", present(p.epilogue.scales, 4 * n)),
        ]);
    }
    list.extend([
        Binding::read("bias", present(p.epilogue.bias, 4 * m)),
        Binding::read("residual", present(p.epilogue.residual, y_bytes)),
        Binding { name: "y", access: Access::Write, bytes: y_bytes },
    ]);
    list
}

impl KernelSpec {
    /// Bytes of shared memory (PTX: dynamic; WGSL: what the text declares).
    pub fn shared_bytes(&self) -> u32 {
        match (self.target, self.op, self.form) {
            (Target::Sm80, OpKind::Linear(weights), Form::Tiled { tile, stages, .. }) => {
                sm80_stage_bytes(weights, self.dtype, tile) * stages
            }
            (Target::Sm90a, OpKind::Linear(_), Form::Wgmma(w)) => wgmma::shared_bytes(self, &w),
            (Target::Sm80, OpKind::Linear(weights), Form::Skinny { tile, warps, .. }) => {
                warps * skinny::warp_bytes(self, weights, tile)
            }
            (
                Target::WgslPortable | Target::WgslF16,
                OpKind::Linear(weights),
                Form::Tiled { tile, .. },
            ) => wgsl_tile_bytes(weights, self.dtype, tile),
            // X, W, and a matrix of f32 sums of each subgroup
            (target, OpKind::Linear(_), Form::Tiled { tile, warps, .. })
                if let Some(side) = target.cooperative() =>
            {
                2 * COOP_STRIDE * (tile.m + tile.n) + 4 * warps.0 * warps.1 * side * side
            }
            // an f32 sum of each lane, feature and token
            (Target::WgslPortable | Target::WgslF16, _, Form::Gemv { rows, lanes, tokens }) => {
                4 * rows * lanes * tokens
            }
            (
                Target::WgslPortable,
                OpKind::RmsNorm | OpKind::Quantize,
                Form::Rowwise { threads },
            ) => 4 * (threads + super::REDUCERS),
            // what each invocation found, and where
            (Target::WgslPortable, OpKind::ArgMax, Form::Rowwise { threads }) => 8 * threads,
            // an f32 sum of each invocation
            (Target::WgslPortable, OpKind::SpmmCsr, Form::Rowwise { threads }) => 4 * threads,
            // q; a weight of each position; four sums of each invocation; the reduction
            (Target::WgslPortable, OpKind::Attention, Form::Rowwise { threads }) => {
                let positions = super::ATTENTION_POSITIONS * threads;
                4 * (super::MAX_HEAD_DIM + positions + 4 * threads + threads + super::REDUCERS)
            }
            _ => 0,
        }
    }
}

/// X and W; of 2:4 weights the kept values and metadata, but 8-bit ones are expanded on their way there.
fn wgsl_tile_bytes(weights: Weights, dtype: DType, tile: Tile) -> u32 {
    let Tile { m, n, k } = tile;
    match (weights, dtype.bytes() as u32) {
        (Weights::Sparse24, 2) => 2 * (n * k + m * k / 2) + m * k / 8,
        (_, bytes) => bytes * (n * k + m * k),
    }
}

/// One stage of the sm_80 kernels: A (kept values only when sparse), B, metadata.
fn sm80_stage_bytes(weights: Weights, dtype: DType, tile: Tile) -> u32 {
    let (Tile { m, n, k }, bytes) = (tile, dtype.bytes() as u32);
    match weights {
        Weights::Sparse24 => bytes * (m * k / 2 + n * k) + m * k / 8,
        Weights::Dense => bytes * (m * k + n * k),
    }
}
