//! The cases that mutants are run on: few, small first, and such that every guard keeps somebody out
//! in one of them.

use crate::{Case, Fill, shapes};
use quickpick::kernels::{
    Activation, DType, Epilogue, Form, KernelSpec, Linear, OpKind, Tile, Weights,
};

/// The cases of a kernel.
pub fn cases(spec: &KernelSpec) -> Vec<Case> {
    match (spec.op, spec.form) {
        (OpKind::Linear(weights), Form::Tiled { tile, stages, .. }) => {
            linear(spec.dtype, weights, tiled(tile, stages))
        }
        (OpKind::Linear(weights), Form::Skinny { tile, warps }) => {
            linear(spec.dtype, weights, skinny(tile, warps))
        }
        // the others are small as they are
        _ => shapes::cases(spec).iter().flat_map(|(_, makes)| makes.iter().map(|m| m())).collect(),
    }
}

/// Features, tokens, input features; whether Y is f32; whether bias and residual are there; and what
/// function.
type Shape = (u32, u32, u32, bool, bool, Activation);

fn linear(dtype: DType, weights: Weights, shapes: Vec<Shape>) -> Vec<Case> {
    let problems = shapes.into_iter().map(|(m, n, k, f32, adds, activation)| {
        let epilogue = Epilogue { bias: adds, residual: adds, activation };
        let out = if f32 { DType::F32 } else { dtype };
        Linear { m, n, k, weights, dtype, out, epilogue }
    });
    problems.zip(0..).map(|(p, seed)| Case::linear(p, Fill::Random, seed)).collect()
}

/// One tile, ragged, with rows that are whole multiples of a store and such that are not; the first
/// tile of k whole or half; the pipeline filled less than once, and more than once; more blocks than
/// one along both sides.
fn tiled(tile: Tile, stages: u32) -> Vec<Shape> {
    use Activation::*;
    let (long, odd) = (tile.k * (stages + 1) + 32, tile.m - 3);
    vec![
        (tile.m - 8, 3, 32, true, true, Gelu),
        (odd, 3, 32, true, true, Relu),
        (tile.m - 8, 3, tile.k, false, true, Silu),
        (odd, 3, tile.k, false, true, None),
        (odd, 3, 32, true, false, None),
        (tile.m, tile.n - 1, long, false, false, None),
        (tile.m + 1, tile.n + 1, tile.k * 2, false, false, None),
    ]
}

/// One split and several, the last one ragged; one tile of tokens and two; each warp's ring of copies
/// filled less than once, and more than once.
fn skinny(tile: Tile, warps: u32) -> Vec<Shape> {
    use Activation::*;
    let round = tile.k * warps;
    vec![
        (tile.m - 3, 1, 32, true, true, Gelu),
        (tile.m - 3, tile.n - 1, 32, false, true, Relu),
        (tile.m, 3, tile.k + 32, true, true, Silu),
        (tile.m, tile.n, round - 32, false, false, None),
        (tile.m + 1, 3, round + 32, false, true, None),
        (tile.m + 1, tile.n - 1, round * 3 + 32, true, false, None),
        // so many tiles of m that k is not split
        (7 * tile.m + 1, 5, 9 * round + 32, false, false, None),
        (7 * tile.m + 1, tile.n, 9 * round + 32, false, false, None),
    ]
}
