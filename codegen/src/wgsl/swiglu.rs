//! SwiGLU: four elements per invocation.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    let elements = 4 * threads;
    pieces::header(
        w,
        spec,
        "y = silu(gate) · up; gate, up f32, y f16 or f32.",
        &format!("Grid (⌈elements/{elements}⌉). {threads} invocations of four elements."),
    );
    pieces::bindings(
        w,
        &[
            ("gate", "array<vec4<f32>>", Use::Read),
            ("up", "array<vec4<f32>>", Use::Read),
            ("y", "array<vec2<u32>>", Use::Write),
        ],
        &["elements", "f32_out"],
    );
    pieces::pack_f16(w);
    pieces::store4(w);
    pieces::sigmoid(w, "vec4<f32>");
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line(format!("let i = {threads}u * group.x + lane;"));
        w.block("if (4u * i < params.elements)", |w| {
            w.line("let g = gate[i];");
            w.line("store4(i, g * sigmoid(g) * up[i]);");
        });
    });
}
