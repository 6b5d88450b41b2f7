//! The two kept positions of a group of four.

use core::fmt;

/// Two positions of a group of four, in rising order. Six values exist.
///
/// The code is a nibble: bits 1:0 hold the first position, bits 3:2 the second, as
/// `mma.sp::ordered_metadata` reads it (PTX ISA, "Warp-level matrix instructions for sparse
/// matrices"). A code whose positions do not rise is undefined behaviour there, so no `Pair` has one.
///
/// | code | `0x4` | `0x8` | `0x9` | `0xC` | `0xD` | `0xE` |
/// |---|---|---|---|---|---|---|
/// | kept | 0, 1 | 0, 2 | 1, 2 | 0, 3 | 1, 3 | 2, 3 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair(u8);

impl Pair {
    /// Positions 0 and 1: the code of padding.
    pub const FIRST: Self = Self(0x4);

    /// Every pair, by rising code.
    pub const ALL: [Self; 6] = [Self(0x4), Self(0x8), Self(0x9), Self(0xC), Self(0xD), Self(0xE)];

    /// The pair of two positions; `None` unless `first < second < 4`.
    pub const fn new(first: usize, second: usize) -> Option<Self> {
        if first < second && second < 4 { Some(Self((first | second << 2) as u8)) } else { None }
    }

    /// The pair that keeps the marked positions of a group. With fewer than two marked, the lowest
    /// unmarked positions are kept too. `Err(p)`: position p is the third that is marked.
    pub fn of(marked: [bool; 4]) -> Result<Self, usize> {
        let mut positions = (0..4).filter(|&p| marked[p]);
        let fill = |skip: Option<usize>| (0..4).find(|&p| Some(p) != skip).unwrap_or(0);
        let (a, b) = match (positions.next(), positions.next(), positions.next()) {
            (_, _, Some(third)) => return Err(third),
            (Some(a), Some(b), None) => (a, b),
            (Some(a), None, None) => (a.min(fill(Some(a))), a.max(fill(Some(a)))),
            (None, ..) => return Ok(Self::FIRST),
        };
        Ok(Self((a | b << 2) as u8))
    }

    /// The pair of the two largest of four magnitudes; of equals the lower position stays.
    pub fn largest<V: PartialOrd + Copy>(magnitudes: [V; 4]) -> Self {
        // how many others come before: larger ones, and equals at lower positions
        let before = |p: usize| {
            let others = (0..4).filter(|&q| q != p);
            let (own, of) = (magnitudes[p], magnitudes);
            others.filter(|&q| of[q] > own || (of[q] == own && q < p)).count()
        };
        Self::of(core::array::from_fn(|p| before(p) < 2)).unwrap_or(Self::FIRST)
    }

    /// The nibble.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The lower kept position.
    pub const fn first(self) -> usize {
        (self.0 & 3) as usize
    }

    /// The higher kept position.
    pub const fn second(self) -> usize {
        (self.0 >> 2) as usize
    }
}

impl TryFrom<u8> for Pair {
    type Error = IllegalCode;

    fn try_from(code: u8) -> Result<Self, IllegalCode> {
        match code {
            0x4 | 0x8 | 0x9 | 0xC | 0xD | 0xE => Ok(Self(code)),
            _ => Err(IllegalCode(code)),
        }
    }
}

/// A nibble that names no two positions in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {0:#x} names no two rising positions; legal are 0x4 0x8 0x9 0xc 0xd 0xe")]
pub struct IllegalCode(pub u8);

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.first(), self.second())
    }
}
