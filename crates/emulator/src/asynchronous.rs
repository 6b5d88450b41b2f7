//! Copies that happen while the thread goes on: `cp.async`, bulk copies and tensor copies. Their bytes
//! are in flight from the start until the thread, or an mbarrier, says that they are there; nobody
//! may touch them in between, so it does not matter when they move. When an mbarrier hears of them
//! does matter, and that the schedule decides.

use crate::bulk::{self, multicast};
use crate::code::{At, Bulk, Space, Src, Take};
use crate::execute::{Done, Now};
use crate::machine::{Cluster, Machine};
use crate::memory::aligned;
use crate::order::lanes_of;
use crate::program::Schedule;
use crate::shadow::By;
use crate::sync::rule;
use crate::tensor_map::TensorMap;
use crate::tensor_map::tile::Tile;
use crate::trap::{Fault, Trap};
use crate::warp::{Copying, Warp};

/// A span of bytes: of global memory, or of a block's shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Span {
    Global { address: u64, bytes: usize },
    Shared { rank: usize, offset: u64, bytes: usize },
}

/// A copy whose arrival an mbarrier awaits.
pub(crate) struct Pending {
    site: usize,
    block: [u32; 3],
    warp: u32,
    /// What it writes, what it reads.
    to: Vec<Span>,
    from: Vec<Span>,
    /// In which blocks' objects how many bytes complete; none: it arrives once.
    bars: Vec<(usize, u32, Option<u32>)>,
}

/// A bulk copy from shared to global memory, of the thread that waits for it.
pub(crate) struct Storing {
    site: usize,
    from: Vec<Span>,
    to: Vec<Span>,
    read: bool,
}

impl<'a> Cluster<'a> {
    /// Takes the bytes of a span; until [`Self::end_read`] they may not be written.
    fn begin_read(
        &mut self,
        m: &mut Machine<'a>,
        span: Span,
        by: By<'_>,
    ) -> Result<Vec<u8>, crate::shadow::Clash> {
        match span {
            Span::Global { address, bytes } => {
                let mut data = vec![0; bytes];
                m.memory.begin_read(address, &mut data, by)?;
                Ok(data)
            }
            Span::Shared { rank, offset, bytes } => {
                let mut data = vec![0; bytes];
                self.blocks[rank].shared.begin_read(offset, &mut data, by)?;
                Ok(data)
            }
        }
    }

    fn begin_write(&mut self, m: &mut Machine<'a>, span: Span, data: &[u8], by: By<'_>) -> Done {
        match span {
            Span::Global { address, .. } => m.memory.begin_write(address, data, by),
            Span::Shared { rank, offset, .. } => {
                self.blocks[rank].shared.begin_write(offset, data, by)
            }
        }
    }

    /// The bytes are read, and that counts as done by this stamp.
    fn end_read(&mut self, m: &mut Machine<'a>, span: Span, stamp: crate::order::Stamp) {
        match span {
            Span::Global { address, bytes } => m.memory.end_read(address, bytes, stamp),
            Span::Shared { rank, offset, bytes } => {
                self.blocks[rank].shared.end_read(offset, bytes, stamp);
            }
        }
    }

    fn land(&mut self, m: &mut Machine<'a>, span: Span, stamp: crate::order::Stamp) {
        match span {
            Span::Global { address, bytes } => m.memory.land(address, bytes, stamp),
            Span::Shared { rank, offset, bytes } => {
                self.blocks[rank].shared.land(offset, bytes, stamp);
            }
        }
    }

    /// `cp.async` (ISA 9.7.9.25.3): `size` bytes a lane, of which the first are read and the rest are
    /// zero.
    pub fn copy(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (to, from): (At, At),
        size: usize,
        take: Take,
    ) -> Done {
        let (to, from) = (w.addresses(to, now.mask)?, w.addresses(from, now.mask)?);
        let taken = match take {
            Take::All => [size as u64; 32],
            Take::Bytes(bytes) => w.row(bytes, now.mask)?,
            Take::Unless(p) => w.row(Src::Slot(p), now.mask)?.map(|p| size as u64 * (1 - p)),
        };
        let (mut global, mut shared) = (Vec::new(), Vec::new());
        for lane in lanes_of(now.mask) {
            let (rank, offset) = self.shared_at(Space::Shared, now.rank, to[lane])?;
            aligned(to[lane], size)?;
            aligned(from[lane], size)?;
            let take = taken[lane] as usize;
            if take > size {
                return Err(Fault::Rule(format!("cp.async reads {take} of {size} bytes")).into());
            }
            shared.push((lane, offset));
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            let by = By { stamp, timeline: &w.timeline, is_async: false };
            let from = Span::Global { address: from[lane], bytes: take };
            let mut data = match take {
                0 => Vec::new(),
                _ => {
                    let Span::Global { address, .. } = from else { continue };
                    global.push(address);
                    self.begin_read(now.m, from, by)?
                }
            };
            data.resize(size, 0);
            let to = Span::Shared { rank, offset, bytes: size };
            self.begin_write(now.m, to, &data, by)?;
            w.open[lane].push(Copying { to, from });
        }
        now.count().shared(&shared, size, true);
        if !global.is_empty() {
            now.count().global(&global, size, false);
            now.count().requests -= 1; // one request, two memories
        }
        Ok(())
    }

    /// All but the youngest `pending` groups of each lane land; `None`: everything.
    pub fn copy_wait(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        pending: Option<usize>,
    ) -> Done {
        for lane in lanes_of(now.mask) {
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            while w.groups[lane].len() > pending.unwrap_or(0) {
                for copy in w.groups[lane].pop_front().into_iter().flatten() {
                    self.copied(now.m, copy, stamp);
                }
            }
            if pending.is_none() {
                for copy in std::mem::take(&mut w.open[lane]) {
                    self.copied(now.m, copy, stamp);
                }
            }
        }
        Ok(())
    }

    fn copied(&mut self, m: &mut Machine<'a>, copy: Copying, stamp: crate::order::Stamp) {
        self.land(m, copy.to, stamp);
        self.end_read(m, copy.from, stamp);
    }

    /// `cp.async.mbarrier.arrive` (ISA 9.7.13.15.13): the object hears when all copies that the lane
    /// began are there. Without `.noinc` the arrival is one more than the phase waits for.
    pub fn copy_arrive(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        a: At,
        noinc: bool,
    ) -> Done {
        let addresses = w.addresses(a, now.mask)?;
        for lane in lanes_of(now.mask) {
            let (rank, address) = self.shared_at(Space::Shared, now.rank, addresses[lane])?;
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            self.mbarrier_of_thread(rank, address, w, stamp)?;
            if !noinc {
                return Err(Fault::Rule(
                    "cp.async.mbarrier.arrive without .noinc is not modelled".into(),
                )
                .into());
            }
            let groups = std::mem::take(&mut w.groups[lane]);
            let open = std::mem::take(&mut w.open[lane]);
            let copies: Vec<_> = groups.into_iter().flatten().chain(open).collect();
            let pending = Pending {
                site: now.pc,
                block: self.blocks[now.rank].at,
                warp: w.number,
                to: copies.iter().map(|c| c.to).collect(),
                from: copies.iter().map(|c| c.from).collect(),
                bars: vec![(rank, address as u32, None)],
            };
            self.begin(now, pending)?;
        }
        Ok(())
    }

    /// A copy is under way; the early schedule ends it at once.
    fn begin(&mut self, now: &mut Now<'_, 'a>, pending: Pending) -> Done {
        self.pending.push(pending);
        if now.m.options.schedule == Schedule::Early {
            let last = self.pending.len() - 1;
            self.arrive(now.m, last)?;
        }
        Ok(())
    }

    /// A pending copy arrives; a fault is that of the thread which began it.
    pub fn complete(&mut self, m: &mut Machine<'a>, which: usize) -> Result<(), Trap> {
        let Some(Pending { site, block, warp, .. }) = self.pending.get(which) else {
            return Ok(());
        };
        let (site, block, warp) = (m.program.site(*site), *block, *warp);
        self.arrive(m, which).map_err(|fault| Trap { fault, site, block, warp })
    }

    fn arrive(&mut self, m: &mut Machine<'a>, which: usize) -> Result<(), Fault> {
        let pending = self.pending.remove(which);
        for (rank, address, bytes) in &pending.bars {
            let table = &mut self.blocks[*rank].mbarriers;
            let stamp = table.stamp(*address, pending.site as u32)?;
            for span in &pending.to {
                if matches!(span, Span::Shared { rank: r, .. } if r == rank) {
                    self.land(m, *span, stamp);
                }
            }
            for span in &pending.from {
                self.end_read(m, *span, stamp);
            }
            let table = &mut self.blocks[*rank].mbarriers;
            match bytes {
                Some(bytes) => table.complete(*address, *bytes)?,
                None => table.arrive_alone(*address)?,
            }
        }
        Ok(())
    }

    /// The one lane that begins a bulk copy.
    fn each_bulk_lane(now: &Now<'_, 'a>) -> impl Iterator<Item = usize> + use<> {
        lanes_of(now.mask)
    }

    /// The tensor map at an address: 128 bytes that the host encoded.
    fn tensor_map(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        map: At,
        lane: usize,
    ) -> Result<TensorMap, crate::shadow::Clash> {
        let address = w.address(map, lane)?;
        aligned(address, 64)?;
        let mut image = [0; 128];
        match self.place(Space::Generic, now.rank, address)? {
            crate::block::Place::Param(at) => {
                let bytes = now.m.params.get(at as usize..at as usize + 128);
                let bytes = bytes.ok_or_else(|| rule("the tensor map ends past the parameters"))?;
                image.copy_from_slice(bytes);
            }
            crate::block::Place::Global(at) => {
                let stamp = w.timeline.stamp(lane as u8, now.pc);
                let by = By { stamp, timeline: &w.timeline, is_async: true };
                now.m.memory.read(at, &mut image, by)?;
            }
            crate::block::Place::Shared { .. } => {
                return Err(rule("a tensor map lies in parameters or global memory").into());
            }
        }
        TensorMap::decode(&image).map_err(|e| rule(e).into())
    }

    /// The tile of a tensor copy.
    fn tile(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        tile: &crate::code::Tile,
        lane: usize,
        shared: u32,
        store: bool,
    ) -> Result<Tile, crate::shadow::Clash> {
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
        for lane in Self::each_bulk_lane(now) {
            let (rank, offset) = self.shared_at(space, now.rank, w.address(to, lane)?)?;
            let (bar_rank, bar) = self.shared_at(space, now.rank, w.address(bar, lane)?)?;
            let cluster = self.blocks.len() as u32;
            let ranks: Vec<usize> = match blocks {
                Some(mask) => {
                    let mask = w.get(mask, lane)? as u16;
                    let named = multicast(mask, cluster).map_err(rule)?;
                    named.into_iter().map(|r| r as usize).collect()
                }
                None if bar_rank != rank => {
                    return Err(rule("the mbarrier is in another block than the data").into());
                }
                None => vec![rank],
            };
            let stamp = w.timeline.stamp(lane as u8, now.pc);
            let (mut spans, mut total) = (Vec::new(), 0);
            match from {
                Bulk::Linear(from, size) => {
                    let (address, size) = (w.address(*from, lane)?, w.get(*size, lane)? as u32);
                    let copy = bulk::Bulk::new(offset as u32, address, size).map_err(rule)?;
                    total = copy.bytes();
                    if size > 0 {
                        spans.push((offset as u32, size, Some(address)));
                    }
                    now.count().global(&[address], size as usize, false);
                }
                Bulk::Tensor(tile) => {
                    let tile = self.tile(now, w, tile, lane, offset as u32, false)?;
                    total += tile.bytes;
                    for piece in &tile.pieces {
                        spans.push((piece.shared, piece.bytes, piece.global));
                    }
                    count_pieces(now, &tile, false);
                    return self.load_spans(
                        now,
                        w,
                        (lane, stamp),
                        &ranks,
                        (bar, total),
                        &spans,
                        &|n| tile.fill.fill(n),
                    );
                }
            }
            self.load_spans(now, w, (lane, stamp), &ranks, (bar, total), &spans, &|n| {
                vec![0; n as usize]
            })?;
        }
        Ok(())
    }

    fn load_spans(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (_, stamp): (usize, crate::order::Stamp),
        ranks: &[usize],
        (bar, total): (u64, u32),
        spans: &[(u32, u32, Option<u64>)],
        fill: &dyn Fn(u32) -> Vec<u8>,
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
            self.mbarrier_of_copy(*rank, bar, w, stamp)?;
            pending.bars.push((*rank, bar as u32, Some(total)));
        }
        let by = By { stamp, timeline: &w.timeline, is_async: true };
        for (shared, bytes, global) in spans {
            let data = match global {
                Some(address) => {
                    let from = Span::Global { address: *address, bytes: *bytes as usize };
                    pending.from.push(from);
                    self.begin_read(now.m, from, by)?
                }
                None => fill(*bytes),
            };
            for rank in ranks {
                let to = Span::Shared {
                    rank: *rank,
                    offset: u64::from(*shared),
                    bytes: *bytes as usize,
                };
                self.begin_write(now.m, to, &data, by)?;
                pending.to.push(to);
            }
        }
        now.count().shared[1] += u64::from(total) * ranks.len() as u64;
        self.begin(now, pending)
    }

    /// Bulk and tensor copies to global memory, in the lane's bulk group.
    pub fn bulk_store(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        to: &Bulk,
        from: At,
    ) -> Done {
        for lane in Self::each_bulk_lane(now) {
            let (rank, offset) = self.shared_at(Space::Shared, now.rank, w.address(from, lane)?)?;
            let mut spans = Vec::new();
            match to {
                Bulk::Linear(to, size) => {
                    let (address, size) = (w.address(*to, lane)?, w.get(*size, lane)? as u32);
                    bulk::Bulk::new(offset as u32, address, size).map_err(rule)?;
                    if size > 0 {
                        spans.push((offset as u32, size, address));
                    }
                    now.count().global(&[address], size as usize, true);
                }
                Bulk::Tensor(tile) => {
                    let tile = self.tile(now, w, tile, lane, offset as u32, true)?;
                    count_pieces(now, &tile, true);
                    let inside =
                        |p: &crate::tensor_map::tile::Piece| Some((p.shared, p.bytes, p.global?));
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

    /// `cp.async.bulk` between blocks of a cluster: completes at the destination's object.
    pub fn bulk_shared(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (to, from, bar): (At, At, At),
        size: Src,
    ) -> Done {
        for lane in Self::each_bulk_lane(now) {
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
            self.mbarrier_of_copy(bar_rank, bar, w, stamp)?;
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

fn count_pieces(now: &mut Now<'_, '_>, tile: &Tile, write: bool) {
    let inside = || tile.pieces.iter().filter_map(|p| Some((p.global?, u64::from(p.bytes))));
    let mut sectors: Vec<u64> =
        inside().flat_map(|(at, bytes)| at / 32..=(at + bytes - 1) / 32).collect();
    sectors.sort_unstable();
    sectors.dedup();
    let count = now.count();
    count.requests += 1;
    count.sectors += sectors.len() as u64;
    count.global[write as usize] += inside().map(|(_, bytes)| bytes).sum::<u64>();
}
