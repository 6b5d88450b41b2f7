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
        let mut inner: tokenizers::Tokenizer = json.parse().map_err(fault)?;
        // a sentence encoder's cuts and fills up every text
        inner.with_padding(None).with_truncation(None).map_err(fault)?;
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

    /// The two tokens that its post-processor puts around a text, such as `[CLS]` and `[SEP]`. Errors: it puts
    /// none, or others.
    pub fn frame(&self) -> Result<[u32; 2], Error> {
        let ids = self.inner.encode_fast("", true).map_err(fault)?.get_ids().to_vec();
        <[u32; 2]>::try_from(ids).map_err(|ids| {
            Error::Tokenizer(format!(
                "puts {ids:?} around a text, not a token before and one after"
            ))
        })
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

    /// A token's spelling, as the vocabulary has it; none of an id without a token.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use candle_core::quantized::gguf_file::Value as V;

    /// A byte-level vocabulary without merges: token id = byte.
    pub fn bytes() -> Tokenizer {
        let vocab: serde_json::Map<_, _> =
            (0..=255).map(|b| (letter(b).to_string(), json!(b))).collect();
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        });
        let json = json!({
            "version": "1.0", "added_tokens": [], "pre_tokenizer": bytes, "decoder": bytes,
            "model": { "type": "BPE", "vocab": vocab, "merges": [] }
        });
        Tokenizer::from_json(json.to_string()).unwrap()
    }

    type Metadata = Vec<(&'static str, V)>;

    /// Two special tokens, the bytes but 0xF1, and four merges.
    fn metadata() -> Metadata {
        let mut tokens = vec!["<|start|>".to_owned(), "<tool>".to_owned()];
        tokens.extend((0..=255).filter(|&b| b != 0xF1).map(|b| letter(b).to_string()));
        tokens.extend(["he", "ll", "hell", "\u{120}w"].map(String::from));
        let types = (0..tokens.len()).map(|i| V::I32([3, 4].get(i).copied().unwrap_or(1)));
        let words = |words: &[&str]| V::Array(words.iter().map(|&w| V::String(w.into())).collect());
        vec![
            ("tokenizer.ggml.model", V::String("gpt2".into())),
            ("tokenizer.ggml.pre", V::String("smollm".into())),
            ("tokenizer.ggml.token_type", V::Array(types.collect())),
            ("tokenizer.ggml.tokens", V::Array(tokens.into_iter().map(V::String).collect())),
            ("tokenizer.ggml.merges", words(&["h e", "l l", "he ll", "\u{120} w"])),
            ("tokenizer.ggml.add_bos_token", V::Bool(false)),
        ]
    }

    fn open(metadata: &Metadata) -> Result<Tokenizer, Error> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
        candle_core::quantized::gguf_file::write(&mut bytes, &metadata, &[]).unwrap();
        let thread = format!("{:?}", std::thread::current().id());
        let name = format!("quickpick-tokenizer-{}-{thread}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes.into_inner()).unwrap();
        let result = Gguf::open(&path).and_then(|gguf| Tokenizer::from_gguf(&gguf));
        fs::remove_file(&path).unwrap();
        result
    }

    #[test]
    fn merges_digits_and_special_tokens() {
        let tokenizer = open(&metadata()).unwrap();
        assert_eq!(tokenizer.vocab(), 261);
        let ids = tokenizer.encode("hello world 12<tool><|start|>").unwrap();
        let spelled: Vec<String> = ids.iter().map(|&id| tokenizer.decode(&[id]).unwrap()).collect();
        let want = ["hell", "o", " w", "o", "r", "l", "d", " ", "1", "2", "<tool>", "<|start|>"];
        assert_eq!(spelled, want);
        assert_eq!(tokenizer.id("<|start|>"), Some(0));
        for text in ["", "hello\n\n  world", "naïve – 東京 🦀", "it's 1234"] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
        assert!(tokenizer.decode(&[261]).unwrap_err().to_string().contains("no token 261"));
        let why = tokenizer.encode("a\u{70000}").unwrap_err().to_string();
        assert!(why.contains("no token for byte 241 at 1"), "{why}");
    }

    #[test]
    fn what_is_saved_is_the_same_tokenizer() {
        let tokenizer = open(&metadata()).unwrap();
        let name = format!("quickpick-tokenizer-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        tokenizer.save(&path).unwrap();
        let again = Tokenizer::from_file(&path).unwrap();
        assert_eq!(again.digest(), tokenizer.digest());
        assert_eq!(again.encode("hello 12").unwrap(), tokenizer.encode("hello 12").unwrap());
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Tokenizer::from_file(&path), Err(Error::File { .. })));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn others_are_refused_by_name() {
        for (key, value, words) in [
            (
                "tokenizer.ggml.model",
                V::String("llama".into()),
                "model is llama; implemented: gpt2",
            ),
            ("tokenizer.ggml.pre", V::String("qwen2".into()), "pre is qwen2; implemented: smollm"),
            ("tokenizer.ggml.add_bos_token", V::Bool(true), "add_bos_token is Bool(true)"),
            ("tokenizer.ggml.merges", V::U32(1), "merges is Integer(1)"),
            (
                "tokenizer.ggml.token_type",
                V::Array(vec![V::I32(1)]),
                "1 token types for 261 tokens",
            ),
        ] {
            let mut metadata = metadata();
            metadata.retain(|(k, _)| *k != key);
            metadata.push((key, value));
            let why = open(&metadata).err().unwrap().to_string();
            assert!(why.contains(words), "{why}");
        }
        let mut twice = metadata();
        let Some((_, V::Array(tokens))) = twice.iter_mut().find(|(k, _)| k.ends_with(".tokens"))
        else {
            panic!("no tokens");
        };
        tokens[5] = tokens[4].clone();
        assert!(open(&twice).err().unwrap().to_string().contains("1 tokens occur more than once"));
    }

    #[test]
    fn letters_are_gpt_2s() {
        let letters: std::collections::HashSet<char> = (0..=255).map(letter).collect();
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        assert_eq!(letters, alphabet.into_iter().collect());
        assert_eq!((letter(b'A'), letter(b' '), letter(b'\n')), ('A', 'Ġ', 'Ċ'));
    }
}
