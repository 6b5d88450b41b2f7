//! What a block works on, one item after the other. All tiles of Y in their order, and in each all k-blocks,
//! make one line of units, of which a block takes an equal share (stream-K, arXiv 2301.03598): an item is
//! what of a share lies in one tile. So blocks end at the same time, however many tiles there are.

use super::{Call, Shape};
use quickpick_ptx::{B32, Cmp, Int, Kernel, Pred, Reg, Special};

/// The line, and the item in hand. What follows from the sizes is computed anew for each item: it would hold
/// registers through the main loop.
pub(super) struct Items {
    /// The block's next unit, and its end.
    unit: Reg<B32>,
    end: Reg<B32>,
    /// The item's tile, and whether it is not all of that.
    pub tile: Reg<B32>,
    pub part: Reg<Pred>,
    left: Reg<Pred>,
}

impl Items {
    pub fn new(k: &mut Kernel, shape: &Shape, call: &Call) -> Self {
        let s = Self {
            unit: k.reg("unit"),
            end: k.reg("unit_end"),
            tile: k.reg("tile"),
            part: k.reg("part_of_tile"),
            left: k.reg("units_left"),
        };
        k.section(format!(
            "the block's share of all units: k-blocks of {} columns, tile by tile",
            shape.tile.k
        ));
        let (block, share) = (s.block(k), call.share);
        let (k_blocks, tiles) = (s.k_blocks(k, shape, call), s.tiles(k, shape, call));
        k.mul_lo_u32(s.unit, block, share).mul_lo_u32(s.end, k_blocks, tiles);
        k.note("the last block's share may end early");
        k.sub_u32(s.end, s.end, s.unit).min(Int::U32, s.end, s.end, share);
        k.add_u32(s.end, s.end, s.unit);
        s
    }

    /// The block's number.
    pub fn block(&self, k: &mut Kernel) -> Reg<B32> {
        let block = k.scratch("block");
        k.mov_special(block, Special::CtaidX);
        block
    }

    /// K-blocks of a tile.
    pub fn k_blocks(&self, k: &mut Kernel, shape: &Shape, call: &Call) -> Reg<B32> {
        cut(k, "k_blocks", call.k, shape.tile.k)
    }

    /// Tiles of all.
    pub fn tiles(&self, k: &mut Kernel, shape: &Shape, call: &Call) -> Reg<B32> {
        cut(k, "tiles", call.m, shape.tile.m)
    }

    /// The next item, and this warp's k-blocks of it: its first, and how many; goes to `done` where there is
    /// no item.
    pub fn take(&self, k: &mut Kernel, shape: &Shape, call: &Call, done: &str) {
        k.setp(Cmp::Lt, Int::U32, self.left, self.unit, self.end);
        k.unless(self.left).bra_uni(done);
        let k_blocks = self.k_blocks(k, shape, call);
        let [of_tile, count] = ["unit_of_tile", "units"].map(|role| k.scratch(role));
        k.div_u32(self.tile, self.unit, k_blocks).mul_lo_u32(of_tile, self.tile, k_blocks);
        k.sub_u32(of_tile, self.unit, of_tile);
        k.note("up to the share's end, or the tile's");
        k.sub_u32(count, k_blocks, of_tile).sub_u32(call.left, self.end, self.unit);
        k.min(Int::U32, count, count, call.left).add_u32(self.unit, self.unit, count);
        k.setp(Cmp::Ne, Int::U32, self.part, count, k_blocks);
        k.note("warps take k-blocks by turns: this one's are (count - warp) / warps, rounded up");
        let warp = call.warp(k);
        k.add_u32(call.first, of_tile, warp);
        k.add_u32(call.left, count, shape.warps - 1).sub_u32(call.left, call.left, warp);
        k.shr(Int::U32, call.left, call.left, shape.warps.ilog2());
    }

    /// The first and the last block that has units of the item's tile.
    pub fn holders(&self, k: &mut Kernel, shape: &Shape, call: &Call) -> [Reg<B32>; 2] {
        let [first, last] = ["first_block", "last_block"].map(|role| k.reg(role));
        let k_blocks = self.k_blocks(k, shape, call);
        k.mul_lo_u32(first, self.tile, k_blocks).add_u32(last, first, k_blocks);
        k.sub_u32(last, last, 1).div_u32(last, last, call.share).div_u32(first, first, call.share);
        [first, last]
    }
}

/// `⌈size / of⌉`, of a power of two
fn cut(k: &mut Kernel, role: &str, size: Reg<B32>, of: u32) -> Reg<B32> {
    let d = k.scratch(role);
    k.add_u32(d, size, of - 1).shr(Int::U32, d, d, of.ilog2());
    d
}
