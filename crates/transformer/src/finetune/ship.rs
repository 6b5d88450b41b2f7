//! The fine-tuned checkpoint: trained tensors in the types in which the pruned one holds them, everything
//! else as it was.

use crate::checkpoint::{Planned, Raw, ShardWriter, Source, Written};
use crate::oneshot::Companion;
use crate::{Error, Tensor, Tensors};
use std::path::Path;

/// Rounds trained tensors to what [`write`] will ship. Errors: a tensor that the source lacks or holds in
/// another shape, or in a type that is not F16, BF16 or F32; a number that exceeds it.
pub fn round(source: &dyn Source, tensors: &mut Tensors) -> Result<(), Error> {
    for (name, tensor) in tensors.iter_mut() {
        let held = source.raw(name)?;
        let data = std::mem::take(&mut tensor.data);
        *tensor = as_held(name, Tensor { shape: tensor.shape.clone(), data }, &held)?
            .widen()
            .map_err(|why| Error::Weights(format!("{name}: {why}")))?;
    }
    Ok(())
}

/// Writes a Hugging Face folder as [`crate::oneshot::assemble`] does: zeros included, so that it loads
/// anywhere. Errors: as [`round`]; `out` exists, what the system refuses; then nothing is left under the
/// name.
pub fn write(
    out: &Path,
    source: &dyn Source,
    tensors: &Tensors,
    companions: &[Companion],
    limit: u64,
) -> Result<Written, Error> {
    let mut plan = Vec::new();
    for entry in source.entries() {
        let Raw { dtype, shape, .. } = source.raw(&entry.name)?;
        plan.push(Planned::Dense { name: entry.name.clone(), dtype, shape });
    }
    let mut writer = ShardWriter::create(out, &plan, limit)?;
    for entry in source.entries() {
        let name = &entry.name;
        let mut raw = source.raw(name)?;
        if let Some(tensor) = tensors.get(name) {
            raw = as_held(name, tensor.clone(), &raw)?;
        }
        writer.raw(name, &raw.bytes)?;
    }
    for (name, bytes) in companions {
        writer.file(name, bytes)?;
    }
    writer.finish()
}

fn as_held(name: &str, tensor: Tensor, held: &Raw) -> Result<Raw, Error> {
    let fail = |why: String| Error::Weights(format!("{name}: {why}"));
    if tensor.shape != held.shape {
        return Err(fail(format!("trained as {:?}, held as {:?}", tensor.shape, held.shape)));
    }
    Raw::from(tensor).cast(held.dtype).map_err(fail)
}
