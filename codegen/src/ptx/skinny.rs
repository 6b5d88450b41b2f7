//! Linear layers for few tokens: a block per 16 features, its warps and the grid's y sharing out k.
//!
//! At 1 to 16 tokens the weights are read once and nothing else costs as much, so they go straight to
//! registers, several k-blocks ahead of their use. `sparse` and `dense` are the two main loops; `sums`
//! adds what the warps and the splits have found, in an order that does not depend on the clock, and
//! finishes Y.

mod dense;
mod packed;
mod ring;
mod sparse;
mod sums;

use super::pieces::{half, shared_base};
use super::rows::*;
use quickpick_kernels::{Form, KernelSpec, OpKind, Tile, Weights};
use quickpick_ptx::{B32, B64, Cmp, F32, Half, Int, Kernel, Pred, Reg, Special};
pub(super) use sums::CONFLICTS;

/// The text of a skinny linear layer; `None` for other rows.
pub(super) fn emit(spec: &KernelSpec) -> Option<String> {
    let (OpKind::Linear(weights), Form::Skinny { tile, warps }) = (spec.op, spec.form) else {
        return None;
    };
    let region = spec.shared_bytes() / warps;
    let shape = Shape { ty: half(spec.dtype), tile, warps, region };
    let mut k = kernel(spec);
    k.limits.min_blocks = Some(2);
    let call = Call::new(&mut k, &shape, weights == Weights::Sparse24);
    let acc = k.reg_list::<F32>("acc", (tile.n / 2) as usize);
    for &acc in &acc {
        k.mov_f32(acc, 0.0);
    }
    match call.metadata {
        Some(metadata) => sparse::emit(&mut k, &shape, &call, metadata, &acc),
        None => dense::emit(&mut k, &shape, &call, &acc),
    }
    sums::emit(&mut k, &shape, &call, &acc);
    Some(module(spec, &about(spec, &shape, weights), k).to_string())
}

/// The numbers of the row.
struct Shape {
    ty: Half,
    tile: Tile,
    warps: u32,
    /// Bytes of shared memory of a warp.
    region: u32,
}

/// The call, and this thread's place in it.
struct Call {
    values: Reg<B64>,
    /// 2:4 only.
    metadata: Option<Reg<B64>>,
    x: Reg<B64>,
    bias: Reg<B64>,
    residual: Reg<B64>,
    y: Reg<B64>,
    workspace: Reg<B64>,
    m: Reg<B32>,
    n: Reg<B32>,
    k: Reg<B32>,
    flags: Reg<B32>,
    thread: Reg<B32>,
    lane: Reg<B32>,
    /// Tile of m.
    tile: Reg<B32>,
    /// Split of k.
    split: Reg<B32>,
    /// K-blocks of the matrix.
    k_blocks: Reg<B32>,
    /// The warp's first k-block; the next ones lie `warps` apart.
    first: Reg<B32>,
    /// K-blocks that the warp has yet to multiply.
    left: Reg<B32>,
    /// More than eight tokens.
    two: Reg<Pred>,
    /// The warp's own bytes of shared memory.
    region: Reg<B32>,
    smem: Reg<B32>,
}

impl Call {
    fn new(k: &mut Kernel, shape: &Shape, sparse: bool) -> Self {
        k.section("operands");
        let values = pointer(k, "values");
        let metadata = sparse.then(|| pointer(k, "metadata"));
        let [x, bias, residual, y, workspace] =
            ["x", "bias", "residual", "y", "workspace"].map(|name| pointer(k, name));
        let [m, n, cols, flags, blocks] =
            ["m", "n", "k", "flags", "blocks_per_split"].map(|name| word(k, name));
        let symbol = k.dynamic_shared("smem", 128);
        let smem = shared_base(k, symbol);
        let thread = special(k, "thread", Special::TidX);
        let tile = special(k, "tile", Special::CtaidX);
        let split = special(k, "split", Special::CtaidY);

        k.section(format!("k-blocks of {} columns; warps take turns at the split's", shape.tile.k));
        let [lane, warp, region] = ["lane", "warp", "region"].map(|role| k.reg(role));
        k.and_b32(lane, thread, 31).shr(Int::U32, warp, thread, 5);
        k.mad_lo_u32(region, warp, shape.region, smem);
        let [k_blocks, first, end, left] =
            ["k_blocks", "first", "end", "left"].map(|role| k.reg(role));
        k.add_u32(k_blocks, cols, shape.tile.k - 1);
        k.shr(Int::U32, k_blocks, k_blocks, shape.tile.k.ilog2());
        k.mul_lo_u32(first, split, blocks).add_u32(end, first, blocks);
        k.min(Int::U32, end, end, k_blocks).add_u32(first, first, warp);
        k.note("this warp's: (end - first) / warps, rounded up");
        k.sub_u32(left, end, first).max(Int::S32, left, left, 0).add_u32(
            left,
            left,
            shape.warps - 1,
        );
        k.shr(Int::U32, left, left, shape.warps.ilog2());
        let two = k.reg("two_tiles");
        k.note("more than eight tokens: a second tile of them");
        k.setp(Cmp::Gt, Int::U32, two, n, 8);
        Self {
            values,
            metadata,
            x,
            bias,
            residual,
            y,
            workspace,
            m,
            n,
            k: cols,
            flags,
            thread,
            lane,
            tile,
            split,
            k_blocks,
            first,
            left,
            two,
            region,
            smem,
        }
    }
}

fn about(spec: &KernelSpec, shape: &Shape, weights: Weights) -> String {
    let Shape { tile, warps, .. } = *shape;
    let ty = spec.dtype;
    let (kind, stored) = match weights {
        Weights::Sparse24 => {
            ("2:4", "values and metadata in the order `FragmentSm80`: m padded to 16, k to 64")
        }
        Weights::Dense => ("dense", "values row-major"),
    };
    format!(
        "Y[n,m] = act(X[n,k]·Wᵀ + bias) + residual for at most {n} tokens n\n\
         W   [m,k], {kind} {ty}, {stored}\n\
         X   [n,k] {ty}; bias f32 [m]; Y and residual [n,m] {ty} or f32; f32 accumulators\n    \
             k is a multiple of 32; any m; pointers are multiples of 16\n\
         grid ⌈m/{m}⌉ × splits of k, block {threads}, {shared} bytes of dynamic shared memory\n\
         workspace (more than one split): f32 [splits, n, m padded to {m}], then a u32 counter\n    \
             for each tile of m, zero before the first launch, and zero again after each\n\
         flags 1:0 none, relu, gelu, silu; 2 bias; 3 residual; 4 Y and residual are f32",
        n = tile.n,
        m = tile.m,
        threads = 32 * warps,
        shared = spec.shared_bytes(),
    )
}
