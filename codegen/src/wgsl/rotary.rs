//! Rotary embedding, and the caches' new rows: a workgroup per (token, head).

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    pieces::header(
        w,
        spec,
        "(a, b) = (x[i], x[i + head_dim/2]) → (a·cos − b·sin, b·cos + a·sin) for q and k;\n\
         k and v go to row pos[0] + token of their f16 caches, and nowhere past max_seq.",
        &format!(
            "Grid (n, heads + 2·kv_heads): a head of q, then of k, then of v.\n\
             {threads} invocations, two elements of each half at a time."
        ),
    );
    pieces::bindings(
        w,
        &[
            ("q", "array<vec2<f32>>", Use::Read),
            ("k", "array<vec2<f32>>", Use::Read),
            ("v", "array<vec2<f32>>", Use::Read),
            ("pos", "array<u32>", Use::Read),
            ("table", "array<vec2<f32>>", Use::Read),
            ("q_out", "array<vec2<f32>>", Use::Write),
            ("k_cache", "array<u32>", Use::Write),
            ("v_cache", "array<u32>", Use::Write),
        ],
        &["n", "heads", "kv_heads", "head_dim", "max_seq"],
    );
    pieces::pack_f16(w);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line("let token = group.x;");
        w.line("let head = group.y;");
        w.note("token < n ≤ max_seq, so this does not wrap");
        w.block("if (pos[0] >= params.max_seq - token)", |w| w.line("return;"));
        w.line("let row = pos[0] + token;");
        w.note("pairs of elements: in a head, and in a half of it");
        w.line("let pairs = params.head_dim / 2u;");
        w.line("let half = pairs / 2u;");
        w.block("if (head >= params.heads + params.kv_heads)", |w| {
            w.line("let kv = head - params.heads - params.kv_heads;");
            w.line("let source = (token * params.kv_heads + kv) * pairs;");
            w.line("let to = (row * params.kv_heads + kv) * pairs;");
            w.block(format!("for (var i = lane; i < pairs; i += {threads}u)"), |w| {
                w.line("v_cache[to + i] = pack_f16(v[source + i]);");
            });
            w.line("return;");
        });
        w.block(format!("for (var i = lane; i < half; i += {threads}u)"), |w| {
            w.line("let c = table[row * pairs + i];");
            w.line("let s = table[row * pairs + half + i];");
            w.block("if (head < params.heads)", |w| {
                w.line("let at = (token * params.heads + head) * pairs + i;");
                w.line("let a = q[at];");
                w.line("let b = q[at + half];");
                w.line("q_out[at] = a * c - b * s;");
                w.line("q_out[at + half] = b * c + a * s;");
            });
            w.block("else", |w| {
                w.line("let kv = head - params.heads;");
                w.line("let source = (token * params.kv_heads + kv) * pairs + i;");
                w.line("let to = (row * params.kv_heads + kv) * pairs + i;");
                w.line("let a = k[source];");
                w.line("let b = k[source + half];");
                w.line("k_cache[to] = pack_f16(a * c - b * s);");
                w.line("k_cache[to + half] = pack_f16(b * c + a * s);");
            });
        });
    });
}
