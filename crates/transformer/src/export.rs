//! A decoder as files that a browser's WebGPU runs: `web/` is the page, this writes its model.
//!
//! ```text
//! model.json             what the page says of it: configuration, prompt, bytes of weights, whose mask is drawn
//! sparse.json, .bin      one token's decode as a script: 2:4 layers compressed
//! dense.json, .bin       the same numbers, every layer dense
//! mask.bin               of each group of four columns a byte, row by row: bit i is set where column i is kept
//! shaders/NAME.wgsl      the kernels
//! ```

use crate::config::{self, in_block};
use crate::weights::write_atomic;
use crate::{Compact, Config, Decoder, Error, Kind, Stored};
use half::f16;
use quickpick::Script;
use quickpick::kernels::WgpuCaps;
use quickpick::script::Written;
use quickpick_format::Matrix24;
use quickpick_prune::Masks;
use serde::Serialize;
use std::path::Path;

/// What `model.json` says.
#[derive(Debug, Serialize)]
struct Model<'a> {
    config: &'a Config,
    parameters: usize,
    /// Tokens are bytes of UTF-8.
    tokens: &'static str,
    prompt: &'a str,
    /// Bytes of all weights as they are stored, but the rotary table.
    sparse_bytes: usize,
    dense_bytes: usize,
    mask: Drawn,
}

/// A layer whose mask is drawn.
#[derive(Debug, Serialize)]
struct Drawn {
    name: String,
    rows: usize,
    columns: usize,
}

/// Writes the model's files into a folder, for the page to decode with it and with its dense twin.
///
/// Errors: tokens that are not bytes; no 2:4 layer, for then there is nothing to compare; a layer that no kernel
/// within WebGPU's default limits serves; the system's.
pub fn export(model: &Compact, prompt: &str, folder: &Path) -> Result<(), Error> {
    let config = model.config();
    if config.vocab != 256 {
        let why = format!("a vocabulary of {}; the page's tokens are 256 bytes", config.vocab);
        return Err(Error::Config(why));
    }
    let (name, matrix) = drawn(model)?;
    let twin = Compact::new(&model.widen()?, &Masks::new())?;
    decode_step(model)?.save(folder, "sparse")?;
    decode_step(&twin)?.save(folder, "dense")?;
    let (rows, columns) = (matrix.rows(), matrix.cols());
    let groups = (0..rows).flat_map(|row| (0..columns / 4).map(move |group| (row, group)));
    let bits = groups.map(|(row, group)| {
        let pair = matrix.pair(row, group);
        1u8 << pair.first() | 1 << pair.second()
    });
    write_atomic(&folder.join("mask.bin"), &Vec::from_iter(bits))?;
    let about = Model {
        config,
        parameters: config.parameters(),
        tokens: "bytes",
        prompt,
        sparse_bytes: model.bytes(),
        dense_bytes: twin.bytes(),
        mask: Drawn { name, rows, columns },
    };
    let path = folder.join("model.json");
    let json = serde_json::to_vec_pretty(&about).map_err(|why| Error::file(&path, why))?;
    write_atomic(&path, &json)
}

/// One token's decode, written down for every WebGPU device: `ids` and `position`, a u32 each, are written
/// before; `likeliest`, the next token, and `logits`, f32 of the vocabulary, are read after.
///
/// Errors: no kernel within WebGPU's default limits serves a layer.
pub fn decode_step(model: &Compact) -> Result<Written, Error> {
    let script = Script::new(WgpuCaps::webgpu());
    let mut decoder = Decoder::new(&script, model)?;
    for (name, buffer) in decoder.named() {
        script.name(name, buffer)?;
    }
    decoder.feed(&[0])?;
    Ok(script.finish())
}

/// The middle block's query projection if it is 2:4, else the first layer that is.
fn drawn(model: &Compact) -> Result<(String, &Matrix24<f16>), Error> {
    let middle = in_block(model.config().layers / 2, config::Q);
    let linears = model.config().slots().into_iter().filter(|slot| slot.kind == Kind::Linear);
    for name in std::iter::once(middle).chain(linears.map(|slot| slot.name)) {
        if let Stored::Sparse(matrix) | Stored::Recovered { matrix, .. } = model.tensor(&name)? {
            return Ok((name, matrix));
        }
    }
    Err(Error::Weights("no layer is 2:4, so there is no dense twin to compare with".into()))
}
