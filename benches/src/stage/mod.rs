//! The stages of a run, each with a file of its own in the record.

mod child;
pub mod correct;
pub mod decode;
pub mod once;
pub mod time;
pub mod tune;
pub mod vectors;

use crate::contender::Method;
use std::time::Duration;

/// What a stage runs over, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only layers whose label contains this.
    pub only: Option<String>,
    /// Only these numbers of tokens, where a layer lists them; none: all.
    pub tokens: Vec<u32>,
    /// Element types, by the names that peers use.
    pub dtypes: Vec<String>,
    /// No shape is begun that would not end within this time.
    pub budget: Duration,
    /// How a figure is taken.
    pub method: Method,
    /// On the CPU: our kernels with narrower instruction sets, too.
    pub paths: bool,
    /// Whether this goes on after a device was lost: what is done, and what failed, is not tried again.
    pub again: bool,
}
