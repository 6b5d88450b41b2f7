//! Dense matrices to 2:4 ones in any order, and back: the same in both directions but for the innermost functions.
//!
//! All of it is in the bits of elements, two in a word. An invocation has the metadata word of its number, in memory: two
//! times four groups, its halves, and in strips two words. See the PTX of the same name for where they lie.

use super::pieces::{self, Use};
use super::writer::Writer;
use quickpick_kernels::plan::order_number;
use quickpick_kernels::{DType, KernelSpec, Order};

/// Dense to 2:4.
pub(super) fn pack(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    header(
        w,
        spec,
        threads,
        "dense → 2:4: of each four columns the two largest magnitudes stay, of equals the lower column;\n\
         −0 is stored as 0.",
        "that holds a NaN or an infinity",
    );
    let bindings = [
        ("dense", "array<vec2<u32>>", Use::Read),
        ("values", "array<vec2<u32>>", Use::Write),
        ("metadata", "array<u32>", Use::Write),
        ("status", "atomic<u32>", Use::Write),
    ];
    declare(w, &bindings);
    w.note("Two values that stay, the lower column first, and the code that says which.");
    w.block("struct Kept", |w| {
        w.line("values: u32,");
        w.line("code: u32,");
    });
    w.blank();
    w.note("The group of four at a column, zeros outside of the matrix.");
    w.block("fn group_at(row: u32, column: u32) -> vec2<u32>", |w| {
        w.block("if (row < params.m && column < params.k)", |w| {
            w.line("return dense[row * (params.k / 4u) + column / 4u];");
        });
        w.line("return vec2(0u);");
    });
    w.blank();
    w.note("An element's key is its magnitude, then 3 less its position: no two are equal, and the larger stays.");
    w.block("fn keep(row: u32, column: u32) -> Kept", |w| {
        w.line("let group = group_at(row, column);");
        w.line("let even = (group & vec2(0x7fffu)) << vec2(2u);");
        w.line("let odd = ((group >> vec2(16u)) & vec2(0x7fffu)) << vec2(2u);");
        w.line("let a = vec2(even.x | 3u, odd.x | 2u);");
        w.line("let b = vec2(even.y | 1u, odd.y);");
        w.line("let high = vec2(max(a.x, a.y), max(b.x, b.y));");
        w.line("let low = vec2(min(a.x, a.y), min(b.x, b.y));");
        w.line("let best = max(high.x, high.y);");
        w.line("let next = max(min(high.x, high.y), max(low.x, low.y));");
        let infinity = if spec.dtype == DType::BF16 { 0x7f80 } else { 0x7c00 };
        w.block(format!("if (best >= {:#x}u)", 4 * infinity), |w| w.line("report(row, column);"));
        w.line("let first = 3u - max(best & 3u, next & 3u);");
        w.line("let second = 3u - min(best & 3u, next & 3u);");
        w.line("let kept = element(group, first) | (element(group, second) << 16u);");
        w.note("no sign where there is no magnitude: adding 0x7fff to one sets the sign's bit unless it is 0");
        w.line("let magnitudes = kept & 0x7fff7fffu;");
        w.line("let signs = kept & (magnitudes + 0x7fff7fffu) & 0x80008000u;");
        w.line("return Kept(magnitudes | signs, first | (second << 2u));");
    });
    w.blank();
    w.block("fn element(group: vec2<u32>, position: u32) -> u32", |w| {
        w.line("let word = select(group.x, group.y, position >= 2u);");
        w.line("return (word >> (16u * (position & 1u))) & 0xffffu;");
    });
    w.blank();
    w.block("struct Half", |w| {
        w.line("values: vec4<u32>,");
        w.line("codes: u32,");
    });
    w.blank();
    w.note("16 columns of a row.");
    w.block("fn half(at: vec2<u32>) -> Half", |w| {
        w.line("let a = keep(at.x, at.y);");
        w.line("let b = keep(at.x, at.y + 4u);");
        w.line("let c = keep(at.x, at.y + 8u);");
        w.line("let d = keep(at.x, at.y + 12u);");
        w.line("let codes = a.code | (b.code << 4u) | (c.code << 8u) | (d.code << 12u);");
        w.line("return Half(vec4(a.values, b.values, c.values, d.values), codes);");
    });
    w.blank();
    w.note("Values of a half in a row, if the order stores that row and these columns.");
    w.block("fn store(at: vec2<u32>, kept: vec4<u32>)", |w| {
        w.block("if (at.x < params.value_rows && at.y < params.value_k)", |w| {
            w.line("let to = row_values(at);");
            w.line("values[to] = kept.xy;");
            w.line("values[to + 1u] = kept.zw;");
        });
    });
    w.blank();
    w.note("Four columns of 16 rows: two words of codes, of the even rows and of the odd ones.");
    w.block("fn strip(item: u32, outer: u32, inner: u32)", |w| {
        w.line("var codes = vec2(0u);");
        w.block("for (var i = 0u; i < 8u; i++)", |w| {
            w.line("let even = keep(16u * outer + 2u * i, 4u * inner);");
            w.line("let odd = keep(16u * outer + 2u * i + 1u, 4u * inner);");
            w.line("let code = vec2(even.code, odd.code);");
            w.line("let places = (code & vec2(3u)) | ((code >> vec2(2u)) << vec2(16u));");
            w.line("codes |= places << vec2(2u * i);");
            match spec.dtype {
                DType::BF16 => {
                    w.note("each row's two values together");
                    w.line("values[8u * item + i] = vec2(even.values, odd.values);");
                }
                _ => {
                    w.note("the first values of all rows, then the second ones");
                    w.line("let first = (even.values & 0xffffu) | (odd.values << 16u);");
                    w.line("let second = (even.values >> 16u) | (odd.values & 0xffff0000u);");
                    w.line("values[8u * item + i / 2u][i & 1u] = first;");
                    w.line("values[8u * item + 4u + i / 2u][i & 1u] = second;");
                }
            }
        });
        w.line("metadata[2u * item] = codes.x;");
        w.line("metadata[2u * item + 1u] = codes.y;");
    });
    w.blank();
    body(w, spec, threads, |w| {
        w.line("let a = half(places.a);");
        w.line("let b = half(places.b);");
        w.line("metadata[item] = a.codes | (b.codes << 16u);");
        w.block(is_fragment(), |w| {
            w.line("let to = fragment_values(item);");
            for (i, lane) in ["x", "y", "z", "w"].into_iter().enumerate() {
                let to = pieces::plus("to", 2 * i as u32);
                w.line(format!("values[{to}] = vec2(a.values.{lane}, b.values.{lane});"));
            }
        });
        w.block("else", |w| {
            w.line("store(places.a, a.values);");
            w.line("store(places.b, b.values);");
        });
    });
}

/// 2:4 to dense.
pub(super) fn unpack(w: &mut Writer, spec: &KernelSpec, threads: u32) {
    header(
        w,
        spec,
        threads,
        "2:4 → dense: what is kept, and zeros; four zeros where a code names no pair.",
        "with such a code",
    );
    let bindings = [
        ("values", "array<vec2<u32>>", Use::Read),
        ("metadata", "array<u32>", Use::Read),
        ("dense", "array<vec2<u32>>", Use::Write),
        ("status", "atomic<u32>", Use::Write),
    ];
    declare(w, &bindings);
    w.block("fn placed(element: u32, position: u32) -> vec2<u32>", |w| {
        w.line("let word = element << (16u * (position & 1u));");
        w.line("return select(vec2(word, 0u), vec2(0u, word), position >= 2u);");
    });
    w.blank();
    w.note(
        "Four columns of a row from their two values. What is outside of the matrix is padding.",
    );
    w.block("fn expand(row: u32, column: u32, kept: u32, code: u32)", |w| {
        w.line("let first = code & 3u;");
        w.line("let second = (code >> 2u) & 3u;");
        w.block("if (row < params.m && column < params.k)", |w| {
            w.line("var group = placed(kept & 0xffffu, first) | placed(kept >> 16u, second);");
            w.block("if (first >= second)", |w| {
                w.line("group = vec2(0u);");
                w.line("report(row, column);");
            });
            w.line("dense[row * (params.k / 4u) + column / 4u] = group;");
        });
    });
    w.blank();
    w.note("16 columns of a row.");
    w.block("fn half(at: vec2<u32>, kept: vec4<u32>, codes: u32)", |w| {
        w.line("expand(at.x, at.y, kept.x, codes);");
        w.line("expand(at.x, at.y + 4u, kept.y, codes >> 4u);");
        w.line("expand(at.x, at.y + 8u, kept.z, codes >> 8u);");
        w.line("expand(at.x, at.y + 12u, kept.w, codes >> 12u);");
    });
    w.blank();
    w.note("Values of a half in a row, if there are any.");
    w.block("fn load(at: vec2<u32>) -> vec4<u32>", |w| {
        w.block("if (at.x < params.m && at.y < params.k)", |w| {
            w.line("let start = row_values(at);");
            w.line("return vec4(values[start], values[start + 1u]);");
        });
        w.line("return vec4(0u);");
    });
    w.blank();
    w.note("Four columns of 16 rows: two words of codes, of the even rows and of the odd ones.");
    w.block("fn strip(item: u32, outer: u32, inner: u32)", |w| {
        w.line("let codes = vec2(metadata[2u * item], metadata[2u * item + 1u]);");
        w.block("for (var i = 0u; i < 8u; i++)", |w| {
            w.line("let places = codes >> vec2(2u * i);");
            w.line("let code = (places & vec2(3u)) | (((places >> vec2(16u)) & vec2(3u)) << vec2(2u));");
            match spec.dtype {
                DType::BF16 => {
                    w.note("each row's two values together");
                    w.line("let kept = values[8u * item + i];");
                }
                _ => {
                    w.note("the first values of all rows, then the second ones");
                    w.line("let first = values[8u * item + i / 2u][i & 1u];");
                    w.line("let second = values[8u * item + 4u + i / 2u][i & 1u];");
                    w.line("let even = (first & 0xffffu) | (second << 16u);");
                    w.line("let kept = vec2(even, (first >> 16u) | (second & 0xffff0000u));");
                }
            }
            w.line("expand(16u * outer + 2u * i, 4u * inner, kept.x, code.x);");
            w.line("expand(16u * outer + 2u * i + 1u, 4u * inner, kept.y, code.y);");
        });
    });
    w.blank();
    body(w, spec, threads, |w| {
        w.line("let codes = metadata[item];");
        w.line("var a: vec4<u32>;");
        w.line("var b: vec4<u32>;");
        w.block(is_fragment(), |w| {
            w.line("let start = fragment_values(item);");
            for (i, lane) in ["x", "y", "z", "w"].into_iter().enumerate() {
                let from = pieces::plus("start", 2 * i as u32);
                w.line(format!("let {lane} = values[{from}];"));
            }
            w.line("a = vec4(x.x, y.x, z.x, w.x);");
            w.line("b = vec4(x.y, y.y, z.y, w.y);");
        });
        w.block("else", |w| {
            w.line("a = load(places.a);");
            w.line("b = load(places.b);");
        });
        w.line("half(places.a, a, codes);");
        w.line("half(places.b, b, codes >> 16u);");
    });
}

fn is_fragment() -> String {
    format!("if (params.order == {}u)", order_number(Order::FragmentSm80))
}

fn header(w: &mut Writer, spec: &KernelSpec, threads: u32, formula: &str, reported: &str) {
    let ty = spec.dtype;
    pieces::header(
        w,
        spec,
        &format!(
            "{formula}\n\
             dense {ty} [m, k] row-major; values, metadata by `order`, a number: 0 row-major, 1 mma.sp,\n\
             2 fragment, 3 wgmma, 4 strips (`Order` of quickpick-format), padded as it says.\n\
             status is lowered to the least number, first + row·(k/4) + column/4, of a group of four\n\
             {reported}."
        ),
        &format!(
            "Grid (⌈items/{threads}⌉). {threads} invocations: a metadata word each, in strips two. line: items of a\n\
             row, of a block of rows, or (mma.sp) of a chunk of 32 columns; value_rows, value_k: what has values."
        ),
    );
}

fn declare(w: &mut Writer, bindings: &[(&str, &str, Use)]) {
    let params = ["m", "k", "order", "items", "line", "value_rows", "value_k", "first"];
    pieces::bindings(w, bindings, &params);
    w.block("fn report(row: u32, column: u32)", |w| {
        w.line("atomicMin(&status, params.first + row * (params.k / 4u) + column / 4u);");
    });
    w.blank();
    w.note("Where the values of a half lie in a row: two bytes for each two columns.");
    w.block("fn row_values(at: vec2<u32>) -> u32", |w| {
        w.line("return at.x * (params.value_k / 8u) + at.y / 8u;");
    });
    w.blank();
    w.note(
        "Where those of both halves lie in fragments, by pairs of words, 16 bytes apart: of k-step",
    );
    w.note("item/32·2 + s the registers 2u and 2u + 1 of lanes 4·(r%8) to 4·(r%8) + 3.");
    w.block("fn fragment_values(item: u32) -> u32", |w| {
        w.line("let step = item / 32u * 2u + ((item >> 1u) & 1u);");
        w.line("return 64u * step + 8u * ((item >> 2u) & 7u) + (item & 1u);");
    });
    w.blank();
}

/// The halves' rows and columns, and the entry point around what is done with them.
fn body(w: &mut Writer, spec: &KernelSpec, threads: u32, halves: impl FnOnce(&mut Writer)) {
    w.note("Row and first column of both halves.");
    w.block("struct Places", |w| {
        w.line("a: vec2<u32>,");
        w.line("b: vec2<u32>,");
    });
    w.blank();
    w.block("fn places_of(outer: u32, inner: u32) -> Places", |w| {
        w.line("var at: vec2<u32>;");
        w.block("switch params.order", |w| {
            let case = |order| format!("case {}u:", order_number(order));
            w.block(case(Order::MmaSpSm80), |w| {
                w.note("a chunk of 32 columns, 32 rows, word 4·(r%8) + 2·(r/16%2) + u");
                w.line(
                    "let row = (inner & ~31u) + ((inner >> 2u) & 7u) + 16u * ((inner >> 1u) & 1u);",
                );
                w.line("at = vec2(row, 32u * outer + 16u * (inner & 1u));");
            });
            w.block(case(Order::FragmentSm80), |w| {
                w.note("16 rows, 64 columns, word 4·(r%8) + 2s + u");
                w.line("let row = 16u * outer + ((inner >> 2u) & 7u);");
                w.line("at = vec2(row, 64u * (inner >> 5u) + 16u * (inner & 3u));");
            });
            w.block(case(Order::WgmmaSm90), |w| {
                w.note("16 rows, 128 columns, word 2·(4·(r%8) + 2s + u) + j");
                w.line("let column = 64u * (inner & 1u) + 16u * ((inner >> 1u) & 3u);");
                w.line(
                    "at = vec2(16u * outer + ((inner >> 3u) & 7u), 128u * (inner >> 6u) + column);",
                );
            });
            w.block("default:", |w| {
                w.note("row-major: two times 16 columns of one row");
                w.line("at = vec2(outer, 32u * inner);");
                w.line("return Places(at, at + vec2(0u, 16u));");
            });
        });
        w.line("return Places(at, at + vec2(8u, 0u));");
    });
    w.blank();
    pieces::entry(w, spec, threads, &pieces::GROUP_AND_LANE, |w| {
        w.line(format!("let item = {threads}u * group.x + lane;"));
        w.block("if (item >= params.items)", |w| w.line("return;"));
        w.line("let outer = item / params.line;");
        w.line("let inner = item % params.line;");
        w.block(format!("if (params.order == {}u)", order_number(Order::Strips)), |w| {
            w.line("strip(item, outer, inner);");
            w.line("return;");
        });
        w.line("let places = places_of(outer, inner);");
        halves(w);
    });
}
