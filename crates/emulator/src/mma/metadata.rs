//! Which columns of A are kept.

use super::Lanes;
use super::element::Element;
use super::form::{Form, Sparsity};
use crate::trap::Fault;

/// The metadata of a warp, and which codes are let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metadata<'a> {
    /// The operand's word of each lane. Only the lanes that the selector names are looked at.
    pub word: &'a Lanes,
    /// The sparsity selector.
    pub selector: u32,
    /// Whether codes that the manual leaves undefined are taken as their two fields say: kernels that
    /// pad A with zero rows pad its metadata with them, too.
    pub tolerant: bool,
}

/// The logical column of each stored element.
pub(super) type Places = [[u8; 32]; 16];

/// Of a dense A: every column its own.
pub(super) const DENSE: Places = {
    let mut row = [0; 32];
    let mut column = 0;
    while column < 32 {
        row[column] = column as u8;
        column += 1;
    }
    [row; 16]
};

/// Codes as bits of a mask: a pair of ascending positions, 0x4 0x8 0x9 0xC 0xD 0xE.
const ORDERED: u32 = 0x7310;
/// Two different positions: all but 0x0 0x5 0xA 0xF.
const DIFFERENT: u32 = 0x7BDE;
/// Of tf32: 0x4 and 0xE, the low or the high pair of 16-bit halves.
const HALVES: u32 = 0x4010;

impl Form {
    /// Codes that the manual defines, as bits of a mask.
    ///
    /// 9.7.14.6.1: of tf32 two; of `mma.sp::ordered_metadata` six. Plain `mma.sp` of 16-bit floats and
    /// integers loses only codes with a position twice (so the pair may descend), and so does
    /// `wgmma.sp` (9.7.15.6.1). Of fp8 the manual lists the six for both kinds of `mma.sp`.
    pub const fn codes(&self) -> u32 {
        match (self.a, self.sparsity) {
            (Element::Tf32, _) => HALVES,
            (_, Sparsity::Sparse { ordered: true }) => ORDERED,
            (Element::E4m3 | Element::E5m2, _) if !self.is_group() => ORDERED,
            _ => DIFFERENT,
        }
    }
}

/// Where the nibble `nibble` of the lane with `threadID_in_group` t belongs: whether to row g + 8
/// (else g), and the group of columns; nothing if the selector names other lanes.
///
/// In the figures of 9.7.14.6.2 (which 9.7.15.6.2 refers to), with selector s:
///
/// | forms | lanes | rows | groups |
/// |---|---|---|---|
/// | k16 of 16 bits, k8 of tf32 | t = s | low half g, high half g + 8 | nibble mod 4 |
/// | k32 of 16 bits, k16 of tf32 | ⌊t/2⌋ = s | low half g, high half g + 8 | 4·(t mod 2) + nibble mod 4 |
/// | k32 of 8 bits | ⌊t/2⌋ = s | g + 8·(t mod 2) | nibble |
/// | k64 of 8 bits | all | g + 8·(t mod 2) | 8·⌊t/2⌋ + nibble |
///
/// A group is four columns, of tf32 two. **Unverified**: k8 of tf32 and k32 of 8 bits. The manual has
/// figures only, and no program that we read uses these. They are taken to be halves of the larger
/// K, one selector each, as the others' text says of itself: k16 with selectors 2s and 2s + 1 makes
/// k32 with s.
fn nibble_at(form: &Form, selector: u32, t: usize, nibble: usize) -> Option<(usize, usize)> {
    let (selector, pair) = (selector as usize, t / 2);
    match (form.is_narrow(), form.is_wide()) {
        (false, false) => (t == selector).then_some((nibble / 4, nibble % 4)),
        (false, true) => (pair == selector).then_some((nibble / 4, 4 * (t % 2) + nibble % 4)),
        (true, false) => (pair == selector).then_some((t % 2, nibble)),
        (true, true) => Some((t % 2, 8 * pair + nibble)),
    }
}

/// The places of a sparse form's 16 rows, of which the first is `first_row` of the fragment.
pub(super) fn places(form: &Form, meta: &Metadata, first_row: u32) -> Result<Places, Fault> {
    let count = form.selectors();
    if meta.selector >= count {
        return Err(Fault::Selector { selector: meta.selector, count });
    }
    let legal = if meta.tolerant { u32::MAX } else { form.codes() };
    let halves = form.a == Element::Tf32;
    let mut out = [[0; 32]; 16];
    for t in 0..4 {
        for nibble in 0..8 {
            let Some((lower, group)) = nibble_at(form, meta.selector, t, nibble) else { continue };
            for g in 0..8 {
                let code = meta.word[4 * g + t] >> (4 * nibble) & 15;
                let row = g + 8 * lower;
                if legal >> code & 1 == 0 {
                    let row = first_row + row as u32;
                    return Err(Fault::Metadata { row, group: group as u32, code });
                }
                let (first, second) = (code as u8 & 3, code as u8 >> 2);
                let group = group % 16;
                if halves {
                    // positions of 16-bit halves: 0x4 is halves 0 and 1, 0xE is 2 and 3
                    out[row][group] = 2 * group as u8 + first / 2;
                } else {
                    out[row][2 * group] = 4 * group as u8 + first;
                    out[row][2 * group + 1] = 4 * group as u8 + second;
                }
            }
        }
    }
    Ok(out)
}
