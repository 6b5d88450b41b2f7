//! The main loop of the dense twin. W is row-major, and k may be summed in any order, as long as A and
//! B agree: lane (g, t) takes pieces t and t + 4 (16 bytes, eight columns each) of a row's k-block
//! straight from memory, for W (rows g and g + 8) and for X (token g) alike. Words 2j and 2j + 1 of a
//! piece are the fragments of an `mma` m16n8k16 each, so nothing is shuffled and nothing staged.

use super::{Call, Shape};
use quickpick_ptx::{B32, B64, Cache, Cmp, F32, Int, Kernel, Pred, Reg, Vector};

/// K-blocks of W in registers, and of X.
const A_STAGES: u32 = 4;
const B_STAGES: u32 = 2;
/// Bytes of a row's k-block, and of its half.
const ROW: u32 = 128;
const HALF: u32 = ROW / 2;

/// Rows that this lane reads, and whether what it would load exists.
struct Lanes {
    /// W: features g and g + 8. X: tokens g and g + 8.
    a: [Reg<B64>; 2],
    b: [Reg<B64>; 2],
    g: Reg<B32>,
    t: Reg<B32>,
    row: Reg<B32>,
    last: Reg<B32>,
    /// Bytes of a row of W or X.
    stride: Reg<B32>,
    /// Columns from the k-block in hand to the end.
    columns: Reg<B32>,
    load: Reg<Pred>,
    whole: Reg<Pred>,
    /// The warp has no k-block left.
    done: Reg<Pred>,
}

/// A k-block of two rows: `[row][half]`, a piece each.
type Pieces = [[Vector<B32, 4>; 2]; 2];

pub(super) fn emit(k: &mut Kernel, shape: &Shape, call: &Call, acc: &[Reg<F32>]) {
    let a = pieces(k, "a", A_STAGES);
    let b = pieces(k, "b", B_STAGES);
    k.section("lane (g, t) reads rows g and g + 8, piece t; past the last row, the last");
    let lanes = Lanes::new(k, shape, call);
    lanes.aim(k, shape, call, Operand::W);
    k.note(format!("W of the first {A_STAGES} k-blocks"));
    for (ahead, a) in (0..).zip(&a) {
        lanes.load(k, shape, call, ahead, ahead, Operand::W, a);
    }
    lanes.aim(k, shape, call, Operand::X);
    k.note(format!("X of the first {B_STAGES}"));
    for (ahead, b) in (0..).zip(&b) {
        lanes.load(k, shape, call, ahead, ahead, Operand::X, b);
    }

    k.note("the main loop comes twice: with one tile of eight tokens, and with two");
    k.unless(call.two).bra_uni("k_blocks_1");
    for tiles in [2, 1] {
        trip(k, shape, call, &lanes, tiles, [&a, &b], acc);
    }
    k.place("k_done");
}

/// The main loop for so many tiles of tokens.
fn trip(
    k: &mut Kernel,
    shape: &Shape,
    call: &Call,
    lanes: &Lanes,
    tiles: usize,
    [a, b]: [&[Pieces]; 2],
    acc: &[Reg<F32>],
) {
    let label = format!("k_blocks_{tiles}");
    k.section(format!("up to {} tokens: {A_STAGES} k-blocks a trip", 8 * tiles));
    k.place(label.as_str());
    for (now, a) in (0..).zip(a) {
        let b = &b[now as usize % B_STAGES as usize];
        k.note(format!("k-block {now} of the trip"));
        k.setp(Cmp::Eq, Int::U32, lanes.done, call.left, 0).when(lanes.done).bra_uni("k_done");
        let whole = format!("half_{tiles}_{now}");
        for half in 0..2 {
            if half == 1 {
                let columns = lanes.columns_at(shape, now) + 32;
                k.setp(Cmp::Gt, Int::S32, lanes.whole, lanes.columns, columns);
                k.unless(lanes.whole).bra_uni(whole.as_str());
            }
            for step in 0..2 {
                for tile in 0..tiles {
                    let c = Vector(std::array::from_fn(|i| acc[4 * tile + i]));
                    let word = |row: usize, w: usize| a[row][half][2 * step + w];
                    let fragment = [word(0, 0), word(1, 0), word(0, 1), word(1, 1)];
                    let x = [b[tile][half][2 * step], b[tile][half][2 * step + 1]];
                    k.mma_16816(shape.ty, c, Vector(fragment), Vector(x), c);
                }
            }
        }
        k.place(whole.as_str());
        lanes.load(k, shape, call, A_STAGES, now + A_STAGES, Operand::W, a);
        let x = &b[..tiles];
        lanes.load(k, shape, call, B_STAGES, now + B_STAGES, Operand::X, x);
        k.sub_u32(call.left, call.left, 1);
    }
    k.note("the next trip");
    let blocks = A_STAGES * shape.warps;
    for at in lanes.a.into_iter().chain(lanes.b) {
        k.add_u64(at, at, (blocks * ROW) as i32);
    }
    k.sub_u32(lanes.columns, lanes.columns, blocks * shape.tile.k);
    k.bra_uni(label.as_str());
}

/// Registers for `stages` k-blocks of two rows.
fn pieces(k: &mut Kernel, role: &str, stages: u32) -> Vec<Pieces> {
    let words = k.reg_list::<B32>(role, 16 * stages as usize);
    let piece = |at: usize| Vector(std::array::from_fn(|i| words[at + i]));
    (0..stages as usize)
        .map(|s| [0, 1].map(|row| [0, 1].map(|half| piece(16 * s + 8 * row + 4 * half))))
        .collect()
}

/// The two sides of the product.
#[derive(Clone, Copy, PartialEq)]
enum Operand {
    W,
    X,
}

impl Lanes {
    fn new(k: &mut Kernel, shape: &Shape, call: &Call) -> Self {
        let [g, t, row, last, stride, columns] =
            ["g", "t", "row", "last_row", "row_bytes", "columns"].map(|role| k.reg(role));
        k.shr(Int::U32, g, call.lane, 2).and_b32(t, call.lane, 3).shl_b32(stride, call.k, 1);
        k.mul_lo_u32(columns, call.first, shape.tile.k).sub_u32(columns, call.k, columns);
        let [load, whole, done] = ["load", "whole", "done"].map(|role| k.reg(role));
        let a = [k.reg("w_first"), k.reg("w_second")];
        let b = [k.reg("x_first"), k.reg("x_second")];
        Self { a, b, g, t, row, last, stride, columns, load, whole, done }
    }

    /// Computes where the operand's first k-block of this lane lies.
    fn aim(&self, k: &mut Kernel, shape: &Shape, call: &Call, operand: Operand) {
        let Self { row, last, .. } = *self;
        let (at, base, rows) = match operand {
            Operand::W => (self.a, call.values, call.m),
            Operand::X => (self.b, call.x, call.n),
        };
        k.sub_u32(last, rows, 1);
        for (i, at) in at.into_iter().enumerate() {
            k.add_u32(row, self.g, 8 * i as u32);
            if operand == Operand::W {
                k.mad_lo_u32(row, call.tile, shape.tile.m, row);
            }
            k.min(Int::U32, row, row, last).mad_wide(Int::U32, at, row, self.stride, base);
            k.mad_wide(Int::U32, at, call.first, ROW, at).mad_wide(Int::U32, at, self.t, 16, at);
        }
    }

    /// Columns from the trip's first k-block to its `at`-th of this warp.
    fn columns_at(&self, shape: &Shape, at: u32) -> i32 {
        (at * shape.warps * shape.tile.k) as i32
    }

    /// Loads the k-block `ahead` of the one in hand, the trip's `at`-th, if there is one; its second
    /// half, if there is one.
    fn load(
        &self,
        k: &mut Kernel,
        shape: &Shape,
        call: &Call,
        ahead: u32,
        at: u32,
        operand: Operand,
        to: &[[Vector<B32, 4>; 2]],
    ) {
        let (rows, cache) = match operand {
            Operand::W => (self.a, Cache::NcOnce),
            Operand::X => (self.b, Cache::Nc),
        };
        let offset = (at * shape.warps * ROW) as i32;
        let columns = self.columns_at(shape, at);
        k.setp(Cmp::Gt, Int::U32, self.load, call.left, ahead);
        k.setp(Cmp::Gt, Int::S32, self.whole, self.columns, columns + 32);
        k.and_pred(self.whole, self.whole, self.load);
        for (row, to) in rows.into_iter().zip(to) {
            k.when(self.load).ld_global_v4_b32(cache, to[0], row.at(offset));
            k.when(self.whole).ld_global_v4_b32(cache, to[1], row.at(offset + HALF as i32));
        }
    }
}
