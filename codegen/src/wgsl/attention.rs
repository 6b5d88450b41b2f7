//! Causal attention: a workgroup per (token, head), online softmax (arXiv 1805.02867) over blocks of
//! as many positions as there are invocations.
//!
//! ```text
//! for each block of positions:
//!     score: each invocation one position
//!     the block's largest score; what was summed under a smaller one shrinks by e^(old − new)
//!     weight = e^(score − largest); their sum
//!     y += weight · v: each invocation two columns of every `splits`-th position
//! y / sum
//! ```

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;
use quickpick_kernels::plan::MAX_HEAD_DIM;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    pieces::header(
        w,
        spec,
        "y[i,h] = softmax(q[i,h]·Kᵀ · scale)·V over cache rows 0..=pos[0]+i, head h reading key-value\n\
         head h / (heads/kv_heads); q f32, caches f16, y f16 or f32; softmax and sums in f32.",
        &format!("Grid (n, heads). {threads} invocations: {threads} positions at a time."),
    );
    pieces::bindings(
        w,
        &[
            ("q", "array<vec2<f32>>", Use::Read),
            ("k_cache", "array<vec2<u32>>", Use::Read),
            ("v_cache", "array<u32>", Use::Read),
            ("pos", "array<u32>", Use::Read),
            ("y", "array<u32>", Use::Write),
        ],
        &["n", "heads", "kv_heads", "head_dim", "max_seq", "scale", "f32_out"],
    );
    w.line(format!("var<workgroup> qs: array<vec2<f32>, {}>;", MAX_HEAD_DIM / 2));
    w.line(format!("var<workgroup> weights: array<f32, {threads}>;"));
    w.note("what the trees reduce: scores, weights, and at the end y");
    w.line(format!("var<workgroup> partial: array<vec2<f32>, {threads}>;"));
    w.blank();
    pieces::pack_f16(w);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| body(w, threads));
}

fn body(w: &mut Writer, threads: u32) {
    w.line("let token = group.x;");
    w.line("let head = group.y;");
    w.line("let kv = head / (params.heads / params.kv_heads);");
    w.note("positions 0..count; never past the cache");
    w.line("let count = min(min(pos[0], params.max_seq) + token + 1u, params.max_seq);");
    w.note("pairs of elements in a head; how many invocations share a pair of y");
    w.line("let pairs = params.head_dim / 2u;");
    w.line(format!("let splits = {threads}u / pairs;"));
    w.line("let pair = lane % pairs;");
    w.line("let split = lane / pairs;");
    w.line("let q_at = (token * params.heads + head) * pairs;");
    w.block("if (lane < pairs)", |w| {
        w.line("qs[lane] = q[q_at + lane] * bitcast<f32>(params.scale);");
    });
    w.line("var largest = -3.0e38;");
    w.line("var total = 0.0;");
    w.line("var sum = vec2<f32>();");
    w.line("workgroupBarrier();");
    w.block(format!("for (var block = 0u; block < count; block += {threads}u)"), |w| {
        w.line("let position = block + lane;");
        w.line("let valid = position < count;");
        w.line("var score = -3.0e38;");
        w.block("if (valid)", |w| {
            w.line("let k_at = (position * params.kv_heads + kv) * (pairs / 2u);");
            w.line("score = 0.0;");
            w.block("for (var i = 0u; i < pairs / 2u; i++)", |w| {
                w.line("let words = k_cache[k_at + i];");
                w.line("score += dot(qs[2u * i], unpack2x16float(words.x));");
                w.line("score += dot(qs[2u * i + 1u], unpack2x16float(words.y));");
            });
        });
        w.line("partial[lane].x = score;");
        w.line("workgroupBarrier();");
        pieces::tree(w, threads, "partial[lane].x = max(partial[lane].x, partial[lane + half].x);");
        w.line("let before = largest;");
        w.line("largest = max(before, partial[0].x);");
        w.line("workgroupBarrier();");
        w.line("let weight = select(0.0, exp(score - largest), valid);");
        w.line("weights[lane] = weight;");
        w.line("partial[lane].x = weight;");
        w.line("workgroupBarrier();");
        pieces::tree(w, threads, "partial[lane].x += partial[lane + half].x;");
        w.line("let shrink = exp(before - largest);");
        w.line("total = total * shrink + partial[0].x;");
        w.line("sum *= shrink;");
        w.block("if (split < splits)", |w| {
            w.line(format!("let end = min({threads}u, count - block);"));
            w.block("for (var i = split; i < end; i += splits)", |w| {
                w.line("let v_at = ((block + i) * params.kv_heads + kv) * pairs + pair;");
                w.line("sum += weights[i] * unpack2x16float(v_cache[v_at]);");
            });
        });
        w.line("workgroupBarrier();");
    });
    w.line("partial[lane] = sum;");
    w.line("workgroupBarrier();");
    w.block("if (lane < pairs)", |w| {
        w.block("for (var i = 1u; i < splits; i++)", |w| {
            w.line("sum += partial[i * pairs + lane];");
        });
        w.line("sum /= total;");
        w.block("if (params.f32_out != 0u)", |w| {
            w.line("y[2u * (q_at + lane)] = bitcast<u32>(sum.x);");
            w.line("y[2u * (q_at + lane) + 1u] = bitcast<u32>(sum.y);");
        });
        w.block("else", |w| w.line("y[q_at + lane] = pack_f16(sum);"));
    });
}
