//! How a warp touches memory at once: loads, stores, atomics, `ldmatrix`, `stmatrix`.

use crate::block::Place;
use crate::code::{At, Slot, Space, Src};
use crate::execute::{Done, Now};
use crate::lower::F3;
use crate::machine::Cluster;
use crate::memory::{Releases, aligned};
use crate::order::{ALL_LANES, Order, Party, Stamp, Timeline, lanes_of};
use crate::shadow::{By, Clash};
use crate::trap::Fault;
use crate::warp::{ALL, Row, Warp};

/// Most bytes that a lane loads at once: `.v8.b32`.
const WIDEST: usize = 32;

/// A stamp of one lane, strong if the access is.
fn stamp(w: &Warp<'_>, lane: usize, pc: usize, order: Order) -> Stamp {
    Stamp { strong: order.strong, ..w.timeline.stamp(lane as u8, pc) }
}

/// An ordinary access.
fn by(timeline: &Timeline, stamp: Stamp) -> By<'_> {
    By { stamp, timeline, is_async: false }
}

impl<'a> Cluster<'a> {
    /// The places of the lanes' addresses, counted.
    fn places(
        &self,
        now: &mut Now<'_, 'a>,
        space: Space,
        addresses: &Row,
        bytes: usize,
        write: bool,
    ) -> Result<[Option<Place>; 32], Clash> {
        let mut places = [None; 32];
        let (mut global, mut shared) = (Vec::new(), Vec::new());
        for lane in lanes_of(now.mask) {
            let place = self.place(space, now.rank, addresses[lane])?;
            aligned(addresses[lane], bytes)?;
            match place {
                Place::Global(address) => global.push(address),
                Place::Shared { offset, .. } => {
                    self.not_mbarrier(place, bytes)?;
                    shared.push((lane, offset));
                }
                Place::Param(_) if write => {
                    return Err(Fault::Rule("writes a parameter".into()).into());
                }
                Place::Param(_) => {}
            }
            places[lane] = Some(place);
        }
        if !global.is_empty() {
            now.requests(&global, bytes, write);
        }
        if !shared.is_empty() {
            now.count().shared(&shared, bytes, write);
        }
        Ok(places)
    }

    fn read(&mut self, now: &mut Now<'_, 'a>, place: Place, out: &mut [u8], by: By<'_>) -> Done {
        match place {
            Place::Global(address) => now.m.memory.read(address, out, by),
            Place::Shared { rank, offset } => self.blocks[rank].shared.read(offset, out, by),
            Place::Param(at) => {
                let end = (at as usize).checked_add(out.len());
                let Some(from) = end.and_then(|end| now.m.params.get(at as usize..end)) else {
                    let nearest = format!("parameters, 0x0..{:#x}", now.m.params.len());
                    let bytes = out.len() as u64;
                    let space = "parameter";
                    return Err(Fault::OutOfBounds { space, address: at, bytes, nearest }.into());
                };
                out.copy_from_slice(from);
                Ok(())
            }
        }
    }

    fn write(&mut self, now: &mut Now<'_, 'a>, place: Place, data: &[u8], by: By<'_>) -> Done {
        match place {
            Place::Global(address) => now.m.memory.write(address, data, by),
            Place::Shared { rank, offset } => self.blocks[rank].shared.write(offset, data, by),
            Place::Param(_) => Err(Fault::Rule("writes a parameter".into()).into()),
        }
    }

    fn releases<'x>(
        &'x mut self,
        now: &'x mut Now<'_, 'a>,
        place: Place,
    ) -> Option<(&'x mut Releases, u64)> {
        match place {
            Place::Global(address) => Some((&mut now.m.memory.released, address)),
            Place::Shared { rank, offset } => {
                Some((&mut self.blocks[rank].shared.released, offset))
            }
            Place::Param(_) => None,
        }
    }

    /// A strong read sees what the write that it read from released.
    fn observe(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        lane: usize,
        place: Place,
        order: Order,
    ) {
        let party = w.party(now.mask);
        if let Some((releases, at)) = self.releases(now, place)
            && let Some(released) = releases.0.get(&at)
        {
            w.timeline.observe(lane, party, order, released);
        }
    }

    /// A strong write releases; a weak one, or a relaxed one without a fence before, ends what was
    /// released there, unless it is a part of an atomic (`keeps`).
    fn publish(
        &mut self,
        now: &mut Now<'_, 'a>,
        (w, party): (&mut Warp<'a>, Party),
        lane: usize,
        place: Place,
        order: Order,
        keeps: bool,
    ) {
        let released = if order.strong { w.timeline.publish(lane, party, order) } else { None };
        if let Some((releases, at)) = self.releases(now, place) {
            match released {
                Some(released) => match releases.0.get_mut(&at).filter(|_| keeps) {
                    Some(sequence) => sequence.join(&released),
                    None => drop(releases.0.insert(at, released)),
                },
                None if keeps || releases.0.is_empty() => {}
                None => drop(releases.0.remove(&at)),
            }
        }
    }

    /// `count` registers of `size` bytes of each lane.
    pub fn load(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (space, order): (Space, Order),
        a: At,
        size: usize,
        count: usize,
    ) -> Result<Vec<Row>, Clash> {
        let bytes = size * count;
        let addresses = w.addresses(a, now.mask)?;
        let places = self.places(now, space, &addresses, bytes, false)?;
        let mut rows = vec![[0; 32]; count];
        for lane in lanes_of(now.mask) {
            let Some(place) = places[lane] else { continue };
            let mut data = [0; WIDEST];
            let stamp = stamp(w, lane, now.pc, order);
            if let (true, Place::Global(address)) = (order.constant, place) {
                now.m.memory.constant(address, bytes)?;
            }
            self.read(now, place, &mut data[..bytes], by(&w.timeline, stamp))?;
            if order.strong {
                self.observe(now, w, lane, place, order);
            }
            for (i, row) in rows.iter_mut().enumerate() {
                row[lane] = word(&data[i * size..][..size]);
            }
        }
        Ok(rows)
    }

    pub fn store(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (space, order): (Space, Order),
        a: At,
        size: usize,
        b: &[Src],
    ) -> Done {
        let bytes = size * b.len();
        let addresses = w.addresses(a, now.mask)?;
        let rows = b.iter().map(|src| w.row(*src, now.mask)).collect::<Result<Vec<_>, _>>()?;
        let places = self.places(now, space, &addresses, bytes, true)?;
        let party = w.party(now.mask);
        for lane in lanes_of(now.mask) {
            let Some(place) = places[lane] else { continue };
            let mut data = [0; WIDEST];
            for (i, row) in rows.iter().enumerate() {
                data[i * size..][..size].copy_from_slice(&row[lane].to_le_bytes()[..size]);
            }
            let stamp = stamp(w, lane, now.pc, order);
            self.write(now, place, &data[..bytes], by(&w.timeline, stamp))?;
            self.publish(now, (w, party), lane, place, order, false);
        }
        Ok(())
    }

    /// Lane after lane reads, computes of the old value, `b` and `c`, and writes. Returns the old
    /// values.
    pub fn atomic(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        (space, order): (Space, Order),
        (f, size): (&F3, usize),
        (a, b, c): (At, Src, Src),
    ) -> Result<Row, Clash> {
        let order = Order { strong: true, ..order };
        let addresses = w.addresses(a, now.mask)?;
        let (b, c) = (w.row(b, now.mask)?, w.row(c, now.mask)?);
        let places = self.places(now, space, &addresses, size, true)?;
        let party = w.party(now.mask);
        let mut old = [0; 32];
        for lane in lanes_of(now.mask) {
            let Some(place) = places[lane] else { continue };
            let mut data = [0; 8];
            let stamp = stamp(w, lane, now.pc, order);
            self.read(now, place, &mut data[..size], by(&w.timeline, stamp))?;
            self.observe(now, w, lane, place, order);
            old[lane] = word(&data[..size]);
            let new = f(old[lane], b[lane], c[lane]).to_le_bytes();
            let stamp = self::stamp(w, lane, now.pc, order);
            self.write(now, place, &new[..size], by(&w.timeline, stamp))?;
            self.publish(now, (w, party), lane, place, order, true);
        }
        Ok(old)
    }

    /// ISA 9.7.14.5.15: matrix i takes its eight rows of 16 bytes from the addresses of lanes
    /// 8i..8i+8; lane L receives elements 2·(L%4) and the next of row L/4, or, transposed, of column
    /// L/4. The rows are read for the whole warp.
    pub fn ldmatrix(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        trans: bool,
        d: &[Slot],
        a: At,
    ) -> Done {
        let places = self.matrix_rows(now, w, d.len(), a, false)?;
        let whole = w.timeline.stamp(ALL_LANES, now.pc);
        for (slot, places) in d.iter().zip(places.chunks(8)) {
            let mut rows = [[0u8; 16]; 8];
            for (row, place) in rows.iter_mut().zip(places) {
                self.read(now, *place, row, by(&w.timeline, whole))?;
            }
            let half = |r: usize, c: usize| word(&rows[r][2 * c..][..2]) as u32;
            let words = std::array::from_fn(|lane| {
                let (r, c) = (lane / 4, 2 * (lane % 4));
                match trans {
                    false => half(r, c) | half(r, c + 1) << 16,
                    true => half(c, r) | half(c + 1, r) << 16,
                }
            });
            w.set_words(*slot, &words)?;
        }
        Ok(())
    }

    /// ISA 9.7.14.5.16: the inverse of `ldmatrix`.
    pub fn stmatrix(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        trans: bool,
        b: &[Src],
        a: At,
    ) -> Done {
        let places = self.matrix_rows(now, w, b.len(), a, true)?;
        let whole = w.timeline.stamp(ALL_LANES, now.pc);
        for (src, places) in b.iter().zip(places.chunks(8)) {
            let words = w.words(*src)?;
            let half = |i: usize| (words[i / 2] >> (16 * (i % 2))) as u16;
            for (r, place) in places.iter().enumerate() {
                let mut row = [0u8; 16];
                for c in 0..8 {
                    let value = if trans { half(8 * c + r) } else { half(8 * r + c) };
                    row[2 * c..][..2].copy_from_slice(&value.to_le_bytes());
                }
                self.write(now, *place, &row, by(&w.timeline, whole))?;
            }
        }
        Ok(())
    }

    /// The rows of so many 8×8 matrices, from the addresses of the first lanes.
    fn matrix_rows(
        &mut self,
        now: &mut Now<'_, 'a>,
        w: &mut Warp<'a>,
        matrices: usize,
        a: At,
        write: bool,
    ) -> Result<Vec<Place>, Clash> {
        let addressed = if matrices >= 4 { ALL } else { (1 << (8 * matrices)) - 1 };
        let addresses = w.addresses(a, addressed)?;
        let all = std::mem::replace(&mut now.mask, addressed);
        let places = self.places(now, Space::Shared, &addresses, 16, write);
        now.mask = all;
        Ok(places?.into_iter().flatten().collect())
    }
}

/// Little-endian bytes as a number; eight at most.
pub(crate) fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
