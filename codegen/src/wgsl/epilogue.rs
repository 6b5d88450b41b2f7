//! The epilogue of the linear layers: scales, bias, activation, residual, the store. All of it in f32.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::{DType, KernelSpec};

/// x, scales if there are any, bias, residual and y as every linear layer binds them, after its weights.
pub(super) fn operands<'a>(spec: &KernelSpec, x: &'a str) -> Vec<(&'a str, &'a str, Use)> {
    let floats = "array<f32>";
    let mut list = vec![("x", x, Use::Read)];
    if spec.scales() {
        list.extend([("w_scale", floats, Use::Read), ("x_scale", floats, Use::Read)]);
    }
    list.extend([
        ("bias", floats, Use::Read),
        ("residual", "array<u32>", Use::Read),
        ("y", "array<atomic<u32>>", Use::Write),
    ]);
    list
}

/// What a linear layer computes, for its header; `kind` is that of W.
pub(super) fn formula(spec: &KernelSpec, kind: &str) -> String {
    match spec.dtype {
        DType::I8 => format!(
            "Y[n×m] = act(scale·(X[n×k]·Wᵀ) + bias) + residual, W {kind}, s8; sums in s32, exact;\n\
             scale is 1 or w_scale[m]·x_scale[n]."
        ),
        _ => {
            format!("Y[n×m] = act(X[n×k]·Wᵀ + bias) + residual, W {kind}, f16; sums in f32.")
        }
    }
}

/// The parameters of every linear layer; the stride is that of Y's rows, elements.
pub(super) const PARAMS: [&str; 5] = ["m", "n", "k", "flags", "stride"];

/// `store2` and what it calls.
pub(super) fn functions(w: &mut Writer, spec: &KernelSpec) {
    let eight_bits = spec.dtype.bytes() == 1;
    pieces::pack_f16(w);
    if eight_bits {
        pack_bf16(w);
        w.note("Of two f32 a word of f16 by flag bit 7, else of bf16.");
        w.block("fn pack(v: vec2<f32>) -> u32", |w| {
            w.line("return select(pack_bf16(v), pack_f16(v), (params.flags & 128u) != 0u);");
        });
        w.blank();
    }
    pieces::sigmoid(w, "vec2<f32>");
    activate(w);
    residual(w, eight_bits);
    store_half(w);
    store2(w, spec, if eight_bits { "pack" } else { "pack_f16" });
}

/// `pack_bf16`: two f32 to bf16 in a word.
fn pack_bf16(w: &mut Writer) {
    w.note("To nearest even: the upper half of an f32. NaN and infinity stay.");
    w.block("fn pack_bf16(v: vec2<f32>) -> u32", |w| {
        w.line("let bits = bitcast<vec2<u32>>(v);");
        w.line("let near = bits + 0x7fffu + ((bits >> vec2(16u)) & vec2(1u));");
        w.line("let nan = (bits & vec2(0x7fffffffu)) > vec2(0x7f800000u);");
        w.line("let halves = select(near, bits | vec2(0x400000u), nan);");
        w.line("return (halves.x >> 16u) | (halves.y & 0xffff0000u);");
    });
    w.blank();
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

fn residual(w: &mut Writer, eight_bits: bool) {
    let half = if eight_bits { "f16 by bit 7, else bf16" } else { "else f16" };
    w.note(format!("The residual is of y's type: f32 by flag bit 4, {half}."));
    w.block("fn residual_at(i: u32) -> f32", |w| {
        w.line("let wide = (params.flags & 16u) != 0u;");
        w.line("let word = residual[select(i >> 1u, i, wide)];");
        let f16 = "unpack2x16float(word >> (16u * (i & 1u))).x";
        if eight_bits {
            w.line("let bf16 = bitcast<f32>((word >> (16u * (i & 1u))) << 16u);");
            w.line(format!("let half = select(bf16, {f16}, (params.flags & 128u) != 0u);"));
        } else {
            w.line(format!("let half = {f16};"));
        }
        w.line("return select(half, bitcast<f32>(word), wide);");
    });
    w.blank();
}

fn store_half(w: &mut Writer) {
    w.note("Half of a word whose other half belongs to another invocation: the bits are disjoint,");
    w.note("so the order of the two does not matter.");
    w.block("fn store_half(i: u32, word: u32)", |w| {
        w.line("let shift = 16u * (i & 1u);");
        w.line("atomicAnd(&y[i >> 1u], 0xffff0000u >> shift);");
        w.line("atomicOr(&y[i >> 1u], (word & 0xffffu) << shift);");
    });
    w.blank();
}

fn store2(w: &mut Writer, spec: &KernelSpec, pack: &str) {
    w.note("y[token][row], y[token][row + 1] from their sums; row is even. Outside of y: nothing.");
    w.block("fn store2(token: u32, row: u32, sums: vec2<f32>)", |w| {
        w.block("if (token >= params.n || row >= params.m)", |w| w.line("return;"));
        w.line("let both = row + 1u < params.m;");
        w.line("let next = select(0u, 1u, both);");
        w.line("let at = token * params.stride + row;");
        w.line("var v = sums;");
        if spec.scales() {
            w.block("if ((params.flags & 32u) != 0u)", |w| {
                w.line("v *= vec2(w_scale[row], w_scale[row + next]) * x_scale[token];");
            });
        }
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
        w.line(format!("let word = {pack}(v);"));
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
