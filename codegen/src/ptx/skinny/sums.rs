//! From the warps' accumulators to Y: warps are added in their order, then the parts of a tile in the order
//! of k, so that the same call gives the same bits. The block that arrives last adds the parts.

use super::items::Items;
use super::{Call, Shape};
use crate::Conflict;
use crate::ptx::epilogue::{
    Activate, BIAS, Gated, Narrow, OUT_F32, RESIDUAL, SCALES, TRANSPOSED, flag,
};
use crate::ptx::mma::{Accumulators, Sum};
use crate::ptx::rows::address;
use quickpick_kernels::GATE_ROWS;
use quickpick_ptx::{B32, B64, Cache, Cmp, F32, Int, Kernel, ParamName, Pred, Reg, Special};

/// Floats from a token to the next in a warp's sums: the features, and 4 so that the lanes of a warp
/// store to different banks.
const fn stride(shape: &Shape) -> u32 {
    shape.tile.m + 4
}
/// A warp reads 16 features of two tokens, 20 words apart (or 36): the last four words of the second are
/// in the banks of the first's first four. No stride suits both: the stores ask for 4 or 12 modulo 16,
/// the loads for 16 modulo 32.
pub(in crate::ptx) const CONFLICTS: &[Conflict] = &[Conflict {
    instruction: "[%sum_at",
    why: "once a tile: rows of 20 or 36 words let the stores pass, and overlap by four banks when read",
}];
/// Parts whose sums are loaded at once.
const PARTS: u32 = 4;

/// This thread's elements of the tile: of its token, every 16th feature.
struct Elements {
    token: Reg<B32>,
    /// The first feature in the tile, and in W.
    local: Reg<B32>,
    feature: Reg<B32>,
    /// The token exists.
    live: Reg<Pred>,
    sums: Vec<Sum>,
}

pub(super) fn emit(k: &mut Kernel, shape: &Shape, call: &Call, items: &Items, acc: &Accumulators) {
    let elements = warps(k, shape, call, items, acc);
    parts(k, shape, call, items, &elements);
    store(k, shape, call, &elements);
}

/// Adds the warps' tiles; a thread per token and every 16th feature.
fn warps(
    k: &mut Kernel,
    shape: &Shape,
    call: &Call,
    items: &Items,
    acc: &Accumulators,
) -> Elements {
    k.section("each warp lays its sums over its own bytes, token by token");
    let [g, at] = ["sum_row", "sum_at"].map(|role| k.reg(role));
    k.note("lane (g, t) holds features g and g + 8 of 16, of tokens 2t and 2t + 1");
    let (lane, region) = (call.lane(k), call.region(k, shape));
    k.and_b32(at, lane, 3).mul_lo_u32(at, at, 2 * stride(shape));
    k.shr(Int::U32, g, lane, 2).add_u32(at, at, g).shl_b32(at, at, 2);
    k.add_u32(at, at, region);
    let tiles = shape.tile.n / 8;
    for (i, acc) in (0..).zip(acc.all()) {
        let (fragment, tile, i) = (i / 4 / tiles, i / 4 % tiles, i % 4);
        let place = (8 * tile + i % 2) * stride(shape) + 16 * fragment + 8 * (i / 2);
        acc.store_shared(k, at.at(4 * place as i32));
    }
    k.bar_sync(0);

    k.section("a thread: token thread/16, features from thread mod 16 on, 16 apart");
    let elements = Elements {
        token: k.reg("y_token"),
        local: k.reg("local"),
        feature: k.reg("y_feature"),
        live: k.reg("live"),
        sums: shape.element.sums(k, "sum", shape.fragments()),
    };
    let part = shape.element.sums(k, "warp_sum", 1)[0];
    let thread = call.thread(k);
    k.shr(Int::U32, elements.token, thread, 4).and_b32(elements.local, thread, 15);
    k.mad_lo_u32(elements.feature, items.tile, shape.tile.m, elements.local);
    k.setp(Cmp::Lt, Int::U32, elements.live, elements.token, call.n);
    k.mad_lo_u32(at, elements.token, stride(shape), elements.local).shl_b32(at, at, 2);
    k.add_u32(at, at, call.smem);
    for (i, &sum) in (0..).zip(&elements.sums) {
        let from = |warp: u32| at.at((64 * i + warp * shape.region) as i32);
        sum.load_shared(k, from(0));
        for warp in 1..shape.warps {
            part.load_shared(k, from(warp));
            sum.add(k, part);
        }
    }
    elements
}

/// A part of a tile: leaves the sums in the workspace; the last block of the tile adds them.
///
/// No fence is needed: `bar.sync` orders all sums of the block before the leader's atom, that one
/// releases them to the device and acquires those of the blocks before it, and the next `bar.sync`
/// hands them to the other threads (causality order is transitive, ISA chapter 8).
fn parts(k: &mut Kernel, shape: &Shape, call: &Call, items: &Items, elements: &Elements) {
    k.section("parts of a tile: the sums go to the workspace, and the last block goes on");
    k.unless(items.part).bra_uni("summed");
    let [slot, slot_bytes, element] =
        ["slot", "slot_bytes", "part_element"].map(|role| k.reg::<B32>(role));
    k.note("slot block + tile: a block and a tile have one item in common, and along the items both grow");
    k.mul_lo_u32(slot_bytes, call.n, 4 * shape.tile.m);
    k.mad_lo_u32(element, elements.token, shape.tile.m, elements.local);
    let workspace = global(k, "workspace", call.workspace);
    let base = address(k, "part_base", workspace, element, 4);
    let (block, tiles) = (items.block(k), items.tiles(k, shape, call));
    k.add_u32(slot, block, items.tile);
    let own = address(k, "own_part", base, slot, slot_bytes);
    for (i, &sum) in (0..).zip(&elements.sums) {
        sum.store_global(k.when(elements.live), own.at(64 * i));
    }
    k.note("a thread tells the tile's counter once all threads of the block have come");
    k.bar_sync(0);
    k.mov_special(slot, Special::NctaidX).add_u32(slot, slot, tiles);
    let counter = address(k, "counter", workspace, slot, slot_bytes);
    k.mad_wide(Int::U32, counter, items.tile, 4, counter);
    let arrived = k.reg("arrived");
    let (leader, leave) = (k.reg("leader"), k.reg("leave"));
    let thread = call.thread(k);
    k.setp(Cmp::Eq, Int::U32, leader, thread, 0);
    k.when(leader).atom_add_acq_rel(arrived, counter, 1);
    k.when(leader).st_shared_b32(call.smem, arrived).bar_sync(0).ld_shared_b32(arrived, call.smem);
    let [first, others] = items.holders(k, shape, call);
    k.sub_u32(others, others, first).setp(Cmp::Ne, Int::U32, leave, arrived, others);
    k.when(leave).bra_uni("next");
    let zero = k.reg("none_arrived");
    k.note("ready for the next launch");
    k.mov_b32(zero, 0).when(leader).st_global_b32(counter, zero);

    k.note(format!("in the order of k, {PARTS} parts at a time"));
    let [next, step] = ["next_part", "part_bytes"].map(|role| k.reg::<B64>(role));
    k.add_u32(slot, first, items.tile).mad_wide(Int::U32, next, slot, slot_bytes, base);
    k.cvt_u64_u32(step, slot_bytes).add_u32(others, others, 1);
    let found = shape.element.sums(k, "part", PARTS * shape.fragments());
    let (more, there) = (k.reg("more"), k.reg("there"));
    elements.sums.iter().for_each(|sum| sum.clear(k));
    k.place("add_parts");
    let by_part = || (0..).zip(found.chunks(elements.sums.len()));
    for (number, found) in by_part() {
        k.setp(Cmp::Gt, Int::S32, there, others, number).and_pred(there, there, elements.live);
        for (i, &found) in (0..).zip(found) {
            found.clear(k);
            found.load_global(k.when(there), next.at(64 * i));
        }
        k.add_u64(next, next, step);
    }
    for (_, found) in by_part() {
        for (sum, &found) in elements.sums.iter().zip(found) {
            sum.add(k, found);
        }
    }
    k.sub_u32(others, others, PARTS).setp(Cmp::Gt, Int::S32, more, others, 0);
    k.when(more).bra_uni("add_parts").place("summed");
}

/// Scales, bias, activation, residual, Y.
fn store(k: &mut Kernel, shape: &Shape, call: &Call, elements: &Elements) {
    k.section("bias, activation, residual, Y");
    let Elements { token, feature, live, ref sums, .. } = *elements;
    let sums: Vec<_> = sums.iter().map(|sum| sum.float(k)).collect();
    let (tmp, inside) = (k.reg("flag"), k.reg_list::<Pred>("inside", sums.len()));
    for (i, &inside) in (0..).zip(&inside) {
        k.add_u32(tmp, feature, 16 * i).setp(Cmp::Lt, Int::U32, inside, tmp, call.m);
        k.and_pred(inside, inside, live);
    }
    let has_bias = flag(k, "has_bias", call.flags, BIAS, tmp);
    let has_residual = flag(k, "has_residual", call.flags, RESIDUAL, tmp);
    let is_f32 = flag(k, "y_is_f32", call.flags, OUT_F32, tmp);
    let (wanted, value, at) = (k.reg("y_wanted"), k.reg::<F32>("value"), k.reg::<B64>("at"));
    if let Some([w_scale, x_scale]) = call.scales {
        let scale = k.reg::<F32>("token_scale");
        let [w_scale, x_scale] =
            [("w_scale", w_scale), ("x_scale", x_scale)].map(|(role, from)| global(k, role, from));
        let has_scales = flag(k, "has_scales", call.flags, SCALES, tmp);
        k.unless(has_scales).bra_uni("scaled");
        k.mad_wide(Int::U32, at, token, 4, x_scale).mov_f32(scale, 0.0);
        k.when(live).ld_global_f32(Cache::Nc, scale, at);
        k.mad_wide(Int::U32, at, feature, 4, w_scale).mov_f32(value, 0.0);
        for (i, (&sum, &inside)) in (0..).zip(sums.iter().zip(&inside)) {
            k.when(inside).ld_global_f32(Cache::Nc, value, at.at(64 * i));
            k.mul_f32(value, value, scale).mul_f32(sum, sum, value);
        }
        k.place("scaled");
    }
    let bias = global(k, "bias", call.bias);
    k.mad_wide(Int::U32, at, feature, 4, bias).mov_f32(value, 0.0);
    for (i, (&sum, &inside)) in (0..).zip(sums.iter().zip(&inside)) {
        k.and_pred(wanted, inside, has_bias);
        k.when(wanted).ld_global_f32(Cache::Nc, value, at.at(64 * i)).add_f32(sum, sum, value);
    }
    let thread = call.thread(k);
    let gated = Gated::new(k, call.flags, thread, GATE_ROWS as u32, tmp);
    for &inside in &inside {
        k.and_pred(inside, inside, gated.kept);
    }
    let activate = Activate::new(k, call.flags, tmp).only(gated.kept);
    activate.apply(k, "y", &sums);
    gated.multiply(k, "y", &sums);
    let places = Places::new(k, call, elements, &gated, is_f32, sums.len());
    let (narrow, element) = (Narrow::declare(k, shape.element), k.reg("narrow"));
    narrow.decide(k, call.flags, tmp);
    let (wide, half) = (k.reg("wide_wanted"), k.reg("half_wanted"));
    let of = |k: &mut Kernel, wanted: Reg<Pred>| {
        k.and_pred(wide, wanted, is_f32).not_pred(half, is_f32).and_pred(half, half, wanted);
    };
    k.unless(has_residual).bra_uni("store");
    k.note("coherent, for the residual may be Y itself");
    let residual = global(k, "residual", call.residual);
    k.add_u64(at, residual, places.offset).mov_f32(value, 0.0);
    for (i, (&sum, &inside)) in (0..).zip(sums.iter().zip(&inside)) {
        of(k, inside);
        places.step(k, at, i);
        k.when(wide).ld_global_f32(Cache::Default, value, at);
        k.when(half).ld_global_b16(Cache::Default, element, at);
        narrow.widen(k, value, element, half);
        k.add_f32(sum, sum, value);
    }
    k.place("store");
    let y = global(k, "y", call.y);
    k.add_u64(at, y, places.offset);
    for (i, (&sum, &inside)) in (0..).zip(sums.iter().zip(&inside)) {
        of(k, inside);
        places.step(k, at, i);
        k.when(wide).st_global_f32(at, sum);
        narrow.one(k, element, sum);
        k.when(half).st_global_b16(at, element);
    }
}

/// Where the thread's elements of Y lie, and of the residual.
struct Places {
    /// Bytes to the first.
    offset: Reg<B64>,
    /// And from each to the next, 16 rows of W further on.
    step: Option<Reg<B64>>,
}

impl Places {
    fn new(
        k: &mut Kernel,
        call: &Call,
        e: &Elements,
        gated: &Gated,
        is_f32: Reg<Pred>,
        count: usize,
    ) -> Self {
        let [offset, other] = ["y_offset", "y_index"].map(|role| k.reg::<B64>(role));
        let (tmp, shift) = (k.scratch("flag"), k.reg::<B32>("y_shift"));
        let transposed = flag(k, "y_is_transposed", call.flags, TRANSPOSED, tmp);
        k.note("element token*m + feature, or feature*n + token; of 2 bytes, or 4");
        let [m, feature] = ["y_features", "y_place"].map(|role| k.reg::<B32>(role));
        k.mov_b32(m, call.m).mov_b32(feature, e.feature);
        gated.halve(k, m);
        gated.feature(k, feature, tmp);
        k.mul_wide(Int::U32, offset, e.token, m).cvt_u64_u32(other, feature);
        k.when(transposed).mul_wide(Int::U32, offset, feature, call.n);
        k.when(transposed).cvt_u64_u32(other, e.token);
        k.selp_b32(shift, 2, 1, is_f32).add_u64(offset, offset, other);
        k.shl_b64(offset, offset, shift);
        let step = (count > 1).then(|| {
            let step = k.reg::<B64>("y_step");
            k.mov_b32(tmp, 16).when(transposed).shl_b32(tmp, call.n, 4);
            gated.halve(k, tmp);
            k.cvt_u64_u32(step, tmp).shl_b64(step, step, shift);
            step
        });
        Self { offset, step }
    }

    /// Moves on to element i.
    fn step(&self, k: &mut Kernel, at: Reg<B64>, i: i32) {
        if let Some(step) = self.step.filter(|_| i > 0) {
            k.add_u64(at, at, step);
        }
    }
}

/// The global address in a parameter.
fn global(k: &mut Kernel, role: &str, from: ParamName) -> Reg<B64> {
    let reg = k.reg(role);
    k.ld_param_u64(reg, from).cvta_to_global(reg, reg);
    reg
}
