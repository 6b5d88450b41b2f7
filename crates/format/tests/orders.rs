//! Each order against the fragments and formulas that its users derive it from.

use half::{bf16, f16};
use quickpick_format::{DType, E4m3, E5m2, Element, Error, Matrix24, Order, Pair, Places};

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
    check::<E5m2>(1);
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
    check::<E5m2>();
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
    check::<E5m2>();
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
    check::<E5m2>();
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
