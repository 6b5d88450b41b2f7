//! The types of weights, and which products each set of instructions has for them.

use super::by_column;
use super::columns::{Kept, KeptExact, Whole};
use super::dot::{self, Dot};
use super::outer::{self, Outer};
use super::pack::{Pack, Units, Word};
use super::products::{Exact, Wide};
use super::weights::Rows;
use super::{Element, Isa, Kernel, Simd, Widen};
use bytemuck::{Pod, cast_slice, cast_slice_mut};
use half::{bf16, f16};
use quickpick_format::{E4m3, E5m2};
use quickpick_kernels::Weights;
use std::marker::PhantomData;

/// What makes 8-bit integers unsigned: their lowest value becomes 0.
pub(super) const INT8_SHIFT: u8 = 128;

/// How a layer's tokens are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cpu) enum Form {
    /// Dense weights for few tokens, as dot products.
    Dots,
    /// 2:4 weights as outer products, lanes being rows, which pick from each token's inputs.
    Picks,
    /// Outer products, lanes being tokens: dense weights for many of them, 2:4 ones where nothing picks.
    Lanes,
}

/// Some columns of x on their way to a panel of `width` tokens: those from `start` on, as many as the panel has room
/// for; zeros for tokens that x does not have.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Inputs<'a, T> {
    pub form: Form,
    pub x: &'a [T],
    pub k: usize,
    pub start: usize,
    pub width: usize,
}

/// A type of weights and inputs.
pub(in crate::cpu) trait Weight: Element {
    /// The faster form.
    fn form(isa: Isa, weights: Weights, tokens: usize) -> Form {
        match weights {
            Weights::Sparse24 if isa.picks() || tokens < 8 => Form::Picks,
            Weights::Dense if tokens < 32 => Form::Dots,
            _ => Form::Lanes,
        }
    }

    /// Bytes of an input as the products take it.
    fn input_bytes(isa: Isa, form: Form) -> usize {
        wide_bytes(isa, form)
    }

    /// Packs inputs as outer products take them.
    fn pack(isa: Isa, job: Inputs<'_, Self>, panel: &mut [u8]) {
        pack_words::<Self, _>(isa, isa.unit(), job, panel);
    }

    /// The job's products, as outer products.
    fn outer(isa: Isa, job: Outer<'_, Self>) {
        isa.run(InF32(job));
    }

    /// Inputs as dot products take them, in room for them.
    fn prepare<'a>(isa: Isa, x: &'a [Self], room: &'a mut [u8]) -> &'a [u8] {
        widened(isa, x, room)
    }

    /// The job's products, as dot products.
    fn dot(isa: Isa, job: Dot<'_, Self>) {
        isa.run(InF32(job));
    }
}

impl Weight for f32 {}
impl Weight for f16 {}
impl Weight for E4m3 {}
impl Weight for E5m2 {}

impl Weight for bf16 {
    fn input_bytes(isa: Isa, form: Form) -> usize {
        if isa.has_pairs() { 2 } else { wide_bytes(isa, form) }
    }

    fn pack(isa: Isa, job: Inputs<'_, Self>, panel: &mut [u8]) {
        match isa.has_pairs() {
            true => pack_words::<[bf16; 2], _>(isa, [2, 1], job, panel),
            false => pack_words::<bf16, _>(isa, isa.unit(), job, panel),
        }
    }

    fn outer(isa: Isa, job: Outer<'_, Self>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16(s, pairs) => pairs.outer_bf16(s, job),
            _ => isa.run(InF32(job)),
        }
    }

    fn prepare<'a>(isa: Isa, x: &'a [Self], room: &'a mut [u8]) -> &'a [u8] {
        if isa.has_pairs() {
            return cast_slice(x);
        }
        widened(isa, x, room)
    }

    fn dot(isa: Isa, job: Dot<'_, Self>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16(_, pairs) => pairs.dot_bf16(job),
            _ => isa.run(InF32(job)),
        }
    }
}

impl Weight for i8 {
    fn form(_: Isa, weights: Weights, _: usize) -> Form {
        match weights {
            Weights::Sparse24 => Form::Picks,
            Weights::Dense => Form::Dots,
        }
    }

    fn input_bytes(isa: Isa, form: Form) -> usize {
        if isa.has_pairs() { 1 } else { wide_bytes(isa, form) }
    }

    fn pack(isa: Isa, job: Inputs<'_, Self>, panel: &mut [u8]) {
        if !isa.has_pairs() {
            return pack_words::<i8, _>(isa, isa.unit(), job, panel);
        }
        pack_words::<[i8; 4], _>(isa, [2, 1], job, panel);
        panel.iter_mut().for_each(|x| *x = unsigned(x.cast_signed()));
    }

    fn outer(isa: Isa, job: Outer<'_, Self>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16(_, pairs) => pairs.outer_i8(job),
            _ => isa.run(ExactInF32(job)),
        }
    }

    fn prepare<'a>(isa: Isa, x: &'a [Self], room: &'a mut [u8]) -> &'a [u8] {
        if isa.has_pairs() {
            let room = &mut room[..x.len()];
            for (to, x) in room.iter_mut().zip(x) {
                *to = unsigned(*x);
            }
            return room;
        }
        widened(isa, x, room)
    }

    fn dot(isa: Isa, job: Dot<'_, Self>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16(_, pairs) => pairs.dot_i8(job),
            _ => isa.run(ExactInF32(job)),
        }
    }
}

/// As f32s, as many as one is picked from.
fn wide_bytes(isa: Isa, form: Form) -> usize {
    match form {
        Form::Picks => 4 * isa.unit()[1],
        Form::Dots | Form::Lanes => 4,
    }
}

fn unsigned(x: i8) -> u8 {
    x.cast_unsigned().wrapping_add(INT8_SHIFT)
}

fn widened<'a, T: Element>(isa: Isa, x: &[T], room: &'a mut [u8]) -> &'a [u8] {
    let room = &mut room[..4 * x.len()];
    isa.run(Widen { from: x, to: cast_slice_mut(room) });
    room
}

/// As words W, widened or as they are: by units, of which 2:4 weights pick, or word by word.
fn pack_words<W: Word + Pod, T: Pod>(
    isa: Isa,
    [unit, copies]: [usize; 2],
    job: Inputs<'_, T>,
    panel: &mut [u8],
) {
    let (x, panel) = (cast_slice::<T, W>(job.x), cast_slice_mut(panel));
    let columns = size_of::<W>() / size_of::<T>();
    let (k, start, width) = (job.k / columns, job.start / columns, job.width);
    match job.form {
        Form::Picks => isa.run(Units { x, k, start, width, unit, copies, panel }),
        Form::Dots | Form::Lanes => isa.run(Pack { x, k, start, width, panel }),
    }
}

struct InF32<J>(J);

impl<T: Element> Kernel for InF32<Dot<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        dot::run(Wide(s, PhantomData), self.0)
    }
}

impl<T: Element> Kernel for InF32<Outer<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match (self.0.weights, self.0.form) {
            (Rows::Sparse(..), Form::Lanes) => by_column::run(s, self.0),
            (Rows::Sparse(..), _) => outer::sparse(Kept(s, PhantomData), self.0),
            (Rows::Dense(w), _) => outer::dense(Whole(s), s, w, self.0),
        }
    }
}

struct ExactInF32<J>(J);

impl Kernel for ExactInF32<Dot<'_, i8>> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        dot::run(Exact(s), self.0)
    }
}

impl Kernel for ExactInF32<Outer<'_, i8>> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        outer::sparse(KeptExact(s), self.0)
    }
}
