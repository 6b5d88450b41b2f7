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
    w.line(format!("var<workgroup> partial: array<vec2<f32>, {}>;", rows / 2 * lanes));
    w.blank();
    narrow.widen(w);
    pieces::multiply_add(w, sparse);
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
        for pair in 0..GEMV_FEATURES / 2 {
            w.line(format!("var sum_{pair} = vec2<f32>();"));
        }
        w.block(format!("for (var step = part; step < steps; step += {lanes}u)"), |w| {
            multiply(w, narrow, sparse);
        });
        let pairs = rows / 2;
        w.note("one barrier; then an invocation adds up two features");
        w.line(format!("let mine = {pairs}u * part + {}u * (lane / {lanes}u);", GEMV_FEATURES / 2));
        for pair in 0..GEMV_FEATURES / 2 {
            w.line(format!("partial[{}] = sum_{pair};", plus("mine", pair)));
        }
        w.line("workgroupBarrier();");
        w.block(format!("for (var pair = lane; pair < {pairs}u; pair += {threads}u)"), |w| {
            w.line("var sum = partial[pair];");
            w.block(format!("for (var i = 1u; i < {lanes}u; i++)"), |w| {
                w.line(format!("sum += partial[{pairs}u * i + pair];"));
            });
            w.line(format!("store2(token, {rows}u * group.x + 2u * pair, sum);"));
        });
    });
}

/// `count` fours of elements, named `name_0…`, from the vector at `at` on.
fn load(w: &mut Writer, narrow: Narrow, name: &str, from: &str, at: &str, count: u32) {
    for i in 0..count {
        if narrow.native {
            w.line(format!("let {name}_{i} = widen({from}[{}]);", plus(at, i)));
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
        let sum = format!("sum_{}.{}", r / 2, ["x", "y"][r as usize % 2]);
        w.block("", |w| {
            let stored = if sparse { quads / 2 } else { quads };
            w.line(format!("let at = {stored}u * (row_{r} + step);"));
            if sparse {
                w.line(format!("let e = metadata[row_{r} + step];"));
                load(w, narrow, "a", "values", "at", K / 8);
                for g in 0..K / 4 {
                    let a = format!("a_{}.{}", g / 2, ["xy", "zw"][g as usize % 2]);
                    let x = format!("pick(x_{g}, bits(e >> {}u))", 4 * g);
                    w.line(format!("{sum} = multiply_add({a}, {x}, {sum});"));
                }
            } else {
                load(w, narrow, "a", "values", "at", K / 4);
                for g in 0..K / 4 {
                    w.line(format!("{sum} = multiply_add(a_{g}, x_{g}, {sum});"));
                }
            }
        });
    }
}
