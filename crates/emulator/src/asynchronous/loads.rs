//! Bulk and tensor copies to shared memory (ISA 9.7.9.25.4 and .5), which an mbarrier awaits.

use super::{Pending, Span, count_pieces};
use crate::block::Place;
use crate::bulk::{self, multicast};
use crate::code::{self, At, Bulk, Space, Src};
use crate::execute::{Done, Now};
use crate::machine::Cluster;
use crate::memory::aligned;
use crate::order::{Stamp, lanes_of};
use crate::shadow::{By, Clash};
use crate::sync::rule;
use crate::tensor_map::tile::{Piece, Tile};
use crate::tensor_map::{OobFill, TensorMap};
use crate::warp::Warp;

impl<'a> Cluster<'a> {
    /// The tensor map at an address: 128 bytes that the host encoded.
    fn tensor_map(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        map: At,
        lane: usize,
    ) -> Result<TensorMap, Clash> {
        let address = w.address(map, lane)?;
        aligned(address, 64)?;
        let mut image = [0; 128];
        match self.place(Space::Generic, now.rank, address)? {
            Place::Param(at) => {
                let bytes = now.m.params.get(at as usize..at as usize + 128);
                let bytes = bytes.ok_or_else(|| rule("the tensor map ends past the parameters"))?;
                image.copy_from_slice(bytes);
            }
            Place::Global(at) => {
                let stamp = w.timeline.stamp(lane as u8, now.pc);
                let by = By { stamp, timeline: &w.timeline, is_async: true };
                now.m.memory.read(at, &mut image, by)?;
            }
            Place::Shared { .. } => {
                return Err(rule("a tensor map lies in parameters or global memory").into());
            }
        }
        TensorMap::decode(&image).map_err(|e| rule(e).into())
    }

    /// The tile of a tensor copy.
    pub(super) fn tile(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        tile: &code::Tile,
        lane: usize,
        shared: u32,
        store: bool,
    ) -> Result<Tile, Clash> {
        let map = self.tensor_map(now, w, tile.map, lane)?;
        let mut coords = Vec::new();
        for c in &tile.coords {
            coords.push(w.get(*c, lane)? as u32 as i32);
        }
        let tile = if store { map.store(&coords, shared) } else { map.load(&coords, shared) };
        tile.map_err(|e| rule(e).into())
    }

    /// `cp.async.bulk` and `cp.async.bulk.tensor` to shared memory (ISA 9.7.9.25.4, .5): the bytes go
    /// to one block, or to each that the mask names, and complete at the object of the same offset.
    pub fn bulk_load(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        space: Space,
        (to, bar): (At, At),
        from: &Bulk,
        blocks: Option<Src>,
    ) -> Done {
        for lane in lanes_of(now.mask) {
            let (rank, offset) = self.shared_at(space, now.rank, w.address(to, lane)?)?;
            let (bar_rank, bar) = self.shared_at(space, now.rank, w.address(bar, lane)?)?;
            let cluster = self.blocks.len() as u32;
            let ranks: Vec<usize> = match blocks {
                Some(mask) => {
                    let named = multicast(w.get(mask, lane)? as u16, cluster).map_err(rule)?;
                    named.into_iter().map(|r| r as usize).collect()
                }
                None if bar_rank != rank => {
                    return Err(rule("the mbarrier is in another block than the data").into());
                }
                None => vec![rank],
            };
            let tile = match from {
                Bulk::Linear(from, size) => {
                    let (address, size) = (w.address(*from, lane)?, w.get(*size, lane)? as u32);
                    let copy = bulk::Bulk::new(offset as u32, address, size).map_err(rule)?;
                    now.requests(&[address], size as usize, false);
                    let piece = Piece { shared: offset as u32, bytes: size, global: Some(address) };
                    let pieces = if size > 0 { vec![piece] } else { Vec::new() };
                    Tile { pieces, bytes: copy.bytes(), element: 1, fill: OobFill::Zero }
                }
                Bulk::Tensor(tile) => {
                    let tile = self.tile(now, w, tile, lane, offset as u32, false)?;
                    count_pieces(now, &tile, false);
                    tile
                }
            };
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            self.load_tile(now, w, stamp, &ranks, bar, &tile)?;
        }
        Ok(())
    }

    fn load_tile(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        stamp: Stamp,
        ranks: &[usize],
        bar: u64,
        tile: &Tile,
    ) -> Done {
        let mut pending = Pending {
            site: now.pc,
            block: self.blocks[now.rank].at,
            warp: w.number,
            to: Vec::new(),
            from: Vec::new(),
            bars: Vec::new(),
        };
        for rank in ranks {
            self.mbarrier_use((*rank, bar), w, stamp, true)?;
            pending.bars.push((*rank, bar as u32, Some(tile.bytes)));
        }
        let by = By { stamp, timeline: &w.timeline, is_async: true };
        for Piece { shared, bytes, global } in &tile.pieces {
            let len = *bytes as usize;
            let data = match global {
                Some(address) => {
                    let from = Span::Global { address: *address, bytes: len };
                    pending.from.push(from);
                    self.begin_read(now.m, from, by)?
                }
                None => tile.fill.fill(*bytes),
            };
            for rank in ranks {
                let to = Span::Shared { rank: *rank, offset: u64::from(*shared), bytes: len };
                self.begin_write(now.m, to, &data, by)?;
                pending.to.push(to);
            }
        }
        now.count().shared[1] += u64::from(tile.bytes) * ranks.len() as u64;
        self.begin(now, pending)
    }

    /// `cp.async.bulk` between blocks of a cluster: completes at the destination's object.
    pub fn bulk_shared(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (to, from, bar): (At, At, At),
        size: Src,
    ) -> Done {
        for lane in lanes_of(now.mask) {
            let size = w.get(size, lane)? as u32;
            let (to_rank, to) = self.shared_at(Space::Cluster, now.rank, w.address(to, lane)?)?;
            let (rank, from) = self.shared_at(Space::Shared, now.rank, w.address(from, lane)?)?;
            let (bar_rank, bar) =
                self.shared_at(Space::Cluster, now.rank, w.address(bar, lane)?)?;
            bulk::Bulk::new(to as u32, from, size).map_err(rule)?;
            if bar_rank != to_rank {
                return Err(rule("the mbarrier is in another block than the data").into());
            }
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            self.mbarrier_use((bar_rank, bar), w, stamp, true)?;
            let by = By { stamp, timeline: &w.timeline, is_async: true };
            let bytes = size as usize;
            let (from, to) = (
                Span::Shared { rank, offset: from, bytes },
                Span::Shared { rank: to_rank, offset: to, bytes },
            );
            let data = self.begin_read(now.m, from, by)?;
            self.begin_write(now.m, to, &data, by)?;
            now.count().shared[1] += u64::from(size);
            let pending = Pending {
                site: now.pc,
                block: self.blocks[now.rank].at,
                warp: w.number,
                to: vec![to],
                from: vec![from],
                bars: vec![(bar_rank, bar as u32, Some(size))],
            };
            self.begin(now, pending)?;
        }
        Ok(())
    }
}
