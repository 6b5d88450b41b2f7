//! Causal attention over the caches: a block per (token, head), softmax on the fly
//! (arXiv 1805.02867, arXiv 2205.14135 §3.1).
//!
//! Sixteen lanes share a key, eight elements each, so that a row of a cache is read in 16-byte
//! pieces; a block of 4 warps holds 8 such teams. A team takes four keys a trip: eight loads are in
//! flight in each lane, and the running maximum is corrected once for four keys.

use super::pieces::{half, shared_base};
use super::rows::*;
use crate::Conflict;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{
    B32, Cache, Cmp, F32, Int, Kernel, Module, ParamKind, Pred, Reg, Shuffle, Special, Vector,
};

/// Lanes that share a key.
const TEAM: u32 = 16;
/// Elements of a head that a lane holds.
const SPAN: usize = 8;
/// Keys of a team in one trip.
const KEYS: usize = 4;
/// Largest head.
const MAX_DIM: u32 = TEAM * SPAN as u32;
/// What the maximum begins at: below any score, and finite, so that no difference is NaN.
const LOWEST: f32 = f32::MIN;

/// A lane's eight sums are stored as two pieces of 16 bytes, so lanes are 32 bytes apart: of eight
/// lanes, which are served at once, two meet in each bank.
pub(super) const CONFLICTS: &[Conflict] = &[Conflict {
    instruction: "st.shared.v4.f32 [%offset",
    why: "once a block: lanes store 16 bytes each, 32 bytes apart, so two meet in a bank",
}];

pub(super) fn emit(spec: &KernelSpec) -> Module {
    let threads = threads(spec);
    let (warps, teams) = (threads / 32, threads / TEAM);
    let mut k = kernel(spec);
    let k = &mut k;
    // each warp's sums, then its maximum and its sum of weights; a multiple of 16 bytes
    let slot = 4 * (MAX_DIM + 4);
    let slots = k.static_shared("slots", 16, slot * warps);

    k.section("operands");
    let [q, k_cache, v_cache, pos, y] =
        ["q", "k_cache", "v_cache", "pos", "y"].map(|name| pointer(k, name));
    // n is the grid's: no thread asks for it
    k.param("n", ParamKind::U32);
    let [heads, kv_heads, head_dim, max_seq] =
        ["heads", "kv_heads", "head_dim", "max_seq"].map(|name| word(k, name));
    let scale = scalar(k, "scale");
    let f32_out = word(k, "f32_out");
    let out = Output::new(k, half(spec.dtype), f32_out);
    let token = special(k, "token", Special::CtaidX);
    let head = special(k, "head", Special::CtaidY);
    let thread = special(k, "thread", Special::TidX);

    k.section("this lane's eight elements of the query, times scale · log2 e");
    let (piece, element, active) = (k.reg("piece"), k.reg("element"), k.reg("active"));
    k.and_b32(piece, thread, TEAM - 1).shl_b32(element, piece, 3);
    k.setp(Cmp::Lt, Int::U32, active, element, head_dim);
    let (row, bytes) = (k.reg("row"), k.reg("row_bytes"));
    k.mad_lo_u32(row, token, heads, head).shl_b32(bytes, head_dim, 2);
    let pq = address(k, "pq", q, row, bytes);
    k.mad_wide(Int::U32, pq, piece, 32, pq);
    let query = k.reg_list::<F32>("query", SPAN);
    for &element in &query {
        k.mov_f32(element, 0.0);
    }
    k.when(active).ld_global_v4_f32(Cache::Nc, four(&query, 0), pq);
    k.when(active).ld_global_v4_f32(Cache::Nc, four(&query, 4), pq.at(16));
    k.mul_f32(scale, scale, std::f32::consts::LOG2_E);
    for &element in &query {
        k.mul_f32(element, element, scale);
    }

    k.section("the caches: rows of all key-value heads, this head's part of them");
    let (last, cap) = (k.reg("last"), k.reg("cap"));
    k.note("last key: the token's own position; never past the caches");
    k.ld_global_b32(Cache::Nc, last, pos).sub_u32(cap, max_seq, 1);
    k.min(Int::U32, last, last, cap).add_u32(last, last, token).min(Int::U32, last, last, cap);
    let (group, kv_head) = (k.reg("group"), k.reg("kv_head"));
    k.div_u32(group, heads, kv_heads).div_u32(kv_head, head, group);
    let stride = k.reg("stride");
    k.shl_b32(bytes, head_dim, 1).mul_lo_u32(stride, bytes, kv_heads);
    let pk = address(k, "pk", k_cache, kv_head, bytes);
    let pv = address(k, "pv", v_cache, kv_head, bytes);
    k.mad_wide(Int::U32, pk, piece, 16, pk).mad_wide(Int::U32, pv, piece, 16, pv);

    k.section("running maximum, sum of weights, weighted sum of values; scores in log2");
    let (highest, weights) = (k.reg("highest"), k.reg("weights"));
    let sums = k.reg_list::<F32>("sum", SPAN);
    k.mov_f32(highest, LOWEST).mov_f32(weights, 0.0);
    for &sum in &sums {
        k.mov_f32(sum, 0.0);
    }
    let keys = k.reg_list::<B32>("key_words", 4 * KEYS);
    let values = k.reg_list::<B32>("value_words", 4 * KEYS);
    k.note("lanes beyond head_dim load nothing and keep zeros");
    for &word in keys.iter().chain(&values) {
        k.mov_b32(word, 0);
    }
    let trip = Trip {
        key: k.reg_list("key", KEYS),
        beyond: k.reg_list("beyond", KEYS),
        scores: k.reg_list("score", KEYS),
        wide: k.reg_list("wide", SPAN),
        widen: Widen::new(k, half(spec.dtype)),
        other: k.reg("other"),
        former: k.reg("former"),
    };
    let (base, more, at) = (k.reg("base"), k.reg("more"), k.reg("at"));
    let nearest = k.reg::<B32>("nearest");
    k.mov_b32(base, 0);
    k.place("keys");
    k.note(format!("keys base + team + {teams}·j of this team; past the last, the last again"));
    k.shr(Int::U32, trip.key[0], thread, TEAM.ilog2()).add_u32(trip.key[0], trip.key[0], base);
    for j in 1..KEYS {
        k.add_u32(trip.key[j], trip.key[0], teams * j as u32);
    }
    for j in 0..KEYS {
        k.setp(Cmp::Gt, Int::U32, trip.beyond[j], trip.key[j], last);
        k.min(Int::U32, nearest, trip.key[j], last);
        for (words, cache) in [(&keys, pk), (&values, pv)] {
            k.mad_wide(Int::U32, at, nearest, stride, cache);
            k.when(active).ld_global_v4_b32(Cache::Nc, four_words(words, 4 * j), at);
        }
    }
    trip.scores(k, &query, &keys);
    trip.update(k, highest, weights, &sums, &values);
    k.add_u32(base, base, teams * KEYS as u32);
    k.setp(Cmp::Le, Int::U32, more, base, last).when(more).bra("keys");

    k.section("the two teams of a warp");
    k.shfl_f32(Shuffle::Bfly, trip.other, highest, TEAM, CLAMP, WARP);
    k.mov_f32(trip.former, highest).max_f32(highest, highest, trip.other);
    k.sub_f32(trip.former, trip.former, highest).ex2(trip.former, trip.former);
    for &sum in [weights].iter().chain(&sums) {
        k.mul_f32(sum, sum, trip.former);
        k.shfl_f32(Shuffle::Bfly, trip.other, sum, TEAM, CLAMP, WARP).add_f32(sum, sum, trip.other);
    }

    k.section("the warps, through shared memory");
    let smem = shared_base(k, slots);
    let (mine, offset, lane) = (k.reg("mine"), k.reg("offset"), k.reg("lane"));
    let (first_team, first_lane) = (k.reg("first_team"), k.reg("first_lane"));
    k.shr(Int::U32, mine, thread, 5).mad_lo_u32(mine, mine, slot, smem);
    k.and_b32(lane, thread, 31).setp(Cmp::Lt, Int::U32, first_team, lane, TEAM);
    k.setp(Cmp::Eq, Int::U32, first_lane, lane, 0);
    k.when(first_lane).st_shared_f32(shared(mine, 4 * MAX_DIM), highest);
    k.when(first_lane).st_shared_f32(shared(mine, 4 * MAX_DIM + 4), weights);
    k.mad_lo_u32(offset, piece, 4 * SPAN as u32, mine);
    k.when(first_team).st_shared_v4_f32(offset, four(&sums, 0));
    k.when(first_team).st_shared_v4_f32(shared(offset, 16), four(&sums, 4));
    k.bar_sync(0);
    let done = k.reg("done");
    k.setp(Cmp::Ge, Int::U32, done, thread, head_dim).when(done).ret();

    k.section("a thread per element of the result");
    let peaks = k.reg_list::<F32>("peak", warps as usize);
    for (w, &peak) in peaks.iter().enumerate() {
        k.ld_shared_f32(peak, shared(smem, slot * w as u32 + 4 * MAX_DIM));
    }
    k.mov_f32(highest, peaks[0]);
    for &peak in &peaks[1..] {
        k.max_f32(highest, highest, peak);
    }
    let (total, result) = (k.reg::<F32>("total"), k.reg::<F32>("result"));
    k.mov_f32(total, 0.0).mov_f32(result, 0.0);
    k.mad_lo_u32(offset, thread, 4, smem);
    for (w, &peak) in peaks.iter().enumerate() {
        let at = slot * w as u32;
        k.sub_f32(peak, peak, highest).ex2(peak, peak);
        k.ld_shared_f32(trip.other, shared(smem, at + 4 * MAX_DIM + 4));
        k.fma_f32(total, trip.other, peak, total);
        k.ld_shared_f32(trip.other, shared(offset, at)).fma_f32(result, trip.other, peak, result);
    }
    k.div_f32(result, result, total);
    out.bytes(k, bytes, head_dim);
    let py = address(k, "py", y, row, bytes);
    k.mov_b32(bytes, 1);
    out.bytes(k, bytes, bytes);
    k.mad_wide(Int::U32, py, thread, bytes, py);
    let narrow = k.reg("narrow");
    out.store1(k, py, result, narrow);
    k.ret();

    module(
        spec,
        &format!(
            "y[i,h] = softmax(q[i,h]·Kᵀ · scale) · V over cache rows 0..=pos[0]+i; head h reads\n\
             key-value head h / (heads/kv_heads); scores, weights and sums in f32\n\
             q: f32 [n, heads, head_dim]; caches: [max_seq, kv_heads, head_dim] of the kernel's type\n\
             y: [n, heads·head_dim] of the kernel's type, or f32 where f32_out is 1\n\
             grid n × heads, block {threads}; head_dim a multiple of 8, at most {MAX_DIM}"
        ),
        k.clone(),
    )
}

/// Registers of one trip over `KEYS` keys of a team.
struct Trip {
    key: Vec<Reg<B32>>,
    beyond: Vec<Reg<Pred>>,
    scores: Vec<Reg<F32>>,
    wide: Vec<Reg<F32>>,
    widen: Widen,
    other: Reg<F32>,
    former: Reg<F32>,
}

impl Trip {
    /// Scores of the trip's keys, in every lane of the team; −∞ beyond the last key.
    fn scores(&self, k: &mut Kernel, query: &[Reg<F32>], keys: &[Reg<B32>]) {
        k.note("scores: each lane's eight products, then the team's sum");
        for (j, &score) in self.scores.iter().enumerate() {
            widen8(k, &self.widen, &self.wide, four_words(keys, 4 * j));
            k.mul_f32(score, query[0], self.wide[0]);
            for (&q, &w) in query.iter().zip(&self.wide).skip(1) {
                k.fma_f32(score, q, w, score);
            }
        }
        for lanes in [8, 4, 2, 1] {
            for &score in &self.scores {
                k.shfl_f32(Shuffle::Bfly, self.other, score, lanes, CLAMP, WARP);
                k.add_f32(score, score, self.other);
            }
        }
        for (&score, &beyond) in self.scores.iter().zip(&self.beyond) {
            k.selp_f32(score, f32::NEG_INFINITY, score, beyond);
        }
    }

    /// `sums = sums · 2^(former − highest) + Σ 2^(score − highest) · value`, and so the weights.
    fn update(
        &self,
        k: &mut Kernel,
        highest: Reg<F32>,
        weights: Reg<F32>,
        sums: &[Reg<F32>],
        values: &[Reg<B32>],
    ) {
        k.note("a new maximum shrinks what was summed before");
        k.mov_f32(self.former, highest);
        for &score in &self.scores {
            k.max_f32(highest, highest, score);
        }
        k.sub_f32(self.former, self.former, highest).ex2(self.former, self.former);
        for &sum in [weights].iter().chain(sums) {
            k.mul_f32(sum, sum, self.former);
        }
        for (j, &score) in self.scores.iter().enumerate() {
            k.sub_f32(score, score, highest).ex2(score, score).add_f32(weights, weights, score);
            widen8(k, &self.widen, &self.wide, four_words(values, 4 * j));
            for (&sum, &value) in sums.iter().zip(&self.wide) {
                k.fma_f32(sum, score, value, sum);
            }
        }
    }
}

fn four_words(list: &[Reg<B32>], from: usize) -> Vector<B32, 4> {
    Vector(std::array::from_fn(|i| list[from + i]))
}
