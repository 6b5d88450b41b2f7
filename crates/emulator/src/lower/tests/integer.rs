//! Integer arithmetic (ISA 9.7.1), against i128.

use super::*;

const TYPES: [(&str, u32); 6] =
    [("u16", 16), ("s16", 16), ("u32", 32), ("s32", 32), ("u64", 64), ("s64", 64)];

/// The number that the bits are in the type.
fn number(ty: &str, bits: u32, x: u64) -> i128 {
    if ty.starts_with('s') { signed(bits, x) } else { i128::from(cut(bits, x)) }
}

/// Each pair of edge values of each type.
fn pairs(op: &str, want: impl Fn(i128, i128) -> i128) {
    for (ty, bits) in TYPES {
        let r = letter(bits);
        let row = row(&format!("{op}.{ty} %{r}0, %{r}1, %{r}2"));
        for a in edges(bits) {
            for b in edges(bits) {
                let (x, y) = (number(ty, bits, a), number(ty, bits, b));
                row.gives(&[a, b], cut(bits, want(x, y) as u64));
            }
        }
    }
}

#[test]
fn sums_wrap() {
    pairs("add", |a, b| a + b);
    pairs("sub", |a, b| a - b);
    pairs("min", |a, b| if a < b { a } else { b });
    pairs("max", |a, b| if a > b { a } else { b });
}

#[test]
fn only_s32_saturates() {
    let (least, most) = (i128::from(i32::MIN), i128::from(i32::MAX));
    let (add, sub) = (row("add.sat.s32 %r0, %r1, %r2"), row("sub.sat.s32 %r0, %r1, %r2"));
    for a in edges(32) {
        for b in edges(32) {
            let (x, y) = (signed(32, a), signed(32, b));
            add.gives(&[a, b], cut(32, (x + y).clamp(least, most) as u64));
            sub.gives(&[a, b], cut(32, (x - y).clamp(least, most) as u64));
        }
    }
    assert!(try_row("add.sat.u32 %r0, %r1, %r2").is_err());
}

/// t = a · b of 2n bits: all, the upper n or the lower n, and the sum with c.
#[test]
fn products_have_two_halves() {
    for (ty, bits) in TYPES {
        let (r, w) = (letter(bits), letter(2 * bits));
        let [lo, hi] =
            ["lo", "hi"].map(|part| row(&format!("mul.{part}.{ty} %{r}0, %{r}1, %{r}2")));
        let [mad_lo, mad_hi] =
            ["lo", "hi"].map(|part| row(&format!("mad.{part}.{ty} %{r}0, %{r}1, %{r}2, %{r}3")));
        let wide = (bits < 64).then(|| row(&format!("mul.wide.{ty} %{w}0, %{r}1, %{r}2")));
        let mad_wide =
            (bits < 64).then(|| row(&format!("mad.wide.{ty} %{w}0, %{r}1, %{r}2, %{w}3")));
        for a in edges(bits) {
            for b in edges(bits) {
                let (x, y) = (number(ty, bits, a), number(ty, bits, b));
                // the product of u64 needs u128; its bits are the same
                let t = (x as u128).wrapping_mul(y as u128);
                let (low, high) = (cut(bits, t as u64), cut(bits, (t >> bits) as u64));
                lo.gives(&[a, b], low);
                hi.gives(&[a, b], high);
                for c in [0, 1, 5, cut(bits, !0), 1 << (bits - 1)] {
                    mad_lo.gives(&[a, b, c], cut(bits, low.wrapping_add(c)));
                    mad_hi.gives(&[a, b, c], cut(bits, high.wrapping_add(c)));
                }
                if let (Some(wide), Some(mad_wide)) = (&wide, &mad_wide) {
                    wide.gives(&[a, b], cut(2 * bits, t as u64));
                    let c = 0xFEDC_BA98_7654_3210;
                    mad_wide.gives(&[a, b, c], cut(2 * bits, (t as u64).wrapping_add(c)));
                }
            }
        }
    }
    check("mul.wide.s32 %d0, %r1, %r2", &[0xFFFF_FFFF, 2], !1);
    check("mul.wide.u32 %d0, %r1, %r2", &[0xFFFF_FFFF, 2], 0x1_FFFF_FFFE);
    check("mul.hi.u64 %d0, %d1, %d2", &[!0, !0], !1);
    check("mul.hi.s64 %d0, %d1, %d2", &[!0, !0], 0);
    assert!(try_row("mul.wide.u64 %d0, %d1, %d2").is_err());
}

#[test]
fn the_high_half_of_a_mad_can_saturate() {
    let mad = row("mad.hi.sat.s32 %r0, %r1, %r2, %r3");
    for a in edges(32) {
        for b in edges(32) {
            for c in edges(32) {
                let high = (signed(32, a) * signed(32, b)) >> 32;
                let (least, most) = (i128::from(i32::MIN), i128::from(i32::MAX));
                let want = (high + signed(32, c)).clamp(least, most);
                mad.gives(&[a, b, c], cut(32, want as u64));
            }
        }
    }
}

/// Towards zero, and the remainder has the sign of a. What division by zero gives is not specified;
/// MIN / −1 wraps.
#[test]
fn quotients() {
    for (ty, bits) in TYPES {
        let r = letter(bits);
        let [div, rem] = ["div", "rem"].map(|op| row(&format!("{op}.{ty} %{r}0, %{r}1, %{r}2")));
        for a in edges(bits) {
            for b in edges(bits) {
                let (x, y) = (number(ty, bits, a), number(ty, bits, b));
                if y == 0 {
                    for row in [&div, &rem] {
                        row.call(&[a, b]); // but it does not panic
                    }
                    continue;
                }
                let quotient = x.abs() / y.abs() * x.signum() * y.signum();
                div.gives(&[a, b], cut(bits, quotient as u64));
                rem.gives(&[a, b], cut(bits, (x - quotient * y) as u64));
            }
        }
    }
    check("div.s32 %r0, %r1, %r2", &[0x8000_0000, 0xFFFF_FFFF], 0x8000_0000);
    check("rem.s32 %r0, %r1, %r2", &[0x8000_0000, 0xFFFF_FFFF], 0);
    check("div.s32 %r0, %r1, %r2", &[0xFFFF_FFF9, 2], 0xFFFF_FFFD);
    check("rem.s32 %r0, %r1, %r2", &[0xFFFF_FFF9, 2], 0xFFFF_FFFF);
}

#[test]
fn signs() {
    for (ty, bits) in TYPES.into_iter().filter(|(ty, _)| ty.starts_with('s')) {
        let r = letter(bits);
        let [neg, abs] = ["neg", "abs"].map(|op| row(&format!("{op}.{ty} %{r}0, %{r}1")));
        for a in edges(bits) {
            let x = signed(bits, a);
            neg.gives(&[a], cut(bits, -x as u64));
            abs.gives(&[a], cut(bits, x.unsigned_abs() as u64));
        }
    }
    check("abs.s16 %h0, %h1", &[0x8000], 0x8000);
}

/// d = c + Σ Va[i] · Vb[i], each byte by its type.
#[test]
fn dot_products_of_bytes() {
    let mut random = Random(3);
    for (aty, bty) in [("u32", "u32"), ("u32", "s32"), ("s32", "u32"), ("s32", "s32")] {
        let row = row(&format!("dp4a.{aty}.{bty} %r0, %r1, %r2, %r3"));
        let byte = |ty: &str, word: u64, i: u32| number(ty, 8, word >> (8 * i));
        let mut cases =
            vec![[0xFFFF_FFFF, 0xFFFF_FFFF, 0], [0x8080_8080, 0x8080_8080, 0xFFFF_FFFF]];
        cases.extend((0..500).map(|_| [(); 3].map(|()| cut(32, random.next()))));
        for [a, b, c] in cases {
            let sum: i128 = (0..4).map(|i| byte(aty, a, i) * byte(bty, b, i)).sum();
            row.gives(&[a, b, c], cut(32, (sum + i128::from(c)) as u64));
        }
    }
    check("dp4a.u32.u32 %r0, %r1, %r2, %r3", &[0xFFFF_FFFF, 0xFFFF_FFFF, 0], 4 * 255 * 255);
    check(
        "dp4a.s32.u32 %r0, %r1, %r2, %r3",
        &[0xFFFF_FFFF, 0xFFFF_FFFF, 0],
        cut(32, -1020i64 as u64),
    );
}

/// inc(r, s) = r ≥ s ? 0 : r + 1; dec(r, s) = r = 0 or r > s ? s : r − 1 (9.7.13.5).
#[test]
fn atomics() {
    let [inc, dec] = ["inc", "dec"].map(|op| row(&format!("atom.global.{op}.u32 %r0, [%d1], %r2")));
    for r in edges(32) {
        for s in edges(32) {
            inc.gives(&[r, s], if r >= s { 0 } else { r + 1 });
            dec.gives(&[r, s], if r == 0 || r > s { s } else { r - 1 });
        }
    }
    let max = 0xFFFF_FFFF;
    inc.gives(&[max, max], 0);
    dec.gives(&[0, 7], 7);
    check("atom.global.add.u32 %r0, [%d1], %r2", &[max, 2], 1);
    check("atom.global.min.s32 %r0, [%d1], %r2", &[max, 2], max);
    check("atom.global.min.u32 %r0, [%d1], %r2", &[max, 2], 2);
    check("atom.global.max.s64 %d0, [%d1], %d2", &[!0, 2], 2);
    check("atom.global.max.u64 %d0, [%d1], %d2", &[!0, 2], !0);
    check("atom.global.and.b32 %r0, [%d1], %r2", &[12, 10], 8);
    check("red.global.or.b32 [%d1], %r2", &[12, 10], 14);
    check("red.global.xor.b32 [%d1], %r2", &[12, 10], 6);
    check("atom.global.exch.b64 %d0, [%d1], %d2", &[12, !0], !0);
    check("atom.global.cas.b32 %r0, [%d1], %r2, %r3", &[5, 5, 9], 9);
    check("atom.global.cas.b32 %r0, [%d1], %r2, %r3", &[5, 6, 9], 5);
    check("red.global.add.f32 [%d1], %f2", &[f(1.5), f(2.25)], f(3.75));
    check("red.global.add.f64 [%d1], %g2", &[g(1.5), g(2.25)], g(3.75));
    // halves keep their subnormal numbers and do not carry into each other
    check("red.global.add.noftz.f16x2 [%d1], %r2", &[0x0001_7BFF, 0x0001_7BFF], 0x0002_7C00);
    check("red.global.add.noftz.bf16x2 [%d1], %r2", &[0x0001_3F80, 0x0001_3F80], 0x0002_4000);
}
