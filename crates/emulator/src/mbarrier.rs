//! Mbarrier objects (PTX manual 9.7.13.15): phases that end when arrivals and bytes are complete.
//!
//! The real object is eight opaque bytes of shared memory. Here a block keeps its objects in a table
//! beside shared memory, by address, and an ordinary access to their bytes is for the caller to
//! refuse: [`Mbarriers::overlapping`].
//!
//! What a wait on a parity cannot show: that the waiter is two phases behind, for then the parity is
//! that of the phase it means. A state token shows it. What stands against the mistake is the
//! manual's rule that somebody sees a phase complete before anybody arrives in the next one.

use std::collections::BTreeMap;

/// The most arrivals, and the most bytes either way (9.7.13.15.2).
pub(crate) const MAX_COUNT: u32 = (1 << 20) - 1;
/// Bytes of an object, and their alignment (9.7.13.15.1).
pub(crate) const SIZE: u32 = 8;

/// What the manual forbids or leaves undefined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MbarrierError {
    #[error("the mbarrier address {0:#x} is not a multiple of 8")]
    Align(u32),
    #[error("an mbarrier's count is 1 to {MAX_COUNT}, not {0}")]
    InitCount(u32),
    #[error("there is a valid mbarrier at {0:#x} already: it needs mbarrier.inval first")]
    Valid(u32),
    #[error("there is no valid mbarrier at {0:#x}")]
    Invalid(u32),
    #[error("arrives {count} times, which is not 1 to {MAX_COUNT}")]
    ArriveCount { count: u32 },
    #[error("arrives {count} times at phase {phase}, which {pending} arrivals would complete")]
    ArriveBeyond { count: u32, pending: u32, phase: u64 },
    #[error("phase {phase} waits for {pending} arrivals, and for no more than {MAX_COUNT}")]
    TooManyPending { phase: u64, pending: u32 },
    #[error("arrives at phase {phase}, but no wait has seen phase {} complete", phase - 1)]
    Unobserved { phase: u64 },
    #[error("expects {bytes} more bytes at a tx-count of {tx}, past {MAX_COUNT}")]
    TxOverflow { bytes: u32, tx: i32 },
    #[error("completes {bytes} bytes at a tx-count of {tx}, past -{MAX_COUNT}")]
    TxUnderflow { bytes: u32, tx: i32 },
    #[error("the parity {0} is neither 0 nor 1")]
    Parity(u32),
    #[error("the state {0:#x} is not from this mbarrier")]
    ForeignState(u64),
    #[error("the state is of phase {of}, but phase {now} is current: only it and {} can be tested", now.saturating_sub(1))]
    StaleState { of: u64, now: u64 },
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mbarrier {
    address: u32,
    /// The current phase, which is incomplete; all before it are complete.
    phase: u64,
    /// Arrivals that the current phase still waits for.
    pending: u32,
    /// Arrivals of the phases after it.
    expected: u32,
    /// Bytes that the current phase waits for; negative when bytes came before they were expected.
    tx: i32,
    /// Whether a wait has returned that the phase before is complete.
    observed: bool,
}

/// `mbarrier.arrive`'s result: the phase and its pending count before the arrival.
///
/// | bits   | field              |
/// |--------|--------------------|
/// | 19:0   | pending count      |
/// | 39:20  | address ÷ 8        |
/// | 63:40  | phase, modulo 2^24 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(pub u64);

const PHASE_BITS: u32 = 24;

impl State {
    /// `mbarrier.pending_count`.
    pub fn pending(self) -> u32 {
        self.0 as u32 & MAX_COUNT
    }

    fn slot(self) -> u32 {
        (self.0 >> 20) as u32 & MAX_COUNT
    }

    fn phase(self) -> u64 {
        self.0 >> 40
    }
}

impl Mbarrier {
    /// `mbarrier.init`: phase 0 waits for `count` arrivals and no bytes.
    pub fn init(address: u32, count: u32) -> Result<Self, MbarrierError> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(MbarrierError::InitCount(count));
        }
        // Phase 0 has none before it to be seen.
        Ok(Self { address, phase: 0, pending: count, expected: count, tx: 0, observed: true })
    }

    /// The current phase.
    pub fn phase(&self) -> u64 {
        self.phase
    }

    /// `mbarrier.arrive`, and the arrive-on operation of `cp.async.mbarrier.arrive`.
    ///
    /// 9.7.13.15.4: before an arrival, some wait must have seen the phase before it complete.
    pub fn arrive(&mut self, count: u32) -> Result<State, MbarrierError> {
        self.arrival(count)?;
        let state = self.state();
        self.pending -= count;
        self.turn();
        Ok(state)
    }

    /// `cp.async.mbarrier.arrive` without `.noinc`: the current phase waits for one arrival more,
    /// which is the one that comes with the copies (9.7.13.15.15); the phases after it do not.
    pub fn expect_arrival(&mut self) -> Result<(), MbarrierError> {
        let Self { pending, phase, .. } = *self;
        if pending >= MAX_COUNT {
            return Err(MbarrierError::TooManyPending { phase, pending });
        }
        self.pending += 1;
        Ok(())
    }

    /// `mbarrier.arrive.expect_tx`: expects, then arrives once.
    pub fn arrive_expect_tx(&mut self, bytes: u32) -> Result<State, MbarrierError> {
        self.arrival(1)?;
        // In one operation: bytes that were early must not end the phase before the arrival.
        let tx = self.expecting(bytes)?;
        self.tx = tx;
        self.arrive(1)
    }

    /// `mbarrier.expect_tx`.
    ///
    /// Ends the phase if it makes good bytes that came early, when all have arrived: 9.7.13.15.6
    /// asks only that both counts be zero.
    pub fn expect_tx(&mut self, bytes: u32) -> Result<(), MbarrierError> {
        self.tx = self.expecting(bytes)?;
        self.turn();
        Ok(())
    }

    /// `mbarrier.complete_tx`, and what a bulk copy does when its bytes have come.
    pub fn complete_tx(&mut self, bytes: u32) -> Result<(), MbarrierError> {
        let tx = self.tx as i64 - bytes as i64;
        if tx < -(MAX_COUNT as i64) {
            return Err(MbarrierError::TxUnderflow { bytes, tx: self.tx });
        }
        self.tx = tx as i32;
        self.turn();
        Ok(())
    }

    /// `mbarrier.test_wait.parity`: whether the phase of this parity, which is either the current
    /// one or that before it, is complete. Before phase 0, phases of parity 1 are complete.
    pub fn test_parity(&mut self, parity: u32) -> Result<bool, MbarrierError> {
        if parity > 1 {
            return Err(MbarrierError::Parity(parity));
        }
        let complete = parity as u64 != self.phase & 1;
        self.observed |= complete;
        Ok(complete)
    }

    /// `mbarrier.test_wait`: whether the phase of this state is complete.
    pub fn test_state(&mut self, state: State) -> Result<bool, MbarrierError> {
        if state.slot() != self.slot() {
            return Err(MbarrierError::ForeignState(state.0));
        }
        let behind = self.phase.wrapping_sub(state.phase()) & ((1 << PHASE_BITS) - 1);
        // A phase to come, or one that had fewer arrivals than the state says, it cannot be from.
        if behind > self.phase || state.pending() == 0 {
            return Err(MbarrierError::ForeignState(state.0));
        }
        if behind > 1 {
            return Err(MbarrierError::StaleState { of: self.phase - behind, now: self.phase });
        }
        self.observed |= behind == 1;
        Ok(behind == 1)
    }

    /// The address as states hold it: no shared memory has more than 2^20 objects.
    fn slot(&self) -> u32 {
        (self.address / SIZE) & MAX_COUNT
    }

    fn state(&self) -> State {
        State(self.phase << 40 | (self.slot() as u64) << 20 | self.pending as u64)
    }

    fn arrival(&self, count: u32) -> Result<(), MbarrierError> {
        let Self { pending, phase, .. } = *self;
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(MbarrierError::ArriveCount { count });
        }
        if count > pending {
            return Err(MbarrierError::ArriveBeyond { count, pending, phase });
        }
        if !self.observed {
            return Err(MbarrierError::Unobserved { phase });
        }
        Ok(())
    }

    fn expecting(&self, bytes: u32) -> Result<i32, MbarrierError> {
        let tx = self.tx as i64 + bytes as i64;
        if tx > MAX_COUNT as i64 {
            return Err(MbarrierError::TxOverflow { bytes, tx: self.tx });
        }
        Ok(tx as i32)
    }

    /// 9.7.13.15.6: a complete phase gives way to the next at once.
    fn turn(&mut self) {
        if self.pending == 0 && self.tx == 0 {
            self.phase += 1;
            self.pending = self.expected;
            self.observed = false;
        }
    }
}

/// What a phase still waits for, as a deadlock report says it.
impl std::fmt::Display for Mbarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, phase, pending, expected, tx, .. } = self;
        write!(f, "mbarrier {address:#x}, phase {phase}: ")?;
        write!(f, "waits for {pending} of {expected} arrivals and {tx} bytes")
    }
}

/// A block's objects by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mbarriers(BTreeMap<u32, Mbarrier>);

impl Mbarriers {
    /// `mbarrier.init`.
    pub fn init(&mut self, address: u32, count: u32) -> Result<(), MbarrierError> {
        if !address.is_multiple_of(SIZE) {
            return Err(MbarrierError::Align(address));
        }
        // 9.7.13.15.9: undefined on a valid object. Aligned, two overlap only if they are one.
        if self.0.contains_key(&address) {
            return Err(MbarrierError::Valid(address));
        }
        self.0.insert(address, Mbarrier::init(address, count)?);
        Ok(())
    }

    /// `mbarrier.inval`.
    pub fn inval(&mut self, address: u32) -> Result<(), MbarrierError> {
        self.at(address)?;
        self.0.remove(&address);
        Ok(())
    }

    /// The object that an operation names.
    pub fn at(&mut self, address: u32) -> Result<&mut Mbarrier, MbarrierError> {
        if !address.is_multiple_of(SIZE) {
            return Err(MbarrierError::Align(address));
        }
        self.0.get_mut(&address).ok_or(MbarrierError::Invalid(address))
    }

    /// The object at an address, to look at.
    pub fn peek(&self, address: u32) -> Option<&Mbarrier> {
        self.0.get(&address)
    }

    /// The first valid object among these bytes, which nothing but mbarrier operations may touch.
    pub fn overlapping(&self, address: u32, bytes: u32) -> Option<&Mbarrier> {
        let end = address as u64 + bytes as u64;
        let first = address.saturating_sub(SIZE - 1);
        let (_, found) = self.0.range(first..).next()?;
        ((found.address as u64) < end && bytes > 0).then_some(found)
    }
}

#[cfg(test)]
mod tests;
