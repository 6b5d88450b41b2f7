//! The product with a sparse residual, of f16: `lanes` invocations share a row of R and take its
//! entries by turns, so that they read neighbouring words; then neighbours add up neighbouring rows,
//! and store side by side.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;
use quickpick_kernels::plan::CSR_LANES as LANES;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    let rows = threads / LANES;
    pieces::header(
        w,
        spec,
        "y[n×m] = residual[n×m] + X[n×k]·Rᵀ, R in compressed sparse rows;\n\
         X and R's values f16; y, residual and sums f32.",
        &format!(
            "Grid (⌈m/{rows}⌉, n): {rows} rows of R for one token.\n\
             {threads} invocations: {LANES} share a row, an entry each at a time."
        ),
    );
    pieces::bindings(
        w,
        &[
            ("rows", "array<u32>", Use::Read),
            ("entries", "array<u32>", Use::Read),
            ("x", "array<u32>", Use::Read),
            ("residual", "array<f32>", Use::Read),
            ("y", "array<f32>", Use::Write),
        ],
        &["m", "n", "k", "nnz", "has_residual"],
    );
    w.line(format!("var<workgroup> partial: array<f32, {threads}>;"));
    w.blank();
    w.block("fn x_at(i: u32) -> f32", |w| {
        w.line("let pair = unpack2x16float(x[i >> 1u]);");
        w.line("return select(pair.x, pair.y, (i & 1u) == 1u);");
    });
    w.blank();
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line(format!("let part = lane % {LANES}u;"));
        w.line(format!("let mine = lane / {LANES}u;"));
        w.line(format!("let row = {rows}u * group.x + mine;"));
        w.line("let token = group.y;");
        w.line("var sum = 0.0;");
        w.block("if (row < params.m)", |w| {
            w.line("let end = min(rows[row + 1u], params.nnz);");
            w.block(format!("for (var i = rows[row] + part; i < end; i += {LANES}u)"), |w| {
                w.note("the column in the low half, the value in the high half");
                w.line("let entry = entries[i];");
                w.line("let at = token * params.k + (entry & 0xffffu);");
                w.line("sum = fma(unpack2x16float(entry).y, x_at(at), sum);");
            });
        });
        w.line(format!("partial[{rows}u * part + mine] = sum;"));
        w.line("workgroupBarrier();");
        w.line(format!("let feature = {rows}u * group.x + lane;"));
        w.block(format!("if (lane < {rows}u && feature < params.m)"), |w| {
            w.line("sum = partial[lane];");
            w.block(format!("for (var i = 1u; i < {LANES}u; i++)"), |w| {
                w.line(format!("sum += partial[{rows}u * i + lane];"));
            });
            w.line("let at = token * params.m + feature;");
            w.block("if (params.has_residual != 0u)", |w| w.line("sum += residual[at];"));
            w.line("y[at] = sum;");
        });
    });
}
