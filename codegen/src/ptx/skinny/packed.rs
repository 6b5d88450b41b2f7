//! 2:4 weights in register order (`FragmentSm80`): a k-block is two loads of 16 bytes and a word of
//! metadata for each lane, and nothing is rearranged.

use super::sparse::Turn;
use super::{Call, Shape};
use quickpick_ptx::{B32, B64, Cache, Cmp, Int, Kernel, Pred, Reg, Vector};

/// Bytes of a k-block's kept values and metadata, 16 rows × 64 columns.
const VALUE_BYTES: u32 = 1024;
const META_BYTES: u32 = 128;

/// Weights of several k-blocks in registers, and where they come from.
pub(super) struct Packed {
    pub stages: Vec<Weights>,
    values: Reg<B64>,
    meta: Reg<B64>,
    load: Reg<Pred>,
}

/// A k-block's weights in registers.
pub(super) struct Weights {
    /// The A fragment of each k-step.
    pub a: [Vector<B32, 4>; 2],
    /// Serves both, by the selector.
    pub meta: Reg<B32>,
}

impl Packed {
    pub fn new(k: &mut Kernel, call: &Call, metadata: Reg<B64>, stages: u32) -> Self {
        let [values, meta] = ["values_at", "meta_at"].map(|role| k.reg(role));
        let bytes = k.reg("packed_bytes");
        for (at, base, block, lane) in
            [(values, call.values, VALUE_BYTES, 16), (meta, metadata, META_BYTES, 4)]
        {
            k.mul_lo_u32(bytes, call.k_blocks, block);
            k.mad_wide(Int::U32, at, call.tile, bytes, base);
            k.mad_wide(Int::U32, at, call.first, block, at);
            k.mad_wide(Int::U32, at, call.lane, lane, at);
        }
        let words = k.reg_list::<B32>("a", 8 * stages as usize);
        let metas = k.reg_list::<B32>("meta", stages as usize);
        let four = |from: usize| Vector(std::array::from_fn(|i| words[from + i]));
        let stage =
            |(s, &meta): (usize, &Reg<B32>)| Weights { a: [four(8 * s), four(8 * s + 4)], meta };
        let stages = metas.iter().enumerate().map(stage).collect();
        Self { stages, values, meta, load: k.reg("load_packed") }
    }

    /// Loads a k-block to a stage, if there is such a k-block.
    pub fn load(&self, k: &mut Kernel, shape: &Shape, call: &Call, turn: Turn, stage: u32) {
        let Weights { a, meta } = &self.stages[stage as usize];
        let blocks = turn.at * shape.warps;
        let from = self.values.at((blocks * VALUE_BYTES) as i32);
        let second = self.values.at((blocks * VALUE_BYTES + VALUE_BYTES / 2) as i32);
        let meta_from = self.meta.at((blocks * META_BYTES) as i32);
        k.setp(Cmp::Gt, Int::U32, self.load, call.left, turn.ahead);
        k.when(self.load).ld_global_v4_b32(Cache::NcOnce, a[0], from);
        k.when(self.load).ld_global_v4_b32(Cache::NcOnce, a[1], second);
        k.when(self.load).ld_global_b32(Cache::NcOnce, *meta, meta_from);
    }

    /// Moves the pointers on by so many turns.
    pub fn advance(&self, k: &mut Kernel, shape: &Shape, turns: u32) {
        let blocks = turns * shape.warps;
        k.add_u64(self.values, self.values, (blocks * VALUE_BYTES) as i32);
        k.add_u64(self.meta, self.meta, (blocks * META_BYTES) as i32);
    }
}
