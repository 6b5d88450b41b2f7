//! The epilogue of the linear layers: bias, activation, residual, the store. All of it in f32.

use super::pieces::{self, Use};
use super::writer::Writer;

/// x, bias, residual and y as every linear layer binds them, after its weights.
pub(super) fn operands(x: &str) -> [(&str, &str, Use); 4] {
    [
        ("x", x, Use::Read),
        ("bias", "array<f32>", Use::Read),
        ("residual", "array<u32>", Use::Read),
        ("y", "array<atomic<u32>>", Use::Write),
    ]
}

/// The parameters of every linear layer; the stride is that of Y's rows, elements.
pub(super) const PARAMS: [&str; 5] = ["m", "n", "k", "flags", "stride"];

/// `store2` and what it calls.
pub(super) fn functions(w: &mut Writer) {
    pieces::pack_f16(w);
    pieces::sigmoid(w, "vec2<f32>");
    activate(w);
    residual(w);
    store_half(w);
    store2(w);
}

/// tanh(z) = 2·sigmoid(2z) − 1, so GELU's x/2·(1 + tanh(z)) is x·sigmoid(2z).
fn activate(w: &mut Writer) {
    w.note("flags 1:0: 0 none, 1 ReLU, 2 GELU (tanh form) = x·sigmoid(2z), 3 SiLU = x·sigmoid(x).");
    w.block("fn activate(x: vec2<f32>) -> vec2<f32>", |w| {
        w.line("let kind = params.flags & 3u;");
        w.block("if (kind < 2u)", |w| w.line("return select(x, max(x, vec2(0.0)), kind == 1u);"));
        w.note("beyond ±20 the sigmoid is 0 or 1 in f32");
        w.line("let c = clamp(x, vec2(-20.0), vec2(20.0));");
        w.line("let z2 = 1.5957691216057308 * (c + 0.044715 * c * c * c);");
        w.line("return x * sigmoid(select(x, z2, kind == 2u));");
    });
    w.blank();
}

fn residual(w: &mut Writer) {
    w.note("The residual is of y's type: f32 by flag bit 4, else f16.");
    w.block("fn residual_at(i: u32) -> f32", |w| {
        w.line("let wide = (params.flags & 16u) != 0u;");
        w.line("let word = residual[select(i >> 1u, i, wide)];");
        w.line("let half = unpack2x16float(word >> (16u * (i & 1u))).x;");
        w.line("return select(half, bitcast<f32>(word), wide);");
    });
    w.blank();
}

fn store_half(w: &mut Writer) {
    w.note(
        "One f16 of a word whose other half belongs to another invocation: the bits are disjoint,",
    );
    w.note("so the order of the two does not matter.");
    w.block("fn store_half(i: u32, word: u32)", |w| {
        w.line("let shift = 16u * (i & 1u);");
        w.line("atomicAnd(&y[i >> 1u], 0xffff0000u >> shift);");
        w.line("atomicOr(&y[i >> 1u], (word & 0xffffu) << shift);");
    });
    w.blank();
}

fn store2(w: &mut Writer) {
    w.note("y[token][row], y[token][row + 1] from their sums; row is even. Outside of y: nothing.");
    w.block("fn store2(token: u32, row: u32, sums: vec2<f32>)", |w| {
        w.block("if (token >= params.n || row >= params.m)", |w| w.line("return;"));
        w.line("let both = row + 1u < params.m;");
        w.line("let next = select(0u, 1u, both);");
        w.line("let at = token * params.stride + row;");
        w.line("var v = sums;");
        w.block("if ((params.flags & 4u) != 0u)", |w| {
            w.line("v += vec2(bias[row], bias[row + next]);");
        });
        w.line("v = activate(v);");
        w.block("if ((params.flags & 8u) != 0u)", |w| {
            w.line("v += vec2(residual_at(at), residual_at(at + next));");
        });
        w.block("if ((params.flags & 16u) != 0u)", |w| {
            w.line("atomicStore(&y[at], bitcast<u32>(v.x));");
            w.block("if (both)", |w| w.line("atomicStore(&y[at + 1u], bitcast<u32>(v.y));"));
            w.line("return;");
        });
        w.line("let word = pack_f16(v);");
        w.block("if (both && (at & 1u) == 0u)", |w| {
            w.line("atomicStore(&y[at >> 1u], word);");
            w.line("return;");
        });
        w.note("m is odd, or this is the last row");
        w.line("store_half(at, word);");
        w.block("if (both)", |w| w.line("store_half(at + 1u, word >> 16u);"));
    });
    w.blank();
}
