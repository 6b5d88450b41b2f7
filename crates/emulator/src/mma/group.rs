//! `wgmma` and `wgmma.sp`.

use super::Lanes;
use super::form::Form;
use super::fragment::{Panel, Tile, a_tile, accumulate, multiply};
use super::metadata::{DENSE, Metadata, Places, places};
use crate::trap::Fault;

/// Where A comes from.
pub(crate) enum GroupA<'a> {
    /// The registers of the four warps.
    Registers([&'a [Lanes]; 4]),
    /// Raw elements, gathered from shared memory: row-major, 64 × the stored columns.
    Matrix(Vec<u32>),
}

/// D = A · B + D of a warpgroup, or D = A · B if not `scale_d` (9.7.15.5.2, 9.7.15.6.3); warp w has
/// rows 16w to 16w + 15 (9.7.15.5.1.1), of D and of A, and passes their metadata (9.7.15.6.2).
///
/// `b` is raw elements, row-major K × N. `negate_a` and `negate_b` are `imm-scale-a` and `-b` of −1.
/// `meta` is there if A is sparse.
pub(crate) fn group(
    form: &Form,
    a: GroupA,
    b: &[u32],
    d: [&[Lanes]; 4],
    scale_d: bool,
    negate_a: bool,
    negate_b: bool,
    meta: Option<[Metadata; 4]>,
) -> Result<[Vec<Lanes>; 4], Fault> {
    debug_assert_eq!(b.len(), (form.k * form.n) as usize, "B of {form}");
    debug_assert_eq!(meta.is_some(), form.is_sparse(), "metadata of {form}");
    let registers = form.d_registers();
    let stored = form.stored_columns();
    let mut warps: Vec<(Tile, Places)> = Vec::with_capacity(4);
    for w in 0..4 {
        let mut tile = match &a {
            GroupA::Registers(a) => a_tile(form.a, a[w]),
            GroupA::Matrix(a) => a_rows(form, a, w),
        };
        if negate_a != negate_b {
            tile.iter_mut().flatten().for_each(|x| *x = -*x);
        }
        let first_row = 16 * w as u32;
        let places = meta.map_or(Ok(DENSE), |meta| places(form, &meta[w], first_row))?;
        warps.push((tile, places));
    }
    let mut out = [(); 4].map(|()| vec![[0; 32]; registers]);
    // Eight columns of D are what a warp's multiply has, in the next registers.
    let per_panel = registers / (form.n as usize / 8).max(1);
    for (panel, first) in (0..registers).step_by(per_panel.max(1)).enumerate() {
        let b = b_columns(form, b, 8 * panel);
        for ((w, (tile, places)), out) in warps.iter().enumerate().zip(&mut out) {
            let sums = multiply(tile, places, &b, stored);
            let c = if scale_d { d[w].get(first..) } else { None };
            accumulate(form, c, &sums, &mut out[first..]);
        }
    }
    Ok(out)
}

/// The 16 rows of warp w.
fn a_rows(form: &Form, a: &[u32], w: usize) -> Tile {
    let stored = form.stored_columns();
    let mut out = [[0.0; 32]; 16];
    for (row, raw) in out.iter_mut().zip(a.chunks(stored).skip(16 * w)) {
        for (value, raw) in row.iter_mut().zip(raw) {
            *value = form.a.value(*raw);
        }
    }
    out
}

/// Eight columns of B.
fn b_columns(form: &Form, b: &[u32], first: usize) -> Panel {
    let mut out = [[0.0; 8]; 64];
    for (row, raw) in out.iter_mut().zip(b.chunks(form.n as usize)) {
        for (value, raw) in row.iter_mut().zip(raw.iter().skip(first)) {
            *value = form.b.value(*raw) as f64;
        }
    }
    out
}
