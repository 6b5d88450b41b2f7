//! Digests that a browser makes too.

use serde::{Deserialize, Serialize};
use std::fmt;

/// 32-bit FNV-1a (Fowler, Noll, Vo; draft-eastlake-fnv): tells answers and texts apart that differ by accident. It is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub u32);

impl Digest {
    /// Of no bytes.
    pub const NOTHING: Self = Self(0x811c_9dc5);

    /// Of these bytes behind those before.
    #[must_use]
    pub fn and(self, bytes: &[u8]) -> Self {
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        Self(bytes.iter().fold(self.0, step))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == 8);
        number.map(Self).ok_or_else(|| format!("{text:?} is no digest of 8 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn digests_are_those_of_the_draft() {
        assert_eq!(Digest::NOTHING.and(b"a"), Digest(0xe40c_292c));
        assert_eq!(Digest::NOTHING.and(b"foobar"), Digest(0xbf9c_f968));
        assert_eq!(Digest::NOTHING.and(b"foo").and(b"bar"), Digest(0xbf9c_f968));
        assert_eq!(Digest::try_from("bf9cf968".to_string()), Ok(Digest(0xbf9c_f968)));
        assert!(Digest::try_from("bf9cf96".to_string()).is_err());
    }
}
