//! What packing and unpacking share: operands, which elements a thread has, and where they lie.
//!
//! A thread has the metadata word of its number, in memory: two times four groups, its halves. In every order but
//! row-major they are the same 16 columns of rows r and r + 8, as the lanes of `mma.sp` want them; row-major, both are
//! of one row. So metadata words of neighbours are neighbours, a half is 32 bytes of a dense row and 16 of its values.
//! A strip's thread has the two words of its 16 rows and four columns.

use super::rows::*;
use quickpick_kernels::plan::order_number;
use quickpick_kernels::{DType, KernelSpec, Order};
use quickpick_ptx::{B32, B64, Cache, Cmp, Int, Kernel, Pred, Reg, Special, Vector};

/// What a kernel is called with.
pub(super) struct Operands {
    pub dense: Reg<B64>,
    pub values: Reg<B64>,
    pub metadata: Reg<B64>,
    pub status: Reg<B64>,
    pub m: Reg<B32>,
    pub k: Reg<B32>,
    order: Reg<B32>,
    items: Reg<B32>,
    line: Reg<B32>,
    pub value_rows: Reg<B32>,
    pub value_k: Reg<B32>,
}

impl Operands {
    /// Bindings in the order of the plan.
    pub fn declare(k: &mut Kernel, packing: bool) -> Self {
        let names = match packing {
            true => ["dense", "values", "metadata"],
            false => ["values", "metadata", "dense"],
        };
        let regs = names.map(|name| pointer(k, name));
        let [dense, values, metadata] = match packing {
            true => regs,
            false => [regs[2], regs[0], regs[1]],
        };
        let status = pointer(k, "status");
        let [m, columns, order, items, line, value_rows, value_k] =
            ["m", "k", "order", "items", "line", "value_rows", "value_k"].map(|name| word(k, name));
        let k = columns;
        Self { dense, values, metadata, status, m, k, order, items, line, value_rows, value_k }
    }
}

/// What the halves' registers begin with.
const FIRST: &str = "a";
const OTHER: &str = "b";

/// Four groups of a row.
#[derive(Clone, Copy)]
pub(super) struct Half {
    pub name: &'static str,
    pub row: Reg<B32>,
    /// The first of 16 columns.
    pub column: Reg<B32>,
    /// Whether the row is one of the matrix.
    pub in_rows: Reg<Pred>,
}

/// What a thread has.
pub(super) struct Item {
    pub number: Reg<B32>,
    pub outer: Reg<B32>,
    pub inner: Reg<B32>,
    pub halves: [Half; 2],
    pub is_fragment: Reg<Pred>,
    /// Rows of the dense matrix, bytes.
    pub pitch: Reg<B32>,
    /// Groups of a row.
    pub groups: Reg<B32>,
    /// Whether rows are multiples of 16 bytes.
    pub wide: Reg<Pred>,
}

impl Item {
    /// Finds the thread's halves; goes to `strips` in that order. Threads past the last one end.
    pub fn find(k: &mut Kernel, o: &Operands, threads: u32) -> Self {
        k.section("this thread's words of metadata: those of its number");
        let block = special(k, "block", Special::CtaidX);
        let thread = special(k, "thread", Special::TidX);
        let [number, outer, inner, pitch, groups] =
            ["item", "outer", "inner", "pitch", "groups"].map(|role| k.reg::<B32>(role));
        let past = k.reg("past");
        k.mad_lo_u32(number, block, threads, thread);
        k.setp(Cmp::Ge, Int::U32, past, number, o.items).when(past).ret();
        k.div_u32(outer, number, o.line);
        k.mul_lo_u32(inner, outer, o.line).sub_u32(inner, number, inner);
        k.note("bytes and groups of a dense row; whether it is a multiple of 16 bytes");
        k.shl_b32(pitch, o.k, 1).shr(Int::U32, groups, o.k, 2);
        let (rest, wide) = (k.reg("rest"), k.reg("wide"));
        k.and_b32(rest, o.k, 7).setp(Cmp::Eq, Int::U32, wide, rest, 0);

        let is = |k: &mut Kernel, role: &str, order: Order| {
            let is: Reg<Pred> = k.reg(role);
            k.setp(Cmp::Eq, Int::U32, is, o.order, order_number(order));
            is
        };
        let is_strips = is(k, "is_strips", Order::Strips);
        k.when(is_strips).bra("strips");
        let halves = [FIRST, OTHER].map(|half| Half {
            name: half,
            row: k.reg(&format!("{half}_row")),
            column: k.reg(&format!("{half}_column")),
            in_rows: k.reg(&format!("{half}_in_rows")),
        });
        let [first, second] = halves;
        let is_fragment = is(k, "is_fragment", Order::FragmentSm80);
        let is_wgmma = is(k, "is_wgmma", Order::WgmmaSm90);
        let is_mma = is(k, "is_mma", Order::MmaSpSm80);
        k.when(is_fragment).bra("fragment").when(is_wgmma).bra("wgmma");
        k.when(is_mma).bra("mma");
        let part: Reg<B32> = k.reg("part");

        k.section("row-major: two times 16 columns of one row");
        k.mov_b32(first.row, outer).mov_b32(second.row, outer);
        k.shl_b32(first.column, inner, 5).add_u32(second.column, first.column, 16);
        k.bra("halves");

        k.section("mma.sp: a chunk of 32 columns, 32 rows, word 4·(r%8) + 2·(r/16%2) + u");
        k.place("mma");
        k.bfe_u32(first.row, inner, 2, 3).and_b32(part, inner, !31u32);
        k.add_u32(first.row, first.row, part).bfe_u32(part, inner, 1, 1);
        k.mad_lo_u32(first.row, part, 16, first.row);
        k.and_b32(part, inner, 1).shl_b32(first.column, outer, 5);
        k.mad_lo_u32(first.column, part, 16, first.column).bra("rows");

        k.section("fragment: 16 rows, 64 columns, word 4·(r%8) + 2s + u");
        k.place("fragment");
        k.bfe_u32(first.row, inner, 2, 3).mad_lo_u32(first.row, outer, 16, first.row);
        k.shr(Int::U32, part, inner, 5).shl_b32(first.column, part, 6).and_b32(part, inner, 3);
        k.mad_lo_u32(first.column, part, 16, first.column).bra("rows");

        k.section("wgmma: 16 rows, 128 columns, word 2·(4·(r%8) + 2s + u) + j");
        k.place("wgmma");
        k.bfe_u32(first.row, inner, 3, 3).mad_lo_u32(first.row, outer, 16, first.row);
        k.shr(Int::U32, part, inner, 6).shl_b32(first.column, part, 7).and_b32(part, inner, 1);
        k.mad_lo_u32(first.column, part, 64, first.column).bfe_u32(part, inner, 1, 2);
        k.mad_lo_u32(first.column, part, 16, first.column);
        k.place("rows");
        k.add_u32(second.row, first.row, 8).mov_b32(second.column, first.column);
        k.place("halves");
        for half in halves {
            k.setp(Cmp::Lt, Int::U32, half.in_rows, half.row, o.m);
        }
        Self { number, outer, inner, halves, is_fragment, pitch, groups, wide }
    }

    /// The address of a half's values, which lie side by side: 16 bytes.
    pub fn values(&self, k: &mut Kernel, o: &Operands, half: Half) -> Reg<B64> {
        // value_k/2 values of two bytes a row, two values for each four columns
        let at = address(k, &format!("{}_values", half.name), o.values, half.row, o.value_k);
        k.mad_wide(Int::U32, at, half.column, 1, at);
        at
    }

    /// The address of the values of both halves in fragments, by pairs of words, 16 bytes apart: of k-step
    /// `item/32·2 + s` the registers 2u and 2u + 1 of lanes 4·(r%8) to 4·(r%8) + 3.
    pub fn fragments(&self, k: &mut Kernel, o: &Operands) -> Reg<B64> {
        let (step, part): (Reg<B32>, Reg<B32>) = (k.reg("step"), k.reg("fragment_part"));
        k.shr(Int::U32, step, self.number, 5).shl_b32(step, step, 1);
        k.bfe_u32(part, self.number, 1, 1).add_u32(step, step, part);
        let at = address(k, "p_fragments", o.values, step, 512);
        k.bfe_u32(part, self.number, 2, 3).mad_wide(Int::U32, at, part, 64, at);
        k.and_b32(part, self.number, 1).mad_wide(Int::U32, at, part, 8, at);
        at
    }

    /// `inside`: whether a piece of a half, from its `columns`-th column on, is of the matrix.
    pub fn inside(&self, k: &mut Kernel, o: &Operands, half: Half, columns: u32) -> Reg<Pred> {
        let (inside, column) = (k.scratch("inside"), k.scratch("piece"));
        k.add_u32(column, half.column, columns).setp(Cmp::Lt, Int::U32, inside, column, o.k);
        k.and_pred(inside, inside, half.in_rows);
        inside
    }

    /// Moves both halves' elements, where they are of the matrix, between memory and eight words each: 16 bytes at a
    /// time, or 8 where rows are no multiples of 16. Goes to `done` then.
    pub fn elements(
        &self,
        k: &mut Kernel,
        o: &Operands,
        words: &[Vec<Reg<B32>>; 2],
        store: bool,
        done: &str,
    ) {
        let at = self.halves.map(|half| {
            let at = address(k, &format!("{}_dense", half.name), o.dense, half.row, self.pitch);
            k.mad_wide(Int::U32, at, half.column, 2, at);
            at
        });
        k.unless(self.wide).bra("narrow");
        for columns in [8, 4] {
            for ((half, words), at) in self.halves.into_iter().zip(words).zip(at) {
                for (piece, words) in words.chunks_exact(columns / 2).enumerate() {
                    let inside = self.inside(k, o, half, (columns * piece) as u32);
                    let at = at.at((2 * columns * piece) as i32);
                    k.when(inside);
                    match (words, store) {
                        (&[a, b, c, d], true) => k.st_global_v4_b32(at, Vector([a, b, c, d])),
                        (&[a, b, c, d], false) => {
                            k.ld_global_v4_b32(Cache::NcOnce, Vector([a, b, c, d]), at)
                        }
                        (words, true) => k.st_global_v2_b32(at, Vector([words[0], words[1]])),
                        (words, false) => {
                            k.ld_global_v2_b32(Cache::NcOnce, Vector([words[0], words[1]]), at)
                        }
                    };
                }
            }
            if columns == 8 {
                k.bra(done).place("narrow");
            }
        }
        k.place(done);
    }
}

/// What both files say of the operands.
pub(super) fn about(spec: &KernelSpec, formula: &str, reported: &str) -> String {
    let (ty, threads) = (spec.dtype, threads(spec));
    format!(
        "{formula}\n\
         dense: {ty} [m, k] row-major, k a multiple of 4; values, metadata: by `order`, a number:\n\
         0 row-major, 1 mma.sp, 2 fragment, 3 wgmma, 4 strips (`Order` of quickpick-format), padded as it says\n\
         status: u32, lowered to the least number, row·(k/4) + column/4, of a group of four {reported}\n\
         grid ⌈items / {threads}⌉, block {threads}: a metadata word for each thread, in strips two; line: items of a\n\
         row, of a block of rows, or (mma.sp) of a chunk of 32 columns; value_rows, value_k: rows and columns with values"
    )
}

/// The bits of infinity.
pub(super) fn infinity(dtype: DType) -> u32 {
    if dtype == DType::BF16 { 0x7f80 } else { 0x7c00 }
}
