//! What a group of blocks works on, one item after the other: first its share of the tiles that are cut
//! along k, then every so many-th whole tile. All roles of a block walk the same list.

use super::geometry::Geometry;
use crate::ptx::params::Params;
use crate::ptx::raster::Place;
use quickpick_ptx::{B32, Cmp, Int, Kernel, ParamName, Pred, Reg, Special};

/// The list, and the item in hand. What follows from the sizes is computed anew for each item: it would
/// hold registers through the main loop.
#[derive(Clone, Copy)]
pub(super) struct Items {
    params: Params,
    split: ParamName,
    share: ParamName,
    /// The next tile of k of the share and its end; the next whole tile.
    unit: Reg<B32>,
    end: Reg<B32>,
    next: Reg<B32>,
    /// The item: its tile, that one's place, the first tile of k, and how many; whether it is a part.
    pub tile: Reg<B32>,
    pub place: Place,
    pub first: Reg<B32>,
    pub count: Reg<B32>,
    pub part: Reg<Pred>,
}

impl Items {
    /// Declares the registers, and begins the list.
    pub fn new(
        k: &mut Kernel,
        g: &Geometry,
        params: Params,
        [split, share]: [ParamName; 2],
    ) -> Self {
        let s = Self {
            params,
            split,
            share,
            unit: k.reg("unit"),
            end: k.reg("unit_end"),
            next: k.reg("next_tile"),
            tile: k.reg("tile"),
            place: Place::declare(k),
            first: k.reg("first_of_k"),
            count: k.reg("count_of_k"),
            part: k.reg("part_of_tile"),
        };
        k.section("the group's work: a share of the tiles that are cut along k, then whole tiles");
        let ([group, _], tiles_of_k) = (s.groups(k, g), s.tiles_of_k(k, g));
        let [split, share] = s.cut(k);
        k.mul_lo_u32(s.unit, group, share).add_u32(s.end, s.unit, share);
        k.mul_lo_u32(s.next, split, tiles_of_k).min(Int::U32, s.end, s.end, s.next);
        k.add_u32(s.next, split, group);
        s
    }

    /// The group's number, and how many there are.
    pub fn groups(&self, k: &mut Kernel, g: &Geometry) -> [Reg<B32>; 2] {
        let [group, groups] = ["group", "groups"].map(|role| k.scratch(role));
        k.mov_special(group, Special::CtaidX).mov_special(groups, Special::NctaidX);
        if g.cluster() > 1 {
            let bits = g.cluster().ilog2();
            k.shr(Int::U32, group, group, bits).shr(Int::U32, groups, groups, bits);
        }
        [group, groups]
    }

    /// The block's number in its cluster.
    pub fn rank(&self, k: &mut Kernel, g: &Geometry) -> Reg<B32> {
        let rank = k.scratch("rank");
        k.mov_special(rank, Special::CtaidX).and_b32(rank, rank, g.cluster() - 1);
        rank
    }

    /// Tiles of k of a whole tile.
    pub fn tiles_of_k(&self, k: &mut Kernel, g: &Geometry) -> Reg<B32> {
        let tiles = self.tiles(k, "tiles_of_k", self.params.k, g.tile.k * g.whole_blocks);
        if g.whole_blocks > 1 {
            k.shl_b32(tiles, tiles, g.whole_blocks.ilog2());
        }
        tiles
    }

    /// How many tiles are cut, and tiles of k of a share of them.
    pub fn cut(&self, k: &mut Kernel) -> [Reg<B32>; 2] {
        let [split, share] = ["split", "share"].map(|role| k.scratch(role));
        k.ld_param_u32(split, self.split).ld_param_u32(share, self.share);
        [split, share]
    }

    /// `⌈size / tile⌉`, by a power of two
    fn tiles(&self, k: &mut Kernel, role: &str, size: ParamName, tile: u32) -> Reg<B32> {
        let d = k.scratch(role);
        k.ld_param_u32(d, size).add_u32(d, d, tile - 1).shr(Int::U32, d, d, tile.ilog2());
        d
    }

    /// The next item; goes to `done` where there is none. `role` keeps the labels apart.
    pub fn take(&self, k: &mut Kernel, g: &Geometry, role: &str, done: &str) {
        let [whole, taken] = ["whole", "taken"].map(|what| format!("{role}_{what}"));
        let (left, none) = (k.scratch::<Pred>("share_left"), k.scratch::<Pred>("no_tile"));
        let of_tile = k.scratch("unit_of_tile");
        let across = self.tiles(k, "m_tiles", self.params.m, g.tile.m * g.cluster());
        let along = self.tiles(k, "n_tiles", self.params.n, g.tile.n);
        let tiles_of_k = self.tiles_of_k(k, g);
        k.setp(Cmp::Lt, Int::U32, left, self.unit, self.end);
        k.unless(left).bra_uni(whole.as_str());
        k.note("of the share, up to its end or the tile's");
        k.div_u32(self.tile, self.unit, tiles_of_k);
        k.mul_lo_u32(of_tile, self.tile, tiles_of_k).sub_u32(self.first, self.unit, of_tile);
        k.sub_u32(self.count, tiles_of_k, self.first).sub_u32(of_tile, self.end, self.unit);
        k.min(Int::U32, self.count, self.count, of_tile).add_u32(self.unit, self.unit, self.count);
        k.bra_uni(taken.as_str());
        let tiles = k.scratch("tiles");
        k.place(whole.as_str()).mul_lo_u32(tiles, across, along);
        k.setp(Cmp::Ge, Int::U32, none, self.next, tiles).when(none).bra_uni(done);
        let [_, groups] = self.groups(k, g);
        k.mov_b32(self.tile, self.next).add_u32(self.next, self.next, groups);
        k.mov_b32(self.first, 0).mov_b32(self.count, tiles_of_k);
        k.place(taken.as_str()).setp(Cmp::Ne, Int::U32, self.part, self.count, tiles_of_k);
        self.place.walk(k, self.tile, across, along);
        let Place { m, n } = self.place;
        if g.cluster() > 1 {
            let rank = self.rank(k, g);
            k.mad_lo_u32(m, m, g.cluster(), rank);
        }
        k.mul_lo_u32(m, m, g.tile.m).mul_lo_u32(n, n, g.tile.n);
    }
}
