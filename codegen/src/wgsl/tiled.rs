//! Tiled linear layers, 2:4 and dense.
//!
//! ```text
//! for each 32 columns of k:
//!     stage: X and W as they lie in storage, f16, a row after the other
//!     multiply, 8 columns at a time, operands widened to f32 in registers:
//!         2:4:   each kept value times the column that its code picks of the token's four:
//!                half of the dense multiply-adds, half of the loads of W
//!         dense: each value times its column
//! epilogue
//! ```
//!
//! A row of X is four units of 8 columns. Unit u of token t lies at `u ^ (t/2 % 4)` of its row, so
//! that eight neighbouring tokens load one unit from all 32 banks.

use super::epilogue;
use super::pieces::{self, Narrow, Use, plus};
use super::writer::Writer;
use quickpick_kernels::{KernelSpec, Tile, Weights};

/// Columns of a metadata word, and of a stage.
const K: u32 = 32;
/// Columns of a unit, two groups of four.
const UNIT: u32 = 8;

/// What the emitters of the parts need.
struct Shape {
    tile: Tile,
    narrow: Narrow,
    sparse: bool,
    threads: u32,
    /// Invocations along m and n.
    grid: (u32, u32),
    /// Features and tokens of one invocation.
    each: (u32, u32),
    x: Operand,
    w: Operand,
}

/// One operand's way to workgroup memory.
struct Operand {
    from: &'static str,
    to: &'static str,
    /// The tile's first row, the operand's rows, the tile's rows.
    row0: &'static str,
    bound: &'static str,
    rows: u32,
    /// The vector that is copied, how many make a row of the stage.
    vector: &'static str,
    vectors: u32,
}

impl Operand {
    /// Vectors in a unit.
    fn unit(&self) -> u32 {
        self.vectors * UNIT / K
    }

    /// What the place of a row's unit is XORed with.
    fn spread(&self, row: &str) -> String {
        let turn = format!("(({row} >> 1u) & 3u)");
        if self.unit() == 1 { turn } else { format!("({}u * {turn})", self.unit()) }
    }

    fn unit_offset(&self) -> String {
        if self.unit() == 1 { "unit".into() } else { format!("({}u * unit)", self.unit()) }
    }
}

/// `base + offset` as a factor.
fn grouped(base: &str, offset: u32) -> String {
    if offset == 0 { base.into() } else { format!("({})", plus(base, offset)) }
}

pub(super) fn emit(
    w: &mut Writer,
    spec: &KernelSpec,
    weights: Weights,
    tile: Tile,
    grid: (u32, u32),
) {
    let narrow = Narrow::of(spec);
    let sparse = weights == Weights::Sparse24;
    let kept = if sparse { K / 2 } else { K };
    let operand = |from, to, row0, bound, rows, values: u32| {
        let (vector, elements) = narrow.vector(values * UNIT / K);
        Operand { from, to, row0, bound, rows, vector, vectors: values / elements }
    };
    let s = Shape {
        tile,
        narrow,
        sparse,
        threads: grid.0 * grid.1,
        grid,
        each: (tile.m / grid.0, tile.n / grid.1),
        x: operand("x", "xs", "token0", "params.n", tile.n, K),
        w: operand("values", "ws", "feature0", "params.m", tile.m, kept),
    };
    declare(w, spec, &s);
    narrow.widen(w);
    pieces::multiply_add(w, sparse);
    epilogue::functions(w, spec);
    pieces::entry(w, spec, s.threads, &pieces::GROUP_AND_LANE, |w| {
        places(w, &s);
        w.block(format!("for (var step = 0u; step < params.k / {K}u; step++)"), |w| {
            stage(w, &s);
            w.line("workgroupBarrier();");
            multiply(w, &s);
            w.line("workgroupBarrier();");
        });
        store(w, &s);
    });
}

fn declare(w: &mut Writer, spec: &KernelSpec, s: &Shape) {
    let Tile { m, n, .. } = s.tile;
    let kind = if s.sparse { "2:4" } else { "dense" };
    pieces::header(
        w,
        spec,
        &epilogue::formula(spec, kind),
        &format!(
            "Grid (⌈m/{m}⌉, ⌈n/{n}⌉): {m} features × {n} tokens, {K} columns at a time.\n\
             {} invocations, {} × {}, of {} features × {} tokens.",
            s.threads, s.grid.0, s.grid.1, s.each.0, s.each.1
        ),
    );
    let (values, x) = (format!("array<{}>", s.w.vector), format!("array<{}>", s.x.vector));
    let mut list = vec![("values", values.as_str(), Use::Read)];
    if s.sparse {
        list.push(("metadata", "array<u32>", Use::Read));
    }
    list.extend(epilogue::operands(spec, &x));
    pieces::bindings(w, &list, &epilogue::PARAMS);
    for o in [&s.x, &s.w] {
        let size = o.rows * o.vectors;
        w.line(format!("var<workgroup> {}: array<{}, {size}>;", o.to, o.vector));
    }
    if s.sparse {
        w.note("Bits 4g..4g+4: the two kept positions of the g-th group of four columns.");
        w.line(format!("var<workgroup> codes: array<u32, {m}>;"));
    }
    w.blank();
}

/// Where this invocation stages, where it multiplies, and its sums.
fn places(w: &mut Writer, s: &Shape) {
    let Tile { m, n, .. } = s.tile;
    w.line(format!("let feature0 = {m}u * group.x;"));
    w.line(format!("let token0 = {n}u * group.y;"));
    w.note("stage: rows past the end repeat the last one, and their sums are not stored");
    for (o, spread) in [(&s.x, true), (&s.w, false)] {
        let Operand { to, row0, bound, vectors, .. } = o;
        for trip in 0..(o.rows * vectors).div_ceil(s.threads) {
            let item = grouped("lane", trip * s.threads);
            w.line(format!("let {to}_row_{trip} = {item} / {vectors}u;"));
            w.line(format!(
                "let {to}_from_{trip} = min({row0} + {to}_row_{trip}, {bound} - 1u) * \
                 (params.k / {K}u * {vectors}u) + lane % {vectors}u;"
            ));
            if spread {
                w.line(format!(
                    "let {to}_to_{trip} = {item} ^ {};",
                    o.spread(&format!("{to}_row_{trip}"))
                ));
            }
        }
    }
    if s.sparse {
        for trip in 0..m.div_ceil(s.threads) {
            w.line(format!(
                "let codes_from_{trip} = min(feature0 + {}, params.m - 1u) * (params.k / {K}u);",
                plus("lane", trip * s.threads)
            ));
        }
    }
    w.note("multiply");
    w.line(format!("let mine_m = {}u * (lane / {}u);", s.each.0, s.grid.1));
    w.line(format!("let mine_n = lane % {}u;", s.grid.1));
    for j in 0..s.each.1 {
        let token = grouped("mine_n", j * s.grid.1);
        let (vectors, spread) = (s.x.vectors, s.x.spread(&token));
        w.line(format!("let x_at_{j} = {vectors}u * {token} + {spread};"));
    }
    for pair in 0..s.each.0 / 2 {
        for j in 0..s.each.1 {
            w.line(format!("var sum_{pair}_{j} = vec2<f32>();"));
        }
    }
}

fn stage(w: &mut Writer, s: &Shape) {
    for (o, spread) in [(&s.x, true), (&s.w, false)] {
        let Operand { from, to, vectors, .. } = o;
        let items = o.rows * vectors;
        for trip in 0..items.div_ceil(s.threads) {
            let place =
                if spread { format!("{to}_to_{trip}") } else { plus("lane", trip * s.threads) };
            let copy = format!("{to}[{place}] = {from}[{to}_from_{trip} + {vectors}u * step];");
            guarded(w, items - trip * s.threads, s.threads, &copy);
        }
    }
    if s.sparse {
        for trip in 0..s.tile.m.div_ceil(s.threads) {
            let place = plus("lane", trip * s.threads);
            let copy = format!("codes[{place}] = metadata[codes_from_{trip} + step];");
            guarded(w, s.tile.m - trip * s.threads, s.threads, &copy);
        }
    }
}

/// A line for the first `left` invocations.
fn guarded(w: &mut Writer, left: u32, threads: u32, line: &str) {
    if left < threads {
        w.block(format!("if (lane < {left}u)"), |w| w.line(line));
    } else {
        w.line(line);
    }
}

fn multiply(w: &mut Writer, s: &Shape) {
    let (features, tokens) = s.each;
    if s.sparse {
        for r in 0..features {
            w.line(format!("let codes_{r} = codes[{}];", plus("mine_m", r)));
        }
    }
    w.block(format!("for (var unit = 0u; unit < {}u; unit++)", K / UNIT), |w| {
        for j in 0..tokens {
            let at = format!("(x_at_{j} ^ {})", s.x.unit_offset());
            s.narrow.load(w, &format!("x_{j}"), "xs", &at, UNIT);
        }
        for r in 0..features {
            let row = grouped("mine_m", r);
            let at = format!("{}u * {row} + {}", s.w.vectors, s.w.unit_offset());
            w.block("", |w| {
                s.narrow.load(w, "a", "ws", &at, if s.sparse { UNIT / 2 } else { UNIT });
                for g in 0..if s.sparse { UNIT / 4 } else { 0 } {
                    let shift = plus(&format!("{UNIT}u * unit"), 4 * g);
                    w.line(format!("let code_{g} = bits(codes_{r} >> ({shift}));"));
                }
                for j in 0..tokens {
                    let sum = format!("sum_{}_{j}.{}", r / 2, ["x", "y"][r as usize % 2]);
                    for g in 0..UNIT / 4 {
                        let (a, x) = if s.sparse {
                            let half = ["xy", "zw"][g as usize];
                            (format!("a_0.{half}"), format!("pick(x_{j}_{g}, code_{g})"))
                        } else {
                            (format!("a_{g}"), format!("x_{j}_{g}"))
                        };
                        w.line(format!("{sum} = multiply_add({a}, {x}, {sum});"));
                    }
                }
            });
        }
    });
}

fn store(w: &mut Writer, s: &Shape) {
    for j in 0..s.each.1 {
        let token = format!("token0 + {}", plus("mine_n", j * s.grid.1));
        for pair in 0..s.each.0 / 2 {
            let feature = format!("feature0 + {}", plus("mine_m", 2 * pair));
            w.line(format!("store2({token}, {feature}, sum_{pair}_{j});"));
        }
    }
}
