//! What a linear layer's plan takes on a GPU of NVIDIA's, in clocks of a multiprocessor: the account behind
//! `select` where nothing was measured.
//!
//! A block's tile of k takes the longest of what its multiplies, its reads of shared memory, its share of L2
//! and of the memory take; all blocks together no less than the memory needs for every byte once. The rates
//! are Hopper's; what differs between GPUs differs for all kernels, nearly.

use crate::clocks::{Clocks, L2_BYTES, SHARED_BYTES};
use crate::plan::{SKINNY_RESIDENT, resident};
use crate::{
    CudaCaps, DType, Form, KernelSpec, Linear, OpKind, Plan, Problem, Teams, Tile, Values, Weights,
    Wgmma,
};

/// Bytes that the memory gives each multiprocessor in a clock: H200's copies, 4226 GB/s both ways
/// (benches/record, 2026-11-29), for 132 at 1.98 GHz.
const MEMORY_BYTES: f64 = 16.0;
/// Multiply-adds of 16-bit values by `mma` in a clock: half of what `wgmma` does (arXiv 2402.13499).
const MMA: f64 = 1024.0;
/// From a copy's start to its bytes, where the memory is busy. One block of 64×64 tiles on a multiprocessor,
/// with three tiles of k on their way, took 530 clocks for each (same record: 4096×64×4096, 18.5 µs).
const LATENCY: f64 = 1400.0;
/// How much longer than on paper `wgmma` takes: 47 µs for the dense 4096×1024×4096, where this account gave 34;
/// 47 for 2:4 28672×64×4096, where it gave 33 (same record).
const WGMMA: f64 = 1.5;
/// The same beyond that with W in registers: 86 µs for 4096×1024×4096 (same record).
const FROM_REGISTERS: f64 = 3.2;
/// What leaving sums in the workspace and fetching them costs beside their bytes: a microsecond.
const FIXUP: f64 = 2000.0;
/// The share of the memory's speed that kernels of tiles are given, whose blocks wait at barriers. An
/// assumption; the skinny kernels were measured.
const OF_MEMORY: f64 = 0.8;

/// Clocks of a plan.
pub(crate) fn clocks(plan: &Plan, caps: &CudaCaps) -> f64 {
    let (OpKind::Linear(weights), Problem::Linear(p)) = (plan.spec.op, plan.problem) else {
        return 1.0;
    };
    let (sms, parts) = (caps.sms.max(1), plan.grid[2]);
    let share = plan.params.last().copied().unwrap_or(0);
    let (all, of_memory) = match plan.spec.form {
        Form::Tiled { .. } => {
            let blocks = plan.grid.iter().map(|&g| g as u64).product();
            (Tiled::new(plan.spec, weights, caps).clocks(blocks, share, parts), OF_MEMORY)
        }
        Form::Skinny { tile, .. } => (skinny(plan, &p, weights, tile, share, sms), 1.0),
        Form::Wgmma(w) => (wgmma(&w, plan, &p), OF_MEMORY),
        _ => return 1.0,
    };
    let operands = plan.bindings.iter().filter(|b| b.name != "workspace");
    let bytes = operands.map(|b| b.bytes as f64).sum::<f64>();
    all.max(LATENCY + bytes / (of_memory * MEMORY_BYTES * sms as f64))
}

/// Bytes of a tile's values and metadata.
fn weight_bytes(weights: Weights, dtype: DType, tile: Tile) -> f64 {
    let (all, bytes) = (tile.m as f64 * tile.k as f64, dtype.bytes() as f64);
    match weights {
        Weights::Sparse24 => all * bytes / 2.0 + all / 8.0,
        Weights::Dense => all * bytes,
    }
}

/// Clocks of a tile of k of a block that has a multiprocessor to itself.
#[derive(Clone, Copy, Debug)]
struct TileOfK {
    multiply: f64,
    read: f64,
    l2: f64,
}

impl TileOfK {
    fn new(weights: Weights, dtype: DType, tile: Tile, warps: (u32, u32)) -> Self {
        let kept = if weights == Weights::Sparse24 { 0.5 } else { 1.0 };
        let row = tile.k as f64 * dtype.bytes() as f64;
        let (m, n, along) = (tile.m as f64, tile.n as f64, (warps.0 as f64, warps.1 as f64));
        Self {
            multiply: m * n * kept * row / 2.0 / MMA,
            // warps along n read the same of A, those along m the same of B
            read: (along.1 * m * kept + along.0 * n) * row / SHARED_BYTES,
            l2: (weight_bytes(weights, dtype, tile) + n * row) / L2_BYTES,
        }
    }

    fn bound(&self) -> f64 {
        self.multiply.max(self.read).max(self.l2)
    }
}

/// A tiled kernel on a device.
pub(crate) struct Tiled {
    of_k: TileOfK,
    tile: Tile,
    stages: f64,
    resident: f64,
    sms: f64,
}

impl Tiled {
    pub fn new(spec: &KernelSpec, weights: Weights, caps: &CudaCaps) -> Self {
        let (tile, stages, warps) = match spec.form {
            Form::Tiled { tile, stages, warps } => (tile, stages as f64, warps),
            _ => (Tile { m: 1, n: 1, k: 1 }, 2.0, (1, 1)),
        };
        let of_k = TileOfK::new(weights, spec.dtype, tile, warps);
        let (resident, sms) = (resident(spec, caps) as f64, caps.sms.max(1) as f64);
        Self { of_k, tile, stages, resident, sms }
    }

    /// Of so many blocks, with so many tiles of k each, where a tile of Y has so many parts.
    pub fn clocks(&self, blocks: u64, share: u32, parts: u32) -> f64 {
        let Self { tile, stages, resident, sms, .. } = *self;
        let together = libm::ceil(blocks as f64 / sms).min(resident);
        let rounds = libm::ceil(blocks as f64 / (sms * together));
        let each = (together * self.of_k.bound()).max(LATENCY / (stages - 1.0));
        rounds * (share as f64 + stages) * each + sums(tile, parts as f64)
    }
}

/// Leaving the sums of a part, and adding those of all of a tile.
fn sums(tile: Tile, parts: f64) -> f64 {
    let bytes = 4.0 * tile.m as f64 * tile.n as f64;
    if parts > 1.0 { FIXUP + (1.0 + parts) * bytes / L2_BYTES } else { 0.0 }
}

fn skinny(plan: &Plan, p: &Linear, weights: Weights, tile: Tile, share: u32, sms: u32) -> f64 {
    let w = weight_bytes(weights, p.dtype, tile);
    let x = p.n as f64 * tile.k as f64 * p.dtype.bytes() as f64;
    let together = plan.grid[0].div_ceil(sms).min(SKINNY_RESIDENT) as f64;
    let unit = together * (w / MEMORY_BYTES).max((w + x) / L2_BYTES);
    let sums = if plan.workspace_bytes() > 0 { FIXUP } else { 0.0 };
    LATENCY + share as f64 * unit + sums
}

/// The tiles of k that fall to one group, and for each tile of Y its way out, unless another one is
/// multiplied meanwhile.
fn wgmma(w: &Wgmma, plan: &Plan, p: &Linear) -> f64 {
    let Some(clocks) = Clocks::of(plan.spec) else { return f64::INFINITY };
    let Tile { m, n, k } = w.tile;
    let groups = plan.grid[0] / w.cluster;
    let tiles = p.m.div_ceil(m * w.cluster) as u64 * p.n.div_ceil(n) as u64;
    let [.., split, share] = plan.params[..] else { return f64::INFINITY };
    let whole = (tiles - split as u64).div_ceil(groups as u64) as f64;
    let slow = if w.values == Values::Registers { FROM_REGISTERS } else { 1.0 };
    let (each, of_tile) = (WGMMA * slow * clocks.bound(), p.k.div_ceil(k) as f64);
    // about a clock for 32 values
    let store = (m * n) as f64 / 32.0;
    let out = if w.teams == Teams::PingPong { store } else { store * whole };
    let parts = match split {
        0 => 0.0,
        _ => share as f64 * each + sums(w.tile, of_tile / share as f64 + 1.0),
    };
    LATENCY + whole * of_tile * each + parts + out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_warp_tiles_wait_for_shared_memory() {
        let of_k = |weights, side| {
            let tile = Tile { m: side, n: side, k: 64 };
            let TileOfK { multiply, read, .. } = TileOfK::new(weights, DType::F16, tile, (2, 2));
            (multiply, read)
        };
        assert_eq!(of_k(Weights::Sparse24, 128), (512.0, 384.0));
        assert_eq!(of_k(Weights::Sparse24, 64), (128.0, 192.0));
        assert_eq!(of_k(Weights::Dense, 64), (256.0, 256.0));
    }
}
