//! How a broadcast weight meets a row of a panel: what [`tile`](super::tile) is written over.

use super::tile::VECTORS;
use super::weights::BLOCK_KEPT;
use super::{Element, Simd, SimdExt};
use bytemuck::Zeroable;
use std::marker::PhantomData;

/// Sums of products, lanes being tokens, for an instruction set and a type of weights. A value is proof of the set.
///
/// Weights come in words of 32 bits, each of which meets one row of a panel.
pub(super) trait Panels: Copy {
    /// Weights in memory.
    type W: Copy;
    /// A word for each lane.
    type V: Copy;
    /// Room for a block that is made.
    type Room: Zeroable;

    /// Words in a vector.
    const LANES: usize;
    /// Rows of 2:4 weights whose sums the registers hold, at most 4.
    const ROWS: usize;
    /// Columns of a block, which stays in the first cache while rows of W pass: a part of a block of 2:4 weights.
    const COLUMNS: usize;
    /// Columns of 2:4 weights for each of their words.
    const WORD_COLUMNS: usize;
    /// Columns for each row of a panel in memory.
    const ROW_COLUMNS: usize;

    /// # Safety
    ///
    /// `from` points to `LANES` words.
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// # Safety
    ///
    /// `to` points to room for `LANES` words.
    unsafe fn store(self, to: *mut f32, x: Self::V);

    fn splat(self, word: f32) -> Self::V;

    /// Each of four words.
    ///
    /// # Safety
    ///
    /// `from` points to them, aligned to nothing.
    unsafe fn splat4(self, from: *const f32) -> [Self::V; 4];

    fn add(self, sum: Self::V, w: Self::V, x: Self::V) -> Self::V;

    /// The block of a panel that starts at `from`: there, or made in `room`.
    ///
    /// # Safety
    ///
    /// The panel has `columns` columns from there on, of four vectors.
    unsafe fn block(self, from: *const f32, columns: usize, room: &mut Self::Room) -> *const f32;

    /// Kept values of a row as words: where they lie, aligned to nothing, or made in `room`.
    fn words(self, values: &[Self::W], room: &mut [f32; MOST_WORDS]) -> *const f32;

    /// Where in a block the row starts that each word of a row of W meets, by that row's codes.
    fn places(self, codes: &[u32], places: &mut [u32; MOST_WORDS]);

    /// Asks for a cache line ahead of its use; any address will do.
    fn prefetch<T>(self, address: *const T);
}

/// Words of a row in a block, at most.
pub(super) const MOST_WORDS: usize = BLOCK_KEPT;

/// f32: each word is one weight, each row of a panel one column.
#[derive(Clone, Copy)]
pub(super) struct Columns<S, T>(pub S, pub PhantomData<T>);

impl<S: Simd, T: Element> Panels for Columns<S, T> {
    type W = T;
    type V = S::F;
    type Room = ();
    const LANES: usize = S::LANES;
    const ROWS: usize = if S::REGISTERS == 32 { 4 } else { 2 };
    const COLUMNS: usize = 128;
    const WORD_COLUMNS: usize = 2;
    const ROW_COLUMNS: usize = 1;

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> S::F {
        // SAFETY: the caller's promise is the same
        unsafe { self.0.load(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: S::F) {
        // SAFETY: the caller's promise is the same
        unsafe { self.0.store(to, x) }
    }

    #[inline(always)]
    fn splat(self, word: f32) -> S::F {
        self.0.splat(word)
    }

    #[inline(always)]
    unsafe fn splat4(self, from: *const f32) -> [S::F; 4] {
        // SAFETY: the caller's promise is the same
        unsafe { self.0.splat4(from) }
    }

    #[inline(always)]
    fn add(self, sum: S::F, w: S::F, x: S::F) -> S::F {
        self.0.fma(w, x, sum)
    }

    #[inline(always)]
    unsafe fn block(self, from: *const f32, _: usize, (): &mut ()) -> *const f32 {
        from
    }

    #[inline(always)]
    fn words(self, values: &[T], room: &mut [f32; MOST_WORDS]) -> *const f32 {
        if T::IS_F32 {
            return values.as_ptr().cast();
        }
        self.0.widen(values, room);
        room.as_ptr()
    }

    #[inline(always)]
    fn places(self, codes: &[u32], places: &mut [u32; MOST_WORDS]) {
        for (i, &codes) in codes.iter().enumerate() {
            let mut columns = [0; 16];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = 32 * i as u32 + (j as u32 / 2 * 4) + (codes >> (2 * j) & 3);
            }
            let places = &mut places.as_chunks_mut().0[i];
            *places = columns.map(|column| column * (VECTORS * S::LANES) as u32);
        }
    }

    #[inline(always)]
    fn prefetch<P>(self, address: *const P) {
        self.0.prefetch(address)
    }
}
