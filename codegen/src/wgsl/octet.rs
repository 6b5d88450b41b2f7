//! Tiled linear layers, 2:4 and dense, of subgroups: a kept weight's column is a lane to read from.
//!
//! ```text
//! for each tile.k columns of k:
//!     stage: X, so that one load brings eight lanes eight neighbouring columns, one each
//!     for each 16 (one token: 32) columns:
//!         an octet, eight neighbouring lanes, loads X once for all of its features
//!         2:4:   each lane's weight times the lane's X that its code names: half of the dense
//!                multiply-adds, each with a shuffle in place of selects
//!         dense: each lane's weight times each lane's X in turn
//! epilogue
//! ```
//!
//! A lane reads its rows of W itself, 16 bytes at a time: nobody else wants them. That suits where a
//! load costs more than a shuffle, as on the host's processor. Where shuffles have a fraction of the
//! multiply-adds' rate, as on most GPUs, the kernels that select in registers are faster.

use super::epilogue;
use super::pieces::{self, Use, plus};
use super::writer::Writer;
use quickpick_kernels::{KernelSpec, OCTET, Tile, Weights};

/// Columns of a vector of metadata.
const BLOCK: u32 = 128;

/// How the work of an octet is laid out.
struct Shape {
    tile: Tile,
    sparse: bool,
    threads: u32,
    /// Octets along n.
    octets_n: u32,
    /// Features of one lane, tokens of an octet.
    each: (u32, u32),
    /// Columns of a turn of the inner loop.
    unit: u32,
}

impl Shape {
    /// A token alone is staged as f32, four columns of a lane to a vector; else a vector is eight
    /// tokens of a column, f16.
    fn alone(&self) -> bool {
        self.tile.n == 1
    }
    /// Vectors of X in workgroup memory.
    fn staged(&self) -> u32 {
        self.tile.k * self.tile.n / if self.alone() { 4 } else { 8 }
    }
    /// Vectors of a row of W in a unit.
    fn vectors(&self) -> u32 {
        self.unit / if self.sparse { 16 } else { 8 }
    }
    /// X of token j at the columns 8·h … 8·h + 7 of the unit, one in each lane.
    fn x(&self, h: u32, j: u32) -> String {
        let lane = |i: u32| ["x", "y", "z", "w"][i as usize];
        if self.alone() {
            format!("x_0.{}", lane(h))
        } else {
            format!("x_{h}_{}.{}", j / 2, lane(j % 2))
        }
    }
}

pub(super) fn emit(
    w: &mut Writer,
    spec: &KernelSpec,
    weights: Weights,
    tile: Tile,
    octets: (u32, u32),
) {
    let each = (tile.m / octets.0 / OCTET, tile.n / octets.1);
    let s = Shape {
        tile,
        sparse: weights == Weights::Sparse24,
        threads: spec.threads(),
        octets_n: octets.1,
        each,
        unit: if tile.n == 1 { 32 } else { 16 },
    };
    declare(w, spec, &s, octets);
    pieces::widen_f16(w);
    if s.sparse {
        turned(w);
    }
    epilogue::functions(w, spec);
    pieces::entry(w, spec, s.threads, &INPUTS, |w| {
        places(w, &s);
        w.block(format!("for (var column = 0u; column < params.k; column += {}u)", tile.k), |w| {
            stage(w, &s);
            w.line("workgroupBarrier();");
            w.line(format!("let end = min(column + {}u, params.k);", tile.k));
            blocks(w, &s);
            w.line("workgroupBarrier();");
        });
        store(w, &s);
    });
}

/// Which lanes are neighbours the subgroup alone knows.
const INPUTS: [(&str, &str, &str); 5] = [
    ("workgroup_id", "group", "vec3<u32>"),
    ("local_invocation_index", "invocation", "u32"),
    ("subgroup_size", "lanes", "u32"),
    ("subgroup_id", "subgroup", "u32"),
    ("subgroup_invocation_id", "lane", "u32"),
];

fn declare(w: &mut Writer, spec: &KernelSpec, s: &Shape, octets: (u32, u32)) {
    let Tile { m, n, k } = s.tile;
    let kind = if s.sparse { "2:4" } else { "dense" };
    pieces::header(
        w,
        spec,
        &epilogue::formula(spec, kind),
        &format!(
            "Grid (⌈m/{m}⌉, ⌈n/{n}⌉): {m} features × {n} tokens, {k} columns at a time.\n\
             {} × {} octets of eight lanes; a lane has {} features × {} tokens, and reads X by\n\
             shuffles. Subgroups of 8 lanes or more.",
            octets.0, octets.1, s.each.0, s.each.1,
        ),
    );
    let words = "array<vec4<u32>>";
    let mut list = vec![("values", words, Use::Read)];
    if s.sparse {
        list.push(("metadata", words, Use::Read));
    }
    list.extend(epilogue::operands(spec, words));
    pieces::bindings(w, &list, &epilogue::PARAMS);
    if s.alone() {
        w.note("Element c of vector 8·b + l: column 32·b + 8·c + l, f32.");
        w.line(format!("var<workgroup> xs: array<vec4<f32>, {}>;", s.staged()));
    } else {
        w.note(format!("Vector {}·c + t: column c of the tokens 8·t … 8·t + 7, f16.", n / 8));
        w.line(format!("var<workgroup> xs: array<vec4<u32>, {}>;", s.staged()));
    }
    w.blank();
}

/// `turned`: four words of metadata.
fn turned(w: &mut Writer) {
    w.note("Four words from the `start`-th of eight on, start below 4. Bits 4g..4g+4 of a word of metadata:");
    w.note("the two kept positions of its g-th group of four columns.");
    w.block("fn turned(low: vec4<u32>, high: vec4<u32>, start: u32) -> vec4<u32>", |w| {
        w.line("let odd = (start & 1u) != 0u;");
        w.line("let near = select(low, vec4(low.yzw, high.x), odd);");
        w.line("let far = select(high.xy, high.yz, odd);");
        w.line("return select(near, vec4(near.zw, far), (start & 2u) != 0u);");
    });
    w.blank();
}

fn places(w: &mut Writer, s: &Shape) {
    let Tile { m, n, .. } = s.tile;
    let (features, tokens) = s.each;
    w.line(format!("let feature0 = {m}u * group.x;"));
    w.line(format!("let token0 = {n}u * group.y;"));
    w.note("an octet is eight neighbours of a subgroup");
    w.line("let place = subgroup * lanes + lane;");
    w.line(format!("let octet = place / {OCTET}u;"));
    w.line(format!("let mine = place % {OCTET}u;"));
    w.line("let first = lane - mine;");
    if s.sparse {
        w.note("of the octet's two groups of four columns");
        w.line("let second = first | 4u;");
    }
    if s.octets_n == 1 {
        w.line("let token_at = 0u;");
        w.line(format!("let feature = feature0 + {}u * octet + 2u * mine;", features * OCTET));
    } else {
        let along_n = s.octets_n;
        w.line(format!("let token_at = {tokens}u * (octet % {along_n}u);"));
        w.line(format!(
            "let feature = feature0 + {}u * (octet / {along_n}u) + 2u * mine;",
            features * OCTET
        ));
    }
    w.note("features past the end repeat the last one and are not stored");
    let row_vectors = if s.sparse { 16 } else { 8 };
    for r in 0..features {
        w.line(format!("let row_{r} = min({}, params.m - 1u);", plus("feature", place(r))));
    }
    for r in 0..features {
        w.line(format!("let w_at_{r} = row_{r} * (params.k / {row_vectors}u);"));
    }
    if s.sparse {
        for r in 0..features {
            w.line(format!("let codes_at_{r} = row_{r} * (params.k / 32u);"));
        }
        w.note(
            "a row's metadata may begin in mid-vector: each turn of the loop loads the next one",
        );
        for r in 0..features {
            w.line(format!("var codes_low_{r} = metadata[codes_at_{r} / 4u];"));
        }
    }
    for pair in 0..features / 2 {
        for j in 0..tokens {
            w.line(format!("var sum_{pair}_{j} = vec2<f32>();"));
        }
    }
}

/// A lane's r-th feature: pairs, 16 apart.
fn place(r: u32) -> u32 {
    r / 2 * 2 * OCTET + r % 2
}

/// X to workgroup memory, transposed. Tokens past the end repeat the last one, columns past the end
/// are whatever follows; nobody uses either.
fn stage(w: &mut Writer, s: &Shape) {
    let Tile { n, k, .. } = s.tile;
    let octets = k / 8;
    if s.alone() {
        let head = format!("for (var i = invocation; i < {}u; i += {}u)", k / 32, s.threads);
        w.block(head, |w| {
            w.line("let source = token0 * (params.k / 8u) + column / 8u + 4u * i;");
            for c in 0..4 {
                w.line(format!("let x_{c} = x[{}];", plus("source", c)));
                w.line(format!("let low_{c} = widen(x_{c}.xy);"));
                w.line(format!("let high_{c} = widen(x_{c}.zw);"));
            }
            for l in 0..8 {
                let part = ["low", "high"][l / 4];
                let lane = ["x", "y", "z", "w"][l % 4];
                let columns = [0, 1, 2, 3].map(|c| format!("{part}_{c}.{lane}")).join(", ");
                w.line(format!("xs[{}] = vec4({columns});", plus("8u * i", l as u32)));
            }
        });
        return;
    }
    let items = n / 8 * octets;
    w.block(format!("for (var i = invocation; i < {items}u; i += {}u)", s.threads), |w| {
        let tokens = n / 8;
        w.line(format!("let token = token0 + 8u * (i / {octets}u);"));
        w.line(format!("let at = column / 8u + i % {octets}u;"));
        for t in 0..8 {
            w.line(format!(
                "let x_{t} = x[min({}, params.n - 1u) * (params.k / 8u) + at];",
                plus("token", t)
            ));
        }
        w.note("the even columns of two tokens, then the odd ones");
        for t in 0..4 {
            let (a, b) = (2 * t, 2 * t + 1);
            w.line(format!("let even_{t} = (x_{a} & vec4(0xffffu)) | (x_{b} << vec4(16u));"));
            w.line(format!("let odd_{t} = (x_{a} >> vec4(16u)) | (x_{b} & vec4(0xffff0000u));"));
        }
        if tokens == 1 {
            w.line(format!("let to = 8u * (i % {octets}u);"));
        } else {
            w.line(format!("let to = {}u * (i % {octets}u) + i / {octets}u;", 8 * tokens));
        }
        for c in 0..8 {
            let (part, lane) = (["even", "odd"][c % 2], ["x", "y", "z", "w"][c / 2]);
            let words = [0, 1, 2, 3].map(|t| format!("{part}_{t}.{lane}")).join(", ");
            w.line(format!("xs[{}] = vec4({words});", plus("to", tokens * c as u32)));
        }
    });
}

/// The staged columns, by blocks and units.
fn blocks(w: &mut Writer, s: &Shape) {
    let unit = s.unit;
    if !s.sparse {
        w.block(format!("for (var at = column; at < end; at += {unit}u)"), |w| units(w, s));
        return;
    }
    w.block(format!("for (var block = column; block < end; block += {BLOCK}u)"), |w| {
        for r in 0..s.each.0 {
            let at = format!("codes_at_{r} / 4u + block / {BLOCK}u + 1u");
            w.line(format!("let codes_high_{r} = metadata[{at}];"));
            let codes = format!("turned(codes_low_{r}, codes_high_{r}, codes_at_{r} % 4u)");
            w.line(format!("let codes_{r} = {codes};"));
            w.line(format!("codes_low_{r} = codes_high_{r};"));
        }
        w.line(format!("let block_end = min(block + {BLOCK}u, end);"));
        w.block(format!("for (var at = block; at < block_end; at += {unit}u)"), |w| units(w, s));
    });
}

/// One unit.
fn units(w: &mut Writer, s: &Shape) {
    let (features, tokens) = s.each;
    if s.alone() {
        w.line("let x_0 = xs[(at - column) / 4u + mine];");
    } else {
        let vectors = s.tile.n / 8;
        let row = if vectors == 1 { String::new() } else { format!("{vectors}u * ") };
        for h in 0..s.unit / 8 {
            for t in 0..tokens / 8 {
                let column = plus("at - column + mine", 8 * h);
                let column = if vectors == 1 { column } else { format!("({column})") };
                let token = if s.octets_n == 1 { String::new() } else { " + token_at / 8u".into() };
                w.line(format!(
                    "let x_{h}{t} = xs[{}{token}];",
                    plus(&format!("{row}{column}"), t)
                ));
                for (q, c) in ["x", "y", "z", "w"].into_iter().enumerate() {
                    let pair = 4 * t + q as u32;
                    w.line(format!("let x_{h}_{pair} = unpack2x16float(x_{h}{t}.{c});"));
                }
            }
        }
    }
    if s.sparse {
        for r in 0..features {
            w.block("", |w| sparse(w, s, r));
        }
    } else {
        for r in 0..features {
            weights(w, s, r, &format!("a_{r}"));
        }
        for j in 0..tokens {
            for c in 0..s.unit {
                w.block("", |w| {
                    let x = s.x(c / 8, j);
                    w.line(format!("let x = subgroupShuffle({x}, {});", plus("first", c % 8)));
                    for r in 0..features {
                        let a = format!("a_{r}_{}.{}", c / 4, ["x", "y", "z", "w"][c as usize % 4]);
                        let sum = sum(r, j);
                        w.line(format!("{sum} = fma({a}, x, {sum});"));
                    }
                });
            }
        }
    }
}

/// A row's weights of the unit, as `name_0`, `name_1`, … of four.
fn weights(w: &mut Writer, s: &Shape, r: u32, name: &str) {
    let columns = s.unit / s.vectors();
    for v in 0..s.vectors() {
        let at = plus(&format!("w_at_{r} + at / {columns}u"), v);
        w.line(format!("let {name}_{}{} = values[{at}];", 2 * v, 2 * v + 1));
        w.line(format!("let {name}_{} = widen({name}_{}{}.xy);", 2 * v, 2 * v, 2 * v + 1));
        w.line(format!("let {name}_{} = widen({name}_{}{}.zw);", 2 * v + 1, 2 * v, 2 * v + 1));
    }
}

/// The kept weights of feature r: each names the lane that has its column.
fn sparse(w: &mut Writer, s: &Shape, r: u32) {
    weights(w, s, r, "a");
    let word = format!("codes_{r}[at / 32u % 4u]");
    if s.unit == 32 {
        w.line(format!("let codes = {word};"));
    } else {
        w.line(format!("let codes = {word} >> (at & 16u);"));
    }
    let kept = s.unit / 2;
    for v in 0..kept {
        let first = ["first", "second"][v as usize / 2 % 2];
        w.line(format!("let lane_{v} = {first} | ((codes >> {}u) & 3u);", 2 * v));
    }
    for j in 0..s.each.1 {
        for v in 0..kept {
            let a = format!("a_{}.{}", v / 4, ["x", "y", "z", "w"][v as usize % 4]);
            let sum = sum(r, j);
            let x = s.x(v / 4, j);
            w.line(format!("{sum} = fma({a}, subgroupShuffle({x}, lane_{v}), {sum});"));
        }
    }
}

fn sum(r: u32, j: u32) -> String {
    format!("sum_{}_{j}.{}", r / 2, ["x", "y"][r as usize % 2])
}

/// One copy of the epilogue: it is longer than the main loop.
fn store(w: &mut Writer, s: &Shape) {
    let (pairs, tokens) = (s.each.0 / 2, s.each.1);
    w.line(format!("var sums: array<vec2<f32>, {}>;", pairs * tokens));
    for j in 0..tokens {
        for pair in 0..pairs {
            w.line(format!("sums[{}] = sum_{pair}_{j};", pairs * j + pair));
        }
    }
    w.block(format!("for (var i = 0u; i < {}u; i++)", pairs * tokens), |w| {
        let (token, feature) =
            (format!("i / {pairs}u"), format!("{}u * (i % {pairs}u)", 2 * OCTET));
        w.line(format!("store2(token0 + token_at + {token}, feature + {feature}, sums[i]);"));
    });
}
