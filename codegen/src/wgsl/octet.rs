//! Tiled linear layers, 2:4 and dense, f16 and s8, of subgroups: a kept weight's column is a lane to read from.
//!
//! ```text
//! for each 64 columns of k:
//!     an octet, eight neighbouring lanes, loads X, eight columns a lane, the elements of two (f16) or
//!     four (s8) tokens to a word, and transposes: word h of lane l is then column 8·h + l
//!     for each 16 (s8: 32) columns:
//!         2:4:   each lane's weight times the lane's X that its code names: half of the dense
//!                multiply-adds, each with a shuffle
//!         dense: each lane's weight times each lane's X in turn
//! epilogue
//! ```
//!
//! A lane reads its rows of W itself, 16 bytes at a time: nobody else wants them. Nothing goes through workgroup
//! memory, and no invocation waits for another: lavapipe keeps what lives across a barrier in memory. All that suits
//! where a load costs more than shuffles, as on the host's processor. Where shuffles have a fraction of the
//! multiply-adds' rate, as on most GPUs, the kernels that select in registers are faster.

use super::epilogue;
use super::pieces::{self, Use, plus};
use super::writer::Writer;
use quickpick_kernels::{DType, KernelSpec, OCTET, Tile, Weights};

const XYZW: [&str; 4] = ["x", "y", "z", "w"];
/// Columns of X that an octet holds.
const K: u32 = 64;
/// Columns of a vector of metadata.
const BLOCK: u32 = 128;

/// How the work of an octet is laid out.
struct Shape {
    tile: Tile,
    sparse: bool,
    dtype: DType,
    /// Octets of a workgroup.
    octets: u32,
    /// Features of one lane.
    features: u32,
    /// Columns of a turn of the inner loop.
    unit: u32,
}

impl Shape {
    /// Elements of a word.
    fn packed(&self) -> u32 {
        4 / self.dtype.bytes() as u32
    }
    /// Words that hold an element of every token.
    fn words(&self) -> u32 {
        self.tile.n.div_ceil(self.packed())
    }
    /// Columns of W that a vector of it holds, kept or not.
    fn columns(&self) -> u32 {
        4 * self.packed() * if self.sparse { 2 } else { 1 }
    }
    /// What products and sums are.
    fn number(&self) -> &'static str {
        if self.dtype == DType::I8 { "i32" } else { "f32" }
    }
    /// The elements of a word as numbers.
    fn unpacked(&self, word: &str) -> String {
        let unpack = if self.dtype == DType::I8 { "unpack4xI8" } else { "unpack2x16float" };
        format!("{unpack}({word})")
    }
    /// X of token j at the columns 8·h … 8·h + 7 of the unit, one in each lane.
    fn x(&self, h: u32, j: u32) -> String {
        format!("x_{h}_{}.{}", j / self.packed(), XYZW[(j % self.packed()) as usize])
    }
    /// The i-th weight of what [`weights`] has loaded as `name`.
    fn weight(&self, name: &str, i: u32) -> String {
        format!("{name}_{}.{}", i / self.packed(), XYZW[(i % self.packed()) as usize])
    }
    /// The sum of feature r and token j, plus a·x.
    fn multiply_add(&self, w: &mut Writer, (r, j): (u32, u32), a: &str, x: &str) {
        let sum = format!("sum_{r}_{j}");
        w.line(match self.dtype {
            DType::I8 => format!("{sum} += {a} * {x};"),
            _ => format!("{sum} = fma({a}, {x}, {sum});"),
        });
    }
}

pub(super) fn emit(
    w: &mut Writer,
    spec: &KernelSpec,
    weights: Weights,
    tile: Tile,
    (octets, _): (u32, u32),
) {
    let s = Shape {
        tile,
        sparse: weights == Weights::Sparse24,
        dtype: spec.dtype,
        octets,
        features: tile.m / octets / OCTET,
        unit: if spec.dtype == DType::I8 { 32 } else { 16 },
    };
    declare(w, spec, &s);
    transposed(w, &s);
    if s.sparse {
        turned(w);
    }
    epilogue::functions(w, spec);
    pieces::entry(w, spec, spec.threads(), &INPUTS, |w| {
        places(w, &s);
        if s.sparse {
            blocks(w, &s);
        } else {
            pieces_of(w, &s, "0u", "params.k");
        }
        store(w, &s);
    });
}

/// Which lanes are neighbours the subgroup alone knows.
const INPUTS: [(&str, &str, &str); 4] = [
    ("workgroup_id", "group", "vec3<u32>"),
    ("subgroup_size", "lanes", "u32"),
    ("subgroup_id", "subgroup", "u32"),
    ("subgroup_invocation_id", "lane", "u32"),
];

fn declare(w: &mut Writer, spec: &KernelSpec, s: &Shape) {
    let Tile { m, n, k } = s.tile;
    let kind = if s.sparse { "2:4" } else { "dense" };
    pieces::header(
        w,
        spec,
        &epilogue::formula(spec, kind),
        &format!(
            "Grid (⌈m/{m}⌉, ⌈n/{n}⌉): {m} features × {n} tokens, {k} columns at a time.\n\
             {} octets of eight lanes; a lane has {} features × {n} tokens, and reads X by\n\
             shuffles. Subgroups of 8 lanes or more.",
            s.octets, s.features,
        ),
    );
    let vectors = "array<vec4<u32>>";
    let mut list = vec![("values", vectors, Use::Read)];
    if s.sparse {
        list.push(("metadata", vectors, Use::Read));
    }
    // eight columns
    let x = if s.dtype == DType::I8 { "array<vec2<u32>>" } else { vectors };
    list.extend(epilogue::operands(spec, x));
    pieces::bindings(w, &list, &epilogue::PARAMS);
}

/// `columns`, from vectors of tokens to words of columns, and `transposed`.
fn transposed(w: &mut Writer, s: &Shape) {
    w.block("struct Eight", |w| {
        w.line("low: vec4<u32>,");
        w.line("high: vec4<u32>,");
    });
    w.blank();
    if s.dtype == DType::I8 {
        w.note("The words of four columns, four tokens each, from those of four tokens, four columns each.");
        w.block("fn bytes(v: vec4<u32>) -> vec4<u32>", |w| {
            w.line("let even = (v.xz & vec2(0xff00ffu)) | ((v.yw & vec2(0xff00ffu)) << vec2(8u));");
            w.line("let odd = ((v.xz >> vec2(8u)) & vec2(0xff00ffu)) | (v.yw & vec2(0xff00ff00u));");
            w.line("let low = (vec2(even.x, odd.x) & vec2(0xffffu)) | (vec2(even.y, odd.y) << vec2(16u));");
            w.line(
                "let high = (vec2(even.x, odd.x) >> vec2(16u)) | (vec2(even.y, odd.y) & vec2(0xffff0000u));",
            );
            w.line("return vec4(low, high);");
        });
        w.blank();
        w.note("The words of eight columns, from a vector of each of four tokens.");
        let tokens = "a: vec2<u32>, b: vec2<u32>, c: vec2<u32>, d: vec2<u32>";
        w.block(format!("fn columns({tokens}) -> Eight"), |w| {
            w.line(
                "return Eight(bytes(vec4(a.x, b.x, c.x, d.x)), bytes(vec4(a.y, b.y, c.y, d.y)));",
            );
        });
    } else {
        w.note("The words of eight columns, from a vector of each of two tokens.");
        w.block("fn columns(a: vec4<u32>, b: vec4<u32>) -> Eight", |w| {
            w.line("let even = (a & vec4(0xffffu)) | (b << vec4(16u));");
            w.line("let odd = (a >> vec4(16u)) | (b & vec4(0xffff0000u));");
            w.line("let low = vec4(even.x, odd.x, even.y, odd.y);");
            w.line("return Eight(low, vec4(even.z, odd.z, even.w, odd.w));");
        });
    }
    w.blank();
    w.note("a stays and b goes to the lane at a distance, whose a comes in its place; there the other way round.");
    w.block("fn exchanged(a: vec4<u32>, b: vec4<u32>, lane: u32, distance: u32) -> Eight", |w| {
        w.line("let far = (lane & distance) != 0u;");
        w.line("let other = subgroupShuffle(select(b, a, far), lane ^ distance);");
        w.line("return Eight(select(a, other, far), select(other, b, far));");
    });
    w.blank();
    w.note("Word i of lane l of an octet becomes word l of lane i.");
    w.block("fn transposed(e: Eight, lane: u32) -> Eight", |w| {
        w.line("let s = exchanged(e.low, e.high, lane, 4u);");
        w.line(
            "let t = exchanged(vec4(s.low.xy, s.high.xy), vec4(s.low.zw, s.high.zw), lane, 2u);",
        );
        w.line("let even = vec4(t.low.x, t.high.x, t.low.z, t.high.z);");
        w.line("let odd = vec4(t.low.y, t.high.y, t.low.w, t.high.w);");
        w.line("let u = exchanged(even, odd, lane, 1u);");
        w.line("let low = vec4(u.low.x, u.high.x, u.low.y, u.high.y);");
        w.line("return Eight(low, vec4(u.low.z, u.high.z, u.low.w, u.high.w));");
    });
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
    let features = s.features;
    w.note("an octet is eight neighbours of a subgroup");
    w.line("let place = subgroup * lanes + lane;");
    w.line(format!("let octet = place / {OCTET}u;"));
    w.line(format!("let mine = place % {OCTET}u;"));
    w.line("let first = lane - mine;");
    if s.sparse {
        w.note("of the octet's two groups of four columns");
        w.line("let second = first | 4u;");
    }
    let feature = format!("{m}u * group.x + {}u * octet + 2u * mine", features * OCTET);
    w.line(format!("let feature = {feature};"));
    w.line(match n {
        1 => "let token = group.y;".into(),
        _ => format!("let token = {n}u * group.y;"),
    });
    w.note("features and tokens past the end repeat the last one and are not stored");
    for t in 0..n {
        let row = format!("min({}, params.n - 1u)", plus("token", t));
        w.line(format!("let x_at_{t} = {row} * (params.k / 8u) + mine;"));
    }
    for r in 0..features {
        w.line(format!("let row_{r} = min({}, params.m - 1u);", plus("feature", place(r))));
    }
    for r in 0..features {
        w.line(format!("let w_at_{r} = row_{r} * (params.k / {}u);", s.columns()));
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
    for r in 0..features {
        for j in 0..n {
            w.line(format!("var sum_{r}_{j} = {}();", s.number()));
        }
    }
}

/// A lane's r-th feature: pairs, 16 apart.
fn place(r: u32) -> u32 {
    r / 2 * 2 * OCTET + r % 2
}

/// All columns, by vectors of metadata.
fn blocks(w: &mut Writer, s: &Shape) {
    w.block(format!("for (var block = 0u; block < params.k; block += {BLOCK}u)"), |w| {
        for r in 0..s.features {
            let at = format!("codes_at_{r} / 4u + block / {BLOCK}u + 1u");
            w.line(format!("let codes_high_{r} = metadata[{at}];"));
            let codes = format!("turned(codes_low_{r}, codes_high_{r}, codes_at_{r} % 4u)");
            w.line(format!("let codes_{r} = {codes};"));
            w.line(format!("codes_low_{r} = codes_high_{r};"));
        }
        w.line(format!("let block_end = min(block + {BLOCK}u, params.k);"));
        pieces_of(w, s, "block", "block_end");
    });
}

/// Columns from `start` to `end`, by pieces of X. Those past the end are whatever follows, and nobody uses them.
fn pieces_of(w: &mut Writer, s: &Shape, start: &str, end: &str) {
    w.block(format!("for (var piece = {start}; piece < {end}; piece += {K}u)"), |w| {
        for i in 0..s.words() {
            let vector = if s.dtype == DType::I8 { "vec2" } else { "vec4" };
            let token = |t: u32| match i * s.packed() + t {
                t if t < s.tile.n => format!("x[x_at_{t} + piece / 8u]"),
                _ => format!("{vector}<u32>()"),
            };
            let tokens = Vec::from_iter((0..s.packed()).map(token)).join(", ");
            w.line(format!("let piece_{i} = transposed(columns({tokens}), lane);"));
        }
        for r in 0..if s.sparse { s.features } else { 0 } {
            let words = format!("select(codes_{r}.xy, codes_{r}.zw, (piece & {K}u) != 0u)");
            w.line(format!("let words_{r} = {words};"));
        }
        w.line(format!("let piece_end = min(piece + {K}u, {end});"));
        let unit = s.unit;
        w.block(format!("for (var at = piece; at < piece_end; at += {unit}u)"), |w| units(w, s));
    });
}

/// One unit.
fn units(w: &mut Writer, s: &Shape) {
    let (features, tokens) = (s.features, s.tile.n);
    for i in 0..s.words() {
        let half = format!("select(piece_{i}.low, piece_{i}.high, (at & 32u) != 0u)");
        if s.unit == 32 {
            w.line(format!("let unit_{i} = {half};"));
        } else {
            w.line(format!("let half_{i} = {half};"));
            w.line(format!("let unit_{i} = select(half_{i}.xy, half_{i}.zw, (at & 16u) != 0u);"));
        }
        for h in 0..s.unit / 8 {
            let word = s.unpacked(&format!("unit_{i}.{}", XYZW[h as usize]));
            w.line(format!("let x_{h}_{i} = {word};"));
        }
    }
    if s.sparse {
        for r in 0..features {
            w.block("", |w| sparse(w, s, r));
        }
        return;
    }
    for r in 0..features {
        weights(w, s, r, &format!("a_{r}"));
    }
    for j in 0..tokens {
        for c in 0..s.unit {
            w.block("", |w| {
                let x = s.x(c / 8, j);
                w.line(format!("let x = subgroupShuffle({x}, {});", plus("first", c % 8)));
                for r in 0..features {
                    s.multiply_add(w, (r, j), &s.weight(&format!("a_{r}"), c), "x");
                }
            });
        }
    }
}

/// A row's weights of the unit, a word as `name_0`, `name_1`, ….
fn weights(w: &mut Writer, s: &Shape, r: u32, name: &str) {
    let columns = s.columns();
    for v in 0..s.unit / columns {
        let at = plus(&format!("w_at_{r} + at / {columns}u"), v);
        w.line(format!("let {name}_vector_{v} = values[{at}];"));
        for (i, c) in XYZW.iter().enumerate() {
            let word = s.unpacked(&format!("{name}_vector_{v}.{c}"));
            w.line(format!("let {name}_{} = {word};", 4 * v + i as u32));
        }
    }
}

/// The kept weights of feature r: each names the lane that has its column.
fn sparse(w: &mut Writer, s: &Shape, r: u32) {
    weights(w, s, r, "a");
    let word = format!("select(words_{r}.x, words_{r}.y, (at & 32u) != 0u)");
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
    for j in 0..s.tile.n {
        for v in 0..kept {
            let x = format!("subgroupShuffle({}, lane_{v})", s.x(v / 4, j));
            s.multiply_add(w, (r, j), &s.weight("a", v), &x);
        }
    }
}

/// One copy of the epilogue: it is longer than the main loop.
fn store(w: &mut Writer, s: &Shape) {
    let (pairs, tokens) = (s.features / 2, s.tile.n);
    w.line(format!("var sums: array<vec2<{}>, {}>;", s.number(), pairs * tokens));
    for j in 0..tokens {
        for pair in 0..pairs {
            let (r, next) = (2 * pair, 2 * pair + 1);
            let both = format!("vec2(sum_{r}_{j}, sum_{next}_{j})");
            w.line(format!("sums[{}] = {both};", pairs * j + pair));
        }
    }
    w.block(format!("for (var i = 0u; i < {}u; i++)", pairs * tokens), |w| {
        let feature = format!("feature + {}u * (i % {pairs}u)", 2 * OCTET);
        let sums = if s.dtype == DType::I8 { "vec2<f32>(sums[i])" } else { "sums[i]" };
        w.line(format!("store2(token + i / {pairs}u, {feature}, {sums});"));
    });
}
