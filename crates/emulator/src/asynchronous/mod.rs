//! Copies that happen while the thread goes on: `cp.async`, bulk copies and tensor copies. Their bytes
//! are in flight from the start until the thread, or an mbarrier, says that they are there; nobody
//! may touch them in between, so it does not matter when they move. When an mbarrier hears of them
//! does matter, and that the schedule decides.

mod copies;
mod loads;
mod stores;

use crate::counts::Count;
use crate::execute::{Done, Now};
use crate::machine::{Cluster, Machine};
use crate::order::Stamp;
use crate::program::Schedule;
use crate::shadow::{By, Clash};
use crate::tensor_map::tile::Tile;
use crate::trap::{Fault, Trap};

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
    ) -> Result<Vec<u8>, Clash> {
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
    fn end_read(&mut self, m: &mut Machine<'a>, span: Span, stamp: Stamp) {
        match span {
            Span::Global { address, bytes } => m.memory.end_read(address, bytes, stamp),
            Span::Shared { rank, offset, bytes } => {
                self.blocks[rank].shared.end_read(offset, bytes, stamp);
            }
        }
    }

    fn land(&mut self, m: &mut Machine<'a>, span: Span, stamp: Stamp) {
        match span {
            Span::Global { address, bytes } => m.memory.land(address, bytes, stamp),
            Span::Shared { rank, offset, bytes } => {
                self.blocks[rank].shared.land(offset, bytes, stamp);
            }
        }
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
}

fn count_pieces(now: &mut Now<'_, '_>, tile: &Tile, write: bool) {
    let inside = || tile.pieces.iter().filter_map(|p| Some((p.global?, u64::from(p.bytes))));
    let mut sectors: Vec<u64> =
        inside().flat_map(|(at, bytes)| at / 32..=(at + bytes - 1) / 32).collect();
    sectors.sort_unstable();
    sectors.dedup();
    let mut count = Count { requests: 1, sectors: sectors.len() as u64, ..Count::default() };
    count.global[write as usize] = inside().map(|(_, bytes)| bytes).sum();
    now.count().add(&count);
    if let Some((buffer, _)) = inside().next().and_then(|(at, _)| now.m.memory.holder(at)) {
        now.of_buffer(buffer).add(&count);
    }
}
