//! What a group of blocks works on, one item after the other: first its share of the tiles that are cut
//! along k, then every so many-th whole tile. All roles of a block walk the same list.

use super::geometry::Geometry;
use crate::ptx::params::Params;
use crate::ptx::raster::Place;
use quickpick_ptx::{B32, Cmp, Int, Kernel, ParamName, Pred, Reg, Special};

/// The list, and the item in hand.
#[derive(Clone, Copy)]
pub(super) struct Items {
    /// The block's number in its cluster; the group's number, and how many there are.
    pub rank: Reg<B32>,
    pub group: Reg<B32>,
    pub groups: Reg<B32>,
    /// Tiles that are cut, and tiles of k of a share.
    pub split: Reg<B32>,
    pub share: Reg<B32>,
    /// Tiles of k of a whole tile.
    pub tiles_of_k: Reg<B32>,
    /// Tiles along m and n, and all of them.
    across: Reg<B32>,
    along: Reg<B32>,
    tiles: Reg<B32>,
    /// The next tile of k of the share and its end; the next whole tile.
    unit: Reg<B32>,
    end: Reg<B32>,
    next: Reg<B32>,
    /// The item: its tile, that one's place, the first tile of k, and how many.
    pub tile: Reg<B32>,
    pub place: Place,
    pub first: Reg<B32>,
    pub count: Reg<B32>,
}

impl Items {
    /// Declares the registers, and begins the list.
    pub fn new(k: &mut Kernel, g: &Geometry, params: &Params, [split, share]: [ParamName; 2]) -> Self {
        let mut reg = |role: &str| k.reg::<B32>(role);
        let [rank, group, groups] = ["rank", "group", "groups"].map(&mut reg);
        let [across, along, tiles] = ["m_tiles", "n_tiles", "tiles"].map(&mut reg);
        let [unit, end, next] = ["unit", "unit_end", "next_tile"].map(&mut reg);
        let [tile, first, count] = ["tile", "first_of_k", "count_of_k"].map(&mut reg);
        let (tiles_of_k, bits) = (reg("tiles_of_k"), g.cluster().ilog2());
        let s = Self {
            rank,
            group,
            groups,
            split: reg("split"),
            share: reg("share"),
            tiles_of_k,
            across,
            along,
            tiles,
            unit,
            end,
            next,
            tile,
            place: Place::declare(k),
            first,
            count,
        };
        k.section("the group's work: a share of the tiles that are cut along k, then whole tiles");
        k.mov_special(group, Special::CtaidX).mov_special(groups, Special::NctaidX);
        match bits {
            0 => k.mov_b32(rank, 0),
            _ => {
                k.and_b32(rank, group, g.cluster() - 1);
                k.shr(Int::U32, group, group, bits).shr(Int::U32, groups, groups, bits)
            }
        };
        k.ld_param_u32(across, params.m).ld_param_u32(along, params.n);
        k.ld_param_u32(tiles_of_k, params.k);
        ceil_div(k, across, g.tile.m * g.cluster());
        ceil_div(k, along, g.tile.n);
        ceil_div(k, tiles_of_k, g.tile.k * g.whole_blocks);
        if g.whole_blocks > 1 {
            k.shl_b32(tiles_of_k, tiles_of_k, g.whole_blocks.ilog2());
        }
        k.mul_lo_u32(tiles, across, along);
        k.ld_param_u32(s.split, split).ld_param_u32(s.share, share);
        k.mul_lo_u32(unit, group, s.share).add_u32(end, unit, s.share);
        k.mul_lo_u32(next, s.split, tiles_of_k).min(Int::U32, end, end, next);
        k.add_u32(next, s.split, group);
        s
    }

    /// The next item; goes to `done` where there is none. `role` keeps the labels apart.
    pub fn take(&self, k: &mut Kernel, g: &Geometry, role: &str, done: &str) {
        let [whole, taken] = ["whole", "taken"].map(|what| format!("{role}_{what}"));
        let (left, none) = (k.scratch::<Pred>("share_left"), k.scratch::<Pred>("no_tile"));
        let of_tile = k.scratch("unit_of_tile");
        k.setp(Cmp::Lt, Int::U32, left, self.unit, self.end);
        k.unless(left).bra_uni(whole.as_str());
        k.note("of the share, up to its end or the tile's");
        k.div_u32(self.tile, self.unit, self.tiles_of_k);
        k.mul_lo_u32(of_tile, self.tile, self.tiles_of_k).sub_u32(self.first, self.unit, of_tile);
        k.sub_u32(self.count, self.tiles_of_k, self.first).sub_u32(of_tile, self.end, self.unit);
        k.min(Int::U32, self.count, self.count, of_tile).add_u32(self.unit, self.unit, self.count);
        k.bra_uni(taken.as_str());
        k.place(whole.as_str()).setp(Cmp::Ge, Int::U32, none, self.next, self.tiles);
        k.when(none).bra_uni(done);
        k.mov_b32(self.tile, self.next).add_u32(self.next, self.next, self.groups);
        k.mov_b32(self.first, 0).mov_b32(self.count, self.tiles_of_k);
        k.place(taken.as_str());
        self.place.walk(k, self.tile, self.across, self.along);
        let Place { m, n } = self.place;
        if g.cluster() > 1 {
            k.mad_lo_u32(m, m, g.cluster(), self.rank);
        }
        k.mul_lo_u32(m, m, g.tile.m).mul_lo_u32(n, n, g.tile.n);
    }
}

/// `d = ⌈d / by⌉`, by a power of two
fn ceil_div(k: &mut Kernel, d: Reg<B32>, by: u32) {
    k.add_u32(d, d, by - 1).shr(Int::U32, d, d, by.ilog2());
}
