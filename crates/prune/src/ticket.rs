//! A ticket and its files.

use crate::{Mask, MaskError, Masks, Pattern};
use quickpick_format::{FileError, Reader, Writer, write_atomic};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A mask, the state that it starts from, and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// What stays.
    pub masks: Masks,
    /// θ_k: the trainer's state at step k, weights, optimiser and data cursor, as
    /// [`Trainer::save`](crate::Trainer::save) wrote it.
    pub rewind: PathBuf,
    /// How it was found.
    pub found: Found,
}

/// How a ticket was found: enough to find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Model, data and hyper-parameters, as [`Trainer::describe`](crate::Trainer::describe) says.
    pub trainer: String,
    /// The pattern, such as `2:4`.
    pub pattern: String,
    /// The score that chose what stays.
    pub score: String,
    /// k: the step that is rewound to.
    pub rewind_step: u64,
    /// T: the step at which the mask was taken.
    pub total_steps: u64,
    /// Of the dense model's first weights.
    pub init_seed: u64,
    /// Every parameter tensor and what became of it.
    pub layers: Vec<LayerDecision>,
}

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerDecision {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Pruned, or dense and why.
    pub decision: String,
}

/// Why a ticket's files cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `ticket.json` is not a ticket's.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The file of masks is malformed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FileError,
    },
    /// A mask is malformed.
    #[error("{}: mask of `{layer}`: {source}", path.display())]
    Mask {
        /// The file.
        path: PathBuf,
        /// Layer.
        layer: String,
        /// What is wrong.
        source: MaskError,
    },
    /// A mask's bits do not fit its note, or are of another layer than the ticket prunes.
    #[error("{}: mask of `{layer}`: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Layer.
        layer: String,
        /// What is wrong.
        why: String,
    },
}

impl Ticket {
    const FOUND: &str = "ticket.json";
    const MASKS: &str = "masks.safetensors";
    const REWIND: &str = "early.state";

    /// Where a search's folder keeps θ_k.
    pub(crate) fn rewind_in(folder: &Path) -> PathBuf {
        folder.join(Self::REWIND)
    }

    /// Writes masks and `ticket.json` beside θ_k. `ticket.json` comes last: where it is, the rest is.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), TicketError> {
        save_masks(&folder.join(Self::MASKS), &self.masks)?;
        let path = folder.join(Self::FOUND);
        let json = serde_json::to_vec_pretty(&self.found);
        let json = json.map_err(|source| TicketError::Json { path: path.clone(), source })?;
        write_atomic(&path, &json).map_err(|source| TicketError::Io { path, source })
    }

    /// Whether a folder holds a ticket.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(Self::FOUND).exists()
    }

    /// Reads the ticket that a search left in its folder. θ_k stays in its file. Errors: a file that
    /// is missing or malformed, masks that are not those of the layers that `ticket.json` calls
    /// pruned.
    pub fn load(folder: &Path) -> Result<Self, TicketError> {
        let path = folder.join(Self::FOUND);
        let json = read(&path)?;
        let found: Found = serde_json::from_slice(&json)
            .map_err(|source| TicketError::Json { path: path.clone(), source })?;
        let path = folder.join(Self::MASKS);
        let masks = load_masks(&path)?;
        let malformed = |layer: &str, why: &str| {
            let (path, layer, why) = (path.clone(), layer.to_owned(), why.to_owned());
            Err(TicketError::Malformed { path, layer, why })
        };
        let pruned = |d: &&LayerDecision| d.decision == crate::Eligibility::Prune.to_string();
        for layer in found.layers.iter().filter(pruned) {
            match masks.get(&layer.name) {
                Some(mask) if layer.shape == [mask.rows(), mask.cols()] => {}
                Some(_) => return malformed(&layer.name, "has another shape than the layer"),
                None => return malformed(&layer.name, "is missing"),
            }
        }
        let count = found.layers.iter().filter(pruned).count();
        if masks.len() != count {
            return malformed("*", "masks of layers that are not pruned");
        }
        let rewind = Self::rewind_in(folder);
        match rewind.try_exists() {
            Ok(true) => Ok(Self { masks, rewind, found }),
            Ok(false) => {
                let source = io::Error::new(io::ErrorKind::NotFound, "the ticket's θ_k is missing");
                Err(TicketError::Io { path: rewind, source })
            }
            Err(source) => Err(TicketError::Io { path: rewind, source }),
        }
    }
}

/// Writes masks as one safetensors file, by atomic rename: an I8 tensor `rows × ⌈cols/8⌉` each, of
/// which bit j of byte i is column 8i + j, and a note with pattern and columns.
pub fn save_masks(path: &Path, masks: &Masks) -> Result<(), TicketError> {
    let failed = |source| TicketError::File { path: path.to_owned(), source };
    file_of(masks, |file| file.save(path)).map_err(failed)
}

/// The bytes of what [`save_masks`] writes. Errors: a name that such a file cannot hold.
pub fn masks_to_bytes(masks: &Masks) -> Result<Vec<u8>, FileError> {
    file_of(masks, |file| file.to_bytes())
}

fn file_of<T>(
    masks: &Masks,
    use_it: impl FnOnce(&Writer) -> Result<T, FileError>,
) -> Result<T, FileError> {
    let bits: Vec<(&String, &Mask, Vec<i8>)> =
        masks.iter().map(|(name, mask)| (name, mask, pack(mask))).collect();
    let mut file = Writer::new();
    for (name, mask, bits) in &bits {
        file.dense(name, bits, &[mask.rows(), mask.cols().div_ceil(8)])?;
        file.note(name, &format!("{} {}", mask.pattern(), mask.cols()));
    }
    use_it(&file)
}

/// Reads what [`save_masks`] wrote. Errors: a malformed file, or a mask that is not exactly its
/// pattern.
pub fn load_masks(path: &Path) -> Result<Masks, TicketError> {
    let bytes = read(path)?;
    let failed = |source| TicketError::File { path: path.to_owned(), source };
    let file = Reader::parse(&bytes).map_err(failed)?;
    let mut masks = Masks::new();
    for entry in file.entries() {
        let layer = entry.name;
        let malformed = |why: &str| TicketError::Malformed {
            path: path.to_owned(),
            layer: layer.clone(),
            why: why.to_owned(),
        };
        let (bits, shape) = file.dense::<i8>(&layer).map_err(failed)?;
        let note = file.note(&layer).and_then(|note| note.split_once(' '));
        let (pattern, cols) = note.ok_or_else(|| malformed("no note of pattern and columns"))?;
        let in_file =
            |source| TicketError::Mask { path: path.to_owned(), layer: layer.clone(), source };
        let pattern: Pattern = pattern.parse().map_err(in_file)?;
        let cols: usize = cols.parse().map_err(|_| malformed("columns are no number"))?;
        let &[rows, row_bytes] = shape.as_slice() else {
            return Err(malformed("the bits are no matrix"));
        };
        if row_bytes != cols.div_ceil(8) || row_bytes == 0 {
            return Err(malformed("the bits do not fit the columns"));
        }
        let kept = bits
            .chunks_exact(row_bytes)
            .flat_map(|row| (0..cols).map(|c| row[c / 8] as u8 >> (c % 8) & 1 == 1))
            .collect();
        let mask = Mask::new(kept, rows, cols, pattern).map_err(in_file)?;
        masks.insert(layer, mask);
    }
    Ok(masks)
}

fn pack(mask: &Mask) -> Vec<i8> {
    let byte = |bits: &[bool]| {
        bits.iter().enumerate().fold(0u8, |byte, (j, &bit)| byte | u8::from(bit) << j) as i8
    };
    mask.kept().chunks_exact(mask.cols()).flat_map(|row| row.chunks(8).map(byte)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, TicketError> {
    fs::read(path).map_err(|source| TicketError::Io { path: path.to_owned(), source })
}
