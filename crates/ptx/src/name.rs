//! Identifiers. Short ones are stored in place, so that operands are `Copy`; the mangled names that
//! nvcc writes are longer, and live once each in a store that is never freed and has a bound.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Longest name that is stored in place.
pub const MAX_NAME: usize = 31;

/// Bytes of all longer names together; past that a text that brings another is refused.
const STORE: usize = 16 << 20;

/// An identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Text);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Text {
    Short { bytes: [u8; MAX_NAME], len: u8 },
    Long(&'static str),
}

struct Store {
    names: Option<HashSet<&'static str>>,
    bytes: usize,
}

static LONG: Mutex<Store> = Mutex::new(Store { names: None, bytes: 0 });

impl Name {
    /// The name of this text; characters beyond ASCII become `_`. Should the store of long names be
    /// full, its first [`MAX_NAME`] bytes.
    pub fn new(text: &str) -> Self {
        let ascii: String = text.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
        Self::try_new(&ascii).unwrap_or_else(|| Self::short(&ascii))
    }

    /// The name of this ASCII text, unless it is long and the store of long names is full.
    pub(crate) fn try_new(text: &str) -> Option<Self> {
        if text.len() <= MAX_NAME {
            return Some(Self::short(text));
        }
        // a panic elsewhere cannot leave the set half changed
        let mut store = LONG.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = store.names.as_ref().and_then(|names| names.get(text)) {
            return Some(Self(Text::Long(known)));
        }
        if store.bytes + text.len() > STORE {
            return None;
        }
        store.bytes += text.len();
        let kept: &'static str = Box::leak(text.to_string().into_boxed_str());
        store.names.get_or_insert_default().insert(kept);
        Some(Self(Text::Long(kept)))
    }

    fn short(text: &str) -> Self {
        let mut bytes = [0; MAX_NAME];
        let mut len = 0;
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
            len += 1;
        }
        Self(Text::Short { bytes, len })
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // only ASCII is ever stored
            Text::Short { bytes, len } => {
                std::str::from_utf8(&bytes[..*len as usize]).unwrap_or("")
            }
            Text::Long(text) => text,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
