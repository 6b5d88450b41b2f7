//! A training's state as a file: each parameter's value and moments, and a header in one line.

use crate::Error;
use crate::optim::Param;
use crate::weights::{Tensor, Tensors, load_tensors, save_tensors};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

const KEY: &str = "state";
/// Prefixes of a parameter's three tensors.
const PARTS: [&str; 3] = ["value.", "mean.", "square."];

/// Writes a state by atomic rename. Equal states write equal bytes.
pub fn save(path: &Path, params: &[Param], header: &impl Serialize) -> Result<(), Error> {
    let mut tensors = Tensors::new();
    for p in params {
        for (part, data) in PARTS.iter().zip([&p.value, &p.mean, &p.square]) {
            let tensor = Tensor { shape: p.slot.shape.clone(), data: data.clone() };
            tensors.insert(format!("{part}{}", p.slot.name), tensor);
        }
    }
    let header = serde_json::to_string(header).map_err(|e| Error::file(path, e))?;
    save_tensors(path, &tensors, KEY, header)
}

/// Replaces the parameters by a file's and returns its header.
///
/// Errors: a truncated or foreign file, a header that is not `ours`, a tensor that is missing or
/// misshapen; the parameters are then unspecified.
pub fn load<H: DeserializeOwned>(
    path: &Path,
    params: &mut [Param],
    ours: impl FnOnce(&H) -> bool,
) -> Result<H, Error> {
    let (mut tensors, metadata) = load_tensors(path)?;
    let header = metadata.get(KEY).ok_or_else(|| Error::file(path, "it is no training state"))?;
    let header = serde_json::from_str(header).map_err(|e| Error::file(path, e))?;
    if !ours(&header) {
        return Err(Error::file(path, "it belongs to another model or other settings"));
    }
    for p in params {
        for (part, data) in PARTS.iter().zip([&mut p.value, &mut p.mean, &mut p.square]) {
            let name = format!("{part}{}", p.slot.name);
            let tensor = tensors.remove(&name).filter(|t| t.shape == p.slot.shape);
            *data = tensor
                .ok_or_else(|| Error::file(path, format!("{name} is missing or misshapen")))?
                .data;
        }
    }
    Ok(header)
}
