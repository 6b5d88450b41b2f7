//! Linear layers of one to a few tokens, 2:4 and dense: no weight is read twice for a token, so
//! nothing but the reduction goes through workgroup memory.
//!
//! `lanes` invocations share four features: each takes every `lanes`-th word of metadata (32
//! columns), and four features use each x that it loads. A tree over the lanes adds up.

use super::epilogue;
use super::pieces::{self, Narrow, Use, plus};
use super::writer::Writer;
use quickpick_kernels::plan::GEMV_FEATURES;
use quickpick_kernels::{KernelSpec, Weights};

/// Columns of a metadata word, and of a lane's step.
const K: u32 = 32;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, weights: Weights, rows: u32, lanes: u32) {
    let sparse = weights == Weights::Sparse24;
    let narrow = Narrow::of(spec);
    let threads = rows / GEMV_FEATURES * lanes;
    let kind = if sparse { "2:4" } else { "dense" };
    pieces::header(
        w,
        spec,
        &format!("Y[n×m] = act(X[n×k]·Wᵀ + bias) + residual, W {kind}, f16; sums in f32."),
        &format!(
            "Grid (⌈m/{rows}⌉, n): {rows} features of one token.\n\
             {threads} invocations: {lanes} share {GEMV_FEATURES} features, {K} columns at a time."
        ),
    );
    let quads = if narrow.native { "array<vec4<f16>>" } else { "array<vec4<u32>>" };
    let mut list = vec![("values", quads, Use::Read)];
    if sparse {
        list.push(("metadata", "array<u32>", Use::Read));
    }
    list.extend(epilogue::operands(quads));
    pieces::bindings(w, &list, &epilogue::PARAMS);
    w.line(format!("var<workgroup> partial: array<vec4<f32>, {threads}>;"));
    w.blank();
    if sparse {
        pick(w);
    }
    if !narrow.native {
        widen(w);
    }
    epilogue::functions(w);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line(format!("let part = lane % {lanes}u;"));
        w.line(format!("let feature = {rows}u * group.x + {GEMV_FEATURES}u * (lane / {lanes}u);"));
        w.line("let token = group.y;");
        w.line(format!("let steps = params.k / {K}u;"));
        w.note("features past the end repeat the last one and are not stored");
        for r in 0..GEMV_FEATURES {
            w.line(format!("let row_{r} = min({}, params.m - 1u) * steps;", plus("feature", r)));
        }
        w.line("var sum = vec4<f32>();");
        w.block(format!("for (var step = part; step < steps; step += {lanes}u)"), |w| {
            multiply(w, narrow, sparse);
        });
        w.line("partial[lane] = sum;");
        w.line("workgroupBarrier();");
        w.block(format!("for (var half = {}u; half > 0u; half >>= 1u)", lanes / 2), |w| {
            w.block("if (part < half)", |w| w.line("partial[lane] += partial[lane + half];"));
            w.line("workgroupBarrier();");
        });
        w.block("if (part == 0u)", |w| {
            w.line("store2(token, feature, partial[lane].xy);");
            w.line("store2(token, feature + 2u, partial[lane].zw);");
        });
    });
}

/// A code's first position is 0, 1 or 2, its second 1, 2 or 3.
fn pick(w: &mut Writer) {
    w.note("The two of four columns that a 4-bit code keeps.");
    w.block("fn pick(x: vec4<f32>, code: u32) -> vec2<f32>", |w| {
        w.line("let p = code & 3u;");
        w.line("let q = (code >> 2u) & 3u;");
        w.line("return vec2(");
        w.line("    select(select(x.x, x.y, p == 1u), x.z, p == 2u),");
        w.line("    select(select(x.y, x.z, q == 2u), x.w, q == 3u),");
        w.line(");");
    });
    w.blank();
}

fn widen(w: &mut Writer) {
    w.block("fn widen(words: vec2<u32>) -> vec4<f32>", |w| {
        w.line("return vec4(unpack2x16float(words.x), unpack2x16float(words.y));");
    });
    w.blank();
}

/// `count` vectors of four elements, named `name_0…`, from quads on.
fn load(w: &mut Writer, narrow: Narrow, name: &str, from: &str, at: &str, count: u32) {
    for i in 0..count {
        if narrow.native {
            w.line(format!("let {name}_{i} = vec4<f32>({from}[{}]);", plus(at, i)));
        } else {
            if i % 2 == 0 {
                w.line(format!("let {name}_{i}{} = {from}[{}];", i + 1, plus(at, i / 2)));
            }
            let (pair, c) = (i / 2 * 2, ["xy", "zw"][i as usize % 2]);
            w.line(format!("let {name}_{i} = widen({name}_{pair}{}.{c});", pair + 1));
        }
    }
}

/// 32 columns of four features.
fn multiply(w: &mut Writer, narrow: Narrow, sparse: bool) {
    // vectors of storage in 32 elements
    let quads = if narrow.native { 8 } else { 4 };
    w.line(format!("let x_at = {quads}u * (token * steps + step);"));
    load(w, narrow, "x", "x", "x_at", K / 4);
    for r in 0..GEMV_FEATURES {
        let c = ["x", "y", "z", "w"][r as usize];
        w.block("", |w| {
            let stored = if sparse { quads / 2 } else { quads };
            w.line(format!("let at = {stored}u * (row_{r} + step);"));
            if sparse {
                w.line(format!("let e = metadata[row_{r} + step];"));
                load(w, narrow, "a", "values", "at", K / 8);
                for g in 0..K / 4 {
                    let half = ["xy", "zw"][g as usize % 2];
                    w.line(format!(
                        "sum.{c} += dot(a_{}.{half}, pick(x_{g}, e >> {}u));",
                        g / 2,
                        4 * g
                    ));
                }
            } else {
                load(w, narrow, "a", "values", "at", K / 4);
                for g in 0..K / 4 {
                    w.line(format!("sum.{c} += dot(a_{g}, x_{g});"));
                }
            }
        });
    }
}
