//! How instructions touch memory: loads, stores, `ldmatrix`, `cp.async`, atomics, bank conflicts.

use crate::block::Block;
use crate::execute::{ALL, Done, together};
use crate::trap::Fault;
use crate::warp::{Copy, Warp, lanes};
use quickpick_ptx::{Addr, B32, B64, Class, Reg, Src, Trans};

impl Block<'_> {
    /// `N` bytes a lane, spread evenly over the registers.
    pub(crate) fn load_global<C: Class, const N: usize>(
        &mut self,
        w: &mut Warp<'_>,
        d: impl AsRef<[Reg<C>]>,
        a: Addr<B64>,
        mask: u32,
    ) -> Done {
        for lane in lanes(mask) {
            let data: [u8; N] = self.memory.read(global(w, a, lane)?)?;
            spread(w, d.as_ref(), &data, lane)?;
        }
        Ok(())
    }

    pub(crate) fn store_global<C: Class, const R: usize>(
        &mut self,
        w: &Warp<'_>,
        a: Addr<B64>,
        b: [Reg<C>; R],
        size: usize,
        mask: u32,
    ) -> Done {
        for lane in lanes(mask) {
            let data = gather(w, &b, size, lane)?;
            self.memory.write(global(w, a, lane)?, &data, Some(self.number))?;
        }
        Ok(())
    }

    pub(crate) fn load_shared<C: Class, const N: usize>(
        &mut self,
        w: &mut Warp<'_>,
        pc: usize,
        d: impl AsRef<[Reg<C>]>,
        a: Addr<B32>,
        mask: u32,
    ) -> Done {
        let by = self.access(w, pc);
        self.count_conflicts(w, a, N as u64, mask)?;
        for lane in lanes(mask) {
            let data: [u8; N] = self.shared.read(shared(w, a, lane)?, by)?;
            spread(w, d.as_ref(), &data, lane)?;
        }
        Ok(())
    }

    pub(crate) fn store_shared<C: Class, const R: usize>(
        &mut self,
        w: &Warp<'_>,
        pc: usize,
        a: Addr<B32>,
        b: [Reg<C>; R],
        size: usize,
        mask: u32,
    ) -> Done {
        let by = self.access(w, pc);
        self.count_conflicts(w, a, (R * size) as u64, mask)?;
        for lane in lanes(mask) {
            let data = gather(w, &b, size, lane)?;
            self.shared.write(shared(w, a, lane)?, &data, by)?;
        }
        Ok(())
    }

    /// ISA 9.7.14.5.15: matrix i takes its eight rows of 16 bytes from the addresses of lanes
    /// 8i..8i+8; lane L receives elements 2·(L%4) and the next of row L/4, or, transposed, of column
    /// L/4.
    pub(crate) fn ldmatrix<const R: usize>(
        &mut self,
        w: &mut Warp<'_>,
        pc: usize,
        trans: Trans,
        d: [Reg<B32>; R],
        a: Addr<B32>,
        (here, mask): (u32, u32),
    ) -> Done {
        together(here, mask)?;
        let by = self.access(w, pc);
        let addressed = if R == 4 { ALL } else { (1 << (8 * R)) - 1 };
        self.count_conflicts(w, a, 16, addressed)?;
        for (i, reg) in d.into_iter().enumerate() {
            let mut rows = [[0u8; 16]; 8];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = self.shared.read(shared(w, a, 8 * i + r)?, by)?;
            }
            let half =
                |r: usize, c: usize| rows[r][2 * c] as u64 | (rows[r][2 * c + 1] as u64) << 8;
            for lane in 0..32 {
                let (r, c) = (lane / 4, 2 * (lane % 4));
                let value = match trans {
                    Trans::No => half(r, c) | half(r, c + 1) << 16,
                    Trans::Yes => half(c, r) | half(c + 1, r) << 16,
                };
                w.set(reg, lane, value)?;
            }
        }
        Ok(())
    }

    /// `size` bytes a lane, of which the first `take` are read and the rest are zero.
    pub(crate) fn copy(
        &mut self,
        w: &mut Warp<'_>,
        pc: usize,
        d: Addr<B32>,
        a: Addr<B64>,
        size: u32,
        take: impl Fn(&Warp<'_>, usize) -> Result<u64, Fault>,
        mask: u32,
    ) -> Done {
        let by = self.access(w, pc);
        for lane in lanes(mask) {
            let (to, from) = (shared(w, d, lane)?, global(w, a, lane)?);
            if from % size as u64 != 0 {
                return Err(Fault::Misaligned { address: from, bytes: size as u64 }.into());
            }
            let mut data = vec![0; size as usize];
            let take = take(w, lane)?.min(size as u64);
            for (k, byte) in data.iter_mut().take(take as usize).enumerate() {
                [*byte] = self.memory.read(from + k as u64)?;
            }
            self.shared.begin_copy(to, size as u64, by)?;
            w.open[lane].push(Copy { to, data });
        }
        Ok(())
    }

    /// All but the youngest `pending` groups of each lane land.
    pub(crate) fn wait(&mut self, w: &mut Warp<'_>, pc: usize, pending: usize, mask: u32) {
        let by = self.access(w, pc);
        for lane in lanes(mask) {
            while w.groups[lane].len() > pending {
                for copy in w.groups[lane].pop_front().into_iter().flatten() {
                    self.shared.land(copy.to, &copy.data, by);
                }
            }
        }
    }

    pub(crate) fn add(
        &mut self,
        w: &Warp<'_>,
        a: Addr<B64>,
        b: Src<B32>,
        lane: usize,
    ) -> Result<u64, Fault> {
        let address = global(w, a, lane)?;
        let old = u32::from_le_bytes(self.memory.read(address)?);
        let new = old.wrapping_add(w.src(b, lane)? as u32);
        self.memory.write(address, &new.to_le_bytes(), None)?;
        Ok(old as u64)
    }

    /// Shared memory serves 128 bytes at a time, one word from each of 32 banks: an access of
    /// `size` bytes is served in phases of 128/size lanes, each as often as its busiest bank has
    /// distinct words.
    fn count_conflicts(&mut self, w: &Warp<'_>, a: Addr<B32>, size: u64, mask: u32) -> Done {
        let phase = (128 / size.max(4)) as usize;
        for first in (0..32).step_by(phase) {
            let mut words = [const { Vec::new() }; 32];
            for lane in lanes(mask).filter(|l| (first..first + phase).contains(l)) {
                let address = shared(w, a, lane)?;
                for word in address / 4..(address + size).div_ceil(4) {
                    let bank: &mut Vec<u64> = &mut words[word as usize % 32];
                    if !bank.contains(&word) {
                        bank.push(word);
                    }
                }
            }
            let busiest = words.iter().map(Vec::len).max().unwrap_or(0);
            self.report.bank_conflicts += busiest.saturating_sub(1) as u64;
        }
        Ok(())
    }
}

fn global(w: &Warp<'_>, a: Addr<B64>, lane: usize) -> Result<u64, Fault> {
    Ok(w.get(a.base, lane)?.wrapping_add(a.offset as i64 as u64))
}

fn shared(w: &Warp<'_>, a: Addr<B32>, lane: usize) -> Result<u64, Fault> {
    Ok((w.get(a.base, lane)? as u32).wrapping_add(a.offset as u32) as u64)
}

/// Little-endian bytes to registers of equal shares.
fn spread<C: Class>(w: &mut Warp<'_>, d: &[Reg<C>], data: &[u8], lane: usize) -> Result<(), Fault> {
    for (reg, part) in d.iter().zip(data.chunks(data.len() / d.len().max(1))) {
        let value = part.iter().rev().fold(0, |value, byte| value << 8 | *byte as u64);
        w.set(*reg, lane, value)?;
    }
    Ok(())
}

fn gather<C: Class>(
    w: &Warp<'_>,
    regs: &[Reg<C>],
    size: usize,
    lane: usize,
) -> Result<Vec<u8>, Fault> {
    let mut data = Vec::with_capacity(regs.len() * size);
    for reg in regs {
        data.extend_from_slice(&w.get(*reg, lane)?.to_le_bytes()[..size]);
    }
    Ok(data)
}
