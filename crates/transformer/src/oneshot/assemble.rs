//! The pruned checkpoint: what the blocks became, everything else as it was.

use super::{Narrow, RunFolder};
use crate::checkpoint::{Planned, Raw, ShardWriter, Source, Written};
use crate::{Error, Tensor};
use half::{bf16, f16};
use quickpick_format::StoredType;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A small file beside the tensors: its name, its bytes.
pub type Companion = (PathBuf, Vec<u8>);

/// Writes a Hugging Face folder: pruned layers in `narrow`'s type, zeros included, so that it loads anywhere;
/// other tensors bit for bit, or in that type too where the source holds them in blocks of a quantisation.
///
/// Errors: `out` exists, a block of the run that is missing or malformed, what the system refuses; then
/// nothing is left under the name.
pub fn assemble(
    out: &Path,
    source: &dyn Source,
    folder: &RunFolder,
    blocks: usize,
    narrow: Narrow,
    companions: &[Companion],
    limit: u64,
) -> Result<Written, Error> {
    let mut home = BTreeMap::new();
    for block in 0..blocks {
        let (tensors, _) = folder.block(block)?;
        home.extend(tensors.into_keys().map(|name| (name, block)));
    }
    let mut plan = Vec::new();
    for entry in source.entries() {
        let (name, shape) = (entry.name.clone(), entry.shape.clone());
        let own = element(&entry.stored).filter(|_| !home.contains_key(&name));
        plan.push(Planned::Dense { name, dtype: own.unwrap_or(narrow.stored()), shape });
    }
    let mut writer = ShardWriter::create(out, &plan, limit)?;
    let mut held = None; // layers of a block follow each other
    for entry in source.entries() {
        let name = &entry.name;
        let bytes = match (home.get(name), element(&entry.stored)) {
            (Some(&block), _) => {
                let tensors = match &mut held {
                    Some((at, tensors)) if *at == block => tensors,
                    held => &mut held.insert((block, folder.block(block)?.0)).1,
                };
                let missing = || Error::file(&folder.block_file(block), format!("has no {name}"));
                narrowed(narrow, &tensors.remove(name).ok_or_else(missing)?)
            }
            (None, Some(_)) => {
                let Raw { bytes, .. } = source.raw(name)?;
                bytes
            }
            (None, None) => {
                let mut tensor = source.tensor(name)?;
                narrow.round(name, &mut tensor.data)?;
                narrowed(narrow, &tensor)
            }
        };
        writer.raw(name, &bytes)?;
    }
    for (name, bytes) in companions {
        writer.file(name, bytes)?;
    }
    writer.finish()
}

/// The element type that an entry is stored in; none if in blocks of a quantisation. Integers are no weights, but
/// indices (BERT's position_ids) or masks (GPT-2's).
fn element(stored: &str) -> Option<StoredType> {
    use StoredType as S;
    let real = [S::F64, S::F32, S::F16, S::BF16, S::F8_E4M3, S::F8_E5M2];
    let whole = [S::I64, S::I32, S::I16, S::I8, S::U64, S::U32, S::U16, S::U8, S::BOOL];
    real.into_iter().chain(whole).find(|dtype| dtype.to_string() == stored)
}

/// Little-endian bytes of numbers that are of that type already.
fn narrowed(narrow: Narrow, tensor: &Tensor) -> Vec<u8> {
    let data = tensor.data.iter();
    match narrow {
        Narrow::F32 => data.flat_map(|x| x.to_le_bytes()).collect(),
        Narrow::F16 => data.flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        Narrow::BF16 => data.flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
    }
}
