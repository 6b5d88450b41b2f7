//! A small model written by candle's GGUF writer, and what was done to its file.

use super::*;
use crate::Weights;
use candle_core::quantized::{QTensor, gguf_file};
use std::fs;

fn config(tied: bool) -> Config {
    Config {
        dim: 64,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        ffn: 96,
        max_seq: 32,
        tie_word_embeddings: tied,
        ..Config::tiny()
    }
}

/// llama.cpp's name, and whether its converter reorders the rows of so many heads.
fn ggml_name(name: &str, config: &Config) -> (String, usize) {
    let part = |part: &str| {
        let heads = |p: &str| match p {
            "q_proj" => config.heads,
            "k_proj" => config.kv_heads,
            _ => 0,
        };
        let (theirs, p) = match part {
            config::ATTN_NORM => ("attn_norm", ""),
            config::Q => ("attn_q", "q_proj"),
            config::K => ("attn_k", "k_proj"),
            config::V => ("attn_v", ""),
            config::O => ("attn_output", ""),
            config::FFN_NORM => ("ffn_norm", ""),
            config::GATE => ("ffn_gate", ""),
            config::UP => ("ffn_up", ""),
            config::DOWN => ("ffn_down", ""),
            other => panic!("{other}"),
        };
        (theirs, heads(p))
    };
    match name {
        config::EMBEDDING => ("token_embd.weight".into(), 0),
        config::FINAL_NORM => ("output_norm.weight".into(), 0),
        config::HEAD => ("output.weight".into(), 0),
        _ => {
            let (layer, rest) = name["model.layers.".len()..].split_once('.').unwrap();
            let (theirs, heads) = part(rest);
            (format!("blk.{layer}.{theirs}.weight"), heads)
        }
    }
}

fn metadata(config: &Config) -> Vec<(&'static str, gguf_file::Value)> {
    use gguf_file::Value::{F32, String, U32};
    vec![
        ("general.architecture", String("llama".into())),
        ("llama.block_count", U32(config.layers as u32)),
        ("llama.context_length", U32(config.max_seq as u32)),
        ("llama.embedding_length", U32(config.dim as u32)),
        ("llama.feed_forward_length", U32(config.ffn as u32)),
        ("llama.attention.head_count", U32(config.heads as u32)),
        ("llama.attention.head_count_kv", U32(config.kv_heads as u32)),
        ("llama.rope.freq_base", F32(config.rope_theta)),
        ("llama.attention.layer_norm_rms_epsilon", F32(config.eps)),
        ("some.numbers", gguf_file::Value::Array(vec![U32(1), U32(2)])),
        ("some.words", gguf_file::Value::Array(vec![String("a".into()), String("b".into())])),
    ]
}

/// The file's bytes. `kind`: of the matrices; norms are F32.
fn file(
    weights: &Weights,
    kind: GgmlDType,
    metadata: &[(&'static str, gguf_file::Value)],
) -> Vec<u8> {
    let tensors: Vec<(String, QTensor)> = weights
        .tensors()
        .iter()
        .map(|(name, t)| {
            let (name, heads) = ggml_name(name, weights.config());
            let mut tensor =
                candle_core::Tensor::from_slice(&t.data, t.shape.as_slice(), &Device::Cpu).unwrap();
            if heads > 0 {
                // as llama.cpp's convert_hf_to_gguf.py permutes
                let (rows, cols) = (t.shape[0], t.shape[1]);
                let split = tensor.reshape((heads, 2, rows / heads / 2, cols)).unwrap();
                tensor = split.transpose(1, 2).unwrap().contiguous().unwrap();
                tensor = tensor.reshape((rows, cols)).unwrap();
            }
            let kind = if t.shape.len() == 1 { GgmlDType::F32 } else { kind };
            (name, QTensor::quantize(&tensor, kind).unwrap())
        })
        .collect();
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let mut bytes = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
    bytes.into_inner()
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("quickpick-gguf-{name}-{}", std::process::id())))
    }

    fn open(&self, bytes: &[u8]) -> Result<Gguf, Error> {
        fs::write(&self.0, bytes).unwrap();
        Gguf::open(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_model_comes_back_with_hugging_faces_names_and_rows() {
    let scratch = Scratch::new("f32");
    for tied in [false, true] {
        let weights = Weights::init(config(tied), 5).unwrap();
        let gguf = scratch.open(&file(&weights, GgmlDType::F32, &metadata(&config(tied)))).unwrap();
        assert_eq!(gguf.config().unwrap(), config(tied));
        assert_eq!(gguf.entries().len(), weights.tensors().len());
        for entry in gguf.entries() {
            let want = &weights.tensors()[&entry.name];
            assert_eq!(&gguf.tensor(&entry.name).unwrap(), want, "{}", entry.name);
            assert_eq!((entry.bytes, &*entry.stored), (4 * want.data.len() as u64, "F32"));
        }
        assert_eq!(gguf.metadata()["some.numbers"], Value::Integers(vec![1, 2]));
        assert_eq!(gguf.metadata()["some.words"], Value::Texts(vec!["a".into(), "b".into()]));
        assert!(gguf.tensor("rogue").unwrap_err().to_string().contains("there is no rogue"));
    }
}

/// Half a step of each type's coarsest scale, from its block's range of values.
#[test]
fn quantised_types_come_back_within_their_step() {
    let scratch = Scratch::new("types");
    let weights = Weights::init(config(false), 5).unwrap();
    for (kind, name, steps) in [
        (GgmlDType::Q4_0, "Q4_0", 15.0),
        (GgmlDType::Q4_1, "Q4_1", 15.0),
        (GgmlDType::Q5_0, "Q5_0", 31.0),
        (GgmlDType::Q5_1, "Q5_1", 31.0),
        (GgmlDType::Q8_0, "Q8_0", 254.0),
        (GgmlDType::F16, "F16", 2048.0),
        (GgmlDType::BF16, "BF16", 256.0),
    ] {
        let gguf = scratch.open(&file(&weights, kind, &metadata(&config(false)))).unwrap();
        let q = in_block(1, config::Q);
        let (want, have) = (&weights.tensors()[&q].data, gguf.tensor(&q).unwrap().data);
        let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
        let worst = want.iter().zip(&have).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(worst > 0.0 && worst <= 2.0 * largest / steps, "{name}: {worst} of {largest}");
        assert_eq!(gguf.entries().iter().find(|e| e.name == q).unwrap().stored, name);
    }
}

#[test]
fn other_models_are_listed_and_refused_by_name() {
    let scratch = Scratch::new("other");
    let weights = Weights::init(config(false), 5).unwrap();
    let refusal = |key: &'static str, value: gguf_file::Value| {
        let mut metadata = metadata(&config(false));
        metadata.retain(|(k, _)| *k != key);
        metadata.push((key, value));
        let gguf = scratch.open(&file(&weights, GgmlDType::F32, &metadata)).unwrap();
        assert_eq!(gguf.entries().len(), weights.tensors().len());
        gguf.config().unwrap_err().to_string()
    };
    use gguf_file::Value::{Array, F32, String, U32};
    for (key, value, words) in [
        ("general.architecture", String("mamba".into()), "its architecture is mamba; only llama"),
        ("llama.rope.scaling.type", String("yarn".into()), "Text(\"yarn\") is not implemented"),
        ("llama.expert_count", U32(8), "8 experts"),
        ("llama.rope.dimension_count", U32(8), "rope.dimension_count is 8; only 16"),
        ("llama.attention.head_count", Array(vec![U32(4), U32(2)]), "differs between layers"),
        ("llama.feed_forward_length", U32(128), "is [64, 96], its metadata says [64, 128]"),
        ("llama.block_count", U32(1), "model.layers.1."),
        ("llama.block_count", U32(3), "model.layers.2.input_layernorm.weight is missing"),
        ("llama.embedding_length", F32(64.0), "llama.embedding_length is Float(64.0)"),
    ] {
        let why = refusal(key, value);
        assert!(why.contains(words), "{why}");
    }
}

/// Every cut and many flipped bytes: an error or a model, never a panic or a huge allocation.
#[test]
fn broken_files_are_errors() {
    let scratch = Scratch::new("broken");
    let small = Config { dim: 32, layers: 1, heads: 2, kv_heads: 1, ffn: 32, ..config(true) };
    let weights = Weights::init(small, 5).unwrap();
    let whole = file(&weights, GgmlDType::Q8_0, &metadata(&small));
    scratch.open(&whole).unwrap();
    let header = 1200;
    for cut in (0..header).step_by(7).chain([whole.len() - 1]) {
        assert!(matches!(scratch.open(&whole[..cut]), Err(Error::File { .. })), "cut at {cut}");
    }
    for at in 0..header {
        let mut bytes = whole.clone();
        bytes[at] = bytes[at].wrapping_add(0x7F);
        if let Ok(gguf) = scratch.open(&bytes) {
            let _ = gguf.config();
            for entry in gguf.entries().iter().take(3) {
                let _ = gguf.tensor(&entry.name);
            }
        }
    }
    let with = |at: usize, new: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        scratch.open(&bytes).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(with(0, b"GGML").contains("does not begin with GGUF"));
    assert!(with(4, &[1]).contains("GGUF version 1"));
    assert!(with(24, &[0xFF; 8]).contains("18446744073709551615 bytes are needed"));
    // a tensor's dimensions, type and offset, behind its name
    let name = b"token_embd.weight";
    let at = whole.windows(name.len()).position(|w| w == name).unwrap() + name.len();
    assert!(with(at, &[9]).contains("9 dimensions, not 1..=4"));
    assert!(with(at + 4, &[0xFF; 16]).contains("has too many elements"));
    assert!(with(at + 4, &[0; 8]).contains("cannot store"));
    assert!(with(at + 24, &[0xFF; 8]).contains("begins at 18446744073709551615"));
    let far = (whole.len() as u64 - 2048).to_le_bytes();
    assert!(with(at + 24, &far).contains("are left"));
    let mut bytes = whole.clone();
    bytes[at + 20] = 17;
    let gguf = scratch.open(&bytes).unwrap();
    assert_eq!(gguf.entries().iter().filter(|e| e.stored == "ggml type 17").count(), 1);
    assert!(gguf.tensor(config::EMBEDDING).unwrap_err().to_string().contains("type 17"));
}
