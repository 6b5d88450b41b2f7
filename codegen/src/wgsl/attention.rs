//! Causal attention: a workgroup per (token, head), online softmax (arXiv 1805.02867) over blocks of
//! four positions for each invocation.
//!
//! ```text
//! for each block of positions:
//!     score: each invocation four positions, so that one load of q serves four
//!     the block's largest score; what was summed under a smaller one shrinks by e^(old − new)
//!     weight = e^(score − largest); each invocation sums its own
//!     y += weight · v: each invocation four columns of every `splits`-th position
//! y / sum of the weights
//! ```

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;
use quickpick_kernels::plan::{ATTENTION_POSITIONS as EACH, MAX_HEAD_DIM};

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    let block = EACH * threads;
    pieces::header(
        w,
        spec,
        "y[i,h] = softmax(q[i,h]·Kᵀ · scale)·V over cache rows 0..=pos[0]+i, head h reading key-value\n\
         head h / (heads/kv_heads); q f32, caches f16, y f16 or f32; softmax and sums in f32.",
        &format!("Grid (n, heads). {threads} invocations: {block} positions at a time."),
    );
    pieces::bindings(
        w,
        &[
            ("q", "array<vec4<f32>>", Use::Read),
            ("k_cache", "array<vec2<u32>>", Use::Read),
            ("v_cache", "array<vec2<u32>>", Use::Read),
            ("pos", "array<u32>", Use::Read),
            ("y", "array<vec2<u32>>", Use::Write),
        ],
        &["n", "heads", "kv_heads", "head_dim", "max_seq", "scale", "f32_out"],
    );
    w.line(format!("var<workgroup> qs: array<vec4<f32>, {}>;", MAX_HEAD_DIM / 4));
    w.line(format!("var<workgroup> weights: array<f32, {block}>;"));
    w.line(format!("var<workgroup> sums: array<vec4<f32>, {threads}>;"));
    pieces::declare_reduce(w, threads, "f32");
    w.blank();
    pieces::pack_f16(w);
    pieces::store4(w);
    pieces::widen_f16(w);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| body(w, threads));
}

fn body(w: &mut Writer, threads: u32) {
    w.line("let token = group.x;");
    w.line("let head = group.y;");
    w.line("let kv = head / (params.heads / params.kv_heads);");
    w.note("positions 0..count; never past the cache");
    w.line("let count = min(min(pos[0], params.max_seq) + token + 1u, params.max_seq);");
    w.note("fours of elements in a head; how many invocations share a four of y");
    w.line("let fours = params.head_dim / 4u;");
    w.line(format!("let splits = {threads}u / fours;"));
    w.line("let four = lane % fours;");
    w.line("let split = lane / fours;");
    w.line("let q_at = (token * params.heads + head) * fours;");
    w.block("if (lane < fours)", |w| {
        w.line("qs[lane] = q[q_at + lane] * bitcast<f32>(params.scale);");
    });
    w.line("var largest = -3.0e38;");
    w.line("var total = 0.0;");
    w.line("var sum = vec4<f32>();");
    w.line("workgroupBarrier();");
    let block = EACH * threads;
    w.block(format!("for (var block = 0u; block < count; block += {block}u)"), |w| {
        scores(w, threads);
        weights(w, threads);
        w.line("workgroupBarrier();");
        w.line("sum *= shrink;");
        w.block("if (split < splits)", |w| {
            w.line(format!("let end = min({block}u, count - block);"));
            w.block("for (var i = split; i < end; i += splits)", |w| {
                w.line("let v_at = ((block + i) * params.kv_heads + kv) * fours + four;");
                w.line("sum += weights[i] * widen(v_cache[v_at]);");
            });
        });
    });
    w.note("every weight has been read: their memory takes the totals");
    w.line("workgroupBarrier();");
    w.line("weights[lane] = total;");
    w.line("sums[lane] = sum;");
    w.line("workgroupBarrier();");
    w.block("if (lane < fours)", |w| {
        w.block(format!("for (var i = 1u; i < {threads}u; i++)"), |w| {
            w.line(format!("total += weights[(lane + i) % {threads}u];"));
        });
        w.block("for (var i = 1u; i < splits; i++)", |w| {
            w.line("sum += sums[i * fours + lane];");
        });
        w.line("store4(q_at + lane, sum / total);");
    });
}

fn scores(w: &mut Writer, threads: u32) {
    for j in 0..EACH {
        let position = pieces::plus("block + lane", j * threads);
        w.line(format!("let position_{j} = {position};"));
        w.line(format!(
            "let k_at_{j} = (min(position_{j}, count - 1u) * params.kv_heads + kv) * fours;"
        ));
        w.line(format!("var score_{j} = 0.0;"));
    }
    w.block("for (var i = 0u; i < fours; i++)", |w| {
        w.line("let q_i = qs[i];");
        for j in 0..EACH {
            w.line(format!("score_{j} += dot(q_i, widen(k_cache[k_at_{j} + i]));"));
        }
    });
    for j in 0..EACH {
        w.line(format!("score_{j} = select(-3.0e38, score_{j}, position_{j} < count);"));
    }
}

fn weights(w: &mut Writer, threads: u32) {
    let each = |name: &str| Vec::from_iter((0..EACH).map(|j| format!("{name}_{j}")));
    let mine = each("score").into_iter().reduce(|a, b| format!("max({a}, {b})"));
    pieces::reduce(w, threads, &mine.unwrap_or_default(), |a, b| format!("max({a}, {b})"));
    w.line("let before = largest;");
    w.line("largest = max(before, reduced);");
    w.line("let shrink = exp(before - largest);");
    for j in 0..EACH {
        w.line(format!("let weight_{j} = exp(score_{j} - largest);"));
        w.line(format!("weights[{}] = weight_{j};", pieces::plus("lane", j * threads)));
    }
    w.line(format!("total = total * shrink + {};", each("weight").join(" + ")));
}
