//! Global and shared memory: bytes, bounds, alignment, poison; order is the [`Shadow`]'s.

use crate::order::{Memory, Released, Stamp};
use crate::shadow::{By, Clash, Shadow};
use crate::trap::Fault;
use std::collections::HashMap;
use std::ops::Range;

/// Global memory: named buffers with gaps between them.
#[derive(Default)]
pub struct Global {
    buffers: Vec<Buffer>,
    pub(crate) released: Releases,
}

struct Buffer {
    name: String,
    base: u64,
    bytes: Vec<u8>,
    /// Whether each byte was written, by the host or a kernel.
    written: Vec<bool>,
    /// Accesses of this launch, page by page; nobody races in a read-only buffer.
    pages: Vec<Option<Box<Shadow>>>,
    read_only: bool,
}

/// Between buffers, so that an overrun never lands in a neighbour.
const GAP: u64 = 1 << 20;
/// Bytes whose shadow is made at once.
const PAGE: usize = 512;

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
        let pages = (0..bytes.len().div_ceil(PAGE)).map(|_| None).collect();
        self.buffers.push(Buffer { name: name.into(), base, bytes, written, pages, read_only });
        base
    }

    /// The bytes of the buffer at `base`, and whether each was written.
    pub fn get(&self, base: u64) -> Option<(&[u8], &[bool])> {
        let found = self.buffers.iter().find(|b| b.base == base)?;
        Some((&found.bytes, &found.written))
    }

    /// Forgets who accessed what: a new launch begins, after all that came before.
    pub(crate) fn begin_launch(&mut self) {
        self.released.0.clear();
        for buffer in &mut self.buffers {
            buffer.pages.iter_mut().for_each(|page| *page = None);
        }
    }

    /// Which buffer has this address, and its others.
    pub(crate) fn holder(&self, address: u64) -> Option<(usize, Range<u64>)> {
        let (i, _) = self.find(address, 1).ok()?;
        let Buffer { base, bytes, .. } = &self.buffers[i];
        Some((i, *base..base + bytes.len() as u64))
    }

    /// The name of a buffer.
    pub(crate) fn name(&self, buffer: usize) -> &str {
        &self.buffers[buffer].name
    }

    fn find(&self, address: u64, len: usize) -> Result<(usize, Range<usize>), Fault> {
        let below = self.buffers.partition_point(|b| b.base <= address);
        if let Some(b) = below.checked_sub(1).map(|i| &self.buffers[i]) {
            let start = (address - b.base) as usize;
            if start < b.bytes.len() && len <= b.bytes.len() - start {
                return Ok((below - 1, start..start + len));
            }
        }
        let nearest = below.checked_sub(1).map_or("none below".to_string(), |i| {
            let b = &self.buffers[i];
            format!("{}, {:#x}..{:#x}", b.name, b.base, b.base + b.bytes.len() as u64)
        });
        Err(Fault::OutOfBounds { space: "global", address, bytes: len as u64, nearest })
    }

    pub(crate) fn read(&mut self, address: u64, out: &mut [u8], by: By<'_>) -> Result<(), Clash> {
        let (i, range) = self.find(address, out.len())?;
        let b = &mut self.buffers[i];
        if let Some(gap) = b.written[range.clone()].iter().position(|w| !w) {
            let address = address + gap as u64;
            return Err(Fault::PoisonMemory { space: "global", address }.into());
        }
        b.shadow(range.clone(), |shadow, part| shadow.read(part, by))?;
        out.copy_from_slice(&b.bytes[range]);
        Ok(())
    }

    /// Refuses bytes that this launch wrote: `ld.global.nc` (ISA 9.7.9.9) is for what stays as it is
    /// while the kernel runs.
    pub(crate) fn constant(&mut self, address: u64, len: usize) -> Result<(), Clash> {
        let (i, range) = self.find(address, len)?;
        self.buffers[i].shadow(range, |shadow, part| {
            match part.into_iter().find(|at| shadow.is_written(*at)) {
                Some(_) => Err(Fault::Rule(format!(
                    "ld.global.nc reads {address:#x}, which this launch wrote"
                ))
                .into()),
                None => Ok(()),
            }
        })
    }

    pub(crate) fn write(&mut self, address: u64, data: &[u8], by: By<'_>) -> Result<(), Clash> {
        let (i, range) = self.find(address, data.len())?;
        let b = &mut self.buffers[i];
        if b.read_only {
            return Err(Fault::ReadOnly { buffer: b.name.clone() }.into());
        }
        b.shadow(range.clone(), |shadow, part| shadow.write(part, by))?;
        b.bytes[range.clone()].copy_from_slice(data);
        b.written[range].fill(true);
        Ok(())
    }

    /// An asynchronous copy writes: until [`Global::land`] nobody may touch the bytes.
    pub(crate) fn begin_write(
        &mut self,
        address: u64,
        data: &[u8],
        by: By<'_>,
    ) -> Result<(), Clash> {
        self.write(address, data, by)?;
        self.each(address, data.len(), |shadow, part| shadow.begin_write(part, by.stamp))
    }

    pub(crate) fn land(&mut self, address: u64, len: usize, stamp: Stamp) {
        // what began is there
        let _ = self.each(address, len, |shadow, part| shadow.land(part, stamp));
    }

    /// An asynchronous copy reads: until [`Global::end_read`] nobody may write the bytes.
    pub(crate) fn begin_read(
        &mut self,
        address: u64,
        out: &mut [u8],
        by: By<'_>,
    ) -> Result<(), Clash> {
        self.read(address, out, by)?;
        self.each(address, out.len(), |shadow, part| shadow.begin_read(part, by.stamp))
    }

    pub(crate) fn end_read(&mut self, address: u64, len: usize, stamp: Stamp) {
        // what began is there
        let _ = self.each(address, len, |shadow, part| shadow.end_read(part, stamp));
    }

    fn each(
        &mut self,
        address: u64,
        len: usize,
        mut each: impl FnMut(&mut Shadow, Range<usize>),
    ) -> Result<(), Clash> {
        let (i, range) = self.find(address, len)?;
        self.buffers[i].shadow(range, |shadow, part| {
            each(shadow, part);
            Ok(())
        })
    }
}

impl Buffer {
    /// Each page's part of a range, in turn.
    fn shadow(
        &mut self,
        range: Range<usize>,
        mut each: impl FnMut(&mut Shadow, Range<usize>) -> Result<(), Clash>,
    ) -> Result<(), Clash> {
        if self.read_only {
            return Ok(());
        }
        let mut at = range.start;
        while at < range.end {
            let (page, from) = (at / PAGE, at % PAGE);
            let to = PAGE.min(from + range.end - at);
            let base = self.base + (page * PAGE) as u64;
            let shadow = self.pages[page]
                .get_or_insert_with(|| Box::new(Shadow::new(Memory::Global, base, PAGE)));
            each(shadow, from..to)?;
            at += to - from;
        }
        Ok(())
    }
}

/// What strong writes released, by address.
#[derive(Default)]
pub(crate) struct Releases(pub HashMap<u64, Released>);

/// A block's shared memory.
pub(crate) struct Shared {
    bytes: Vec<u8>,
    pub shadow: Shadow,
    pub released: Releases,
}

impl Shared {
    pub fn new(len: usize) -> Self {
        let shadow = Shadow::new(Memory::Shared, 0, len);
        Self { bytes: vec![0xCD; len], shadow, released: Releases::default() }
    }

    pub fn range(&self, address: u64, len: usize) -> Result<Range<usize>, Fault> {
        let end = address.checked_add(len as u64);
        if end.is_none_or(|end| end > self.bytes.len() as u64) {
            let nearest = format!("shared, 0x0..{:#x}", self.bytes.len());
            return Err(Fault::OutOfBounds {
                space: "shared",
                address,
                bytes: len as u64,
                nearest,
            });
        }
        Ok(address as usize..address as usize + len)
    }

    pub fn read(&mut self, address: u64, out: &mut [u8], by: By<'_>) -> Result<(), Clash> {
        let range = self.range(address, out.len())?;
        self.shadow.read(range.clone(), by)?;
        self.defined(range.clone())?;
        out.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    pub fn write(&mut self, address: u64, data: &[u8], by: By<'_>) -> Result<(), Clash> {
        let range = self.range(address, data.len())?;
        self.shadow.write(range.clone(), by)?;
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }

    /// An asynchronous copy writes: until [`Shared::land`] nobody may touch the bytes.
    pub fn begin_write(&mut self, address: u64, data: &[u8], by: By<'_>) -> Result<(), Clash> {
        self.write(address, data, by)?;
        self.shadow.begin_write(self.range(address, data.len())?, by.stamp);
        Ok(())
    }

    /// Its data are there, and count as written by this stamp.
    pub fn land(&mut self, address: u64, len: usize, stamp: Stamp) {
        if let Ok(range) = self.range(address, len) {
            self.shadow.land(range, stamp);
        }
    }

    /// An asynchronous operation reads: until [`Shared::end_read`] nobody may write the bytes.
    pub fn begin_read(&mut self, address: u64, out: &mut [u8], by: By<'_>) -> Result<(), Clash> {
        self.read(address, out, by)?;
        self.shadow.begin_read(self.range(address, out.len())?, by.stamp);
        Ok(())
    }

    pub fn end_read(&mut self, address: u64, len: usize, stamp: Stamp) {
        if let Ok(range) = self.range(address, len) {
            self.shadow.end_read(range, stamp);
        }
    }

    fn defined(&self, range: Range<usize>) -> Result<(), Fault> {
        match self.shadow.unwritten(range) {
            Some(address) => Err(Fault::PoisonMemory { space: "shared", address }),
            None => Ok(()),
        }
    }
}

pub(crate) fn aligned(address: u64, bytes: usize) -> Result<(), Fault> {
    if bytes.is_power_of_two() && !address.is_multiple_of(bytes as u64) {
        return Err(Fault::Misaligned { address, bytes: bytes as u64 });
    }
    Ok(())
}
