//! The types of weights, and which products each set of instructions has for them.

use super::dot::{self, Dot};
use super::pack::Pack;
use super::panels::Columns;
use super::products::{Exact, Wide};
use super::tile::{self, Tile, VECTORS};
use super::weights::Rows;
use super::{Element, Isa, Kernel, Simd, Widen};
use half::{bf16, f16};
use quickpick_format::E4m3;
use quickpick_kernels::Weights;
use std::marker::PhantomData;

/// What makes 8-bit integers unsigned: their lowest value becomes 0.
pub(super) const INT8_SHIFT: u8 = 128;

/// A type of weights and inputs.
pub(in crate::cpu) trait Weight: Element {
    /// Tokens of a panel, where panels are ever better than dot products.
    fn panel(isa: Isa, _: Weights) -> Option<usize> {
        Some(VECTORS * isa.lanes())
    }

    /// Rows of a panel of k columns.
    fn panel_rows(_: Isa, k: usize) -> usize {
        k
    }

    /// Makes the rows from `start` on of a panel of x, `tokens × k`; those of tokens that are not there are zeros.
    fn pack(isa: Isa, x: &[Self], k: usize, start: usize, width: usize, panel: &mut [f32]) {
        isa.run(Pack { x, k, start, width, panel });
    }

    /// The job's products, with panels.
    fn tile(isa: Isa, job: Tile<'_, Self>) {
        isa.run(ByColumns(job));
    }

    /// f32s of room that [`Self::prepare`] needs for as many inputs.
    fn room(_: Isa, inputs: usize) -> usize {
        inputs
    }

    /// Inputs as the products take them: widened to f32.
    fn prepare<'a>(isa: Isa, x: &'a [Self], room: &'a mut [f32]) -> &'a [u8] {
        widened(isa, x, room)
    }

    /// The job's products.
    fn dot(isa: Isa, job: Dot<'_, Self>) {
        isa.run(InF32(job));
    }
}

impl Weight for f32 {}
impl Weight for f16 {}
impl Weight for E4m3 {}

impl Weight for bf16 {
    fn panel(isa: Isa, weights: Weights) -> Option<usize> {
        let dots = isa.has_pairs() && weights == Weights::Dense;
        (!dots).then_some(VECTORS * isa.lanes())
    }

    fn panel_rows(isa: Isa, k: usize) -> usize {
        if isa.has_pairs() { k / 2 } else { k }
    }

    fn pack(isa: Isa, x: &[Self], k: usize, start: usize, width: usize, panel: &mut [f32]) {
        match isa.has_pairs() {
            true => {
                let x: &[[bf16; 2]] = bytemuck::cast_slice(x);
                isa.run(Pack { x, k: k / 2, start, width, panel });
            }
            false => isa.run(Pack { x, k, start, width, panel }),
        }
    }

    fn tile(isa: Isa, job: Tile<'_, Self>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16(_, pairs) => pairs.tile_bf16(job),
            _ => isa.run(ByColumns(job)),
        }
    }

    fn room(isa: Isa, inputs: usize) -> usize {
        if isa.has_pairs() { 0 } else { inputs }
    }

    fn prepare<'a>(isa: Isa, x: &'a [Self], room: &'a mut [f32]) -> &'a [u8] {
        if isa.has_pairs() {
            return bytemuck::cast_slice(x);
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
    fn panel(_: Isa, _: Weights) -> Option<usize> {
        None
    }

    fn room(isa: Isa, inputs: usize) -> usize {
        if isa.has_pairs() { inputs.div_ceil(4) } else { inputs }
    }

    fn prepare<'a>(isa: Isa, x: &'a [Self], room: &'a mut [f32]) -> &'a [u8] {
        if isa.has_pairs() {
            let room = &mut bytemuck::cast_slice_mut(room)[..x.len()];
            for (to, x) in room.iter_mut().zip(x) {
                *to = x.cast_unsigned().wrapping_add(INT8_SHIFT);
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

fn widened<'a, T: Element>(isa: Isa, x: &[T], room: &'a mut [f32]) -> &'a [u8] {
    let room = &mut room[..x.len()];
    isa.run(Widen { from: x, to: &mut *room });
    bytemuck::cast_slice(room)
}

struct InF32<'a, T>(Dot<'a, T>);

impl<T: Element> Kernel for InF32<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        dot::run(Wide(s, PhantomData), self.0)
    }
}

struct ExactInF32<'a>(Dot<'a, i8>);

impl Kernel for ExactInF32<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        dot::run(Exact(s), self.0)
    }
}

struct ByColumns<'a, T>(Tile<'a, T>);

impl<T: Element> Kernel for ByColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = Columns(s, PhantomData);
        match self.0.weights {
            Rows::Sparse(..) => tile::sparse(p, self.0),
            Rows::Dense(_) => tile::dense(p, self.0),
        }
    }
}
