//! GGUF, llama.cpp's file of a model: metadata, and tensors that are usually quantised.
//!
//! A Llama model's tensors go by Hugging Face's names, and its q and k have Hugging Face's order of
//! rows. llama.cpp's converter makes rotary pairs neighbours: row `2i + j` of a head is row
//! `j·head_dim/2 + i` of Hugging Face's, whose pairs lie half a head apart.
//!
//! The header is read here and not by candle, so that a file of another architecture or with types
//! that candle lacks can still be listed, and no length of a hostile file is believed; candle
//! dequantises.

mod header;

use super::{Entry, Source};
use crate::config::{self, Config, in_block};
use crate::{Error, Tensor};
use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use header::{Header, Place};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use header::Value;

/// A type of ggml's: its number, its name, its elements and bytes of a block, and candle's name for it.
struct Stored(u32, &'static str, usize, usize, GgmlDType);

#[rustfmt::skip] // one type, one line
const TYPES: &[Stored] = &[
    Stored(0,  "F32",  1,   4,   GgmlDType::F32),
    Stored(1,  "F16",  1,   2,   GgmlDType::F16),
    Stored(2,  "Q4_0", 32,  18,  GgmlDType::Q4_0),
    Stored(3,  "Q4_1", 32,  20,  GgmlDType::Q4_1),
    Stored(6,  "Q5_0", 32,  22,  GgmlDType::Q5_0),
    Stored(7,  "Q5_1", 32,  24,  GgmlDType::Q5_1),
    Stored(8,  "Q8_0", 32,  34,  GgmlDType::Q8_0),
    Stored(10, "Q2_K", 256, 84,  GgmlDType::Q2K),
    Stored(11, "Q3_K", 256, 110, GgmlDType::Q3K),
    Stored(12, "Q4_K", 256, 144, GgmlDType::Q4K),
    Stored(13, "Q5_K", 256, 176, GgmlDType::Q5K),
    Stored(14, "Q6_K", 256, 210, GgmlDType::Q6K),
    Stored(30, "BF16", 1,   2,   GgmlDType::BF16),
];

/// An open GGUF file.
pub struct Gguf {
    path: PathBuf,
    file: Mutex<File>,
    metadata: BTreeMap<String, Value>,
    entries: Vec<Entry>,
    /// By the entry's name.
    places: HashMap<String, Place>,
}

impl Gguf {
    /// Reads the header. A model of another architecture can be listed, and its tensors read under the
    /// names and in the order of the file.
    ///
    /// Errors: the file cannot be read, is no GGUF of version 2 or 3, or is shorter than its header says.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let len = file.metadata().map_err(Error::io(path))?.len();
        let Header { metadata, places } =
            Header::read(&file, len).map_err(|e| Error::file(path, e))?;
        let llama = metadata.get("general.architecture") == Some(&Value::Text("llama".into()));
        let mut starts: Vec<u64> = places.iter().map(|p| p.offset).chain([len]).collect();
        starts.sort_unstable();
        let mut entries = Vec::new();
        let mut by_name = HashMap::new();
        for place in places {
            let name = if llama { hugging_face_name(&place.name) } else { place.name.clone() };
            let (stored, bytes) = match TYPES.iter().find(|t| t.0 == place.kind) {
                Some(kind) => {
                    let bytes = bytes(&place, kind).map_err(|e| Error::file(path, e))?;
                    (kind.1.to_owned(), bytes)
                }
                // up to what follows, padding included: the size of an unknown type's block is unknown
                None => {
                    let next = starts.iter().find(|&&s| s > place.offset).unwrap_or(&len);
                    (format!("ggml type {}", place.kind), next - place.offset)
                }
            };
            if bytes > len - place.offset {
                let (have, at) = (len - place.offset, place.offset);
                return Err(Error::file(
                    path,
                    format!("{name} takes {bytes} bytes at {at}, but {have} are left"),
                ));
            }
            entries.push(Entry { name: name.clone(), shape: place.shape.clone(), stored, bytes });
            if by_name.insert(name.clone(), place).is_some() {
                return Err(Error::file(path, format!("{name} occurs twice")));
            }
        }
        let (path, file) = (path.to_owned(), Mutex::new(file));
        Ok(Self { path, file, metadata, entries, places: by_name })
    }

    /// The metadata, by key: `general.architecture`, `tokenizer.ggml.tokens`, …
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// The shape of a Llama model. Embeddings are tied where there is no `output.weight`.
    ///
    /// Errors: another architecture, by name; a setting or a tensor that is not implemented; a tensor
    /// that is missing or has another shape.
    pub fn config(&self) -> Result<Config, Error> {
        let bad = |why: String| Error::file(&self.path, why);
        match self.metadata.get("general.architecture") {
            Some(Value::Text(name)) if name == "llama" => {}
            Some(Value::Text(name)) => {
                return Err(bad(format!("its architecture is {name}; only llama is supported")));
            }
            other => return Err(bad(format!("general.architecture is {other:?}"))),
        }
        match self.metadata.get("llama.rope.scaling.type") {
            None => {}
            Some(Value::Text(kind)) if kind == "none" => {}
            Some(other) => {
                return Err(bad(format!("llama.rope.scaling.type {other:?} is not implemented")));
            }
        }
        if let Some(experts) = self.count("llama.expert_count")?.filter(|&n| n > 0) {
            return Err(bad(format!("{experts} experts are not implemented")));
        }
        let need =
            |key: &str| self.count(key)?.ok_or_else(|| bad(format!("its metadata has no {key}")));
        let table = self.entries.iter().find(|e| e.name == config::EMBEDDING);
        let heads = need("llama.attention.head_count")?;
        let eps = self.float("llama.attention.layer_norm_rms_epsilon")?;
        let config = Config {
            dim: need("llama.embedding_length")?,
            layers: need("llama.block_count")?,
            heads,
            kv_heads: self.count("llama.attention.head_count_kv")?.unwrap_or(heads),
            ffn: need("llama.feed_forward_length")?,
            vocab: table.and_then(|t| t.shape.first().copied()).unwrap_or(0),
            max_seq: need("llama.context_length")?,
            rope_theta: self.float("llama.rope.freq_base")?.unwrap_or(10_000.0),
            eps: eps.ok_or_else(|| bad("its metadata has no layer_norm_rms_epsilon".into()))?,
            tie_word_embeddings: !self.places.contains_key(config::HEAD),
            rope_scaling: None,
        };
        config.validate().map_err(|e| Error::file(&self.path, e))?;
        let head_dim = config.head_dim();
        for key in ["rope.dimension_count", "attention.key_length", "attention.value_length"] {
            let key = format!("llama.{key}");
            if let Some(n) = self.count(&key)?.filter(|&n| n != head_dim) {
                return Err(bad(format!("{key} is {n}; only {head_dim} is implemented")));
            }
        }
        let slots: HashMap<_, _> = config.slots().into_iter().map(|s| (s.name, s.shape)).collect();
        for entry in &self.entries {
            match slots.get(&entry.name) {
                Some(shape) if *shape == entry.shape => {}
                Some(shape) => {
                    let (name, have) = (&entry.name, &entry.shape);
                    return Err(bad(format!("{name} is {have:?}, its metadata says {shape:?}")));
                }
                None => return Err(bad(format!("{} is not implemented", entry.name))),
            }
        }
        match slots.keys().filter(|name| !self.places.contains_key(*name)).min() {
            Some(missing) => Err(bad(format!("{missing} is missing"))),
            None => Ok(config),
        }
    }

    fn count(&self, key: &str) -> Result<Option<usize>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Integer(n)) if (0..=1 << 32).contains(n) => Ok(Some(*n as usize)),
            Some(Value::Integers(n)) => {
                let why = format!("{key} differs between layers ({} values)", n.len());
                Err(Error::file(&self.path, why))
            }
            Some(other) => Err(Error::file(&self.path, format!("{key} is {other:?}"))),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) => Ok(Some(*x as f32)),
            Some(other) => Err(Error::file(&self.path, format!("{key} is {other:?}"))),
        }
    }

    /// Heads whose rows llama.cpp has interleaved in that tensor; 0 of all but q and k of a Llama model.
    fn interleaved(&self, name: &str) -> Result<usize, Error> {
        let key = match name {
            _ if !name.starts_with("model.layers.") => return Ok(0),
            _ if name.ends_with(config::Q) => "llama.attention.head_count",
            _ if name.ends_with(config::K) => "llama.attention.head_count_kv",
            _ => return Ok(0),
        };
        let heads = match self.count(key)? {
            None => self.count("llama.attention.head_count")?,
            heads => heads,
        };
        heads.filter(|&n| n > 0).ok_or_else(|| {
            Error::file(&self.path, format!("{name} has rows of an unknown order: no {key}"))
        })
    }
}

impl Source for Gguf {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let bad = |why: String| Error::file(&self.path, why);
        let place = self.places.get(name).ok_or_else(|| bad(format!("there is no {name}")))?;
        let Some(kind) = TYPES.iter().find(|t| t.0 == place.kind) else {
            return Err(bad(format!("{name} is of ggml's type {}, which is unknown", place.kind)));
        };
        let bytes = bytes(place, kind).map_err(bad)? as usize;
        let mut words = vec![0u64; bytes.div_ceil(8)]; // candle casts to blocks: aligned for any of them
        let raw = &mut bytemuck::cast_slice_mut(&mut words)[..bytes];
        {
            let mut file = self.file.lock().map_err(|_| bad("a reader panicked".into()))?;
            file.seek(SeekFrom::Start(place.offset)).map_err(Error::io(&self.path))?;
            file.read_exact(raw).map_err(Error::io(&self.path))?;
        }
        let tensor = qtensor_from_ggml(kind.4, raw, place.shape.clone(), &Device::Cpu)?;
        let data: Vec<f32> = tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let heads = self.interleaved(name)?;
        let shape = place.shape.clone();
        let data = if heads == 0 { data } else { halves(&data, &shape, heads).map_err(bad)? };
        Ok(Tensor { shape, data })
    }
}

/// A tensor's bytes in the file.
fn bytes(place: &Place, kind: &Stored) -> Result<u64, String> {
    let &Stored(_, name, block, size, _) = kind;
    let row = place.shape.last().copied().unwrap_or(0);
    let elements: usize = place.shape.iter().product(); // the header's reader saw that it fits
    if elements == 0 || !row.is_multiple_of(block) {
        let (tensor, shape) = (&place.name, &place.shape);
        return Err(format!("{tensor} is {shape:?}, which {name} cannot store"));
    }
    let bytes = (elements / block).checked_mul(size);
    bytes.map(|b| b as u64).ok_or_else(|| format!("{} has too many elements", place.name))
}

/// Rows `(head, i, j)` put into the order `(head, j, i)`, where j is 0 or 1.
fn halves(data: &[f32], shape: &[usize], heads: usize) -> Result<Vec<f32>, String> {
    let &[rows, columns] = shape else { return Err(format!("{shape:?} is no matrix")) };
    if !rows.is_multiple_of(2 * heads) {
        return Err(format!("{rows} rows are no {heads} heads of pairs"));
    }
    let half = rows / heads / 2;
    let mut out = Vec::with_capacity(data.len());
    for head in data.chunks_exact(2 * half * columns) {
        for j in 0..2 {
            for i in 0..half {
                out.extend_from_slice(&head[(2 * i + j) * columns..][..columns]);
            }
        }
    }
    Ok(out)
}

/// Hugging Face's name of a Llama tensor; its own, where there is none.
fn hugging_face_name(name: &str) -> String {
    const MODEL: [(&str, &str); 3] = [
        ("token_embd.weight", config::EMBEDDING),
        ("output_norm.weight", config::FINAL_NORM),
        ("output.weight", config::HEAD),
    ];
    const BLOCK: [(&str, &str); 9] = [
        ("attn_norm.weight", config::ATTN_NORM),
        ("attn_q.weight", config::Q),
        ("attn_k.weight", config::K),
        ("attn_v.weight", config::V),
        ("attn_output.weight", config::O),
        ("ffn_norm.weight", config::FFN_NORM),
        ("ffn_gate.weight", config::GATE),
        ("ffn_up.weight", config::UP),
        ("ffn_down.weight", config::DOWN),
    ];
    if let Some((_, ours)) = MODEL.iter().find(|(theirs, _)| *theirs == name) {
        return (*ours).to_owned();
    }
    let block = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let Some((layer, part)) = block else { return name.to_owned() };
    match (layer.parse(), BLOCK.iter().find(|(theirs, _)| *theirs == part)) {
        (Ok(layer), Some((_, ours))) => in_block(layer, ours),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
