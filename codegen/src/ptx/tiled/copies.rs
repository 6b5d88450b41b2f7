//! Global to shared memory: this thread's 16-byte pieces of A, B and metadata, a tile of k at a time.
//!
//! The tiles end where k ends. If k is an odd multiple of half a tile, the first one begins half a tile
//! before the matrix: what lies there is stored as zeros, once, and no later copy asks where k ends. A part
//! of a tile begins so many tiles of k further on. Rows
//! past m or n repeat the last row, and their products are never stored: no copy asks for those ends.

use super::geometry::{Geometry, ROW};
use crate::ptx::params::Params;
use crate::ptx::pieces::swizzled;
use crate::ptx::raster::Place;
use quickpick_ptx::{Addr, B32, B64, Cmp, Int, Kernel, ParamName, Pred, Prefetch, Reg, Special};

/// Bytes of one `cp.async`.
const PIECE: u32 = 16;

/// 16 bytes of every tile.
#[derive(Clone, Copy)]
struct Piece {
    from: Reg<B64>,
    to: Addr<B32>,
    /// Bytes in memory from a tile to the next.
    tile: u32,
    /// Holds if the piece of the first tile lies before the matrix.
    before: Reg<Pred>,
}

/// 16 bytes of every tile's metadata, for the threads that `part` names.
struct Metadata {
    from: Reg<B64>,
    /// The source in the first tile.
    first: Reg<B64>,
    to: Reg<B32>,
    /// Bytes in memory from a tile to the next.
    tile: Reg<B64>,
    /// Unless all take part: whether this thread does, and whether it copies in a tile that may not exist.
    part: Option<[Reg<Pred>; 2]>,
}

pub(super) struct Copies {
    pieces: Vec<Piece>,
    meta: Option<Metadata>,
    /// Tiles not yet multiplied when a trip of the main loop begins.
    pub left: Reg<B32>,
    load: Reg<Pred>,
    stage_bytes: u32,
}

/// Where a thread stands, while sources and destinations are computed.
struct Setup {
    smem: Reg<B32>,
    thread: Reg<B32>,
    /// The thread's piece of a row, and its first row.
    piece: Reg<B32>,
    row: Reg<B32>,
    at: Reg<B32>,
    wide: Reg<B64>,
    /// k, and the columns by which the first tile begins before the matrix: half a tile, or 0.
    k: Reg<B32>,
    odd: Reg<B32>,
    /// Tiles of k before the part.
    skip: Reg<B32>,
}

/// A matrix whose rows lie along k.
struct Matrix {
    name: &'static str,
    param: ParamName,
    /// The tile's first row, and the matrix's last.
    first: Reg<B32>,
    last: Reg<B32>,
    /// Rows of the tile.
    rows: u32,
    /// Where the tile lies in a stage, and the bytes of its rows there.
    offset: u32,
    row_bytes: u32,
}

impl Copies {
    /// Computes the thread's sources and destinations.
    pub fn new(
        k: &mut Kernel,
        g: &Geometry,
        p: &Params,
        share: ParamName,
        at: Place,
        smem: Reg<B32>,
    ) -> Self {
        k.section("what this thread copies: 16-byte pieces");
        let left = k.reg("tiles_left");
        let (m_last, n_last) = (k.reg("m_last"), k.reg("n_last"));
        let s = Setup {
            smem,
            thread: k.reg("thread"),
            piece: k.reg("piece"),
            row: k.reg("row"),
            at: k.reg("at"),
            wide: k.reg("wide"),
            k: k.reg("k"),
            odd: k.reg("odd"),
            skip: k.reg("tiles_before"),
        };
        k.mov_special(s.thread, Special::TidX);
        k.ld_param_u32(m_last, p.m).sub_u32(m_last, m_last, 1);
        k.ld_param_u32(n_last, p.n).sub_u32(n_last, n_last, 1);
        k.ld_param_u32(s.k, p.k);
        let half = g.k() / 2;
        k.note("this part's tiles of k: those before it belong to others");
        k.ld_param_u32(s.at, share).mov_special(s.skip, Special::CtaidZ);
        k.mul_lo_u32(s.skip, s.skip, s.at);
        k.add_u32(left, s.k, g.k() - 1).shr(Int::U32, left, left, g.k().ilog2());
        k.sub_u32(left, left, s.skip).min(Int::U32, left, left, s.at);
        k.note(format!("{half} if the first tile begins {half} columns before the matrix, else 0"));
        k.and_b32(s.odd, s.k, half);

        let kept = if g.sparse { "kept values of W" } else { "W" };
        k.note(format!("A: {kept}, {} bytes of a row", g.a_row));
        let mut pieces = s.rows(
            k,
            g,
            Matrix {
                name: "a",
                param: p.values,
                first: at.m,
                last: m_last,
                rows: g.tile.m,
                offset: 0,
                row_bytes: g.a_row,
            },
        );
        k.note(format!("B: X, {} bytes of a row", g.b_row));
        pieces.extend(s.rows(
            k,
            g,
            Matrix {
                name: "b",
                param: p.x,
                first: at.n,
                last: n_last,
                rows: g.tile.n,
                offset: g.b_offset(),
                row_bytes: g.b_row,
            },
        ));
        let meta = p.metadata.map(|metadata| s.metadata(k, g, metadata, at.m, m_last));
        let load = k.reg("load");
        Self { pieces, meta, left, load, stage_bytes: g.stage_bytes() }
    }

    /// Copies of a tile.
    pub fn count(&self) -> usize {
        self.pieces.len() + self.meta.is_some() as usize
    }

    /// Copies the first `stages − 1` tiles, a group for each.
    pub fn first_tiles(&self, k: &mut Kernel, stages: u32) {
        k.section("the first tile, with zeros for what lies before the matrix");
        let zero = k.regs::<B32, 4>("zero");
        for i in 0..4 {
            k.mov_b32(zero[i], 0);
        }
        for p in &self.pieces {
            k.unless(p.before).cp_async_cg(Prefetch::L2b128, p.to, p.from);
            k.when(p.before).st_shared_v4_b32(p.to, zero);
        }
        if let Some(m) = &self.meta {
            match m.part {
                Some([takes_part, _]) => k.when(takes_part),
                None => &mut *k,
            }
            .cp_async_cg(Prefetch::L2b128, m.to, m.first);
            k.add_u64(m.from, m.from, m.tile);
        }
        k.cp_async_commit();
        for tile in 1..stages - 1 {
            k.section(format!("tile {tile}, if there is one"));
            self.decide(k, tile);
            self.burst(k, tile, tile, (0, 1));
            k.cp_async_commit();
        }
    }

    /// Decides whether the tile that is `ahead` of the trip's first exists.
    pub fn decide(&self, k: &mut Kernel, ahead: u32) {
        k.setp(Cmp::Gt, Int::S32, self.load, self.left, ahead);
        if let Some([takes_part, load]) = self.meta.as_ref().and_then(|m| m.part) {
            k.and_pred(load, self.load, takes_part);
        }
    }

    /// Part `i` of `of` of a tile's copies. ptxas pads each run of LDGSTS that follows another
    /// access to shared memory with three idle instructions, so copies come in few bursts.
    pub fn burst(&self, k: &mut Kernel, ahead: u32, stage: u32, (i, of): (usize, usize)) {
        let stage_at = (stage * self.stage_bytes) as i32;
        let size = self.pieces.len().div_ceil(of);
        for p in self.pieces.iter().skip(i * size).take(size) {
            let to = Addr { offset: p.to.offset + stage_at, ..p.to };
            let from = p.from.at((ahead * p.tile) as i32);
            k.when(self.load).cp_async_cg(Prefetch::L2b128, to, from);
        }
        if let (Some(m), true) = (&self.meta, i + 1 == of) {
            let load = m.part.map_or(self.load, |[_, load]| load);
            k.when(load).cp_async_cg(Prefetch::L2b128, m.to.at(stage_at), m.from);
            k.add_u64(m.from, m.from, m.tile);
        }
    }

    /// Moves the sources `tiles` on.
    pub fn advance(&self, k: &mut Kernel, tiles: u32) {
        for p in &self.pieces {
            k.add_u64(p.from, p.from, (tiles * p.tile) as i32);
        }
        k.sub_u32(self.left, self.left, tiles);
    }
}

impl Setup {
    /// The pieces of a matrix whose rows lie along k: the thread's piece of every `between`th row. Rows in
    /// memory are half as long where only the kept half is stored.
    fn rows(&self, k: &mut Kernel, g: &Geometry, of: Matrix) -> Vec<Piece> {
        let Matrix { name, param, first, last, rows, offset, row_bytes } = of;
        let in_row = row_bytes / PIECE;
        let between = g.threads() / in_row;
        let count = rows / between;
        let from = k.reg_list::<B64>(&format!("{name}_from"), count as usize);
        let to = k.reg(&format!("{name}_to"));
        let before = k.reg(&format!("{name}_before"));
        let base = k.reg(&format!("{name}_base"));
        let pitch = k.reg(&format!("{name}_pitch"));

        k.and_b32(self.piece, self.thread, in_row - 1);
        k.shr(Int::U32, self.row, self.thread, in_row.ilog2());
        k.ld_param_u64(base, param).cvta_to_global(base, base);
        k.note("bytes from the row's start to this thread's piece of the first tile");
        k.shl_b32(to, self.piece, PIECE.ilog2());
        // of a row of `row_bytes` there, log2 of the bytes in memory for each column
        let kept = (ROW / row_bytes).ilog2();
        let at = match g.element.bytes().ilog2().checked_sub(kept) {
            None => {
                k.shr(Int::U32, pitch, self.k, 1).shr(Int::U32, self.at, self.odd, 1);
                self.at
            }
            Some(0) => {
                k.mov_b32(pitch, self.k);
                self.odd
            }
            Some(bits) => {
                k.shl_b32(pitch, self.k, bits).shl_b32(self.at, self.odd, bits);
                self.at
            }
        };
        k.sub_u32(to, to, at).mad_lo_u32(to, self.skip, row_bytes, to);
        k.setp(Cmp::Lt, Int::S32, before, to, 0);
        k.cvt_s64_s32(self.wide, to).add_u64(base, base, self.wide);
        let start = k.reg(&format!("{name}_row"));
        k.add_u32(start, first, self.row).min(Int::U32, self.at, start, last);
        k.mad_wide(Int::U32, from[0], self.at, pitch, base);
        for (i, &from) in from.iter().enumerate().skip(1) {
            k.add_u32(self.at, start, i as u32 * between).min(Int::U32, self.at, self.at, last);
            k.mad_wide(Int::U32, from, self.at, pitch, base);
        }
        swizzled(k, to, self.smem, self.row, self.piece, row_bytes);
        let pieces = from.into_iter().enumerate().map(|(i, from)| Piece {
            from,
            to: to.at((offset + i as u32 * between * row_bytes) as i32),
            tile: row_bytes,
            before,
        });
        pieces.collect()
    }

    /// Metadata lie in slabs of half a tile's columns, a word (of 8-bit types two) per row of m padded to
    /// 32 (`Order::MmaSpSm80`); a tile takes those of `tile.m` rows of two slabs, and a thread four words
    /// of one.
    fn metadata(
        &self,
        k: &mut Kernel,
        g: &Geometry,
        param: ParamName,
        m_first: Reg<B32>,
        m_last: Reg<B32>,
    ) -> Metadata {
        let in_slab = g.slab_bytes() / PIECE;
        let meta = Metadata {
            from: k.reg("meta_from"),
            first: k.reg("meta_first"),
            to: k.reg("meta_to"),
            tile: k.reg("meta_tile"),
            part: (2 * in_slab < g.threads()).then(|| [k.reg("meta_part"), k.reg("meta_load")]),
        };
        let (slab, slab_bytes) = (k.reg("slab"), k.reg("slab_bytes"));
        let base = k.reg("meta_base");
        let (words, half) = (g.slab_bytes() / 4, g.k() / 2);
        k.note(format!("metadata: two slabs of {half} columns, {words} words of each"));
        if let Some([takes_part, _]) = meta.part {
            k.setp(Cmp::Lt, Int::U32, takes_part, self.thread, 2 * in_slab);
        }
        k.note(match g.words() {
            1 => "words of a slab: m padded to 32",
            _ => "words of a slab: two for each of m padded to 32",
        });
        k.or_b32(slab_bytes, m_last, 31).add_u32(slab_bytes, slab_bytes, 1);
        k.and_b32(self.piece, self.thread, in_slab - 1).shl_b32(self.piece, self.piece, 2);
        if g.words() == 1 {
            k.add_u32(self.piece, self.piece, m_first);
        } else {
            k.shl_b32(slab_bytes, slab_bytes, 1).mad_lo_u32(self.piece, m_first, 2, self.piece);
        }
        k.sub_u32(self.at, slab_bytes, 4);
        k.min(Int::U32, self.piece, self.piece, self.at);
        k.ld_param_u64(base, param).cvta_to_global(base, base);
        k.mad_wide(Int::U32, base, self.piece, 4, base).shl_b32(slab_bytes, slab_bytes, 2);
        k.shr(Int::U32, slab, self.thread, in_slab.ilog2());
        k.shr(Int::U32, self.at, self.odd, half.ilog2()).sub_u32(slab, slab, self.at);
        k.mad_lo_u32(slab, self.skip, 2, slab);
        k.mad_wide(Int::S32, meta.from, slab, slab_bytes, base);
        k.note("before the matrix any legal codes will do, for the values there are zero");
        k.max(Int::S32, slab, slab, 0).mad_wide(Int::S32, meta.first, slab, slab_bytes, base);
        k.mul_wide(Int::U32, meta.tile, slab_bytes, 2);
        k.shl_b32(meta.to, self.thread, PIECE.ilog2()).add_u32(meta.to, meta.to, self.smem);
        k.add_u32(meta.to, meta.to, g.meta_offset());
        meta
    }
}
