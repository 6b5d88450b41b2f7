//! The element types that the CPU computes with.

use super::weights::STRIP;
use super::{MOST_LANES, Simd, bf16_bits};
use bytemuck::Pod;
use half::{bf16, f16};
use quickpick_format::{E4m3, E5m2};

/// A type in memory; arithmetic is in f32.
pub(in crate::cpu) trait Element: Pod + Send + Sync {
    /// Widens one value, exactly.
    fn widen(self) -> f32;

    /// Rounds to nearest, ties to even.
    fn narrow(x: f32) -> Self;

    /// Widens `S::LANES` values.
    ///
    /// # Safety
    ///
    /// `from` points to as many.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F;

    /// Widens the `term`-th kept values of `S::LANES` rows from `row` on, as a step of a strip of 2:4 weights holds
    /// them: all rows' first values, all rows' second.
    ///
    /// # Safety
    ///
    /// `step` points to the step's values; `row + S::LANES <= 16`.
    #[inline(always)]
    unsafe fn load_kept<S: Simd>(s: S, step: *const Self, row: usize, term: usize) -> S::F {
        // SAFETY: the caller's promise
        unsafe { Self::load(s, step.add(STRIP * term + row)) }
    }

    /// Rounds and stores `S::LANES` values.
    ///
    /// # Safety
    ///
    /// `to` has room for as many.
    unsafe fn store<S: Simd>(s: S, to: *mut Self, x: S::F);
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(x: f32) -> Self {
        x
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F {
        // SAFETY: the caller's promise is the same
        unsafe { s.load(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut Self, x: S::F) {
        // SAFETY: the caller's promise is the same
        unsafe { s.store(to, x) }
    }
}

impl Element for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn narrow(x: f32) -> Self {
        Self::from_f32(x)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F {
        // SAFETY: the caller's promise is the same; f16 is a transparent u16
        unsafe { s.load_f16(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut Self, x: S::F) {
        // SAFETY: the caller's promise is the same; f16 is a transparent u16
        unsafe { s.store_f16(to.cast(), x) }
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }

    #[inline(always)]
    fn narrow(x: f32) -> Self {
        Self::from_bits(bf16_bits(x))
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F {
        // SAFETY: the caller's promise is the same; bf16 is a transparent u16
        unsafe { s.load_bf16(from.cast()) }
    }

    /// Each row's two are neighbours.
    #[inline(always)]
    unsafe fn load_kept<S: Simd>(s: S, step: *const Self, row: usize, term: usize) -> S::F {
        // SAFETY: the caller's promise; words of two
        unsafe { s.load_half(step.cast::<u32>().add(row), term) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut Self, x: S::F) {
        // SAFETY: the caller's promise is the same; bf16 is a transparent u16
        unsafe { s.store_bf16(to.cast(), x) }
    }
}

/// `load` and `store` by way of single values.
macro_rules! one_at_a_time {
    () => {
        #[inline(always)]
        unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F {
            let mut wide = [0.0; MOST_LANES];
            for (i, x) in wide[..S::LANES].iter_mut().enumerate() {
                // SAFETY: the caller promises LANES values
                *x = unsafe { *from.add(i) }.widen();
            }
            // SAFETY: LANES f32s, of MOST_LANES
            unsafe { s.load(wide.as_ptr()) }
        }

        #[inline(always)]
        unsafe fn store<S: Simd>(s: S, to: *mut Self, x: S::F) {
            let mut wide = [0.0; MOST_LANES];
            // SAFETY: room for LANES f32s, of MOST_LANES
            unsafe { s.store(wide.as_mut_ptr(), x) };
            for (i, x) in wide[..S::LANES].iter().enumerate() {
                // SAFETY: the caller promises room for LANES values
                unsafe { *to.add(i) = Self::narrow(*x) };
            }
        }
    };
}

/// Plain loops, which compilers vectorise.
impl Element for i8 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn narrow(x: f32) -> Self {
        x.round_ties_even() as Self
    }

    /// Each row's four are neighbours.
    #[inline(always)]
    unsafe fn load_kept<S: Simd>(s: S, step: *const Self, row: usize, term: usize) -> S::F {
        // SAFETY: the caller's promise; words of four
        unsafe { s.load_byte(step.cast::<u32>().add(row), term) }
    }

    one_at_a_time!();
}

/// No instruction set here knows them.
macro_rules! float8 {
    ($($name:ident)*) => {$(
        impl Element for $name {
            #[inline(always)]
            fn widen(self) -> f32 {
                self.to_f32()
            }

            #[inline(always)]
            fn narrow(x: f32) -> Self {
                Self::from_f32(x)
            }

            one_at_a_time!();
        }
    )*};
}
float8!(E4m3 E5m2);
