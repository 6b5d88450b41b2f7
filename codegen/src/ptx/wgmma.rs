//! Linear layers for sm_90a: `wgmma.sp` and its dense twin, from the same code.
//!
//! One block computes a tile of Y. A producer thread brings boxes of W and X to the stages by tensor
//! copies; each consumer warpgroup multiplies 64 rows of the tile, one tile of k after the other, and
//! frees a stage when the next one's multiplies are on their way (`producer`, `consumer`). `store` takes
//! the accumulators through the epilogue to Y.

mod consumer;
mod geometry;
mod producer;

use super::params::Params;
use super::pieces::{linear_header, shared_base};
use super::{raster, store};
use geometry::Geometry;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{B32, B64, Cmp, Int, Kernel, Module, ParamKind, Pred, Reg, RegDir, Special};

/// Registers that a thread keeps of the 168 with which it starts: (3 · 168 · 128 in all) of two
/// consumer warpgroups and a producer.
const PRODUCER_REGISTERS: u32 = 40;
const CONSUMER_REGISTERS: u32 = 232;

/// What producer and consumers share.
struct Block {
    g: Geometry,
    /// The first byte of the stages; the mbarriers lie behind them.
    smem: Reg<B32>,
    thread: Reg<B32>,
    /// Tiles of k.
    tiles: Reg<B32>,
    place: raster::Place,
}

/// The text of a `wgmma` linear layer; `None` for other rows.
pub(super) fn emit(spec: &KernelSpec) -> Option<String> {
    let g = Geometry::new(spec)?;
    let mut k = Kernel::new(spec.to_string());
    let params = Params::declare(&mut k, g.sparse);
    let maps =
        ["map_values", "map_x"].map(|name| k.param(name, ParamKind::Bytes { align: 64, len: 128 }));
    let symbol = k.dynamic_shared("smem", 1024);
    k.limits.threads = Some(g.threads().into());
    k.limits.min_blocks = Some(1);
    let smem = shared_base(&mut k, symbol);
    let place = raster::Place::new(&mut k, g.tile);
    let block = Block { g, smem, thread: k.reg("thread"), tiles: k.reg("k_tiles"), place };
    block.begin(&mut k, &params);
    let producer = k.reg::<Pred>("producer");
    k.setp(Cmp::Ge, Int::U32, producer, block.thread, g.consumers() * 128);
    k.when(producer).bra("producer");
    k.section(format!("consumers: {} warpgroups, 64 rows of the tile each", g.consumers()));
    k.setmaxnreg(RegDir::Inc, CONSUMER_REGISTERS);
    let acc = consumer::emit(&mut k, &block, &params);
    store::emit(&mut k, &g.layout(), &params, place, &acc, smem);
    k.section("producer: one thread starts all copies");
    k.place("producer").setmaxnreg(RegDir::Dec, PRODUCER_REGISTERS);
    producer::emit(&mut k, &block, maps);
    Some(Module::new(&header(spec, &g), k).to_string())
}

impl Block {
    /// The mbarriers, and how many tiles of k there are.
    fn begin(&self, k: &mut Kernel, params: &Params) {
        let g = &self.g;
        let first = k.reg::<Pred>("first_thread");
        k.section("mbarriers: a stage is full after its bytes have come, free after all warps have read it");
        k.mov_special(self.thread, Special::TidX);
        k.setp(Cmp::Eq, Int::U32, first, self.thread, 0);
        for stage in 0..g.stages {
            k.when(first).mbarrier_init(self.smem.at(g.full(stage)), 1);
            k.when(first).mbarrier_init(self.smem.at(g.free(stage)), g.consumers() * 4);
        }
        k.fence_mbarrier_init().bar_sync(0);
        k.ld_param_u32(self.tiles, params.k).add_u32(self.tiles, self.tiles, g.tile.k - 1);
        k.shr(Int::U32, self.tiles, self.tiles, g.tile.k.ilog2());
    }
}

/// The generic address of a tensor map.
fn map_address(k: &mut Kernel, role: &str, map: quickpick_ptx::ParamName) -> Reg<B64> {
    let at = k.reg(role);
    k.mov_param(at, map).cvta_param(at, at).prefetch_tensormap(at);
    at
}

fn header(spec: &KernelSpec, g: &Geometry) -> String {
    let tile = g.tile;
    let kept = if g.sparse { ", kept values" } else { "" };
    let mut lines = linear_header(spec);
    lines.extend([
        format!(
            "tile    {} (m) × {} (n) × {} (k), {} stages; {} consumer warpgroups of 64×{}, a producer",
            tile.m, tile.n, tile.k, g.stages, g.consumers(), tile.n,
        ),
        format!(
            "launch  grid ⌈m/{}⌉ × ⌈n/{}⌉, {} threads, {} bytes of dynamic shared memory",
            tile.m, tile.n, g.threads(), spec.shared_bytes(),
        ),
        "        then two tensor maps by value: map_values and map_x, as the plan says".to_string(),
        format!("        strips of {} m-tiles, each walked along n", raster::STRIP),
        format!("stage   {} bytes:", g.stage_bytes()),
        format!("  {:>6}  A  {} rows of {} bytes, swizzled so: W{kept}", 0, tile.m, g.a_row),
        format!(
            "  {:>6}  B  {} boxes of {} rows of 128 bytes: X",
            g.b_offset(), g.b_boxes(), tile.n,
        ),
        format!("{:>8}  the mbarriers: full and free of each stage", g.full(0)),
        "flags   1:0 none, relu, gelu, silu; 2 bias; 3 residual; 4 Y is f32".to_string(),
    ]);
    lines.join("\n")
}
