//! `wgmma` and `wgmma.sp` against the reference.

use super::reference::{Case, encode};
use super::*;
use crate::trap::Fault;

/// A group's outcome, A from registers or, `shared`, as a matrix.
fn run(case: &Case, shared: bool, c: Option<&[Vec<Lanes>]>) -> Result<Vec<Vec<Lanes>>, Fault> {
    let form = &case.form;
    let fragments = case.a_registers();
    let raw = |element, matrix: &[Vec<i32>]| -> Vec<u32> {
        matrix.iter().flatten().map(|value| encode(element, *value)).collect()
    };
    let a = if shared {
        GroupA::Matrix(raw(form.a, &case.a))
    } else {
        GroupA::Registers([0, 1, 2, 3].map(|w| &fragments[w][..]))
    };
    let metadata = case.metadata();
    let meta = [0, 1, 2, 3].map(|w| Metadata {
        word: &metadata[w],
        selector: case.selector,
        tolerant: false,
    });
    let meta = form.is_sparse().then_some(meta);
    let garbage = vec![vec![[0x7FC0_1234; 32]; form.d_registers()]; 4];
    let d = c.unwrap_or(&garbage);
    let d = [0, 1, 2, 3].map(|w| &d[w][..]);
    let out = group(form, a, &raw(form.b, &case.b), d, c.is_some(), false, false, meta)?;
    Ok(out.into())
}

fn judge(case: &Case, shared: bool, what: &str) {
    let c = case.accumulators(&case.c);
    let want = case.accumulators(&case.product());
    assert!(run(case, shared, Some(&c)) == Ok(want), "{}: {what}", case.form);
}

#[test]
fn one_element_at_a_time_with_a_in_registers() {
    assert_eq!(sweep_all(false), 10 + 10);
}

#[test]
fn one_element_at_a_time_with_a_gathered() {
    assert_eq!(sweep_all(true), 10 + 10);
}

fn sweep_all(shared: bool) -> usize {
    let forms: Vec<Form> = group_forms(8).into_iter().filter(|form| form.a == form.b).collect();
    forms.iter().for_each(|form| sweep(*form, |case, what| judge(case, shared, what)));
    forms.len()
}

#[test]
fn all_elements_together() {
    for n in [8, 24, 64, 256] {
        for form in group_forms(n) {
            for shared in [false, true] {
                judge(&Case::random(form, n + shared as u32), shared, "random");
            }
        }
    }
}

/// Without `scale-d` what D held is not looked at; the two scales of −1 negate the product.
#[test]
fn scales() {
    for form in group_forms(16) {
        let mut case = Case::random(form, 7);
        case.c.iter_mut().flatten().for_each(|c| *c = 0);
        let product = case.product();
        let got = run(&case, true, None);
        assert_eq!(got, Ok(case.accumulators(&product)), "{form}");
    }
    let form = Form::group(8, 16, Element::F16, Element::F16, Acc::F32, Sparsity::Dense, false);
    let mut case = Case::new(form.unwrap());
    (case.a[40][3], case.b[3][5]) = (2, 3);
    let fragments = case.a_registers();
    let b: Vec<u32> = case.b.iter().flatten().map(|b| encode(Element::F16, *b)).collect();
    for (negate_a, negate_b, want) in
        [(false, false, 6.0), (true, false, -6.0), (false, true, -6.0), (true, true, 6.0)]
    {
        let a = GroupA::Registers([0, 1, 2, 3].map(|w| &fragments[w][..]));
        let d = group(&case.form, a, &b, [&[]; 4], false, negate_a, negate_b, None).unwrap();
        // row 40 is warp 2's row 8, column 5 the second of lane 2
        assert_eq!(f32::from_bits(d[2][3][2]), want);
    }
}

/// Descending pairs are defined, pairs of the same position are not; rows count through the group.
#[test]
fn undefined_codes_and_selectors_are_refused() {
    let sparse = Sparsity::Sparse { ordered: false };
    let form = Form::group(8, 32, Element::F16, Element::F16, Acc::F32, sparse, false).unwrap();
    let mut case = Case::new(form);
    let run = |case: &Case| run(case, false, None).map(|_| ());
    for code in 0..16 {
        case.codes[59][6] = code;
        let fault = Fault::Metadata { row: 59, group: 6, code };
        let want = if code & 3 == code >> 2 { Err(fault) } else { Ok(()) };
        assert_eq!(run(&case), want);
    }
    case.codes[59][6] = 0xE;
    let metadata = [0xEEEE_EEEE; 32];
    let meta = [Metadata { word: &metadata, selector: 2, tolerant: true }; 4];
    let b = vec![0; 32 * 8];
    let a = GroupA::Matrix(vec![0; 64 * 16]);
    let got = group(&form, a, &b, [&[]; 4], false, false, false, Some(meta));
    assert_eq!(got, Err(Fault::Selector { selector: 2, count: 2 }));
}
