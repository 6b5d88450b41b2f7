//! Linear layers for few tokens: blocks stay, take equal shares of all of W (`items`), and the warps of a
//! block share out k.
//!
//! At 1 to 16 tokens the weights are read once and nothing else costs as much, so they go straight to
//! registers, several k-blocks ahead of their use. `sparse` and `dense` are the two main loops; `sums`
//! adds what the warps and the parts of a tile have found, in an order that does not depend on the clock,
//! and finishes Y.

mod dense;
mod halves;
mod items;
mod packed;
mod ring;
mod sparse;
mod sums;

use super::mma::{Accumulators, Element};
use super::pieces::{halves, shared_base};
use super::rows::*;
use items::Items;
use quickpick_kernels::plan::skinny_stages;
use quickpick_kernels::{DType, Form, KernelSpec, OpKind, Tile, Weights};
use quickpick_ptx::{B32, B64, Cmp, Int, Kernel, ParamKind, ParamName, Pred, Reg, Special};
pub(super) use sums::CONFLICTS;

/// The text of a skinny linear layer; `None` for other rows.
pub(super) fn emit(spec: &KernelSpec) -> Option<String> {
    let (OpKind::Linear(weights), Form::Skinny { tile, warps, halves }) = (spec.op, spec.form)
    else {
        return None;
    };
    let region = spec.shared_bytes() / warps;
    let (element, stages) = (Element { dtype: spec.dtype }, skinny_stages(weights, tile));
    let shape = Shape { element, halves, tile, warps, stages, region };
    let mut k = kernel(spec);
    k.limits.min_blocks = Some(2);
    let call = Call::new(&mut k, &shape, weights == Weights::Sparse24);
    let items = Items::new(&mut k, &shape, &call);
    let product = if halves { Element { dtype: DType::F16 } } else { element };
    let acc = Accumulators::new(&mut k, product, shape.fragments() * tile.n / 8);
    k.section("the next item: a tile of Y, or a part of one along k");
    k.place("item");
    items.take(&mut k, &shape, &call, "done");
    acc.clear(&mut k);
    match call.metadata {
        Some(metadata) => sparse::emit(&mut k, &shape, &call, &items, metadata, &acc),
        None => dense::emit(&mut k, &shape, &call, &items, &acc),
    }
    sums::emit(&mut k, &shape, &call, &items, &acc);
    k.section("all threads have read the sums: their bytes are free for the next item");
    k.place("next").bar_sync(0).bra_uni("item");
    k.place("done").ret();
    Some(module(spec, &about(spec, &shape, weights), k).to_string())
}

/// The numbers of the row.
struct Shape {
    element: Element,
    /// Elements are of 8 bits and become f16 on their way to products (`halves`).
    halves: bool,
    tile: Tile,
    warps: u32,
    /// K-blocks of W in registers.
    stages: u32,
    /// Bytes of shared memory of a warp.
    region: u32,
}

impl Shape {
    /// Bytes of a row's k-block of X, or of dense W.
    const ROW: u32 = 128;

    /// Fragments of 16 features.
    fn fragments(&self) -> u32 {
        self.tile.m / 16
    }
}

/// The call, and this thread's place in it.
struct Call {
    values: Reg<B64>,
    /// 2:4 only.
    metadata: Option<Reg<B64>>,
    x: Reg<B64>,
    /// Of features, and of tokens: 8-bit types only. These are read after the main loop, lest they hold
    /// registers through it.
    scales: Option<[ParamName; 2]>,
    bias: ParamName,
    residual: ParamName,
    y: ParamName,
    workspace: ParamName,
    m: Reg<B32>,
    n: Reg<B32>,
    k: Reg<B32>,
    flags: Reg<B32>,
    /// Units of a block's share.
    share: Reg<B32>,
    /// The warp's first k-block of the item; the next ones lie `warps` apart.
    first: Reg<B32>,
    /// K-blocks that the warp has yet to multiply.
    left: Reg<B32>,
    /// More than eight tokens.
    two: Reg<Pred>,
    smem: Reg<B32>,
}

impl Call {
    fn new(k: &mut Kernel, shape: &Shape, sparse: bool) -> Self {
        k.section("operands");
        let values = pointer(k, "values");
        let metadata = sparse.then(|| pointer(k, "metadata"));
        let x = pointer(k, "x");
        let eight_bits = shape.element.bytes() == 1;
        let mut late = |name| k.param(name, ParamKind::U64);
        let scales = eight_bits.then(|| ["w_scale", "x_scale"].map(&mut late));
        let [bias, residual, y, workspace] = ["bias", "residual", "y", "workspace"].map(late);
        let [m, n, cols, flags, share] =
            ["m", "n", "k", "flags", "units_per_block"].map(|name| word(k, name));
        let symbol = k.dynamic_shared("smem", 128);
        let smem = shared_base(k, symbol);
        let [first, left] = ["first", "left"].map(|role| k.reg(role));
        let two = k.reg("two_tiles");
        k.note("more than eight tokens: a second tile of them");
        k.setp(Cmp::Gt, Int::U32, two, n, 8);
        Self {
            values,
            metadata,
            x,
            scales,
            bias,
            residual,
            y,
            workspace,
            m,
            n,
            k: cols,
            flags,
            share,
            first,
            left,
            two,
            smem,
        }
    }
}

impl Call {
    // computed anew wherever they are wanted: they would hold registers through the main loop

    fn thread(&self, k: &mut Kernel) -> Reg<B32> {
        let thread = k.scratch("thread");
        k.mov_special(thread, Special::TidX);
        thread
    }

    fn lane(&self, k: &mut Kernel) -> Reg<B32> {
        let (thread, lane) = (self.thread(k), k.scratch("lane"));
        k.and_b32(lane, thread, 31);
        lane
    }

    fn warp(&self, k: &mut Kernel) -> Reg<B32> {
        let (thread, warp) = (self.thread(k), k.scratch("warp"));
        k.shr(Int::U32, warp, thread, 5);
        warp
    }

    /// The warp's own bytes of shared memory.
    fn region(&self, k: &mut Kernel, shape: &Shape) -> Reg<B32> {
        let (warp, region) = (self.warp(k), k.scratch("region"));
        k.mad_lo_u32(region, warp, shape.region, self.smem);
        region
    }
}

fn about(spec: &KernelSpec, shape: &Shape, weights: Weights) -> String {
    let Shape { tile, warps, .. } = *shape;
    let (ty, half) = (spec.dtype, halves(spec.dtype));
    let (kind, stored) = match weights {
        Weights::Sparse24 => (
            "2:4",
            format!(
                "values and metadata in the order `FragmentSm80`: m padded to 16, k to {}",
                tile.k
            ),
        ),
        Weights::Dense => ("dense", "values row-major".to_string()),
    };
    let sums = if ty == DType::I8 { "s32" } else { "f32" };
    let product_type = if shape.halves { "f16 products, " } else { "" };
    let (product, scales, flags) = match spec.scales() {
        true => (
            "scale·(X[n,k]·Wᵀ)",
            "\nscale 1, or w_scale[m]·x_scale[n], f32 both",
            ["; 5 scales", "; 7 they are f16"],
        ),
        false => ("X[n,k]·Wᵀ", "", ["", ""]),
    };
    format!(
        "Y[n,m] = act({product} + bias) + residual for at most {n} tokens n, or transposed{scales}\n\
         W   [m,k], {kind} {ty}, {stored}\n\
         X   [n,k] {ty}; bias f32 [m]; Y and residual [n,m] {half} or f32; {product_type}{sums} accumulators\n    \
             k is a multiple of 32; any m; pointers are multiples of 16\n\
         grid as the plan says, block {threads}, {shared} bytes of dynamic shared memory\n\
         units: k-blocks of {k} columns, tile of {m} rows by tile; a block takes as many as the plan says\n\
         workspace (shares end within tiles): sums [block + tile, n, {m}], then a u32 counter\n    \
             for each tile of m, zero before the first launch, and zero again after each\n\
         flags 1:0 none, relu, gelu, silu; 2 bias; 3 residual; 4 Y and residual are f32{scaled}; 6 they are [m,n]{f16}; 8 gated:\n    \
             rows of W are a gate's and an up's by turns of 8, Y and residual act(gate)·up + residual of m/2 features",
        scaled = flags[0],
        f16 = flags[1],
        n = tile.n,
        m = tile.m,
        k = tile.k,
        threads = 32 * warps,
        shared = spec.shared_bytes(),
    )
}
