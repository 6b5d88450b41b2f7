//! What answers a probe.

use super::forms::Form;
use super::probe::Probe;
use super::sweep::Inputs;
use std::fmt;

/// Something that executes probes: a GPU, or what stands in for one.
pub trait Device {
    /// What it is; goes into the files.
    fn name(&self) -> String;

    /// Runs one trial per element of `trials`, and returns D of each: register r of lane l is word
    /// 2·(⌊r/2⌋·lanes + l) + r mod 2.
    fn run(&self, probe: &Probe, trials: &[Inputs]) -> Result<Vec<Vec<u32>>, Failure>;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device does not have the form.
    Unsupported(String),
    /// It has it, and failed.
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

/// The operands of many trials, each one after the other, in the order of the probe's parameters
/// without D.
pub(super) fn buffers(form: &Form, trials: &[Inputs]) -> Vec<(&'static str, Vec<u32>)> {
    let all = |pick: fn(&Inputs) -> &Vec<u32>| -> Vec<u32> {
        trials.iter().flat_map(|t| pick(t).iter().copied()).collect()
    };
    let mut list = vec![("a", all(|t| &t.a)), ("b", all(|t| &t.b)), ("c", all(|t| &t.c))];
    if form.is_sparse() {
        list.push(("metadata", all(|t| &t.metadata)));
    }
    list
}

/// D of each trial, from the bytes of all.
pub(super) fn split(form: &Form, bytes: &[u8]) -> Vec<Vec<u32>> {
    let (words, _) = bytes.as_chunks::<4>();
    let words: Vec<u32> = words.iter().map(|w| u32::from_le_bytes(*w)).collect();
    words.chunks(form.d_words()).map(<[u32]>::to_vec).collect()
}
