//! Bulk and tensor copies to global memory (ISA 9.7.9.25.4 and .5), which their thread awaits in groups.

use super::{Span, Storing, count_pieces};
use crate::bulk;
use crate::code::{At, Bulk, Space};
use crate::execute::{Done, Now};
use crate::machine::Cluster;
use crate::order::lanes_of;
use crate::shadow::By;
use crate::sync::rule;
use crate::tensor_map::tile::Piece;
use crate::warp::Warp;

impl<'a> Cluster<'a> {
    /// Bulk and tensor copies to global memory, in the lane's bulk group.
    pub fn bulk_store(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        to: &Bulk,
        from: At,
    ) -> Done {
        for lane in lanes_of(now.mask) {
            let (rank, offset) = self.shared_at(Space::Shared, now.rank, w.address(from, lane)?)?;
            let mut spans = Vec::new();
            match to {
                Bulk::Linear(to, size) => {
                    let (address, size) = (w.address(*to, lane)?, w.get(*size, lane)? as u32);
                    bulk::Bulk::new(offset as u32, address, size).map_err(rule)?;
                    if size > 0 {
                        spans.push((offset as u32, size, address));
                    }
                    now.requests(&[address], size as usize, true);
                }
                Bulk::Tensor(tile) => {
                    let tile = self.tile(now, w, tile, lane, offset as u32, true)?;
                    count_pieces(now, &tile, true);
                    let inside = |p: &Piece| Some((p.shared, p.bytes, p.global?));
                    spans.extend(tile.pieces.iter().filter_map(inside));
                }
            }
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            let by = By { stamp, timeline: &w.timeline, is_async: true };
            let mut store = Storing { site: now.pc, from: Vec::new(), to: Vec::new(), read: false };
            for (shared, bytes, address) in spans {
                let bytes = bytes as usize;
                let from = Span::Shared { rank, offset: u64::from(shared), bytes };
                let data = self.begin_read(now.m, from, by)?;
                let to = Span::Global { address, bytes };
                self.begin_write(now.m, to, &data, by)?;
                now.count().shared[0] += bytes as u64;
                store.from.push(from);
                store.to.push(to);
            }
            w.bulk_open[lane].push(store);
        }
        Ok(())
    }

    /// `cp.async.bulk.wait_group`: all but the youngest groups of each lane have read their source,
    /// and, without `.read`, their writes are there.
    pub fn bulk_wait(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        pending: usize,
        read: bool,
    ) -> Done {
        for lane in lanes_of(now.mask) {
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            let older = w.bulk_groups[lane].len().saturating_sub(pending);
            let mut groups = std::mem::take(&mut w.bulk_groups[lane]);
            for group in groups.iter_mut().take(older) {
                for store in group.iter_mut() {
                    if !std::mem::replace(&mut store.read, true) {
                        store.from.iter().for_each(|span| self.end_read(now.m, *span, stamp));
                    }
                    if !read {
                        store.to.iter().for_each(|span| self.land(now.m, *span, stamp));
                    }
                }
            }
            if !read {
                groups.drain(..older);
            }
            w.bulk_groups[lane] = groups;
        }
        Ok(())
    }

    /// A bulk copy that may still read the shared memory of a warp's block.
    pub fn unfinished_store(&self, w: &Warp<'_>) -> Option<usize> {
        let open = w.bulk_open.iter().flatten();
        let groups = w.bulk_groups.iter().flatten().flatten();
        open.chain(groups).find(|store| !store.read).map(|store| store.site)
    }
}
