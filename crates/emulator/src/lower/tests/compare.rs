//! Comparisons and selections (ISA 9.3.1, 9.7.6, 9.7.7).

use super::*;
use std::cmp::Ordering::{self, *};

/// Where a comparison of ordered operands holds, and whether it does of unordered ones.
const FLOATS: [(&str, &[Ordering], bool); 14] = [
    ("eq", &[Equal], false),
    ("ne", &[Less, Greater], false),
    ("lt", &[Less], false),
    ("le", &[Less, Equal], false),
    ("gt", &[Greater], false),
    ("ge", &[Greater, Equal], false),
    ("equ", &[Equal], true),
    ("neu", &[Less, Greater], true),
    ("ltu", &[Less], true),
    ("leu", &[Less, Equal], true),
    ("gtu", &[Greater], true),
    ("geu", &[Greater, Equal], true),
    ("num", &[Less, Equal, Greater], false),
    ("nan", &[], true),
];

/// Least first; the two zeros are equal.
const RANKS: [(f32, i32); 8] = [
    (f32::NEG_INFINITY, 0),
    (-1.0, 1),
    (-1e-7, 2),
    (-0.0, 3),
    (0.0, 3),
    (1.0, 4),
    (65504.0, 5),
    (f32::INFINITY, 6),
];

#[test]
fn floats_by_order_or_not() {
    type Bits = fn(f32) -> u64;
    let types: [(&str, char, Bits, u64); 4] = [
        ("f16", 'h', |x| half::f16::from_f32(x).to_bits().into(), 0x7E00),
        ("bf16", 'h', |x| half::bf16::from_f32(x).to_bits().into(), 0xFF81),
        ("f32", 'f', f, 0x7F80_0001),
        ("f64", 'g', |x| g(x.into()), 0xFFF8 << 48),
    ];
    for (ty, r, bits, nan) in types {
        for (cmp, holds, unordered) in FLOATS {
            let setp = row(&format!("setp.{cmp}.{ty} %p0, %{r}1, %{r}2"));
            for (a, i) in RANKS {
                for (b, j) in RANKS {
                    let want = holds.contains(&i.cmp(&j));
                    setp.gives(&[bits(a), bits(b)], want.into());
                }
                setp.gives(&[bits(a), nan], unordered.into());
                setp.gives(&[nan, bits(a)], unordered.into());
            }
            setp.gives(&[nan, nan], unordered.into());
        }
    }
}

#[test]
fn integers_by_their_sign() {
    let signed_ones = [
        ("eq", &FLOATS[0].1),
        ("ne", &FLOATS[1].1),
        ("lt", &FLOATS[2].1),
        ("le", &FLOATS[3].1),
        ("gt", &FLOATS[4].1),
        ("ge", &FLOATS[5].1),
    ];
    let unsigned =
        [("lo", &FLOATS[2].1), ("ls", &FLOATS[3].1), ("hi", &FLOATS[4].1), ("hs", &FLOATS[5].1)];
    for bits in [16, 32, 64] {
        let r = letter(bits);
        for (cmp, holds) in signed_ones.into_iter().chain(unsigned) {
            for sign in ['s', 'u', 'b'] {
                let text = format!("setp.{cmp}.{sign}{bits} %p0, %{r}1, %{r}2");
                let fits = match sign {
                    'u' => true,
                    's' => cmp.as_bytes()[0] != b'h' && !matches!(cmp, "lo" | "ls"),
                    _ => matches!(cmp, "eq" | "ne"),
                };
                let Ok(setp) = try_row(&text) else {
                    assert!(!fits, "{text}");
                    continue;
                };
                assert!(fits, "{text}");
                for a in edges(bits) {
                    for b in edges(bits) {
                        let order = if sign == 's' {
                            signed(bits, a).cmp(&signed(bits, b))
                        } else {
                            a.cmp(&b)
                        };
                        setp.gives(&[a, b], holds.contains(&order).into());
                    }
                }
            }
        }
    }
}

/// p = (a CmpOp b) BoolOp c.
#[test]
fn comparisons_are_combined() {
    for (op, table) in [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])] {
        for (less, c) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let text = format!("setp.lt.{op}.s32 %p0, %r1, %r2, %p1");
            check(&text, &[1 - less, 1, c], table[(2 * less + c) as usize]);
            let text = format!("setp.lt.{op}.f32 %p0, %f1, %f2, !%p1");
            let want = table[(2 * less + 1 - c) as usize];
            check(&text, &[f(1.0 - less as f32), f(1.0), c], want);
        }
    }
}

#[test]
fn all_ones_or_one() {
    let max = 0xFFFF_FFFF;
    check("set.lt.u32.s32 %r0, %r1, %r2", &[max, 0], max);
    check("set.lt.u32.u32 %r0, %r1, %r2", &[max, 0], 0);
    check("set.lt.f32.s64 %f0, %d1, %d2", &[!0, 0], f(1.0));
    check("set.lt.s32.f32 %r0, %f1, %f2", &[f(-1.0), f(0.0)], max);
    check("set.ltu.f32.f64 %f0, %g1, %g2", &[g(f64::NAN), 0], f(1.0));
    check("set.lt.f32.f64 %f0, %g1, %g2", &[g(f64::NAN), 0], 0);
    check("set.eq.u32.f16 %r0, %h1, %h2", &[0x8000, 0], max);
    check("set.ne.f16.f16 %h0, %h1, %h2", &[0x8001, 0], 0x3C00);
    check("set.gt.bf16.bf16 %h0, %h1, %h2", &[0x3F80, 0], 0x3F80);
    // of pairs each half for itself
    check("set.gt.f16x2.f16x2 %r0, %r1, %r2", &[0x3C00_0000, 0], 0x3C00_0000);
    check("set.ge.bf16x2.bf16x2 %r0, %r1, %r2", &[0x8000_3F80, 0x0000_4000], 0x3F80_0000);
    check("set.nan.u32.f16x2 %r0, %r1, %r2", &[0x0000_7E00, 0], 0xFFFF);
    check("set.num.u32.bf16x2 %r0, %r1, %r2", &[0x0000_7FC0, 0], 0xFFFF_0000);
}

#[test]
fn selections() {
    check("selp.b32 %r0, %r1, %r2, %p1", &[3, 4, 1], 3);
    check("selp.b32 %r0, %r1, %r2, %p1", &[3, 4, 0], 4);
    check("selp.f64 %g0, %g1, %g2, %p1", &[g(3.0), g(4.0), 0], g(4.0));
    check("selp.s32 %r0, -1, 0, %p1", &[1], 0xFFFF_FFFF);
}
