//! The cases that mutants are run on: few, small first, and such that every guard keeps somebody out
//! in one of them.

use crate::{Case, Fill, shapes};
use quickpick::kernels::{
    Activation, DType, Epilogue, Form, KernelSpec, Linear, OpKind, Tile, Weights, Wgmma,
};

/// The cases of a kernel.
pub fn cases(spec: &KernelSpec) -> Vec<Case> {
    match (spec.op, spec.form) {
        (OpKind::Linear(weights), Form::Tiled { tile, stages, .. }) => {
            linear(spec, weights, tile.n, tiled(spec, tile, stages))
        }
        (OpKind::Linear(weights), Form::Wgmma(w)) => wgmma(spec, weights, &w),
        (OpKind::Linear(weights), Form::Skinny { tile, warps, .. }) => {
            linear(spec, weights, tile.n, skinny(spec, tile, warps))
        }
        // the others are small as they are
        _ => shapes::cases(spec).iter().flat_map(|(_, makes)| makes.iter().map(|m| m())).collect(),
    }
}

/// Features, tokens, input features; whether Y is f32; whether bias and residual are there; and what
/// function.
type Shape = (u32, u32, u32, bool, bool, Activation);

fn linear(spec: &KernelSpec, weights: Weights, tokens: u32, shapes: Vec<Shape>) -> Vec<Case> {
    let dtype = spec.dtype;
    let problems = shapes.into_iter().map(|(m, n, k, f32, adds, activation)| {
        let scales = adds && spec.scales();
        let epilogue =
            Epilogue { scales, bias: adds, residual: adds, activation, ..Epilogue::NONE };
        let out = if f32 { DType::F32 } else { Linear::narrow_out(dtype) };
        Linear { m, n, k, weights, dtype, out, epilogue }
    });
    // gates and ups, of every function; all of a thread's tokens
    let gated = [Activation::Relu, Activation::Gelu, Activation::Silu].map(|activation| {
        let epilogue = Epilogue { activation, gated: true, residual: true, ..Epilogue::NONE };
        let (m, n, k) = (32, tokens, spec.k_multiple());
        Linear { m, n, k, weights, dtype, out: DType::F32, epilogue }
    });
    gated
        .into_iter()
        .chain(problems)
        .zip(0..)
        .map(|(p, seed)| Case::linear(p, Fill::Random, seed))
        .collect()
}

/// Few rows, so that every row that a thread copies is the last one, behind which nothing is: with as
/// many tiles of k as end the main loop at each of its stages, the first one whole or half; rows that
/// are multiples of a store and such that are not. Then several blocks along both sides.
fn tiled(spec: &KernelSpec, tile: Tile, stages: u32) -> Vec<Shape> {
    use Activation::*;
    let half = spec.k_multiple();
    let mut shapes = vec![
        (5, 3, half, true, false, None),
        (8, 3, half, true, true, Gelu),
        (5, 3, half, true, true, Relu),
        (8, 3, tile.k, false, true, Silu),
        (5, 3, tile.k, false, true, None),
        // all of a thread's tokens, in pieces and one by one
        (8, tile.n, half, false, true, None),
        (5, tile.n, half, false, true, None),
        (tile.m + 1, tile.n + 1, tile.k * 2, false, false, None),
    ];
    shapes.extend((2..=stages + 2).map(|tiles| (5, 3, tile.k * tiles, false, false, None)));
    shapes.push((8, 3, tile.k * (stages + 3) - half, true, false, None));
    // so deep that blocks share k, all of whose sums count
    shapes.push((tile.m - 3, tile.n - 3, tile.k * 24 - half, false, false, None));
    shapes
}

/// As of the tiled ones: rows of Y are multiples of 16 bytes, and the tile of k that is last may end the
/// loop at each set of registers and fill each stage twice. Then several tiles for a block, the rows of
/// the second warpgroup beginning in the middle, and a tile that is cut along k; all parts of the
/// epilogue, and Y transposed.
fn wgmma(spec: &KernelSpec, weights: Weights, w: &Wgmma) -> Vec<Case> {
    use Activation::*;
    let (Tile { m, n, k }, dtype) = (w.tile, spec.dtype);
    let all = |activation| Epilogue {
        scales: true,
        bias: true,
        activation,
        residual: true,
        transposed: false,
        gated: false,
    };
    let across = |activation| Epilogue { transposed: true, ..all(activation) };
    let scales = Epilogue { scales: true, ..Epilogue::NONE };
    let (plain, half, deep) =
        (Epilogue::NONE, Linear::narrow_out(dtype), shapes::deep(spec, weights, w));
    let (rounds, four) = (7 * m * w.cluster - 8, 2 * m * w.cluster - 8);
    let mut cases = vec![
        (8, 3, 32, DType::F32, plain),
        (8, 3, 32, DType::F32, all(Gelu)),
        (8, 3, k, half, all(Silu)),
        (8, n / 2 + 1, k, half, scales),
        (8, n / 4 + 1, 32, half, scales),
        (8, 3 * n / 4 + 1, 32, half, scales),
        (8, 16, k, DType::F32, across(None)),
        (m - 8, n, k, half, across(Relu)),
        (m / 2 + 8, n + 1, 2 * k, half, plain),
        (rounds, n, 32, half, all(None)),
        (rounds, n, 32, half, plain),
        (rounds, n, 2 * k, half, plain),
        (rounds, n, 2 * k, half, all(None)),
        (rounds, n, 3 * k, half, all(None)),
        (rounds, n, 2 * k, DType::F32, all(None)),
        (rounds, n, 3 * k, DType::F32, all(None)),
        (4 * m * w.cluster - 8, n, 32, half, plain),
        (4 * m * w.cluster - 8, n, 2 * k, half, plain),
        (m - 8, n, deep, half, plain),
        (four, n + 1, deep, DType::F32, all(None)),
    ];
    // the loop ends at each of its stages, and goes round
    cases.extend((2..=w.stages).map(|tiles| (8, 3, k * tiles, half, plain)));
    cases.push((8, 3, k * (2 * w.stages + 1), half, plain));
    let problems = cases.into_iter().map(|(m, n, k, out, epilogue)| Linear {
        m,
        n,
        k,
        weights,
        dtype,
        out,
        epilogue,
    });
    problems.zip(0..).map(|(p, seed)| Case::linear(p, Fill::Random, seed)).collect()
}

/// One block and several, the last share ragged; one tile of tokens and two, ragged so that the last
/// token stands alone. Then so many tiles of m that none is cut, and the first warp has one block of
/// k more than `rounds`: all that are in flight, fewer and more, and twice as many; at last shares that end
/// within tiles, of several tiles and of one.
fn skinny(spec: &KernelSpec, tile: Tile, warps: u32) -> Vec<Shape> {
    use Activation::*;
    let (round, least) = (tile.k * warps, spec.k_multiple());
    let mut shapes = vec![
        (tile.m - 3, 1, least, true, true, Gelu),
        (tile.m - 3, tile.n - 1, least, false, true, Relu),
        (tile.m, tile.n / 2 - 2, tile.k + least, true, true, Silu),
        (tile.m, tile.n, round - least, false, false, None),
        (tile.m + 1, 3, round + least, false, true, None),
        (tile.m + 1, tile.n - 1, round * 3 + least, true, false, None),
    ];
    for rounds in [1, 2, 3, 4, 7] {
        let (m, k) = (7 * tile.m + 1, rounds * round + least);
        shapes.push((m, 1, k, false, false, None));
        shapes.push((m, tile.n / 2 + 1, k, false, false, None));
    }
    let deep = 9 * round + least;
    shapes.push((10 * tile.m + 1, tile.n - 3, deep, false, true, None));
    shapes.push((tile.m, 3, deep, true, false, None));
    shapes
}
