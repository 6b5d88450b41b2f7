//! The bitmask layout, against its definition: bits of kept columns, lowest first, and their values.

use half::{bf16, f16};
use proptest::prelude::*;
use quickpick_format::{E4m3, E5m2, Element, Error, Matrix24};

/// A matrix of which each group's pair and values come from a stream of bytes; zeros among them.
fn matrix<T: Element>(rows: usize, groups: usize, seed: &[u8]) -> (Vec<T>, Vec<bool>) {
    let pairs = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];
    let at = |i: usize| seed[i % seed.len()].wrapping_mul(i as u8 | 1);
    let mut dense = vec![T::from_f32(0.0); rows * groups * 4];
    let mut kept = vec![false; dense.len()];
    for group in 0..rows * groups {
        let (a, b) = pairs[at(group) as usize % 6];
        for (p, salt) in [(a, 1), (b, 2)] {
            dense[4 * group + p] = T::from_f32(f32::from(at(group + salt) % 16));
            kept[4 * group + p] = true;
        }
    }
    (dense, kept)
}

fn check<T: Element>(rows: usize, groups: usize, seed: &[u8]) {
    let cols = 4 * groups;
    let (dense, kept) = matrix::<T>(rows, groups, seed);
    let m = Matrix24::from_mask(&dense, &kept, rows, cols).unwrap();
    let coded = m.to_bitmask();
    // the definition
    let values: Vec<T> = (0..rows * cols).filter(|&i| kept[i]).map(|i| dense[i]).collect();
    let row_bytes = cols.div_ceil(8);
    let mut mask = vec![0u8; rows * row_bytes];
    for i in (0..rows * cols).filter(|&i| kept[i]) {
        let (row, col) = (i / cols, i % cols);
        mask[row * row_bytes + col / 8] |= 1 << (col % 8);
    }
    assert_eq!((&coded.values, &coded.mask), (&values, &mask));
    let back = Matrix24::from_bitmask(&coded.values, &coded.mask, rows, cols).unwrap();
    assert_eq!(back, m);
    assert_eq!(back.expand(), dense);
}

proptest! {
    #[test]
    fn every_matrix_comes_back(
        rows in 1usize..5, groups in 1usize..20, seed in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        check::<f16>(rows, groups, &seed);
        check::<bf16>(rows, groups, &seed);
        check::<f32>(rows, groups, &seed);
        check::<i8>(rows, groups, &seed);
        check::<E4m3>(rows, groups, &seed);
        check::<E5m2>(rows, groups, &seed);
    }

    /// Any bits give a matrix that writes the same bits, or an error; never a panic.
    #[test]
    fn hostile_bits(
        rows in 0usize..4, cols in 0usize..20,
        values in proptest::collection::vec(any::<u32>(), 0..40),
        mask in proptest::collection::vec(prop_oneof![Just(0x33u8), Just(0xA5), Just(3), any::<u8>()], 0..12),
    ) {
        let values: Vec<f32> = values.into_iter().map(f32::from_bits).collect();
        if let Ok(m) = Matrix24::from_bitmask(&values, &mask, rows, cols) {
            prop_assert_eq!(m.to_bitmask().mask, mask);
        }
    }
}

#[test]
fn each_fault_is_its_own_error() {
    let values = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let decode = |mask: [u8; 2]| Matrix24::from_bitmask(&values, &mask, 1, 12);
    let m = decode([0b1010_0011, 0b1001]).unwrap();
    assert_eq!(m.expand(), [1.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 4.0, 5.0, 0.0, 0.0, 6.0]);
    assert_eq!(decode([0b1110_0011, 9]), Err(Error::MaskGroup { row: 0, col: 4, kept: 3 }));
    assert_eq!(decode([0b0000_0011, 9]), Err(Error::MaskGroup { row: 0, col: 4, kept: 0 }));
    assert_eq!(decode([0b1010_1000, 9]), Err(Error::MaskGroup { row: 0, col: 0, kept: 1 }));
    assert_eq!(decode([0xA3, 0x19]), Err(Error::MaskPadding { row: 0, col: 12 }));
    let e = Matrix24::from_bitmask(&values, &[0xA3], 1, 12);
    assert_eq!(e, Err(Error::Length { what: "bitmask", have: 1, want: 2 }));
    let e = Matrix24::from_bitmask(&values[1..], &[0xA3, 9], 1, 12);
    assert_eq!(e, Err(Error::Length { what: "values", have: 5, want: 6 }));
    let e = Matrix24::from_bitmask(&[f32::NAN; 6], &[0xA3, 9], 1, 12);
    assert!(matches!(e, Err(Error::NotFinite { row: 0, col: 0, .. })));
    assert!(Matrix24::from_bitmask(&values, &[0xA3, 9], 1, 11).is_err());
    assert!(Matrix24::<f32>::from_bitmask(&[], &[], usize::MAX / 4, 4).is_err());
}
