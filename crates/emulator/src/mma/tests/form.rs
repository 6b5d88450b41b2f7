//! Forms that exist, and those that do not.

use super::*;

/// `sparsity.kK.acc.a.b`, and registers of A, B, D, and selectors.
fn line(form: &Form) -> String {
    let (a, b, d) = (form.a_registers(), form.b_registers(), form.d_registers());
    format!("{form} {a} {b} {d} {}", form.selectors())
}

/// The forms of one type for A and B, from the syntax in 9.7.14.5.14 and 9.7.14.6.3, with registers
/// from the sections on fragments.
#[test]
fn the_warps_forms_are_the_manuals() {
    let mut want: Vec<String> = "\
mma.m16n8k8.f16.f16.f16 2 1 2 0
mma.m16n8k8.f32.f16.f16 2 1 4 0
mma.m16n8k16.f16.f16.f16 4 2 2 0
mma.m16n8k16.f32.f16.f16 4 2 4 0
mma.m16n8k8.f32.bf16.bf16 2 1 4 0
mma.m16n8k16.f32.bf16.bf16 4 2 4 0
mma.m16n8k4.f32.tf32.tf32 2 1 4 0
mma.m16n8k8.f32.tf32.tf32 4 2 4 0
mma.m16n8k16.s32.s8.s8 2 1 4 0
mma.m16n8k32.s32.s8.s8 4 2 4 0
mma.m16n8k16.s32.u8.u8 2 1 4 0
mma.m16n8k32.s32.u8.u8 4 2 4 0
mma.m16n8k16.f16.e4m3.e4m3 2 1 2 0
mma.m16n8k16.f32.e4m3.e4m3 2 1 4 0
mma.m16n8k32.f16.e4m3.e4m3 4 2 2 0
mma.m16n8k32.f32.e4m3.e4m3 4 2 4 0
mma.m16n8k16.f16.e5m2.e5m2 2 1 2 0
mma.m16n8k16.f32.e5m2.e5m2 2 1 4 0
mma.m16n8k32.f16.e5m2.e5m2 4 2 2 0
mma.m16n8k32.f32.e5m2.e5m2 4 2 4 0
mma.sp::ordered_metadata.m16n8k64.f16.e4m3.e4m3 4 4 2 1
mma.sp::ordered_metadata.m16n8k64.f16.e5m2.e5m2 4 4 2 1"
        .lines()
        .map(str::to_string)
        .collect();
    for shape in [
        "m16n8k16.f16.f16.f16 2 2 2 4",
        "m16n8k16.f32.f16.f16 2 2 4 4",
        "m16n8k32.f16.f16.f16 4 4 2 2",
        "m16n8k32.f32.f16.f16 4 4 4 2",
        "m16n8k16.f32.bf16.bf16 2 2 4 4",
        "m16n8k32.f32.bf16.bf16 4 4 4 2",
        "m16n8k8.f32.tf32.tf32 2 2 4 4",
        "m16n8k16.f32.tf32.tf32 4 4 4 2",
        "m16n8k32.s32.s8.s8 2 2 4 2",
        "m16n8k64.s32.s8.s8 4 4 4 1",
        "m16n8k32.s32.u8.u8 2 2 4 2",
        "m16n8k64.s32.u8.u8 4 4 4 1",
        "m16n8k64.f32.e4m3.e4m3 4 4 4 1",
        "m16n8k64.f32.e5m2.e5m2 4 4 4 1",
    ] {
        want.push(format!("mma.sp.{shape}"));
        want.push(format!("mma.sp::ordered_metadata.{shape}"));
    }
    let forms = warp_forms();
    let mut have: Vec<String> = forms.iter().filter(|f| f.a == f.b).map(line).collect();
    have.sort();
    want.sort();
    assert_eq!(have, want);
    // s8 with u8 and e4m3 with e5m2, both ways: dense 4 + 8, plain 4 + 2, ordered 4 + 4
    assert_eq!(forms.len() - have.len(), 12 + 6 + 8);
}

/// 9.7.15.2: every multiple of 8, or for integers 8, 16, 24, 32, 48, 64 and so on.
#[test]
fn the_groups_forms_are_the_manuals() {
    let of = |n, a| group_forms(n).into_iter().filter(|f| f.a == a).count();
    for n in (0..=272).step_by(4).chain([1, 255]) {
        let (float, integer) =
            (n > 0 && n <= 256 && n % 8 == 0, [8, 24].contains(&n) || (n % 16 == 0 && n > 0));
        assert_eq!(of(n, Element::F16), if float { 4 } else { 0 }, "{n}");
        assert_eq!(of(n, Element::Bf16), if float { 2 } else { 0 }, "{n}");
        assert_eq!(of(n, Element::Tf32), if float { 2 } else { 0 }, "{n}");
        assert_eq!(of(n, Element::E5m2), if float { 8 } else { 0 }, "{n}");
        assert_eq!(of(n, Element::S8), if integer && n <= 256 { 4 } else { 0 }, "{n}");
    }
    let lines: Vec<String> =
        group_forms(48).iter().filter(|f| f.a == f.b && f.acc != Acc::F16).map(line).collect();
    assert_eq!(
        lines,
        [
            "wgmma.m64n48k8.f32.tf32.tf32 4 0 24 0",
            "wgmma.m64n48k16.f32.f16.f16 4 0 24 0",
            "wgmma.m64n48k16.f32.bf16.bf16 4 0 24 0",
            "wgmma.sp.m64n48k16.f32.tf32.tf32 4 0 24 2",
            "wgmma.sp.m64n48k32.f32.f16.f16 4 0 24 2",
            "wgmma.sp.m64n48k32.f32.bf16.bf16 4 0 24 2",
            "wgmma.m64n48k32.s32.s8.s8 4 0 24 0",
            "wgmma.m64n48k32.s32.u8.u8 4 0 24 0",
            "wgmma.m64n48k32.f32.e4m3.e4m3 4 0 24 0",
            "wgmma.m64n48k32.f32.e5m2.e5m2 4 0 24 0",
            "wgmma.sp.m64n48k64.s32.s8.s8 4 0 24 1",
            "wgmma.sp.m64n48k64.s32.u8.u8 4 0 24 1",
            "wgmma.sp.m64n48k64.f32.e4m3.e4m3 4 0 24 1",
            "wgmma.sp.m64n48k64.f32.e5m2.e5m2 4 0 24 1",
        ]
    );
}

#[test]
fn the_error_says_what_is_wrong() {
    let dense = Sparsity::Dense;
    let (f16, s8) = (Element::F16, Element::S8);
    for (form, want) in [
        (
            Form::warp(32, f16, f16, Acc::F32, dense, false),
            "mma.m16n8k32.f32.f16.f16: k is not 8 or 16",
        ),
        (
            Form::warp(16, f16, Element::Bf16, Acc::F32, dense, false),
            "mma.m16n8k16.f32.f16.bf16: f16 and bf16 do not go together",
        ),
        (
            Form::warp(32, s8, s8, Acc::F32, dense, false),
            "mma.m16n8k32.f32.s8.s8: s8 is not summed in f32",
        ),
        (
            Form::warp(16, f16, f16, Acc::F32, dense, true),
            "mma.m16n8k16.f32.f16.f16: .satfinite is for integers",
        ),
        (
            Form::group(40, 32, s8, s8, Acc::S32, dense, false),
            "wgmma.m64n40k32.s32.s8.s8: n is not 8, 16, 24, 32 or a multiple of 16 up to 256",
        ),
        (
            Form::group(264, 16, f16, f16, Acc::F32, dense, false),
            "wgmma.m64n264k16.f32.f16.f16: n is not a multiple of 8 up to 256",
        ),
        (
            Form::group(8, 32, f16, f16, Acc::F32, Sparsity::Sparse { ordered: true }, false),
            "wgmma.sp.m64n8k32.f32.f16.f16 has no ordered metadata; only mma.sp has",
        ),
    ] {
        assert_eq!(form, Err(want.to_string()));
    }
}
