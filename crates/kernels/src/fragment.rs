//! Which lane of a warp holds which element, as values.
//!
//! A [`Layout`] maps (lane, value) to an offset in a matrix, column-major: `row + rows·column`, as
//! CuTe writes thread-value layouts. The extents of `lane` multiply to 32; those of `value` to the
//! elements that a lane holds, the first mode fastest. Written from the PTX manual, §9.7.14 (figures
//! of `mma` and `mma.sp`); its formulas, written out independently, are the tests.

/// One mode of a layout: `extent` steps of `stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Number of steps.
    pub extent: u32,
    /// Offset between two of them.
    pub stride: u32,
}

/// A thread-value layout: (lane, value) to an offset in a column-major matrix of `rows` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows of the matrix.
    pub rows: u32,
    /// Modes of the lane index, fastest first.
    pub lane: &'static [Mode],
    /// Modes of the value index, fastest first.
    pub value: &'static [Mode],
}

impl Layout {
    /// The (row, column) of a lane's value.
    pub const fn at(&self, lane: u32, value: u32) -> (u32, u32) {
        let offset = offset(self.lane, lane) + offset(self.value, value);
        (offset % self.rows, offset / self.rows)
    }

    /// Values that each lane holds.
    pub const fn values(&self) -> u32 {
        size(self.value)
    }

    /// Lanes, 32.
    pub const fn lanes(&self) -> u32 {
        size(self.lane)
    }
}

const fn size(modes: &[Mode]) -> u32 {
    let (mut product, mut i) = (1, 0);
    while i < modes.len() {
        product *= modes[i].extent;
        i += 1;
    }
    product
}

const fn offset(modes: &[Mode], mut index: u32) -> u32 {
    let (mut sum, mut i) = (0, 0);
    while i < modes.len() {
        sum += index % modes[i].extent * modes[i].stride;
        index /= modes[i].extent;
        i += 1;
    }
    sum
}

const fn mode(extent: u32, stride: u32) -> Mode {
    Mode { extent, stride }
}

/// A of dense m16n8k16, 16×16; the same for the kept values of A of `mma.sp` m16n8k32, whose 16
/// columns are the 32 logical ones, compressed. Four `.b32` registers of two 16-bit values.
pub const A_16X16: Layout = Layout {
    rows: 16,
    lane: &[mode(4, 2 * 16), mode(8, 1)],
    value: &[mode(2, 16), mode(2, 8), mode(2, 8 * 16)],
};

/// B of dense m16n8k16 as n×k, 8×16: row is n, column is k. Two registers.
pub const B_8X16: Layout =
    Layout { rows: 8, lane: &[mode(4, 2 * 8), mode(8, 1)], value: &[mode(2, 8), mode(2, 8 * 8)] };

/// B of `mma.sp` m16n8k32 as n×k, 8×32. Four registers.
pub const B_8X32: Layout =
    Layout { rows: 8, lane: &[mode(4, 2 * 8), mode(8, 1)], value: &[mode(2, 8), mode(4, 8 * 8)] };

/// C and D of both, 16×8, f32.
pub const C_16X8: Layout =
    Layout { rows: 16, lane: &[mode(4, 2 * 16), mode(8, 1)], value: &[mode(2, 16), mode(2, 8)] };

/// Metadata of `mma.sp` m16n8k32 with 16-bit types: 16 rows × 8 groups of four columns; the eight
/// values of a lane are the nibbles of its word, lowest first. Lanes with `lane % 4 / 2 == selector`
/// are read; the others would repeat them (stride 0).
pub const METADATA_16X8: Layout = Layout {
    rows: 16,
    lane: &[mode(2, 4 * 16), mode(2, 0), mode(8, 1)],
    value: &[mode(4, 16), mode(2, 8)],
};

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn bijective(layout: &Layout, columns: u32) {
        assert_eq!(layout.lanes(), 32);
        let all = (0..32).flat_map(|l| (0..layout.values()).map(move |v| layout.at(l, v)));
        let seen: BTreeSet<_> = all.collect();
        assert_eq!(seen.len() as u32, layout.rows * columns, "each element exactly once");
        assert_eq!(32 * layout.values(), layout.rows * columns);
        assert!(seen.iter().all(|&(r, c)| r < layout.rows && c < columns));
    }

    #[test]
    fn every_element_is_held_once() {
        bijective(&A_16X16, 16);
        bijective(&B_8X16, 16);
        bijective(&B_8X32, 32);
        bijective(&C_16X8, 8);
    }

    #[test]
    fn each_selector_reads_every_code_once() {
        for selector in 0..2 {
            let lanes = (0..32).filter(|lane| lane % 4 / 2 == selector);
            let codes: BTreeSet<_> =
                lanes.flat_map(|l| (0..8).map(move |v| METADATA_16X8.at(l, v))).collect();
            assert_eq!(codes.len(), 16 * 8);
        }
    }

    /// The manual's formulas for `.f16`, with groupID = lane >> 2, threadID_in_group = lane % 4.
    #[test]
    fn layouts_are_the_manuals_formulas() {
        for lane in 0..32u32 {
            let (group, thread) = (lane >> 2, lane % 4);
            for i in 0..8 {
                // row = groupID for ai where i < 2 || 4 <= i < 6, groupID + 8 otherwise
                let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
                // col = threadID*2 + (i & 1) for i < 4, + 8 for i >= 4
                let col = thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 };
                assert_eq!(A_16X16.at(lane, i), (row, col), "a{i} of lane {lane}");
            }
            for i in 0..8 {
                // row (k) = threadID*2 + (i & 1), + 8 for each pair of values; col (n) = groupID
                let k = thread * 2 + (i & 1) + [0, 0, 8, 8, 16, 16, 24, 24][i as usize];
                assert_eq!(B_8X32.at(lane, i), (group, k), "b{i} of lane {lane}");
                if i < 4 {
                    assert_eq!(B_8X16.at(lane, i), (group, k), "b{i} of lane {lane}");
                }
            }
            for i in 0..4 {
                let row = if i < 2 { group } else { group + 8 };
                assert_eq!(C_16X8.at(lane, i), (row, thread * 2 + (i & 1)), "c{i} of lane {lane}");
            }
            for nibble in 0..8 {
                // low half: row groupID, columns 16u..16u+15, u = lane % 2; high half: row + 8
                let row = if nibble < 4 { group } else { group + 8 };
                let column = 16 * (lane % 2) + 4 * (nibble % 4);
                assert_eq!(METADATA_16X8.at(lane, nibble), (row, column / 4));
            }
        }
    }
}
