//! Accumulators to Y: scales, bias, activation and residual in f32, in the registers where the sums are;
//! then by pieces of 64 features through shared memory, and from there by tensor copies, which leave out
//! what lies past m or n. The residual comes the same way in the other direction, in stages of the ring.
//!
//! A lane's accumulators lie in rows g and g + 8 (features) and columns 2t and 2t + 1 (tokens) of each
//! 16×8 block. A piece has a row of 128 bytes for each token (64 features of 16 bits; of f32 two halves
//! with 32), or, if Y is transposed, one of 64 bytes for each feature; its 16-byte pieces are swizzled as
//! the maps say: bits 6:4 ⊕ bits 9:7 of the address, or bits 5:4 ⊕ 8:7.

use super::consumer::{Consumer, Sums, of_slice};
use super::map_address;
use crate::ptx::epilogue::{Activate, BIAS, Narrow, OUT_F32, RESIDUAL, SCALES, TRANSPOSED, flag};
use quickpick_kernels::plan::{STORE_BYTES, STORE_PIECE};
use quickpick_ptx::{B16, B32, B64, Cache, Cmp, F32, Int, Kernel, Pred, Reg, Trans, Vector};

const PIECE: i32 = STORE_PIECE as i32;
/// Blocks of 8 tokens whose scales are loaded at once; with all of them ptxas runs out of registers.
const SCALES_AT_ONCE: usize = 4;

/// Where a thread's values lie in a piece.
struct Places {
    /// 16 bits: of the piece's two pairs of blocks.
    half: [Reg<B32>; 2],
    /// f32: of each of a block's four values; transposed: of each of two blocks' first pair.
    f32: [Reg<B32>; 4],
    across: [Reg<B32>; 2],
}

pub(super) struct Output {
    flags: Reg<B32>,
    has_residual: Reg<Pred>,
    is_f32: Reg<Pred>,
    narrow: Narrow,
    transposed: Reg<Pred>,
    /// The leader, if Y is as it is, or transposed.
    lead: [Reg<Pred>; 2],
    places: Places,
    /// The map of Y; where the warpgroup's Y passes through.
    map: Reg<B64>,
    store: Reg<B32>,
    /// Stages that bring the residual: how many, where each is, and what its mbarriers are counted from.
    stages: Reg<B32>,
    stage_at: Vec<Reg<B32>>,
    barrier: Vec<Reg<B32>>,
}

impl Output {
    pub fn new(k: &mut Kernel, c: &Consumer) -> Self {
        let g = c.g();
        let s = Self {
            flags: k.reg("flags"),
            has_residual: k.reg("has_residual"),
            is_f32: k.reg("is_f32"),
            narrow: Narrow::declare(k, g.element()),
            transposed: k.reg("is_transposed"),
            lead: [k.reg("leads"), k.reg("leads_across")],
            places: Places {
                half: k.regs("half_place").0,
                f32: k.regs("f_place").0,
                across: k.regs("across_place").0,
            },
            map: map_address(k, "map_y_at", c.block.maps.y),
            store: k.reg("store_at"),
            stages: k.reg("residual_stages"),
            stage_at: k.reg_list("residual_at", g.residual_stages(true) as usize),
            barrier: k.reg_list("residual_barrier", g.residual_stages(true) as usize),
        };
        k.note("the residual's stages");
        k.ld_param_u32(s.flags, c.block.params.flags);
        let bit = k.scratch("flag");
        is(k, s.is_f32, s.flags, OUT_F32, bit);
        is(k, s.has_residual, s.flags, RESIDUAL, bit);
        k.selp_b32(s.stages, g.residual_stages(true), g.residual_stages(false), s.is_f32);
        k.unless(s.has_residual).mov_b32(s.stages, 0);
        s
    }

    /// What the flags say, and where the thread's values lie in a piece: computed anew for each tile, lest
    /// it hold registers through the main loop.
    fn begin(&self, k: &mut Kernel, c: &Consumer) {
        let (g, bit) = (c.g(), k.scratch("flag"));
        k.section(
            "epilogue: places are computed anew, lest they hold registers through the main loop",
        );
        k.ld_param_u32(self.flags, c.block.params.flags);
        is(k, self.is_f32, self.flags, OUT_F32, bit);
        is(k, self.has_residual, self.flags, RESIDUAL, bit);
        is(k, self.transposed, self.flags, TRANSPOSED, bit);
        self.narrow.decide(k, self.flags, bit);
        let [plain, across] = self.lead;
        k.and_pred(across, c.leader, self.transposed).not_pred(plain, self.transposed);
        k.and_pred(plain, plain, c.leader);
        k.mad_lo_u32(self.store, c.number, STORE_BYTES, c.block.smem);
        k.add_u32(self.store, self.store, g.store());
        k.mov_param(self.map, c.block.maps.y).cvta_param(self.map, self.map);
        self.places.find(k, c, self.transposed);
    }

    /// Stages of the ring that the residual takes.
    pub fn stages(&self) -> Reg<B32> {
        self.stages
    }

    /// Waits for the residual, all of it; its stages are not freed yet.
    pub fn await_residual(&self, k: &mut Kernel, c: &Consumer) {
        let g = c.g();
        let (half, most) = (g.residual_stages(false), g.residual_stages(true));
        let enough = k.scratch::<Pred>("half_suffices");
        k.unless(self.has_residual).bra_uni("residual_came");
        for stage in 0..most {
            if stage == half {
                k.setp(Cmp::Eq, Int::U32, enough, self.stages, half)
                    .when(enough)
                    .bra_uni("residual_came");
            }
            c.ring.wait(k, &format!("residual_{stage}"), g.full(), false);
            k.mov_b32(self.stage_at[stage as usize], c.ring.at);
            k.mov_b32(self.barrier[stage as usize], c.ring.barrier);
            c.ring.advance(k);
        }
        k.place("residual_came");
    }

    /// Frees the residual's stages unread: another part of the tile goes on to Y.
    pub fn forgo_residual(&self, k: &mut Kernel, c: &Consumer) {
        let more = k.reg::<Pred>("more_residual");
        for (stage, &barrier) in self.barrier.iter().enumerate() {
            k.setp(Cmp::Gt, Int::U32, more, self.stages, stage as u32);
            k.and_pred(more, more, c.teller);
            c.tell_residual_free(k, more, barrier);
        }
    }

    /// From the sums to Y.
    pub fn emit(&self, k: &mut Kernel, c: &Consumer) {
        let g = c.g();
        let acc: Vec<Vec<Reg<F32>>> = match &c.sums {
            Sums::F32(acc) => acc.clone(),
            Sums::S32(sums) => sums.iter().map(|sums| convert(k, sums)).collect(),
        };
        self.begin(k, c);
        self.features(k, c, &acc);
        let all: Vec<Reg<F32>> = acc.iter().flatten().copied().collect();
        let tmp = k.reg("activation");
        let activate = Activate::new(k, self.flags, tmp);
        activate.apply(k, "y", &all);
        k.unless(self.is_f32).bra_uni("y_half");
        for f32 in [true, false] {
            let what = if f32 { "of f32" } else { "of 16 bits" };
            let tokens = g.piece_tokens(f32);
            k.section(format!("Y {what}: pieces of 64 features × {tokens} tokens"));
            if !f32 {
                k.place("y_half");
            }
            for piece in 0..g.pieces(f32) {
                self.piece(k, c, &acc, f32, piece);
            }
            if f32 {
                k.bra_uni("item");
            }
        }
    }

    /// What belongs to features and tokens: the scales, and the bias.
    fn features(&self, k: &mut Kernel, c: &Consumer, acc: &[Vec<Reg<F32>>]) {
        let (block, items) = (c.block, &c.block.items);
        let [feature, m, tmp, token] =
            ["feature", "m", "feature_flag", "token"].map(|r| k.reg::<B32>(r));
        let inside = k.reg::<Pred>("inside");
        k.note("this thread's features are g and g + 8 of 16, its tokens 2t and 2t + 1 of 8");
        k.shr(Int::U32, feature, c.lane, 2).mad_lo_u32(feature, c.warp, 16, feature);
        k.add_u32(feature, feature, items.place.m).ld_param_u32(m, block.params.m);
        let of_rows = |k: &mut Kernel, role: &str, from, given: Reg<Pred>| {
            let base = k.reg::<B64>(&format!("{role}_base"));
            k.ld_param_u64(base, from).cvta_to_global(base, base);
            k.mad_wide(Int::U32, base, feature, 4, base);
            let rows: Vec<Vec<Reg<F32>>> = (0..acc.len())
                .map(|i| k.reg_list(&of_slice(role, acc.len() as u32, i as u32), 2))
                .collect();
            for (row, &d) in rows.iter().flatten().enumerate() {
                let ahead = 64 * (row as u32 / 2) + 8 * (row as u32 % 2);
                k.add_u32(tmp, feature, ahead).setp(Cmp::Lt, Int::U32, inside, tmp, m);
                k.and_pred(inside, inside, given).mov_f32(d, 0.0);
                k.when(inside).ld_global_f32(Cache::Nc, d, base.at(4 * ahead as i32));
            }
            rows
        };
        if let Some([w_scale, x_scale]) = block.params.scales {
            let has_scales = flag(k, "has_scales", self.flags, SCALES, tmp);
            k.unless(has_scales).bra_uni("scaled");
            let rows = of_rows(k, "w_scale", w_scale, has_scales);
            let base = k.reg::<B64>("x_scale_base");
            let left = k.reg::<B32>("tokens_left");
            let within = k.reg::<B32>("tokens_within");
            k.and_b32(token, c.lane, 3).shl_b32(token, token, 1);
            k.ld_param_u32(within, block.params.n).sub_u32(within, within, items.place.n);
            k.sub_u32(left, within, token).add_u32(token, token, items.place.n);
            k.ld_param_u64(base, x_scale).cvta_to_global(base, base);
            k.mad_wide(Int::U32, base, token, 4, base);
            let (columns, scale) = (k.reg_list::<F32>("token_scale", 2), k.reg::<F32>("scale"));
            for j in 0..acc[0].len() / 4 {
                if j % SCALES_AT_ONCE == 0 && j > 0 {
                    k.setp(Cmp::Le, Int::S32, inside, within, 8 * j as i32);
                    k.when(inside).bra_uni("scaled");
                }
                for (e, &column) in columns.iter().enumerate() {
                    let ahead = (8 * j + e) as i32;
                    k.setp(Cmp::Gt, Int::S32, inside, left, ahead).mov_f32(column, 0.0);
                    k.when(inside).ld_global_f32(Cache::Nc, column, base.at(4 * ahead));
                }
                for (acc, rows) in acc.iter().zip(&rows) {
                    for e in 0..4 {
                        let v = acc[4 * j + e];
                        k.mul_f32(scale, rows[e / 2], columns[e % 2]).mul_f32(v, v, scale);
                    }
                }
            }
            k.place("scaled");
        }
        let has_bias = flag(k, "has_bias", self.flags, BIAS, tmp);
        k.unless(has_bias).bra_uni("biased");
        let rows = of_rows(k, "bias", block.params.bias, has_bias);
        for (acc, rows) in acc.iter().zip(&rows) {
            for (e, &v) in acc.iter().enumerate() {
                k.add_f32(v, v, rows[e % 4 / 2]);
            }
        }
        k.place("biased");
    }

    /// Adds the residual to a piece, and stores it.
    fn piece(&self, k: &mut Kernel, c: &Consumer, acc: &[Vec<Reg<F32>>], f32: bool, number: u32) {
        let g = c.g();
        let per_slice = g.tile.n / g.piece_tokens(f32);
        let (slice, part) = (number / per_slice, number % per_slice);
        let values = (4 * g.piece_tokens(f32) / 8) as usize;
        let acc = &acc[slice as usize][values * part as usize..][..values];
        let in_stage = g.residual_pieces(f32);
        let (stage, at) = ((number / in_stage) as usize, number % in_stage);
        let added = format!("added_{}_{number}", if f32 { "f32" } else { "half" });

        k.note(format!(
            "features from {} on, tokens from {}",
            64 * slice,
            part * g.piece_tokens(f32)
        ));
        k.unless(self.has_residual).bra_uni(added.as_str());
        let base = k.scratch("residual_piece");
        match g.form.owners() {
            1 => k.mov_b32(base, self.stage_at[stage]),
            _ => k.mad_lo_u32(base, c.number, in_stage * STORE_PIECE, self.stage_at[stage]),
        };
        if at > 0 {
            k.add_u32(base, base, at * STORE_PIECE);
        }
        match f32 {
            true => self.add_f32(k, base, acc),
            false => self.add_half(k, base, acc),
        }
        k.place(added.as_str());
        // of two pieces' memory the one before last has been read: its copy is the leader's last but one;
        // the others have none to wait for
        k.bulk_wait_read(1);
        c.meet(k);
        let to = self.buffer(k, number);
        match f32 {
            true => self.put_f32(k, to, acc),
            false => self.put_half(k, to, acc),
        }
        k.fence_proxy_async();
        c.meet(k);
        if at + 1 == in_stage {
            let freed = k.scratch::<Pred>("residual_read");
            k.and_pred(freed, self.has_residual, c.teller);
            c.tell_residual_free(k, freed, self.barrier[stage]);
        }
        self.copy(k, c, to, f32, (64 * slice, part * g.piece_tokens(f32)));
    }

    fn buffer(&self, k: &mut Kernel, number: u32) -> Reg<B32> {
        match number % 2 {
            0 => self.store,
            _ => {
                let second = k.scratch("store_second");
                k.add_u32(second, self.store, STORE_PIECE);
                second
            }
        }
    }

    /// Starts the copy of a piece, `ahead` of the warpgroup's first feature and token.
    fn copy(&self, k: &mut Kernel, c: &Consumer, from: Reg<B32>, f32: bool, ahead: (u32, u32)) {
        let (g, place) = (c.g(), c.block.items.place);
        let at: Vector<B32, 2> = k.scratches("y_box");
        let [plain, across] = self.lead;
        k.add_u32(at[0], place.m, ahead.0);
        if g.form.owners() > 1 {
            k.mad_lo_u32(at[0], c.number, 64 * g.slices(), at[0]);
        }
        k.add_u32(at[1], place.n, ahead.1);
        k.when(across).tensor_store_2d(self.map, Vector([at[1], at[0]]), from);
        k.when(plain).tensor_store_2d(self.map, at, from);
        if f32 {
            k.add_u32(at[0], at[0], 32);
            k.when(plain).tensor_store_2d(self.map, at, from.at(PIECE / 2));
        }
        k.bulk_commit();
    }

    fn put_half(&self, k: &mut Kernel, to: Reg<B32>, acc: &[Reg<F32>]) {
        let words: Vector<B32, 4> = k.scratches("y_word");
        let at = k.scratch("put_at");
        for (pair, &place) in self.places.half.iter().enumerate() {
            for (i, acc) in acc[8 * pair..][..8].chunks(2).enumerate() {
                self.narrow.pair(k, words[i], acc[1], acc[0]);
            }
            k.add_u32(at, to, place);
            k.when(self.transposed).stmatrix_x4(Trans::No, at, words);
            k.unless(self.transposed).stmatrix_x4(Trans::Yes, at, words);
        }
    }

    fn add_half(&self, k: &mut Kernel, from: Reg<B32>, acc: &[Reg<F32>]) {
        let words: Vector<B32, 4> = k.scratches("residual_word");
        let (at, wide) = (k.scratch("take_at"), k.scratches::<F32, 2>("residual"));
        for (pair, &place) in self.places.half.iter().enumerate() {
            k.add_u32(at, from, place);
            k.ldmatrix_x4(Trans::Yes, words, at);
            k.when(self.transposed).ldmatrix_x4(Trans::No, words, at);
            for (i, acc) in acc[8 * pair..][..8].chunks(2).enumerate() {
                self.widen(k, [wide[0], wide[1]], words[i]);
                k.add_f32(acc[0], acc[0], wide[0]).add_f32(acc[1], acc[1], wide[1]);
            }
        }
    }

    /// The f32 of the two halves of `word`, low first.
    fn widen(&self, k: &mut Kernel, d: [Reg<F32>; 2], word: Reg<B32>) {
        let halves: Vector<B16, 2> = k.scratches("residual_half");
        k.unpack_b16(halves, word);
        self.narrow.widen_sm90(k, d[0], halves[0]);
        self.narrow.widen_sm90(k, d[1], halves[1]);
    }

    fn put_f32(&self, k: &mut Kernel, to: Reg<B32>, acc: &[Reg<F32>]) {
        let at = k.scratch("put_at");
        for (i, &place) in self.places.f32.iter().enumerate() {
            k.add_u32(at, to, place);
            for block in 0..2 {
                let v = acc[4 * block + i];
                k.unless(self.transposed).st_shared_f32(at.at(1024 * block as i32), v);
            }
        }
        for (block, &place) in self.places.across.iter().enumerate() {
            k.add_u32(at, to, place);
            for row in 0..2 {
                let two = Vector([acc[4 * block + 2 * row], acc[4 * block + 2 * row + 1]]);
                k.when(self.transposed).st_shared_v2_f32(at.at(512 * row as i32), two);
            }
        }
    }

    fn add_f32(&self, k: &mut Kernel, from: Reg<B32>, acc: &[Reg<F32>]) {
        let (at, parts) = (k.scratch("take_at"), k.scratches::<F32, 8>("residual_wide"));
        for (i, &place) in self.places.f32.iter().enumerate() {
            k.add_u32(at, from, place);
            for block in 0..2 {
                let part = parts[4 * block + i];
                k.ld_shared_f32(part, at.at(1024 * block as i32));
            }
        }
        for (block, &place) in self.places.across.iter().enumerate() {
            k.add_u32(at, from, place);
            for row in 0..2 {
                let two = Vector([parts[4 * block + 2 * row], parts[4 * block + 2 * row + 1]]);
                k.when(self.transposed).ld_shared_v2_f32(two, at.at(512 * row as i32));
            }
        }
        for (&v, &part) in acc.iter().zip(&parts.0) {
            k.add_f32(v, v, part);
        }
    }
}

impl Places {
    fn find(&self, k: &mut Kernel, c: &Consumer, transposed: Reg<Pred>) {
        let s = self;
        let [warp, row, high, tmp] =
            ["y_warp", "y_row", "y_high", "y_tmp"].map(|r| k.reg::<B32>(r));
        k.and_b32(warp, c.thread, 96).shr(Int::U32, warp, warp, 5);
        k.note(
            "16 bits: row l mod 8 of matrix l / 8; matrices: features g, g + 8, then 8 tokens on",
        );
        k.and_b32(row, c.lane, 7).bfe_u32(high, c.lane, 3, 1);
        k.mad_lo_u32(high, warp, 2, high).xor_b32(high, high, row);
        k.shr(Int::U32, tmp, c.lane, 4).mad_lo_u32(tmp, tmp, 8, row).shl_b32(tmp, tmp, 7);
        k.mad_lo_u32(s.half[0], high, 16, tmp).add_u32(s.half[1], s.half[0], 2048);
        let (token, across) = (k.reg("y_token"), k.reg("half_across"));
        k.note("transposed: row l mod 16 of the warp's features, and 8 tokens on from lane 16");
        k.and_b32(row, c.lane, 15).mad_lo_u32(row, warp, 16, row);
        k.bfe_u32(high, row, 1, 2).shr(Int::U32, token, c.lane, 4).xor_b32(high, high, token);
        k.shl_b32(high, high, 4).mad_lo_u32(across, row, 64, high);
        k.when(transposed).mov_b32(s.half[0], across);
        k.when(transposed).xor_b32(s.half[1], across, 32);
        k.note("f32: feature g of 16 of the warp's half, tokens 2t and 2t + 1");
        k.shr(Int::U32, row, c.lane, 2).and_b32(token, c.lane, 3).shl_b32(token, token, 1);
        k.and_b32(high, warp, 1).shl_b32(high, high, 2).shr(Int::U32, tmp, row, 2);
        k.add_u32(high, high, tmp).xor_b32(high, high, token).shl_b32(high, high, 4);
        k.mad_lo_u32(high, token, 128, high).and_b32(tmp, row, 3).mad_lo_u32(high, tmp, 4, high);
        k.shr(Int::U32, tmp, warp, 1).mad_lo_u32(s.f32[0], tmp, 2048, high);
        k.xor_b32(s.f32[1], s.f32[0], 16).add_u32(s.f32[1], s.f32[1], 128);
        k.xor_b32(s.f32[2], s.f32[0], 32).xor_b32(s.f32[3], s.f32[1], 32);
        k.note("transposed: tokens 2t and 2t + 1 of row g");
        k.bfe_u32(high, row, 1, 2).shr(Int::U32, tmp, token, 2).xor_b32(high, high, tmp);
        k.shl_b32(high, high, 4).mad_lo_u32(row, warp, 16, row).mad_lo_u32(high, row, 64, high);
        k.and_b32(tmp, token, 2).mad_lo_u32(s.across[0], tmp, 4, high);
        k.xor_b32(s.across[1], s.across[0], 32);
    }
}

/// `p` = whether a bit of the flags is set
fn is(k: &mut Kernel, p: Reg<Pred>, flags: Reg<B32>, bit: u32, tmp: Reg<B32>) {
    k.and_b32(tmp, flags, bit).setp(Cmp::Ne, Int::U32, p, tmp, 0);
}

/// Integers to f32, each in its own register: with others ptxas 13.5 runs out of them.
fn convert(k: &mut Kernel, sums: &[Reg<B32>]) -> Vec<Reg<F32>> {
    let floats: Vec<_> = sums.iter().map(|sum| sum.as_f32()).collect();
    for (&float, &sum) in floats.iter().zip(sums) {
        k.cvt_f32_int(Int::S32, float, sum);
    }
    floats
}
