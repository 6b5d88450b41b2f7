//! The main loop of the 2:4 kernel. Weights and metadata lie in register order and are loaded as they
//! are used; X goes through a ring in shared memory that each warp has to itself, so that `cp.async`
//! keeps it in flight and `ldmatrix` turns it into B fragments, without a barrier of the block.
//!
//! Piece c (16 bytes) of row r (token) of a k-block lies at c ⊕ (r mod 8): `cp.async` writes whole
//! rows and `ldmatrix` reads columns of pieces without a bank conflict.

use super::{Call, Shape};
use crate::ptx::rows::WARP;
use quickpick_ptx::{
    B32, B64, Cache, Cmp, F32, Int, Kernel, Pred, Prefetch, Reg, Src, Trans, Vector,
};

/// Bytes of a k-block's kept values and metadata, 16 rows × 64 columns.
const VALUE_BYTES: u32 = 1024;
const META_BYTES: u32 = 128;
/// Bytes of a token's part of a k-block of X.
const ROW: u32 = 128;
/// Tokens whose pieces a warp copies at once.
const TOKENS: u32 = 4;

/// Where this lane reads and writes.
struct Lanes {
    /// Weights of the k-block in hand.
    values: Reg<B64>,
    meta: Reg<B64>,
    /// X of the k-block in hand, of tokens `lane/8 + 4·i`.
    x: Vec<Reg<B64>>,
    /// Which of those tokens exist.
    exists: Vec<Reg<Pred>>,
    /// Columns from this lane's piece of the k-block in hand to the end of X.
    columns: Reg<B32>,
    /// Destinations in the ring, for even and odd i.
    to: [Reg<B32>; 2],
    /// Sources of `ldmatrix`, for each k-step.
    from: [Reg<B32>; 2],
    /// The k-block to be loaded exists; this lane's piece of X does, and as bytes; the token too.
    load: Reg<Pred>,
    within: Reg<Pred>,
    bytes: Reg<B32>,
    wanted: Reg<Pred>,
    /// The warp has no k-block left.
    done: Reg<Pred>,
}

/// A k-block's weights in registers.
struct Weights {
    a: [Vector<B32, 4>; 2],
    meta: Reg<B32>,
}

pub(super) fn emit(
    k: &mut Kernel,
    shape: &Shape,
    call: &Call,
    metadata: Reg<B64>,
    acc: &[Reg<F32>],
) {
    let stage_bytes = shape.tile.n * ROW;
    let stages = shape.region / stage_bytes;
    let lanes = Lanes::new(k, shape, call, metadata);
    let words = k.reg_list::<B32>("a", 8 * stages as usize);
    let metas = k.reg_list::<B32>("meta", stages as usize);
    let four = |from: usize| Vector(std::array::from_fn(|i| words[from + i]));
    let weights: Vec<_> = metas
        .iter()
        .enumerate()
        .map(|(s, &meta)| Weights { a: [four(8 * s), four(8 * s + 4)], meta })
        .collect();
    let b: [Vector<B32, 4>; 2] = [k.regs("b_first"), k.regs("b_second")];

    k.section("tokens that do not exist are zeros in every stage");
    let zero = k.regs::<B32, 4>("zero");
    for word in zero.0 {
        k.mov_b32(word, 0);
    }
    for stage in 0..stages {
        for (i, &exists) in lanes.exists.iter().enumerate() {
            let at = lanes.to[i % 2].at((stage * stage_bytes + i as u32 * TOKENS * ROW) as i32);
            k.unless(exists).st_shared_v4_b32(at, zero);
        }
    }

    k.section(format!("the first k-blocks: weights of {stages}, X of {}", stages - 1));
    for (ahead, stage) in (0..stages).zip(&weights) {
        lanes.load_weights(k, shape, call, ahead, ahead, stage);
        if ahead + 1 < stages {
            lanes.copy_x(k, shape, call, ahead, ahead, ahead * stage_bytes, lanes.x.len());
        }
    }

    k.note("the main loop comes twice: with one tile of eight tokens, and with two");
    k.unless(call.two).bra_uni(first_block(1).as_str());
    for tiles in [2, 1] {
        let trip = Trip { tiles, stage_bytes, weights: &weights, b: &b, acc };
        trip.emit(k, shape, call, &lanes);
    }
    k.place("k_done");
}

fn first_block(tiles: usize) -> String {
    format!("k_blocks_{tiles}")
}

/// The main loop for so many tiles of tokens.
struct Trip<'a> {
    tiles: usize,
    stage_bytes: u32,
    weights: &'a [Weights],
    b: &'a [Vector<B32, 4>],
    acc: &'a [Reg<F32>],
}

impl Trip<'_> {
    fn emit(&self, k: &mut Kernel, shape: &Shape, call: &Call, lanes: &Lanes) {
        let &Self { tiles, stage_bytes, weights, .. } = self;
        let stages = weights.len() as u32;
        k.section(format!("up to {} tokens: {stages} k-blocks a trip, a stage each", 8 * tiles));
        k.place(first_block(tiles).as_str());
        for (now, stage) in (0..stages).zip(weights) {
            k.note(format!("k-block {now} of the trip"));
            k.setp(Cmp::Eq, Int::U32, lanes.done, call.left, 0).when(lanes.done).bra_uni("k_done");
            k.note("its X has landed for all lanes, and all have read the one before");
            k.cp_async_wait(stages - 2).bar_warp_sync(WARP);
            let ahead = stages - 1;
            let free = (now + ahead) % stages * stage_bytes;
            lanes.copy_x(k, shape, call, ahead, now + ahead, free, 2 * tiles);
            for (step, &a) in stage.a.iter().enumerate() {
                let from = lanes.from[step];
                for (tile, &b) in self.b[..tiles].iter().enumerate() {
                    let at = from.at((now * stage_bytes + tile as u32 * 8 * ROW) as i32);
                    k.ldmatrix_x4(Trans::No, b, at);
                }
                for (tile, &b) in self.b[..tiles].iter().enumerate() {
                    let c = Vector(std::array::from_fn(|i| self.acc[4 * tile + i]));
                    k.mma_sp_16832(shape.ty, c, a, b, c, stage.meta, step as u32);
                }
            }
            lanes.load_weights(k, shape, call, stages, now + stages, stage);
            k.sub_u32(call.left, call.left, 1);
        }
        lanes.advance(k, shape, stages);
        k.bra_uni(first_block(tiles).as_str());
    }
}

impl Lanes {
    fn new(k: &mut Kernel, shape: &Shape, call: &Call, metadata: Reg<B64>) -> Self {
        let step = shape.tile.k;
        k.section("where this lane reads: weights 16 + 16 bytes of a k-block, metadata a word");
        let [values, meta] = ["values_at", "meta_at"].map(|role| k.reg(role));
        let bytes = k.reg("bytes");
        for (at, base, block, lane) in
            [(values, call.values, VALUE_BYTES, 16), (meta, metadata, META_BYTES, 4)]
        {
            k.mul_lo_u32(bytes, call.k_blocks, block).mad_wide(
                Int::U32,
                at,
                call.tile,
                bytes,
                base,
            );
            k.mad_wide(Int::U32, at, call.first, block, at);
            k.mad_wide(Int::U32, at, call.lane, lane, at);
        }

        k.section("X: piece lane mod 8 of tokens lane/8 + 4*i");
        let [piece, token, columns, column] =
            ["piece", "token", "columns", "column"].map(|role| k.reg(role));
        k.and_b32(piece, call.lane, 7).shr(Int::U32, token, call.lane, 3);
        k.shl_b32(column, piece, 3).mad_lo_u32(column, call.first, step, column);
        k.sub_u32(columns, call.k, column);
        let count = (shape.tile.n / TOKENS) as usize;
        let (x, exists) = (k.reg_list::<B64>("x_at", count), k.reg_list("exists", count));
        let [row, stride] = ["x_row", "x_row_bytes"].map(|role| k.reg(role));
        k.shl_b32(stride, call.k, 1);
        for (i, (&x, &exists)) in x.iter().zip(&exists).enumerate() {
            k.add_u32(row, token, TOKENS * i as u32).setp(Cmp::Lt, Int::U32, exists, row, call.n);
            k.mad_wide(Int::U32, x, row, stride, call.x).mad_wide(Int::U32, x, column, 2, x);
        }

        k.section("the warp's ring: where X is copied to, and where ldmatrix reads it");
        let to = [k.reg("to_even"), k.reg("to_odd")];
        k.xor_b32(row, piece, token).shl_b32(row, row, 4).mad_lo_u32(row, token, ROW, row);
        k.add_u32(to[0], row, call.region).xor_b32(to[1], to[0], 16 * TOKENS);
        let from = [k.reg("from_first"), k.reg("from_second")];
        k.note("lane l: row l mod 8 of matrix l/8, which is piece l/8 + 4*step");
        k.xor_b32(row, piece, token).shl_b32(row, row, 4).mad_lo_u32(row, piece, ROW, row);
        k.add_u32(from[0], row, call.region).xor_b32(from[1], from[0], 64);
        let [load, within, wanted, done] =
            ["load", "within", "wanted", "done"].map(|role| k.reg(role));
        Self { values, meta, x, exists, columns, to, from, load, within, bytes, wanted, done }
    }

    /// Loads the weights of the k-block `ahead` of the one in hand, the trip's `at`-th, if there is
    /// one.
    fn load_weights(
        &self,
        k: &mut Kernel,
        shape: &Shape,
        call: &Call,
        ahead: u32,
        at: u32,
        w: &Weights,
    ) {
        let from = |base: Reg<B64>, bytes: u32| base.at((at * shape.warps * bytes) as i32);
        k.setp(Cmp::Gt, Int::U32, self.load, call.left, ahead);
        let (values, meta) = (from(self.values, VALUE_BYTES), from(self.meta, META_BYTES));
        k.when(self.load).ld_global_v4_b32(Cache::NcOnce, w.a[0], values);
        let second = self.values.at(values.offset + VALUE_BYTES as i32 / 2);
        k.when(self.load).ld_global_v4_b32(Cache::NcOnce, w.a[1], second);
        k.when(self.load).ld_global_b32(Cache::NcOnce, w.meta, meta);
    }

    /// Begins to copy X of the same k-block to the ring's byte `stage`, four tokens at a time; pieces
    /// past the last column are zeros.
    fn copy_x(
        &self,
        k: &mut Kernel,
        shape: &Shape,
        call: &Call,
        ahead: u32,
        at: u32,
        stage: u32,
        fours: usize,
    ) {
        let columns = at * shape.warps * shape.tile.k;
        k.setp(Cmp::Gt, Int::U32, self.load, call.left, ahead);
        k.setp(Cmp::Gt, Int::S32, self.within, self.columns, columns as i32);
        k.selp_b32(self.bytes, 16, 0, self.within);
        for (i, (&x, &exists)) in self.x.iter().zip(&self.exists).enumerate().take(fours) {
            let to = self.to[i % 2].at((stage + i as u32 * TOKENS * ROW) as i32);
            k.and_pred(self.wanted, self.load, exists);
            let from = x.at((2 * columns) as i32);
            let bytes = Src::from(self.bytes);
            k.when(self.wanted).cp_async_ca_fill(Prefetch::None, to, from, 16, bytes);
        }
        k.cp_async_commit();
    }

    /// Moves every pointer to the next trip.
    fn advance(&self, k: &mut Kernel, shape: &Shape, blocks: u32) {
        k.note("the next trip");
        let blocks = blocks * shape.warps;
        let move_by = |k: &mut Kernel, at: Reg<B64>, bytes: u32| {
            k.add_u64(at, at, (blocks * bytes) as i32);
        };
        move_by(k, self.values, VALUE_BYTES);
        move_by(k, self.meta, META_BYTES);
        for &x in &self.x {
            move_by(k, x, 2 * shape.tile.k);
        }
        k.sub_u32(self.columns, self.columns, blocks * shape.tile.k);
    }
}
