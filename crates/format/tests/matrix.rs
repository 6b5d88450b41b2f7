//! Canonical form and orders: round trips, closed forms, and every malformed input its own error.

use half::{bf16, f16};
use proptest::prelude::*;
use quickpick_format::{
    DType, E4m3, Element, Error, Matrix24, Order, Packed, Pair, Places, WORD_COLUMNS,
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

/// Each order against the address formula that its users derive it from, not the one it is built by.
#[test]
fn mma_sp_sm80_is_cutlass_reordering() {
    let (rows, cols) = (96, 160);
    let codes = |row: usize, unit: usize| -> u32 {
        (0..4).map(|g| u32::from(some_pair(row, 4 * unit + g).code()) << (4 * g)).sum()
    };
    let matrix = some_matrix(rows, cols);
    let packed = matrix.pack(Order::MmaSpSm80).unwrap();
    assert_eq!(packed.values, matrix.values());
    let halves: &[u16] = bytemuck::cast_slice(&packed.metadata);
    for row in 0..rows {
        for unit in 0..cols / 16 {
            // CUTLASS 2.x, in its own three steps: interleave rows of a group of 32 by 4; swap the
            // off-diagonal of each 2 × 2 block; column-major, interleaved by 2
            let mut r = row / 32 * 32 + row % 8 * 4 + row % 32 / 8;
            let mut c = unit;
            match (r % 2, c % 2) {
                (0, 1) => (r, c) = (r + 1, c - 1),
                (1, 0) => (r, c) = (r - 1, c + 1),
                _ => {}
            }
            let at = c / 2 * (2 * rows) + 2 * r + c % 2;
            assert_eq!(u32::from(halves[at]), codes(row, unit), "row {row}, unit {unit}");
        }
    }
}

/// The fragments as the PTX manual draws them: from the lane's side, not the matrix's.
#[test]
fn fragment_sm80_is_what_each_lane_holds() {
    let (rows, cols) = (40, 100);
    let matrix = some_matrix(rows, cols);
    let packed = matrix.pack(Order::FragmentSm80).unwrap();
    let value = |row: usize, j: usize| match row < rows && j < matrix.k() / 2 {
        true => matrix.values()[row * matrix.k() / 2 + j],
        false => f16::ZERO,
    };
    let codes = |row: usize, col: usize| -> u32 {
        let pair = |group| match row < rows && 4 * group < cols {
            true => some_pair(row, group),
            false => Pair::FIRST,
        };
        (0..4).map(|g| u32::from(pair(col / 4 + g).code()) << (4 * g)).sum()
    };
    let mut values = packed.values.iter();
    let mut metadata = packed.metadata.iter();
    for row in (0..48).step_by(16) {
        for col in (0..128).step_by(64) {
            for step in 0..2 {
                let j = (col + 32 * step) / 2;
                for (g, t) in (0..32).map(|lane| (lane / 4, lane % 4)) {
                    let registers = [
                        (row + g, j + 2 * t),
                        (row + g + 8, j + 2 * t),
                        (row + g, j + 2 * t + 8),
                        (row + g + 8, j + 2 * t + 8),
                    ];
                    for (row, j) in registers {
                        assert_eq!(values.next(), Some(&value(row, j)));
                        assert_eq!(values.next(), Some(&value(row, j + 1)));
                    }
                }
            }
            for lane in 0..32 {
                let (g, selector, u) = (lane / 4, lane / 2 % 2, lane % 2);
                let col = col + 32 * selector + 16 * u;
                let want = codes(row + g, col) | codes(row + g + 8, col) << 16;
                assert_eq!(metadata.next(), Some(&want), "row {row}, column {col}, lane {lane}");
            }
        }
    }
    assert_eq!((values.next(), metadata.next()), (None, None));
}

/// As the CPU reads it: strip by strip, group by group, lane by lane.
#[test]
fn strips_are_what_each_lane_multiplies() {
    fn check<T: Element>(together: usize) {
        let (rows, cols) = (19, 36);
        let dense: Vec<T> = (0..rows * cols)
            .map(|i| {
                T::from_f32(if i % cols % 4 == 1 || i % cols % 4 == i / cols % 2 * 2 {
                    1.0 + (i * 7 % 101) as f32
                } else {
                    0.0
                })
            })
            .collect();
        let matrix = Matrix24::compress(&dense, rows, cols).unwrap();
        let (k, packed) = (matrix.k(), matrix.pack(Order::Strips).unwrap());
        assert_eq!((k, packed.values.len(), packed.metadata.len()), (64, 32 * 32, 32 * 2));
        let (mut values, mut metadata) = (packed.values.iter(), packed.metadata.iter());
        let kept = |row: usize, j: usize| match row < rows {
            true => matrix.values()[row * k / 2 + j],
            false => T::zeroed(),
        };
        for strip in [0, 16] {
            for j in (0..k / 2).step_by(together) {
                for row in strip..strip + 16 {
                    for j in j..j + together {
                        assert_eq!(values.next(), Some(&kept(row, j)), "row {row}, value {j}");
                    }
                }
            }
            for group in 0..k / 4 {
                for parity in 0..2 {
                    let mut want = 0;
                    for i in 0..8 {
                        let row = strip + 2 * i + parity;
                        let code = match row < rows {
                            true => {
                                matrix.metadata()[row * k / 32 + group / 8] >> (4 * (group % 8))
                                    & 15
                            }
                            false => 4,
                        };
                        want |= (code & 3) << (2 * i) | (code >> 2) << (16 + 2 * i);
                    }
                    assert_eq!(
                        metadata.next(),
                        Some(&want),
                        "rows {strip}.., group {group}, {parity}"
                    );
                }
            }
        }
        assert_eq!((values.next(), metadata.next()), (None, None));
        assert_eq!(packed.unpack(rows, cols).unwrap(), matrix);
    }
    check::<f32>(1);
    check::<f16>(1);
    check::<E4m3>(1);
    check::<bf16>(2);
    check::<i8>(4);
}

/// As the threads of a warpgroup take their two words: four k-steps, by selector and word.
#[test]
fn wgmma_sm90_is_what_each_thread_supplies() {
    let (rows, cols) = (70, 196);
    let matrix = some_matrix(rows, cols);
    let packed = matrix.pack(Order::WgmmaSm90).unwrap();
    assert_eq!(packed.values, matrix.values(), "as in the canonical form");
    assert_eq!((packed.values.len(), packed.metadata.len()), (70 * 224 / 2, 128 * 256 / 32));
    let codes = |row: usize, col: usize| -> u32 {
        let pair = |group| match row < rows && 4 * group < cols {
            true => some_pair(row, group),
            false => Pair::FIRST,
        };
        (0..4).map(|g| u32::from(pair(col / 4 + g).code()) << (4 * g)).sum()
    };
    let mut metadata = packed.metadata.iter();
    for row in (0..128).step_by(16) {
        for col in (0..256).step_by(128) {
            for (lane, j) in (0..32).flat_map(|lane| [(lane, 0), (lane, 1)]) {
                let (g, selector, u) = (lane / 4, lane / 2 % 2, lane % 2);
                let step = 2 * j + selector;
                let col = col + 32 * step + 16 * u;
                let want = codes(row + g, col) | codes(row + g + 8, col) << 16;
                assert_eq!(metadata.next(), Some(&want), "row {row}, column {col}, lane {lane}");
            }
        }
    }
    assert_eq!(metadata.next(), None);
}

/// As the threads of a warpgroup take their four words: a k-step each, whole words.
#[test]
fn wgmma_sm90_of_bytes_is_what_each_thread_supplies() {
    fn check<T: Element>() {
        let (rows, cols) = (70, 292);
        let matrix = some_small_matrix::<T>(rows, cols);
        let packed = matrix.pack(Order::WgmmaSm90).unwrap();
        assert_eq!(packed.values, matrix.values(), "as in the canonical form");
        assert_eq!((packed.values.len(), packed.metadata.len()), (70 * 320 / 2, 128 * 512 / 32));
        assert_eq!(Order::WgmmaSm90.metadata_shape(T::DTYPE, rows, cols), [128, 16]);
        let codes = |row, col| eight_codes((rows, cols), row, col);
        let mut metadata = packed.metadata.iter();
        for row in (0..128).step_by(16) {
            for col in (0..512).step_by(256) {
                for (lane, step) in (0..32).flat_map(|lane| (0..4).map(move |step| (lane, step))) {
                    // PTX ISA, metadata with a k of 64: lane t of quad g holds row g + 8·(t mod 2),
                    // columns 32·(t/2) and on
                    let (g, t) = (lane / 4, lane % 4);
                    let (row, col) = (row + g + 8 * (t % 2), col + 64 * step + 32 * (t / 2));
                    let want = codes(row, col);
                    assert_eq!(metadata.next(), Some(&want), "row {row}, column {col}");
                }
            }
        }
        assert_eq!(metadata.next(), None);
        assert_eq!(packed.unpack(rows, cols).as_ref(), Ok(&matrix));
    }
    check::<i8>();
    check::<E4m3>();
}

/// m16n8k64: whole words, in the order of CUTLASS's `reorder_meta` for 32-bit words.
#[test]
fn mma_sp_sm80_of_bytes_is_cutlass_reordering() {
    fn check<T: Element>() {
        let (rows, cols) = (70, 292);
        let matrix = some_small_matrix::<T>(rows, cols);
        let packed = matrix.pack(Order::MmaSpSm80).unwrap();
        assert_eq!(packed.values, matrix.values(), "as in the canonical form");
        let [m, words] = Order::MmaSpSm80.metadata_shape(T::DTYPE, rows, cols);
        assert_eq!([m, words], [96, 10]);
        for (r, c) in (0..m).flat_map(|r| (0..words).map(move |c| (r, c))) {
            // interleave rows of a group of 16 by 2; swap the off-diagonal of each 2 × 2 block;
            // column-major, interleaved by 2
            let (mut row, mut col) = (r / 16 * 16 + r % 8 * 2 + r % 16 / 8, c);
            match (row % 2, col % 2) {
                (0, 1) => (row, col) = (row + 1, col - 1),
                (1, 0) => (row, col) = (row - 1, col + 1),
                _ => {}
            }
            let at = col / 2 * (2 * m) + 2 * row + col % 2;
            assert_eq!(
                packed.metadata[at],
                eight_codes((rows, cols), r, 32 * c),
                "row {r}, word {c}"
            );
        }
        assert_eq!(packed.unpack(rows, cols).as_ref(), Ok(&matrix));
    }
    check::<i8>();
    check::<E4m3>();
}

/// From the lane's side: the four registers of A, and a word for each of two k-steps.
#[test]
fn fragment_sm80_of_bytes_is_what_each_lane_holds() {
    fn check<T: Element>() {
        let (rows, cols) = (40, 164);
        let matrix = some_small_matrix::<T>(rows, cols);
        let packed = matrix.pack(Order::FragmentSm80).unwrap();
        let half = matrix.k() / 2;
        let value = |row: usize, j: usize| match row < rows && j < half {
            true => matrix.values()[row * half + j],
            false => T::from_f32(0.0),
        };
        let (mut values, mut metadata) = (packed.values.iter(), packed.metadata.iter());
        for (row, col) in (0..48).step_by(16).flat_map(|row| [(row, 0), (row, 128)]) {
            for (step, lane) in (0..2).flat_map(|step| (0..32).map(move |lane| (step, lane))) {
                let (g, t, j) = (lane / 4, lane % 4, (col + 64 * step) / 2);
                for (high, j) in [(0, j), (8, j), (0, j + 16), (8, j + 16)] {
                    for e in 0..4 {
                        let want = value(row + g + high, j + 4 * t + e);
                        assert_eq!(values.next(), Some(&want), "row {row}, column {col}");
                    }
                }
            }
            for (lane, step) in (0..32).flat_map(|lane| [(lane, 0), (lane, 1)]) {
                let (g, t) = (lane / 4, lane % 4);
                let (row, col) = (row + g + 8 * (t % 2), col + 64 * step + 32 * (t / 2));
                let want = eight_codes((rows, cols), row, col);
                assert_eq!(metadata.next(), Some(&want), "row {row}, column {col}");
            }
        }
        assert_eq!((values.next(), metadata.next()), (None, None));
    }
    check::<i8>();
    check::<E4m3>();
}

/// Small whole numbers of any type; what is kept, the positions tell.
fn some_small_matrix<T: Element>(rows: usize, cols: usize) -> Matrix24<T> {
    let mut dense = vec![T::from_f32(0.0); rows * cols];
    for (row, line) in dense.chunks_exact_mut(cols).enumerate() {
        for (group, four) in line.chunks_exact_mut(4).enumerate() {
            let pair = some_pair(row, group);
            four[pair.first()] = T::from_f32((row % 7 + 1) as f32);
            four[pair.second()] = T::from_f32(-((group % 5 + 1) as f32));
        }
    }
    Matrix24::compress(&dense, rows, cols).unwrap()
}

/// A word of codes of [`some_small_matrix`], from a column on.
fn eight_codes((rows, cols): (usize, usize), row: usize, col: usize) -> u32 {
    let pair = |group| match row < rows && 4 * group < cols {
        true => some_pair(row, group),
        false => Pair::FIRST,
    };
    (0..8).map(|g| u32::from(pair(col / 4 + g).code()) << (4 * g)).sum()
}

/// A pair that depends on row and group without a short period.
fn some_pair(row: usize, group: usize) -> Pair {
    Pair::ALL[(row * 31 + group * 17 + row * group) % 6]
}

/// Every kept value another one.
fn some_matrix(rows: usize, cols: usize) -> Matrix24<f16> {
    let mut dense = vec![f16::ZERO; rows * cols];
    for row in 0..rows {
        for group in 0..cols / 4 {
            let pair = some_pair(row, group);
            let at = row * cols + 4 * group;
            let bits = (at / 2 + 1) as u16; // distinct subnormals and small numbers
            dense[at + pair.first()] = f16::from_bits(bits);
            dense[at + pair.second()] = f16::from_bits(bits + 0x4000);
        }
    }
    Matrix24::compress(&dense, rows, cols).unwrap()
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
    let m = some_matrix(64, 128);
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

/// Places are those of `pack`: whoever writes along them has made the same.
#[test]
fn places_are_those_of_pack() {
    let (rows, cols) = (37, 44);
    let dense =
        Vec::from_iter((0..rows * cols).map(|i| bf16::from_f32((i * 37 % 101) as f32 - 50.0)));
    let matrix = Matrix24::magnitude(&dense, rows, cols).unwrap();
    for order in Order::ALL {
        let packed = matrix.pack(order).unwrap();
        let places = Places::new(order, DType::BF16, rows, cols).unwrap();
        let [value_rows, kept] = order.values_shape(DType::BF16, rows, cols);
        let [word_rows, words] = order.metadata_shape(DType::BF16, rows, cols);
        let mut values = vec![bf16::ZERO; value_rows * kept];
        let mut metadata = vec![places.padding(); word_rows * words];
        for (at, &v) in matrix.values().iter().enumerate() {
            let (row, j) = (at / (matrix.k() / 2), at % (matrix.k() / 2));
            let pair = matrix.pair(row, j / 2);
            let (word, shift) = places.code(row, j);
            let position = [pair.first(), pair.second()][j % 2] as u32;
            metadata[word] = metadata[word] & !(3 << shift) | position << shift;
            values[places.value(row, j)] = v;
        }
        assert_eq!((values, metadata), (packed.values, packed.metadata), "{order}");
    }
    let none = Places::new(Order::MmaSpSm80, DType::F32, 4, 4).err();
    assert!(matches!(none, Some(Error::OrderType { .. })));
}
