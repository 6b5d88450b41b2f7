//! Kernels on cooperative matrices where there are none: their text with a stand-in for the extension, in plain
//! WGSL. So all is run but the extension itself: staging, expansion, which matrix multiplies which, the epilogue.
//!
//! A and B of a multiply stay where they were loaded from, in workgroup memory, and are known by that place; sums
//! are spread over 32 invocations that play a subgroup, as on hardware. What rows and columns are is taken from
//! what naga makes of `coopLoad` (by columns) and `coopLoadT` (by rows) for SPIR-V.

use crate::{check, shapes, skip};
use libtest_mimic::{Failed, Trial};
use quickpick::Wgpu;
use quickpick::kernels::{KERNELS, KernelSpec, Target};
use std::sync::Arc;

/// Every kernel on cooperative matrices, by its stand-in, on the cases of its own.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for spec in KERNELS {
        let Some(side) = spec.target.cooperative() else { continue };
        let text = spec.text().expect("a row has text");
        let stand_in = stand_in(spec);
        let text = rewritten(text, side).replace(&spec.to_string(), &stand_in.to_string());
        match Wgpu::open() {
            Ok(wgpu) => {
                let (wgpu, text) = (Arc::new(wgpu), Arc::new(text));
                for (shape, makes) in shapes::cases(spec) {
                    let (wgpu, text) = (wgpu.clone(), text.clone());
                    trials.push(Trial::test(format!("stand-in::{spec}::{shape}"), move || {
                        makes.iter().try_for_each(|make| one(&wgpu, stand_in, &text, make))
                    }));
                }
            }
            Err(why) => skip("wgpu", why),
        }
    }
    trials
}

fn one(
    wgpu: &Wgpu,
    spec: &'static KernelSpec,
    text: &str,
    make: &shapes::Make,
) -> Result<(), Failed> {
    let case = make();
    let plan = spec.plan(&case.problem, quickpick::Backend::caps(wgpu));
    wgpu.adopt(&plan.map_err(|why| why.to_string())?, text).map_err(|why| why.to_string())?;
    check(wgpu, spec, &case).map_err(|why| format!("{}: {why}", case.problem))?;
    Ok(())
}

/// A spec of the same operands and grid that a device without the extension runs; no row of the table.
fn stand_in(spec: &KernelSpec) -> &'static KernelSpec {
    let plain = KernelSpec { target: Target::WgslF16, ..*spec };
    assert!(!KERNELS.contains(&plain), "{plain} is a row: its text would be taken");
    Box::leak(Box::new(plain))
}

/// The text with functions in place of the extension's.
fn rewritten(text: &str, side: u32) -> String {
    let each = side * side / 32;
    let functions = format!(
        "alias Sums = array<f32, {each}>;
var<private> lane: u32;
fn by_rows_of_xs(at: u32, stride: u32) -> vec2<u32> {{ return vec2(at, stride); }}
fn by_columns_of_ws(at: u32, stride: u32) -> vec2<u32> {{ return vec2(at, stride); }}
fn multiplied(a: vec2<u32>, b: vec2<u32>, c: Sums) -> Sums {{
    var sums = c;
    for (var i = 0u; i < {each}u; i++) {{
        let row = (lane + 32u * i) / {side}u;
        let column = (lane + 32u * i) % {side}u;
        for (var k = 0u; k < {side}u; k++) {{
            sums[i] += f32(xs[a.x + a.y * row + k]) * f32(ws[b.x + b.y * column + k]);
        }}
    }}
    return sums;
}}
fn store_by_rows(c: Sums, at: u32, stride: u32) {{
    for (var i = 0u; i < {each}u; i++) {{
        let row = (lane + 32u * i) / {side}u;
        sums[at + stride * row + (lane + 32u * i) % {side}u] = c[i];
    }}
}}

@compute"
    );
    let matrix = |ty: &str, role: &str| format!("coop_mat{side}x{side}<{ty}, {role}>");
    let inputs =
        "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane_: u32) {";
    let played = ") {\n    let subgroup = invocation / 32u;\n    lane = invocation % 32u;";
    let (rows, columns) = (matrix("f16", "A"), matrix("f16", "B"));
    let mut out = text.to_string();
    for (from, to) in [
        ("enable wgpu_cooperative_matrix;\n", ""),
        ("@compute", functions.as_str()),
        ("subgroup_invocation_id) lane:", "subgroup_invocation_id) lane_:"),
        (&format!(", {inputs}"), played),
        (&format!("{}()", matrix("f32", "C")), "Sums()"),
        (&format!("coopLoadT<{rows}>(&xs["), "by_rows_of_xs("),
        (&format!("coopLoad<{columns}>(&ws["), "by_columns_of_ws("),
        ("coopMultiplyAdd(", "multiplied("),
        ("coopStoreT(", "store_by_rows("),
        (", &sums[", ", "),
        // the ends of those places
        (" + at], ", " + at, "),
        ("u * subgroup], ", "u * subgroup, "),
    ] {
        assert!(out.contains(from), "{from:?} is not in the text");
        out = out.replace(from, to);
    }
    assert!(!out.contains("coop_mat") && !out.contains("coopL"), "not all is rewritten:\n{out}");
    out
}
