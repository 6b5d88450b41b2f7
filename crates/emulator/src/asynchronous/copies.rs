//! `cp.async` (ISA 9.7.9.25.3): each lane copies a few bytes, and waits for its own groups.

use super::{Pending, Span};
use crate::code::{At, Space, Src, Take};
use crate::execute::{Done, Now};
use crate::machine::{Cluster, Machine};
use crate::memory::aligned;
use crate::order::{Stamp, lanes_of};
use crate::shadow::By;
use crate::trap::Fault;
use crate::warp::{Copying, Warp};

impl<'a> Cluster<'a> {
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
            now.requests(&global, size, false);
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

    fn copied(&mut self, m: &mut Machine<'a>, copy: Copying, stamp: Stamp) {
        self.land(m, copy.to, stamp);
        self.end_read(m, copy.from, stamp);
    }

    /// `cp.async.mbarrier.arrive` (ISA 9.7.13.15.15): the object hears when all copies that the lane
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
            self.mbarrier_use((rank, address), w, stamp, false)?;
            if !noinc {
                self.blocks[rank].mbarriers.expect_arrival(address as u32)?;
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
}
