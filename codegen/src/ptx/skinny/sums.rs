//! From the warps' accumulators to Y: warps are added in their order, then splits in theirs, so that
//! the same call gives the same bits. The block that arrives last adds the splits.

use super::{Call, Shape};
use crate::Conflict;
use crate::ptx::epilogue::{Activate, BIAS, OUT_F32, RESIDUAL, flag};
use crate::ptx::rows::{address, special};
use quickpick_ptx::{B16, B32, B64, Cache, Cmp, F32, Half, Int, Kernel, Pred, Reg, Special};

/// Floats from a token to the next in a warp's sums: 16 features, and 4 so that the lanes of a warp
/// store to different banks.
const STRIDE: u32 = 20;
/// A warp reads two tokens' rows of 16 features, 20 words apart: the last four words of the second are
/// in the banks of the first's first four. No stride suits both: the stores ask for 4 or 12 modulo 16,
/// the loads for 16 modulo 32.
pub(in crate::ptx) const CONFLICTS: &[Conflict] = &[Conflict {
    instruction: "[%sum_at",
    why: "once a block: rows of 20 words let the stores pass, and overlap by four banks when read",
}];
/// Splits whose sums are loaded at once.
const SPLITS: usize = 4;

/// This thread's element of the tile.
struct Element {
    token: Reg<B32>,
    feature: Reg<B32>,
    sum: Reg<F32>,
    /// It lies in Y.
    inside: Reg<Pred>,
}

pub(super) fn emit(k: &mut Kernel, shape: &Shape, call: &Call, acc: &[Reg<F32>]) {
    let element = warps(k, shape, call, acc);
    splits(k, shape, call, &element);
    store(k, shape, call, &element);
}

/// Adds the warps' tiles; a thread per element.
fn warps(k: &mut Kernel, shape: &Shape, call: &Call, acc: &[Reg<F32>]) -> Element {
    k.section("each warp lays its sums over its own bytes, token by token");
    let [g, at] = ["sum_row", "sum_at"].map(|role| k.reg(role));
    k.note("lane (g, t) holds features g and g + 8 of tokens 2t and 2t + 1");
    k.and_b32(at, call.lane, 3).mul_lo_u32(at, at, 2 * STRIDE);
    k.shr(Int::U32, g, call.lane, 2).add_u32(at, at, g).shl_b32(at, at, 2);
    k.add_u32(at, at, call.region);
    for (i, &acc) in acc.iter().enumerate() {
        let (tile, i) = (i as u32 / 4, i as u32 % 4);
        let place = (8 * tile + i % 2) * STRIDE + 8 * (i / 2);
        k.st_shared_f32(at.at(4 * place as i32), acc);
    }
    k.bar_sync(0);

    k.section("a thread per element: token thread/16, feature thread mod 16");
    let element = Element {
        token: k.reg("y_token"),
        feature: k.reg("y_feature"),
        sum: k.reg("sum"),
        inside: k.reg("inside"),
    };
    let (local, part) = (k.reg::<B32>("local"), k.reg::<F32>("part"));
    k.shr(Int::U32, element.token, call.thread, shape.tile.m.ilog2());
    k.and_b32(local, call.thread, shape.tile.m - 1);
    k.mad_lo_u32(element.feature, call.tile, shape.tile.m, local);
    k.mad_lo_u32(at, element.token, STRIDE, local).shl_b32(at, at, 2).add_u32(at, at, call.smem);
    k.ld_shared_f32(element.sum, at);
    for warp in 1..shape.warps {
        k.ld_shared_f32(part, at.at((warp * shape.region) as i32));
        k.add_f32(element.sum, element.sum, part);
    }
    let in_m = k.reg("in_m");
    k.setp(Cmp::Lt, Int::U32, element.inside, element.token, call.n);
    k.setp(Cmp::Lt, Int::U32, in_m, element.feature, call.m);
    k.and_pred(element.inside, element.inside, in_m);
    element
}

/// With more than one split: leaves the sums in the workspace; the last block of the tile adds them.
///
/// No fence is needed: `bar.sync` orders all sums of the block before the leader's atom, that one
/// releases them to the device and acquires those of the blocks before it, and the next `bar.sync`
/// hands them to the other threads (causality order is transitive, ISA chapter 8).
fn splits(k: &mut Kernel, shape: &Shape, call: &Call, element: &Element) {
    k.section("splits of k: the sums go to the workspace, and the last block goes on");
    let splits = special(k, "splits", Special::NctaidY);
    let [tiles, row, rows] = ["tiles", "partial_row", "partial_rows"].map(|role| k.reg(role));
    let (single, leave) = (k.reg("single"), k.reg("leave"));
    k.setp(Cmp::Eq, Int::U32, single, splits, 1).when(single).bra_uni("summed");
    k.note("[splits, n, m padded]: this split's row of the token");
    k.mov_special(tiles, Special::NctaidX);
    let row_bytes = k.reg("partial_row_bytes");
    k.mul_lo_u32(row_bytes, tiles, 4 * shape.tile.m);
    k.mad_lo_u32(row, call.split, call.n, element.token);
    let partial = address(k, "partial", call.workspace, row, row_bytes);
    k.mad_wide(Int::U32, partial, element.feature, 4, partial);
    let in_n = k.reg("in_n");
    k.setp(Cmp::Lt, Int::U32, in_n, element.token, call.n);
    k.when(in_n).st_global_f32(partial, element.sum);
    k.note("a thread tells the tile's counter once all threads of the block have come");
    k.bar_sync(0);
    k.mul_lo_u32(rows, splits, call.n);
    let counter = address(k, "counter", call.workspace, rows, row_bytes);
    k.mad_wide(Int::U32, counter, call.tile, 4, counter);
    let [arrived, last] = ["arrived", "last_split"].map(|role| k.reg(role));
    let leader = k.reg("leader");
    k.setp(Cmp::Eq, Int::U32, leader, call.thread, 0);
    k.when(leader).atom_add_acq_rel(arrived, counter, 1);
    k.when(leader).st_shared_b32(call.smem, arrived).bar_sync(0).ld_shared_b32(arrived, call.smem);
    k.sub_u32(last, splits, 1).setp(Cmp::Ne, Int::U32, leave, arrived, last);
    k.when(leave).ret();
    let zero = k.reg("none_arrived");
    k.note("ready for the next launch");
    k.mov_b32(zero, 0).when(leader).st_global_b32(counter, zero);

    k.note("in the order of the splits");
    let [next, step] = ["next", "next_step"].map(|role| k.reg::<B64>(role));
    k.mad_wide(Int::U32, next, element.token, row_bytes, call.workspace);
    k.mad_wide(Int::U32, next, element.feature, 4, next);
    k.mul_wide(Int::U32, step, call.n, row_bytes);
    let parts = k.reg_list::<F32>("split_sum", SPLITS);
    let (number, more) = (k.reg("number"), k.reg("more"));
    let there = k.reg("there");
    k.mov_f32(element.sum, 0.0).mov_b32(number, splits).place("add_splits");
    for (i, &part) in parts.iter().enumerate() {
        k.setp(Cmp::Gt, Int::S32, there, number, i as i32).and_pred(there, there, in_n);
        k.mov_f32(part, 0.0).when(there).ld_global_f32(Cache::Default, part, next);
        k.add_u64(next, next, step);
    }
    for &part in &parts {
        k.add_f32(element.sum, element.sum, part);
    }
    k.sub_u32(number, number, SPLITS as u32).setp(Cmp::Gt, Int::S32, more, number, 0);
    k.when(more).bra_uni("add_splits").place("summed");
}

/// Bias, activation, residual, Y.
fn store(k: &mut Kernel, shape: &Shape, call: &Call, element: &Element) {
    k.section("bias, activation, residual, Y");
    k.unless(element.inside).ret();
    let Element { token, feature, sum, .. } = *element;
    let tmp = k.reg("flag");
    let has_bias = flag(k, "has_bias", call.flags, BIAS, tmp);
    let has_residual = flag(k, "has_residual", call.flags, RESIDUAL, tmp);
    let is_f32 = flag(k, "y_is_f32", call.flags, OUT_F32, tmp);
    let (value, at) = (k.reg::<F32>("value"), k.reg::<B64>("at"));
    k.mad_wide(Int::U32, at, feature, 4, call.bias).mov_f32(value, 0.0);
    k.when(has_bias).ld_global_f32(Cache::Nc, value, at).add_f32(sum, sum, value);
    let activate = Activate::new(k, call.flags, tmp);
    activate.apply(k, "y", &[sum]);
    let [index, offset] = ["y_index", "y_offset"].map(|role| k.reg::<B64>(role));
    k.mul_wide(Int::U32, index, token, call.m);
    k.cvt_u64_u32(offset, feature).add_u64(index, index, offset);
    k.note("bytes of an element: 2, or 4");
    k.selp_b32(tmp, 2, 1, is_f32).shl_b64(offset, index, tmp);
    let narrow = Narrow { ty: shape.ty, half: k.reg("narrow") };
    k.unless(has_residual).bra_uni("store");
    k.note("coherent, for the residual may be Y itself");
    k.add_u64(at, call.residual, offset);
    k.when(is_f32).ld_global_f32(Cache::Default, value, at);
    k.unless(is_f32).ld_global_b16(Cache::Default, narrow.half, at);
    narrow.widen(k, value, is_f32);
    k.add_f32(sum, sum, value).place("store");
    k.add_u64(at, call.y, offset);
    k.when(is_f32).st_global_f32(at, sum);
    k.cvt_half_f32(shape.ty, narrow.half, sum);
    k.unless(is_f32).st_global_b16(at, narrow.half);
    k.ret();
}

struct Narrow {
    ty: Half,
    half: Reg<B16>,
}

impl Narrow {
    /// `value` from the 16-bit register, where the residual is not f32.
    fn widen(&self, k: &mut Kernel, value: Reg<F32>, is_f32: Reg<Pred>) {
        match self.ty {
            Half::F16 => k.unless(is_f32).cvt_f32_f16(value, self.half),
            Half::BF16 => {
                let bits = k.reg("residual_bits");
                k.unless(is_f32).cvt_u32_u16(bits, self.half);
                k.unless(is_f32).shl_b32(bits, bits, 16);
                k.unless(is_f32).f32_from_bits(value, bits)
            }
        };
    }
}
