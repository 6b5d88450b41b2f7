//! How multiplies of the tensor units become steps.

use super::Lowered;
use super::names::Names;
use crate::code::{Multiply, Op, Src};
use crate::mma::{Acc, Element, Form, Sparsity};
use quickpick_ptx::{Arg, Imms, Satfinite, Type, WgmmaShape};

impl Names {
    /// `mma` and `mma.sp` (9.7.14.5.14, 9.7.14.6.3).
    pub(super) fn multiply(
        &self,
        form: Form,
        d: &Arg,
        (a, b, c): (&Arg, &Arg, &Arg),
        metadata: Option<(Src, u32)>,
    ) -> Lowered {
        let d = self.slots(d)?;
        let (a, b, c) = (self.srcs(a, 32)?, self.srcs(b, 32)?, self.srcs(c, 32)?);
        let want = [form.a_registers(), form.b_registers(), form.d_registers()];
        if [a.len(), b.len(), c.len()] != want || d.len() != c.len() {
            return Err(format!("{form} takes {want:?} registers of A, B and C"));
        }
        let none = (None, [false; 2], [false; 2]);
        let (scale_d, negate, transposed) = none;
        Ok(Op::Multiply(Box::new(Multiply {
            form,
            d,
            a,
            b,
            c,
            metadata,
            scale_d,
            negate,
            transposed,
        })))
    }

    /// `wgmma.mma_async` and its `.sp` (9.7.15.5.2, 9.7.15.6.3).
    pub(super) fn group(
        &self,
        form: Form,
        d: &Arg,
        (a, b): (&Arg, &Arg),
        metadata: Option<(Src, u32)>,
        scale: &Arg,
        imms: &Imms,
    ) -> Lowered {
        let d = self.slots(d)?;
        let registers = matches!(a, Arg::Vector(_));
        let (a, b) = (self.srcs(a, if registers { 32 } else { 64 })?, self.srcs(b, 64)?);
        if d.len() != form.d_registers() || registers && a.len() != form.a_registers() {
            let (want_d, want_a) = (form.d_registers(), form.a_registers());
            return Err(format!("{form} takes {want_d} registers of D, {want_a} of A"));
        }
        // after the signs: trans-a, if A is in shared memory, then trans-b (9.7.15.5.2)
        let signs = imms.0.get(..2).unwrap_or(&[1, 1]);
        let trans = imms.0.get(2..).unwrap_or(&[]);
        let transposed = match (trans, registers) {
            ([], _) => [false; 2],
            ([b], true) => [false, *b == 1],
            ([a, b], false) => [*a == 1, *b == 1],
            _ => return Err(format!("{} constants after scale-d", imms.0.len())),
        };
        Ok(Op::Group(Box::new(Multiply {
            form,
            d,
            a,
            b,
            c: Vec::new(),
            metadata,
            scale_d: Some(self.src(scale, 1)?),
            negate: [signs[0] == -1, signs[1] == -1],
            transposed,
        })))
    }
}

fn element(ty: Type) -> Result<Element, String> {
    Ok(match ty {
        Type::F16 => Element::F16,
        Type::Bf16 => Element::Bf16,
        Type::Tf32 => Element::Tf32,
        Type::S8 => Element::S8,
        Type::U8 => Element::U8,
        Type::E4m3 => Element::E4m3,
        Type::E5m2 => Element::E5m2,
        other => return Err(format!("multiplies of {other} are not modelled")),
    })
}

fn accumulator(ty: Type) -> Result<Acc, String> {
    Ok(match ty {
        Type::F16 => Acc::F16,
        Type::F32 => Acc::F32,
        Type::S32 => Acc::S32,
        other => return Err(format!("accumulators of {other} are not modelled")),
    })
}

/// The shape and types of `mma` (9.7.14.2).
pub(super) fn warp_form(
    k: u32,
    (d, c, a, b): (Type, Type, Type, Type),
    sparsity: Sparsity,
    sat: Satfinite,
) -> Result<Form, String> {
    if d != c {
        return Err(format!("C of {c} and D of {d} are not modelled"));
    }
    Form::warp(k, element(a)?, element(b)?, accumulator(d)?, sparsity, sat == Satfinite::Yes)
}

/// The shape and types of `wgmma` (9.7.15.2).
pub(super) fn group_form(
    shape: WgmmaShape,
    (d, a, b): (Type, Type, Type),
    sparsity: Sparsity,
    sat: Satfinite,
) -> Result<Form, String> {
    let (n, k) = (u32::from(shape.n), u32::from(shape.k));
    let (a, b, d) = (element(a)?, element(b)?, accumulator(d)?);
    Form::group(n, k, a, b, d, sparsity, sat == Satfinite::Yes)
}
