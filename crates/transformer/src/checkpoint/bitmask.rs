//! compressed-tensors' `sparse-24-bitmask` in checkpoints: its names, its types, its place in
//! `config.json`. The layout of the data is `quickpick_format::Bitmask`.
//!
//! Source: compressed-tensors 0.12.2, `BaseSparseCompressor`, `ModelCompressor.update_config`.

use quickpick_format::StoredType;
use serde_json::{Map, Value, json};

/// The version of compressed-tensors whose layout this is.
const VERSION: &str = "0.12.2";
/// The layout's name in `config.json`.
const FORMAT: &str = "sparse-24-bitmask";
const QUANTIZATION: &str = "quantization_config";
const SPARSITY: &str = "sparsity_config";

/// The names of a tensor's parts. `M.weight` is stored as `M.compressed`, `M.bitmask`, `M.shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// The tensor itself.
    pub weight: String,
    /// Kept values, `rows × cols/2`.
    pub values: String,
    /// U8, `rows × ⌈cols/8⌉`.
    pub mask: String,
    /// I64, rows and columns, `2 × 1`.
    pub shape: String,
}

impl Parts {
    /// Of a tensor; `None` if its name does not end in `.weight`, for others are not compressed.
    pub fn of_weight(name: &str) -> Option<Self> {
        name.strip_suffix(".weight").map(Self::of_module)
    }

    /// Of what may be a tensor's values, by its name.
    pub fn of_values(name: &str) -> Option<Self> {
        name.strip_suffix(".compressed").map(Self::of_module)
    }

    fn of_module(module: &str) -> Self {
        let part = |part: &str| format!("{module}.{part}");
        Self {
            weight: part("weight"),
            values: part("compressed"),
            mask: part("bitmask"),
            shape: part("shape"),
        }
    }

    /// The dense shape, if types and shapes of the parts fit each other; else what does not.
    pub fn check(
        &self,
        values: (StoredType, &[usize]),
        mask: (StoredType, &[usize]),
        shape: (StoredType, &[u8]),
    ) -> Result<[usize; 2], String> {
        use StoredType as S;
        if !matches!(values.0, S::F16 | S::BF16 | S::F32 | S::I8 | S::F8_E4M3 | S::F8_E5M2) {
            return Err(format!("its values are {}, of which there is no 2:4 matrix", values.0));
        }
        if (mask.0, shape.0) != (S::U8, S::I64) {
            return Err(format!("its mask is {}, its shape {}; U8, I64 wanted", mask.0, shape.0));
        }
        let extents: Vec<i64> =
            shape.1.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
        let [rows, cols] = extents[..] else {
            return Err(format!("its shape is {extents:?}, not rows and columns"));
        };
        let (Ok(rows), Ok(cols)) = (usize::try_from(rows), usize::try_from(cols)) else {
            return Err(format!("its shape is {extents:?}"));
        };
        let want = [[rows, cols / 2], [rows, cols.div_ceil(8)]];
        if values.1 != want[0] || mask.1 != want[1] {
            return Err(format!(
                "a matrix of {rows} × {cols} has values of {:?} and a mask of {:?}, not {:?} and {:?}",
                want[0], want[1], values.1, mask.1
            ));
        }
        Ok([rows, cols])
    }
}

/// Says in a configuration that linear layers are stored as bitmasks, but for `ignore`, names of
/// modules. `sparsity` is the fraction of zeros in the whole model. Errors, as the reason: the model
/// is quantised besides.
pub(super) fn declare(
    config: &mut Map<String, Value>,
    ignore: &[String],
    sparsity: f64,
) -> Result<(), String> {
    if let Some(other) = config.get(QUANTIZATION)
        && !only_sparse(other)
    {
        return Err(format!("it has a {QUANTIZATION} already, and {FORMAT} does not combine"));
    }
    let sparsity = json!({
        "format": FORMAT,
        "global_sparsity": sparsity,
        "ignore": ignore,
        "registry_requires_subclass": false,
        "sparsity_structure": "2:4",
        "targets": ["Linear"],
    });
    let quantization = json!({
        "quant_method": "compressed-tensors",
        SPARSITY: sparsity,
        "transform_config": {},
        "version": VERSION,
    });
    config.insert(QUANTIZATION.to_owned(), quantization);
    Ok(())
}

/// Takes back what [`declare`] says; whether there was anything to take. A quantisation besides stays.
pub(super) fn retract(config: &mut Map<String, Value>) -> bool {
    let Some(quantization) = config.get_mut(QUANTIZATION) else { return false };
    let only = only_sparse(quantization);
    let Some(fields) = quantization.as_object_mut() else { return false };
    if fields.get(SPARSITY).and_then(|s| s.get("format")) != Some(&Value::from(FORMAT)) {
        return false;
    }
    fields.remove(SPARSITY);
    if only {
        config.remove(QUANTIZATION);
    }
    true
}

/// Whether nothing is quantised: there is a sparsity, and no group of layers with its own scheme.
fn only_sparse(quantization: &Value) -> bool {
    let empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    };
    let method = quantization.get("quant_method").and_then(Value::as_str);
    method.is_none_or(|m| m == "compressed-tensors")
        && empty(quantization.get("config_groups"))
        && empty(quantization.get("kv_cache_scheme"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_declared_is_retracted() {
        let plain = map(json!({"hidden_size": 4}));
        let mut config = plain.clone();
        declare(&mut config, &["lm_head".into()], 0.4).unwrap();
        let sparsity = &config[QUANTIZATION][SPARSITY];
        assert_eq!(sparsity["format"], FORMAT);
        assert_eq!(sparsity["ignore"], json!(["lm_head"]));
        declare(&mut config, &[], 0.5).unwrap();
        assert!(retract(&mut config));
        assert_eq!(config, plain);
        assert!(!retract(&mut config));
    }

    #[test]
    fn a_quantisation_besides_stays_and_does_not_combine() {
        let groups = json!({"group_0": {}});
        let mut config = map(json!({QUANTIZATION: {
            "quant_method": "compressed-tensors",
            "config_groups": groups,
            SPARSITY: {"format": FORMAT},
        }}));
        assert!(declare(&mut config, &[], 0.5).is_err());
        assert!(retract(&mut config));
        assert_eq!(config[QUANTIZATION]["config_groups"], groups);
        assert!(
            declare(&mut map(json!({QUANTIZATION: {"quant_method": "fp8"}})), &[], 0.5).is_err()
        );
    }
}
