//! What a kernel of tiles is called with: the bindings and parameters of the plan, in order.

use quickpick_ptx::{Kernel, ParamKind, ParamName};

#[derive(Clone, Copy)]
pub(super) struct Params {
    pub values: ParamName,
    pub metadata: Option<ParamName>,
    pub x: ParamName,
    /// Those of W's rows and of the tokens, if the family knows them.
    pub scales: Option<[ParamName; 2]>,
    pub bias: ParamName,
    pub residual: ParamName,
    pub y: ParamName,
    pub m: ParamName,
    pub n: ParamName,
    pub k: ParamName,
    pub flags: ParamName,
}

impl Params {
    /// Of the tiled family.
    pub fn declare(k: &mut Kernel, sparse: bool, scales: bool) -> Self {
        let tensors = Tensors::declare(k, sparse, scales);
        Self::after(k, tensors)
    }

    /// The sizes, which follow all tensors.
    pub fn after(k: &mut Kernel, tensors: Tensors) -> Self {
        let Tensors { values, metadata, x, scales, bias, residual, y } = tensors;
        let [m, n, k, flags] = ["m", "n", "k", "flags"].map(|name| k.param(name, ParamKind::U32));
        Self { values, metadata, x, scales, bias, residual, y, m, n, k, flags }
    }
}

/// The pointers.
pub(super) struct Tensors {
    values: ParamName,
    metadata: Option<ParamName>,
    x: ParamName,
    scales: Option<[ParamName; 2]>,
    bias: ParamName,
    residual: ParamName,
    y: ParamName,
}

impl Tensors {
    pub fn declare(k: &mut Kernel, sparse: bool, scales: bool) -> Self {
        let mut pointer = |name| k.param(name, ParamKind::U64);
        Self {
            values: pointer("values"),
            metadata: sparse.then(|| pointer("metadata")),
            x: pointer("x"),
            scales: scales.then(|| ["w_scale", "x_scale"].map(&mut pointer)),
            bias: pointer("bias"),
            residual: pointer("residual"),
            y: pointer("y"),
        }
    }
}
