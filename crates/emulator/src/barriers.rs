//! A block's sixteen named barriers: `bar`, `barrier` (PTX manual 9.7.13.1).
//!
//! A barrier counts threads, but arrivals are of whole warps: each adds 32. What the manual leaves
//! undefined or warns of is an error: participants that name different counts, a warp that arrives
//! twice before the barrier resets, and counts that no block can fill.

use std::fmt;

/// Barriers of a block.
const BARRIERS: u32 = 16;
/// Threads of a warp.
const WARP: u32 = 32;

/// What the manual forbids or leaves undefined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BarrierError {
    #[error("barrier {0} is not one of a block's {BARRIERS}")]
    Id(u32),
    #[error("a barrier for {0} threads, which is not a positive multiple of {WARP}")]
    Count(u32),
    #[error("a barrier for {count} threads in a block of {block}")]
    Block { count: u32, block: u32 },
    #[error(
        "warp {warp} comes to barrier {id} for {count} threads, \
         at which warp {other} came for {others}"
    )]
    Mismatch { id: u32, warp: u32, count: u32, other: u32, others: u32 },
    #[error("warp {warp} comes to barrier {id} twice before it is full")]
    Twice { id: u32, warp: u32 },
}

/// What an arrival did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The barrier is not full. A warp that synchronises stays; one that arrives goes on.
    Waiting,
    /// The barrier was full and is empty again.
    Released {
        /// The warps that stayed, the last to come among them if it synchronised: they go on.
        waiters: Vec<u32>,
        /// All that came, in their order: what they did before, the waiters see.
        participants: Vec<u32>,
    },
}

#[derive(Clone, Copy)]
struct Participant {
    warp: u32,
    waits: bool,
}

/// A barrier in use: the threads that it waits for, and who came.
#[derive(Clone, Default)]
struct Barrier {
    count: u32,
    came: Vec<Participant>,
}

/// The barriers of a block.
#[derive(Clone)]
pub(crate) struct Barriers {
    slots: [Barrier; BARRIERS as usize],
    /// Whole warps: a last warp with fewer threads counts as one of 32.
    block: u32,
}

impl Barriers {
    /// Of a block with so many threads.
    pub fn new(block_threads: u32) -> Self {
        let block = block_threads.div_ceil(WARP).saturating_mul(WARP);
        Self { slots: Default::default(), block }
    }

    /// `bar.sync id, count`: without a count, all threads of the block.
    pub fn sync(
        &mut self,
        id: u32,
        warp: u32,
        count: Option<u32>,
    ) -> Result<Outcome, BarrierError> {
        self.come(id, count.unwrap_or(self.block), Participant { warp, waits: true })
    }

    /// `bar.arrive id, count`, which must name its count.
    pub fn arrive(&mut self, id: u32, warp: u32, count: u32) -> Result<Outcome, BarrierError> {
        self.come(id, count, Participant { warp, waits: false })
    }

    fn come(&mut self, id: u32, count: u32, who: Participant) -> Result<Outcome, BarrierError> {
        let Some(barrier) = self.slots.get_mut(id as usize) else {
            return Err(BarrierError::Id(id));
        };
        if count == 0 || !count.is_multiple_of(WARP) {
            return Err(BarrierError::Count(count));
        }
        if count > self.block {
            return Err(BarrierError::Block { count, block: self.block });
        }
        let warp = who.warp;
        if let Some(first) = barrier.came.first().filter(|_| barrier.count != count) {
            let (other, others) = (first.warp, barrier.count);
            return Err(BarrierError::Mismatch { id, warp, count, other, others });
        }
        if barrier.came.iter().any(|other| other.warp == warp) {
            return Err(BarrierError::Twice { id, warp });
        }
        barrier.count = count;
        barrier.came.push(who);
        if (barrier.came.len() as u32) < count / WARP {
            return Ok(Outcome::Waiting);
        }
        let came = std::mem::take(&mut barrier.came);
        Ok(Outcome::Released {
            waiters: came.iter().filter(|p| p.waits).map(|p| p.warp).collect(),
            participants: came.iter().map(|p| p.warp).collect(),
        })
    }
}

/// The barriers in use, as a deadlock report says it: `barrier 1: 64 of 96 threads came (warps 0, 2);
/// warp 2 waits`.
impl fmt::Display for Barriers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |warps: &[u32]| {
            let numbers: Vec<_> = warps.iter().map(u32::to_string).collect();
            let plural = if warps.len() == 1 { "" } else { "s" };
            format!("warp{plural} {}", numbers.join(", "))
        };
        let used = self.slots.iter().enumerate().filter(|(_, b)| !b.came.is_empty());
        for (nth, (id, barrier)) in used.enumerate() {
            let came: Vec<_> = barrier.came.iter().map(|p| p.warp).collect();
            let wait: Vec<_> = barrier.came.iter().filter(|p| p.waits).map(|p| p.warp).collect();
            let line = if nth > 0 { "\n" } else { "" };
            let (threads, count) = (came.len() as u32 * WARP, barrier.count);
            write!(f, "{line}barrier {id}: {threads} of {count} threads came ({})", list(&came))?;
            match wait.len() {
                0 => write!(f, "; none waits")?,
                1 => write!(f, "; {} waits", list(&wait))?,
                _ => write!(f, "; {} wait", list(&wait))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BarrierError as E, Barriers, Outcome};

    fn released(waiters: &[u32], participants: &[u32]) -> Result<Outcome, E> {
        let (waiters, participants) = (waiters.to_vec(), participants.to_vec());
        Ok(Outcome::Released { waiters, participants })
    }

    #[test]
    fn the_whole_block_meets_again_and_again() {
        let mut b = Barriers::new(100); // four warps, the last of four threads
        for _ in 0..3 {
            for warp in [2, 0, 3] {
                assert_eq!(b.sync(0, warp, None), Ok(Outcome::Waiting));
            }
            assert_eq!(b.sync(0, 1, Some(128)), released(&[2, 0, 3, 1], &[2, 0, 3, 1]));
        }
    }

    #[test]
    fn a_producer_arrives_and_goes_on() {
        let mut b = Barriers::new(128);
        assert_eq!(b.arrive(1, 0, 64), Ok(Outcome::Waiting));
        assert_eq!(b.sync(2, 0, Some(64)), Ok(Outcome::Waiting));
        assert_eq!(b.sync(1, 3, Some(64)), released(&[3], &[0, 3]));
        assert_eq!(b.arrive(2, 3, 64), released(&[0], &[0, 3]));
        // An arrival may be the last of several waiters, or of none.
        assert_eq!(b.sync(1, 1, Some(96)), Ok(Outcome::Waiting));
        assert_eq!(b.sync(1, 2, Some(96)), Ok(Outcome::Waiting));
        assert_eq!(b.arrive(1, 0, 96), released(&[1, 2], &[1, 2, 0]));
        assert_eq!(b.arrive(1, 0, 64), Ok(Outcome::Waiting));
        assert_eq!(b.arrive(1, 1, 64), released(&[], &[0, 1]));
    }

    #[test]
    fn barriers_are_apart_and_one_warp_can_be_all() {
        let mut b = Barriers::new(64);
        for id in 0..16 {
            assert_eq!(b.sync(id, 0, None), Ok(Outcome::Waiting));
        }
        for id in (0..16).rev() {
            assert_eq!(b.sync(id, 1, None), released(&[0, 1], &[0, 1]));
        }
        assert_eq!(b.sync(7, 1, Some(32)), released(&[1], &[1]));
    }

    #[test]
    fn mistakes_are_named() {
        let mut b = Barriers::new(128);
        assert_eq!(b.sync(16, 0, None), Err(E::Id(16)));
        assert_eq!(b.arrive(u32::MAX, 0, 64), Err(E::Id(u32::MAX)));
        assert_eq!(b.arrive(0, 0, 0), Err(E::Count(0)));
        assert_eq!(b.sync(0, 0, Some(48)), Err(E::Count(48)));
        assert_eq!(b.sync(0, 0, Some(160)), Err(E::Block { count: 160, block: 128 }));
        assert_eq!(b.to_string(), "", "what is refused leaves no trace");
        b.arrive(3, 2, 64).unwrap();
        assert_eq!(b.arrive(3, 2, 64), Err(E::Twice { id: 3, warp: 2 }));
        let mismatch = b.sync(3, 1, None).unwrap_err();
        assert_eq!(mismatch, E::Mismatch { id: 3, warp: 1, count: 128, other: 2, others: 64 });
        let text = "warp 1 comes to barrier 3 for 128 threads, at which warp 2 came for 64";
        assert_eq!(mismatch.to_string(), text);
        // After a reset, another count is fine.
        b.sync(3, 0, Some(64)).unwrap();
        assert_eq!(b.sync(3, 1, None), Ok(Outcome::Waiting));
        assert_eq!(Barriers::new(0).sync(0, 0, None), Err(E::Count(0)));
        assert_eq!(Barriers::new(u32::MAX).sync(0, 0, Some(32)), released(&[0], &[0]));
    }

    #[test]
    fn it_says_who_waits_for_how_many() {
        let mut b = Barriers::new(128);
        b.arrive(1, 0, 96).unwrap();
        b.sync(1, 2, Some(96)).unwrap();
        b.arrive(4, 0, 64).unwrap();
        b.sync(9, 1, None).unwrap();
        b.sync(9, 3, None).unwrap();
        let text = "\
barrier 1: 64 of 96 threads came (warps 0, 2); warp 2 waits
barrier 4: 32 of 64 threads came (warp 0); none waits
barrier 9: 64 of 128 threads came (warps 1, 3); warps 1, 3 wait";
        assert_eq!(b.to_string(), text);
    }

    /// Against a model that keeps, for each barrier, only the arrivals so far as text.
    #[test]
    fn random_arrivals_match_a_naive_model() {
        let mut b = Barriers::new(256);
        let mut logs = vec![String::new(); 16];
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (mut full, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let (id, warp) = (random(16) as u32, random(8) as u32);
            let begun = logs[id as usize].rsplit_once('/').map(|(_, n)| n[..1].parse().unwrap());
            // Mostly the count that the barrier has.
            let warps: u64 = begun.filter(|_| random(8) > 0).unwrap_or(1 + random(8));
            let waits = random(2) == 0;
            let count = 32 * warps as u32;
            let done =
                if waits { b.sync(id, warp, Some(count)) } else { b.arrive(id, warp, count) };
            let log = &mut logs[id as usize];
            let clash = log.split(';').filter(|entry| !entry.is_empty()).any(|entry| {
                !entry.ends_with(&format!("/{warps}")) || entry.starts_with(&format!("{warp}:"))
            });
            assert_eq!(done.is_err(), clash, "{id} {warp} {count}: {log}");
            let Ok(outcome) = done else {
                refused += 1;
                continue;
            };
            log.push_str(&format!("{warp}:{}/{warps};", if waits { 'w' } else { 'a' }));
            let entries: Vec<_> = log.split_terminator(';').collect();
            if entries.len() as u64 == warps {
                let warp_of = |e: &&str| e.split(':').next().unwrap().parse::<u32>().unwrap();
                let all: Vec<_> = entries.iter().map(warp_of).collect();
                let stay: Vec<_> =
                    entries.iter().filter(|e| e.contains(":w")).map(warp_of).collect();
                assert_eq!(Ok(outcome), released(&stay, &all));
                log.clear();
                full += 1;
            } else {
                assert_eq!(outcome, Outcome::Waiting);
            }
        }
        assert!(full > 2000 && refused > 1000, "{full} full, {refused} refused");
    }
}
