//! A model as its maker left it: tensors, configuration, tokenizer.

use super::gguf::Gguf;
use super::{Checkpoint, Entry, Source, companions, special};
use crate::{Architecture, Error, Tensors, Tokenizer, Weights};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// A model, of which only headers are in memory.
pub struct Model {
    source: Box<dyn Source>,
    architecture: Architecture,
    tokenizer: Option<Tokenizer>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Model {
    /// Opens a GGUF file, or a Hugging Face folder (or a safetensors file in it).
    ///
    /// Errors: no such file, a malformed one; of GGUF files also an architecture or setting that is not
    /// implemented, which in a folder makes an [`Architecture::Other`]. A folder without `tokenizer.json` is
    /// none: see [`tokenizer`](Self::tokenizer).
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
        let architecture = Architecture::Llama(config);
        Ok(Self { source: Box::new(gguf), architecture, tokenizer: Some(tokenizer), files })
    }

    fn of_folder(path: &Path) -> Result<Self, Error> {
        let checkpoint = Checkpoint::open(path)?;
        let Some(folder) = checkpoint.folder().map(Path::to_owned) else {
            let why =
                Error::file(path, "lies beside no config.json, which says how the model is run");
            let architecture = Architecture::Other(why.to_string());
            let source = Box::new(checkpoint);
            return Ok(Self { source, architecture, tokenizer: None, files: Vec::new() });
        };
        let folder = folder.as_path();
        let architecture = architecture(&folder.join(CONFIG), &checkpoint)
            .unwrap_or_else(|why| Architecture::Other(why.to_string()));
        let file = folder.join(TOKENIZER);
        let tokenizer = file.is_file().then(|| Tokenizer::from_file(&file)).transpose()?;
        let mut files = Vec::new();
        for name in companions(folder)? {
            let file = folder.join(&name);
            let bytes = fs::read(&file).map_err(Error::io(&file))?;
            files.push((name, bytes));
        }
        Ok(Self { source: Box::new(checkpoint), architecture, tokenizer, files })
    }

    /// Its tensors.
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Its kind and shape.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// All its weights, in memory. Errors: it is no decoder; a tensor that is missing, malformed or of another shape.
    pub fn weights(&self) -> Result<Weights, Error> {
        let config = *self.architecture.decoder()?;
        let read = |name: String| Ok((name.clone(), self.source.tensor(&name)?));
        let names = config.slots().into_iter().map(|slot| slot.name);
        Weights::new(config, names.map(read).collect::<Result<Tensors, Error>>()?)
    }

    /// Its tokenizer. Errors: the folder has no `tokenizer.json`.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        let missing = || Error::Config(format!("there is no {TOKENIZER} beside the tensors"));
        self.tokenizer.as_ref().ok_or_else(missing)
    }

    /// What belongs beside the tensors of a model made from it: names and bytes.
    pub fn companions(&self) -> &[(PathBuf, Vec<u8>)] {
        &self.files
    }

    /// The tokens that end a text: `eos_token_id` of `generation_config.json`, else of `config.json`, and
    /// `<|im_end|>`, which ends a turn. Ascending; none if nobody says. Errors: an id that is none of the
    /// vocabulary; an encoder has none.
    pub fn end_tokens(&self) -> Result<Vec<u32>, Error> {
        let vocab = self.architecture.decoder()?.vocab;
        special::end_tokens(&self.files, self.tokenizer.as_ref(), vocab)
    }

    /// Identifies the model: FNV-1a of names, shapes, forms, and of every vector's numbers, which stand in
    /// for the matrices.
    pub fn digest(&self) -> Result<u64, Error> {
        let mut bytes = Vec::new();
        for Entry { name, shape, stored, .. } in self.source.entries() {
            bytes.extend(format!("{name} {shape:?} {stored};").into_bytes());
            if shape.len() == 1 {
                bytes.extend(self.source.raw(name)?.bytes);
            }
        }
        Ok(crate::corpus::fnv1a(&bytes))
    }
}

fn architecture(file: &Path, checkpoint: &Checkpoint) -> Result<Architecture, Error> {
    let json = fs::read(file).map_err(Error::io(file))?;
    let json = serde_json::from_slice(&json).map_err(|e| Error::file(file, e))?;
    let has = |name: &str| checkpoint.entries().iter().any(|entry| entry.name == name);
    Architecture::from_hugging_face(&json, has).map_err(|e| Error::file(file, e))
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
