//! `mma` and `mma.sp` against the reference, and what they refuse.

use super::reference::Case;
use super::*;
use crate::trap::Fault;

fn run(case: &Case, tolerant: bool) -> Result<Vec<Lanes>, Fault> {
    let form = &case.form;
    let metadata = case.metadata();
    let meta = Metadata { word: &metadata[0], selector: case.selector, tolerant };
    let meta = form.is_sparse().then_some(meta);
    let c = &case.accumulators(&case.c)[0];
    let mut out = vec![[0; 32]; form.d_registers()];
    warp(form, &case.a_registers()[0], &case.b_registers(), c, meta, &mut out)?;
    Ok(out)
}

fn judge(case: &Case, what: &str) {
    let want = case.accumulators(&case.product()).remove(0);
    assert!(run(case, false) == Ok(want), "{}: {what}", case.form);
}

/// Of forms that differ in the types of A and B only, those with one type.
#[test]
fn one_element_at_a_time() {
    let mut swept = 0;
    for form in warp_forms().into_iter().filter(|form| form.a == form.b) {
        sweep(form, judge);
        swept += 1;
    }
    // dense; plain; ordered
    assert_eq!(swept, 20 + 14 + 16);
}

#[test]
fn all_elements_together() {
    for form in warp_forms() {
        (0..20).for_each(|seed| judge(&Case::random(form, seed), &format!("seed {seed}")));
    }
}

fn sparse(k: u32, element: Element, ordered: bool) -> Form {
    let acc = if element.is_integer() { Acc::S32 } else { Acc::F32 };
    Form::warp(k, element, element, acc, Sparsity::Sparse { ordered }, false).unwrap()
}

#[test]
fn undefined_codes_are_refused_unless_tolerated() {
    let six = vec![0x4, 0x8, 0x9, 0xC, 0xD, 0xE];
    let twelve: Vec<u32> = (0..16).filter(|code| code & 3 != code >> 2).collect();
    for (form, legal) in [
        (sparse(32, Element::F16, true), &six),
        (sparse(64, Element::S8, true), &six),
        (sparse(64, Element::E4m3, true), &six),
        (sparse(64, Element::E4m3, false), &six),
        (sparse(16, Element::Bf16, false), &twelve),
        (sparse(32, Element::U8, false), &twelve),
        (sparse(16, Element::Tf32, true), &vec![0x4, 0xE]),
        (sparse(8, Element::Tf32, false), &vec![0x4, 0xE]),
    ] {
        for code in 0..16 {
            let mut case = Case::new(form);
            case.codes[11][3] = code;
            let fault = Fault::Metadata { row: 11, group: 3, code };
            let got = run(&case, false).map(|_| ());
            let want = if legal.contains(&code) { Ok(()) } else { Err(fault) };
            assert_eq!(got, want, "{form}: {code:#x}");
            assert!(run(&case, true).is_ok(), "{form}: {code:#x}");
        }
    }
}

/// Zero codes keep the first column twice, as their fields say.
#[test]
fn tolerated_codes_are_two_positions() {
    let mut case = Case::new(sparse(32, Element::F16, true));
    case.codes[2][5] = 0x0;
    (case.a[2][10], case.a[2][11]) = (3, 4);
    case.b[20][6] = 2;
    let d = run(&case, true).unwrap();
    assert_eq!(f32::from_bits(d[0][2 * 4 + 3]), 14.0);
}

#[test]
fn selectors_out_of_range_are_refused() {
    for form in warp_forms().into_iter().filter(Form::is_sparse) {
        let zeros = [[0; 32]; 4];
        let word = [0xEEEE_EEEE; 32];
        let run = |selector| {
            let mut out = vec![[0; 32]; form.d_registers()];
            let (a, b) = (&zeros[..form.a_registers()], &zeros[..form.b_registers()]);
            let meta = Some(Metadata { word: &word, selector, tolerant: false });
            warp(&form, a, b, &zeros[..form.d_registers()], meta, &mut out)
        };
        let count = form.selectors();
        for selector in 0..6 {
            let want =
                if selector < count { Ok(()) } else { Err(Fault::Selector { selector, count }) };
            assert_eq!(run(selector), want, "{form}");
        }
    }
    let fault = Fault::Selector { selector: 2, count: 2 };
    assert_eq!(fault.to_string(), "selector is 2; the form has 2, counted from 0");
}

/// D[0, 0] of a case with C[0, 0] as given, by its bits.
fn corner(case: &Case, c: u32) -> u32 {
    let form = &case.form;
    let mut registers = vec![[0; 32]; form.d_registers()];
    registers[0][0] = c;
    let mut out = registers.clone();
    warp(form, &case.a_registers()[0], &case.b_registers(), &registers, None, &mut out).unwrap();
    out[0][0]
}

#[test]
fn integers_wrap_or_are_clamped() {
    for (a, c, wrapped, clamped) in [
        (1, i32::MAX, i32::MIN, i32::MAX),
        (-1, i32::MIN, i32::MAX, i32::MIN),
        (-1, i32::MAX, i32::MAX - 1, i32::MAX - 1),
    ] {
        for (saturate, want) in [(false, wrapped), (true, clamped)] {
            let (element, dense) = (Element::S8, Sparsity::Dense);
            let form = Form::warp(32, element, element, Acc::S32, dense, saturate).unwrap();
            let mut case = Case::new(form);
            (case.a[0][7], case.b[7][0]) = (a, 1);
            assert_eq!(corner(&case, c as u32) as i32, want, "{a} {c} {saturate}");
        }
    }
}

/// Large numbers that cancel leave the small one; the sum is rounded once, ties to even.
#[test]
fn sums_are_exact_and_rounded_once() {
    let dense =
        |acc| Form::warp(16, Element::F16, Element::F16, acc, Sparsity::Dense, false).unwrap();
    let mut case = Case::new(dense(Acc::F32));
    (case.a[0][0], case.b[0][0]) = (2048, 2048);
    (case.a[0][1], case.b[1][0]) = (-2048, 2048);
    (case.a[0][2], case.b[2][0]) = (1, 1);
    assert_eq!(f32::from_bits(corner(&case, 0)), 1.0);
    // 2^24 + 1 is half way between floats, 2^24 + 1 + 1 is one
    case.a[0][..2].fill(0);
    assert_eq!(f32::from_bits(corner(&case, 16_777_216f32.to_bits())), 16_777_216.0);
    (case.a[0][3], case.b[3][0]) = (1, 1);
    assert_eq!(f32::from_bits(corner(&case, 16_777_216f32.to_bits())), 16_777_218.0);
    // of f16: 2048 + 1 is half way, and infinity is from 65520 on
    case.form = dense(Acc::F16);
    case.a[0][3] = 0;
    let f16 = |x: f32| half::f16::from_f32(x).to_bits() as u32;
    assert_eq!(corner(&case, f16(2048.0)), f16(2048.0));
    assert_eq!(corner(&case, f16(2050.0)), f16(2052.0));
    case.a[0][2] = 16;
    assert_eq!(corner(&case, f16(65504.0)), 0x7C00);
}

/// NaN of A or B reaches the rows and columns that it takes part in, and no others; it is canonical.
#[test]
fn nan_and_infinity_go_through() {
    let form =
        Form::warp(16, Element::F16, Element::F16, Acc::F32, Sparsity::Dense, false).unwrap();
    let mut case = Case::new(form);
    case.b[0][0] = 1;
    let (mut a, b) = (case.a_registers().remove(0), case.b_registers());
    let mut out = [[0; 32]; 4];
    for (bits, want) in [(0x7C00, 0x7F80_0000), (0xFC00, 0xFF80_0000), (0x7E01, 0x7FFF_FFFF)] {
        a[0][0] = bits;
        warp(&form, &a, &b, &[[0; 32]; 4], None, &mut out).unwrap();
        assert_eq!(out[0][0], want);
        // infinity times the zeros beside it
        assert_eq!(out[1][0], 0x7FFF_FFFF);
        assert_eq!([out[2][0], out[0][4]], [0; 2]);
    }
}
