//! The place of a row's largest element: a block per row.
//!
//! Floats are compared as integers, so that −0 and 0 are equal, and one NaN decides the row.

use super::pieces::shared_base;
use super::rows::*;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{
    B32, B64, Cache, Cmp, Int, Kernel, Module, ParamKind, Pred, Reg, Shuffle, Special, Vector,
};

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let threads = threads(spec);
    let warps = threads / 32;
    let mut k = kernel(spec);
    let k = &mut k;
    let partials = k.static_shared("partials", 16, 8 * warps);

    k.section("operands");
    let [x, y] = ["x", "y"].map(|name| pointer(k, name));
    // n is the grid's: no thread asks for it
    k.param("n", ParamKind::U32);
    let d = word(k, "d");
    let row = special(k, "row", Special::CtaidX);
    let thread = special(k, "thread", Special::TidX);

    k.section("the largest of this thread's columns; no number ranks as low as 0");
    let best = Best::new(k);
    let (bytes, column, more) = (k.reg("row_bytes"), k.reg("column"), k.reg("more"));
    k.shl_b32(bytes, d, 2);
    let px = address(k, "px", x, row, bytes);
    k.mad_wide(Int::U32, px, thread, 4, px);
    k.mov_b32(best.rank, 0).mov_b32(best.place, 0).mov_b32(column, thread);
    k.setp(Cmp::Ge, Int::U32, more, column, d).when(more).bra("columns_done");
    k.place("columns");
    k.ld_global_b32(Cache::Nc, best.other_rank, px);
    rank(k, best.other_rank);
    k.note("columns rise: of equals the first stays");
    k.setp(Cmp::Gt, Int::U32, best.wins, best.other_rank, best.rank);
    k.selp_b32(best.place, column, best.place, best.wins);
    k.max(Int::U32, best.rank, best.rank, best.other_rank);
    k.add_u64(px, px, (4 * threads) as i32).add_u32(column, column, threads);
    k.setp(Cmp::Lt, Int::U32, more, column, d).when(more).bra("columns");
    k.place("columns_done");

    k.section("the row's: lanes, then warps; of equals the lowest column");
    for lanes in [16, 8, 4, 2, 1] {
        k.shfl_b32(Shuffle::Bfly, best.other_rank, best.rank, lanes, CLAMP, WARP);
        k.shfl_b32(Shuffle::Bfly, best.other_place, best.place, lanes, CLAMP, WARP);
        best.take(k);
    }
    let smem = shared_base(k, partials);
    let (at, lane, is_first) = (k.reg("partial_at"), k.reg("lane"), k.reg("is_first"));
    k.and_b32(lane, thread, 31).setp(Cmp::Eq, Int::U32, is_first, lane, 0);
    k.shr(Int::U32, at, thread, 5).shl_b32(at, at, 3).add_u32(at, at, smem);
    let mine = Vector([best.rank, best.place]);
    k.when(is_first).st_shared_v2_b32(at, mine).bar_sync(0);
    let other = Vector([best.other_rank, best.other_place]);
    for warp in 0..warps {
        k.ld_shared_v2_b32(other, shared(smem, 8 * warp));
        best.take(k);
    }

    k.section("above infinity: a NaN");
    k.setp(Cmp::Gt, Int::U32, best.wins, best.rank, 0xff80_0000u32);
    k.selp_b32(best.place, d, best.place, best.wins);
    let py: Reg<B64> = address(k, "py", y, row, 4);
    k.setp(Cmp::Eq, Int::U32, is_first, thread, 0).when(is_first).st_global_b32(py, best.place);
    k.ret();

    module(
        spec,
        &format!(
            "y[i] = the column of the largest of x[i], of equals the lowest; d where x[i] holds a NaN\n\
             x: f32 [n, d], y: u32 [n]\n\
             grid n, block {threads}"
        ),
        k.clone(),
    )
}

/// What a thread has found, and what another has.
struct Best {
    rank: Reg<B32>,
    place: Reg<B32>,
    other_rank: Reg<B32>,
    other_place: Reg<B32>,
    wins: Reg<Pred>,
    earlier: Reg<Pred>,
}

impl Best {
    fn new(k: &mut Kernel) -> Self {
        let [rank, place, other_rank, other_place] =
            ["rank", "place", "other_rank", "other_place"].map(|role| k.reg(role));
        let [wins, earlier] = ["wins", "earlier"].map(|role| k.reg(role));
        Self { rank, place, other_rank, other_place, wins, earlier }
    }

    /// The other's, where that ranks higher, or the same at a lower column.
    fn take(&self, k: &mut Kernel) {
        let Self { rank, place, other_rank, other_place, wins, earlier } = *self;
        k.setp(Cmp::Eq, Int::U32, wins, other_rank, rank);
        k.setp(Cmp::Lt, Int::U32, earlier, other_place, place).and_pred(earlier, earlier, wins);
        k.setp(Cmp::Gt, Int::U32, wins, other_rank, rank).or_pred(wins, wins, earlier);
        k.selp_b32(rank, other_rank, rank, wins).selp_b32(place, other_place, place, wins);
    }
}

/// The bits of an f32 become an integer that is ordered as the numbers are: those of a negative one are
/// turned over, the others come behind. −0 is 0, and a NaN is above all.
fn rank(k: &mut Kernel, bits: Reg<B32>) {
    let (magnitude, flip) = (k.reg("magnitude"), k.reg("flip"));
    let (zero, nan) = (k.reg("zero"), k.reg("nan"));
    k.and_b32(magnitude, bits, 0x7fff_ffffu32);
    k.setp(Cmp::Eq, Int::U32, zero, magnitude, 0);
    k.setp(Cmp::Gt, Int::U32, nan, magnitude, 0x7f80_0000u32);
    k.shr(Int::S32, flip, bits, 31).or_b32(flip, flip, 0x8000_0000u32).xor_b32(bits, bits, flip);
    k.selp_b32(bits, 0x8000_0000u32, bits, zero).selp_b32(bits, u32::MAX, bits, nan);
}
