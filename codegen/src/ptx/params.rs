//! What a tiled kernel is called with: the bindings and parameters of the plan, in order.

use quickpick_ptx::{Kernel, ParamKind, ParamName};

#[derive(Clone, Copy)]
pub(super) struct Params {
    pub values: ParamName,
    pub metadata: Option<ParamName>,
    pub x: ParamName,
    pub bias: ParamName,
    pub residual: ParamName,
    pub y: ParamName,
    pub m: ParamName,
    pub n: ParamName,
    pub k: ParamName,
    pub flags: ParamName,
}

impl Params {
    pub fn declare(k: &mut Kernel, sparse: bool) -> Self {
        Self {
            values: k.param("values", ParamKind::U64),
            metadata: sparse.then(|| k.param("metadata", ParamKind::U64)),
            x: k.param("x", ParamKind::U64),
            bias: k.param("bias", ParamKind::U64),
            residual: k.param("residual", ParamKind::U64),
            y: k.param("y", ParamKind::U64),
            m: k.param("m", ParamKind::U32),
            n: k.param("n", ParamKind::U32),
            k: k.param("k", ParamKind::U32),
            flags: k.param("flags", ParamKind::U32),
        }
    }
}
