//! A model as its maker left it: tensors, configuration, tokenizer.

use super::gguf::Gguf;
use super::{Checkpoint, Entry, Source, companions, special};
use crate::{Config, Error, Tensors, Tokenizer, Weights};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// A Llama-style model, of which only headers are in memory.
pub struct Model {
    source: Box<dyn Source>,
    config: Config,
    tokenizer: Option<Tokenizer>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Model {
    /// Opens a GGUF file, or a Hugging Face folder (or a safetensors file in it).
    ///
    /// Errors: no such file, a malformed one, an architecture or setting that is not implemented. A folder
    /// without `tokenizer.json` is none: see [`tokenizer`](Self::tokenizer).
    pub fn open(path: &Path) -> Result<Self, Error> {
        match is_gguf(path)? {
            true => Self::of_gguf(path),
            false => Self::of_folder(path),
        }
    }

    fn of_gguf(path: &Path) -> Result<Self, Error> {
        let gguf = Gguf::open(path)?;
        let config = gguf.config()?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let files = special::files(&gguf, &config, &tokenizer)?;
        Ok(Self { source: Box::new(gguf), config, tokenizer: Some(tokenizer), files })
    }

    fn of_folder(path: &Path) -> Result<Self, Error> {
        let checkpoint = Checkpoint::open(path)?;
        let alone = || Error::file(path, "is no model's folder: there is no config.json");
        let folder = checkpoint.folder().ok_or_else(alone)?.to_owned();
        let folder = folder.as_path();
        let file = folder.join(CONFIG);
        let json = fs::read(&file).map_err(Error::io(&file))?;
        let json = serde_json::from_slice(&json).map_err(|e| Error::file(&file, e))?;
        let config = Config::from_hugging_face(&json).map_err(|e| Error::file(&file, e))?;
        let file = folder.join(TOKENIZER);
        let tokenizer = file.is_file().then(|| Tokenizer::from_file(&file)).transpose()?;
        let mut files = Vec::new();
        for name in companions(folder)? {
            let file = folder.join(&name);
            let bytes = fs::read(&file).map_err(Error::io(&file))?;
            files.push((name, bytes));
        }
        Ok(Self { source: Box::new(checkpoint), config, tokenizer, files })
    }

    /// Its tensors.
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Its shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// All its weights, in memory. Errors: a tensor that is missing, malformed or of another shape.
    pub fn weights(&self) -> Result<Weights, Error> {
        let read = |name: String| Ok((name.clone(), self.source.tensor(&name)?));
        let names = self.config.slots().into_iter().map(|slot| slot.name);
        Weights::new(self.config, names.map(read).collect::<Result<Tensors, Error>>()?)
    }

    /// Its tokenizer. Errors: the folder has no `tokenizer.json`.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        let missing = || Error::Config(format!("the model's folder has no {TOKENIZER}"));
        self.tokenizer.as_ref().ok_or_else(missing)
    }

    /// What belongs beside the tensors of a model made from it: names and bytes.
    pub fn companions(&self) -> &[(PathBuf, Vec<u8>)] {
        &self.files
    }

    /// The tokens that end a text: `eos_token_id` of `generation_config.json`, else of `config.json`, and
    /// `<|im_end|>`, which ends a turn. Ascending; none if nobody says. Errors: an id that is none of the
    /// vocabulary.
    pub fn end_tokens(&self) -> Result<Vec<u32>, Error> {
        special::end_tokens(&self.files, self.tokenizer.as_ref(), self.config.vocab)
    }

    /// Identifies the model: FNV-1a of names, shapes, forms, and of every vector's numbers, which stand in
    /// for the matrices.
    pub fn digest(&self) -> Result<u64, Error> {
        let mut bytes = Vec::new();
        for Entry { name, shape, stored, .. } in self.source.entries() {
            bytes.extend(format!("{name} {shape:?} {stored};").into_bytes());
            if shape.len() == 1 {
                bytes.extend(self.source.tensor(name)?.data.iter().flat_map(|x| x.to_le_bytes()));
            }
        }
        Ok(crate::corpus::fnv1a(&bytes))
    }
}

/// Whether a file begins as GGUF files do.
pub(super) fn is_gguf(path: &Path) -> Result<bool, Error> {
    if path.is_dir() {
        return Ok(false);
    }
    let mut magic = [0; 4];
    let mut file = fs::File::open(path).map_err(Error::io(path))?;
    // too short a file is not GGUF either; who reads it next says what it lacks
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"GGUF")
}
