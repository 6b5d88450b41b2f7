//! How a few columns of a strip meet others: what [`outer`](super::outer) is written over.

use super::products::finish_i32;
use super::weights::STRIP;
use super::{Element, MOST_LANES, Simd};
use bytemuck::Pod;
use std::marker::PhantomData;

/// Sums of products, lanes being the rows of strips, for an instruction set and a type of weights. A value is proof of
/// the set. The rows are W's, and the others tokens' inputs, where W is 2:4, and the other way round where it is dense.
///
/// A step takes [`Self::COLUMNS`] columns, a word of each row or more, by groups that are picked from the same inputs.
pub(super) trait Columns: Copy {
    /// Elements of rows in memory.
    type W: Pod;
    /// Elements of the others in memory.
    type X: Pod;
    /// A vector of rows' elements, and what it is multiplied with or that is picked from.
    type V: Copy;
    /// The places of what is picked.
    type At: Copy;
    /// Partial sums.
    type Sum: Copy;

    /// Rows in a vector; divides [`STRIP`].
    const ROWS: usize;
    /// Others whose sums of one vector fill half the registers: 16 or 8.
    const OTHERS: usize;
    const COLUMNS: usize;
    /// Elements of a row for these.
    const VALUES: usize;
    /// Groups of columns in a step.
    const GROUPS: usize = 1;
    /// Multiplications of a group, at most 2.
    const PICKS: usize;
    /// Elements in memory of another's inputs of some groups: what they are picked from.
    const UNIT: usize;
    /// How often each input is there.
    const COPIES: usize = 1;
    /// Columns whose sums are as exact as the type promises.
    const DEPTH: usize = usize::MAX;

    fn zero(self) -> Self::Sum;

    /// The `pick`-th elements of a group, of the rows from `row` of the strip on.
    ///
    /// # Safety
    ///
    /// `values` points to a strip's, which have the group.
    unsafe fn weights(
        self,
        values: *const Self::W,
        group: usize,
        row: usize,
        pick: usize,
    ) -> Self::V;

    /// Their places.
    ///
    /// # Safety
    ///
    /// `codes` points to the strip's metadata, if the weights are 2:4.
    unsafe fn places(self, codes: *const u32, group: usize, row: usize, pick: usize) -> Self::At;

    /// What another's inputs of a group are picked from.
    ///
    /// # Safety
    ///
    /// `x` points to its first unit; the next is `unit` elements further on, and they have the group.
    unsafe fn inputs(self, x: *const Self::X, group: usize, unit: usize) -> Self::V;

    /// Each row's inputs.
    fn pick(self, inputs: Self::V, at: Self::At) -> Self::V;

    fn add(self, sum: Self::Sum, w: Self::V, x: Self::V) -> Self::Sum;

    /// What inputs are too high by, for a multiplication that wants none below zero.
    #[inline(always)]
    fn shift(self) -> Option<Self::V> {
        None
    }

    /// Adds sums, less those of `shifted`, the products of the shift, to what lies there, unless they are the first.
    ///
    /// # Safety
    ///
    /// `to` points to ROWS sums.
    unsafe fn store(self, to: *mut f32, sum: Self::Sum, shifted: Self::Sum, first: bool);

    /// Makes f32 of finished sums, where they lie.
    fn finish(_: &mut [f32]) {}

    /// Asks for a cache line ahead of its use; any address will do.
    fn prefetch<T>(self, address: *const T);
}

/// 2:4 weights of T, all widened to f32: a group at a time.
#[derive(Clone, Copy)]
pub(super) struct Kept<S, T>(pub S, pub PhantomData<T>);

/// Dense weights and inputs that were widened to f32: a column at a time.
#[derive(Clone, Copy)]
pub(super) struct Whole<S>(pub S);

/// 2:4 weights of 8-bit integers in f32, exactly: no lane of a sum gets more than [`EXACT`] products, each at most 2¹⁴,
/// so that none leaves the 24 bits of a significand.
#[derive(Clone, Copy)]
pub(super) struct KeptExact<S>(pub S);

/// Products of 8-bit integers whose sum f32 holds, whatever they are.
pub(super) const EXACT: usize = 1 << (24 - 14);

/// What all have in common.
macro_rules! in_f32 {
    ($W:ty) => {
        type W = $W;
        type X = f32;
        type V = S::F;
        type Sum = S::F;
        const ROWS: usize = S::LANES;
        const OTHERS: usize = if S::REGISTERS == 32 { 16 } else { 8 };

        #[inline(always)]
        fn zero(self) -> S::F {
            self.0.splat(0.0)
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

/// 2:4 weights: two picks of each four columns.
macro_rules! kept {
    ($groups:literal) => {
        type At = S::I;
        const COLUMNS: usize = 4 * $groups;
        const VALUES: usize = 2 * $groups;
        const GROUPS: usize = $groups;
        const PICKS: usize = 2;
        const UNIT: usize = S::LANES;
        const COPIES: usize = S::LANES / (4 * S::GROUPS);

        #[inline(always)]
        unsafe fn weights(
            self,
            values: *const Self::W,
            group: usize,
            row: usize,
            pick: usize,
        ) -> S::F {
            let (step, group) = (group / $groups, group % $groups);
            // SAFETY: the caller's promise
            unsafe {
                let step = values.add(step * STRIP * Self::VALUES);
                <Self::W>::load_kept(self.0, step, row, 2 * group + pick)
            }
        }

        #[inline(always)]
        unsafe fn places(self, codes: *const u32, group: usize, row: usize, pick: usize) -> S::I {
            // SAFETY: the caller's promise: two words a group
            unsafe { self.0.places(codes.add(2 * group), row, pick, group) }
        }

        #[inline(always)]
        unsafe fn inputs(self, x: *const f32, group: usize, unit: usize) -> S::F {
            // SAFETY: the caller's promise
            unsafe { self.0.load(x.add(group / S::GROUPS * unit)) }
        }

        #[inline(always)]
        fn pick(self, inputs: S::F, at: S::I) -> S::F {
            self.0.pick(inputs, at)
        }
    };
}

/// Sums of f32.
macro_rules! inexact {
    () => {
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, sum: S::F, _: S::F, first: bool) {
            // SAFETY: the caller's promise
            unsafe {
                let sum =
                    if first { sum } else { self.0.fma(self.0.load(to), self.0.splat(1.0), sum) };
                self.0.store(to, sum);
            }
        }
    };
}

/// Sums that become i32 before they are added up.
macro_rules! exact {
    () => {
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, sum: S::F, _: S::F, first: bool) {
            let mut lanes = [0.0f32; MOST_LANES];
            // SAFETY: room for LANES f32s, of MOST_LANES; LANES sums of 32 bits at `to`
            let to = unsafe {
                self.0.store(lanes.as_mut_ptr(), sum);
                std::slice::from_raw_parts_mut(to.cast::<i32>(), S::LANES)
            };
            for (to, lane) in to.iter_mut().zip(lanes) {
                *to = lane as i32 + if first { 0 } else { *to };
            }
        }

        #[inline(always)]
        fn finish(sums: &mut [f32]) {
            finish_i32(bytemuck::cast_slice_mut(sums));
        }
    };
}

impl<S: Simd, T: Element> Columns for Kept<S, T> {
    in_f32!(T);
    kept!(1);
    inexact!();
}

impl<S: Simd> Columns for KeptExact<S> {
    in_f32!(i8);
    kept!(2);
    exact!();
    const DEPTH: usize = 2 * EXACT;
}

impl<S: Simd> Columns for Whole<S> {
    in_f32!(f32);
    inexact!();
    type At = ();
    const COLUMNS: usize = 1;
    const VALUES: usize = 1;
    const PICKS: usize = 1;
    const UNIT: usize = 1;

    #[inline(always)]
    unsafe fn weights(self, values: *const f32, group: usize, row: usize, _: usize) -> S::F {
        // SAFETY: the caller's promise
        unsafe { self.0.load(values.add(group * STRIP + row)) }
    }

    #[inline(always)]
    unsafe fn places(self, _: *const u32, _: usize, _: usize, _: usize) {}

    #[inline(always)]
    unsafe fn inputs(self, x: *const f32, group: usize, unit: usize) -> S::F {
        // SAFETY: the caller's promise
        self.0.splat(unsafe { *x.add(group * unit) })
    }

    #[inline(always)]
    fn pick(self, inputs: S::F, (): ()) -> S::F {
        inputs
    }
}

/// Rows of a strip, as lanes.
const _: () = assert!(STRIP == MOST_LANES);
