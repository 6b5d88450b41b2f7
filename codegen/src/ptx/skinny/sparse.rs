//! The main loop of the 2:4 kernel: weights from memory to registers (`packed`), X through a ring in
//! shared memory that each warp has to itself (`ring`), and no barrier of the block.

use super::halves::Halves;
use super::items::Items;
use super::packed::Packed;
use super::ring::{GOES, Ring};
use super::{Call, Shape};
use crate::ptx::mma::Accumulators;
use crate::ptx::rows::WARP;
use quickpick_ptx::{B32, B64, Cmp, Int, Kernel, Reg, Trans, Vector};

/// A k-block to be loaded: so many turns of the warp ahead of the one in hand, and so many after the
/// first of the trip, which pointers stand at.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub ahead: u32,
    pub at: u32,
}

pub(super) fn emit(
    k: &mut Kernel,
    shape: &Shape,
    call: &Call,
    items: &Items,
    metadata: Reg<B64>,
    acc: &Accumulators,
) {
    let stages = shape.stages;
    k.section(format!("weights of the first {stages} k-blocks, before anything else"));
    let packed = Packed::new(k, shape);
    packed.aim(k, shape, call, items, metadata);
    for ahead in 0..stages {
        packed.load(k, shape, call, Turn { ahead, at: ahead }, ahead);
    }
    let ring = Ring::new(k, shape, call);
    let halves = shape.halves.then(|| Halves::new(k, shape, call));
    let b = [k.regs("b_first"), k.regs("b_second")];
    k.section("what follows comes twice: for one tile of eight tokens, and for two");
    k.unless(call.two).bra_uni("one_tile");
    for (tiles, label) in [(2, "two_tiles"), (1, "one_tile")] {
        k.section(format!("up to {} tokens", 8 * tiles));
        k.place(label);
        let goes = tiles * GOES;
        ring.clear(k, stages, goes);
        for ahead in 0..stages - 1 {
            ring.copy(k, shape, call, Turn { ahead, at: ahead }, ahead, goes);
        }
        k.note(format!("{stages} k-blocks a trip"));
        let again = format!("{label}_again");
        k.place(again.as_str());
        for now in 0..stages {
            let turn = |ahead| Turn { ahead, at: now + ahead };
            k.note(format!("k-block {now} of the trip"));
            k.setp(Cmp::Eq, Int::U32, ring.done, call.left, 0).when(ring.done).bra_uni("k_done");
            k.note("its X has landed for all lanes, and all have read the one before");
            k.cp_async_wait(stages - 2).bar_warp_sync(WARP);
            let ahead = stages - 1;
            ring.copy(k, shape, call, turn(ahead), (now + ahead) % stages, goes);
            match &halves {
                Some(halves) => halves.multiply(k, &packed, &ring, now, &b[..tiles], acc),
                None => multiply(k, shape, &packed, &ring, now, &b[..tiles], acc),
            }
            packed.load(k, shape, call, turn(stages), now);
            k.sub_u32(call.left, call.left, 1);
        }
        k.note("the next trip");
        packed.advance(k, shape, stages);
        ring.advance(k, shape, stages);
        k.bra_uni(again.as_str());
    }
    k.place("k_done");
    k.note("all lanes have read the last X: its bytes are free");
    k.bar_warp_sync(WARP);
}

/// Both k-steps of a stage, for each fragment of features and each tile of tokens.
fn multiply(
    k: &mut Kernel,
    shape: &Shape,
    packed: &Packed,
    ring: &Ring,
    stage: u32,
    b: &[Vector<B32, 4>],
    acc: &Accumulators,
) {
    for step in 0..2 {
        for (tile, &b) in b.iter().enumerate() {
            k.ldmatrix_x4(Trans::No, b, ring.fragment(shape, stage, tile as u32, step));
        }
        for (fragment, weights) in (0..).zip(&packed.stages[stage as usize]) {
            let meta = match weights.meta[..] {
                [one] => (one, step as u32),
                _ => (weights.meta[step], 0),
            };
            for (tile, &b) in (0..).zip(b) {
                let tile = fragment * shape.tile.n / 8 + tile;
                acc.multiply_sparse(k, tile, weights.a[step], b, meta);
            }
        }
    }
}
