//! Memory that knows what was written: poison, bounds, alignment, races, copies in flight.

use crate::trap::Fault;

/// Global memory: named buffers with gaps between them.
#[derive(Default)]
pub struct Global {
    buffers: Vec<Buffer>,
}

struct Buffer {
    name: String,
    base: u64,
    bytes: Vec<u8>,
    /// Whether each byte was written, by the host or a kernel.
    written: Vec<bool>,
    /// The block that wrote each byte in this launch, + 1.
    writer: Vec<u32>,
    read_only: bool,
}

/// Between buffers, so that an overrun never lands in a neighbour.
const GAP: u64 = 1 << 20;

impl Global {
    /// A buffer that holds `bytes`; returns its address, a multiple of 256.
    pub fn put(&mut self, name: &str, bytes: &[u8], read_only: bool) -> u64 {
        let written = vec![true; bytes.len()];
        self.push(name, bytes.to_vec(), written, read_only)
    }

    /// A buffer that nothing wrote; returns its address.
    pub fn poisoned(&mut self, name: &str, len: usize) -> u64 {
        self.push(name, vec![0xCD; len], vec![false; len], false)
    }

    fn push(&mut self, name: &str, bytes: Vec<u8>, written: Vec<bool>, read_only: bool) -> u64 {
        let end = self.buffers.last().map_or(0, |b| b.base + b.bytes.len() as u64);
        let base = (end + GAP).next_multiple_of(256);
        let writer = vec![0; bytes.len()];
        self.buffers.push(Buffer { name: name.into(), base, bytes, written, writer, read_only });
        base
    }

    /// The bytes of the buffer at `base`, and whether each was written.
    pub fn get(&self, base: u64) -> Option<(&[u8], &[bool])> {
        let found = self.buffers.iter().find(|b| b.base == base)?;
        Some((&found.bytes, &found.written))
    }

    /// Forgets which block wrote what: a new launch begins.
    pub(crate) fn begin_launch(&mut self) {
        for buffer in &mut self.buffers {
            buffer.writer.fill(0);
        }
    }

    fn find(&self, address: u64, len: u64) -> Result<(usize, usize), Fault> {
        let below = self.buffers.partition_point(|b| b.base <= address);
        if let Some(b) = below.checked_sub(1).map(|i| &self.buffers[i]) {
            let start = address - b.base;
            if start + len <= b.bytes.len() as u64 {
                return aligned(address, len).map(|()| (below - 1, start as usize));
            }
        }
        let nearest = below.checked_sub(1).map_or("none below".to_string(), |i| {
            let b = &self.buffers[i];
            format!("{}, {:#x}..{:#x}", b.name, b.base, b.base + b.bytes.len() as u64)
        });
        Err(Fault::OutOfBounds { space: "global", address, bytes: len, nearest })
    }

    pub(crate) fn read<const N: usize>(&self, address: u64) -> Result<[u8; N], Fault> {
        let (i, at) = self.find(address, N as u64)?;
        let b = &self.buffers[i];
        if let Some(gap) = b.written[at..at + N].iter().position(|w| !w) {
            return Err(Fault::PoisonMemory { space: "global", address: address + gap as u64 });
        }
        let mut out = [0; N];
        out.copy_from_slice(&b.bytes[at..at + N]);
        Ok(out)
    }

    /// `block` counts from 0; atomics pass `None`, for blocks may share what they touch.
    pub(crate) fn write(
        &mut self,
        address: u64,
        data: &[u8],
        block: Option<u32>,
    ) -> Result<(), Fault> {
        let (i, at) = self.find(address, data.len() as u64)?;
        let b = &mut self.buffers[i];
        if b.read_only {
            return Err(Fault::ReadOnly { buffer: b.name.clone() });
        }
        for (k, &byte) in data.iter().enumerate() {
            let writer = &mut b.writer[at + k];
            if let Some(block) = block {
                if *writer != 0 && *writer != block + 1 {
                    let other = *writer - 1;
                    return Err(Fault::BlocksCollide { address: address + k as u64, other });
                }
                *writer = block + 1;
            }
            b.bytes[at + k] = byte;
            b.written[at + k] = true;
        }
        Ok(())
    }
}

/// Who touched a byte last, and when: the warp, the instruction, the barrier epoch.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    pub warp: u32,
    pub site: u32,
    pub epoch: u32,
}

/// A race or a copy in flight, before sites have their text.
pub(crate) enum Clash {
    Fault(Fault),
    Race { address: u64, with: Access },
    InFlight { address: u64, copy: u32 },
}

impl From<Fault> for Clash {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A block's shared memory.
///
/// All threads of a block meet at every barrier (`bar.sync 0`), so the barriers cut time into
/// epochs, and two accesses by different warps are ordered only by an epoch between them. Within a
/// warp the order is the program's.
pub(crate) struct Shared {
    bytes: Vec<u8>,
    state: Vec<Byte>,
    pub epoch: u32,
}

#[derive(Clone, Copy, Default)]
struct Byte {
    written: bool,
    writer: Option<Access>,
    /// The last reader, and another warp's if there was one in the same epoch.
    readers: [Option<Access>; 2],
    /// The `cp.async` whose data may still arrive: its site.
    copy: Option<u32>,
}

impl Shared {
    pub fn new(len: usize) -> Self {
        Self { bytes: vec![0xCD; len], state: vec![Byte::default(); len], epoch: 0 }
    }

    fn range(&self, address: u64, len: u64) -> Result<std::ops::Range<usize>, Fault> {
        if address + len > self.bytes.len() as u64 {
            let nearest = format!("shared, 0x0..{:#x}", self.bytes.len());
            return Err(Fault::OutOfBounds { space: "shared", address, bytes: len, nearest });
        }
        aligned(address, len)?;
        Ok(address as usize..(address + len) as usize)
    }

    pub fn read<const N: usize>(&mut self, address: u64, by: Access) -> Result<[u8; N], Clash> {
        let range = self.range(address, N as u64)?;
        for (k, byte) in self.state[range.clone()].iter_mut().enumerate() {
            let address = address + k as u64;
            if let Some(copy) = byte.copy {
                return Err(Clash::InFlight { address, copy });
            }
            if !byte.written {
                return Err(Fault::PoisonMemory { space: "shared", address }.into());
            }
            match byte.writer {
                Some(w) if w.warp != by.warp && w.epoch == by.epoch => {
                    return Err(Clash::Race { address, with: w });
                }
                _ => {}
            }
            if byte.readers[0].is_some_and(|r| r.warp != by.warp) {
                byte.readers[1] = byte.readers[0];
            }
            byte.readers[0] = Some(by);
        }
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[range]);
        Ok(out)
    }

    pub fn write(&mut self, address: u64, data: &[u8], by: Access) -> Result<(), Clash> {
        self.claim(address, data.len() as u64, by, None)?;
        let at = address as usize;
        self.bytes[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    /// Begins an asynchronous copy: the bytes may change from now until [`Shared::land`].
    pub fn begin_copy(&mut self, address: u64, len: u64, by: Access) -> Result<(), Clash> {
        self.claim(address, len, by, Some(by.site))
    }

    /// The copying thread has waited: its data is there, as if the thread had written it now.
    pub fn land(&mut self, address: u64, data: &[u8], by: Access) {
        let at = address as usize;
        self.bytes[at..at + data.len()].copy_from_slice(data);
        for byte in &mut self.state[at..at + data.len()] {
            byte.copy = None;
            byte.writer = Some(by);
        }
    }

    /// Marks bytes as written, if nobody else may touch them now.
    fn claim(
        &mut self,
        address: u64,
        len: u64,
        by: Access,
        copy: Option<u32>,
    ) -> Result<(), Clash> {
        let range = self.range(address, len)?;
        for (k, byte) in self.state[range].iter_mut().enumerate() {
            let address = address + k as u64;
            if let Some(copy) = byte.copy {
                return Err(Clash::InFlight { address, copy });
            }
            for other in byte.readers.iter().chain([&byte.writer]).flatten() {
                if other.warp != by.warp && other.epoch == by.epoch {
                    return Err(Clash::Race { address, with: *other });
                }
            }
            *byte = Byte { written: true, writer: Some(by), readers: [None; 2], copy };
        }
        Ok(())
    }
}

fn aligned(address: u64, bytes: u64) -> Result<(), Fault> {
    if bytes.is_power_of_two() && address % bytes != 0 {
        return Err(Fault::Misaligned { address, bytes });
    }
    Ok(())
}
