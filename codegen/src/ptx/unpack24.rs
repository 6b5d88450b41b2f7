//! 2:4 in any order to dense.

use super::packing::{Half, Item, Operands, about};
use super::rows::*;
use quickpick_kernels::{DType, KernelSpec};
use quickpick_ptx::{B32, B64, Cache, Cmp, Int, Kernel, Module, Pred, Reg, Vector};

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let mut k = kernel(spec);
    let k = &mut k;

    k.section("operands");
    let o = Operands::declare(k, false);
    let item = Item::find(k, &o, threads(spec));
    let expand = Expand::new(k);
    halves(k, &o, &item, &expand);
    strips(k, &o, &item, &expand, spec.dtype);

    let formula = "2:4 → dense: what is kept, and zeros; four zeros where a code names no pair";
    module(spec, &about(spec, formula, "with such a code"), k.clone())
}

/// Every order but strips.
fn halves(k: &mut Kernel, o: &Operands, item: &Item, expand: &Expand) {
    k.section("a word of metadata, and its values");
    let codes: Reg<B32> = k.reg("codes");
    let at = address(k, "p_metadata", o.metadata, item.number, 4);
    k.ld_global_b32(Cache::NcOnce, codes, at);
    let kept = item.halves.map(|half| k.regs::<B32, 4>(&format!("{}_kept", half.name)));
    k.when(item.is_fragment).bra("load_fragments");
    for (half, kept) in item.halves.into_iter().zip(kept) {
        let at = item.values(k, o, half);
        for kept in kept.0 {
            k.mov_b32(kept, 0);
        }
        let inside = item.inside(k, o, half, 0);
        k.when(inside).ld_global_v4_b32(Cache::NcOnce, kept, at);
    }
    k.bra("loaded");
    k.place("load_fragments");
    let at = item.fragments(k, o);
    for t in 0..4 {
        let pair = Vector(kept.map(|kept| kept[t as usize]));
        k.ld_global_v2_b32(Cache::NcOnce, pair, at.at(16 * t));
    }
    k.place("loaded");

    let words = item.halves.map(|half| k.reg_list::<B32>(&format!("{}_word", half.name), 8));
    let (number, left): (Reg<B32>, Reg<B32>) = (k.reg("number"), k.reg("left"));
    let inside = k.scratch("inside");
    for (half, Half { row, column, in_rows, .. }) in item.halves.into_iter().enumerate() {
        k.section(["the first four groups", "the other four"][half]);
        k.mov_b32(expand.found, 4);
        for group in (0..4u32).rev() {
            let (at, bit) = (2 * group as usize, 16 * half as u32 + 4 * group);
            k.bfe_u32(expand.first, codes, bit, 2).bfe_u32(expand.second, codes, bit + 2, 2);
            let to = [words[half][at], words[half][at + 1]];
            expand.group(k, to, kept[half][group as usize], group);
        }
        k.note("the groups of the half that are of the matrix; padding is not looked at");
        k.shr(Int::U32, number, column, 2).sub_u32(left, item.groups, number);
        k.max(Int::S32, left, left, 0).mad_lo_u32(number, row, item.groups, number);
        k.add_u32(number, number, expand.found);
        k.setp(Cmp::Lt, Int::U32, expand.legal, expand.found, 4);
        k.setp(Cmp::Lt, Int::U32, inside, expand.found, left);
        k.and_pred(inside, inside, expand.legal).and_pred(inside, inside, in_rows);
        k.when(inside).red_min(o.status, number);
    }

    k.section("16 columns twice, 16 bytes at a time, or 8 where rows are no multiples of 16");
    item.elements(k, o, &words, true, "stored");
    k.ret();
}

/// A strip: 16 rows of one group, eight at a time.
fn strips(k: &mut Kernel, o: &Operands, item: &Item, expand: &Expand, dtype: DType) {
    k.section(
        "strips: four columns of 16 rows, eight rows at a time; those in padding are of no use",
    );
    k.place("strips");
    let [row, column, number, rows] =
        ["strip_row", "strip_column", "strip_number", "rows"].map(|role| k.reg::<B32>(role));
    let (inside, more) = (k.reg::<Pred>("strip_inside"), k.reg("more"));
    k.shl_b32(column, item.inner, 2)
        .setp(Cmp::Ge, Int::U32, inside, column, o.k)
        .when(inside)
        .ret();
    k.shl_b32(row, item.outer, 4).mad_lo_u32(number, row, item.groups, item.inner);
    let to = address(k, "p_strip", o.dense, row, item.pitch);
    k.mad_wide(Int::U32, to, item.inner, 8, to);
    let from = address(k, "p_strip_values", o.values, item.number, 64);
    let at = address(k, "p_strip_metadata", o.metadata, item.number, 8);
    let codes = k.regs::<B32, 2>("strip_codes");
    k.ld_global_v2_b32(Cache::NcOnce, codes, at).mov_b32(rows, 0);
    let loaded = k.reg_list::<B32>("strip_kept", 8);
    let kept: Reg<B32> = k.reg("strip_pair");
    let words = k.reg_list::<B32>("s", 16);
    k.place("eight_rows");
    let advance = match dtype {
        DType::BF16 => {
            k.note("each row's two values together");
            load(k, &loaded, from, [0, 16]);
            32
        }
        _ => {
            k.note("the first values of all rows, then the second ones");
            load(k, &loaded, from, [0, 32]);
            16
        }
    };
    k.mov_b32(expand.found, 8);
    for i in (0..8u32).rev() {
        let (word, bit, row) = (codes[i as usize % 2], i / 2 * 2, i as usize);
        k.bfe_u32(expand.first, word, bit, 2).bfe_u32(expand.second, word, bit + 16, 2);
        match dtype {
            DType::BF16 => k.mov_b32(kept, loaded[row]),
            _ => {
                let halves = if i % 2 == 0 { 0x5410 } else { 0x7632 };
                k.prmt(kept, loaded[row / 2], loaded[4 + row / 2], halves)
            }
        };
        expand.group(k, [words[2 * row], words[2 * row + 1]], kept, i);
    }
    k.note("the rows of these that are of the matrix");
    let (left, bad): (Reg<B32>, Reg<B32>) = (k.reg("strip_left"), k.reg("strip_bad"));
    k.sub_u32(left, o.m, row).max(Int::S32, left, left, 0).min(Int::U32, left, left, 8);
    k.mad_lo_u32(bad, expand.found, item.groups, number);
    k.setp(Cmp::Lt, Int::U32, inside, expand.found, left);
    k.when(inside).red_min(o.status, bad);
    for pair in words.chunks_exact(2) {
        k.setp(Cmp::Lt, Int::U32, inside, row, o.m);
        k.when(inside).st_global_v2_b32(to, Vector([pair[0], pair[1]]));
        k.mad_wide(Int::U32, to, item.pitch, 1, to).add_u32(row, row, 1);
    }
    k.mad_lo_u32(number, item.groups, 8, number);
    for codes in codes.0 {
        k.shr(Int::U32, codes, codes, 8);
    }
    k.add_u64(from, from, advance).add_u32(rows, rows, 8);
    k.setp(Cmp::Lt, Int::U32, more, rows, 16).when(more).bra("eight_rows");
    k.ret();
}

/// Eight words in two times 16 bytes.
fn load(k: &mut Kernel, words: &[Reg<B32>], from: Reg<B64>, at: [i32; 2]) {
    for (four, at) in words.chunks_exact(4).zip(at) {
        let four = Vector(std::array::from_fn(|i| four[i]));
        k.ld_global_v4_b32(Cache::NcOnce, four, from.at(at));
    }
}

/// The registers that put two values in their places.
struct Expand {
    first: Reg<B32>,
    second: Reg<B32>,
    legal: Reg<Pred>,
    /// The lowest group so far whose code is illegal, or their number.
    found: Reg<B32>,
    part: Reg<B32>,
    wide: Reg<B64>,
    words: Vector<B32, 2>,
}

impl Expand {
    fn new(k: &mut Kernel) -> Self {
        Self {
            first: k.reg("first"),
            second: k.reg("second"),
            legal: k.reg("legal"),
            found: k.reg("found"),
            part: k.reg("value"),
            wide: k.reg("four"),
            words: k.regs("four_words"),
        }
    }

    /// `to`: the four elements of a group whose values at `first` and `second` are `kept`; `number` in `found`
    /// if these do not rise.
    fn group(&self, k: &mut Kernel, to: [Reg<B32>; 2], kept: Reg<B32>, number: u32) {
        let Self { first, second, legal, found, part, wide, words } = *self;
        k.setp(Cmp::Lt, Int::U32, legal, first, second).selp_b32(found, found, number, legal);
        k.selp_b32(kept, kept, 0, legal);
        k.and_b32(part, kept, 0xffff).shl_b32(first, first, 4);
        k.cvt_u64_u32(wide, part).shl_b64(wide, wide, first).unpack_b32(words, wide);
        k.shr(Int::U32, part, kept, 16).shl_b32(second, second, 4);
        k.cvt_u64_u32(wide, part).shl_b64(wide, wide, second).unpack_b32(Vector(to), wide);
        k.or_b32(to[0], to[0], words[0]).or_b32(to[1], to[1], words[1]);
    }
}
