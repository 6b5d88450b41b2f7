//! Weights whose rows lie in one matrix.

use quickpick_format::{Error, GATE_ROWS, Matrix24, gate_up_rows, interleave_gate_up};

/// Rows of ever other numbers, 2:4 along them.
fn rows(first: i8, rows: usize, cols: usize) -> Vec<i8> {
    let value = |i: usize| if i % 4 < 2 { first + (i / cols) as i8 } else { 0 };
    (0..rows * cols).map(value).collect()
}

#[test]
fn each_feature_finds_its_gate_and_its_up() {
    let (m, cols) = (24, 36);
    let (gate, up) = (rows(1, m, cols), rows(-100, m, cols));
    let both = interleave_gate_up(&gate, &up, cols).unwrap();
    assert_eq!(both.len(), 2 * gate.len());
    let mut seen = vec![false; 2 * m];
    for feature in 0..m {
        for (row, from) in gate_up_rows(feature).into_iter().zip([&gate, &up]) {
            assert_eq!(both[row * cols..][..cols], from[feature * cols..][..cols], "{feature}");
            assert!(!std::mem::replace(&mut seen[row], true), "row {row} twice");
        }
    }
    assert!(seen.into_iter().all(|row| row));
    assert_eq!((gate_up_rows(GATE_ROWS - 1), gate_up_rows(GATE_ROWS)), ([7, 15], [16, 24]));

    let [gate, up] = [gate, up].map(|dense| Matrix24::compress(&dense, m, cols).unwrap());
    let packed = Matrix24::gate_up(&gate, &up).unwrap();
    assert_eq!((packed.rows(), packed.cols()), (2 * m, cols));
    assert_eq!(packed.expand(), both);
}

#[test]
fn a_gate_and_an_up_that_do_not_fit_are_refused() {
    let length = |what, have, want| Error::Length { what, have, want };
    let gate = rows(1, 8, 32);
    assert_eq!(interleave_gate_up(&gate, &gate[1..], 32), Err(length("up", 255, 256)));
    let odd = Error::GateRows { elements: 128, cols: 32 };
    assert_eq!(interleave_gate_up(&gate[..128], &gate[..128], 32), Err(odd.clone()));
    assert!(odd.to_string().contains("128 elements in 32 columns is no multiple of 8 rows"));
    let none = Error::GateRows { elements: 256, cols: 0 };
    assert_eq!(interleave_gate_up(&gate, &gate, 0), Err(none));

    let of = |m, cols| Matrix24::compress(&rows(1, m, cols), m, cols).unwrap();
    let (gate, wide, long) = (of(8, 32), of(8, 36), of(16, 32));
    assert_eq!(Matrix24::gate_up(&gate, &wide), Err(length("columns of up", 36, 32)));
    assert_eq!(Matrix24::gate_up(&gate, &long), Err(length("rows of up", 16, 8)));
    let odd = of(12, 32);
    assert!(matches!(Matrix24::gate_up(&odd, &odd), Err(Error::GateRows { .. })));
}

#[test]
fn stacked_rows_follow_each_other() {
    let dense = [rows(1, 5, 40), rows(50, 3, 40), rows(-7, 1, 40)];
    let parts = [5, 3, 1].into_iter().zip(&dense);
    let parts: Vec<_> = parts.map(|(m, d)| Matrix24::compress(d, m, 40).unwrap()).collect();
    let all = Matrix24::stacked(&parts.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!((all.rows(), all.expand()), (9, dense.concat()));
    let other = Matrix24::compress(&rows(1, 2, 36), 2, 36).unwrap();
    let what = "columns of a stacked matrix";
    let refused = Error::Length { what, have: 36, want: 40 };
    assert_eq!(Matrix24::stacked(&[&parts[0], &other]), Err(refused));
    assert_eq!(Matrix24::<i8>::stacked(&[]), Err(Error::Empty { rows: 0, cols: 0 }));
}
