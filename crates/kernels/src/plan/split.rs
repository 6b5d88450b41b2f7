//! How the tiled kernels of sm_80 share k, where there are too few tiles for all multiprocessors, and what
//! they need for it.

use super::Binding;
use crate::cost::Tiled;
use crate::{Caps, CudaCaps, KernelSpec, Linear, Tile};

/// The most parts of a tile: the last block reads the sums of all.
const MOST: u32 = 16;

/// The parts of every tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Blocks of a tile.
    pub count: u32,
    /// Tiles of k of each; the last may have fewer.
    pub share: u32,
}

impl Parts {
    /// As many as make the time least (`cost`).
    pub fn new(spec: &KernelSpec, p: &Linear, tile: Tile, caps: &Caps) -> Self {
        let of_tile = p.k.div_ceil(tile.k);
        let Caps::Cuda(c) = caps else { return Self { count: 1, share: of_tile } };
        let device = Tiled::new(spec, p.weights, c);
        let tiles = p.m.div_ceil(tile.m) as u64 * p.n.div_ceil(tile.n) as u64;
        let parts = |wanted: u32| {
            let share = of_tile.div_ceil(wanted);
            Self { count: of_tile.div_ceil(share), share }
        };
        let clocks = |p: &Self| device.clocks(tiles * p.count as u64, p.share, p.count);
        let all = (1..=of_tile.min(MOST)).map(parts);
        all.min_by(|a, b| clocks(a).total_cmp(&clocks(b))).unwrap_or_else(|| parts(1))
    }

    /// Sums `[tile, part, m·n of a tile]` of four bytes, then one u32 arrival counter per tile. Absent where a
    /// tile has one part.
    pub fn workspace(&self, p: &Linear, tile: Tile) -> Binding {
        let tiles = p.m.div_ceil(tile.m) as u64 * p.n.div_ceil(tile.n) as u64;
        let sums = self.count as u64 * tile.m as u64 * tile.n as u64;
        let bytes = if self.count > 1 { 4 * tiles * (sums + 1) } else { 0 };
        Binding::read_write("workspace", bytes)
    }
}

/// Blocks that run at once on a multiprocessor: two or three, if its shared memory holds as many (1 KiB of it
/// is the system's per block).
pub(crate) fn resident(spec: &KernelSpec, caps: &CudaCaps) -> u32 {
    let each = (caps.shared_bytes + 1024) / (spec.shared_bytes() + 1024);
    each.clamp(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Epilogue, Form, KERNELS, OpKind, Target, Weights};

    /// Of the row of 64×64 on an H100.
    fn parts((m, n, k): (u32, u32, u32)) -> Parts {
        let is = |s: &&KernelSpec| {
            let small = Tile { m: 64, n: 64, k: 64 };
            (s.op, s.dtype, s.target)
                == (OpKind::Linear(Weights::Sparse24), DType::F16, Target::Sm80)
                && matches!(s.form, Form::Tiled { tile, .. } if tile == small)
        };
        let spec = KERNELS.iter().find(is).expect("a row");
        let Form::Tiled { tile, .. } = spec.form else { unreachable!() };
        let caps = Caps::Cuda(CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 });
        let (weights, dtype) = (Weights::Sparse24, DType::F16);
        let p = Linear { m, n, k, weights, dtype, out: dtype, epilogue: Epilogue::NONE };
        Parts::new(spec, &p, tile, &caps)
    }

    #[test]
    fn few_tiles_share_k_and_many_do_not() {
        // 64 tiles for 396 places; 512; one tile alone
        assert_eq!(parts((4096, 64, 4096)), Parts { count: 4, share: 16 });
        assert_eq!(parts((64, 64, 65536)), Parts { count: 16, share: 64 });
        assert_eq!(parts((64, 64, 64)), Parts { count: 1, share: 1 });
        assert_eq!(parts((4096, 4096, 4096)).count, 1);
    }

    /// So that the suite's device of four multiprocessors meets parts, of every row.
    #[test]
    fn deep_problems_are_shared_on_few_multiprocessors() {
        for spec in KERNELS.iter().filter(|s| s.target == Target::Sm80) {
            let (OpKind::Linear(weights), Form::Tiled { tile, .. }) = (spec.op, spec.form) else {
                continue;
            };
            let (caps, dtype) = (Caps::Cuda(CudaCaps::least(spec, 4)), spec.dtype);
            let (m, n, k, out, epilogue) = (5, 3, 24 * tile.k, dtype, Epilogue::NONE);
            let p = Linear { m, n, k, weights, dtype, out, epilogue };
            assert!(Parts::new(spec, &p, tile, &caps).count > 1, "{spec}");
        }
    }

    #[test]
    fn no_part_is_empty() {
        for k in (64..4096).step_by(64) {
            let Parts { count, share } = parts((256, 64, k));
            let of_tile = k / 64;
            assert!(
                (count - 1) * share < of_tile && of_tile <= count * share,
                "{k}: {count} of {share}"
            );
        }
    }
}
