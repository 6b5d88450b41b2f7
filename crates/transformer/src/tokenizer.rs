//! Text to token ids and back: Hugging Face's `tokenizer.json`, or the byte-level BPE of a GGUF file,
//! which is written as one.

use crate::Error;
use crate::checkpoint::gguf::{Gguf, Value};
use crate::corpus::fnv1a;
use crate::weights::write_atomic;
use serde_json::json;
use std::fs;
use std::path::Path;

/// A tokenizer, run by the `tokenizers` crate.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Its `tokenizer.json`.
    json: String,
    /// Bytes that a byte-level vocabulary has no token for; the BPE would leave them out unsaid.
    missing: Vec<u8>,
}

/// ggml's token types.
const CONTROL: i128 = 3;
const USER_DEFINED: i128 = 4;

impl Tokenizer {
    /// Its `tokenizer.json`.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Reads `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let json = fs::read_to_string(path).map_err(Error::io(path))?;
        Self::from_json(json).map_err(|e| Error::file(path, e))
    }

    /// The contents of a `tokenizer.json`.
    pub fn from_json(json: String) -> Result<Self, Error> {
        let inner: tokenizers::Tokenizer = json.parse().map_err(fault)?;
        let parsed: serde_json::Value = serde_json::from_str(&json).map_err(fault)?;
        let byte_level =
            parsed["decoder"]["type"] == "ByteLevel" && parsed["model"]["unk_token"].is_null();
        let has = |byte: u8| inner.token_to_id(&letter(byte).to_string()).is_some();
        let missing = (0..=255).filter(|&byte| byte_level && !has(byte)).collect();
        Ok(Self { inner, json, missing })
    }

    /// The byte-level BPE that a GGUF file's metadata holds.
    ///
    /// Errors: another kind of tokenizer, or a pre-tokenizer other than smollm and gpt-2, by name;
    /// metadata that is missing or malformed.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, Error> {
        let key = |name: &str| gguf.metadata().get(&format!("tokenizer.ggml.{name}"));
        let text = |name: &str| match key(name) {
            Some(Value::Text(value)) => Ok(value.as_str()),
            other => Err(Error::Tokenizer(format!("tokenizer.ggml.{name} is {}", short(other)))),
        };
        let texts = |name: &str| match key(name) {
            Some(Value::Texts(value)) => Ok(value.as_slice()),
            other => Err(Error::Tokenizer(format!("tokenizer.ggml.{name} is {}", short(other)))),
        };
        let refuse = |name: &str, value: &str, known: &str| {
            let why = format!("tokenizer.ggml.{name} is {value}; implemented: {known}");
            Err(Error::Tokenizer(why))
        };
        match text("model")? {
            "gpt2" => {}
            other => return refuse("model", other, "gpt2"),
        }
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        });
        let pre_tokenizer = match text("pre")? {
            // llama.cpp's names; SmolLM takes digits apart before GPT-2's pattern is tried
            "smollm" => json!({
                "type": "Sequence",
                "pretokenizers": [{ "type": "Digits", "individual_digits": true }, bytes]
            }),
            "gpt-2" | "gpt2" => bytes.clone(),
            other => return refuse("pre", other, "smollm, gpt-2"),
        };
        for flag in ["add_bos_token", "add_eos_token", "add_space_prefix"] {
            match key(flag) {
                None | Some(Value::Bool(false)) => {}
                other => return refuse(flag, &short(other), "false"),
            }
        }
        let (tokens, merges) = (texts("tokens")?, texts("merges")?);
        let Some(Value::Integers(types)) = key("token_type") else {
            return refuse("token_type", &short(key("token_type")), "an array of integers");
        };
        if types.len() != tokens.len() {
            let (a, b) = (types.len(), tokens.len());
            return Err(Error::Tokenizer(format!("{a} token types for {b} tokens")));
        }
        let special = |kind: &i128| *kind == CONTROL || *kind == USER_DEFINED;
        let added: Vec<_> = (0..tokens.len())
            .filter(|&id| special(&types[id]))
            .map(|id| {
                json!({
                    "id": id, "content": tokens[id], "special": types[id] == CONTROL,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false
                })
            })
            .collect();
        let vocab: serde_json::Map<_, _> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        if vocab.len() != tokens.len() {
            let twice = tokens.len() - vocab.len();
            return Err(Error::Tokenizer(format!("{twice} tokens occur more than once")));
        }
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": pre_tokenizer, "post_processor": null,
            "decoder": bytes,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": merges
            }
        });
        Self::from_json(json.to_string())
    }

    /// Ids of a text. Nothing is added; a special token's own spelling becomes that token.
    ///
    /// Errors: a byte that the vocabulary has no token for.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        if let Some(at) = text.bytes().position(|b| self.missing.contains(&b)) {
            let byte = text.as_bytes()[at];
            return Err(Error::Tokenizer(format!("there is no token for byte {byte} at {at}")));
        }
        Ok(self.inner.encode_fast(text, false).map_err(fault)?.get_ids().to_vec())
    }

    /// The text of ids, special tokens spelled out; bytes that are no UTF-8 become U+FFFD.
    ///
    /// Errors: an id without a token.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        if let Some(id) = ids.iter().find(|&&id| self.inner.id_to_token(id).is_none()) {
            return Err(Error::Tokenizer(format!("there is no token {id}")));
        }
        self.inner.decode(ids, false).map_err(fault)
    }

    /// The id of a token's spelling: `<|im_end|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Tokens, added ones included.
    pub fn vocab(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Identifies it: FNV-1a of its `tokenizer.json`.
    pub fn digest(&self) -> u64 {
        fnv1a(self.json.as_bytes())
    }

    /// Writes `tokenizer.json`, by atomic rename.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_atomic(path, self.json.as_bytes())
    }
}

/// The letter that stands for a byte in a byte-level vocabulary (GPT-2): itself if it is printable
/// Latin-1, else the next unused one from U+0100 on.
fn letter(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + before).unwrap_or('\u{100}')
}

fn fault(error: impl std::fmt::Display) -> Error {
    Error::Tokenizer(error.to_string())
}

/// A metadata value in few words: an array of 49152 strings would drown the message.
fn short(value: Option<&Value>) -> String {
    match value {
        None => "missing".into(),
        Some(Value::Integers(v)) => format!("an array of {} integers", v.len()),
        Some(Value::Floats(v)) => format!("an array of {} numbers", v.len()),
        Some(Value::Texts(v)) => format!("an array of {} strings", v.len()),
        Some(other) => format!("{other:?}"),
    }
}
