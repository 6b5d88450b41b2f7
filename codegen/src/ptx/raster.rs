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
    pub fn new(k: &mut Kernel, tile: Tile) -> Self {
        let place = Self { m: k.reg("m_first"), n: k.reg("n_first") };
        let (across, along) = (k.reg("m_tiles"), k.reg("n_tiles"));
        let (block, strip, width) = (k.reg("block"), k.reg("strip"), k.reg("strip_width"));
        k.section(format!("this block's tile: strips of {STRIP} m-tiles, each walked along n"));
        k.mov_special(across, Special::NctaidX).mov_special(along, Special::NctaidY);
        k.mov_special(block, Special::CtaidX).mov_special(place.n, Special::CtaidY);
        k.mad_lo_u32(block, place.n, across, block);
        k.mul_lo_u32(along, along, STRIP).div_u32(strip, block, along);
        k.note("from here on the block's number within its strip");
        k.mul_lo_u32(along, strip, along).sub_u32(block, block, along);
        k.mul_lo_u32(strip, strip, STRIP).sub_u32(width, across, strip);
        k.min(Int::U32, width, width, STRIP).div_u32(place.n, block, width);
        k.mul_lo_u32(width, place.n, width).sub_u32(block, block, width);
        k.add_u32(place.m, strip, block).mul_lo_u32(place.m, place.m, tile.m);
        k.mul_lo_u32(place.n, place.n, tile.n);
        place
    }
}
