//! How a vector of weights meets inputs: what [`dot`](super::dot) is written over.

use super::columns::EXACT;
use super::{Element, Simd};
use bytemuck::Pod;
use std::marker::PhantomData;

/// Most elements of a vector.
pub(super) const MOST: usize = 64;

/// Sums of products along k, for an instruction set and a type of weights. A value is proof of the set.
pub(super) trait Products: Copy {
    /// Weights in memory.
    type W: Pod;
    /// Inputs in memory.
    type X: Pod;
    /// `LENGTH` weights or inputs.
    type V: Copy;
    /// Partial sums.
    type Sum: Copy;
    /// A finished sum: 32 bits.
    type Out: Pod + std::ops::AddAssign;

    /// Weights that are multiplied at once; a power of two, at most [`MOST`].
    const LENGTH: usize;
    /// Tokens, by four rows, whose sums the registers hold, at most 4.
    const TOKENS: usize;
    /// Columns whose sums are as exact as the type promises.
    const DEPTH: usize = usize::MAX;
    /// What is added to every input, for a multiplication that wants none below zero.
    const SHIFT: Option<Self::X> = None;

    fn zero(self) -> Self::Sum;

    /// # Safety
    ///
    /// `from` points to `LENGTH` weights.
    unsafe fn weights(self, from: *const Self::W) -> Self::V;

    /// # Safety
    ///
    /// `from` points to `LENGTH` inputs.
    unsafe fn inputs(self, from: *const Self::X) -> Self::V;

    /// The shift, `LENGTH` times.
    fn shift(self, x: Self::X) -> Self::V;

    fn add(self, sum: Self::Sum, w: Self::V, x: Self::V) -> Self::Sum;

    /// Adds the lanes up, less those of `shifted`, the products of the shift.
    fn total(self, sum: Self::Sum, shifted: Self::Sum) -> Self::Out;

    /// Makes f32 of finished sums, where they lie.
    fn finish(_: &mut [Self::Out]) {}

    /// Asks for a cache line ahead of its use; any address will do.
    fn prefetch<T>(self, address: *const T);
}

/// Weights of T and inputs, all widened to f32.
#[derive(Clone, Copy)]
pub(super) struct Wide<S, T>(pub S, pub PhantomData<T>);

/// 8-bit integers in f32, exactly, as [`columns`](super::columns) has them.
#[derive(Clone, Copy)]
pub(super) struct Exact<S>(pub S);

/// What both have in common.
macro_rules! in_f32 {
    ($W:ty) => {
        type W = $W;
        type X = f32;
        type V = S::F;
        type Sum = S::F;
        const LENGTH: usize = S::LANES;
        const TOKENS: usize = if S::REGISTERS == 32 { 4 } else { 2 };

        #[inline(always)]
        fn zero(self) -> S::F {
            self.0.splat(0.0)
        }

        #[inline(always)]
        unsafe fn weights(self, from: *const $W) -> S::F {
            // SAFETY: the caller's promise is the same
            unsafe { Element::load(self.0, from) }
        }

        #[inline(always)]
        unsafe fn inputs(self, from: *const f32) -> S::F {
            // SAFETY: the caller's promise is the same
            unsafe { self.0.load(from) }
        }

        #[inline(always)]
        fn shift(self, x: f32) -> S::F {
            self.0.splat(x)
        }

        #[inline(always)]
        fn add(self, sum: S::F, w: S::F, x: S::F) -> S::F {
            self.0.fma(w, x, sum)
        }

        #[inline(always)]
        fn prefetch<P>(self, address: *const P) {
            self.0.prefetch(address)
        }
    };
}

impl<S: Simd, T: Element> Products for Wide<S, T> {
    in_f32!(T);
    type Out = f32;

    #[inline(always)]
    fn total(self, sum: S::F, _: S::F) -> f32 {
        self.0.sum(sum)
    }
}

impl<S: Simd> Products for Exact<S> {
    in_f32!(i8);
    type Out = i32;
    const DEPTH: usize = EXACT * S::LANES;

    #[inline(always)]
    fn total(self, sum: S::F, _: S::F) -> i32 {
        let mut lanes = [0.0f32; super::MOST_LANES];
        // SAFETY: room for LANES f32s, of MOST_LANES
        unsafe { self.0.store(lanes.as_mut_ptr(), sum) };
        lanes.iter().map(|lane| *lane as i32).sum()
    }

    #[inline(always)]
    fn finish(sums: &mut [i32]) {
        finish_i32(sums);
    }
}

/// i32 to f32, rounded once, in the same 32 bits.
#[inline(always)]
pub(super) fn finish_i32(sums: &mut [i32]) {
    sums.iter_mut().for_each(|sum| *sum = (*sum as f32).to_bits().cast_signed());
}
