//! `mma` and `mma.sp`.

use super::Lanes;
use super::form::Form;
use super::fragment::{a_tile, accumulate, b_panel, multiply};
use super::metadata::{DENSE, Metadata, places};
use crate::trap::Fault;

/// D = A · B + C of one warp (9.7.14.5.14, 9.7.14.6.3). The slices have as many registers as the form
/// says; `meta` is there if A is sparse.
pub(crate) fn warp(
    form: &Form,
    a: &[Lanes],
    b: &[Lanes],
    c: &[Lanes],
    meta: Option<Metadata>,
    out: &mut [Lanes],
) -> Result<(), Fault> {
    debug_assert_eq!(a.len(), form.a_registers(), "A of {form}");
    debug_assert_eq!(b.len(), form.b_registers(), "B of {form}");
    debug_assert_eq!([c.len(), out.len()], [form.d_registers(); 2], "C and D of {form}");
    debug_assert_eq!(meta.is_some(), form.is_sparse(), "metadata of {form}");
    let places = meta.map_or(Ok(DENSE), |meta| places(form, &meta, 0))?;
    let sums = multiply(&a_tile(form.a, a), &places, &b_panel(form.b, b), form.stored_columns());
    accumulate(form, Some(c), &sums, out);
    Ok(())
}
