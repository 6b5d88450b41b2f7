//! Accumulators to Y: transposed through the memory of the stages, then scales, bias, activation and
//! residual in f32, then rows of Y in pieces of four features.
//!
//! A lane's accumulators lie in rows g and g + 8 (features) and columns 2t and 2t + 1 (tokens) of each
//! 16×8 tile, so Y, which runs along features, would be stored in scattered words. Staged with a row of
//! `tile.m + 4` floats per token, word 8t + g of the banks takes lane (g, t): no conflict.

use super::epilogue::{Activate, BIAS, Gated, Narrow, OUT_F32, RESIDUAL, SCALES, flag};
use super::mma::{Accumulators, Element};
use super::params::Params;
use super::raster::Place;
use quickpick_kernels::{GATE_ROWS, Tile};
use quickpick_ptx::{
    B16, B32, B64, Cache, Cmp, F32, Int, Kernel, ParamName, Pred, Reg, Special, Vector,
};

/// Features that a thread handles at once: 16 bytes of f32, 8 bytes of a 16-bit type.
const WIDE: u32 = 4;
/// Tokens that a thread handles in a trip, so that the residual's latency is paid once for all.
const TOKENS: u32 = 4;

/// Where the accumulators of a block lie, and what their way out may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub element: Element,
    pub tile: Tile,
    /// Warps along m and n that hold accumulators: the block's first.
    pub warps: (u32, u32),
    /// 16×8 tiles of a warp along m and n.
    pub m_tiles: u32,
    pub n_tiles: u32,
    /// Shared memory that the stages have left.
    pub bytes: u32,
}

impl Layout {
    /// Threads that hold accumulators.
    pub fn threads(&self) -> u32 {
        self.warps.0 * self.warps.1 * 32
    }
    /// Floats from a token's row to the next while Y passes through shared memory: with 4 more than
    /// the tile, the accumulators' scattered stores meet no bank twice, and rows stay 16-byte aligned.
    pub fn staged_row(&self) -> u32 {
        self.tile.m + 4
    }
    /// Parts along n in which Y passes through the memory of the stages.
    pub fn store_parts(&self) -> u32 {
        (4 * self.tile.n * self.staged_row()).div_ceil(self.bytes)
    }
    /// Whether whole warps fall to a part, whole trips to a thread, and a part fits.
    pub fn fits(&self) -> bool {
        let parts = self.store_parts();
        let tokens = self.tile.n / parts;
        let trip = self.threads() / (self.tile.m / WIDE) * TOKENS;
        self.warps.1.is_multiple_of(parts)
            && trip > 0
            && tokens.is_multiple_of(trip)
            && 4 * self.staged_row() * tokens <= self.bytes
    }
}

/// The accumulators' way into shared memory.
struct Put {
    /// Where the lane's first accumulator is staged.
    at: Reg<B32>,
    /// The part that the warp's tokens belong to, the part in hand, and whether they differ; absent
    /// if Y is staged as a whole.
    parts: Option<(Reg<B32>, Reg<B32>, Reg<Pred>)>,
}

/// The way from there to Y.
struct Take<'a> {
    g: &'a Layout,
    /// The thread's next token and its first feature.
    token: Reg<B32>,
    feature: Reg<B32>,
    m: Reg<B32>,
    n: Reg<B32>,
    /// Which of the four features lie within m, and which of the trip's tokens within n.
    inside: Vec<Reg<Pred>>,
    live: Vec<Reg<Pred>>,
    both: Reg<Pred>,
    /// m is a multiple of four: pieces of four are aligned, and within m or not as a whole.
    wide: Reg<Pred>,
    has_residual: Reg<Pred>,
    out_f32: Reg<Pred>,
    narrow: Narrow,
    /// Turns an element's number into bytes of Y.
    shift: Reg<B32>,
    scales: Option<Scales>,
    bias: Vector<F32, 4>,
    residual: Reg<B64>,
    y: Reg<B64>,
    /// Bytes from the start of Y, for each token of the trip; an address in passing.
    offset: Vec<Reg<B64>>,
    at: Reg<B64>,
    /// Where the thread's next token is staged.
    staged: Reg<B32>,
    trips: Reg<B32>,
    again: Reg<Pred>,
    /// Values and residual of the trip, token by token.
    v: Vec<Reg<F32>>,
    r: Vec<Reg<F32>>,
    tmp: Reg<B32>,
    word: Vector<B32, 2>,
    half: Vector<B16, 2>,
}

/// Those of the thread's features, and of a token.
struct Scales {
    given: Reg<Pred>,
    features: Vector<F32, 4>,
    tokens: Reg<B64>,
    token: Reg<F32>,
    product: Reg<F32>,
}

/// Emits the end of the kernel. All threads have left the stages behind.
pub(super) fn emit(
    k: &mut Kernel,
    g: &Layout,
    p: &Params,
    tile: Place,
    acc: Accumulators,
    smem: Reg<B32>,
) {
    k.section("epilogue: places are computed anew, lest they hold registers through the main loop");
    let put = Put::new(k, g, smem);
    let take = Take::new(k, g, p, tile, smem);
    let flags = k.reg("flags");
    k.ld_param_u32(flags, p.flags);
    let (activate, gated) = take.decide(k, p, flags);
    let (acc, parts) = (acc.floats(k), g.store_parts());
    if let Some((_, part, _)) = put.parts {
        k.section(format!("Y by parts of {} tokens", g.tile.n / parts));
        k.mov_b32(part, 0).place("part");
    }
    put.all(k, g, &acc);
    k.bar_sync(0);
    take.all(k, &activate, &gated, g.tile.n / parts);
    if let Some((_, part, more)) = put.parts {
        k.section("the next part, once all have taken this one");
        k.add_u32(part, part, 1).setp(Cmp::Lt, Int::U32, more, part, parts);
        k.bar_sync(0);
        k.when(more).bra_uni("part");
    }
    k.ret();
}

impl Put {
    fn new(k: &mut Kernel, g: &Layout, smem: Reg<B32>) -> Self {
        let at = k.reg("put_at");
        let (lane, warp) = (k.reg("y_lane"), k.reg("y_warp"));
        let (token, feature) = (k.reg("y_token"), k.reg("y_feature"));
        k.note("the lane's first accumulator: feature g, token 2t of the warp's share");
        k.mov_special(lane, Special::TidX).shr(Int::U32, warp, lane, 5).and_b32(lane, lane, 31);
        k.shr(Int::U32, token, warp, g.warps.0.ilog2()).and_b32(warp, warp, g.warps.0 - 1);
        let in_part = g.warps.1 / g.store_parts();
        let parts = (g.store_parts() > 1).then(|| {
            let part_of = k.reg("part_of");
            k.shr(Int::U32, part_of, token, in_part.ilog2()).and_b32(token, token, in_part - 1);
            (part_of, k.reg("part_now"), k.reg("part_other"))
        });
        k.shr(Int::U32, feature, lane, 2).mad_lo_u32(feature, warp, 16 * g.m_tiles, feature);
        k.and_b32(lane, lane, 3).shl_b32(lane, lane, 1);
        k.mad_lo_u32(token, token, 8 * g.n_tiles, lane);
        k.mad_lo_u32(at, token, g.staged_row(), feature).shl_b32(at, at, 2).add_u32(at, at, smem);
        Self { at, parts }
    }

    /// Stages every accumulator of the warps whose part it is.
    fn all(&self, k: &mut Kernel, g: &Layout, acc: &[Reg<F32>]) {
        if let Some((of, now, other)) = self.parts {
            k.setp(Cmp::Ne, Int::U32, other, of, now).when(other).bra_uni("staged");
        }
        for (number, &acc) in acc.iter().enumerate() {
            let (tile, c) = (number as u32 / 4, number as u32 % 4);
            let (i, j) = (tile / g.n_tiles, tile % g.n_tiles);
            let word = (8 * j + c % 2) * g.staged_row() + 16 * i + c / 2 * 8;
            k.st_shared_f32(self.at.at(4 * word as i32), acc);
        }
        if self.parts.is_some() {
            k.place("staged");
        }
    }
}

impl<'a> Take<'a> {
    /// Declares the registers, and computes the thread's token and feature.
    fn new(k: &mut Kernel, g: &'a Layout, p: &Params, tile: Place, smem: Reg<B32>) -> Self {
        let s = Self {
            g,
            token: k.reg("token"),
            feature: k.reg("feature"),
            m: k.reg("m"),
            n: k.reg("n"),
            inside: k.reg_list("inside", WIDE as usize),
            live: k.reg_list("live", TOKENS as usize),
            both: k.reg("both"),
            wide: k.reg("wide_rows"),
            has_residual: k.reg("has_residual"),
            out_f32: k.reg("out_f32"),
            narrow: Narrow::declare(k, g.element),
            shift: k.reg("y_shift"),
            scales: p.scales.map(|_| Scales::declare(k)),
            bias: k.regs("bias_of"),
            residual: k.reg("residual_base"),
            y: k.reg("y_base"),
            offset: k.reg_list("y_offset", TOKENS as usize),
            at: k.reg("y_at"),
            staged: k.reg("take_at"),
            trips: k.reg("trips_left"),
            again: k.reg("again"),
            v: k.reg_list("v", (TOKENS * WIDE) as usize),
            r: k.reg_list("r", (TOKENS * WIDE) as usize),
            tmp: k.reg("tmp"),
            word: k.regs("word"),
            half: k.regs("half"),
        };
        let in_row = g.tile.m / WIDE;
        let tmp = s.tmp;
        k.note(format!("this thread: {WIDE} features of every {}th token", s.between()));
        k.ld_param_u32(s.m, p.m).ld_param_u32(s.n, p.n);
        k.mov_special(tmp, Special::TidX).shr(Int::U32, s.token, tmp, in_row.ilog2());
        k.and_b32(s.feature, tmp, in_row - 1).shl_b32(s.feature, s.feature, WIDE.ilog2());
        k.mad_lo_u32(s.staged, s.token, g.staged_row(), s.feature);
        k.shl_b32(s.staged, s.staged, 2).add_u32(s.staged, s.staged, smem);
        k.add_u32(s.feature, s.feature, tile.m).add_u32(s.token, s.token, tile.n);
        s
    }

    /// From a thread's token to its next.
    fn between(&self) -> u32 {
        self.g.threads() / (self.g.tile.m / WIDE)
    }

    /// Reads the flags and the bias.
    fn decide(&self, k: &mut Kernel, p: &Params, flags: Reg<B32>) -> (Activate, Gated) {
        let tmp = self.tmp;
        k.and_b32(tmp, self.m, WIDE - 1).setp(Cmp::Eq, Int::U32, self.wide, tmp, 0);
        for (e, &inside) in self.inside.iter().enumerate() {
            let feature = if e == 0 { self.feature } else { tmp };
            if e > 0 {
                k.add_u32(tmp, self.feature, e as u32);
            }
            k.setp(Cmp::Lt, Int::U32, inside, feature, self.m);
        }
        k.ld_param_u64(self.residual, p.residual).cvta_to_global(self.residual, self.residual);
        k.ld_param_u64(self.y, p.y).cvta_to_global(self.y, self.y);
        if let (Some(scales), Some([w_scale, x_scale])) = (&self.scales, p.scales) {
            k.and_b32(tmp, flags, SCALES).setp(Cmp::Ne, Int::U32, scales.given, tmp, 0);
            k.ld_param_u64(scales.tokens, x_scale).cvta_to_global(scales.tokens, scales.tokens);
            self.of_features(k, w_scale, scales.given, scales.features);
        }
        let has_bias = flag(k, "has_bias", flags, BIAS, tmp);
        k.note("no bias is a bias of zero");
        self.of_features(k, p.bias, has_bias, self.bias);
        let thread = k.scratch("y_thread");
        k.mov_special(thread, Special::TidX);
        let gated = Gated::new(k, flags, thread, GATE_ROWS as u32 / WIDE, tmp);
        for &inside in &self.inside {
            k.and_pred(inside, inside, gated.kept);
        }
        k.note("from here on features are those of Y");
        gated.halve(k, self.m);
        gated.feature(k, self.feature, tmp);
        let activate = Activate::new(k, flags, tmp).only(gated.kept);
        k.and_b32(tmp, flags, RESIDUAL).setp(Cmp::Ne, Int::U32, self.has_residual, tmp, 0);
        k.and_b32(tmp, flags, OUT_F32).setp(Cmp::Ne, Int::U32, self.out_f32, tmp, 0);
        self.narrow.decide(k, flags, tmp);
        k.note("log2 of the bytes of an element of Y or residual");
        k.mov_b32(self.shift, 1).when(self.out_f32).mov_b32(self.shift, 2);
        (activate, gated)
    }

    /// `d` = the floats of the thread's features, where they are given; else zeros.
    fn of_features(&self, k: &mut Kernel, from: ParamName, given: Reg<Pred>, d: Vector<F32, 4>) {
        k.ld_param_u64(self.at, from).cvta_to_global(self.at, self.at);
        k.mad_wide(Int::U32, self.at, self.feature, 4, self.at);
        for e in 0..WIDE as usize {
            k.mov_f32(d[e], 0.0).and_pred(self.both, given, self.inside[e]);
            k.when(self.both).ld_global_f32(Cache::Nc, d[e], self.at.at(4 * e as i32));
        }
    }

    /// Takes what is staged to Y, `TOKENS` of each thread's tokens in a trip.
    fn all(&self, k: &mut Kernel, activate: &Activate, gated: &Gated, tokens: u32) {
        let between = self.between();
        let trip_bytes = 4 * TOKENS * between * self.g.staged_row();
        let trips = tokens / between / TOKENS;
        k.section(format!("Y, {TOKENS} tokens of each thread a trip"));
        k.mov_b32(self.trips, trips).place("y_trip");
        for t in 0..TOKENS as usize {
            let token = if t == 0 { self.token } else { self.tmp };
            if t > 0 {
                k.add_u32(token, self.token, t as u32 * between);
            }
            k.setp(Cmp::Lt, Int::U32, self.live[t], token, self.n);
            k.cvt_u64_u32(self.offset[t], self.feature);
            k.mad_wide(Int::U32, self.offset[t], token, self.m, self.offset[t]);
            k.shl_b64(self.offset[t], self.offset[t], self.shift);
            let from = self.staged.at((t as u32 * trip_bytes / TOKENS) as i32);
            k.ld_shared_v4_f32(piece(&self.v, t), from);
        }
        k.unless(self.has_residual).bra_uni("biased");
        for &r in &self.r {
            k.mov_f32(r, 0.0);
        }
        self.each_form(k, "residual", Self::load);
        k.place("biased");
        if let Some(scales) = &self.scales {
            self.scale(k, scales);
        }
        for t in 0..TOKENS as usize {
            let v = piece(&self.v, t);
            for e in 0..WIDE as usize {
                k.add_f32(v[e], v[e], self.bias[e]);
            }
        }
        activate.apply(k, "y", &self.v);
        gated.multiply(k, "y", &self.v);
        k.unless(self.has_residual).bra_uni("store");
        for (&v, &r) in self.v.iter().zip(&self.r) {
            k.add_f32(v, v, r);
        }
        k.place("store");
        self.each_form(k, "y", Self::store);
        k.add_u32(self.token, self.token, TOKENS * between);
        k.add_u32(self.staged, self.staged, trip_bytes);
        k.sub_u32(self.trips, self.trips, 1).setp(Cmp::Ne, Int::U32, self.again, self.trips, 0);
        k.when(self.again).bra_uni("y_trip");
        if self.g.store_parts() > 1 {
            k.sub_u32(self.staged, self.staged, trips * trip_bytes);
        }
    }

    /// Multiplies the trip's values by the scales, if there are any.
    fn scale(&self, k: &mut Kernel, s: &Scales) {
        let between = self.between();
        k.unless(s.given).bra_uni("scaled");
        k.mad_wide(Int::U32, self.at, self.token, 4, s.tokens);
        for t in 0..TOKENS as usize {
            let from = self.at.at(4 * t as i32 * between as i32);
            k.mov_f32(s.token, 0.0).when(self.live[t]).ld_global_f32(Cache::Nc, s.token, from);
            let v = piece(&self.v, t);
            for e in 0..WIDE as usize {
                k.mul_f32(s.product, s.features[e], s.token).mul_f32(v[e], v[e], s.product);
            }
        }
        k.place("scaled");
    }

    /// `body` for Y of f32 and of 16 bits, each in pieces of four and element by element.
    fn each_form(&self, k: &mut Kernel, name: &str, body: fn(&Self, &mut Kernel, bool, bool)) {
        let [half, done] = ["half", "done"].map(|what| format!("{name}_{what}"));
        k.unless(self.out_f32).bra_uni(half.as_str());
        for f32 in [true, false] {
            let single = format!("{name}_single_{}", if f32 { "f" } else { "h" });
            if !f32 {
                k.place(half.as_str());
            }
            k.unless(self.wide).bra_uni(single.as_str());
            body(self, k, f32, true);
            k.bra_uni(done.as_str()).place(single.as_str());
            body(self, k, f32, false);
            if f32 {
                k.bra_uni(done.as_str());
            }
        }
        k.place(done.as_str());
    }

    /// The residual into `r`; zero remains where there is none.
    fn load(&self, k: &mut Kernel, f32: bool, wide: bool) {
        for t in 0..TOKENS as usize {
            let r = piece(&self.r, t);
            k.add_u64(self.at, self.residual, self.offset[t]);
            if !wide {
                for e in 0..WIDE as usize {
                    k.and_pred(self.both, self.live[t], self.inside[e]);
                    if f32 {
                        let from = self.at.at(4 * e as i32);
                        k.when(self.both).ld_global_f32(Cache::Default, r[e], from);
                    } else {
                        let from = self.at.at(2 * e as i32);
                        k.when(self.both).ld_global_b16(Cache::Default, self.half[0], from);
                        self.narrow.widen(k, r[e], self.half[0], self.both);
                    }
                }
                continue;
            }
            k.and_pred(self.both, self.live[t], self.inside[0]);
            if f32 {
                k.when(self.both).ld_global_v4_f32(Cache::Default, r, self.at);
                continue;
            }
            k.when(self.both).ld_global_v2_b32(Cache::Default, self.word, self.at);
            for i in 0..2 {
                let two = [r[2 * i], r[2 * i + 1]];
                self.narrow.widen_pair(k, two, self.word[i], self.half, self.both);
            }
        }
    }

    /// `v` into Y, where Y has such elements.
    fn store(&self, k: &mut Kernel, f32: bool, wide: bool) {
        for t in 0..TOKENS as usize {
            let v = piece(&self.v, t);
            k.add_u64(self.at, self.y, self.offset[t]);
            if !wide {
                for e in 0..WIDE as usize {
                    k.and_pred(self.both, self.live[t], self.inside[e]);
                    if f32 {
                        k.when(self.both).st_global_f32(self.at.at(4 * e as i32), v[e]);
                    } else {
                        self.narrow.one(k, self.half[0], v[e]);
                        k.when(self.both).st_global_b16(self.at.at(2 * e as i32), self.half[0]);
                    }
                }
                continue;
            }
            k.and_pred(self.both, self.live[t], self.inside[0]);
            if f32 {
                k.when(self.both).st_global_v4_f32(self.at, v);
                continue;
            }
            for i in 0..2 {
                self.narrow.pair(k, self.word[i], v[2 * i + 1], v[2 * i]);
            }
            k.when(self.both).st_global_v2_b32(self.at, self.word);
        }
    }
}

impl Scales {
    fn declare(k: &mut Kernel) -> Self {
        Self {
            given: k.reg("has_scales"),
            features: k.regs("w_scale_of"),
            tokens: k.reg("x_scale_base"),
            token: k.reg("x_scale_of"),
            product: k.reg("scale"),
        }
    }
}

/// The four features of a trip's token.
fn piece(regs: &[Reg<F32>], token: usize) -> Vector<F32, 4> {
    Vector(std::array::from_fn(|e| regs[token * WIDE as usize + e]))
}
