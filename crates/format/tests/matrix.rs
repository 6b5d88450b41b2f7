//! Canonical form: round trips through every order, and every malformed input its own error.

use half::{bf16, f16};
use proptest::prelude::*;
use quickpick_format::{
    DType, E4m3, E5m2, Element, Error, Matrix24, Order, Packed, Pair, WORD_COLUMNS,
};

/// A dense 2:4 matrix: each group a pair of positions and two values, zeros among them.
fn dense24<T: Element>() -> impl Strategy<Value = (Vec<T>, usize, usize)> {
    (1usize..40, 1usize..30).prop_flat_map(|(rows, groups)| {
        let group = (0usize..6, -60i8..60, -60i8..60);
        proptest::collection::vec(group, rows * groups).prop_map(move |kept| {
            let mut dense = vec![T::from_f32(0.0); rows * groups * 4];
            for (group, (pair, a, b)) in kept.into_iter().enumerate() {
                let pair = Pair::ALL[pair];
                dense[4 * group + pair.first()] = T::from_f32(a.into());
                dense[4 * group + pair.second()] = T::from_f32(b.into());
            }
            (dense, rows, groups * 4)
        })
    })
}

/// Through the canonical form and every order that serves the type, bit for bit.
fn round_trip<T: Element>(dense: &[T], rows: usize, cols: usize) {
    let matrix = Matrix24::compress(dense, rows, cols).unwrap();
    assert_eq!(matrix.expand(), dense);
    assert_eq!((matrix.rows(), matrix.cols()), (rows, cols));
    let parts = (matrix.values().to_vec(), matrix.metadata().to_vec());
    assert_eq!(Matrix24::from_parts(parts.0, parts.1, rows, cols).as_ref(), Ok(&matrix));
    let mask: Vec<bool> = dense.iter().map(|v| !v.is_zero()).collect();
    assert_eq!(Matrix24::from_mask(dense, &mask, rows, cols).as_ref(), Ok(&matrix));
    for order in Order::ALL {
        match matrix.pack(order) {
            Ok(packed) => {
                let (padded_rows, padded_cols) = order.padded(T::DTYPE, rows, cols);
                let values = order.value_rows(rows) * order.value_cols(T::DTYPE, cols) / 2;
                assert_eq!(packed.values.len(), values);
                assert_eq!(packed.metadata.len(), padded_rows * padded_cols / WORD_COLUMNS);
                assert_eq!(packed.unpack(rows, cols).as_ref(), Ok(&matrix), "{order}");
            }
            Err(e) => {
                assert!(order != Order::RowMajor && T::DTYPE == DType::F32);
                assert_eq!(e, Error::OrderType { order, dtype: T::DTYPE });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn round_trip_f16((dense, rows, cols) in dense24::<f16>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_bf16((dense, rows, cols) in dense24::<bf16>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_f32((dense, rows, cols) in dense24::<f32>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_i8((dense, rows, cols) in dense24::<i8>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_e4m3((dense, rows, cols) in dense24::<E4m3>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_e5m2((dense, rows, cols) in dense24::<E5m2>()) { round_trip(&dense, rows, cols) }

    /// A mask decides: what it drops reads as zero, what it keeps comes back, whatever the values.
    #[test]
    fn a_mask_decides(
        (kept, rows, cols) in dense24::<i8>(),
        seed in any::<u64>(),
    ) {
        let mask: Vec<bool> = kept.iter().map(|&v| v != 0).collect();
        let full: Vec<f32> = (0..kept.len() as u64)
            .map(|i| ((seed ^ i).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 + 1.0)
            .collect();
        let want: Vec<f32> =
            full.iter().zip(&mask).map(|(&v, &kept)| if kept { v } else { 0.0 }).collect();
        prop_assert_eq!(Matrix24::from_mask(&full, &mask, rows, cols).unwrap().expand(), want);
    }

    /// Hostile parts give a matrix that holds what it was given, or an error; never a panic.
    #[test]
    fn hostile_parts(
        values in proptest::collection::vec(any::<u16>().prop_map(f16::from_bits), 0..70),
        metadata in proptest::collection::vec(any::<u32>(), 0..5),
        rows in 0usize..4,
        cols in 0usize..70,
    ) {
        if let Ok(m) = Matrix24::from_parts(values.clone(), metadata.clone(), rows, cols) {
            prop_assert_eq!(m.values(), &values[..]);
            prop_assert_eq!(m.metadata(), &metadata[..]);
        }
        for order in Order::ALL {
            let packed = Packed { order, values: values.clone(), metadata: metadata.clone() };
            let _ = packed.unpack(rows, cols);
        }
    }

    /// One flipped metadata nibble of a packed matrix is an error with its place, or another
    /// legal matrix; it never goes unseen.
    #[test]
    fn a_flipped_nibble_is_seen(
        (dense, rows, cols) in dense24::<f16>(),
        at in any::<prop::sample::Index>(),
        nibble in 0u32..8,
        flip in 1u32..16,
        order in prop::sample::select(&Order::ALL[..]),
    ) {
        let matrix = Matrix24::compress(&dense, rows, cols).unwrap();
        let mut packed = matrix.pack(order).unwrap();
        let word = at.index(packed.metadata.len());
        packed.metadata[word] ^= flip << (4 * nibble);
        let code = (packed.metadata[word] >> (4 * nibble) & 15) as u8;
        match packed.unpack(rows, cols) {
            Ok(other) => {
                // in strips a nibble is no code, but halves of two
                prop_assert!(order == Order::Strips || Pair::try_from(code).is_ok());
                prop_assert_ne!(other, matrix);
            }
            Err(Error::Code { source, .. }) if order == Order::Strips => {
                prop_assert!(Pair::try_from(source.0).is_err());
            }
            Err(Error::Code { source, .. }) => prop_assert_eq!(source.0, code),
            Err(e) => prop_assert!(matches!(e, Error::Padding { .. }), "{}", e),
        }
    }
}

#[test]
fn six_codes_are_legal() {
    let mut legal = Vec::new();
    for code in 0..=u8::MAX {
        match Pair::try_from(code) {
            Ok(pair) => {
                assert!(pair.first() < pair.second() && pair.second() < 4);
                assert_eq!(pair.code() as usize, pair.first() + 4 * pair.second());
                legal.push(code);
            }
            Err(e) => assert_eq!(e.0, code),
        }
    }
    assert_eq!(legal, [0x4, 0x8, 0x9, 0xC, 0xD, 0xE]);
    assert_eq!(legal, Pair::ALL.map(Pair::code));
}

#[test]
fn fewer_than_two_take_the_lowest_positions() {
    for (dense, code) in [
        ([0.0, 0.0, 0.0, 0.0], 0x4),
        ([5.0, 0.0, 0.0, 0.0], 0x4),
        ([0.0, 5.0, 0.0, 0.0], 0x4),
        ([0.0, 0.0, 5.0, 0.0], 0x8),
        ([0.0, 0.0, 0.0, 5.0], 0xC),
        ([-0.0, 0.0, 5.0, 6.0], 0xE),
        ([-0.0, 5.0, -0.0, 6.0], 0xD),
        ([-0.0, 5.0, 0.0, 0.0], 0x4),
        ([5.0, -0.0, 0.0, 0.0], 0x4),
    ] {
        let m = Matrix24::<f32>::compress(&dense, 1, 4).unwrap();
        assert_eq!(m.pair(0, 0).code(), code, "{dense:?}");
        assert_eq!(m.metadata()[0], 0x4444_4440 | u32::from(code));
        assert_eq!(m.expand(), dense);
        assert!(m.values().iter().all(|v| v.to_bits() != (-0.0f32).to_bits()));
    }
}

#[test]
fn every_malformed_matrix_is_its_own_error() {
    let compress = |dense: &[f32], rows, cols| Matrix24::compress(dense, rows, cols).unwrap_err();
    assert_eq!(compress(&[], 0, 4), Error::Empty { rows: 0, cols: 4 });
    assert_eq!(compress(&[], 4, 0), Error::Empty { rows: 4, cols: 0 });
    assert_eq!(compress(&[0.0; 6], 1, 6), Error::Columns { cols: 6 });
    let huge = usize::MAX / 8 * 4;
    assert_eq!(compress(&[], 3, huge), Error::TooLarge { rows: 3, cols: huge });
    let what = "dense matrix";
    assert_eq!(compress(&[0.0; 7], 1, 8), Error::Length { what, have: 7, want: 8 });
    let third = [1.0, 0.0, 0.0, 2.0, 0.0, 3.0, 4.0, 5.0];
    assert_eq!(compress(&third, 2, 4), Error::ThirdNonZero { row: 1, col: 3 });
    assert_eq!(compress(&third, 1, 8), Error::ThirdNonZero { row: 0, col: 7 });
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let e = compress(&[0.0, 0.0, 0.0, 0.0, 0.0, value, 0.0, 0.0], 2, 4);
        assert!(matches!(e, Error::NotFinite { row: 1, col: 1, .. }), "{e}");
    }

    let masked = |dense: &[f32], mask: &[bool]| Matrix24::from_mask(dense, mask, 1, 4).unwrap_err();
    let three = [true, true, false, true];
    assert_eq!(masked(&[0.0; 4], &three), Error::ThirdKept { row: 0, col: 3 });
    let short = Error::Length { what: "mask", have: 3, want: 4 };
    assert_eq!(masked(&[0.0; 4], &three[..3]), short);
    assert_eq!(masked(&[0.0; 5], &three), Error::Length { what, have: 5, want: 4 });
    let e = masked(&[0.0, f32::NAN, 0.0, 0.0], &[false; 4]);
    assert!(matches!(e, Error::NotFinite { row: 0, col: 1, .. }), "a dropped NaN: {e}");

    let parts = |values: &[f32], metadata: &[u32], cols| {
        Matrix24::from_parts(values.to_vec(), metadata.to_vec(), 1, cols).unwrap_err()
    };
    let legal = 0x4444_4444;
    let e = Error::Length { what: "values", have: 15, want: 16 };
    assert_eq!(parts(&[0.0; 15], &[legal], 32), e);
    let e = Error::Length { what: "metadata", have: 2, want: 1 };
    assert_eq!(parts(&[0.0; 16], &[legal, legal], 32), e);
    for code in [0x0, 0x1, 0x2, 0x3, 0x5, 0x6, 0x7, 0xA, 0xB, 0xF] {
        let e = parts(&[0.0; 16], &[0x4444_4044 | code << 8], 32);
        assert!(matches!(e, Error::Code { row: 0, col: 8, source } if u32::from(source.0) == code));
    }
    assert_eq!(parts(&[0.0; 16], &[0xE444_4444], 28), Error::Padding { row: 0, col: 28 });
    let mut values = [0.0; 16];
    values[15] = 1.0;
    assert_eq!(parts(&values, &[legal], 28), Error::Padding { row: 0, col: 28 });
    values[15] = f32::NAN;
    let e = parts(&values, &[legal], 32);
    assert!(matches!(e, Error::NotFinite { row: 0, col: 29, .. }), "{e}");

    // an order's own padding
    let m = Matrix24::compress(&[f16::ONE, f16::ZERO, f16::ZERO, f16::ZERO], 1, 4).unwrap();
    let mut packed = m.pack(Order::MmaSpSm80).unwrap();
    packed.metadata[0] = 0x9444_4444; // high half: row 8
    assert_eq!(packed.unpack(1, 4), Err(Error::Padding { row: 8, col: 12 }));
    packed.metadata[0] = 0x0444_4444;
    assert!(matches!(packed.unpack(1, 4), Err(Error::Code { row: 8, col: 12, .. })));
    let mut packed = m.pack(Order::FragmentSm80).unwrap();
    packed.values[2] = f16::ONE; // register 1: row 8
    assert_eq!(packed.unpack(1, 4), Err(Error::Padding { row: 8, col: 0 }));
    let mut packed = m.pack(Order::WgmmaSm90).unwrap();
    packed.metadata[1] = 0x4444_4449; // lane 0, the second word: column 64
    assert_eq!(packed.unpack(1, 4), Err(Error::Padding { row: 0, col: 64 }));
    let m = Matrix24::compress(&[1i8, 0, 0, 0], 1, 4).unwrap();
    let mut packed = m.pack(Order::WgmmaSm90).unwrap();
    packed.metadata[4] = 0x9444_4444; // lane 1, the first word: row 8, the last group
    assert_eq!(packed.unpack(1, 4), Err(Error::Padding { row: 8, col: 28 }));
}

#[test]
fn bytes_and_density_are_exact() {
    let m = Matrix24::magnitude(&[f16::ONE; 64 * 128], 64, 128).unwrap();
    assert_eq!(m.bytes() * 16, 64 * 128 * 2 * 9);
    assert_eq!(m.density(), 0.5);
    assert_eq!(Matrix24::compress(&[0i8; 32], 1, 32).unwrap().density(), 0.0);
}

#[test]
fn i8_rounds_to_nearest_even_and_saturates() {
    for (x, want) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.6, -3)] {
        assert_eq!(i8::from_f32(x), want, "{x}");
    }
    for (x, want) in [(127.4, 127), (1e9, 127), (-1e9, -128), (f32::NAN, 0)] {
        assert_eq!(i8::from_f32(x), want, "{x}");
    }
}

/// By magnitude: what is 2:4 stays as it is; of equals the lower column; −0 is 0; NaN is refused.
#[test]
fn magnitude_keeps_the_two_largest() {
    let row =
        [1.0f32, -3.0, 2.0, -2.0, /**/ -0.5, 0.5, 0.5, 0.5, /**/ -0.0, 0.0, 0.0, -1.0];
    let matrix = Matrix24::magnitude(&row, 1, 12).unwrap();
    assert_eq!(matrix.values()[..6], [-3.0, 2.0, -0.5, 0.5, 0.0, -1.0]);
    assert!(matrix.values()[4].is_sign_positive());
    assert_eq!(matrix.metadata(), [0x4444_4C49]);
    let again = Matrix24::compress(&matrix.expand(), 1, 12).unwrap();
    assert_eq!(Matrix24::magnitude(&matrix.expand(), 1, 12), Ok(again));
    let nan = Matrix24::magnitude(&[0.0f32, 1.0, 2.0, f32::NAN], 1, 4).unwrap_err();
    assert!(matches!(nan, Error::NotFinite { row: 0, col: 3, .. }), "{nan}");
    for (i, pair) in Pair::ALL.into_iter().enumerate() {
        let marked: [u32; 4] = core::array::from_fn(|p| {
            if p == pair.first() { 2 } else { u32::from(p == pair.second()) * 3 }
        });
        assert_eq!(Pair::largest(marked), Pair::ALL[i]);
    }
}
