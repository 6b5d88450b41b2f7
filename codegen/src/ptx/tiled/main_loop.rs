//! The main loop: tile after tile of k, software-pipelined on two levels.
//!
//! `stages − 1` tiles are on their way from memory, or there, while one is multiplied; and from shared
//! memory, A comes a step and B `AHEAD` slices before use, across the border of tiles, too. A trip
//! multiplies `stages` tiles, so that every shared address is a register plus a constant.

use super::copies::Copies;
use super::fragments::Fragments;
use super::geometry::{AHEAD, Geometry};
use quickpick_ptx::{Cmp, Int, Kernel, Pred, Reg};

/// Emits the loop; behind it the accumulators are complete and the stages are free.
pub(super) fn emit(k: &mut Kernel, g: &Geometry, copies: &Copies, f: &Fragments) {
    let more = k.reg::<Pred>("more");
    k.section("the first fragments");
    k.cp_async_wait(g.stages - 2).bar_sync(0);
    f.load_meta(k, 0, 0);
    for i in 0..g.m_tiles {
        f.load_a(k, 0, 0, i);
    }
    for slice in 0..AHEAD {
        f.load_b(k, 0, slice);
    }
    k.section(format!("main loop: {} tiles a trip", g.stages));
    k.place("trip");
    for tile in 0..g.stages {
        self::tile(k, g, copies, f, tile, more);
    }
    copies.advance(k, g.stages);
    k.bra_uni("trip");
    k.section("the last slices of the last tile");
    k.place("tail");
    for slice in g.tile_slices() - AHEAD..g.tile_slices() {
        k.note(slice_name(g, slice));
        f.multiply(k, slice);
    }
}

/// Multiplies the tile of a stage, copies the one that comes `stages − 1` later into the stage that
/// the former tile has left, and ends with the first fragments of the next.
fn tile(k: &mut Kernel, g: &Geometry, copies: &Copies, f: &Fragments, tile: u32, more: Reg<Pred>) {
    let next = (tile + 1) % g.stages;
    let free = (tile + g.stages - 1) % g.stages;
    let ahead = tile + g.stages - 1;
    let slices = g.tile_slices();
    // slices of the last step behind the barrier: there the next tile's A may take the registers of
    // the step before
    let last = AHEAD.min(g.slices());
    let bursts = bursts(copies.count(), slices);
    k.section(format!("multiply stage {tile}, copy into stage {free}"));
    k.setp(Cmp::Gt, Int::S32, more, copies.left, tile + 1);
    copies.decide(k, ahead);
    for slice in 0..slices {
        let (step, at) = (slice / g.slices(), slice % g.slices());
        if slice + AHEAD == slices {
            k.note(format!(
                "stage {next} has come for all threads, and all have read stage {tile}"
            ));
            k.cp_async_commit().cp_async_wait(g.stages - 2).bar_sync(0);
            k.unless(more).bra_uni("tail");
            f.load_meta(k, next, 0);
        }
        match (slice + AHEAD).checked_sub(slices) {
            None => f.load_b(k, tile, slice + AHEAD),
            Some(of_next) => f.load_b(k, next, of_next),
        }
        if step + 1 < g.steps {
            if at == 0 {
                f.load_meta(k, tile, step + 1);
            }
            // all of A within the first half of the step before
            for i in share(g.m_tiles, at, g.slices() / 2) {
                f.load_a(k, tile, step + 1, i);
            }
        }
        if let Some(turn) = (slice + last).checked_sub(slices) {
            for i in share(g.m_tiles, turn, last) {
                f.load_a(k, next, 0, i);
            }
        }
        if let Some(i) = bursts.iter().position(|&at| at == slice) {
            copies.burst(k, ahead, free, (i, bursts.len()));
        }
        k.note(slice_name(g, slice));
        f.multiply(k, slice);
    }
}

/// A slice of a tile: a step along k and the n-tiles of one `ldmatrix.x4`.
fn slice_name(g: &Geometry, slice: u32) -> String {
    let (step, first) = (slice / g.slices(), slice % g.slices() * g.slice);
    match g.slice {
        1 => format!("step {step}, n-tile {first}"),
        _ => format!("step {step}, n-tiles {first} and {}", first + 1),
    }
}

/// Before which slices a tile's copies are issued: early, as their latency is the longest, and in
/// two bursts if they are many, so that the fragments' loads need not queue behind all of them.
fn bursts(copies: usize, slices: u32) -> Vec<u32> {
    if copies > 8 { vec![1, 1 + slices / 4] } else { vec![1] }
}

/// The part of `0..count` that falls to `turn` of `turns`.
fn share(count: u32, turn: u32, turns: u32) -> std::ops::Range<u32> {
    let each = count.div_ceil(turns.max(1));
    (turn * each).min(count)..((turn + 1) * each).min(count)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_cover_everything_once() {
        for (count, turns) in [(4, 4), (4, 3), (2, 1), (4, 1), (2, 3), (4, 2)] {
            let all: Vec<_> = (0..turns + 2).flat_map(|turn| share(count, turn, turns)).collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>(), "{count} over {turns}");
        }
    }
}
