//! Kernels whose text is another's but for the type's name.

use quickpick::kernels::{DType, Form, KERNELS, KernelSpec};

/// The row of which this one is but for the type: f16's of a bf16 row for warpgroups, e4m3's of an e5m2 row. What is
/// proved of one holds of both, as far as it does not depend on the numbers.
pub fn twin(spec: &KernelSpec) -> Option<&'static KernelSpec> {
    let (dtype, [own, other]) = match (spec.dtype, spec.form) {
        (DType::BF16, Form::Wgmma(_)) => (DType::F16, ["bf16", "f16"]),
        (DType::E5M2, _) => (DType::E4M3, ["e5m2", "e4m3"]),
        _ => return None,
    };
    let of = KernelSpec { dtype, ..*spec };
    let of = KERNELS.iter().find(|row| **row == of)?;
    let text = spec.text()?.replace(own, other);
    (of.text()? == text).then_some(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5m2s_linear_layers_are_twins() {
        let layers = |spec: &&KernelSpec| spec.dtype == DType::E5M2 && spec.target.is_ptx();
        let twins = KERNELS.iter().filter(layers).filter(|spec| twin(spec).is_some());
        let names = Vec::from_iter(twins.map(ToString::to_string));
        assert!(names.len() > 10, "only {names:?}");
    }
}
