//! Tiled linear layers on cooperative matrices, 2:4 and dense: wgpu's experimental extension, which no browser has.
//!
//! ```text
//! for each 32 columns of k:
//!     stage: X and W, f16, a row after the other; 2:4 weights are expanded on their way, with zeros
//!     multiply: each subgroup's matrices of tokens × k times k × features, sums in f32
//! each matrix of sums goes through workgroup memory to the epilogue
//! ```
//!
//! Cooperative matrices are dense, so 2:4 saves bytes of W here, and no arithmetic.
//!
//! **These kernels have met no device.** naga validates them, and writes SPIR-V and MSL (of 8×8; Metal has no 16×16);
//! with a stand-in for the extension (tests/src/stand_in.rs) lavapipe runs the rest of them against the oracle.

use super::epilogue;
use super::pieces::{self, Use, plus};
use super::writer::Writer;
use quickpick_kernels::plan::{COOP_LANES, COOP_STRIDE};
use quickpick_kernels::{KernelSpec, Tile, Weights};

/// Columns of a stage, and of a metadata word.
const K: u32 = 32;

/// How the work is cut up.
struct Shape {
    tile: Tile,
    sparse: bool,
    /// Rows and columns of a matrix.
    side: u32,
    /// Subgroups along m and n.
    grid: (u32, u32),
    threads: u32,
}

impl Shape {
    /// Features and tokens of a subgroup, in matrices.
    fn each(&self) -> (u32, u32) {
        (self.tile.m / self.grid.0 / self.side, self.tile.n / self.grid.1 / self.side)
    }
    fn matrix(&self, ty: &str, role: &str) -> String {
        format!("coop_mat{0}x{0}<{ty}, {role}>", self.side)
    }
}

pub(super) fn emit(
    w: &mut Writer,
    spec: &KernelSpec,
    weights: Weights,
    tile: Tile,
    (side, grid): (u32, (u32, u32)),
) {
    let (sparse, threads) = (weights == Weights::Sparse24, spec.threads());
    let s = Shape { tile, sparse, side, grid, threads };
    declare(w, spec, &s);
    if sparse {
        expanded(w);
    }
    epilogue::functions(w, spec);
    store_matrix(w, &s);
    pieces::entry(w, spec, threads, &INPUTS, |w| {
        let Tile { m, n, .. } = tile;
        w.line(format!("let feature0 = {m}u * group.x;"));
        w.line(format!("let token0 = {n}u * group.y;"));
        let (across, along) = grid;
        w.line(format!("let mine_m = {}u * (subgroup / {along}u);", m / across));
        w.line(format!("let mine_n = {}u * (subgroup % {along}u);", n / along));
        let (features, tokens) = s.each();
        for t in 0..tokens {
            for f in 0..features {
                w.line(format!("var sum_{t}_{f} = {}();", s.matrix("f32", "C")));
            }
        }
        w.block(format!("for (var column = 0u; column < params.k; column += {K}u)"), |w| {
            let x = "x[min(token0 + row, params.n - 1u) * (params.k / 4u) + column / 4u + four]";
            stage(w, &s, "xs", n, x);
            if sparse {
                stage_sparse(w, &s);
            } else {
                let values =
                    "values[min(feature0 + row, params.m - 1u) * (params.k / 4u) + column / 4u + four]";
                stage(w, &s, "ws", m, values);
            }
            w.line("workgroupBarrier();");
            multiply(w, &s);
            w.line("workgroupBarrier();");
        });
        for t in 0..tokens {
            for f in 0..features {
                w.line(format!(
                    "coopStoreT(sum_{t}_{f}, &sums[{}u * subgroup], {side}u);",
                    side * side
                ));
                w.line("workgroupBarrier();");
                let token = plus("token0 + mine_n", side * t);
                let feature = plus("feature0 + mine_m", side * f);
                w.line(format!("store_matrix(subgroup, lane, {token}, {feature});"));
                w.line("workgroupBarrier();");
            }
        }
    });
}

const INPUTS: [(&str, &str, &str); 4] = [
    ("workgroup_id", "group", "vec3<u32>"),
    ("local_invocation_index", "invocation", "u32"),
    ("subgroup_id", "subgroup", "u32"),
    ("subgroup_invocation_id", "lane", "u32"),
];

fn declare(w: &mut Writer, spec: &KernelSpec, s: &Shape) {
    let Tile { m, n, .. } = s.tile;
    let (side, (across, along)) = (s.side, s.grid);
    let (features, tokens) = s.each();
    let kind = if s.sparse { "2:4, expanded" } else { "dense" };
    pieces::header(
        w,
        spec,
        &epilogue::formula(spec, kind),
        &format!(
            "Grid (⌈m/{m}⌉, ⌈n/{n}⌉): {m} features × {n} tokens, {K} columns at a time.\n\
             {across} × {along} subgroups of {COOP_LANES} lanes, each of {features} × {tokens} matrices of {side}×{side}.\n\
             Cooperative matrices are dense: 2:4 saves bytes, no arithmetic. This has met no device.",
        ),
    );
    let fours = "array<vec4<f16>>";
    let mut list = vec![("values", fours, Use::Read)];
    if s.sparse {
        list.push(("metadata", "array<u32>", Use::Read));
    }
    list.extend(epilogue::operands(spec, fours));
    pieces::bindings(w, &list, &epilogue::PARAMS);
    for (name, rows) in [("xs", n), ("ws", m)] {
        w.line(format!("var<workgroup> {name}: array<f16, {}>;", COOP_STRIDE * rows));
    }
    w.note("A matrix of each subgroup.");
    w.line(format!("var<workgroup> sums: array<f32, {}>;", across * along * side * side));
    w.blank();
}

fn expanded(w: &mut Writer) {
    w.note("Four columns from the two weights that are kept of them; bits 1:0 and 3:2 of code are their");
    w.note("positions.");
    w.block("fn expanded(kept: vec2<f16>, code: u32) -> vec4<f16>", |w| {
        w.line("let places = vec4(0u, 1u, 2u, 3u);");
        w.line("let first = select(vec4<f16>(), vec4(kept.x), places == vec4(code & 3u));");
        w.line("return select(first, vec4(kept.y), places == vec4((code >> 2u) & 3u));");
    });
    w.blank();
}

/// `store_matrix`: a subgroup's matrix of sums, tokens × features, through the epilogue.
fn store_matrix(w: &mut Writer, s: &Shape) {
    let (side, pairs) = (s.side, s.side * s.side / 2);
    w.note("The subgroup's matrix of sums, whose first element is that of `token` and `feature`.");
    w.block("fn store_matrix(subgroup: u32, lane: u32, token: u32, feature: u32)", |w| {
        w.block(format!("for (var i = lane; i < {pairs}u; i += {COOP_LANES}u)"), |w| {
            w.line(format!("let at = {}u * subgroup + 2u * i;", side * side));
            let (row, column) = (format!("i / {}u", side / 2), format!("2u * (i % {}u)", side / 2));
            let pair = "vec2(sums[at], sums[at + 1u])";
            w.line(format!("store2(token + {row}, feature + {column}, {pair});"));
        });
    });
    w.blank();
}

/// `rows` rows of an operand as they lie; rows past the end repeat the last one, and are not stored.
fn stage(w: &mut Writer, s: &Shape, to: &str, rows: u32, from: &str) {
    let (items, fours) = (rows * K / 4, K / 4);
    w.block(format!("for (var i = invocation; i < {items}u; i += {}u)", s.threads), |w| {
        w.line(format!("let row = i / {fours}u;"));
        w.line(format!("let four = i % {fours}u;"));
        w.line(format!("let v = {from};"));
        w.line(format!("let at = {COOP_STRIDE}u * row + 4u * four;"));
        elements(w, to, 0, "v");
    });
}

/// Rows of 2:4 weights, eight columns an item.
fn stage_sparse(w: &mut Writer, s: &Shape) {
    let (items, eights) = (s.tile.m * K / 8, K / 8);
    w.block(format!("for (var i = invocation; i < {items}u; i += {}u)", s.threads), |w| {
        w.line(format!("let row = i / {eights}u;"));
        w.line(format!("let eight = i % {eights}u;"));
        w.line("let feature = min(feature0 + row, params.m - 1u);");
        w.line("let kept = values[feature * (params.k / 8u) + column / 8u + eight];");
        w.line(format!(
            "let codes = metadata[feature * (params.k / {K}u) + column / {K}u] >> (8u * eight);"
        ));
        w.line(format!("let at = {COOP_STRIDE}u * row + 8u * eight;"));
        w.line("let low = expanded(kept.xy, codes);");
        elements(w, "ws", 0, "low");
        w.line("let high = expanded(kept.zw, codes >> 4u);");
        elements(w, "ws", 4, "high");
    });
}

/// The four elements of `v`, one by one: a matrix is loaded from an array of scalars.
fn elements(w: &mut Writer, to: &str, offset: u32, v: &str) {
    for (i, c) in (offset..).zip(["x", "y", "z", "w"]) {
        w.line(format!("{to}[{}] = {v}.{c};", plus("at", i)));
    }
}

/// A is X, tokens × k by rows; B is W's transpose, k × features, by columns.
fn multiply(w: &mut Writer, s: &Shape) {
    let (features, tokens) = s.each();
    let side = s.side;
    w.block(format!("for (var at = 0u; at < {K}u; at += {side}u)"), |w| {
        for (name, count, load, role, from, mine) in [
            ("x", tokens, "coopLoadT", "A", "xs", "mine_n"),
            ("w", features, "coopLoad", "B", "ws", "mine_m"),
        ] {
            for i in 0..count {
                let row = match i {
                    0 => mine.into(),
                    i => format!("({})", plus(mine, side * i)),
                };
                let ty = s.matrix("f16", role);
                let place = format!("&{from}[{COOP_STRIDE}u * {row} + at]");
                w.line(format!("let {name}_{i} = {load}<{ty}>({place}, {COOP_STRIDE}u);"));
            }
        }
        for t in 0..tokens {
            for f in 0..features {
                let sum = format!("sum_{t}_{f}");
                w.line(format!("{sum} = coopMultiplyAdd(x_{t}, w_{f}, {sum});"));
            }
        }
    });
}
