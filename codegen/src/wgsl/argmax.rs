//! The place of a row's largest element: a workgroup per row.
//!
//! Floats are compared as integers, for WGSL lets an implementation assume that there is no NaN: that way
//! the answer is exact, and the same everywhere.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::KernelSpec;

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    pieces::header(
        w,
        spec,
        "y[i] = the column of the largest of x[i], of equals the lowest; x f32, n rows of d, y u32.\n\
         A row that holds a NaN gives d.",
        &format!("Grid (n): one row. {threads} invocations, a column at a time."),
    );
    pieces::bindings(
        w,
        &[("x", "array<u32>", Use::Read), ("y", "array<u32>", Use::Write)],
        &["n", "d"],
    );
    w.line(format!("var<workgroup> ranks: array<u32, {threads}>;"));
    w.line(format!("var<workgroup> places: array<u32, {threads}>;"));
    w.blank();
    w.note(
        "The bits of an f32 as an integer that is ordered as the numbers are: those of a negative",
    );
    w.note("one are turned over, the others come behind. −0 is 0, and a NaN is above all.");
    w.block("fn rank(bits: u32) -> u32", |w| {
        w.line("let magnitude = bits & 0x7fffffffu;");
        w.line("let ordered = select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);");
        w.line("let number = select(ordered, 0x80000000u, magnitude == 0u);");
        w.line("return select(number, 0xffffffffu, magnitude > 0x7f800000u);");
    });
    w.blank();
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| body(w, threads));
}

fn body(w: &mut Writer, threads: u32) {
    w.line("let row = group.x * params.d;");
    w.note("no number ranks as low as 0");
    w.line("var largest = 0u;");
    w.line("var place = 0u;");
    w.block(format!("for (var i = lane; i < params.d; i += {threads}u)"), |w| {
        w.line("let mine = rank(x[row + i]);");
        w.note("columns rise: of equals the first stays");
        w.line("place = select(place, i, mine > largest);");
        w.line("largest = max(largest, mine);");
    });
    w.line("ranks[lane] = largest;");
    w.line("places[lane] = place;");
    w.line("workgroupBarrier();");
    w.block(format!("for (var half = {}u; half > 0u; half >>= 1u)", threads / 2), |w| {
        w.block("if (lane < half)", |w| {
            w.line("let other = ranks[lane + half];");
            w.line("let there = places[lane + half];");
            w.block("if (other > largest || (other == largest && there < place))", |w| {
                w.line("largest = other;");
                w.line("place = there;");
                w.line("ranks[lane] = other;");
                w.line("places[lane] = there;");
            });
        });
        w.line("workgroupBarrier();");
    });
    w.block("if (lane == 0u)", |w| {
        w.note("above infinity: a NaN");
        w.line("y[group.x] = select(place, params.d, largest > 0xff800000u);");
    });
}
