//! Conversions (ISA 9.7.9.21), against exact integers.

use super::reference::{BF16, F16, F32, F64, Format};
use super::*;

const INTEGERS: [(&str, u32); 8] = [
    ("u8", 8),
    ("s8", 8),
    ("u16", 16),
    ("s16", 16),
    ("u32", 32),
    ("s32", 32),
    ("u64", 64),
    ("s64", 64),
];
const FLOATS: [(&str, char, Format); 4] =
    [("f16", 'h', F16), ("bf16", 'h', BF16), ("f32", 'f', F32), ("f64", 'g', F64)];
/// Letters of the reference and of the text.
const ROUNDINGS: [char; 4] = ['n', 'z', 'm', 'p'];

fn integer(ty: &str, bits: u32, x: u64) -> i128 {
    if ty.starts_with('s') { signed(bits, x) } else { i128::from(cut(bits, x)) }
}

fn range(ty: &str, bits: u32) -> (i128, i128) {
    match ty.starts_with('s') {
        true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => (0, (1 << bits) - 1),
    }
}

/// The registers of an integer: any that is wide enough, but beside bf16 only the type's own, of which
/// bytes have none.
fn register(float: &str, bits: u32) -> Option<char> {
    match (float, bits) {
        ("bf16", 8) => None,
        ("bf16", _) => Some(letter(bits)),
        _ => Some('d'),
    }
}

/// Bits above the type are not looked at, and the sign spreads over a wider register.
#[test]
fn integers_are_cut_and_extended() {
    for (from, from_bits) in INTEGERS {
        for (to, to_bits) in INTEGERS {
            let (low, high) = range(to, to_bits);
            let (least, most) = range(from, from_bits);
            let clamps = low > least || high < most;
            let text = format!("{to}.{from} %d0, %d1");
            let plain = row(&format!("cvt.{text}"));
            let sat = try_row(&format!("cvt.sat.{text}"));
            assert_eq!(sat.is_ok(), clamps, "{text}");
            let bytes = (0..256).map(|x| x | 0xA5A5_A5A5_A5A5_A500);
            for a in edges(64).into_iter().chain(edges(from_bits)).chain(bytes) {
                let value = integer(from, from_bits, a);
                plain.gives(&[a], integer(to, to_bits, value as u64) as u64);
                if let Ok(sat) = &sat {
                    sat.gives(&[a], value.clamp(low, high) as u64);
                }
            }
        }
    }
    check("cvt.s32.s8 %r0, %r1", &[0x1280], 0xFFFF_FF80);
    check("cvt.u32.s8 %r0, %r1", &[0x1280], 0xFFFF_FF80);
    check("cvt.u16.u8 %h0, %h1", &[0x1280], 0x80);
    check("cvt.sat.u8.s32 %r0, %r1", &[0xFFFF_FFFF], 0);
    check("cvt.sat.s8.u16 %r0, %h1", &[300], 127);
}

#[test]
fn integers_to_floats() {
    let mut random = Random(21);
    for (from, bits) in INTEGERS {
        for (to, r, format) in FLOATS {
            let Some(own) = register(to, bits) else { continue };
            for toward in ROUNDINGS {
                let row = row(&format!("cvt.r{toward}.{to}.{from} %{r}0, %{own}1"));
                let some = (0..2000).map(|i| random.next() >> (i % 64));
                for a in edges(bits).into_iter().chain(some.collect::<Vec<_>>()) {
                    let value = integer(from, bits, a);
                    row.gives(&[a], format.round(value << format.scale(), 0, toward));
                }
            }
        }
    }
    // half way, and one more: f64 would lose that one
    for (to, near, more) in [
        ("f32", 40, 0),
        ("bf16", 56, 0),
        ("f64", 11, 0),
        ("f32", 40, 1),
        ("bf16", 56, 1),
        ("f64", 11, 1),
    ] {
        let (_, r, format) = *FLOATS.iter().find(|(ty, ..)| *ty == to).unwrap();
        let tie = 1 << 63 | 1u64 << (near - 1);
        let power = format.round(1i128 << (63 + format.scale()), 0, 'n');
        check(&format!("cvt.rn.{to}.u64 %{r}0, %d1"), &[tie + more], power + more);
    }
    check("cvt.rn.f32.u32 %f0, %r1", &[(1 << 24) + 1], f(16_777_216.0));
    check("cvt.rn.f32.u32 %f0, %r1", &[(1 << 24) + 3], f(16_777_220.0));
    check("cvt.rn.f64.u64 %g0, %d1", &[(1 << 53) + 1], g(9_007_199_254_740_992.0));
    check("cvt.rn.f64.s64 %g0, %d1", &[!0], g(-1.0));
    check("cvt.rn.f16.u32 %h0, %r1", &[65_519], 0x7BFF);
    check("cvt.rn.f16.u32 %h0, %r1", &[65_520], 0x7C00);
    check("cvt.rz.f16.s32 %h0, %r1", &[0x8000_0000], 0xFBFF);
    check("cvt.rn.sat.f32.s32 %f0, %r1", &[7], f(1.0));
    check("cvt.rn.sat.f32.s32 %f0, %r1", &[0xFFFF_FFF9], 0);
}

/// The integer to which so many units are rounded.
fn whole(units: i128, scale: u32, toward: char) -> i128 {
    let (floor, rest) = (units >> scale, units & ((1 << scale) - 1));
    let tie = 1i128 << (scale - 1);
    floor
        + i128::from(match toward {
            'n' => rest > tie || rest == tie && floor % 2 != 0,
            'z' => floor < 0 && rest > 0,
            'm' => false,
            _ => rest > 0,
        })
}

/// All of f16 and bf16, some of the others; what does not fit is clamped.
#[test]
fn floats_to_integers() {
    let mut random = Random(22);
    for (from, r, format) in FLOATS {
        let all = match format.bits() {
            16 => (0..0x10000).collect::<Vec<_>>(),
            bits => {
                // around one, whose exponent is half of the codes
                let bias = (1u64 << (format.exponent - 1)) - 1;
                let exponent =
                    |random: &mut Random| (bias - 6 + random.below(72)) << format.fraction;
                let fraction = (1u64 << format.fraction) - 1;
                let mask = [fraction, fraction & !0 << (format.fraction - 4)];
                (0..4000)
                    .map(|i| {
                        random.next() & mask[i % 2]
                            | exponent(&mut random)
                            | random.below(2) << (bits - 1)
                    })
                    .collect()
            }
        };
        for (to, bits) in INTEGERS {
            let Some(own) = register(from, bits) else { continue };
            let (least, most) = range(to, bits);
            let cut_to = |value: i128| cut(if own == 'd' { 64 } else { bits }, value as u64);
            for toward in ROUNDINGS {
                let row = row(&format!("cvt.r{toward}i.{to}.{from} %{own}0, %{r}1"));
                for a in &all {
                    let magnitude = a & !(1 << (format.bits() - 1));
                    if magnitude >= format.infinity() {
                        continue;
                    }
                    // far numbers clamp, near ones are 0 or ±1
                    let exponent =
                        (magnitude >> format.fraction) as i64 - ((1 << (format.exponent - 1)) - 1);
                    let side = if *a == magnitude { 1 } else { -1 };
                    let small =
                        format.base > 0 && magnitude >> format.fraction <= format.base.into();
                    let value = match exponent {
                        _ if magnitude == 0 => 0,
                        66.. => side << 100,
                        // below one half
                        _ if small => whole(side, 4, toward),
                        _ => whole(format.units(*a), format.scale(), toward),
                    };
                    row.gives(&[*a], cut_to(value.clamp(least, most)));
                }
                let infinity = format.infinity();
                row.gives(&[infinity], cut_to(most));
                row.gives(&[infinity | 1 << (format.bits() - 1)], cut_to(least));
            }
        }
    }
}

/// 0, but with 64 bits on either side the top bit of the destination.
#[test]
fn not_a_number_as_an_integer() {
    for (from, r, format) in FLOATS {
        for (to, bits) in INTEGERS {
            let Some(own) = register(from, bits) else { continue };
            let wide = from == "f64" || bits == 64;
            let want = if wide { integer(to, bits, 1 << (bits - 1)) as u64 } else { 0 };
            for nan in [format.infinity() | 1, !0 >> (64 - format.bits())] {
                check(&format!("cvt.rzi.{to}.{from} %{own}0, %{r}1"), &[nan], want);
            }
        }
    }
    check("cvt.rni.s32.f32 %r0, %f1", &[0x7FC0_0000], 0);
    check("cvt.rni.u32.f64 %r0, %g1", &[0x7FF8 << 48], 0x8000_0000);
    check("cvt.rni.s64.f16 %d0, %h1", &[0x7E00], 1 << 63);
}

/// Each f16 and bf16 is an f32, and comes back from it.
#[test]
fn sixteen_bits_there_and_back() {
    for (ty, format) in [("f16", F16), ("bf16", BF16)] {
        let up = row(&format!("cvt.f32.{ty} %f0, %h1"));
        let down = ["rn", "rz"].map(|mode| row(&format!("cvt.{mode}.{ty}.f32 %h0, %f1")));
        for bits in 0..0x10000u64 {
            let f32_bits = up.call(&[bits]);
            let value = f32::from_bits(f32_bits as u32);
            let (magnitude, negative) = (bits & 0x7FFF, bits >> 15 == 1);
            if magnitude > format.infinity() {
                assert!(value.is_nan());
                assert_eq!(down[0].call(&[f32_bits]), 0x7FFF);
                continue;
            }
            let (e, m) = (magnitude >> format.fraction, magnitude & ((1 << format.fraction) - 1));
            let bias = (1 << (format.exponent - 1)) - 1;
            let leading = if e > 0 { 1 << format.fraction } else { 0 };
            let power = e.max(1) as i32 - bias - format.fraction as i32;
            let want = match magnitude == format.infinity() {
                true => f64::INFINITY,
                false => (m + leading) as f64 * 2f64.powi(power),
            };
            assert_eq!(f64::from(value), if negative { -want } else { want });
            assert_eq!(value.is_sign_negative(), negative);
            for row in &down {
                row.gives(&[f32_bits], bits);
            }
        }
    }
}

/// f32 to 16 bits, alone and in pairs; f64 to what is narrower.
#[test]
fn floats_to_narrower_ones() {
    let mut random = Random(23);
    for (to, format) in [("f16", F16), ("bf16", BF16)] {
        for toward in ['n', 'z'] {
            let one = row(&format!("cvt.r{toward}.{to}.f32 %h0, %f1"));
            let two = row(&format!("cvt.r{toward}.{to}x2.f32 %r0, %f1, %f2"));
            let mut last = (0, 0);
            for i in 0..20_000 {
                let exponent = if to == "f16" {
                    127 - 26 + random.below(44)
                } else {
                    127 - 16 + random.below(32)
                };
                let fraction = random.next() & 0x7F_FFFF & [!0, !0 << 12, !0 << 15][i % 3];
                let a = random.below(2) << 31 | exponent << 23 | fraction;
                let units = (i128::from(fraction) | 1 << 23)
                    << (exponent as u32 + format.scale() - 101 - 24);
                let exact = if a >> 31 == 1 { -units } else { units };
                let want = format.round(exact, 25, toward);
                one.gives(&[a], want);
                // a goes high
                two.gives(&[a, last.0], want << 16 | last.1);
                last = (a, want);
            }
        }
    }
    for (to, format, r) in [("f16", F16, 'h'), ("f32", F32, 'f')] {
        for toward in ROUNDINGS {
            let row = row(&format!("cvt.r{toward}.{to}.f64 %{r}0, %g1"));
            for i in 0..20_000 {
                let exponent = 1023 - 14 + random.below(31);
                let fraction =
                    random.next() & ((1 << 52) - 1) & [!0, !0 << 28, !0 << 41, !0 << 32][i % 4];
                let a = random.below(2) << 63 | exponent << 52 | fraction;
                let shift = exponent as u32 - 1009 + format.scale() - 14;
                let units = (i128::from(fraction) | 1 << 52) << shift;
                row.gives(
                    &[a],
                    format.round(if a >> 63 == 1 { -units } else { units }, 52, toward),
                );
            }
        }
    }
}

/// Overflow, underflow and NaN of narrower types in each direction.
#[test]
fn ends_of_the_range() {
    for (text, a, want) in [
        ("rn", 65519.996, 0x7BFF),
        ("rn", 65520.0, 0x7C00),
        ("rz", 1e38, 0x7BFF),
        ("rz", -1e38, 0xFBFF),
        ("rz", f32::NEG_INFINITY, 0xFC00),
        ("rn", 2f32.powi(-25), 0),
        ("rn", -(2f32.powi(-25)), 0x8000),
        ("rn", 2f32.powi(-25) * 1.0001, 1),
        ("rn", 2f32.powi(-24) * 1.5, 2),
        ("rz", 2f32.powi(-24) * 1.5, 1),
        ("rn", f32::NAN, 0x7FFF),
        ("rn.relu", -3.0, 0),
        ("rn.relu", 3.0, 0x4200),
        ("rn.relu", f32::NAN, 0x7FFF),
        ("rn.relu", f32::NEG_INFINITY, 0),
    ] {
        check(&format!("cvt.{text}.f16.f32 %h0, %f1"), &[f(a)], want);
    }
    for (text, a, want) in [
        ("rn", f32::MAX, 0x7F80),
        ("rz", f32::MAX, 0x7F7F),
        ("rn", f32::from_bits(0x3F80_8000), 0x3F80),
        ("rn", f32::from_bits(0x3F81_8000), 0x3F82),
        ("rn", f32::from_bits(0x0000_8000), 0),
        ("rn", f32::from_bits(0x0000_8001), 1),
        ("rz.relu", f32::from_bits(0xBF81_8000), 0),
    ] {
        check(&format!("cvt.{text}.bf16.f32 %h0, %f1"), &[f(a)], want);
    }
    let pair = "cvt.rn.relu.bf16x2.f32 %r0, %f1, %f2";
    check(pair, &[f(-1.0), f(f32::NAN)], 0x7FFF);
    check(pair, &[f(1.0), f(-1.0)], 0x3F80_0000);
    let tiny = g(1e-60);
    for (mode, up, down) in
        [("rn", 0, 1 << 31), ("rz", 0, 1 << 31), ("rp", 1, 1 << 31), ("rm", 0, 1 << 31 | 1)]
    {
        check(&format!("cvt.{mode}.f32.f64 %f0, %g1"), &[tiny], up);
        check(&format!("cvt.{mode}.f32.f64 %f0, %g1"), &[tiny | 1 << 63], down);
    }
    for (mode, want) in [("rn", 0x7C00), ("rz", 0x7BFF), ("rp", 0x7C00), ("rm", 0x7BFF)] {
        check(&format!("cvt.{mode}.f16.f64 %h0, %g1"), &[g(1e300)], want);
    }
    // half way between two f16, and f32 would not hold what is above it
    check("cvt.rn.f16.f64 %h0, %g1", &[g(1.0 + 2f64.powi(-11))], 0x3C00);
    check("cvt.rn.f16.f64 %h0, %g1", &[g(1.0 + 2f64.powi(-11) + 2f64.powi(-50))], 0x3C01);
    check("cvt.rn.sat.f16.f32 %h0, %f1", &[f(f32::NAN)], 0);
    check("cvt.rn.sat.f16.f32 %h0, %f1", &[f(7.0)], 0x3C00);
    check("cvt.rn.sat.f32.f64 %f0, %g1", &[g(-7.0)], 0);
    check("cvt.sat.f32.f32 %f0, %f1", &[f(-0.0)], 0);
    check(
        "cvt.f64.f32 %g0, %f1",
        &[f(f32::MIN_POSITIVE / 4.0)],
        g(f64::from(f32::MIN_POSITIVE) / 4.0),
    );
}

/// `.ftz` is for the f32 on either side alone.
#[test]
fn only_singles_are_flushed() {
    check("cvt.ftz.f32.f16 %f0, %h1", &[1], f(2f32.powi(-24)));
    check("cvt.rn.ftz.f16.f32 %h0, %f1", &[f(2f32.powi(-24))], 1);
    check("cvt.rn.ftz.f16.f32 %h0, %f1", &[1 | 1 << 31], 0x8000);
    check("cvt.ftz.f64.f32 %g0, %f1", &[1], 0);
    check("cvt.rn.ftz.f32.f64 %f0, %g1", &[g(-1e-40)], 1 << 31);
    check("cvt.rp.ftz.f32.f64 %f0, %g1", &[g(1e-60)], 0);
    check("cvt.rpi.ftz.s32.f32 %r0, %f1", &[1], 0);
    check("cvt.rpi.s32.f32 %r0, %f1", &[1], 1);
}

/// A float rounded to an integer stays a float.
#[test]
fn integral_floats() {
    for (mode, values) in [
        ("rni", [0.0, 2.0, 2.0, -2.0, -0.0]),
        ("rzi", [0.0, 1.0, 2.0, -2.0, -0.0]),
        ("rmi", [0.0, 1.0, 2.0, -3.0, -1.0]),
        ("rpi", [1.0, 2.0, 3.0, -2.0, -0.0]),
    ] {
        for (a, want) in [0.5, 1.5, 2.5, -2.5, -0.25].into_iter().zip(values) {
            check(&format!("cvt.{mode}.f32.f32 %f0, %f1"), &[f(a)], f(want));
            check(&format!("cvt.{mode}.f64.f64 %g0, %g1"), &[g(a.into())], g(want.into()));
            let half = |x| u64::from(half::f16::from_f32(x).to_bits());
            check(&format!("cvt.{mode}.f16.f16 %h0, %h1"), &[half(a)], half(want));
        }
    }
}

/// 10 bits of fraction: `.rna` takes ties away from zero, `.rn` to even.
#[test]
fn tensor_floats() {
    let one = 0x3F80_0000u64;
    let cases = [
        (one, [one; 3]),
        (one + 0xFFF, [one; 3]),
        (one + 0x1000, [one + 0x2000, one, one]),
        (one + 0x1001, [one + 0x2000, one + 0x2000, one]),
        (one + 0x3000, [one + 0x4000, one + 0x4000, one + 0x2000]),
        (0x7F7F_FFFF, [0x7F80_0000, 0x7F80_0000, 0x7F7F_E000]),
        (0x7F80_0000, [0x7F80_0000; 3]),
        (0x1000, [0x2000, 0, 0]),
    ];
    for (n, mode) in ["rna", "rn", "rz"].into_iter().enumerate() {
        let row = row(&format!("cvt.{mode}.tf32.f32 %r0, %f1"));
        for (a, wants) in cases {
            row.gives(&[a], wants[n]);
            row.gives(&[a | 1 << 31], wants[n] | 1 << 31);
        }
        for nan in [0x7F80_0001, 0xFFFF_FFFF] {
            assert!(f32::from_bits(row.call(&[nan]) as u32).is_nan());
        }
    }
    check("cvt.rn.relu.tf32.f32 %r0, %f1", &[f(-1.5)], 0);
    check("cvt.rz.relu.tf32.f32 %r0, %f1", &[f(1.5)], f(1.5));
    check("cvt.rn.relu.tf32.f32 %r0, %f1", &[0xFFC0_0000], 0x7FFF_FFFF);
}

/// Of each code: as s·1.m·2^(e − bias), or its subnormal; E5M2 is the upper half of an f16.
#[test]
fn eight_bit_floats_to_f16() {
    let e4m3 = |code: u64| {
        let (sign, e, m) = ((code & 0x80) << 8, code >> 3 & 15, code & 7);
        let normal = sign | (e + 8) << 10 | m << 7;
        match (e, m) {
            (15, 7) => 0x7FFF,
            (0, 0) => sign,
            // m·2^-9, its top bit moved to bit 3
            (0, _) => {
                let up = m.leading_zeros() as u64 - 60;
                sign | (9 - up) << 10 | (m << (up + 7) & 0x3FF)
            }
            _ => normal,
        }
    };
    let e5m2 = |code: u64| if code & 0x7F > 0x7C { 0x7FFF } else { code << 8 };
    let e4m3_row = row("cvt.rn.f16x2.e4m3x2 %r0, %h1");
    let e5m2_row = row("cvt.rn.f16x2.e5m2x2 %r0, %h1");
    for code in 0..256 {
        let other = code * 7 % 256;
        let both = other << 8 | code;
        e4m3_row.gives(&[both], e4m3(other) << 16 | e4m3(code));
        e5m2_row.gives(&[both], e5m2(other) << 16 | e5m2(code));
    }
}
