//! Embedding rows: a workgroup per token.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    pieces::header(
        w,
        spec,
        "y[i] = table[ids[i]]; table f16, y f32. An id past the end of the table gives NaN.\n\
         The table's first row has the id `first`; ids before it are left to another launch.",
        &format!("Grid (n): one row. {threads} invocations, four columns at a time."),
    );
    pieces::bindings(
        w,
        &[
            ("table", "array<vec2<u32>>", Use::Read),
            ("ids", "array<u32>", Use::Read),
            ("y", "array<vec4<u32>>", Use::Write),
        ],
        &["n", "d", "vocab", "first"],
    );
    pieces::widen_f16(w);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line("let fours = params.d / 4u;");
        w.line("let id = ids[group.x];");
        w.block("if (id < params.first)", |w| w.line("return;"));
        w.line("let row = id - params.first;");
        w.line("let source = min(row, params.vocab - 1u) * fours;");
        w.line("let to = group.x * fours;");
        w.block(format!("for (var i = lane; i < fours; i += {threads}u)"), |w| {
            w.line("let v = widen(table[source + i]);");
            w.note("y holds bits: WGSL has no NaN to write");
            w.line(
                "y[to + i] = select(vec4(0x7fc00000u), bitcast<vec4<u32>>(v), row < params.vocab);",
            );
        });
    });
}
