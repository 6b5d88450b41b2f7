//! 8-bit floats against their definition.

use quickpick_format::{E4m3, E5m2, Element};

/// A type under test: its bits of mantissa, its largest code, and its functions.
struct Float8 {
    mantissa: u32,
    max: u8,
    to_f32: fn(u8) -> f32,
    from_f32: fn(f32) -> u8,
}

const TYPES: [Float8; 2] = [
    Float8 {
        mantissa: 3,
        max: 0x7E,
        to_f32: |bits| E4m3::from_bits(bits).to_f32(),
        from_f32: |value| E4m3::from_f32(value).to_bits(),
    },
    Float8 {
        mantissa: 2,
        max: 0x7B,
        to_f32: |bits| E5m2::from_bits(bits).to_f32(),
        from_f32: |value| E5m2::from_f32(value).to_bits(),
    },
];

impl Float8 {
    /// (−1)^s · 2^(e−bias) · (1 + m), or m · 2^(1−bias) where e is 0; the largest e of E5M2 is for infinity, m being
    /// 0, and NaN, of E4M3 but the last code of all is NaN.
    fn defined(&self, bits: u8) -> f64 {
        let steps = 1 << self.mantissa;
        let (e, m) = (i32::from(bits & 0x7F) / steps, f64::from(i32::from(bits) % steps));
        let (m, bias) = (m / f64::from(steps), if self.mantissa == 3 { 7 } else { 15 });
        let magnitude = match (e, self.mantissa) {
            (31, 2) if m == 0.0 => f64::INFINITY,
            (31, 2) => f64::NAN,
            _ if bits & 0x7F == 0x7F => f64::NAN,
            (0, _) => m * f64::from(1 - bias).exp2(),
            _ => f64::from(e - bias).exp2() * (1.0 + m),
        };
        if bits & 0x80 == 0 { magnitude } else { -magnitude }
    }
}

#[test]
fn every_code_means_what_it_should_and_comes_back() {
    for ty in TYPES {
        for bits in 0..=u8::MAX {
            let (value, want) = ((ty.to_f32)(bits), ty.defined(bits));
            if want.is_nan() {
                assert!(value.is_nan(), "{bits:#x}");
                assert_eq!((ty.from_f32)(value), 0x7F);
                continue;
            }
            assert_eq!(f64::from(value), want, "{bits:#x}");
            let code = if want.is_finite() { bits } else { bits & 0x80 | ty.max };
            assert_eq!((ty.from_f32)(value), code, "the sign of a zero as well");
        }
    }
    assert_eq!((E4m3::MAX.to_f32(), E4m3::from_bits(0x01).to_f32()), (448.0, 1.0 / 512.0));
    assert_eq!((E5m2::MAX.to_f32(), E5m2::from_bits(0x01).to_f32()), (57344.0, 1.0 / 65536.0));
    assert_eq!(E4m3::from_bits(0x80), E4m3::default(), "−0 is a zero");
    assert!(E4m3::NAN != E4m3::NAN && E5m2::NAN != E5m2::NAN);
    for (bits, finite) in [(0x7B, true), (0x7C, false), (0xFC, false), (0x7D, false)] {
        assert_eq!(E5m2::from_bits(bits).is_finite(), finite, "{bits:#x}");
    }
}

/// It is the upper half of an f16.
#[test]
fn e5m2_is_half_of_an_f16() {
    for bits in 0..=u8::MAX {
        let (value, half) = (E5m2::from_bits(bits), half::f16::from_le_bytes([0, bits]));
        assert!(
            value.to_f32() == half.to_f32() || half.is_nan() && !value.is_finite(),
            "{bits:#x}"
        );
    }
}

/// Between each two neighbours: the middle, the f32s beside it, and the f32s beside the neighbours.
#[test]
fn the_nearest_and_of_two_the_even() {
    for ty in TYPES {
        for low in 0..ty.max {
            let (a, b) = (ty.defined(low) as f32, ty.defined(low + 1) as f32);
            let (middle, even) = ((a + b) / 2.0, if low % 2 == 0 { low } else { low + 1 });
            for (value, want) in [
                (middle, even),
                (middle.next_down(), low),
                (middle.next_up(), low + 1),
                (a.next_up(), low),
                (b.next_down(), low + 1),
            ] {
                assert_eq!((ty.from_f32)(value), want, "{value}");
                assert_eq!((ty.from_f32)(-value), want | 0x80, "{}", -value);
            }
        }
    }
}

#[test]
fn what_is_too_large_saturates() {
    for (ty, values) in TYPES.iter().zip([[448.0, 449.0, 464.0], [57344.0, 57345.0, 61440.0]]) {
        for value in values.into_iter().chain([1e9, f32::MAX, f32::INFINITY]) {
            assert_eq!((ty.from_f32)(value), ty.max, "{value}");
            assert_eq!((ty.from_f32)(-value), ty.max | 0x80, "{value}");
        }
        assert_eq!((ty.from_f32)(f32::from_bits(1)), 0);
        assert_eq!((ty.from_f32)(-f32::NAN), 0x7F);
    }
}
