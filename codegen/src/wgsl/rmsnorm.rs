//! RMSNorm: a workgroup per row.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    pieces::header(
        w,
        spec,
        "y = x · gain / √(mean(x²) + eps) for each row of d; x, gain f32, y f16 or f32.",
        &format!("Grid (n): one row. {threads} invocations, four columns at a time."),
    );
    pieces::bindings(
        w,
        &[
            ("x", "array<vec4<f32>>", Use::Read),
            ("gain", "array<vec4<f32>>", Use::Read),
            ("y", "array<vec2<u32>>", Use::Write),
        ],
        &["n", "d", "eps", "f32_out"],
    );
    pieces::declare_reduce(w, threads, "f32");
    w.blank();
    pieces::pack_f16(w);
    pieces::store4(w);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line("let fours = params.d / 4u;");
        w.line("let row = group.x * fours;");
        w.line("var sum = 0.0;");
        w.block(format!("for (var i = lane; i < fours; i += {threads}u)"), |w| {
            w.line("let v = x[row + i];");
            w.line("sum += dot(v, v);");
        });
        pieces::reduce(w, threads, "sum", |a, b| format!("{a} + {b}"));
        w.line("let mean = reduced / f32(params.d);");
        w.line("let scale = inverseSqrt(mean + bitcast<f32>(params.eps));");
        w.block(format!("for (var i = lane; i < fours; i += {threads}u)"), |w| {
            w.line("store4(row + i, x[row + i] * scale * gain[i]);");
        });
    });
}
