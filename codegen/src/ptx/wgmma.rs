//! Linear layers for sm_90a: `wgmma.sp` and its dense twin, from the same code.
//!
//! Blocks stay, and compute one item after the other (`items`): a tile of Y, or a part of one along k. A
//! producer thread brings boxes of W and X to a ring of stages by tensor copies (`ring`, `producer`). Two
//! consumer warpgroups multiply, one tile of k after the other, both on one tile of Y or each on its own
//! (`consumer`); metadata, and W itself if it is multiplied from registers, come straight from memory
//! (`supply`). Parts of a tile meet in the workspace (`parts`); `output` takes the sums to Y.

mod consumer;
mod geometry;
mod items;
mod output;
mod parts;
mod producer;
mod ring;
mod supply;

use super::params::Params;
use super::pieces::{linear_header, shared_base};
use super::raster;
use geometry::Geometry;
use items::Items;
use quickpick_kernels::{KernelSpec, Teams, Values, Wgmma};
use quickpick_ptx::{
    B32, B64, Cmp, Extent, Int, Kernel, Module, ParamKind, ParamName, Pred, Reg, RegDir, Special,
};

/// Registers that a thread keeps of the 168 with which it starts: (3 · 168 · 128 in all) of two
/// consumer warpgroups and a producer.
const PRODUCER_REGISTERS: u32 = 40;
const CONSUMER_REGISTERS: u32 = 232;

/// What producer and consumers share.
struct Block {
    g: Geometry,
    params: Params,
    maps: Maps,
    /// The first byte of the stages; what Y passes through and the mbarriers lie behind them.
    smem: Reg<B32>,
    thread: Reg<B32>,
    items: Items,
}

/// The tensor maps.
struct Maps {
    values: Option<ParamName>,
    x: ParamName,
    y: ParamName,
    residual: ParamName,
}

/// The text of a `wgmma` linear layer; `None` for other rows.
pub(super) fn emit(spec: &KernelSpec) -> Option<String> {
    let g = Geometry::new(spec)?;
    let mut k = Kernel::new(spec.to_string());
    let params = Params::declare(&mut k, g.sparse, true);
    let shares = ["split", "share"].map(|name| k.param(name, ParamKind::U32));
    let maps = Maps::declare(&mut k, &g);
    let symbol = k.dynamic_shared("smem", 1024);
    k.limits.threads = Some(Wgmma::THREADS.into());
    k.limits.min_blocks = Some(1);
    if g.cluster() > 1 {
        k.limits.cluster = Some(Extent { x: g.cluster(), y: 1, z: 1 });
    }
    let smem = shared_base(&mut k, symbol);
    let thread = k.reg("thread");
    let items = Items::new(&mut k, &g, params, shares);
    let block = Block { g, params, maps, smem, thread, items };
    block.begin(&mut k);
    let producer = k.reg::<Pred>("producer");
    k.setp(Cmp::Ge, Int::U32, producer, block.thread, 128 * Wgmma::CONSUMERS);
    k.when(producer).bra_uni("producer");
    k.section(match g.form.teams {
        Teams::Cooperative => "consumers: each half of the rows of every tile",
        Teams::PingPong => "consumers: whole tiles by turns",
    });
    k.setmaxnreg(RegDir::Inc, CONSUMER_REGISTERS);
    consumer::emit(&mut k, &block);
    k.section("producer: one thread starts all copies");
    k.place("producer").setmaxnreg(RegDir::Dec, PRODUCER_REGISTERS);
    producer::emit(&mut k, &block);
    k.place("end");
    if g.cluster() > 1 {
        k.note("a block stays while others copy to it, or arrive at its mbarriers");
        k.cluster_arrive().cluster_wait();
    }
    k.ret();
    Some(Module::new(&header(spec, &g), k).to_string())
}

/// What the generator makes of this form.
pub(super) fn accepts(spec: &KernelSpec) -> bool {
    Geometry::new(spec).is_some_and(|g| geometry::accepts(&g))
}

impl Maps {
    fn declare(k: &mut Kernel, g: &Geometry) -> Self {
        let mut map = |name| k.param(name, ParamKind::Bytes { align: 64, len: 128 });
        Self {
            values: (g.form.values == Values::Shared).then(|| map("map_values")),
            x: map("map_x"),
            y: map("map_y"),
            residual: map("map_residual"),
        }
    }
}

impl Block {
    /// The mbarriers.
    fn begin(&self, k: &mut Kernel) {
        let g = &self.g;
        let first = k.reg::<Pred>("first_thread");
        k.section("mbarriers: a stage is full after its bytes have come, free after all warps have read it");
        k.mov_special(self.thread, Special::TidX);
        k.setp(Cmp::Eq, Int::U32, first, self.thread, 0);
        let readers = 4 * g.form.owners() * g.cluster();
        for stage in 0..g.stages {
            let at = 16 * stage as i32;
            k.when(first).mbarrier_init(self.smem.at(g.full() + at), g.cluster());
            k.when(first).mbarrier_init(self.smem.at(g.free() + at), readers);
        }
        if g.by_turns() {
            k.note("the consumers' turns");
            for consumer in 0..Wgmma::CONSUMERS {
                k.when(first).mbarrier_init(self.smem.at(g.turn(consumer)), 4);
            }
        }
        k.fence_mbarrier_init();
        match g.cluster() {
            1 => k.bar_sync(0),
            _ => k.cluster_arrive().cluster_wait(),
        };
    }
}

/// The generic address of a tensor map.
fn map_address(k: &mut Kernel, role: &str, map: ParamName) -> Reg<B64> {
    let at = k.reg(role);
    k.mov_param(at, map).cvta_param(at, at).prefetch_tensormap(at);
    at
}

fn header(spec: &KernelSpec, g: &Geometry) -> String {
    let tile = g.tile;
    let kept = if g.sparse { ", kept values" } else { "" };
    let mut lines = linear_header(spec);
    let rows = g.form.rows();
    let each = if g.by_turns() { "by turns" } else { "each" };
    lines.extend([
        format!(
            "tile    {} (m) × {} (n) × {} (k), {} stages; two consumer warpgroups of {rows}×{} {each}, a producer",
            tile.m, tile.n, tile.k, g.stages, tile.n,
        ),
        format!(
            "launch  grid as the plan says, {} threads, {} bytes of dynamic shared memory",
            Wgmma::THREADS, spec.shared_bytes(),
        ),
        "        then tensor maps by value, in the order of the parameters, as the plan says".to_string(),
        format!("        strips of {} m-tiles, each walked along n", raster::STRIP),
    ]);
    if g.cluster() > 1 {
        lines.push(format!("        clusters of {} blocks along m, which share B", g.cluster()));
    }
    lines.push(format!("stage   {} bytes:", g.stage_bytes()));
    if g.a_row > 0 {
        lines.push(format!(
            "  {:>6}  A  {} boxes of {} rows of {} bytes, swizzled so: W{kept}",
            0,
            g.a_boxes(),
            tile.m,
            g.a_row,
        ));
    }
    lines.extend([
        format!("  {:>6}  B  {} boxes of {} rows of 128 bytes: X", g.b_offset(), g.b_boxes(), tile.n),
        format!("{:>8}  Y on its way out, {} bytes of each consumer", g.store(), quickpick_kernels::plan::STORE_BYTES),
        format!("{:>8}  the mbarriers: full and free of each stage, each consumer's turn and word", g.full()),
        format!(
            "flags   1:0 none, relu, gelu, silu; 2 bias; 3 residual; 4 Y is f32; 5 scales; 6 transposed{}",
            if g.bytes() == 1 { "; 7 Y is f16" } else { "" },
        ),
    ]);
    lines.join("\n")
}
