//! Bits, shifts and bytes (ISA 9.7.1.14 to 9.7.1.20, 9.7.8, 9.7.9.7), against loops over single bits.

use super::*;

fn bit(x: u64, i: u32) -> u64 {
    x >> i & 1
}

/// A number of these bits, the lowest first.
fn of_bits(count: u32, f: impl Fn(u32) -> u64) -> u64 {
    (0..count).map(|i| f(i) << i).sum()
}

const FIELDS: [u64; 16] = [0, 1, 2, 7, 8, 15, 16, 30, 31, 32, 33, 62, 63, 64, 65, 255];

#[test]
fn logic() {
    for bits in [16, 32, 64] {
        let r = letter(bits);
        let [and, or, xor] =
            ["and", "or", "xor"].map(|op| row(&format!("{op}.b{bits} %{r}0, %{r}1, %{r}2")));
        let not = row(&format!("not.b{bits} %{r}0, %{r}1"));
        for a in edges(bits) {
            not.gives(&[a], of_bits(bits, |i| 1 - bit(a, i)));
            for b in edges(bits) {
                and.gives(&[a, b], of_bits(bits, |i| bit(a, i) * bit(b, i)));
                or.gives(&[a, b], of_bits(bits, |i| bit(a, i).max(bit(b, i))));
                xor.gives(&[a, b], of_bits(bits, |i| (bit(a, i) + bit(b, i)) % 2));
            }
        }
    }
    check("not.pred %p0, %p1", &[1], 0);
    check("not.pred %p0, %p1", &[0], 1);
    check("xor.pred %p0, %p1, %p2", &[1, 1], 0);
}

/// immLut is the function of 0xF0, 0xCC and 0xAA.
#[test]
fn any_function_of_three_bits() {
    let [a, b, c] = [0xF0, 0xCC, 0xAA];
    for lut in 0..256 {
        check(&format!("lop3.b32 %r0, %r1, %r2, %r3, {lut}"), &[a, b, c], {
            // above bit 7 all inputs are 0, so each bit there is that of 0
            lut | if lut & 1 == 1 { 0xFFFF_FF00 } else { 0 }
        });
    }
    let mut random = Random(1);
    let [and_or, majority] = [(a & b) | c, (a & b) | (a & c) | (b & c)]
        .map(|lut: u64| row(&format!("lop3.b32 %r0, %r1, %r2, %r3, {lut}")));
    for _ in 0..200 {
        let [a, b, c] = [(); 3].map(|()| cut(32, random.next()));
        and_or.gives(&[a, b, c], (a & b) | c);
        majority.gives(&[a, b, c], of_bits(32, |i| (bit(a, i) + bit(b, i) + bit(c, i)) / 2));
    }
}

/// Amounts are unsigned 32-bit numbers; from the width on nothing but the filling is left.
#[test]
fn shifts() {
    for bits in [16, 32, 64] {
        let r = letter(bits);
        let shl = row(&format!("shl.b{bits} %{r}0, %{r}1, %r2"));
        let rights = ["b", "u", "s"].map(|ty| row(&format!("shr.{ty}{bits} %{r}0, %{r}1, %r2")));
        for a in edges(bits) {
            for by in FIELDS.into_iter().chain([256, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000 - 1]) {
                let at = |i: i64, fill| {
                    if (0..i64::from(bits)).contains(&i) { bit(a, i as u32) } else { fill }
                };
                let amount = by as i64;
                shl.gives(&[a, by], of_bits(bits, |i| at(i64::from(i) - amount, 0)));
                for (n, shr) in rights.iter().enumerate() {
                    let fill = if n == 2 { bit(a, bits - 1) } else { 0 };
                    shr.gives(&[a, by], of_bits(bits, |i| at(i64::from(i) + amount, fill)));
                }
            }
        }
    }
}

/// shf.l: the upper word of {b, a} shifted up; shf.r: the lower word of it shifted down.
#[test]
fn funnel_shifts() {
    for mode in ["clamp", "wrap"] {
        let [left, right] =
            ["l", "r"].map(|dir| row(&format!("shf.{dir}.{mode}.b32 %r0, %r1, %r2, %r3")));
        for a in edges(32) {
            for b in edges(32) {
                for c in FIELDS.into_iter().chain([0x8000_0001, 0xFFFF_FFFF]) {
                    let n = if mode == "clamp" { c.min(32) } else { c % 32 } as u32;
                    let whole = |i: u32| if i < 32 { bit(a, i) } else { bit(b, i - 32) };
                    left.gives(&[a, b, c], of_bits(32, |i| whole(i + 32 - n)));
                    right.gives(&[a, b, c], of_bits(32, |i| whole(i + n)));
                }
            }
        }
    }
}

#[test]
fn fields_out_of_a_word() {
    for (bits, sign) in [(32, 'u'), (32, 's'), (64, 'u'), (64, 's')] {
        let (r, msb) = (letter(bits), bits - 1);
        let row = row(&format!("bfe.{sign}{bits} %{r}0, %{r}1, %r2, %r3"));
        for a in edges(bits) {
            for pos in FIELDS {
                for len in FIELDS {
                    let (p, l) = (pos as u32, len as u32);
                    let sbit = if sign == 'u' || l == 0 { 0 } else { bit(a, (p + l - 1).min(msb)) };
                    let want =
                        of_bits(bits, |i| if i < l && p + i <= msb { bit(a, p + i) } else { sbit });
                    row.gives(&[a, pos, len], want);
                }
            }
        }
    }
    check("bfe.s32 %r0, %r1, %r2, %r3", &[0xF0, 4, 4], 0xFFFF_FFFF);
    // only eight bits of position and length count
    check("bfe.u32 %r0, %r1, %r2, %r3", &[0xF0, 0x104, 0x104], 0xF);
}

#[test]
fn fields_into_a_word() {
    for bits in [32, 64] {
        let (r, msb) = (letter(bits), bits - 1);
        let row = row(&format!("bfi.b{bits} %{r}0, %{r}1, %{r}2, %r3, %r4"));
        for (a, b) in edges(bits).into_iter().zip(edges(bits).into_iter().rev()) {
            for pos in FIELDS {
                for len in FIELDS {
                    let (p, l) = (pos as u32, len as u32);
                    let inside = |i: u32| i >= p && i - p < l && i <= msb;
                    let want = of_bits(bits, |i| if inside(i) { bit(a, i - p) } else { bit(b, i) });
                    row.gives(&[a, b, pos, len], want);
                }
            }
        }
    }
}

#[test]
fn counted_and_found() {
    for bits in [32, 64] {
        let (r, msb) = (letter(bits), bits - 1);
        let ones = |a| (0..bits).filter(|i| bit(a, *i) == 1).count() as u64;
        let top = |a| (0..bits).rev().find(|i| bit(a, *i) == 1);
        let brev = row(&format!("brev.b{bits} %{r}0, %{r}1"));
        let [clz, popc] = ["clz", "popc"].map(|op| row(&format!("{op}.b{bits} %r0, %{r}1")));
        let finds = ["bfind.u", "bfind.s", "bfind.shiftamt.u", "bfind.shiftamt.s"]
            .map(|op| row(&format!("{op}{bits} %r0, %{r}1")));
        for a in edges(bits) {
            brev.gives(&[a], of_bits(bits, |i| bit(a, msb - i)));
            clz.gives(&[a], top(a).map_or(u64::from(bits), |i| u64::from(msb - i)));
            popc.gives(&[a], ones(a));
            let folded = if bit(a, msb) == 1 { cut(bits, !a) } else { a };
            for (n, find) in finds.iter().enumerate() {
                let found = top(if n % 2 == 1 { folded } else { a });
                let want = found.map(|i| if n < 2 { i } else { msb - i });
                find.gives(&[a], u64::from(want.unwrap_or(u32::MAX)));
            }
        }
    }
    check("bfind.s32 %r0, %r1", &[0xFFFF_FFFF], 0xFFFF_FFFF);
    check("bfind.s64 %r0, %d1", &[!0], 0xFFFF_FFFF);
    check("bfind.shiftamt.u64 %r0, %d1", &[1], 63);
    check("clz.b64 %r0, %d1", &[0], 64);
}

/// Each nibble of c: three bits choose of {b, a}'s eight bytes, the fourth spreads its sign.
#[test]
fn permuted_bytes() {
    let row = row("prmt.b32 %r0, %r1, %r2, %r3");
    let (a, b) = (0x0382_0180, 0xFF06_8504);
    let pool: [u64; 8] = [0x80, 0x01, 0x82, 0x03, 0x04, 0x85, 0x06, 0xFF];
    for c in (0..0x10000).chain([0xFFFF_7654]) {
        let byte = |i: u32| {
            let nibble = c >> (4 * i) & 15;
            let chosen = pool[nibble as usize % 8];
            match (nibble >= 8, chosen >= 128) {
                (false, _) => chosen,
                (true, true) => 255,
                (true, false) => 0,
            }
        };
        row.gives(&[a, b, c], (0..4).map(|i| byte(i) << (8 * i)).sum());
    }
}
