//! Phases by hand, each error, and random operations against a naive model.

use super::{MAX_COUNT, Mbarrier, MbarrierError as E, Mbarriers, State};

fn barrier(count: u32) -> Mbarrier {
    Mbarrier::init(0x40, count).unwrap()
}

#[test]
fn a_phase_needs_all_arrivals_and_all_bytes() {
    let mut b = barrier(2);
    assert_eq!(b.test_parity(1), Ok(true), "the phase before the first is complete");
    assert_eq!(b.test_parity(0), Ok(false));
    let first = b.arrive_expect_tx(96).unwrap();
    assert_eq!((first.pending(), b.phase()), (2, 0));
    b.complete_tx(64).unwrap();
    let second = b.arrive(1).unwrap();
    assert_eq!((second.pending(), b.test_state(first)), (1, Ok(false)));
    assert_eq!(b.to_string(), "mbarrier 0x40, phase 0: waits for 0 of 2 arrivals and 32 bytes");
    b.complete_tx(32).unwrap();
    assert_eq!((b.phase(), b.test_parity(0), b.test_parity(1)), (1, Ok(true), Ok(false)));
    assert_eq!((b.test_state(first), b.test_state(second)), (Ok(true), Ok(true)));
    let third = b.arrive(2).unwrap();
    assert_eq!((b.phase(), b.test_state(third)), (2, Ok(true)));
    assert_eq!(b.test_state(first), Err(E::StaleState { of: 0, now: 2 }));
}

#[test]
fn bytes_may_come_before_they_are_expected() {
    let mut b = barrier(1);
    b.complete_tx(48).unwrap();
    assert_eq!(b.phase(), 0);
    b.arrive_expect_tx(48).unwrap();
    assert_eq!((b.phase(), b.test_parity(0)), (1, Ok(true)));
    b.complete_tx(16).unwrap();
    b.arrive(1).unwrap();
    assert_eq!(b.phase(), 1, "16 bytes too many");
    b.expect_tx(16).unwrap();
    assert_eq!(b.phase(), 2);
    // Expecting no bytes is no completion: an arrival is pending.
    b.expect_tx(0).unwrap();
    assert_eq!(b.phase(), 2);
}

#[test]
fn an_arrival_more_counts_in_this_phase_only() {
    let mut b = barrier(1);
    b.expect_arrival().unwrap();
    assert_eq!(b.to_string(), "mbarrier 0x40, phase 0: waits for 2 of 1 arrivals and 0 bytes");
    b.arrive(1).unwrap();
    assert_eq!(b.test_parity(0), Ok(false), "the copies' arrival is missing");
    b.arrive(1).unwrap();
    assert_eq!((b.phase(), b.test_parity(0)), (1, Ok(true)));
    b.arrive(1).unwrap();
    assert_eq!(b.phase(), 2);
}

#[test]
fn arrivals_more_keep_in_range() {
    let mut b = barrier(MAX_COUNT - 1);
    b.expect_arrival().unwrap();
    let full = E::TooManyPending { phase: 0, pending: MAX_COUNT };
    let text = "phase 0 waits for 1048575 arrivals, and for no more than 1048575";
    assert_eq!((b.expect_arrival(), full.to_string().as_str()), (Err(full), text));
    b.arrive(MAX_COUNT).unwrap();
    assert_eq!(b.phase(), 1);
}

#[test]
fn counts_out_of_range_are_refused_and_change_nothing() {
    for count in [0, MAX_COUNT + 1, u32::MAX] {
        assert_eq!(Mbarrier::init(0, count), Err(E::InitCount(count)));
        assert_eq!(barrier(1).arrive(count), Err(E::ArriveCount { count }));
    }
    let mut b = barrier(MAX_COUNT);
    b.arrive(MAX_COUNT - 1).unwrap();
    let before = b.clone();
    assert_eq!(b.arrive(2), Err(E::ArriveBeyond { count: 2, pending: 1, phase: 0 }));
    let bytes = MAX_COUNT + 1;
    assert_eq!(b.expect_tx(bytes), Err(E::TxOverflow { bytes, tx: 0 }));
    assert_eq!(b.arrive_expect_tx(bytes), Err(E::TxOverflow { bytes, tx: 0 }));
    assert_eq!(b.complete_tx(u32::MAX), Err(E::TxUnderflow { bytes: u32::MAX, tx: 0 }));
    assert_eq!(b.test_parity(2), Err(E::Parity(2)));
    assert_eq!(b, before);
    b.complete_tx(MAX_COUNT).unwrap();
    let tx = -(MAX_COUNT as i32);
    assert_eq!(b.complete_tx(1), Err(E::TxUnderflow { bytes: 1, tx }));
    b.expect_tx(2 * MAX_COUNT).unwrap();
    assert_eq!(b.expect_tx(1), Err(E::TxOverflow { bytes: 1, tx: -tx }));
    // All have arrived, but bytes are missing: nobody may arrive once more.
    b.arrive(1).unwrap();
    assert_eq!(b.arrive(1), Err(E::ArriveBeyond { count: 1, pending: 0, phase: 0 }));
}

#[test]
fn a_complete_phase_must_be_seen_before_the_next_is_arrived_at() {
    let mut b = barrier(1);
    let state = b.arrive(1).unwrap();
    assert_eq!(b.arrive(1), Err(E::Unobserved { phase: 1 }));
    assert_eq!(b.test_parity(1), Ok(false), "that is the current phase");
    assert_eq!(b.arrive_expect_tx(16), Err(E::Unobserved { phase: 1 }));
    assert_eq!(b.test_state(state), Ok(true));
    b.arrive(1).unwrap();
    let error = b.arrive(1).unwrap_err().to_string();
    assert_eq!(error, "arrives at phase 2, but no wait has seen phase 1 complete");
}

#[test]
fn states_of_other_objects_and_of_the_future_are_refused() {
    let mut b = barrier(2);
    let other = Mbarrier::init(0x48, 2).unwrap().arrive(1).unwrap();
    assert_eq!(b.test_state(other), Err(E::ForeignState(other.0)));
    let state = b.arrive(1).unwrap();
    let next = State(state.0 + (1 << 40));
    assert_eq!(b.test_state(next), Err(E::ForeignState(next.0)));
    let arrived = State(state.0 - 2);
    assert_eq!((state.pending(), arrived.pending()), (2, 0));
    assert_eq!(b.test_state(arrived), Err(E::ForeignState(arrived.0)));
    assert_eq!(b.test_state(state), Ok(false));
}

#[test]
fn the_table_knows_what_is_valid_and_where() {
    let mut table = Mbarriers::default();
    assert_eq!(table.init(12, 1), Err(E::Align(12)));
    assert_eq!(table.at(16).unwrap_err(), E::Invalid(16));
    assert_eq!(table.init(16, 0), Err(E::InitCount(0)));
    table.init(16, 4).unwrap();
    table.init(24, 5).unwrap();
    assert_eq!(table.init(16, 4), Err(E::Valid(16)));
    assert_eq!(table.at(20).unwrap_err(), E::Align(20));
    table.at(24).unwrap().arrive(5).unwrap();
    assert_eq!(table.at(16).unwrap().phase(), 0);
    let hit = |t: &Mbarriers, at, bytes| t.overlapping(at, bytes).map(|b| b.address);
    for (at, bytes, found) in [
        (0, 16, None),
        (0, 17, Some(16)),
        (8, 8, None),
        (15, 1, None),
        (16, 1, Some(16)),
        (23, 1, Some(16)),
        (23, 2, Some(16)),
        (24, 4, Some(24)),
        (31, 1, Some(24)),
        (32, 128, None),
        (18, 0, None),
        (u32::MAX, u32::MAX, None),
    ] {
        assert_eq!(hit(&table, at, bytes), found, "{bytes} bytes at {at}");
    }
    table.inval(16).unwrap();
    assert_eq!(table.inval(16), Err(E::Invalid(16)));
    assert_eq!((hit(&table, 16, 8), hit(&table, 0, 64)), (None, Some(24)));
    table.init(16, 1).unwrap();
}

/// Every arrival and every byte of a phase in a list of its own.
struct Naive {
    expected: usize,
    arrived: Vec<()>,
    /// How many the current phase waits for; later ones for `expected`.
    quorum: usize,
    promised: Vec<u32>,
    came: Vec<u32>,
    complete: Vec<bool>,
    seen: Vec<bool>,
}

impl Naive {
    fn settle(&mut self) {
        let sum = |bytes: &[u32]| bytes.iter().map(|b| *b as u64).sum::<u64>();
        if self.arrived.len() == self.quorum && sum(&self.promised) == sum(&self.came) {
            self.arrived.clear();
            self.promised.clear();
            self.came.clear();
            self.quorum = self.expected;
            *self.complete.last_mut().unwrap() = true;
            self.complete.push(false);
            self.seen.push(false);
        }
    }

    fn arrive(&mut self, count: usize) -> bool {
        let phase = self.complete.len() - 1;
        let legal = phase == 0 || self.seen[phase - 1];
        if legal && count > 0 && self.arrived.len() + count <= self.quorum {
            self.arrived.extend(vec![(); count]);
            self.settle();
            return true;
        }
        false
    }

    /// The youngest phase of the parity.
    fn wait(&mut self, parity: usize) -> bool {
        let phase = self.complete.len() - 1;
        let asked = if phase % 2 == parity { Some(phase) } else { phase.checked_sub(1) };
        let Some(asked) = asked else { return true };
        self.seen[asked] |= self.complete[asked];
        self.complete[asked]
    }
}

#[test]
fn random_operations_match_a_naive_model() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut phases, mut refusals) = (0, 0);
    for _ in 0..400 {
        let count = 1 + random(6) as u32;
        let mut real = barrier(count);
        let mut naive = Naive {
            expected: count as usize,
            arrived: vec![],
            quorum: count as usize,
            promised: vec![],
            came: vec![],
            complete: vec![false],
            seen: vec![false],
        };
        let mut tokens: Vec<(State, usize)> = vec![];
        for _ in 0..200 {
            let phase = naive.complete.len() - 1;
            let bytes = 16 * random(3) as u32;
            let count = random(4) as usize;
            match random(8) {
                0 if random(4) == 0 => {
                    real.expect_arrival().unwrap();
                    naive.quorum += 1;
                }
                0..=2 => {
                    let before = (naive.quorum - naive.arrived.len()) as u32;
                    let done = real.arrive(count as u32);
                    assert_eq!(done.is_ok(), naive.arrive(count), "{real}");
                    refusals += done.is_err() as u32;
                    if let Ok(state) = done {
                        assert_eq!(state.pending(), before);
                        tokens.push((state, phase));
                    }
                }
                3 => {
                    real.expect_tx(bytes).unwrap();
                    naive.promised.push(bytes);
                    naive.settle();
                }
                4 => {
                    // Half of the time just what is missing, or phases would seldom end.
                    let sum = |bytes: &[u32]| bytes.iter().sum::<u32>();
                    let missing = sum(&naive.promised).saturating_sub(sum(&naive.came));
                    let bytes = if random(2) == 0 { missing } else { bytes };
                    real.complete_tx(bytes).unwrap();
                    naive.came.push(bytes);
                    naive.settle();
                }
                5 => {
                    let legal =
                        naive.arrived.len() < naive.quorum && (phase == 0 || naive.seen[phase - 1]);
                    assert_eq!(real.arrive_expect_tx(bytes).is_ok(), legal, "{real}");
                    if legal {
                        naive.promised.push(bytes);
                        assert!(naive.arrive(1));
                    }
                }
                6 => {
                    let parity = random(2) as usize;
                    assert_eq!(real.test_parity(parity as u32), Ok(naive.wait(parity)), "{real}");
                }
                _ => {
                    let Some((state, of)) = tokens.get(random(40) as usize) else { continue };
                    let tested = real.test_state(*state);
                    assert_eq!(tested.is_ok(), phase - of < 2, "{real}");
                    if let Ok(complete) = tested {
                        assert_eq!(complete, naive.complete[*of]);
                        naive.seen[*of] |= complete;
                    }
                }
            }
            assert_eq!(real.phase() as usize, naive.complete.len() - 1, "{real}");
        }
        phases += real.phase();
    }
    assert!(phases > 2000 && refusals > 2000, "{phases} phases, {refusals} refusals");
}
