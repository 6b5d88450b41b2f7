//! Sparse residuals: round trips, closed forms, and every malformed input its own error.

use half::{bf16, f16};
use proptest::prelude::*;
use quickpick_format::{Csr, DType, E4m3, E5m2, Element, Error};

/// A dense matrix, most of it zeros.
fn sparse<T: Element>() -> impl Strategy<Value = (Vec<T>, usize, usize)> {
    (1usize..12, 1usize..40).prop_flat_map(|(rows, cols)| {
        let element = prop_oneof![4 => Just(0i8), 1 => -60i8..60];
        proptest::collection::vec(element, rows * cols).prop_map(move |dense| {
            (dense.into_iter().map(|v| T::from_f32(v.into())).collect(), rows, cols)
        })
    })
}

/// Through rows, parts and packed entries.
fn round_trip<T: Element>(dense: &[T], rows: usize, cols: usize) {
    let csr = Csr::from_dense(dense, rows, cols).unwrap();
    assert_eq!(csr.expand(), dense);
    assert_eq!((csr.rows(), csr.cols(), csr.pointers().len()), (rows, cols, rows + 1));
    let count = dense.iter().filter(|v| !v.is_zero()).count();
    assert_eq!(csr.values().len(), count);
    assert_eq!(csr.density(), count as f64 / dense.len() as f64);
    for (row, dense) in dense.chunks_exact(cols).enumerate() {
        let of_row = dense.iter().copied().enumerate().filter(|(_, v)| !v.is_zero());
        assert!(csr.row(row).eq(of_row), "row {row}");
    }
    let (pointers, columns) = (csr.pointers().to_vec(), csr.columns().to_vec());
    let again = Csr::from_parts(pointers.clone(), columns, csr.values().to_vec(), rows, cols);
    assert_eq!(again.as_ref(), Ok(&csr));
    match csr.pack() {
        Ok(entries) => {
            assert_eq!(csr.bytes(), 4 * (pointers.len() + entries.len()));
            assert_eq!(Csr::unpack(pointers, &entries, rows, cols).as_ref(), Ok(&csr));
        }
        Err(e) => {
            assert_ne!(T::DTYPE.bytes(), 2);
            assert_eq!(e, Error::PackedType { dtype: T::DTYPE });
            assert_eq!(Csr::<T>::unpack(pointers, &[], rows, cols).unwrap_err(), e);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn round_trip_f16((dense, rows, cols) in sparse::<f16>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_bf16((dense, rows, cols) in sparse::<bf16>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_f32((dense, rows, cols) in sparse::<f32>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_i8((dense, rows, cols) in sparse::<i8>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_e4m3((dense, rows, cols) in sparse::<E4m3>()) { round_trip(&dense, rows, cols) }
    #[test]
    fn round_trip_e5m2((dense, rows, cols) in sparse::<E5m2>()) { round_trip(&dense, rows, cols) }

    /// Hostile parts give a matrix that holds what it was given, or an error; never a panic.
    #[test]
    fn hostile_parts(
        pointers in proptest::collection::vec(0u32..8, 0..5),
        entries in proptest::collection::vec(any::<u32>().prop_map(|word| word & 0xFFFF_000F), 0..8),
        rows in 0usize..5,
        cols in prop_oneof![0usize..20, Just(1 << 16), Just(usize::MAX)],
    ) {
        if let Ok(csr) = Csr::<f16>::unpack(pointers.clone(), &entries, rows, cols) {
            prop_assert_eq!(csr.pointers(), &pointers[..]);
            prop_assert_eq!(csr.pack().unwrap(), entries);
            prop_assert_eq!(Csr::from_dense(&csr.expand(), rows, cols), Ok(csr));
        }
    }

    /// One flipped bit of a packed residual is an error, or another residual; it never goes unseen.
    #[test]
    fn a_flipped_bit_is_seen(
        (dense, rows, cols) in sparse::<bf16>(),
        at in any::<prop::sample::Index>(),
        bit in 0u32..32,
    ) {
        let csr = Csr::from_dense(&dense, rows, cols).unwrap();
        let (mut pointers, mut entries) = (csr.pointers().to_vec(), csr.pack().unwrap());
        let word = at.index(pointers.len() + entries.len());
        match word.checked_sub(pointers.len()) {
            None => pointers[word] ^= 1 << bit,
            Some(entry) => entries[entry] ^= 1 << bit,
        }
        if let Ok(other) = Csr::unpack(pointers, &entries, rows, cols) {
            prop_assert_ne!(other, csr);
        }
    }
}

#[test]
fn entries_are_packed_as_kernels_read_them() {
    // 1.0 is 0x3C00 in f16, −2.0 is 0xC000
    let dense = [0.0f32, 1.0, 0.0, /**/ 0.0, 0.0, 0.0, /**/ -2.0, 0.0, 1.0].map(f16::from_f32);
    let csr = Csr::from_dense(&dense, 3, 3).unwrap();
    assert_eq!(csr.pointers(), [0, 1, 1, 3]);
    assert_eq!(csr.columns(), [1, 0, 2]);
    assert_eq!(csr.pack().unwrap(), [0x3C00_0001, 0xC000_0000, 0x3C00_0002]);
    assert_eq!(csr.bytes(), 16 + 12);
    let none = Csr::from_dense(&[f16::NEG_ZERO; 6], 2, 3).unwrap();
    assert_eq!((none.pointers(), none.values(), none.bytes()), (&[0, 0, 0][..], &[][..], 12));
}

#[test]
fn every_malformed_residual_is_its_own_error() {
    let parts = |pointers: &[u32], columns: &[u32], values: &[f32]| {
        Csr::from_parts(pointers.to_vec(), columns.to_vec(), values.to_vec(), 2, 4).unwrap_err()
    };
    let (columns, values) = ([1, 3, 0], [1.0, 2.0, 3.0]);
    assert!(Csr::from_parts(vec![0, 2, 3], columns.to_vec(), values.to_vec(), 2, 4).is_ok());

    let what = "row pointers";
    assert_eq!(parts(&[0, 3], &columns, &values), Error::Length { what, have: 2, want: 3 });
    let what = "columns";
    assert_eq!(parts(&[0, 2, 3], &columns[..2], &values), Error::Length { what, have: 2, want: 3 });
    for (pointers, row, least, most) in
        [([1, 2, 3], 0, 0, 0), ([0, 4, 3], 1, 0, 3), ([0, 2, 1], 2, 3, 3), ([0, 2, 4], 2, 3, 3)]
    {
        let pointer = pointers[row];
        let wrong = Error::RowPointer { row, pointer, least, most };
        assert_eq!(parts(&pointers, &columns, &values), wrong);
    }
    let falls = Csr::from_parts(vec![0, 3, 2, 3], vec![0, 1, 2], vec![1.0f32; 3], 3, 4);
    assert_eq!(falls, Err(Error::RowPointer { row: 2, pointer: 2, least: 3, most: 3 }));

    // past the end, out of order, twice
    for (columns, row, col, least) in
        [([1, 4, 0], 0, 4, 2), ([3, 1, 0], 0, 1, 4), ([1, 1, 0], 0, 1, 2), ([1, 3, 9], 1, 9, 0)]
    {
        let wrong = Error::Column { row, col, least, cols: 4 };
        assert_eq!(parts(&[0, 2, 3], &columns, &values), wrong);
    }
    for zero in [0.0, -0.0] {
        let wrong = Error::StoredZero { row: 1, col: 0 };
        assert_eq!(parts(&[0, 2, 3], &columns, &[1.0, 2.0, zero]), wrong);
    }
    let infinite = parts(&[0, 2, 3], &columns, &[1.0, f32::INFINITY, 3.0]);
    assert_eq!(infinite, Error::NotFinite { row: 0, col: 3, value: f32::INFINITY });

    let of = |dense: &[f32], rows, cols| Csr::from_dense(dense, rows, cols).unwrap_err();
    assert_eq!(of(&[], 0, 4), Error::Empty { rows: 0, cols: 4 });
    let huge = usize::MAX / 2;
    assert_eq!(of(&[], huge, 4), Error::TooLarge { rows: huge, cols: 4 });
    assert_eq!(of(&[], 1, huge), Error::TooLarge { rows: 1, cols: huge });
    let what = "dense matrix";
    assert_eq!(of(&[1.0; 7], 2, 4), Error::Length { what, have: 7, want: 8 });
    assert!(matches!(of(&[1.0, f32::NAN], 1, 2), Error::NotFinite { row: 0, col: 1, .. }));

    // 65536 columns fit, and no more
    let row = |cols: usize| {
        let mut dense = vec![bf16::ZERO; cols];
        dense[cols - 1] = bf16::ONE;
        Csr::from_dense(&dense, 1, cols).unwrap().pack()
    };
    assert_eq!(row(1 << 16), Ok(vec![0x3F80_FFFF]));
    let (cols, most) = ((1 << 16) + 1, 1 << 16);
    assert_eq!(row(cols), Err(Error::PackedColumns { cols, most }));
    let unpacked = Csr::<f32>::unpack(vec![0, 0], &[], 1, 1).unwrap_err();
    assert_eq!(unpacked, Error::PackedType { dtype: DType::F32 });
}
