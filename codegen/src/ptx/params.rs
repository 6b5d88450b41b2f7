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
    pub workspace: ParamName,
    pub m: ParamName,
    pub n: ParamName,
    pub k: ParamName,
    pub flags: ParamName,
}

impl Params {
    pub fn declare(k: &mut Kernel, sparse: bool, scales: bool) -> Self {
        let mut pointer = |name| k.param(name, ParamKind::U64);
        let values = pointer("values");
        let metadata = sparse.then(|| pointer("metadata"));
        let x = pointer("x");
        let scales = scales.then(|| ["w_scale", "x_scale"].map(&mut pointer));
        let [bias, residual, y, workspace] = ["bias", "residual", "y", "workspace"].map(pointer);
        let [m, n, k, flags] = ["m", "n", "k", "flags"].map(|name| k.param(name, ParamKind::U32));
        Self { values, metadata, x, scales, bias, residual, y, workspace, m, n, k, flags }
    }
}
