//! Special tokens, as Hugging Face's files and GGUF's metadata name them.

use super::gguf::{Gguf, Value};
use super::model::{CONFIG, TOKENIZER};
use crate::{Config, Error, Tokenizer};
use serde_json::json;
use std::path::{Path, PathBuf};

const GENERATION: &str = "generation_config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// A special token's id in GGUF, and what Hugging Face calls the id and its spelling.
const KEYS: [(&str, &str, &str); 4] = [
    ("bos_token_id", "bos_token_id", "bos_token"),
    ("eos_token_id", "eos_token_id", "eos_token"),
    ("padding_token_id", "pad_token_id", "pad_token"),
    ("unknown_token_id", "unk_token_id", "unk_token"),
];

/// What lies beside the tensors of a Hugging Face folder, from a GGUF file: `config.json`,
/// `generation_config.json`, `tokenizer.json`, `tokenizer_config.json`. Errors: metadata of another type
/// than ggml's, an id without a token.
pub fn files(
    gguf: &Gguf,
    config: &Config,
    tokenizer: &Tokenizer,
) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let mut model = config.to_hugging_face()?;
    // as transformers writes them; it reads what the tensors' files say
    model["torch_dtype"] = "float16".into();
    let mut generation = json!({ "_from_model_config": true });
    let mut spellings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_seq,
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
    });
    for (ggml, id_key, spelling_key) in KEYS {
        let key = format!("tokenizer.ggml.{ggml}");
        let id = match gguf.metadata().get(&key) {
            None => continue,
            Some(Value::Integer(id)) => u32::try_from(*id).ok(),
            Some(_) => None,
        };
        let token = id.filter(|&id| (id as usize) < config.vocab);
        let spelling = token.and_then(|id| Some((id, tokenizer.token(id)?)));
        let Some((id, spelling)) = spelling else {
            return Err(Error::Tokenizer(format!("{key} is no id of a token")));
        };
        spellings[spelling_key] = spelling.into();
        // models are never told which token stands for an unknown one
        if id_key != "unk_token_id" {
            (model[id_key], generation[id_key]) = (id.into(), id.into());
        }
    }
    match gguf.metadata().get("tokenizer.chat_template") {
        None => {}
        Some(Value::Text(template)) => spellings["chat_template"] = template.as_str().into(),
        Some(_) => return Err(Error::Tokenizer("tokenizer.chat_template is no text".into())),
    }
    let mut files = vec![(PathBuf::from(TOKENIZER), tokenizer.json().as_bytes().to_vec())];
    for (name, json) in [(CONFIG, model), (GENERATION, generation), (TOKENIZER_CONFIG, spellings)] {
        let text = serde_json::to_vec_pretty(&json).map_err(|e| Error::file(Path::new(name), e))?;
        files.push((PathBuf::from(name), text));
    }
    files.sort();
    Ok(files)
}

/// See [`Model::end_tokens`](super::Model::end_tokens).
pub fn end_tokens(
    files: &[(PathBuf, Vec<u8>)],
    tokenizer: Option<&Tokenizer>,
    vocab: usize,
) -> Result<Vec<u32>, Error> {
    let mut ends = Vec::new();
    for name in [GENERATION, CONFIG].map(Path::new) {
        let Some((_, bytes)) = files.iter().find(|(file, _)| file == name) else { continue };
        let json: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| Error::file(name, e))?;
        let ids = match &json["eos_token_id"] {
            serde_json::Value::Null => continue,
            serde_json::Value::Array(ids) => ids.as_slice(),
            id => std::slice::from_ref(id),
        };
        for id in ids {
            let token = id.as_u64().filter(|&id| id < vocab as u64);
            let none = || Error::file(name, format!("eos_token_id {id} is none of {vocab} tokens"));
            ends.push(token.and_then(|id| u32::try_from(id).ok()).ok_or_else(none)?);
        }
        break;
    }
    ends.extend(tokenizer.and_then(|t| t.id("<|im_end|>")));
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(files: &[(&str, &str)]) -> Result<Vec<u32>, Error> {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (PathBuf::from(name), text.as_bytes().to_vec()))
            .collect();
        end_tokens(&files, None, 10)
    }

    #[test]
    fn the_generation_config_comes_first() {
        let config = (CONFIG, r#"{"eos_token_id": 3}"#);
        assert_eq!(ends(&[config]).unwrap(), [3]);
        assert_eq!(
            ends(&[config, (GENERATION, r#"{"eos_token_id": [7, 2, 7]}"#)]).unwrap(),
            [2, 7]
        );
        assert_eq!(ends(&[config, (GENERATION, "{}")]).unwrap(), [3]);
        assert!(ends(&[(CONFIG, "{}")]).unwrap().is_empty() && ends(&[]).unwrap().is_empty());
    }

    #[test]
    fn ids_outside_the_vocabulary_are_refused() {
        for id in ["10", "-1", "\"</s>\"", "1.5"] {
            let why = ends(&[(CONFIG, &format!("{{\"eos_token_id\": {id}}}"))]).unwrap_err();
            assert!(why.to_string().contains("is none of 10 tokens"), "{why}");
        }
    }
}
