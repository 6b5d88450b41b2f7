//! Which tile of Y a block computes.
//!
//! Blocks start in the order of their number, x first, and those that run together should share
//! what they read through L2. A strip of [`STRIP`] m-tiles is walked, all its n-tiles long, before the
//! next begins: of a wave of g m-tiles × h n-tiles the memory sees 144·g + 256·h bytes per column of
//! k (2:4, 128×128), least at g ≈ 1.3·√(g·h), which is 15 for 132 blocks and 22 for 264. Numbers of
//! blocks stay below 2³²: as many tiles of 64×64 would make a Y of 2⁴⁴ elements.

use quickpick_kernels::Tile;
use quickpick_ptx::{B32, Int, Kernel, Reg, Special};

/// m-tiles of a strip.
pub(super) const STRIP: u32 = 16;

/// The first feature and the first token of the block's tile.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub m: Reg<B32>,
    pub n: Reg<B32>,
}

impl Place {
    /// Of a block of a grid of tiles, x along m and y along n.
    pub fn new(k: &mut Kernel, tile: Tile) -> Self {
        let place = Self::declare(k);
        let (across, along) = (k.reg("m_tiles"), k.reg("n_tiles"));
        let block = k.reg("block");
        k.section(format!("this block's tile: strips of {STRIP} m-tiles, each walked along n"));
        k.mov_special(across, Special::NctaidX).mov_special(along, Special::NctaidY);
        k.mov_special(block, Special::CtaidX).mov_special(place.n, Special::CtaidY);
        k.mad_lo_u32(block, place.n, across, block);
        place.walk(k, block, across, along);
        k.mul_lo_u32(place.m, place.m, tile.m).mul_lo_u32(place.n, place.n, tile.n);
        place
    }

    pub fn declare(k: &mut Kernel) -> Self {
        Self { m: k.reg("m_first"), n: k.reg("n_first") }
    }

    /// The place of tile `number` of `across × along` (m, n), in tiles.
    pub fn walk(&self, k: &mut Kernel, number: Reg<B32>, across: Reg<B32>, along: Reg<B32>) {
        let [strip, width, within, size] =
            ["strip", "strip_width", "in_strip", "strip_size"].map(|role| k.scratch(role));
        k.mul_lo_u32(size, along, STRIP).div_u32(strip, number, size);
        k.note("the tile's number within its strip");
        k.mul_lo_u32(size, strip, size).sub_u32(within, number, size);
        k.mul_lo_u32(strip, strip, STRIP).sub_u32(width, across, strip);
        k.min(Int::U32, width, width, STRIP).div_u32(self.n, within, width);
        k.mul_lo_u32(width, self.n, width).sub_u32(within, within, width);
        k.add_u32(self.m, strip, within);
    }
}
