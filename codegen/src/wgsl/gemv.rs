//! Linear layers of one to a few tokens, 2:4 and dense, f16 and s8: no weight is read twice for the tokens of
//! a workgroup, so nothing but the reduction goes through workgroup memory.
//!
//! `lanes` invocations share four features: each takes every `lanes`-th word of metadata (32
//! columns), four features use each x that it loads, all tokens each weight. Then all add up.

use super::pieces::{self, Narrow, Use, plus};
use super::writer::Writer;
use super::{dot4, epilogue};
use quickpick_kernels::plan::GEMV_FEATURES;
use quickpick_kernels::{DType, KernelSpec, Weights};

const XYZW: [&str; 4] = ["x", "y", "z", "w"];
/// Columns of a metadata word, and of a lane's step.
const K: u32 = 32;

/// How a type is loaded and multiplied.
#[derive(Clone, Copy)]
enum Elements {
    /// Widened to f32.
    F16(Narrow),
    /// Four in a word, as `dot4I8Packed` takes them.
    S8,
}

impl Elements {
    fn of(spec: &KernelSpec) -> Self {
        if spec.dtype == DType::I8 { Self::S8 } else { Self::F16(Narrow::of(spec)) }
    }

    /// Elements of a vector in storage.
    fn vector(self) -> u32 {
        match self {
            Self::F16(narrow) => narrow.vector(8).1,
            Self::S8 => 16,
        }
    }
}

/// How the work is cut up: [`Form::Gemv`](quickpick_kernels::Form::Gemv).
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) rows: u32,
    pub(super) lanes: u32,
    pub(super) tokens: u32,
}

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, weights: Weights, cut: Cut) {
    let Cut { rows, lanes, tokens } = cut;
    let sparse = weights == Weights::Sparse24;
    let elements = Elements::of(spec);
    let threads = rows / GEMV_FEATURES * lanes;
    let kind = if sparse { "2:4" } else { "dense" };
    let grid = if tokens == 1 {
        format!("Grid (⌈m/{rows}⌉, n): {rows} features of one token.")
    } else {
        format!("Grid (⌈m/{rows}⌉, ⌈n/{tokens}⌉): {rows} features of {tokens} tokens.")
    };
    pieces::header(
        w,
        spec,
        &epilogue::formula(spec, kind),
        &format!(
            "{grid}\n\
             {threads} invocations: {lanes} share {GEMV_FEATURES} features, {K} columns at a time."
        ),
    );
    let native = matches!(elements, Elements::F16(Narrow { native: true }));
    let quads = if native { "array<vec4<f16>>" } else { "array<vec4<u32>>" };
    let (sums, sum) = match elements {
        Elements::F16(_) => ("vec2<f32>", "sum"),
        Elements::S8 => ("vec2<i32>", "vec2<f32>(sum)"),
    };
    let mut list = vec![("values", quads, Use::Read)];
    if sparse {
        list.push(("metadata", "array<u32>", Use::Read));
    }
    list.extend(epilogue::operands(spec, quads));
    pieces::bindings(w, &list, &epilogue::PARAMS);
    let pairs = rows / 2;
    w.line(format!("var<workgroup> partial: array<{sums}, {}>;", pairs * lanes * tokens));
    w.blank();
    match elements {
        Elements::F16(narrow) => {
            narrow.widen(w);
            pieces::multiply_add(w, sparse);
        }
        Elements::S8 if sparse => dot4::expanded(w),
        Elements::S8 => {}
    }
    epilogue::functions(w, spec);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line(format!("let part = lane % {lanes}u;"));
        w.line(format!("let feature = {rows}u * group.x + {GEMV_FEATURES}u * (lane / {lanes}u);"));
        let token0 = if tokens == 1 { String::new() } else { format!("{tokens}u * ") };
        w.line(format!("let token = {token0}group.y;"));
        w.line(format!("let steps = params.k / {K}u;"));
        w.note("features and tokens past the end repeat the last one and are not stored");
        for r in 0..GEMV_FEATURES {
            w.line(format!("let row_{r} = min({}, params.m - 1u) * steps;", plus("feature", r)));
        }
        for t in 0..tokens {
            w.line(format!("let x_row_{t} = min({}, params.n - 1u) * steps;", plus("token", t)));
        }
        for t in 0..tokens {
            for pair in 0..GEMV_FEATURES / 2 {
                w.line(format!("var sum_{t}_{pair} = {sums}();"));
            }
        }
        w.block(format!("for (var step = part; step < steps; step += {lanes}u)"), |w| {
            multiply(w, elements, sparse, tokens);
        });
        reduce(w, cut, threads, sum);
    });
}

/// Sums of all lanes; an invocation adds up two features of a token at a time. `sum` is theirs as f32.
fn reduce(w: &mut Writer, cut: Cut, threads: u32, sum: &str) {
    let Cut { rows, lanes, tokens } = cut;
    let pairs = rows / 2 * tokens;
    w.note("one barrier; then an invocation adds up two features");
    w.line(format!("let mine = {pairs}u * part + {}u * (lane / {lanes}u);", GEMV_FEATURES / 2));
    for t in 0..tokens {
        for pair in 0..GEMV_FEATURES / 2 {
            w.line(format!("partial[{}] = sum_{t}_{pair};", plus("mine", rows / 2 * t + pair)));
        }
    }
    w.line("workgroupBarrier();");
    w.block(format!("for (var pair = lane; pair < {pairs}u; pair += {threads}u)"), |w| {
        w.line("var sum = partial[pair];");
        w.block(format!("for (var i = 1u; i < {lanes}u; i++)"), |w| {
            w.line(format!("sum += partial[{pairs}u * i + pair];"));
        });
        if tokens == 1 {
            w.line(format!("store2(token, {rows}u * group.x + 2u * pair, {sum});"));
        } else {
            let half = rows / 2;
            let feature = format!("{rows}u * group.x + 2u * (pair % {half}u)");
            w.line(format!("store2(token + pair / {half}u, {feature}, {sum});"));
        }
    });
}

/// `count` fours of elements, from the vector at `at` on; [`four`] names them.
fn load(w: &mut Writer, elements: Elements, name: &str, from: &str, at: &str, count: u32) {
    for i in 0..count {
        match elements {
            Elements::S8 if i % 4 == 0 => {
                w.line(format!("let {name}_{} = {from}[{}];", i / 4, plus(at, i / 4)));
            }
            Elements::S8 => {}
            Elements::F16(Narrow { native: true }) => {
                w.line(format!("let {name}_{i} = widen({from}[{}]);", plus(at, i)));
            }
            Elements::F16(_) => {
                if i % 2 == 0 {
                    w.line(format!("let {name}_{i}{} = {from}[{}];", i + 1, plus(at, i / 2)));
                }
                let (pair, c) = (i / 2 * 2, ["xy", "zw"][i as usize % 2]);
                w.line(format!("let {name}_{i} = widen({name}_{pair}{}.{c});", pair + 1));
            }
        }
    }
}

/// The i-th four of what was loaded as `name`: a vector of f32, or a word.
fn four(elements: Elements, name: &str, i: u32) -> String {
    match elements {
        Elements::F16(_) => format!("{name}_{i}"),
        Elements::S8 => format!("{name}_{}.{}", i / 4, XYZW[i as usize % 4]),
    }
}

/// 32 columns of four features; of more than one token 16 at a time where they are widened, to spare registers.
fn multiply(w: &mut Writer, elements: Elements, sparse: bool, tokens: u32) {
    let unit = if tokens == 1 || matches!(elements, Elements::S8) { K } else { K / 2 };
    // vectors of storage in a unit
    let vectors = unit / elements.vector();
    if sparse {
        for r in 0..GEMV_FEATURES {
            w.line(format!("let codes_{r} = metadata[row_{r} + step];"));
        }
    }
    for u in 0..K / unit {
        let units = K / unit;
        let body = |w: &mut Writer| {
            for t in 0..tokens {
                let at = format!("{}u * (x_row_{t} + step)", vectors * units);
                load(w, elements, &format!("x_{t}"), "x", &plus(&at, vectors * u), unit / 4);
            }
            for r in 0..GEMV_FEATURES {
                w.block("", |w| row(w, elements, sparse, (unit, u), (r, tokens)));
            }
        };
        if units == 1 { body(w) } else { w.block("", body) }
    }
}

/// The u-th unit of feature r.
fn row(
    w: &mut Writer,
    elements: Elements,
    sparse: bool,
    (unit, u): (u32, u32),
    (r, tokens): (u32, u32),
) {
    let stored = unit / if sparse { 2 } else { 1 };
    let vectors = stored / elements.vector();
    let at = match vectors * (K / unit) {
        1 => format!("row_{r} + step"),
        vectors => format!("{vectors}u * (row_{r} + step)"),
    };
    load(w, elements, "a", "values", &plus(&at, vectors * u), stored / 4);
    for g in 0..unit / 4 {
        let codes = format!("codes_{r} >> {}u", u * unit + 4 * g);
        // what multiplies the token's four
        let a = match (elements, sparse) {
            (Elements::F16(_), true) => {
                w.line(format!("let code_{g} = bits({codes});"));
                format!("a_{}.{}", g / 2, ["xy", "zw"][g as usize % 2])
            }
            (_, false) => four(elements, "a", g),
            (Elements::S8, true) => {
                if g % 2 == 0 {
                    let kept = four(elements, "a", g / 2);
                    w.line(format!("let w_{} = expanded({kept}, {codes});", g / 2));
                }
                format!("w_{}.{}", g / 2, XYZW[g as usize % 2])
            }
        };
        for t in 0..tokens {
            let sum = format!("sum_{t}_{}.{}", r / 2, XYZW[r as usize % 2]);
            let x = four(elements, &format!("x_{t}"), g);
            w.line(match elements {
                Elements::F16(_) if sparse => {
                    format!("{sum} = multiply_add({a}, pick({x}, code_{g}), {sum});")
                }
                Elements::F16(_) => format!("{sum} = multiply_add({a}, {x}, {sum});"),
                Elements::S8 => format!("{sum} = dot4I8Packed({a}, {x}) + {sum};"),
            });
        }
    }
}
