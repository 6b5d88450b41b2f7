//! A run's folder: what is asked, and each block as soon as it is finished.
//!
//! `job.json` says what is asked, so that nothing else is resumed by mistake. `block-0007.safetensors`
//! holds a finished block's new weights in the type in which they ship, and its report as a note. Both
//! appear by atomic rename: a killed run leaves whole blocks and nothing else.

use super::{LayerReport, Narrow};
use crate::{Error, Tensor, Tensors};
use half::{bf16, f16};
use quickpick_format::{Reader, StoredType, Writer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

const JOB: &str = "job.json";
const NOTE: &str = "layers";

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// What to do with an unfinished run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is an error.
    Refuse,
    /// Go on there, if it is of the same job.
    Resume,
    /// Throw it away.
    Discard,
}

impl RunFolder {
    /// Opens or makes the folder of a job.
    ///
    /// Errors: an unfinished run is there and `existing` does not say what to do with it, or it is of
    /// another job (the message says in what they differ).
    pub fn open<J: Serialize + DeserializeOwned + PartialEq>(
        path: &Path,
        job: &J,
        existing: Existing,
    ) -> Result<Self, Error> {
        let file = path.join(JOB);
        let run = Self { path: path.to_owned() };
        if existing == Existing::Discard && path.exists() {
            fs::remove_dir_all(path).map_err(Error::io(path))?;
        }
        let json = serde_json::to_value(job).map_err(|e| Error::file(&file, e))?;
        match fs::read(&file) {
            Ok(_) if existing == Existing::Refuse => {
                Err(Error::file(path, "holds an unfinished run: resume it, or discard it"))
            }
            Ok(bytes) => {
                let old: serde_json::Value =
                    serde_json::from_slice(&bytes).map_err(|e| Error::file(&file, e))?;
                match differences(&old, &json) {
                    differ if differ.is_empty() => Ok(run),
                    differ => Err(Error::file(
                        path,
                        format!("holds the unfinished run of another job: {}", differ.join("; ")),
                    )),
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir_all(path).map_err(Error::io(path))?;
                let text = serde_json::to_vec_pretty(&json).map_err(|e| Error::file(&file, e))?;
                crate::weights::write_atomic(&file, &text)?;
                Ok(run)
            }
            Err(e) => Err(Error::io(&file)(e)),
        }
    }

    /// Whatever else a run keeps there.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The file of a block's pruned weights.
    pub fn block_file(&self, block: usize) -> PathBuf {
        self.path.join(format!("block-{block:04}.safetensors"))
    }

    /// Whether a block is finished.
    pub fn has(&self, block: usize) -> bool {
        self.block_file(block).is_file()
    }

    /// Keeps a finished block. `tensors` must be numbers of `narrow`'s type already.
    pub fn keep(
        &self,
        block: usize,
        tensors: &Tensors,
        narrow: Narrow,
        layers: &[LayerReport],
    ) -> Result<(), Error> {
        let path = self.block_file(block);
        let report = serde_json::to_string(layers).map_err(|e| Error::file(&path, e))?;
        let failed = |e| Error::file(&path, e);
        match narrow {
            Narrow::F32 => save(&path, tensors, |x| x, &report),
            Narrow::F16 => save(&path, tensors, f16::from_f32, &report),
            Narrow::BF16 => save(&path, tensors, bf16::from_f32, &report),
        }
        .map_err(failed)
    }

    /// A finished block's weights, widened, and its report. Errors: a file that is not such a block's.
    pub fn block(&self, block: usize) -> Result<(Tensors, Vec<LayerReport>), Error> {
        let path = self.block_file(block);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        let failed = |e: quickpick_format::FileError| Error::file(&path, e);
        let reader = Reader::parse(&bytes).map_err(failed)?;
        let note = reader.note(NOTE).ok_or_else(|| Error::file(&path, "has no report"))?;
        let layers = serde_json::from_str(note).map_err(|e| Error::file(&path, e))?;
        let mut tensors = Tensors::new();
        for entry in reader.entries() {
            let name = entry.name;
            let (data, shape) = match entry.dtype {
                StoredType::F32 => reader.dense::<f32>(&name),
                StoredType::F16 => reader.dense(&name).map(|(d, s)| (widen(d, f16::to_f32), s)),
                StoredType::BF16 => reader.dense(&name).map(|(d, s)| (widen(d, bf16::to_f32), s)),
                other => return Err(Error::file(&path, format!("{name} is {other:?}"))),
            }
            .map_err(failed)?;
            tensors.insert(name, Tensor { shape, data });
        }
        Ok((tensors, layers))
    }

    /// Removes the folder, once its result is elsewhere; `job.json` last, so that whoever resumes what is left
    /// of it knows whose it is.
    pub fn remove(self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.path).map_err(Error::io(&self.path))? {
            let file = entry.map_err(Error::io(&self.path))?.path();
            if file.is_file() && !file.ends_with(JOB) {
                fs::remove_file(&file).map_err(Error::io(&file))?;
            }
        }
        fs::remove_dir_all(&self.path).map_err(Error::io(&self.path))
    }
}

fn widen<T: Copy>(data: Vec<T>, to_f32: fn(T) -> f32) -> Vec<f32> {
    data.into_iter().map(to_f32).collect()
}

fn save<T: quickpick_format::Element>(
    path: &Path,
    tensors: &Tensors,
    narrow: fn(f32) -> T,
    report: &str,
) -> Result<(), quickpick_format::FileError> {
    let narrowed: Vec<(&String, Vec<T>, &[usize])> = tensors
        .iter()
        .map(|(name, t)| (name, t.data.iter().map(|&x| narrow(x)).collect(), t.shape.as_slice()))
        .collect();
    let mut writer = Writer::new();
    for (name, data, shape) in &narrowed {
        writer.dense(name, data, shape)?;
    }
    writer.note(NOTE, report);
    writer.save(path)
}

/// `key: old, now new` for each key in which two objects differ.
fn differences(old: &serde_json::Value, new: &serde_json::Value) -> Vec<String> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return if old == new { vec![] } else { vec![format!("{old}, now {new}")] };
    };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |v: Option<&serde_json::Value>| v.map_or("nothing".to_owned(), |v| v.to_string());
    keys.into_iter()
        .filter(|&key| old.get(key) != new.get(key))
        .map(|key| format!("{key} was {}, is {}", text(old.get(key)), text(new.get(key))))
        .collect()
}
