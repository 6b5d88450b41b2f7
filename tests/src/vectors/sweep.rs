//! Sweeps: which inputs a form is given. Each input follows from a formula, so files hold outputs only.
//!
//! A *slot* is an element's place in an operand as the instruction takes it: element e of word w is
//! slot w · (elements per word) + e, and word w is register ⌊w / lanes⌋ of lane w mod lanes, or the
//! w-th word of an image in shared memory. No formula names a row or a column: what a slot means is
//! what is to be found out. In all sweeps inputs are integers that their types hold, and so small
//! that no sum is rounded.

use super::element::Element;
use super::forms::Form;
use std::fmt;

/// What one trial is given, as words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// A.
    pub a: Vec<u32>,
    /// B.
    pub b: Vec<u32>,
    /// C: register r of lane l is word 2·(⌊r/2⌋·lanes + l) + r mod 2.
    pub c: Vec<u32>,
    /// A word per lane; empty for a dense form.
    pub metadata: Vec<u32>,
}

/// What a sweep varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Trial i: slot i of A (13i in a wide form) is 1, the rest 0; slot j of B is digit `place` of j
    /// ([`Element::digit`]). D names the columns that A's slot reaches, and the slots of B it meets.
    OneHotA {
        /// Which digit.
        place: usize,
    },
    /// Trial i: slot i of B is 1, the rest 0; slot j of A is digit `place` of j; every metadata code
    /// is `code`. With 0x4 and 0xE each position of a group is kept once.
    OneHotB {
        /// Which digit.
        place: usize,
        /// The code; none for a dense form.
        code: Option<u32>,
    },
    /// Trial 0: every metadata code is 0x4. Trial 1 + 8l + i: nibble i of lane l's word is 0xE. A and
    /// B are small integers, not 0.
    Nibbles,
    /// Trial 0: every code is 0x4. Then for lanes 0 to 3, each nibble, each other legal code: that
    /// nibble is that code. A and B as for `Nibbles`.
    Codes,
    /// C is 1 + its word's number; A and B are 0 in trial 0, small integers in trial 1.
    Accumulate,
    /// A, B, C and the metadata codes are small at random.
    Random,
    /// Trial c: nibble 0 of lane 0's word is c = 0..16, every other code 0x4. A and B as for
    /// `Nibbles`. Ten of these codes the manual leaves undefined.
    AllCodes,
}

/// A form, a selector, and what is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The form.
    pub form: &'static Form,
    /// What is varied.
    pub kind: Kind,
    /// The sparsity selector.
    pub selector: u32,
}

/// The label in a file.
impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::OneHotA { place } => write!(f, "one-hot-a/digit{place}")?,
            Kind::OneHotB { place, code: None } => write!(f, "one-hot-b/digit{place}")?,
            Kind::OneHotB { place, code: Some(code) } => {
                write!(f, "one-hot-b/digit{place}/code{code:x}")?;
            }
            Kind::Nibbles => f.write_str("nibbles")?,
            Kind::Codes => f.write_str("codes")?,
            Kind::Accumulate => f.write_str("accumulate")?,
            Kind::Random => f.write_str("random")?,
            Kind::AllCodes => f.write_str("all-codes")?,
        }
        if self.form.is_sparse() { write!(f, "/selector{}", self.selector) } else { Ok(()) }
    }
}

/// All sweeps of a form whose behaviour the manual defines.
pub fn sweeps(form: &'static Form) -> Vec<Sweep> {
    let mut list = Vec::new();
    let mut add = |kind, selector| list.push(Sweep { form, kind, selector });
    let element = form.element;
    for place in 0..element.digits(slots(form.b_words(), element)) {
        add(Kind::OneHotA { place }, 0);
    }
    let codes = if form.is_sparse() { &[Some(0x4), Some(0xE)][..] } else { &[None] };
    for place in 0..element.digits(slots(form.a_words(), element)) {
        codes.iter().for_each(|&code| add(Kind::OneHotB { place, code }, 0));
    }
    for selector in (0..form.selectors).filter(|_| form.explores_metadata()) {
        add(Kind::Nibbles, selector);
        add(Kind::Codes, selector);
    }
    for selector in 0..form.selectors.max(1) {
        add(Kind::Random, selector);
    }
    add(Kind::Accumulate, 0);
    list
}

/// The sweep over all sixteen codes, where metadata is explored.
pub fn all_codes(form: &'static Form) -> Option<Sweep> {
    form.explores_metadata().then_some(Sweep { form, kind: Kind::AllCodes, selector: 0 })
}

const fn slots(words: usize, element: Element) -> usize {
    words * element.per_word()
}

/// Keeps positions 0 and 1 of four, or the first of two.
const FIRST: u32 = 0x4;
/// Keeps the last two of four, or the second of two.
const LAST: u32 = 0xE;

/// Nibbles of a metadata word.
const NIBBLES: usize = 8;
/// Lanes of the first quad, whose words `Codes` varies.
const QUAD: usize = 4;

impl Sweep {
    /// How many trials it has.
    pub fn trials(&self) -> usize {
        let form = self.form;
        match self.kind {
            Kind::OneHotA { .. } => slots(form.a_words(), form.element).div_ceil(self.stride()),
            Kind::OneHotB { .. } => slots(form.b_words(), form.element),
            Kind::Nibbles => 1 + NIBBLES * form.lanes(),
            Kind::Codes => 1 + QUAD * NIBBLES * (form.codes().len() - 1),
            Kind::Accumulate => 2,
            // about as many numbers of D from each form
            Kind::Random => (1024 / form.d_words()).clamp(1, 4),
            Kind::AllCodes => 16,
        }
    }

    /// Slots of A from one trial of `OneHotA` to the next.
    fn stride(&self) -> usize {
        if self.form.is_wide() { 13 } else { 1 }
    }

    /// The inputs of one trial.
    pub fn inputs(&self, trial: usize) -> Inputs {
        let form = self.form;
        let (a_slots, b_slots) =
            (slots(form.a_words(), form.element), slots(form.b_words(), form.element));
        let digits = |count: usize, place| -> Vec<i32> {
            (0..count).map(|slot| form.element.digit(slot, place)).collect()
        };
        let one_hot = |count: usize, hot: usize| -> Vec<i32> {
            (0..count).map(|slot| (slot == hot) as i32).collect()
        };
        // the same for all trials, so that a change of metadata is all that differs
        let (steady_a, steady_b) = (|| nonzero(1, a_slots), || nonzero(2, b_slots));
        let none = || vec![0; form.d_words()];
        let step = trial.saturating_sub(1);
        let (a, b, c, metadata) = match self.kind {
            Kind::OneHotA { place } => {
                let a = one_hot(a_slots, trial * self.stride());
                (a, digits(b_slots, place), none(), self.uniform(FIRST))
            }
            Kind::OneHotB { place, code } => {
                let metadata = self.uniform(code.unwrap_or(FIRST));
                (digits(a_slots, place), one_hot(b_slots, trial), none(), metadata)
            }
            Kind::Nibbles => {
                let mut metadata = self.uniform(FIRST);
                if trial > 0 {
                    set(&mut metadata[step / NIBBLES], step % NIBBLES, LAST);
                }
                (steady_a(), steady_b(), none(), metadata)
            }
            Kind::Codes => {
                let mut metadata = self.uniform(FIRST);
                let others = &form.codes()[1..];
                let (at, code) = (step / others.len(), others[step % others.len()]);
                if trial > 0 {
                    set(&mut metadata[at / NIBBLES], at % NIBBLES, code);
                }
                (steady_a(), steady_b(), none(), metadata)
            }
            Kind::Accumulate => {
                let c = (1..).take(form.d_words()).collect();
                let (a, b) = match trial {
                    0 => (vec![0; a_slots], vec![0; b_slots]),
                    _ => (steady_a(), steady_b()),
                };
                (a, b, c, self.uniform(FIRST))
            }
            Kind::Random => {
                let seed = 16 + 4 * (trial + 4 * self.selector as usize) as u64;
                let small = |seed, count: usize, most: u32| -> Vec<i32> {
                    let value = |i| (mix(seed, i) % (2 * most + 1)) as i32 - most as i32;
                    (0..count as u64).map(value).collect()
                };
                let mut metadata = self.uniform(FIRST);
                for (lane, word) in metadata.iter_mut().enumerate() {
                    for nibble in 0..NIBBLES {
                        let pick = mix(seed + 3, (lane * NIBBLES + nibble) as u64);
                        set(word, nibble, form.codes()[pick as usize % form.codes().len()]);
                    }
                }
                let (a, b) = (small(seed, a_slots, 4), small(seed + 1, b_slots, 4));
                (a, b, small(seed + 2, form.d_words(), 99), metadata)
            }
            Kind::AllCodes => {
                let mut metadata = self.uniform(FIRST);
                set(&mut metadata[0], 0, trial as u32);
                (steady_a(), steady_b(), none(), metadata)
            }
        };
        let element = form.element;
        let c = match element {
            Element::S8 => c.into_iter().map(|v| v as u32).collect(),
            _ => c.into_iter().map(|v| (v as f32).to_bits()).collect(),
        };
        Inputs { a: pack(&a, element), b: pack(&b, element), c, metadata }
    }

    /// A number that changes when any input of the sweep does (FNV-1a, 64 bits, over its words).
    pub fn digest(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for trial in 0..self.trials() {
            let Inputs { a, b, c, metadata } = self.inputs(trial);
            for word in a.iter().chain(&b).chain(&c).chain(&metadata) {
                hash = (hash ^ *word as u64).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        hash
    }

    /// Metadata with one code everywhere.
    fn uniform(&self, code: u32) -> Vec<u32> {
        let words = if self.form.is_sparse() { self.form.lanes() } else { 0 };
        vec![code * 0x1111_1111; words]
    }
}

fn set(word: &mut u32, nibble: usize, code: u32) {
    *word = *word & !(15 << (4 * nibble)) | code << (4 * nibble);
}

/// −4 to 4 without 0.
fn nonzero(seed: u64, count: usize) -> Vec<i32> {
    let value = |i| [-4, -3, -2, -1, 1, 2, 3, 4][mix(seed, i) as usize % 8];
    (0..count as u64).map(value).collect()
}

/// The i-th number of a stream: the finaliser of SplitMix64 over seed and i, its high half.
fn mix(seed: u64, i: u64) -> u32 {
    let mut z = (seed << 32 | i).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 32) as u32
}

/// Elements to words, the first of each word in its low bits.
fn pack(values: &[i32], element: Element) -> Vec<u32> {
    let word = |chunk: &[i32]| {
        let place = |(i, v): (usize, &i32)| element.encode(*v) << (i as u32 * element.bits());
        chunk.iter().enumerate().map(place).fold(0, |word, bits| word | bits)
    };
    values.chunks(element.per_word()).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::forms::{FORMS, form};

    #[test]
    fn inputs_fill_every_operand() {
        for form in FORMS {
            for sweep in sweeps(form).into_iter().chain(all_codes(form)) {
                for trial in [0, sweep.trials() - 1] {
                    let inputs = sweep.inputs(trial);
                    assert_eq!(inputs.a.len(), form.a_words(), "{} {sweep}", form.name);
                    assert_eq!(inputs.b.len(), form.b_words(), "{} {sweep}", form.name);
                    assert_eq!(inputs.c.len(), form.d_words(), "{} {sweep}", form.name);
                    let lanes = if form.is_sparse() { form.lanes() } else { 0 };
                    assert_eq!(inputs.metadata.len(), lanes, "{} {sweep}", form.name);
                }
            }
        }
    }

    #[test]
    fn metadata_sweeps_change_one_nibble_to_a_legal_code() {
        let form = form("mma_sp_m16n8k32_f16").unwrap();
        for kind in [Kind::Nibbles, Kind::Codes] {
            let sweep = Sweep { form, kind, selector: 1 };
            let base = sweep.inputs(0).metadata;
            let mut seen = std::collections::BTreeSet::new();
            for trial in 1..sweep.trials() {
                let metadata = sweep.inputs(trial).metadata;
                let nibble = |word: u32, i: u32| word >> (4 * i) & 15;
                let changed: Vec<_> = (0..32 * 8)
                    .map(|i| (i / 8, i as u32 % 8))
                    .filter(|&(l, i)| nibble(metadata[l], i) != nibble(base[l], i))
                    .collect();
                let [(lane, i)] = changed[..] else { panic!("{sweep} {trial}: {changed:?}") };
                assert!(form.codes().contains(&nibble(metadata[lane], i)));
                seen.insert((lane, i, nibble(metadata[lane], i)));
            }
            assert_eq!(seen.len(), sweep.trials() - 1);
        }
    }

    #[test]
    fn labels_are_distinct() {
        for form in FORMS {
            let labels: Vec<String> = sweeps(form).iter().map(Sweep::to_string).collect();
            let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
            assert_eq!(distinct.len(), labels.len(), "{}", form.name);
        }
    }
}
