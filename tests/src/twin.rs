//! Kernels whose text is another's but for the type's name.

use quickpick::kernels::{DType, Form, KERNELS, KernelSpec};

/// The f16 row that a bf16 row for warpgroups is but for the type: what is proved of one holds of both, as
/// far as it does not depend on the numbers.
pub fn twin(spec: &KernelSpec) -> Option<&'static KernelSpec> {
    if spec.dtype != DType::BF16 || !matches!(spec.form, Form::Wgmma(_)) {
        return None;
    }
    let of = KernelSpec { dtype: DType::F16, ..*spec };
    let of = KERNELS.iter().find(|row| **row == of)?;
    let text = spec.text()?.replace("bf16", "f16");
    (of.text()? == text).then_some(of)
}
