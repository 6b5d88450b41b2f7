//! The names that are in scope at a place of the text, and what the kernel calls them.
//!
//! Braces open a scope (manual, 5.4.4): names may be declared anew in it. The kernel has one scope
//! only, so a name that is taken gets a suffix.

use crate::name::Name;
use crate::reg::{AnyReg, Kind};
use std::collections::HashMap;

/// A declared register or array of registers: the role in the kernel, class, count of an array.
pub(crate) type Declaration = (Name, Kind, Option<u16>);

/// What one pair of braces declares. Names of registers are as in the text, with `%` if it has one.
#[derive(Default)]
pub(crate) struct Frame {
    pub registers: HashMap<String, Declaration>,
    pub symbols: HashMap<String, Name>,
    pub labels: HashMap<String, Name>,
}

/// All names, the innermost scope last.
#[derive(Default)]
pub(crate) struct Scope {
    pub frames: Vec<Frame>,
    pub params: Vec<Name>,
}

impl Scope {
    fn find<T>(&self, look: impl Fn(&Frame) -> Option<T>) -> Option<T> {
        self.frames.iter().rev().find_map(look)
    }

    /// The register of this name: one by itself, or one of an array.
    pub fn register(&self, text: &str) -> Option<AnyReg> {
        self.find(|frame| {
            if let Some(&(role, kind, None)) = frame.registers.get(text) {
                return Some(AnyReg { kind, role, index: None });
            }
            let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
            // an array's own name may end in digits, so every split is tried
            (stem.len().max(1)..text.len()).find_map(|at| {
                let (stem, digits) = (text.get(..at)?, text.get(at..)?);
                let &(role, kind, count) = frame.registers.get(stem)?;
                let index = digits.parse::<u16>().ok().filter(|i| Some(*i) < count)?;
                let canonical = digits == "0" || !digits.starts_with('0');
                canonical.then_some(AnyReg { kind, role, index: Some(index) })
            })
        })
    }

    /// The array in shared memory, or the parameter, of this name.
    pub fn symbol(&self, text: &str) -> Option<Name> {
        let param = || self.params.iter().find(|p| p.as_str() == text).copied();
        self.find(|frame| frame.symbols.get(text).copied()).or_else(param)
    }

    /// The label of this name.
    pub fn label(&self, text: &str) -> Option<Name> {
        self.find(|frame| frame.labels.get(text).copied())
    }
}
