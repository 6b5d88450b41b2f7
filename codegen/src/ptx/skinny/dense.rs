//! The main loop of the dense twin. W is row-major, and k may be summed in any order, as long as A and
//! B agree: lane (g, t) takes pieces t and t + 4 (16 bytes each) of a row's k-block
//! straight from memory, for W (rows g and g + 8) and for X (token g) alike. Words 2j and 2j + 1 of a
//! piece are the fragments of a product each, so nothing is shuffled and nothing staged.

use super::items::Items;
use super::{Call, Shape};
use crate::ptx::mma::Accumulators;
use quickpick_ptx::{B32, B64, Cache, Cmp, Int, Kernel, Pred, Reg, Vector};

/// K-blocks of X in registers.
const B_STAGES: u32 = 2;
/// Bytes of a row's k-block, and of its half.
const ROW: u32 = Shape::ROW;
const HALF: u32 = ROW / 2;

/// Rows that this lane reads, and whether what it would load exists.
struct Lanes {
    /// W: features g and g + 8 of each fragment. X: tokens g and g + 8.
    a: Vec<Reg<B64>>,
    b: Vec<Reg<B64>>,
    g: Reg<B32>,
    t: Reg<B32>,
    row: Reg<B32>,
    last: Reg<B32>,
    /// Bytes of a row of W or X.
    stride: Reg<B32>,
    /// Bytes of a row from the k-block in hand to the end.
    rest: Reg<B32>,
    load: Reg<Pred>,
    whole: Reg<Pred>,
    /// The warp has no k-block left.
    done: Reg<Pred>,
}

/// A k-block of some rows: of each row its halves, a piece each.
type Pieces = Vec<[Vector<B32, 4>; 2]>;

pub(super) fn emit(k: &mut Kernel, shape: &Shape, call: &Call, items: &Items, acc: &Accumulators) {
    let a = pieces(k, "a", shape.stages, 2 * shape.fragments() as usize);
    let b = pieces(k, "b", B_STAGES, 2);
    k.section("lane (g, t) reads rows g and g + 8, piece t; past the last row, the last");
    let lanes = Lanes::new(k, shape, call);
    lanes.aim(k, shape, call, items, Operand::W);
    k.note(format!("W of the first {} k-blocks", shape.stages));
    for (ahead, a) in (0..).zip(&a) {
        lanes.load(k, shape, call, ahead, ahead, Operand::W, a);
    }
    lanes.aim(k, shape, call, items, Operand::X);
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
    acc: &Accumulators,
) {
    let label = format!("k_blocks_{tiles}");
    // both rings go round
    let trip = shape.stages * B_STAGES;
    k.section(format!("up to {} tokens: {trip} k-blocks a trip", 8 * tiles));
    k.place(label.as_str());
    for now in 0..trip {
        let (a, b) = (&a[(now % shape.stages) as usize], &b[(now % B_STAGES) as usize]);
        k.note(format!("k-block {now} of the trip"));
        k.setp(Cmp::Eq, Int::U32, lanes.done, call.left, 0).when(lanes.done).bra_uni("k_done");
        let whole = format!("half_{tiles}_{now}");
        for half in 0..2 {
            if half == 1 {
                let ahead = lanes.ahead(shape, now) + HALF as i32;
                k.setp(Cmp::Gt, Int::S32, lanes.whole, lanes.rest, ahead);
                k.unless(lanes.whole).bra_uni(whole.as_str());
            }
            for step in 0..2 {
                for (fragment, rows) in (0..).zip(a.chunks(2)) {
                    for (tile, b) in (0..).zip(&b[..tiles]) {
                        let word = |row: usize, w: usize| rows[row][half][2 * step + w];
                        let a = [word(0, 0), word(1, 0), word(0, 1), word(1, 1)];
                        let x = [b[half][2 * step], b[half][2 * step + 1]];
                        acc.multiply(k, fragment * shape.tile.n / 8 + tile, Vector(a), x);
                    }
                }
            }
        }
        k.place(whole.as_str());
        lanes.load(k, shape, call, shape.stages, now + shape.stages, Operand::W, a);
        let x = &b[..tiles];
        lanes.load(k, shape, call, B_STAGES, now + B_STAGES, Operand::X, x);
        k.sub_u32(call.left, call.left, 1);
    }
    k.note("the next trip");
    let trip = lanes.ahead(shape, trip);
    for &at in lanes.a.iter().chain(&lanes.b) {
        k.add_u64(at, at, trip);
    }
    k.sub_u32(lanes.rest, lanes.rest, trip);
    k.bra_uni(label.as_str());
}

/// Registers for `stages` k-blocks of so many rows.
fn pieces(k: &mut Kernel, role: &str, stages: u32, rows: usize) -> Vec<Pieces> {
    let words = k.reg_list::<B32>(role, 8 * rows * stages as usize);
    let piece = |at: usize| Vector(std::array::from_fn(|i| words[at + i]));
    let row = |at: usize| [piece(8 * at), piece(8 * at + 4)];
    (0..stages as usize).map(|s| (0..rows).map(|i| row(s * rows + i)).collect()).collect()
}

/// The two sides of the product.
#[derive(Clone, Copy, PartialEq)]
enum Operand {
    W,
    X,
}

impl Lanes {
    fn new(k: &mut Kernel, shape: &Shape, call: &Call) -> Self {
        let [g, t, row, last, stride, rest] =
            ["g", "t", "row", "last_row", "row_bytes", "rest"].map(|role| k.reg(role));
        let lane = call.lane(k);
        k.shr(Int::U32, g, lane, 2).and_b32(t, lane, 3);
        k.shl_b32(stride, call.k, shape.element.bytes().ilog2());
        k.mul_lo_u32(rest, call.first, ROW).sub_u32(rest, stride, rest);
        let [load, whole, done] = ["load", "whole", "done"].map(|role| k.reg(role));
        let (a, b) = (k.reg_list("w_at", 2 * shape.fragments() as usize), k.reg_list("x_at", 2));
        Self { a, b, g, t, row, last, stride, rest, load, whole, done }
    }

    /// Computes where the operand's first k-block of this lane lies.
    fn aim(&self, k: &mut Kernel, shape: &Shape, call: &Call, items: &Items, operand: Operand) {
        let Self { row, last, .. } = *self;
        let (at, base, rows) = match operand {
            Operand::W => (&self.a, call.values, call.m),
            Operand::X => (&self.b, call.x, call.n),
        };
        k.sub_u32(last, rows, 1);
        for (i, &at) in (0..).zip(at) {
            k.add_u32(row, self.g, 8 * i);
            if operand == Operand::W {
                k.mad_lo_u32(row, items.tile, shape.tile.m, row);
            }
            k.min(Int::U32, row, row, last).mad_wide(Int::U32, at, row, self.stride, base);
            k.mad_wide(Int::U32, at, call.first, ROW, at).mad_wide(Int::U32, at, self.t, 16, at);
        }
    }

    /// Bytes of a row from the trip's first k-block to its `at`-th of this warp.
    fn ahead(&self, shape: &Shape, at: u32) -> i32 {
        (at * shape.warps * ROW) as i32
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
            Operand::W => (&self.a, Cache::NcOnce),
            Operand::X => (&self.b, Cache::Nc),
        };
        let offset = self.ahead(shape, at);
        k.setp(Cmp::Gt, Int::U32, self.load, call.left, ahead);
        k.setp(Cmp::Gt, Int::S32, self.whole, self.rest, offset + HALF as i32);
        k.and_pred(self.whole, self.whole, self.load);
        for (row, to) in rows.iter().zip(to) {
            k.when(self.load).ld_global_v4_b32(cache, to[0], row.at(offset));
            k.when(self.whole).ld_global_v4_b32(cache, to[1], row.at(offset + HALF as i32));
        }
    }
}
