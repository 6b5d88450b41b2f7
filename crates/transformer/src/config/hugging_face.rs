//! Hugging Face's `config.json` of a Llama model, and the refusal of what is not implemented.

use super::{Config, RopeScaling};
use crate::Error;
use serde_json::{Value, json};

impl Config {
    /// Reads `config.json`, with Hugging Face's defaults for absent keys.
    ///
    /// Errors: another model type than llama, a setting that is not implemented (by name and value), a
    /// missing or malformed key, a shape that [`Self::validate`] refuses.
    pub fn from_hugging_face(json: &Value) -> Result<Self, Error> {
        let fail = |why: String| Err(Error::Config(why));
        match json.get("model_type").and_then(Value::as_str) {
            Some("llama") => {}
            Some(other) => {
                return fail(format!("model_type is {other:?}; only llama is supported"));
            }
            None => return fail("there is no model_type; only llama is supported".into()),
        }
        only(
            json,
            &[
                ("hidden_act", json!("silu")),
                ("attention_bias", json!(false)),
                ("mlp_bias", json!(false)),
                ("pretraining_tp", json!(1)),
                ("partial_rotary_factor", json!(1.0)),
                ("sliding_window", Value::Null),
            ],
        )?;
        // transformers 5 gathers rope's settings under one key
        let parameters = json.get("rope_parameters").filter(|v| !v.is_null());
        let scaling = parameters.or_else(|| json.get("rope_scaling").filter(|v| !v.is_null()));
        let theta = parameters.and_then(|p| p.get("rope_theta"));
        let theta = theta.or_else(|| json.get("rope_theta").filter(|v| !v.is_null()));
        let heads = count(json, "num_attention_heads")?;
        let config = Self {
            dim: count(json, "hidden_size")?,
            layers: count(json, "num_hidden_layers")?,
            heads,
            kv_heads: optional_count(json, "num_key_value_heads")?.unwrap_or(heads),
            ffn: count(json, "intermediate_size")?,
            vocab: count(json, "vocab_size")?,
            max_seq: optional_count(json, "max_position_embeddings")?.unwrap_or(2048),
            rope_theta: number("rope_theta", theta)?.unwrap_or(10_000.0),
            eps: number("rms_norm_eps", json.get("rms_norm_eps"))?.unwrap_or(1e-6),
            tie_word_embeddings: match json.get("tie_word_embeddings") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(tied)) => *tied,
                Some(other) => return fail(format!("tie_word_embeddings is {other}")),
            },
            rope_scaling: scaling.map(rope_scaling).transpose()?.flatten(),
        };
        config.validate()?;
        match optional_count(json, "head_dim")? {
            Some(n) if n != config.head_dim() => fail(format!(
                "head_dim is {n}; only hidden_size / num_attention_heads = {} is implemented",
                config.head_dim()
            )),
            _ => Ok(config),
        }
    }

    /// A `config.json` that Hugging Face's Llama reads back as this model.
    pub fn to_hugging_face(&self) -> Result<Value, Error> {
        let mut json = serde_json::to_value(self).map_err(|e| Error::Config(e.to_string()))?;
        json["architectures"] = json!(["LlamaForCausalLM"]);
        json["model_type"] = json!("llama");
        json["head_dim"] = json!(self.head_dim());
        json["hidden_act"] = json!("silu");
        json["attention_bias"] = json!(false);
        json["mlp_bias"] = json!(false);
        Ok(json)
    }
}

fn rope_scaling(json: &Value) -> Result<Option<RopeScaling>, Error> {
    let kind = json.get("rope_type").or_else(|| json.get("type")).and_then(Value::as_str);
    match kind {
        Some("default") => Ok(None),
        Some("llama3") => {
            let mut json = json.clone();
            json["rope_type"] = json!("llama3");
            let scaling = serde_json::from_value(json);
            scaling.map(Some).map_err(|e| Error::Config(format!("rope_scaling: {e}")))
        }
        _ => Err(Error::Config(format!(
            "rope_scaling is {json}; only the types default and llama3 are implemented"
        ))),
    }
}

/// Keys that change the model's arithmetic, and the value that is implemented, which is also what an absent key
/// means. Errors: another value.
pub(crate) fn only(json: &Value, keys: &[(&str, Value)]) -> Result<(), Error> {
    for (key, want) in keys {
        let have = json.get(key).unwrap_or(&Value::Null);
        let equal = match (have.as_f64(), want.as_f64()) {
            (Some(have), Some(want)) => have == want,
            _ => have == want,
        };
        if !have.is_null() && !equal {
            return Err(Error::Config(format!("{key} is {have}; only {want} is implemented")));
        }
    }
    Ok(())
}

pub(crate) fn count(json: &Value, key: &str) -> Result<usize, Error> {
    optional_count(json, key)?.ok_or_else(|| Error::Config(format!("there is no {key}")))
}

pub(crate) fn optional_count(json: &Value, key: &str) -> Result<Option<usize>, Error> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(Error::Config(format!("{key} is {value}; it must be a count"))),
        },
    }
}

pub(crate) fn number(key: &str, value: Option<&Value>) -> Result<Option<f32>, Error> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(x) => Ok(Some(x as f32)),
            None => Err(Error::Config(format!("{key} is {value}; it must be a number"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama3() -> Config {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 256,
        };
        Config { rope_scaling: Some(scaling), tie_word_embeddings: true, ..Config::tiny() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for config in [Config::tiny(), Config::small(), llama3()] {
            let json = config.to_hugging_face().unwrap();
            assert_eq!(Config::from_hugging_face(&json).unwrap(), config, "{json}");
        }
    }

    #[test]
    fn defaults_and_other_spellings() {
        let mut json = llama3().to_hugging_face().unwrap();
        let keys = json.as_object_mut().unwrap();
        let mut parameters = keys.remove("rope_scaling").unwrap();
        keys.remove("rope_theta");
        keys.remove("num_key_value_heads");
        keys.insert("sliding_window".into(), Value::Null);
        parameters["rope_theta"] = json!(500_000.0);
        keys.insert("rope_parameters".into(), parameters);
        let want = Config { kv_heads: 4, rope_theta: 500_000.0, ..llama3() };
        assert_eq!(Config::from_hugging_face(&json).unwrap(), want);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name_and_value() {
        for (key, value, words) in [
            ("model_type", json!("mamba"), "model_type is \"mamba\""),
            ("hidden_act", json!("gelu"), "hidden_act is \"gelu\"; only \"silu\""),
            ("attention_bias", json!(true), "attention_bias is true; only false"),
            ("mlp_bias", json!(true), "mlp_bias is true"),
            ("sliding_window", json!(4096), "sliding_window is 4096"),
            ("head_dim", json!(64), "head_dim is 64; only hidden_size / num_attention_heads = 32"),
            ("rope_scaling", json!({"type": "yarn"}), "yarn"),
            ("rope_scaling", json!({"rope_type": "llama3"}), "missing field `factor`"),
            ("hidden_size", json!(-1), "hidden_size is -1"),
            ("hidden_size", Value::Null, "there is no hidden_size"),
            ("rope_theta", json!("big"), "rope_theta is \"big\""),
        ] {
            let mut json = Config::tiny().to_hugging_face().unwrap();
            json[key] = value;
            let why = Config::from_hugging_face(&json).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
        assert!(Config::from_hugging_face(&json!([])).is_err());
    }

    /// transformers' `_compute_llama3_parameters` on the same numbers, pair by pair.
    #[test]
    fn llama3_stretches_the_long_wavelengths_alone() {
        let (plain, scaled) = (Config { rope_scaling: None, ..llama3() }, llama3());
        for i in 0..16 {
            let wavelength = std::f64::consts::TAU / plain.frequency(i);
            let ratio = plain.frequency(i) / scaled.frequency(i);
            if wavelength < 256.0 / 4.0 {
                assert_eq!(ratio, 1.0, "pair {i}");
            } else if wavelength > 256.0 {
                assert!((ratio - 8.0).abs() < 1e-12, "pair {i}: {ratio}");
            } else {
                let smooth = (256.0 / wavelength - 1.0) / 3.0;
                let f = (1.0 - smooth) * plain.frequency(i) / 8.0 + smooth * plain.frequency(i);
                assert!((f / scaled.frequency(i) - 1.0).abs() < 1e-12, "pair {i}");
            }
        }
    }
}
