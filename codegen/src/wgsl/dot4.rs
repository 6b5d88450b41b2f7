//! Tiled linear layers of s8, 2:4 and dense, by `dot4I8Packed`: four products and their sum, where the adapter
//! has an instruction for that, exact in i32.
//!
//! ```text
//! for each 64 columns of k:
//!     stage: X and W, 64 bytes a row; of 2:4 weights each pair that is kept goes to its places in a word
//!            of four columns, with zeros between
//!     multiply, 16 columns at a time
//! epilogue
//! ```
//!
//! So 2:4 saves bytes of W here, and no arithmetic: to bring a word's four weights together with their four bytes of
//! X, one by one, takes more instructions than the multiply that it would spare.
//!
//! A row is four units of 16 bytes. Unit u of row r lies at `u ^ (r/2 % 4)` of it, so that eight
//! neighbouring rows load one unit from all 32 banks.

use super::epilogue;
use super::pieces::{self, Use, plus};
use super::writer::Writer;
use quickpick_kernels::{KernelSpec, Tile, Weights};

/// Columns of a stage.
const K: u32 = 64;
/// Columns of a unit, a vector of four words.
const UNIT: u32 = 16;
/// Units of a row.
const UNITS: u32 = K / UNIT;

/// `expanded`, of 2:4 weights.
pub(super) fn expanded(w: &mut Writer) {
    w.note("Eight columns from the four weights that are kept of them; bits 3:0 and 7:4 of codes are the");
    w.note("two positions of either pair.");
    w.block("fn expanded(kept: u32, codes: u32) -> vec2<u32>", |w| {
        w.line("let pairs = vec2(kept, kept >> 16u);");
        w.line("let first = vec2(codes << 3u, codes >> 1u) & vec2(24u);");
        w.line("let second = vec2(codes << 1u, codes >> 3u) & vec2(24u);");
        w.line("let low = (pairs & vec2(0xffu)) << first;");
        w.line("return low | (((pairs >> vec2(8u)) & vec2(0xffu)) << second);");
    });
    w.blank();
}

pub(super) fn emit(
    w: &mut Writer,
    spec: &KernelSpec,
    weights: Weights,
    tile: Tile,
    (across, along): (u32, u32),
) {
    let sparse = weights == Weights::Sparse24;
    let threads = across * along;
    let (features, tokens) = (tile.m / across, tile.n / along);
    declare(
        w,
        spec,
        sparse,
        &format!(
            "Grid (⌈m/{}⌉, ⌈n/{}⌉): {} features × {} tokens, {K} columns at a time.\n\
         {threads} invocations, {across} × {along}, of {features} features × {tokens} tokens.",
            tile.m, tile.n, tile.m, tile.n,
        ),
        tile,
    );
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line(format!("let feature0 = {}u * group.x;", tile.m));
        w.line(format!("let token0 = {}u * group.y;", tile.n));
        w.line(format!("let mine_m = lane / {along}u;"));
        w.line(format!("let mine_n = lane % {along}u;"));
        for r in 0..features {
            for t in 0..tokens {
                w.line(format!("var sum_{r}_{t} = 0;"));
            }
        }
        w.block(format!("for (var column = 0u; column < params.k; column += {K}u)"), |w| {
            stage_x(w, tile.n, threads);
            stage_w(w, sparse, tile.m, threads);
            w.line("workgroupBarrier();");
            multiply(w, (features, tokens), (across, along));
            w.line("workgroupBarrier();");
        });
        for t in 0..tokens {
            for r in (0..features).step_by(2) {
                let token = format!("token0 + {}", plus("mine_n", t * along));
                let sums = format!("vec2<f32>(vec2(sum_{r}_{t}, sum_{}_{t}))", r + 1);
                let feature = format!("feature0 + {}", plus("2u * mine_m", r * across));
                w.line(format!("store2({token}, {feature}, {sums});"));
            }
        }
    });
}

fn declare(w: &mut Writer, spec: &KernelSpec, sparse: bool, plan: &str, tile: Tile) {
    let kind = if sparse { "2:4" } else { "dense" };
    pieces::header(w, spec, &epilogue::formula(spec, kind), plan);
    let vectors = "array<vec4<u32>>";
    let mut list = vec![("values", if sparse { "array<vec2<u32>>" } else { vectors }, Use::Read)];
    if sparse {
        list.push(("metadata", "array<u32>", Use::Read));
    }
    list.extend(epilogue::operands(spec, vectors));
    pieces::bindings(w, &list, &epilogue::PARAMS);
    w.line(format!("var<workgroup> xs: array<vec4<u32>, {}>;", tile.n * UNITS));
    w.line(format!("var<workgroup> ws: array<vec4<u32>, {}>;", tile.m * UNITS));
    w.blank();
    w.note("Where a row's unit is staged.");
    w.block("fn place(row: u32, unit: u32) -> u32", |w| {
        w.line(format!("return {UNITS}u * row + (unit ^ ((row >> 1u) & 3u));"));
    });
    w.blank();
    if sparse {
        expanded(w);
    }
    epilogue::functions(w, spec);
}

/// `body` for each unit of `rows` rows: they are shared out to all invocations.
fn units(w: &mut Writer, rows: u32, threads: u32, body: impl FnOnce(&mut Writer)) {
    let items = rows * UNITS;
    w.block(format!("for (var i = lane; i < {items}u; i += {threads}u)"), |w| {
        w.line(format!("let row = i / {UNITS}u;"));
        w.line(format!("let unit = i % {UNITS}u;"));
        body(w);
    });
}

/// Rows past the end repeat the last one, and their sums are not stored; columns past the end are zero.
fn stage_x(w: &mut Writer, rows: u32, threads: u32) {
    units(w, rows, threads, |w| {
        let from = format!("min(token0 + row, params.n - 1u) * (params.k / {UNIT}u)");
        w.line(format!("let at = {from} + column / {UNIT}u + unit;"));
        w.line(format!("let inside = column + {UNIT}u * unit < params.k;"));
        w.line("xs[place(row, unit)] = select(vec4<u32>(), x[at], inside);");
    });
}

/// Columns past the end are whatever follows: X is zero there.
fn stage_w(w: &mut Writer, sparse: bool, rows: u32, threads: u32) {
    units(w, rows, threads, |w| {
        w.line("let feature = min(feature0 + row, params.m - 1u);");
        w.line(format!("let at = feature * (params.k / {UNIT}u) + column / {UNIT}u + unit;"));
        if sparse {
            w.line("let kept = values[at];");
            w.line("let codes = metadata[at / 2u] >> (16u * (at & 1u));");
            w.line("let low = expanded(kept.x, codes);");
            w.line("ws[place(row, unit)] = vec4(low, expanded(kept.y, codes >> 8u));");
        } else {
            w.line("ws[place(row, unit)] = values[at];");
        }
    });
}

/// An invocation's features are pairs of neighbours, its tokens lie `along` apart.
fn multiply(w: &mut Writer, (features, tokens): (u32, u32), (across, along): (u32, u32)) {
    w.block(format!("for (var unit = 0u; unit < {UNITS}u; unit++)"), |w| {
        for t in 0..tokens {
            w.line(format!("let x_{t} = xs[place({}, unit)];", plus("mine_n", t * along)));
        }
        for r in 0..features {
            let row = plus("2u * mine_m", r / 2 * 2 * across + r % 2);
            w.line(format!("let w_{r} = ws[place({row}, unit)];"));
        }
        for c in ["x", "y", "z", "w"] {
            for r in 0..features {
                for t in 0..tokens {
                    let sum = format!("sum_{r}_{t}");
                    w.line(format!("{sum} = dot4I8Packed(w_{r}.{c}, x_{t}.{c}) + {sum};"));
                }
            }
        }
    });
}
