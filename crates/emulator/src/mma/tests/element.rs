//! Numbers against other derivations of them.

use super::super::element::{to_bf16, to_f16};
use super::reference::encode;
use super::*;

/// (−1)^s · 2^(E − bias) · 1.m, or 0.m of the least exponent.
fn short_float(bits: u32, mantissa_bits: i32, bias: i32) -> f32 {
    let sign = if bits >> 7 == 1 { -1.0 } else { 1.0 };
    let exponent = (bits & 0x7F) as i32 >> mantissa_bits;
    let mantissa = (bits & ((1 << mantissa_bits) - 1)) as f32 / (1 << mantissa_bits) as f32;
    let leading = (exponent > 0) as u32 as f32;
    sign * (leading + mantissa) * 2f32.powi(exponent.max(1) - bias)
}

#[test]
fn every_code_of_8_and_16_bits() {
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    // what is above the element in the word does not matter
    for above in [0, 0xABCD_0000] {
        for bits in 0..=0xFFFFu32 {
            let want = half::f16::from_bits(bits as u16).to_f32();
            assert!(same(Element::F16.value(above | bits), want), "f16 {bits:#x}");
            let want = half::bf16::from_bits(bits as u16).to_f32();
            assert!(same(Element::Bf16.value(above | bits), want), "bf16 {bits:#x}");
        }
    }
    for bits in 0..=0xFF {
        let e4m3 = if bits & 0x7F == 0x7F { f32::NAN } else { short_float(bits, 3, 7) };
        let e5m2 = match bits & 0x7F {
            0x7C => f32::INFINITY.copysign(short_float(bits, 2, 15)),
            0x7D.. => f32::NAN,
            _ => short_float(bits, 2, 15),
        };
        let above = bits | 0x7E5A_3C00;
        assert!(same(Element::E4m3.value(above), e4m3), "e4m3 {bits:#x}");
        assert!(same(Element::E5m2.value(above), e5m2), "e5m2 {bits:#x}");
        assert_eq!(Element::S8.value(above), bits as i8 as f32);
        assert_eq!(Element::U8.value(above), bits as f32);
    }
    assert_eq!(Element::Tf32.value(1f32.to_bits() | 0x1FFF), 1.0);
    assert_eq!(Element::Tf32.value(1f32.to_bits() | 0x3FFF), 1.0 + 1.0 / 1024.0);
}

/// Largest and least numbers of the 8-bit formats, as the manual's tables have them.
#[test]
fn known_numbers() {
    assert_eq!(Element::E4m3.value(0x7E), 448.0);
    assert_eq!(Element::E4m3.value(0x01), 1.0 / 512.0);
    assert_eq!(Element::E5m2.value(0x7B), 57344.0);
    assert_eq!(Element::E5m2.value(0x81), -1.0 / 65536.0);
    for element in ELEMENTS {
        for value in 0..=8 {
            assert_eq!(element.value(encode(element, value)), value as f32, "{element:?}");
        }
    }
}

/// A register's elements are in order, the first in the low bits.
#[test]
fn registers_are_unpacked_in_order() {
    let mut register = [0; 32];
    register[9] = 0x0403_0201;
    let [a, b, c, d] = Element::U8.unpack(&register).map(|row| row[9]);
    assert_eq!([a, b, c, d], [1.0, 2.0, 3.0, 4.0]);
    let [low, high] = Element::Bf16.unpack(&register).map(|row| row[9]);
    assert_eq!([low, high], [0x0201, 0x0403].map(|bits| Element::Bf16.value(bits)));
    let [whole] = Element::Tf32.unpack(&register).map(|row| row[9]);
    assert_eq!(whole, Element::Tf32.value(0x0403_0201));
}

/// Rounding to 16 bits: exact numbers, and the three points between each pair of neighbours.
#[test]
fn sixteen_bits_are_rounded_once() {
    fn check(round: fn(f64) -> u32, number: fn(u16) -> f64, largest: u32) {
        for bits in 0..largest {
            let (low, high) = (number(bits as u16), number(bits as u16 + 1));
            let middle = (low + high) / 2.0;
            let hair = (high - low) / 1e9;
            let even = bits + bits % 2;
            for (x, want) in
                [(low, bits), (middle - hair, bits), (middle, even), (middle + hair, bits + 1)]
            {
                assert_eq!(round(x), want, "{x:e}");
                assert_eq!(round(-x), want | 0x8000, "-{x:e}");
            }
        }
    }
    check(to_f16, |bits| half::f16::from_bits(bits).to_f64(), 0x7BFF);
    check(to_bf16, |bits| half::bf16::from_bits(bits).to_f64(), 0x7F7F);
    assert_eq!(
        [65519.99, 65520.0, 1e300, f64::INFINITY].map(to_f16),
        [0x7BFF, 0x7C00, 0x7C00, 0x7C00]
    );
    assert_eq!([f64::NEG_INFINITY, -f64::NAN].map(to_f16), [0xFC00, 0x7FFF]);
    assert_eq!([2f64.powi(-25), 2f64.powi(-25) * 1.001, 1e-320].map(to_f16), [0, 1, 0]);
    let half_way = 511.0 * 2f64.powi(119); // between the largest, 255 · 2^120, and 2^128
    assert_eq!([half_way * 0.9999, half_way, f64::INFINITY].map(to_bf16), [0x7F7F, 0x7F80, 0x7F80]);
    assert_eq!([f64::NEG_INFINITY, f64::NAN, 1e-320].map(to_bf16), [0xFF80, 0x7FFF, 0]);
}
