//! X of a warp's k-blocks: `cp.async` keeps several in flight, `ldmatrix` turns them into B fragments.
//!
//! Piece c (16 bytes) of row r (token) of a k-block lies at c ⊕ (r mod 8): `cp.async` writes whole
//! rows and `ldmatrix` reads columns of pieces without a bank conflict.

use super::sparse::Turn;
use super::{Call, Shape};
use quickpick_ptx::{Addr, B32, B64, Cmp, Int, Kernel, Pred, Prefetch, Reg, Src, Vector};

/// Bytes of a token's part of a k-block.
const ROW: u32 = Shape::ROW;
/// Tokens whose pieces a warp copies in one go.
const TOKENS: u32 = 4;
/// Goes of a tile of eight tokens.
pub(super) const GOES: usize = 8 / TOKENS as usize;

pub(super) struct Ring {
    /// Sources of the k-block in hand, of tokens `lane/8 + 4·i`.
    x: Vec<Reg<B64>>,
    /// Which of those tokens exist.
    exists: Vec<Reg<Pred>>,
    /// Bytes from this lane's piece of the k-block in hand to the end of X's row.
    rest: Reg<B32>,
    /// Destinations in the first stage, for even and odd i.
    to: [Reg<B32>; 2],
    /// Sources in the first stage: of `ldmatrix` for each k-step; of what becomes f16 for each piece.
    from: Vec<Reg<B32>>,
    stage: u32,
    zero: Vector<B32, 4>,
    /// The k-block to be loaded exists; this lane's piece of it does, also as bytes; the token too.
    load: Reg<Pred>,
    within: Reg<Pred>,
    bytes: Reg<B32>,
    wanted: Reg<Pred>,
    /// The warp has no k-block left.
    pub done: Reg<Pred>,
}

impl Ring {
    /// Bytes of a stage: a k-block of as many tokens as the tile has.
    pub fn stage_bytes(shape: &Shape) -> u32 {
        shape.tile.n * ROW
    }

    pub fn new(k: &mut Kernel, shape: &Shape, call: &Call) -> Self {
        k.section("X: this lane copies piece lane mod 8 of tokens lane/8 + 4*i");
        let [piece, token, rest, at] = ["piece", "token", "x_rest", "x_offset"].map(|r| k.reg(r));
        let (lane, region) = (call.lane(k), call.region(k, shape));
        k.and_b32(piece, lane, 7).shr(Int::U32, token, lane, 3);
        let [row, stride] = ["x_row", "x_row_bytes"].map(|role| k.reg(role));
        k.shl_b32(stride, call.k, shape.element.bytes().ilog2());
        k.shl_b32(at, piece, 4).mad_lo_u32(at, call.first, ROW, at).sub_u32(rest, stride, at);
        let count = (shape.tile.n / TOKENS) as usize;
        let (x, exists) = (k.reg_list::<B64>("x_at", count), k.reg_list("exists", count));
        k.mov_b32(row, token);
        for (i, (&x, &exists)) in x.iter().zip(&exists).enumerate() {
            if i > 0 {
                k.add_u32(row, row, TOKENS);
            }
            k.setp(Cmp::Lt, Int::U32, exists, row, call.n);
            k.mad_wide(Int::U32, x, row, stride, call.x).mad_wide(Int::U32, x, at, 1, x);
        }
        k.note("it goes to piece c xor (r mod 8) of row r; token + 4 turns bit 2 of that over");
        let to = [k.reg("to_even"), k.reg("to_odd")];
        k.xor_b32(row, piece, token).shl_b32(row, row, 4).mad_lo_u32(row, token, ROW, row);
        k.add_u32(to[0], row, region).xor_b32(to[1], to[0], 16 * TOKENS);
        let from = if shape.halves {
            halves_from(k, [lane, region, row])
        } else {
            k.note("ldmatrix: lane l names row l mod 8 of matrix l/8, piece l/8 + 4*step");
            let from = vec![k.reg("from_first"), k.reg("from_second")];
            k.xor_b32(row, piece, token).shl_b32(row, row, 4).mad_lo_u32(row, piece, ROW, row);
            k.add_u32(from[0], row, region).xor_b32(from[1], from[0], 64);
            from
        };
        let [load, within, wanted, done] =
            ["load_x", "within", "wanted", "done"].map(|role| k.reg(role));
        let (bytes, stage, zero) = (k.reg("x_bytes"), Self::stage_bytes(shape), k.regs("zero"));
        Self { x, exists, rest, to, from, stage, zero, load, within, bytes, wanted, done }
    }

    /// Where this lane's `i`-th piece goes in a stage.
    fn place(&self, stage: u32, i: usize) -> Addr<B32> {
        self.to[i % 2].at((stage * self.stage + i as u32 * TOKENS * ROW) as i32)
    }

    /// The source of a tile of tokens: for a k-step, or a piece.
    pub fn fragment(&self, shape: &Shape, stage: u32, tile: u32, at: usize) -> Addr<B32> {
        let tile_bytes = shape.tile.n / 2 * ROW;
        self.from[at].at((stage * self.stage + tile * tile_bytes) as i32)
    }

    /// Of so many goes, those whose tokens all exist: a tile is there only if one of its tokens is.
    fn whole(goes: usize) -> usize {
        goes - GOES
    }

    /// Zeros for the tokens of the first `goes` that do not exist, in every stage.
    pub fn clear(&self, k: &mut Kernel, stages: u32, goes: usize) {
        let zero = self.zero;
        k.note("tokens that do not exist are zeros");
        for word in zero.0 {
            k.mov_b32(word, 0);
        }
        for stage in 0..stages {
            for (i, &exists) in self.exists.iter().enumerate().take(goes).skip(Self::whole(goes)) {
                k.unless(exists).st_shared_v4_b32(self.place(stage, i), zero);
            }
        }
    }

    /// Begins to copy a k-block to a stage, `goes` times four tokens, if there is such a k-block.
    /// Pieces past the row's end are zeros.
    pub fn copy(
        &self,
        k: &mut Kernel,
        shape: &Shape,
        call: &Call,
        turn: Turn,
        stage: u32,
        goes: usize,
    ) {
        let ahead = (turn.at * shape.warps * ROW) as i32;
        k.setp(Cmp::Gt, Int::U32, self.load, call.left, turn.ahead);
        k.setp(Cmp::Gt, Int::S32, self.within, self.rest, ahead);
        k.selp_b32(self.bytes, 16, 0, self.within);
        for (i, (&x, &exists)) in self.x.iter().zip(&self.exists).enumerate().take(goes) {
            let (to, from) = (self.place(stage, i), x.at(ahead));
            let bytes = Src::from(self.bytes);
            let wanted = if i < Self::whole(goes) {
                self.load
            } else {
                k.and_pred(self.wanted, self.load, exists);
                self.wanted
            };
            k.when(wanted).cp_async_ca_fill(Prefetch::None, to, from, 16, bytes);
        }
        k.cp_async_commit();
    }

    /// Moves the pointers on by so many turns.
    pub fn advance(&self, k: &mut Kernel, shape: &Shape, turns: u32) {
        let ahead = turns * shape.warps * ROW;
        for &x in &self.x {
            k.add_u64(x, x, ahead as i32);
        }
        k.sub_u32(self.rest, self.rest, ahead);
    }
}

/// Where lane (g, t) finds, in each piece of token g's row, the half with the groups that it shares with lane t ⊕ 1.
fn halves_from(k: &mut Kernel, [lane, region, row]: [Reg<B32>; 3]) -> Vec<Reg<B32>> {
    k.note("lane (g, t) reads half t/2 of token g's pieces");
    let from = k.reg_list::<B32>("from", ROW as usize / 16);
    let [token, half] = ["from_token", "from_half"].map(|role| k.reg(role));
    k.shr(Int::U32, token, lane, 2).bfe_u32(half, lane, 1, 1);
    k.mad_lo_u32(row, token, ROW, region).mad_lo_u32(row, half, 8, row).shl_b32(token, token, 4);
    for (piece, &from) in (0..).zip(&from) {
        k.xor_b32(from, token, 16 * piece).add_u32(from, from, row);
    }
    from
}
