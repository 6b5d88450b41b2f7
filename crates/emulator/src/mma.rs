//! Warp-wide multiplies, from the formulas of the PTX manual (ISA 9.7.14.5 and 9.7.14.6).
//!
//! The manual leaves the order and rounding of the sum open. Here the products are exact and their
//! sum is rounded once, so a kernel is judged by a bound, not by its bits.

use crate::trap::Fault;

/// A 32-bit register of every lane.
pub(crate) type Lanes = [u32; 32];

/// How 16 bits are a number.
pub(crate) type Decode = fn(u16) -> f32;

/// The two halves of a register, low first.
fn halves(word: u32) -> [u16; 2] {
    [word as u16, (word >> 16) as u16]
}

/// The A fragment of m16n8k16, 16×16 (ISA 9.7.14.5.8): element i of a lane, two to a register, is
/// row `groupID` for i in 0..2 and 4..6, else `groupID + 8`; column
/// `2·threadID_in_group + (i & 1)`, plus 8 from i = 4 on.
/// Also the compressed A of m16n8k32 (ISA 9.7.14.6.2): the same map, of the kept elements.
fn a_matrix(a: &[Lanes; 4], decode: Decode) -> [[f32; 16]; 16] {
    let mut out = [[0.0; 16]; 16];
    for lane in 0..32 {
        let (group, thread) = (lane >> 2, lane % 4);
        for i in 0..8 {
            let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
            let col = 2 * thread + (i & 1) + if i >= 4 { 8 } else { 0 };
            out[row][col] = decode(halves(a[i / 2][lane])[i % 2]);
        }
    }
    out
}

/// The B fragment, K×8: element i of a lane is row `2·threadID_in_group + (i & 1) + 8·(i / 2)`,
/// column `groupID`; two registers for K = 16, four for K = 32.
fn b_matrix<const R: usize, const K: usize>(b: &[Lanes; R], decode: Decode) -> [[f32; 8]; K] {
    let mut out = [[0.0; 8]; K];
    for lane in 0..32 {
        for i in 0..2 * R {
            let row = 2 * (lane % 4) + (i & 1) + 8 * (i / 2);
            out[row][lane >> 2] = decode(halves(b[i / 2][lane])[i % 2]);
        }
    }
    out
}

/// D = C + the product: element i of a lane is row `groupID` for i < 2, else `groupID + 8`; column
/// `2·threadID_in_group + (i & 1)`. C and D are f32 by their bits.
fn accumulate(c: &[Lanes; 4], product: impl Fn(usize, usize) -> f64) -> [Lanes; 4] {
    let mut d = [[0; 32]; 4];
    for lane in 0..32 {
        for i in 0..4 {
            let row = (lane >> 2) + if i < 2 { 0 } else { 8 };
            let col = 2 * (lane % 4) + (i & 1);
            let sum = f32::from_bits(c[i][lane]) as f64 + product(row, col);
            d[i][lane] = (sum as f32).to_bits();
        }
    }
    d
}

/// `mma.sync.m16n8k16`.
pub(crate) fn dense_16816(
    a: &[Lanes; 4],
    b: &[Lanes; 2],
    c: &[Lanes; 4],
    decode: Decode,
) -> [Lanes; 4] {
    let (a, b) = (a_matrix(a, decode), b_matrix::<2, 16>(b, decode));
    accumulate(c, |row, col| (0..16).map(|k| a[row][k] as f64 * b[k][col] as f64).sum())
}

/// `mma.sp::ordered_metadata.sync.m16n8k32`: each row keeps two of every four columns, and a
/// four-bit code says which: bits 1:0 the first, bits 3:2 the second, ascending.
pub(crate) fn sparse_16832(
    a: &[Lanes; 4],
    b: &[Lanes; 4],
    c: &[Lanes; 4],
    metadata: &Lanes,
    selector: u32,
    decode: Decode,
) -> Result<[Lanes; 4], Fault> {
    let places = places(metadata, selector)?;
    let (a, b) = (a_matrix(a, decode), b_matrix::<4, 32>(b, decode));
    Ok(accumulate(c, |row, col| {
        (0..16).map(|kept| a[row][kept] as f64 * b[places[row][kept]][col] as f64).sum()
    }))
}

/// The logical column of each kept element (ISA 9.7.14.6.1, figures of m16n8k32): with selector s,
/// the lanes with `threadID_in_group` 2s and 2s+1 pass the metadata: u = 0 and 1 of them holds
/// columns 16u..16u+16, of row `groupID` in the low half and row `groupID + 8` in the high half,
/// groups ascending from the lowest bit.
fn places(metadata: &Lanes, selector: u32) -> Result<[[usize; 16]; 16], Fault> {
    if selector > 1 {
        return Err(Fault::Selector(selector));
    }
    let mut places = [[0; 16]; 16];
    for group_id in 0..8 {
        for u in 0..2 {
            let word = metadata[group_id * 4 + 2 * selector as usize + u];
            for (half, row) in [(word & 0xFFFF, group_id), (word >> 16, group_id + 8)] {
                for quad in 0..4 {
                    let code = half >> (4 * quad) & 15;
                    let (first, second) = (code & 3, code >> 2);
                    if first >= second {
                        let group = (4 * u + quad) as u32;
                        return Err(Fault::Metadata { row: row as u32, group, code });
                    }
                    let (column, kept) = (16 * u + 4 * quad, 8 * u + 2 * quad);
                    places[row][kept] = column + first as usize;
                    places[row][kept + 1] = column + second as usize;
                }
            }
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f16(bits: u16) -> f32 {
        half::f16::from_bits(bits).to_f32()
    }

    /// One kept element and one element of B at a time: exactly one product, where it belongs.
    #[test]
    fn one_hot_places_every_kept_element() {
        let one = half::f16::ONE.to_bits() as u32;
        for code in [0x4u32, 0x8, 0x9, 0xC, 0xD, 0xE] {
            let metadata = [code * 0x1111_1111; 32];
            for (row, kept) in [(0, 0), (3, 5), (9, 14), (15, 15)] {
                let at = [code & 3, code >> 2][kept % 2] as usize;
                let (k, n) = (kept / 2 * 4 + at, 6);
                let mut a = [[0; 32]; 4];
                let register = (row / 8) + 2 * (kept / 8);
                a[register][(row % 8) * 4 + kept % 8 / 2] = one << (16 * (kept % 2));
                let mut b = [[0; 32]; 4];
                b[k / 8][n * 4 + k % 8 / 2] = one << (16 * (k % 2));
                let d = sparse_16832(&a, &b, &[[0; 32]; 4], &metadata, 0, f16).unwrap();
                for lane in 0..32 {
                    for i in 0..4 {
                        let here = (lane / 4 + 8 * (i / 2), 2 * (lane % 4) + i % 2) == (row, n);
                        assert_eq!(f32::from_bits(d[i][lane]), here as u32 as f32);
                    }
                }
            }
        }
    }

    #[test]
    fn illegal_codes_and_selectors_trap() {
        let zero = [[0; 32]; 4];
        for code in [0x0u32, 0x1, 0x5, 0x6, 0xA, 0xF] {
            let got = sparse_16832(&zero, &zero, &zero, &[code * 0x1111_1111; 32], 1, f16);
            assert_eq!(got, Err(Fault::Metadata { row: 0, group: 0, code }));
        }
        let got = sparse_16832(&zero, &zero, &zero, &[0x4444_4444; 32], 2, f16);
        assert_eq!(got, Err(Fault::Selector(2)));
    }
}
