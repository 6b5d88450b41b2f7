//! Checkpoints of any architecture: each matrix is a block of its own, since nothing is known of what runs
//! between them. Another framework's grams stand in for calibration, or the weights alone.

use super::{Flow, Free, Stack};
use crate::checkpoint::{Checkpoint, Source};
use crate::{Error, Tensors};
use quickpick_format::StoredType;
use quickpick_prune::Gram;
use std::path::{Path, PathBuf};

/// A safetensors file of grams, such as another framework exports: for each layer `XᵀX` of its inputs, `k × k`,
/// real numbers, under the name of the layer's weight; and `tokens`, an integer, of how many inputs.
pub struct Grams {
    path: PathBuf,
    tensors: Checkpoint,
    tokens: u64,
}

/// What is no layer's name.
const TOKENS: &str = "tokens";

impl Grams {
    /// Opens the file, of which only the header is read.
    ///
    /// Errors: no such file, a malformed one, one without `tokens`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let tensors = Checkpoint::open(path)?;
        let tokens = tensors.raw(TOKENS)?;
        let count = match (tokens.dtype, tokens.bytes.as_slice().try_into()) {
            (StoredType::I64, Ok(bytes)) => u64::try_from(i64::from_le_bytes(bytes)).ok(),
            _ => None,
        };
        let why = "tokens is no count: one I64, torch's int64";
        let tokens = count.ok_or_else(|| Error::file(path, why))?;
        Ok(Self { path: path.to_owned(), tensors, tokens })
    }

    /// Names of the layers that it has grams of.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.tensors.entries().iter().map(|e| e.name.as_str()).filter(|name| *name != TOKENS)
    }

    /// Identifies them: FNV-1a of names, of what each feature's inputs add up to in squares, and of `tokens`.
    pub fn digest(&self) -> Result<u64, Error> {
        let mut bytes = self.tokens.to_le_bytes().to_vec();
        for name in self.layers() {
            let tensor = self.tensors.tensor(name)?;
            let k = tensor.shape.last().copied().unwrap_or_default();
            bytes.extend(name.bytes());
            bytes.extend(tensor.data.iter().step_by(k + 1).flat_map(|x| x.to_le_bytes()));
        }
        Ok(crate::corpus::fnv1a(&bytes))
    }

    /// A layer's gram, of k input features. Errors: there is none, it is of another size, it is no gram.
    pub fn gram(&self, layer: &str, k: usize) -> Result<Gram, Error> {
        let none = || format!("has no gram of {layer}: export it, or leave the layer dense");
        let entry = self.tensors.entries().iter().find(|e| e.name == layer);
        let entry = entry.ok_or_else(|| Error::file(&self.path, none()))?;
        if entry.shape != [k, k] {
            let why = format!("{layer} has {k} input features, its gram is {:?}", entry.shape);
            return Err(Error::file(&self.path, why));
        }
        let matrix: Vec<f64> =
            self.tensors.tensor(layer)?.data.into_iter().map(f64::from).collect();
        let failed = |e| Error::file(&self.path, format!("{layer}: {e}"));
        Gram::from_matrix(&matrix, k, self.tokens).map_err(failed)
    }
}

/// The matrices of a checkpoint.
pub struct Bare {
    matrices: Vec<String>,
    grams: Option<Grams>,
}

impl Bare {
    /// All of them, in the checkpoint's order. Without `grams` a layer's inputs count as independent and
    /// alike, which suits methods that ask for none.
    ///
    /// Errors: a gram of what is no matrix of the checkpoint.
    pub fn new(source: &dyn Source, grams: Option<Grams>) -> Result<Self, Error> {
        let matrices = source.entries().iter().filter(|e| e.shape.len() == 2);
        let matrices: Vec<String> = matrices.map(|e| e.name.clone()).collect();
        if let Some(grams) = &grams {
            let known = |name: &&str| !matrices.iter().any(|m| m == name);
            if let Some(name) = grams.layers().find(known) {
                let why = format!("{name} is no matrix of the checkpoint");
                return Err(Error::file(&grams.path, why));
            }
        }
        Ok(Self { matrices, grams })
    }
}

impl Stack for Bare {
    fn blocks(&self) -> usize {
        self.matrices.len()
    }

    fn stages(&self, block: usize) -> Vec<Vec<String>> {
        vec![self.tensors(block)]
    }

    fn tensors(&self, block: usize) -> Vec<String> {
        self.matrices.get(block).cloned().into_iter().collect()
    }

    fn free(&self, _: usize, _: usize) -> Option<Free> {
        None
    }

    fn embed(&self, _: &dyn Source, _: &[u32]) -> Result<Flow, Error> {
        Ok(Flow::default())
    }

    fn advance(&self, _: usize, _: usize, _: &Tensors, _: &mut Flow) -> Result<(), Error> {
        Ok(())
    }

    fn gram(&self, layer: &str, k: usize, _: &Flow) -> Result<Gram, Error> {
        match &self.grams {
            Some(grams) => grams.gram(layer, k),
            None => {
                let unit: Vec<f64> =
                    (0..k * k).map(|i| f64::from(u8::from(i % (k + 1) == 0))).collect();
                Gram::from_matrix(&unit, k, 0).map_err(|e| Error::Prune(format!("{layer}: {e}")))
            }
        }
    }
}
