//! What is known of each byte of memory: who wrote it, who read it since, which asynchronous
//! operations may still touch it. Two accesses to a byte, one of them a write, must be ordered.

use crate::order::{Clock, Memory, Stamp, Timeline};
use crate::trap::Fault;
use std::ops::Range;

/// An objection, before sites have their text.
#[derive(Debug)]
pub(crate) enum Clash {
    Fault(Fault),
    /// Not ordered with an earlier access.
    Race {
        space: Memory,
        address: u64,
        with: Stamp,
    },
    /// Ordered, but the async proxy does not see it.
    Unfenced {
        space: Memory,
        address: u64,
        with: Stamp,
    },
    /// An asynchronous operation at this site may still write, or read, the byte.
    InFlight {
        space: Memory,
        address: u64,
        site: u32,
        reads: bool,
    },
}

impl From<Fault> for Clash {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Who accesses, by which proxy (PTX ISA 8.6, "Proxies").
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    pub stamp: Stamp,
    pub timeline: &'a Timeline,
    /// Bulk copies and `wgmma`; else loads and stores.
    pub is_async: bool,
}

/// What an access says of an earlier one: neighbouring bytes mostly share it, so it is asked once.
struct Asked<'a> {
    by: By<'a>,
    fine: Stamp,
}

impl Asked<'_> {
    /// Whether an earlier access is ordered before this one, or both are strong.
    fn follows(&mut self, earlier: Stamp) -> bool {
        let now = self.by.stamp;
        let yes = earlier == self.fine
            || earlier.strong && now.strong
            || self.by.timeline.ordered(earlier, now);
        if yes {
            self.fine = earlier;
        }
        yes
    }

    /// Whether a former *write* is seen by the proxy of this access.
    fn sees(&self, memory: Memory, earlier: Stamp) -> bool {
        !self.by.is_async || self.by.timeline.proxied(memory, earlier, self.by.stamp)
    }
}

#[derive(Clone, Default)]
struct Byte {
    writer: Stamp,
    /// Readers since, none ordered before another. Most bytes have two at most.
    readers: [Stamp; 2],
    more: Vec<Stamp>,
    /// Site + 1 of the operation that may still write.
    writing: u32,
    /// Operations that may still read, and the site of one.
    reading: u32,
    reading_site: u32,
}

impl Byte {
    fn clear_readers(&mut self) {
        self.readers = Default::default();
        self.more.clear();
    }

    fn add_reader(&mut self, by: By<'_>) {
        let mut new = by.stamp;
        if !self.readers[0].is_some() || self.readers[0] == new {
            self.readers[0] = new;
            return;
        }
        let mut keep = |old: &mut Stamp| {
            if !old.is_some() || by.timeline.ordered(*old, by.stamp) {
                *old = Stamp::default();
            } else if old.agent == new.agent {
                // two lanes of a warp: from here on the warp has read it
                new = Stamp {
                    lane: crate::order::ALL_LANES,
                    strong: old.strong && new.strong,
                    ..new
                };
                *old = Stamp::default();
            }
        };
        self.readers.iter_mut().for_each(&mut keep);
        self.more.iter_mut().for_each(&mut keep);
        self.put_reader(new);
    }

    fn put_reader(&mut self, new: Stamp) {
        let all = self.readers.iter_mut().chain(&mut self.more);
        match all.into_iter().find(|r| !r.is_some() || r.agent == new.agent) {
            Some(free) => *free = new,
            None => self.more.push(new),
        }
    }
}

/// The state of a stretch of memory.
pub(crate) struct Shadow {
    space: Memory,
    bytes: Vec<Byte>,
    /// Address of the first byte.
    base: u64,
}

impl Shadow {
    pub fn new(space: Memory, base: u64, len: usize) -> Self {
        Self { space, bytes: vec![Byte::default(); len], base }
    }

    fn address(&self, at: usize) -> u64 {
        self.base + at as u64
    }

    /// Whether anyone wrote each byte since the launch began.
    pub fn is_written(&self, at: usize) -> bool {
        self.bytes[at].writer.is_some()
    }

    /// Records a read.
    pub fn read(&mut self, range: Range<usize>, by: By<'_>) -> Result<(), Clash> {
        let (space, base) = (self.space, self.base);
        let mut asked = Asked { by, fine: Stamp::default() };
        for (k, byte) in self.bytes[range.clone()].iter_mut().enumerate() {
            let address = base + (range.start + k) as u64;
            if byte.writing != 0 {
                let site = byte.writing - 1;
                return Err(Clash::InFlight { space, address, site, reads: false });
            }
            if byte.writer.is_some() {
                if !asked.follows(byte.writer) {
                    return Err(Clash::Race { space, address, with: byte.writer });
                }
                if !asked.sees(space, byte.writer) {
                    return Err(Clash::Unfenced { space, address, with: byte.writer });
                }
            }
            byte.add_reader(by);
        }
        Ok(())
    }

    /// Records a write.
    pub fn write(&mut self, range: Range<usize>, by: By<'_>) -> Result<(), Clash> {
        let (space, base) = (self.space, self.base);
        let mut asked = Asked { by, fine: Stamp::default() };
        for (k, byte) in self.bytes[range.clone()].iter_mut().enumerate() {
            let address = base + (range.start + k) as u64;
            if byte.writing != 0 {
                let site = byte.writing - 1;
                return Err(Clash::InFlight { space, address, site, reads: false });
            }
            if byte.reading != 0 {
                let site = byte.reading_site;
                return Err(Clash::InFlight { space, address, site, reads: true });
            }
            for earlier in byte.readers.iter().chain(&byte.more).chain([&byte.writer]) {
                if earlier.is_some() && !asked.follows(*earlier) {
                    return Err(Clash::Race { space, address, with: *earlier });
                }
            }
            if byte.writer.is_some() && !asked.sees(space, byte.writer) {
                return Err(Clash::Unfenced { space, address, with: byte.writer });
            }
            byte.clear_readers();
            byte.writer = by.stamp;
        }
        Ok(())
    }

    /// The write just recorded is asynchronous, and arrives only at [`Shadow::land`].
    pub fn begin_write(&mut self, range: Range<usize>, stamp: Stamp) {
        self.bytes[range].iter_mut().for_each(|byte| byte.writing = stamp.site + 1);
    }

    /// An asynchronous write has arrived, and counts as this access.
    pub fn land(&mut self, range: Range<usize>, stamp: Stamp) {
        for byte in &mut self.bytes[range] {
            byte.writing = 0;
            byte.writer = stamp;
        }
    }

    /// The read just recorded is asynchronous, and ends only at [`Shadow::end_read`].
    pub fn begin_read(&mut self, range: Range<usize>, stamp: Stamp) {
        for byte in &mut self.bytes[range] {
            byte.reading += 1;
            byte.reading_site = stamp.site;
        }
    }

    /// It has read, and that counts as done by this stamp.
    pub fn end_read(&mut self, range: Range<usize>, stamp: Stamp) {
        for byte in &mut self.bytes[range] {
            byte.reading = byte.reading.saturating_sub(1);
            byte.put_reader(stamp);
        }
    }

    /// The memory goes: whatever agents of other blocks did in it must be among what is known.
    pub fn outlives(&self, block: u32, known: &Clock) -> Result<(), Clash> {
        for (at, byte) in self.bytes.iter().enumerate() {
            let (space, address) = (self.space, self.address(at));
            let done = byte.readers.iter().chain(&byte.more).chain([&byte.writer]);
            let mut others = done.filter(|s| s.is_some() && s.agent.block() != block);
            if let Some(with) = others.find(|stamp| !known.covers(**stamp)) {
                return Err(Clash::Race { space, address, with: *with });
            }
        }
        Ok(())
    }

    /// The first byte of the range that nothing wrote.
    pub fn unwritten(&self, range: Range<usize>) -> Option<u64> {
        range.clone().find(|at| !self.is_written(*at)).map(|at| self.address(at))
    }
}
