//! Tiled linear layers, 2:4 and dense.
//!
//! ```text
//! for each 32 columns of k:
//!     stage: X as xs[column][token], W as ws[kept value or column][feature], four to a vector
//!     multiply: 2:4:   for each group of four columns: two values of W, each times the row of xs
//!                      that its code names: half of the dense multiply-adds
//!               dense: for each column: one value of W times its row of xs
//! epilogue
//! ```
//!
//! Both operands lie in workgroup memory with k outermost, so that one load gives four neighbouring
//! tokens (features) of one column. The vector's place in its row is XORed with the column's group,
//! which spreads the stores of a stage over the banks and costs the multiply one XOR per group.

use super::epilogue;
use super::pieces::{self, Narrow, Use, plus};
use super::writer::Writer;
use quickpick_kernels::{KernelSpec, Tile, Weights};

/// Columns of a metadata word, and of a stage.
const K: u32 = 32;

/// What the emitters of the parts need.
struct Shape {
    tile: Tile,
    narrow: Narrow,
    sparse: bool,
    threads: u32,
    /// Invocations along m and n.
    grid: (u32, u32),
    /// Vectors of four features, and of four tokens, of one invocation.
    fours: (u32, u32),
}

pub(super) fn emit(
    w: &mut Writer,
    spec: &KernelSpec,
    weights: Weights,
    tile: Tile,
    grid: (u32, u32),
) {
    let s = Shape {
        tile,
        narrow: Narrow::of(spec),
        sparse: weights == Weights::Sparse24,
        threads: grid.0 * grid.1,
        grid,
        fours: (tile.m / grid.0 / 4, tile.n / grid.1 / 4),
    };
    declare(w, spec, &s);
    epilogue::functions(w);
    pieces::entry(w, spec, s.threads, &pieces::GROUP_AND_LANE, |w| {
        places(w, &s);
        w.block(format!("for (var step = 0u; step < params.k / {K}u; step++)"), |w| {
            stage(w, &s);
            w.line("workgroupBarrier();");
            if s.sparse {
                multiply_sparse(w, &s)
            } else {
                multiply_dense(w, &s)
            }
            w.line("workgroupBarrier();");
        });
        store(w, &s);
    });
}

fn declare(w: &mut Writer, spec: &KernelSpec, s: &Shape) {
    let Tile { m, n, .. } = s.tile;
    let kind = if s.sparse { "2:4" } else { "dense" };
    let (rows, tokens) = (4 * s.fours.0, 4 * s.fours.1);
    pieces::header(
        w,
        spec,
        &format!("Y[n×m] = act(X[n×k]·Wᵀ + bias) + residual, W {kind}, f16; sums in f32."),
        &format!(
            "Grid (⌈m/{m}⌉, ⌈n/{n}⌉): {m} features × {n} tokens, {K} columns at a time.\n\
             {} invocations, {} × {}, of {rows} features × {tokens} tokens.",
            s.threads, s.grid.0, s.grid.1
        ),
    );
    let pairs = format!("array<{}>", s.narrow.pair());
    let mut list = vec![("values", pairs.as_str(), Use::Read)];
    if s.sparse {
        list.push(("metadata", "array<u32>", Use::Read));
    }
    list.extend(epilogue::operands(&pairs));
    pieces::bindings(w, &list, &epilogue::PARAMS);

    let four = s.narrow.tile4();
    w.note("[column][token / 4]");
    w.line(format!("var<workgroup> xs: array<{four}, {}>;", K * n / 4));
    if s.sparse {
        w.note("[kept value][feature / 4]");
        w.line(format!("var<workgroup> ws: array<{four}, {}>;", K / 2 * m / 4));
        w.note("Bits 4g..4g+4: the two kept positions of the g-th group of four columns.");
        w.line(format!("var<workgroup> codes: array<u32, {m}>;"));
    } else {
        w.note("[column][feature / 4]");
        w.line(format!("var<workgroup> ws: array<{four}, {}>;", K * m / 4));
    }
    w.blank();
}

/// Where this invocation multiplies, where it stages, and its sums.
fn places(w: &mut Writer, s: &Shape) {
    let Tile { m, n, .. } = s.tile;
    w.line(format!("let feature0 = {m}u * group.x;"));
    w.line(format!("let token0 = {n}u * group.y;"));
    w.line(format!("let mine_m = lane / {}u;", s.grid.1));
    w.line(format!("let mine_n = lane % {}u;", s.grid.1));
    for stage in stages(s) {
        stage.sources(w, s);
    }
    if s.sparse {
        w.line(format!(
            "let codes_from = min(feature0 + lane, params.m - 1u) * (params.k / {K}u);"
        ));
    }
    for row in 0..4 * s.fours.0 {
        for j in 0..s.fours.1 {
            w.line(format!("var sum_{row}_{j} = vec4<f32>();"));
        }
    }
}

/// One operand's way to workgroup memory: an item is two columns (a pair in storage) of four rows.
struct Stage {
    from: &'static str,
    to: &'static str,
    /// The operand's name for its rows, and their number.
    row0: &'static str,
    bound: &'static str,
    /// Fours of rows in the tile, pairs in a row of the stage.
    fours: u32,
    pairs: u32,
    /// The group of four columns of a pair, and of its kept values when sparse.
    group: &'static str,
}

fn stages(s: &Shape) -> [Stage; 2] {
    let x = Stage {
        from: "x",
        to: "xs",
        row0: "token0",
        bound: "params.n",
        fours: s.tile.n / 4,
        pairs: K / 2,
        group: "(pair / 2u)",
    };
    let w = Stage {
        from: "values",
        to: "ws",
        row0: "feature0",
        bound: "params.m",
        fours: s.tile.m / 4,
        pairs: if s.sparse { K / 4 } else { K / 2 },
        group: if s.sparse { "pair" } else { "(pair / 2u)" },
    };
    [x, w]
}

impl Stage {
    fn items(&self) -> u32 {
        self.fours * self.pairs
    }

    /// Trips of all invocations through the items.
    fn trips(&self, s: &Shape) -> u32 {
        self.items().div_ceil(s.threads)
    }

    /// The addresses of this invocation's items at the first stage; they advance by `pairs`.
    fn sources(&self, w: &mut Writer, s: &Shape) {
        let Self { to, row0, bound, pairs, .. } = self;
        // rows past the end repeat the last one: their sums are never stored
        for trip in 0..self.trips(s) {
            w.line(format!("let {to}_item_{trip} = {};", plus("lane", trip * s.threads)));
            for r in 0..4 {
                let row = plus(&format!("{row0} + 4u * ({to}_item_{trip} / {pairs}u)"), r);
                w.line(format!(
                    "let {to}_from_{trip}_{r} = min({row}, {bound} - 1u) * (params.k / {}u) \
                     + {to}_item_{trip} % {pairs}u;",
                    K / pairs
                ));
            }
        }
    }

    fn copy(&self, w: &mut Writer, s: &Shape) {
        let Self { from, to, pairs, fours, group, .. } = self;
        for trip in 0..self.trips(s) {
            let body = |w: &mut Writer| {
                w.line(format!("let item = {to}_item_{trip};"));
                w.line(format!("let pair = item % {pairs}u;"));
                w.line(format!("let at = pair * {}u + ((item / {pairs}u) ^ {group});", 2 * fours));
                for r in 0..4 {
                    let source = format!("{from}[{to}_from_{trip}_{r} + {pairs}u * step]");
                    w.line(format!("let p{r} = {};", s.narrow.to_tile(&source)));
                }
                let four = s.narrow.tile4();
                w.line(format!("{to}[at] = {four}(p0.x, p1.x, p2.x, p3.x);"));
                w.line(format!("{to}[at + {fours}u] = {four}(p0.y, p1.y, p2.y, p3.y);"));
            };
            let left = self.items() - trip * s.threads;
            if left < s.threads {
                w.block(format!("if (lane < {left}u)"), body);
            } else {
                w.block("", body);
            }
        }
    }
}

fn stage(w: &mut Writer, s: &Shape) {
    w.note("stage: two columns of four rows at a time");
    for stage in stages(s) {
        stage.copy(w, s);
    }
    if s.sparse {
        w.block(format!("if (lane < {}u)", s.tile.m), |w| {
            w.line("codes[lane] = metadata[codes_from + step];");
        });
    }
}

/// `base + offset` as a factor.
fn grouped(base: &str, offset: u32) -> String {
    if offset == 0 { base.into() } else { format!("({})", plus(base, offset)) }
}

const XYZW: [char; 4] = ['x', 'y', 'z', 'w'];

fn multiply_sparse(w: &mut Writer, s: &Shape) {
    let Shape { tile: Tile { m, n, .. }, narrow, .. } = *s;
    w.note("multiply: each kept value times the row of xs that its position names");
    for i in 0..s.fours.0 {
        let row = format!("4u * {}", grouped("mine_m", i * s.grid.0));
        let four: Vec<_> = (0..4).map(|r| format!("codes[{}]", plus(&row, r))).collect();
        w.line(format!("var code_{i} = vec4({});", four.join(", ")));
    }
    w.block(format!("for (var g = 0u; g < {}u; g++)", K / 4), |w| {
        for i in 0..s.fours.0 {
            w.line(format!("let at_{i} = g * {}u + ({} ^ g);", m / 2, grouped("mine_m", i * s.grid.0)));
            w.line(format!("let first_{i} = {};", narrow.from_tile(&format!("ws[at_{i}]"))));
            let second = format!("ws[at_{i} + {}u]", m / 4);
            w.line(format!("let second_{i} = {};", narrow.from_tile(&second)));
            let stride = n / 4;
            w.line(format!("let p_{i} = (4u * g + (code_{i} & vec4(3u))) * {stride}u;"));
            w.line(format!(
                "let q_{i} = (4u * g + ((code_{i} >> vec4(2u)) & vec4(3u))) * {stride}u;"
            ));
            w.line(format!("code_{i} >>= vec4(4u);"));
        }
        for j in 0..s.fours.1 {
            w.line(format!("let n_{j} = {} ^ g;", grouped("mine_n", j * s.grid.1)));
        }
        for row in 0..4 * s.fours.0 {
            let (i, c) = (row / 4, XYZW[row as usize % 4]);
            for j in 0..s.fours.1 {
                let x = |p: &str| narrow.from_tile(&format!("xs[{p}_{i}.{c} + n_{j}]"));
                w.line(format!(
                    "sum_{row}_{j} = fma(vec4(first_{i}.{c}), {}, fma(vec4(second_{i}.{c}), {}, sum_{row}_{j}));",
                    x("p"),
                    x("q")
                ));
            }
        }
    });
}

fn multiply_dense(w: &mut Writer, s: &Shape) {
    let Shape { tile: Tile { m, n, .. }, narrow, .. } = *s;
    w.note("multiply");
    w.block(format!("for (var c = 0u; c < {K}u; c++)"), |w| {
        for i in 0..s.fours.0 {
            let at =
                format!("ws[c * {}u + ({} ^ (c / 4u))]", m / 4, grouped("mine_m", i * s.grid.0));
            w.line(format!("let w_{i} = {};", narrow.from_tile(&at)));
        }
        for j in 0..s.fours.1 {
            let at =
                format!("xs[c * {}u + ({} ^ (c / 4u))]", n / 4, grouped("mine_n", j * s.grid.1));
            w.line(format!("let x_{j} = {};", narrow.from_tile(&at)));
        }
        for row in 0..4 * s.fours.0 {
            let (i, c) = (row / 4, XYZW[row as usize % 4]);
            for j in 0..s.fours.1 {
                w.line(format!("sum_{row}_{j} = fma(vec4(w_{i}.{c}), x_{j}, sum_{row}_{j});"));
            }
        }
    });
}

fn store(w: &mut Writer, s: &Shape) {
    w.note("epilogue: the sums hold four tokens of one feature; y wants features side by side");
    for j in 0..s.fours.1 {
        w.line(format!("let token_{j} = token0 + 4u * {};", grouped("mine_n", j * s.grid.1)));
    }
    for i in 0..s.fours.0 {
        w.line(format!("let feature_{i} = feature0 + 4u * {};", grouped("mine_m", i * s.grid.0)));
        for j in 0..s.fours.1 {
            for (t, c) in XYZW.iter().enumerate() {
                for half in [0, 2] {
                    let row = 4 * i + half;
                    let token = plus(&format!("token_{j}"), t as u32);
                    let feature = plus(&format!("feature_{i}"), half);
                    w.line(format!(
                        "store2({token}, {feature}, vec2(sum_{row}_{j}.{c}, sum_{}_{j}.{c}));",
                        row + 1
                    ));
                }
            }
        }
    }
}
