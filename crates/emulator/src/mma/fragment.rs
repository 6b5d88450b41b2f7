//! Where the elements of a matrix are in the registers of a warp, and the sum over them.
//!
//! The manual gives a formula for each shape and type (9.7.14.5.6 to 9.7.14.5.10, 9.7.14.6.2.1 to
//! 9.7.14.6.2.6, 9.7.15.5.1.1, 9.7.15.6.2). With e = elements in a register they are one formula each
//! for A, B and D; compressed A has the map of a dense A with as many columns.

use super::Lanes;
use super::element::{Acc, Element, to_f16, to_f32};
use super::form::Form;
use super::metadata::Places;

/// A's 16 rows of a warp, as many columns as are stored; the rest is not looked at.
pub(super) type Tile = [[f32; 32]; 16];

/// B's K rows of eight columns.
pub(super) type Panel = [[f64; 8]; 64];

/// 16 rows of eight columns.
pub(super) type Sums = [[f64; 8]; 16];

/// Element i of register r is row g + 8·(r mod 2), column e·t + i + 4e·⌊r/2⌋.
pub(super) fn a_tile(element: Element, a: &[Lanes]) -> Tile {
    fn of<const E: usize>(element: Element, a: &[Lanes]) -> Tile {
        let mut out = [[0.0; 32]; 16];
        for (r, register) in a.iter().take(4).enumerate() {
            let values = element.unpack::<E>(register);
            for g in 0..8 {
                let row = &mut out[g + 8 * (r % 2)];
                for t in 0..4 {
                    for (i, of_lanes) in values.iter().enumerate() {
                        row[E * t + i + 4 * E * (r / 2)] = of_lanes[4 * g + t];
                    }
                }
            }
        }
        out
    }
    match element.per_register() {
        1 => of::<1>(element, a),
        2 => of::<2>(element, a),
        _ => of::<4>(element, a),
    }
}

/// Element i of register r is row e·t + i + 4e·r, column g.
pub(super) fn b_panel(element: Element, b: &[Lanes]) -> Panel {
    fn of<const E: usize>(element: Element, b: &[Lanes]) -> Panel {
        let mut out = [[0.0; 8]; 64];
        for (r, register) in b.iter().take(4).enumerate() {
            let values = element.unpack::<E>(register);
            for t in 0..4 {
                for (i, of_lanes) in values.iter().enumerate() {
                    let row = &mut out[E * t + i + 4 * E * r];
                    for (g, value) in row.iter_mut().enumerate() {
                        *value = of_lanes[4 * g + t] as f64;
                    }
                }
            }
        }
        out
    }
    match element.per_register() {
        1 => of::<1>(element, b),
        2 => of::<2>(element, b),
        _ => of::<4>(element, b),
    }
}

/// Σ A[row, j] · B[k(row, j), n] over the stored columns j, where k is j's logical column. In f64 the
/// products are exact: of all types but bf16 and tf32 so is the sum, unless it has infinities.
pub(super) fn multiply(a: &Tile, places: &Places, b: &Panel, stored: usize) -> Sums {
    let mut out = [[0.0; 8]; 16];
    for ((sums, row), places) in out.iter_mut().zip(a).zip(places) {
        let mut sum = [0.0; 8];
        for (x, k) in row.iter().zip(places).take(stored) {
            let x = *x as f64;
            let b = &b[*k as usize % 64];
            for n in 0..8 {
                sum[n] += x * b[n];
            }
        }
        *sums = sum;
    }
    out
}

/// Adds C, or nothing, and stores D. Element i of a lane is row g + 8·⌊i/2⌋, column 2t + i mod 2: one
/// to a register, or of f16 accumulators two.
pub(super) fn accumulate(form: &Form, c: Option<&[Lanes]>, sums: &Sums, out: &mut [Lanes]) {
    let at = |lane: usize, i: usize| sums[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
    for (i, d) in out.iter_mut().enumerate().take(if form.acc == Acc::F16 { 2 } else { 4 }) {
        let zero = [0; 32];
        let c = c.and_then(|c| c.get(i)).unwrap_or(&zero);
        for (lane, (d, c)) in d.iter_mut().zip(c).enumerate() {
            *d = match form.acc {
                Acc::F32 => to_f32(f32::from_bits(*c) as f64 + at(lane, i)),
                Acc::F16 => {
                    let half = |c: u32, i| to_f16(Element::F16.value(c) as f64 + at(lane, i));
                    half(*c, 2 * i) | half(c >> 16, 2 * i + 1) << 16
                }
                // the sum is a whole number of at most 22 bits
                Acc::S32 if form.saturate => (*c as i32).saturating_add(at(lane, i) as i32) as u32,
                Acc::S32 => c.wrapping_add(at(lane, i) as i32 as u32),
            };
        }
    }
}
