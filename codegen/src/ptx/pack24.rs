//! Dense to 2:4: the two largest of each four, packed in any order.

use super::packing::{Half, Item, Operands, about, infinity};
use super::rows::*;
use quickpick_kernels::{DType, KernelSpec};
use quickpick_ptx::{B32, Cache, Cmp, Int, Kernel, Module, Pred, Reg, Vector};

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let mut k = kernel(spec);
    let k = &mut k;

    k.section("operands");
    let o = Operands::declare(k, true);
    let item = Item::find(k, &o, threads(spec));
    let keep = Keep::new(k, spec.dtype);
    halves(k, &o, &item, &keep);
    strips(k, &o, &item, &keep, spec.dtype);

    let formula = "dense → 2:4: of each four columns the two largest magnitudes stay, of equals the lower column; −0 is stored as 0";
    module(spec, &about(spec, formula, "that holds a NaN or an infinity"), k.clone())
}

/// Every order but strips.
fn halves(k: &mut Kernel, o: &Operands, item: &Item, keep: &Keep) {
    k.section("16 columns twice, 16 bytes at a time, or 8 where rows are no multiples of 16; outside are zeros");
    let words = item.halves.map(|half| k.reg_list::<B32>(&format!("{}_word", half.name), 8));
    for &word in words.iter().flatten() {
        k.mov_b32(word, 0);
    }
    item.elements(k, o, &words, false, "loaded");

    let kept = item.halves.map(|half| k.regs::<B32, 4>(&format!("{}_kept", half.name)));
    let (codes, number) = (k.reg("codes"), k.reg("number"));
    k.mov_b32(codes, 0);
    for (half, Half { row, column, .. }) in item.halves.into_iter().enumerate() {
        k.section(["the first four groups", "the other four"][half]);
        k.mov_b32(keep.found, 4);
        for group in (0..4).rev() {
            let word = 2 * group as usize;
            keep.group(
                k,
                kept[half][group as usize],
                [words[half][word], words[half][word + 1]],
                group,
            );
            k.note("15 less the code, which is a + 4b");
            k.mad_lo_u32(keep.high, keep.high, 4, keep.low);
            k.mad_lo_u32(codes, keep.high, 1u32 << (16 * half as u32 + 4 * group), codes);
        }
        k.shr(Int::U32, number, column, 2).mad_lo_u32(number, row, item.groups, number);
        keep.report(k, o, number, 1, 4);
    }

    k.section("metadata, side by side");
    k.not_b32(codes, codes);
    let at = address(k, "p_metadata", o.metadata, item.number, 4);
    k.st_global_b32(at, codes);
    k.when(item.is_fragment).bra("store_fragments");

    k.section("values: rows");
    let (stored, in_values) = (k.reg::<Pred>("stored"), k.reg::<Pred>("in_values"));
    for (half, kept) in item.halves.into_iter().zip(kept) {
        let at = item.values(k, o, half);
        k.setp(Cmp::Lt, Int::U32, stored, half.row, o.value_rows);
        k.setp(Cmp::Lt, Int::U32, in_values, half.column, o.value_k);
        k.and_pred(stored, stored, in_values).when(stored).st_global_v4_b32(at, kept);
    }
    k.ret();

    k.section("values: registers 2u and 2u + 1 of four lanes");
    k.place("store_fragments");
    let at = item.fragments(k, o);
    for t in 0..4 {
        k.st_global_v2_b32(at.at(16 * t), Vector(kept.map(|kept| kept[t as usize])));
    }
    k.ret();
}

/// A strip: 16 rows of one group, eight at a time.
fn strips(k: &mut Kernel, o: &Operands, item: &Item, keep: &Keep, dtype: DType) {
    k.section("strips: four columns of 16 rows, eight rows at a time");
    k.place("strips");
    let [row, column, number, shift] =
        ["strip_row", "strip_column", "strip_number", "strip_shift"].map(|role| k.reg::<B32>(role));
    let (in_columns, inside, more) = (k.reg("in_columns"), k.reg("strip_inside"), k.reg("more"));
    k.shl_b32(row, item.outer, 4).shl_b32(column, item.inner, 2);
    k.setp(Cmp::Lt, Int::U32, in_columns, column, o.k);
    k.mad_lo_u32(number, row, item.groups, item.inner);
    let from = address(k, "p_strip", o.dense, row, item.pitch);
    k.mad_wide(Int::U32, from, item.inner, 8, from);
    let to = address(k, "p_strip_values", o.values, item.number, 64);
    let (even, odd): (Reg<B32>, Reg<B32>) = (k.reg("even"), k.reg("odd"));
    k.mov_b32(even, 0).mov_b32(odd, 0).mov_b32(shift, 0);
    let words = k.reg_list::<B32>("s", 16);
    let kept = k.reg_list::<B32>("strip_kept", 8);
    let (sums, other) = ([k.reg("even_half"), k.reg("odd_half")], k.reg::<B32>("strip_other"));
    k.place("eight_rows");
    for pair in words.chunks_exact(2) {
        k.mov_b32(pair[0], 0).mov_b32(pair[1], 0);
    }
    for pair in words.chunks_exact(2) {
        k.setp(Cmp::Lt, Int::U32, inside, row, o.m).and_pred(inside, inside, in_columns);
        k.when(inside).ld_global_v2_b32(Cache::NcOnce, Vector([pair[0], pair[1]]), from);
        k.mad_wide(Int::U32, from, item.pitch, 1, from).add_u32(row, row, 1);
    }
    k.mov_b32(keep.found, 8).mov_b32(sums[0], 0).mov_b32(sums[1], 0);
    for i in (0..8u32).rev() {
        let pair = [words[2 * i as usize], words[2 * i as usize + 1]];
        keep.group(k, kept[i as usize], pair, i);
        k.note("3 less the positions: of the first value in the low half, of the second in the high one");
        k.mad_lo_u32(keep.high, keep.high, 1 << 16, keep.low);
        let sum = sums[i as usize % 2];
        k.mad_lo_u32(sum, keep.high, 1u32 << (i / 2 * 2), sum);
    }
    for (all, sum) in [even, odd].into_iter().zip(sums) {
        k.shl_b32(sum, sum, shift).or_b32(all, all, sum);
    }
    keep.report(k, o, number, item.groups, 8);
    k.mad_lo_u32(number, item.groups, 8, number);
    let advance = match dtype {
        DType::BF16 => {
            k.note("each row's two values together");
            for (i, four) in kept.chunks_exact(4).enumerate() {
                let four = Vector(std::array::from_fn(|j| four[j]));
                k.st_global_v4_b32(to.at(16 * i as i32), four);
            }
            32
        }
        _ => {
            k.note("the first values of all rows, then the second ones");
            for i in 0..4 {
                k.prmt(other, kept[2 * i], kept[2 * i + 1], 0x5410);
                k.prmt(kept[2 * i + 1], kept[2 * i], kept[2 * i + 1], 0x7632);
                k.mov_b32(kept[2 * i], other);
            }
            for e in 0..2 {
                let four = Vector(std::array::from_fn(|i| kept[2 * i + e]));
                k.st_global_v4_b32(to.at(32 * e as i32), four);
            }
            16
        }
    };
    k.add_u64(to, to, advance).add_u32(shift, shift, 8);
    k.setp(Cmp::Lt, Int::U32, more, shift, 16).when(more).bra("eight_rows");
    k.not_b32(even, even).not_b32(odd, odd);
    let at = address(k, "p_strip_metadata", o.metadata, item.number, 8);
    k.st_global_v2_b32(at, Vector([even, odd])).ret();
}

/// The registers that choose two of four.
struct Keep {
    infinity: u32,
    keys: Vector<B32, 4>,
    pairs: Vector<B32, 4>,
    /// 3 less the first position.
    low: Reg<B32>,
    /// 3 less the second position.
    high: Reg<B32>,
    selector: Reg<B32>,
    bad: Reg<Pred>,
    /// The lowest bad group so far, or their number.
    found: Reg<B32>,
}

impl Keep {
    fn new(k: &mut Kernel, dtype: DType) -> Self {
        Self {
            infinity: infinity(dtype),
            keys: k.regs("key"),
            pairs: k.regs("best"),
            low: k.reg("low"),
            high: k.reg("high"),
            selector: k.reg("selector"),
            bad: k.reg("bad"),
            found: k.reg("found"),
        }
    }

    /// `kept`: the two values that stay, the lower column first. Leaves 3 less their positions in `low` and
    /// `high`, and `number` in `found` if the group is bad.
    ///
    /// An element's key is its magnitude, then 3 less its position: no two are equal, and the larger stays.
    fn group(&self, k: &mut Kernel, kept: Reg<B32>, words: [Reg<B32>; 2], number: u32) {
        let Self { keys, pairs, low, high, selector, bad, found, infinity } = *self;
        for (i, key) in keys.0.into_iter().enumerate() {
            match i % 2 {
                0 => k.and_b32(key, words[i / 2], 0x7fff),
                _ => k.bfe_u32(key, words[i / 2], 16, 15),
            };
            k.mad_lo_u32(key, key, 4, 3 - i as u32);
        }
        let [first, second, third, fourth] = pairs.0;
        k.max(Int::U32, first, keys[0], keys[1]).min(Int::U32, second, keys[0], keys[1]);
        k.max(Int::U32, third, keys[2], keys[3]).min(Int::U32, fourth, keys[2], keys[3]);
        k.max(Int::U32, second, second, fourth).min(Int::U32, fourth, first, third);
        k.max(Int::U32, second, second, fourth).max(Int::U32, first, first, third);
        k.setp(Cmp::Ge, Int::U32, bad, first, 4 * infinity).selp_b32(found, number, found, bad);
        k.and_b32(first, first, 3).and_b32(second, second, 3);
        k.max(Int::U32, low, first, second).min(Int::U32, high, first, second);
        k.note("bytes 2a, 2a + 1, 2b, 2b + 1");
        k.mad_lo_u32(selector, high, 0x100, low).mad_lo_u32(
            selector,
            selector,
            -0x22i32 as u32,
            0x7676,
        );
        k.prmt(kept, words[0], words[1], selector);
        k.note("no sign where there is no magnitude: adding 0x7fff to one sets the sign's bit unless it is 0");
        k.and_b32(first, kept, 0x7fff_7fffu32).add_u32(second, first, 0x7fff_7fffu32);
        k.lop3(second, second, kept, 0x8000_8000u32, 0x80).or_b32(kept, first, second);
    }

    /// Reports `number + found·apart` if a group of `all` is bad.
    fn report(
        &self,
        k: &mut Kernel,
        o: &Operands,
        number: Reg<B32>,
        apart: impl Into<quickpick_ptx::Src<B32>>,
        all: u32,
    ) {
        let at: Reg<B32> = k.scratch("bad_number");
        k.setp(Cmp::Lt, Int::U32, self.bad, self.found, all);
        k.mad_lo_u32(at, self.found, apart, number);
        k.when(self.bad).red_min(o.status, at);
    }
}
