//! One element of A, of B and one metadata code at a time, for every form.

mod descriptor;
mod element;
mod form;
mod group;
mod reference;
mod warp;

use super::*;
use reference::Case;

const ELEMENTS: [Element; 7] = [
    Element::F16,
    Element::Bf16,
    Element::Tf32,
    Element::S8,
    Element::U8,
    Element::E4m3,
    Element::E5m2,
];
const ACCS: [Acc; 3] = [Acc::F16, Acc::F32, Acc::S32];
const SPARSITIES: [Sparsity; 3] =
    [Sparsity::Dense, Sparsity::Sparse { ordered: false }, Sparsity::Sparse { ordered: true }];

/// Every form that a constructor lets pass, of many K, all types and accumulators.
fn all(form: impl Fn(u32, Element, Element, Acc, Sparsity) -> Result<Form, String>) -> Vec<Form> {
    let mut forms = Vec::new();
    for k in [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128] {
        for a in ELEMENTS {
            for b in ELEMENTS {
                for acc in ACCS {
                    forms.extend(SPARSITIES.iter().flat_map(|s| form(k, a, b, acc, *s)));
                }
            }
        }
    }
    forms
}

fn warp_forms() -> Vec<Form> {
    all(|k, a, b, acc, sparsity| Form::warp(k, a, b, acc, sparsity, false))
}

fn group_forms(n: u32) -> Vec<Form> {
    all(|k, a, b, acc, sparsity| Form::group(n, k, a, b, acc, sparsity, false))
}

/// Every element of A alone, then every one of B, then every code of every group: `judge` runs a case.
///
/// The other matrix holds small numbers that tell its elements apart: B column 0 the low octal digit
/// of k and column 1 the high one; A in even rows the low one of its column, in odd rows the high one.
fn sweep(form: Form, mut judge: impl FnMut(&Case, &str)) {
    let mut case = Case::new(form);
    case.b = grid(case.b.len(), form.n, |k, n| 1 + if n == 1 { k / 8 } else { k % 8 });
    for row in 0..case.a.len() {
        for j in 0..form.stored_columns() {
            case.a[row][j] = 1;
            judge(&case, &format!("A[{row}, {j}]"));
            case.a[row][j] = 0;
        }
    }
    if form.is_sparse() {
        sweep_codes(&mut case, &mut judge);
    }
    let mut case = Case::new(form);
    case.a = grid(case.a.len(), form.stored_columns() as u32, |row, j| {
        1 + if row % 2 == 1 { j / 8 } else { j % 8 }
    });
    for k in 0..form.k as usize {
        for n in 0..form.n as usize {
            case.b[k][n] = 1;
            judge(&case, &format!("B[{k}, {n}]"));
            case.b[k][n] = 0;
        }
    }
}

/// Every legal code in every group of a row, of all warps at once; the weights 1 and 5 of the two kept
/// elements tell both positions.
fn sweep_codes(case: &mut Case, judge: &mut impl FnMut(&Case, &str)) {
    let per_group = case.form.stored_columns() / case.codes[0].len();
    for selector in 0..case.form.selectors() {
        case.selector = selector;
        for row in 0..16 {
            for group in 0..case.codes[0].len() {
                for code in (0..16).filter(|code| case.form.codes() >> code & 1 == 1) {
                    let usual = case.codes[row][group];
                    for row in (row..case.a.len()).step_by(16) {
                        case.codes[row][group] = code;
                        (0..per_group).for_each(|i| {
                            case.a[row][per_group * group + i] = [1, 5][i];
                        });
                    }
                    judge(case, &format!("code {code:#x} of row {row}, group {group}"));
                    for row in (row..case.a.len()).step_by(16) {
                        case.codes[row][group] = usual;
                        (0..per_group).for_each(|i| case.a[row][per_group * group + i] = 0);
                    }
                }
            }
        }
    }
    case.selector = 0;
}

fn grid(rows: usize, columns: u32, of: impl Fn(i32, i32) -> i32) -> Vec<Vec<i32>> {
    (0..rows as i32)
        .map(|row| (0..columns as i32).map(|column| of(row, column)).collect())
        .collect()
}

/// Numbers below `range`, the same each time.
fn noise(seed: u32) -> impl FnMut(u32) -> u32 {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    move |range| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % range
    }
}
