//! Activations to I8: a workgroup per row. x is read twice, the second time from cache.
//!
//! Division of floats may be off by 2.5 ulp in WGSL, NaN may be taken not to exist, and subnormals may be
//! zero: so magnitudes, both quotients and the widening of f16 are integers', and exact.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::{DType, KernelSpec, Quantize};

pub(super) fn emit(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    pieces::header(
        w,
        spec,
        "scale = a / 127, q = x · (127 / a), a = max(|x|, 2⁻¹⁰⁰) for each row of d; q i8, scale f32.\n\
         A row that holds a NaN or an infinity has the scale NaN, and zeros.\n\
         x f32, f16 or bf16, where x_type is 0, 1 or 2.",
        &format!("Grid (n): one row. {threads} invocations, four columns at a time."),
    );
    pieces::bindings(
        w,
        &[
            ("x", "array<vec2<u32>>", Use::Read),
            ("q", "array<u32>", Use::Write),
            ("scale", "array<u32>", Use::Write),
        ],
        &["n", "d", "x_type"],
    );
    pieces::declare_reduce(w, threads, "u32");
    w.blank();
    load(w);
    divide(w);
    pack(w);
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| body(w, threads));
}

fn body(w: &mut Writer, threads: u32) {
    let limit = Quantize::largest(DType::I8).to_bits();
    let each = format!("for (var i = lane; i < fours; i += {threads}u)");
    w.line("let fours = params.d / 4u;");
    w.line("let row = group.x * fours;");
    w.line("var largest = vec4<u32>();");
    w.block(&each, |w| w.line("largest = max(largest, load(row + i) & vec4(0x7fffffffu));"));
    let across = "max(max(largest.x, largest.y), max(largest.z, largest.w))";
    pieces::reduce(w, threads, across, |a, b| format!("max({a}, {b})"));
    w.note("a NaN is above infinity, and that above all numbers");
    w.line("let bad = reduced >= 0x7f800000u;");
    w.line(format!(
        "let a = select(max(reduced, {:#010x}u), {limit:#x}u, bad);",
        Quantize::LEAST.to_bits()
    ));
    w.block("if (lane == 0u)", |w| {
        w.note("scale holds bits: WGSL has no NaN to write");
        w.line(format!(
            "scale[group.x] = select(divide(a, {limit:#x}u), {:#x}u, bad);",
            0x7fc0_0000
        ));
    });
    w.line(format!("let inverse = bitcast<f32>(divide({limit:#x}u, a));"));
    w.block(&each, |w| {
        w.line("let v = bitcast<vec4<f32>>(load(row + i)) * inverse;");
        w.line("q[row + i] = select(pack(v), 0u, bad);");
    });
}

/// `load`: the bits of four elements as f32.
fn load(w: &mut Writer) {
    w.note("The bits of four elements of x as f32. Exponents of f16 and f32 differ by 112; f16's");
    w.note("subnormals are multiples of 2⁻²⁴.");
    w.block("fn load(i: u32) -> vec4<u32>", |w| {
        w.block("if (params.x_type == 0u)", |w| {
            w.line("return vec4(x[2u * i], x[2u * i + 1u]);");
        });
        w.line("let words = x[i];");
        w.line(
            "let high = vec4(words.x << 16u, words.x, words.y << 16u, words.y) & vec4(0xffff0000u);",
        );
        w.block("if (params.x_type == 2u)", |w| w.line("return high;"));
        w.line("let raw = (high & vec4(0x7fff0000u)) >> vec4(3u);");
        w.line("let least = bitcast<vec4<u32>>(vec4<f32>(raw >> vec4(13u)) * 0x1p-24f);");
        w.line("let normal = select(raw + 0x38000000u, least, raw < vec4(0x00800000u));");
        w.line("let magnitude = select(normal, raw + 0x70000000u, raw >= vec4(0x0f800000u));");
        w.line("return magnitude | (high & vec4(0x80000000u));");
    });
    w.blank();
}

/// `divide`: of two positive numbers, by long division, eight bits at a time.
fn divide(w: &mut Writer) {
    w.note(
        "The bits of a / b to the nearest f32; a, b and the quotient are positive and normal. The",
    );
    w.note(
        "dividend's significand is doubled if it is the less, so the quotient begins with a 1; of",
    );
    w.note("24 bits behind it the last one rounds. There is no tie: that bit would be 1 and all of the");
    w.note("quotient, so b's significand times it, of more than 24 bits, would be a's.");
    w.block("fn divide(a: u32, b: u32) -> u32", |w| {
        w.line("let divisor = (b & 0x7fffffu) | 0x800000u;");
        w.line("let dividend = (a & 0x7fffffu) | 0x800000u;");
        w.line("let less = select(0u, 1u, dividend < divisor);");
        w.line("var rest = (dividend << less) - divisor;");
        w.line("var quotient = 1u;");
        w.block("for (var i = 0u; i < 3u; i++)", |w| {
            w.line("rest <<= 8u;");
            w.line("quotient = (quotient << 8u) | (rest / divisor);");
            w.line("rest %= divisor;");
        });
        w.note("the leading 1 adds one to the exponent");
        w.line("let exponent = (a >> 23u) + 126u - (b >> 23u) - less;");
        w.line("return (exponent << 23u) + ((quotient + 1u) >> 1u);");
    });
    w.blank();
}

/// `pack`: four f32 to I8 in a word.
fn pack(w: &mut Writer) {
    w.note("The nearest integers, ties to even; they are at most 127 in magnitude.");
    w.block("fn pack(v: vec4<f32>) -> u32", |w| {
        w.line("let bytes = vec4<u32>(vec4<i32>(round(v))) & vec4(0xffu);");
        w.line("return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);");
    });
    w.blank();
}
