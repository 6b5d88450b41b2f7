//! What a run counts, per line: exact and repeatable, so that a change of a kernel's efficiency shows
//! without a GPU and without a clock.

use crate::code::Class;

/// Counts of one instruction, over all warps of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Times issued, once per warp.
    pub issued: u64,
    /// Accesses to memory by a warp.
    pub requests: u64,
    /// Wavefronts of shared memory beyond the fewest that the accesses' sizes allow.
    pub conflicts: u64,
    /// Sectors of 32 bytes of global memory that the requests touched.
    pub sectors: u64,
    /// Bytes read from and written to global memory.
    pub global: [u64; 2],
    /// Bytes read from and written to shared memory.
    pub shared: [u64; 2],
}

/// Counts of an instruction, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineCount {
    /// Its line in the text.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// Its kind.
    pub class: Class,
    /// Its counts.
    pub count: Count,
    /// Its requests to global memory, of that by each buffer's name.
    pub buffers: Vec<(String, Count)>,
}

/// What a run counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every instruction of the program, in order.
    pub lines: Vec<LineCount>,
}

impl Report {
    /// All lines together.
    pub fn total(&self) -> Count {
        let mut sum = Count::default();
        for line in &self.lines {
            sum.add(&line.count);
        }
        sum
    }

    /// Instructions issued, once per warp.
    pub fn instructions(&self) -> u64 {
        self.lines.iter().map(|l| l.count.issued).sum()
    }

    /// Instructions of a class issued, once per warp.
    pub fn class(&self, class: Class) -> u64 {
        self.lines.iter().filter(|l| l.class == class).map(|l| l.count.issued).sum()
    }

    /// Requests of the instructions that touched global memory: what the sectors are divided by.
    pub fn global_requests(&self) -> u64 {
        self.lines.iter().filter(|l| l.count.sectors > 0).map(|l| l.count.requests).sum()
    }

    /// Requests to the buffer of this name, all lines together.
    pub fn buffer(&self, name: &str) -> Count {
        let mut sum = Count::default();
        for (buffer, count) in self.lines.iter().flat_map(|line| &line.buffers) {
            if buffer == name {
                sum.add(count);
            }
        }
        sum
    }

    /// Adds another run of the same program.
    pub fn add(&mut self, other: &Self) {
        if self.lines.is_empty() {
            self.lines.clone_from(&other.lines);
            return;
        }
        for (mine, theirs) in self.lines.iter_mut().zip(&other.lines) {
            mine.count.add(&theirs.count);
            for (name, count) in &theirs.buffers {
                match mine.buffers.iter_mut().find(|(mine, _)| mine == name) {
                    Some((_, mine)) => mine.add(count),
                    None => mine.buffers.push((name.clone(), *count)),
                }
            }
        }
    }
}

impl Count {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.issued += other.issued;
        self.requests += other.requests;
        self.conflicts += other.conflicts;
        self.sectors += other.sectors;
        for i in 0..2 {
            self.global[i] += other.global[i];
            self.shared[i] += other.shared[i];
        }
    }

    /// A request to global memory: `bytes` at each of the addresses.
    pub(crate) fn global(&mut self, addresses: &[u64], bytes: usize, write: bool) {
        self.requests += 1;
        self.global[write as usize] += (addresses.len() * bytes) as u64;
        // a warp's addresses are few: a sorted list of sectors is enough
        let mut sectors: Vec<u64> = Vec::with_capacity(2 * addresses.len());
        for address in addresses {
            sectors.extend(address / 32..=(address + bytes.max(1) as u64 - 1) / 32);
        }
        sectors.sort_unstable();
        sectors.dedup();
        self.sectors += sectors.len() as u64;
    }

    /// A request to shared memory by lanes at these addresses. It serves 128 bytes at a time, one
    /// word from each of 32 banks: an access of `bytes` is served in phases of 128/`bytes` lanes,
    /// each as often as its busiest bank has distinct words.
    pub(crate) fn shared(&mut self, lanes: &[(usize, u64)], bytes: usize, write: bool) {
        self.requests += 1;
        self.shared[write as usize] += (lanes.len() * bytes) as u64;
        let phase = (128 / bytes.clamp(4, 128)).max(1);
        for first in (0..32).step_by(phase) {
            let mut words: [u64; 64] = [u64::MAX; 64];
            let mut count = 0;
            for (_, address) in lanes.iter().filter(|(l, _)| (first..first + phase).contains(l)) {
                for word in address / 4..(address + bytes as u64).div_ceil(4) {
                    if count < 64 && !words[..count].contains(&word) {
                        words[count] = word;
                        count += 1;
                    }
                }
            }
            let mut busy = [0u8; 32];
            for word in &words[..count] {
                busy[*word as usize % 32] += 1;
            }
            let busiest = busy.iter().max().copied().unwrap_or(0);
            self.conflicts += u64::from(busiest.saturating_sub(1));
        }
    }
}
