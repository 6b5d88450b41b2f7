//! 2:4 weights in register order (`FragmentSm80`): of each 16 rows a k-block is two loads of 16 bytes and
//! one of metadata for each lane, and nothing is rearranged.

use super::items::Items;
use super::sparse::Turn;
use super::{Call, Shape};
use quickpick_ptx::{B32, B64, Cache, Cmp, Int, Kernel, Pred, Reg, Vector};

/// Bytes of the kept values of 16 rows of a k-block, two k-steps.
const VALUE_BYTES: u32 = 1024;

/// Weights of several k-blocks in registers, and where they come from.
pub(super) struct Packed {
    /// Of each stage, of each fragment of 16 rows.
    pub stages: Vec<Vec<Weights>>,
    /// Of each fragment.
    values: Vec<Reg<B64>>,
    meta: Vec<Reg<B64>>,
    /// Bytes of the metadata of 16 rows of a k-block: a word of each lane, or two.
    meta_bytes: u32,
    load: Reg<Pred>,
}

/// 16 rows of a k-block in registers.
pub(super) struct Weights {
    /// The A fragment of each k-step.
    pub a: [Vector<B32, 4>; 2],
    /// One word that serves both, by the selector; or one for each.
    pub meta: Vec<Reg<B32>>,
}

impl Packed {
    pub fn new(k: &mut Kernel, shape: &Shape) -> Self {
        let fragments = shape.fragments() as usize;
        let words = 2 / shape.element.selectors() as usize;
        let all = shape.stages as usize * fragments;
        let a = k.reg_list::<B32>("a", 8 * all);
        let metas = k.reg_list::<B32>("meta", words * all);
        let four = |from: usize| Vector(std::array::from_fn(|i| a[from + i]));
        let weights = |i: usize| Weights {
            a: [four(8 * i), four(8 * i + 4)],
            meta: metas[words * i..][..words].to_vec(),
        };
        let stage = |s: usize| (0..fragments).map(|f| weights(s * fragments + f)).collect();
        Self {
            stages: (0..shape.stages as usize).map(stage).collect(),
            values: k.reg_list("values_at", fragments),
            meta: k.reg_list("meta_at", fragments),
            meta_bytes: 128 * words as u32,
            load: k.reg("load_packed"),
        }
    }

    /// Computes where the item's first k-block of this warp lies.
    pub fn aim(
        &self,
        k: &mut Kernel,
        shape: &Shape,
        call: &Call,
        items: &Items,
        metadata: Reg<B64>,
    ) {
        let [row, last, bytes] = ["row_block", "last_row_block", "packed_bytes"].map(|r| k.reg(r));
        if shape.fragments() > 1 {
            k.note("rows come in blocks of 16; past the last one, the last");
            k.sub_u32(last, call.m, 1).shr(Int::U32, last, last, 4);
        }
        let (k_blocks, lane) = (items.k_blocks(k, shape, call), call.lane(k));
        for (i, (&values, &meta)) in (0..).zip(self.values.iter().zip(&self.meta)) {
            match shape.fragments() {
                1 => k.mov_b32(row, items.tile),
                many => {
                    k.mov_b32(row, i).mad_lo_u32(row, items.tile, many, row);
                    k.min(Int::U32, row, row, last)
                }
            };
            for (at, base, block, each) in [
                (values, call.values, VALUE_BYTES, 16),
                (meta, metadata, self.meta_bytes, self.meta_bytes / 32),
            ] {
                k.mul_lo_u32(bytes, k_blocks, block);
                k.mad_wide(Int::U32, at, row, bytes, base);
                k.mad_wide(Int::U32, at, call.first, block, at);
                k.mad_wide(Int::U32, at, lane, each, at);
            }
        }
    }

    /// Loads a k-block to a stage, if there is such a k-block.
    pub fn load(&self, k: &mut Kernel, shape: &Shape, call: &Call, turn: Turn, stage: u32) {
        let blocks = turn.at * shape.warps;
        k.setp(Cmp::Gt, Int::U32, self.load, call.left, turn.ahead);
        let fragments = self.stages[stage as usize].iter().zip(self.values.iter().zip(&self.meta));
        for (Weights { a, meta }, (values, metas)) in fragments {
            for (step, &a) in (0..).zip(a) {
                let from = values.at((blocks * VALUE_BYTES + step * VALUE_BYTES / 2) as i32);
                k.when(self.load).ld_global_v4_b32(Cache::NcOnce, a, from);
            }
            let from = metas.at((blocks * self.meta_bytes) as i32);
            match meta[..] {
                [one, two] => k.when(self.load).ld_global_v2_b32(Cache::NcOnce, [one, two], from),
                _ => k.when(self.load).ld_global_b32(Cache::NcOnce, meta[0], from),
            };
        }
    }

    /// Moves the pointers on by so many turns.
    pub fn advance(&self, k: &mut Kernel, shape: &Shape, turns: u32) {
        let blocks = turns * shape.warps;
        for (&values, &meta) in self.values.iter().zip(&self.meta) {
            k.add_u64(values, values, (blocks * VALUE_BYTES) as i32);
            k.add_u64(meta, meta, (blocks * self.meta_bytes) as i32);
        }
    }
}
