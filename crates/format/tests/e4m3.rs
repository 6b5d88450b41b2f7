//! E4M3 against its definition.

use quickpick_format::{E4m3, Element};

/// (−1)^s · 2^(e−7) · (1 + m/8), or m/8 · 2⁻⁶ where e is 0.
fn defined(bits: u8) -> f64 {
    let (e, m) = (i32::from(bits >> 3 & 15), f64::from(bits & 7) / 8.0);
    let magnitude = match e {
        _ if bits & 0x7F == 0x7F => f64::NAN,
        0 => m * (-6f64).exp2(),
        e => f64::from(e - 7).exp2() * (1.0 + m),
    };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

#[test]
fn every_code_means_what_it_should_and_comes_back() {
    for bits in 0..=u8::MAX {
        let (value, want) = (E4m3::from_bits(bits), defined(bits));
        assert_eq!(value.to_bits(), bits);
        if want.is_nan() {
            assert!(value.to_f32().is_nan() && !value.is_finite(), "{bits:#x}");
            assert_eq!(E4m3::from_f32(value.to_f32()).to_bits(), 0x7F);
            continue;
        }
        assert_eq!(f64::from(value.to_f32()), want, "{bits:#x}");
        assert_eq!(E4m3::from_f32(want as f32).to_bits(), bits, "the sign of a zero as well");
    }
    assert_eq!((E4m3::MAX.to_f32(), E4m3::from_bits(0x01).to_f32()), (448.0, 1.0 / 512.0));
    assert_eq!(E4m3::from_bits(0x80), E4m3::default(), "−0 is a zero");
    assert!(E4m3::NAN != E4m3::NAN);
}

/// Between each two neighbours: the middle, the f32s beside it, and the f32s beside the neighbours.
#[test]
fn the_nearest_and_of_two_the_even() {
    for low in 0..0x7E_u8 {
        let (a, b) = (defined(low) as f32, defined(low + 1) as f32);
        let (middle, even) = ((a + b) / 2.0, if low % 2 == 0 { low } else { low + 1 });
        for (value, want) in [
            (middle, even),
            (middle.next_down(), low),
            (middle.next_up(), low + 1),
            (a.next_up(), low),
            (b.next_down(), low + 1),
        ] {
            assert_eq!(E4m3::from_f32(value).to_bits(), want, "{value}");
            assert_eq!(E4m3::from_f32(-value).to_bits(), want | 0x80, "{}", -value);
        }
    }
}

#[test]
fn what_is_too_large_saturates() {
    for value in [448.0, 449.0, 464.0, 1e9, f32::MAX, f32::INFINITY] {
        assert_eq!(E4m3::from_f32(value).to_bits(), 0x7E, "{value}");
        assert_eq!(E4m3::from_f32(-value).to_bits(), 0xFE, "{value}");
    }
    assert_eq!(E4m3::from_f32(f32::from_bits(1)).to_bits(), 0);
    assert_eq!(E4m3::from_f32(-f32::NAN).to_bits(), 0x7F);
}
