//! Shapes as data: what is timed, tuned and compared, on every backend.

use crate::error::{Error, Result};
use std::fmt;

/// A linear layer of a model: output features m, input features k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The model, or `square`, or `ragged`.
    pub family: &'static str,
    /// Its name in the model.
    pub name: &'static str,
    /// Output features.
    pub m: u32,
    /// Input features.
    pub k: u32,
    /// Numbers of tokens at which it is timed.
    pub tokens: &'static [u32],
}

/// A layer at a number of tokens: Y\[n×m\] = X\[n×k\]·Wᵀ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The layer.
    pub layer: Layer,
    /// Tokens.
    pub n: u32,
}

/// From one token's decode to a batch of long prompts.
pub const TOKENS: &[u32] = &[1, 4, 16, 64, 256, 1024, 4096, 16384];

/// Every layer, the most telling first: a run that is out of time has measured those.
///
/// Projections that read the same input are one layer, as inference engines fuse them: `qkv`,
/// `gate_up`. Sizes from the models' `config.json` (hidden, heads × 128, key-value heads × 128, ffn):
/// Llama-3-8B 4096, 4096, 1024, 14336; Llama-3-70B 8192, 8192, 1024, 28672; Qwen2.5-7B 3584, 3584,
/// 512, 18944; Llama-2-7B ffn 11008.
#[rustfmt::skip] // one layer, one line
pub const LAYERS: &[Layer] = &[
    layer("llama-3-8b",  "o",        4096,  4096),
    layer("llama-3-8b",  "qkv",      6144,  4096),
    layer("llama-3-8b",  "gate_up", 28672,  4096),
    layer("llama-3-8b",  "down",     4096, 14336),
    layer("llama-2-7b",  "up",      11008,  4096),
    square(512, &[512]),
    square(1024, &[1024]),
    square(2048, &[2048]),
    square(4096, &[4096]),
    square(8192, &[8192]),
    square(16384, &[16384]),
    layer("qwen2.5-7b",  "qkv",      4608,  3584),
    layer("qwen2.5-7b",  "o",        3584,  3584),
    layer("qwen2.5-7b",  "gate_up", 37888,  3584),
    layer("qwen2.5-7b",  "down",     3584, 18944),
    layer("llama-3-70b", "o",        8192,  8192),
    layer("llama-3-70b", "qkv",     10240,  8192),
    layer("llama-3-70b", "gate_up", 57344,  8192),
    layer("llama-3-70b", "down",     8192, 28672),
    // no dimension is a multiple of any tile
    ragged("prime",  4099,  4128, &[1, 17, 131, 1021]),
    ragged("narrow",  129,  8224, &[3, 257]),
    ragged("short", 11003,   160, &[5, 515]),
];

const fn layer(family: &'static str, name: &'static str, m: u32, k: u32) -> Layer {
    Layer { family, name, m, k, tokens: TOKENS }
}

const fn square(size: u32, tokens: &'static [u32]) -> Layer {
    Layer { family: "square", name: "square", m: size, k: size, tokens }
}

const fn ragged(name: &'static str, m: u32, k: u32, tokens: &'static [u32]) -> Layer {
    Layer { family: "ragged", name, m, k, tokens }
}

/// The table's layers whose label contains `only`, each with its shapes of these numbers of tokens; no
/// numbers: all of them.
///
/// Errors: [`Error::Failed`] if that is nothing.
pub fn selected(only: Option<&str>, tokens: &[u32]) -> Result<Vec<(Layer, Vec<Shape>)>> {
    let shapes = |layer: &Layer| -> Vec<Shape> {
        layer.shapes().filter(|s| tokens.is_empty() || tokens.contains(&s.n)).collect()
    };
    let named = LAYERS.iter().filter(|l| only.is_none_or(|only| l.label().contains(only)));
    let with_shapes = named.map(|layer| (*layer, shapes(layer)));
    let found: Vec<_> = with_shapes.filter(|(_, shapes)| !shapes.is_empty()).collect();
    if found.is_empty() {
        let only = only.unwrap_or_default();
        let why = format!("no layer of the table is called {only:?} and has {tokens:?} tokens");
        return Err(Error::Failed(why));
    }
    Ok(found)
}

impl Layer {
    /// Its shapes, few tokens first.
    pub fn shapes(self) -> impl Iterator<Item = Shape> {
        self.tokens.iter().map(move |&n| Shape { layer: self, n })
    }

    /// `llama-3-8b/qkv`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.family, self.name)
    }
}

impl Shape {
    /// Multiply-adds of the dense layer, twice: rates are dense-equivalent for every kernel.
    pub fn operations(&self) -> f64 {
        2.0 * self.layer.m as f64 * self.n as f64 * self.layer.k as f64
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layer { m, k, .. } = self.layer;
        write!(f, "{} {m}×{k} at {} tokens", self.layer.label(), self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_selection_is_never_empty() {
        let labels = |only, tokens: &[u32]| {
            let found = selected(only, tokens);
            found.map(|all| all.iter().map(|(l, s)| (l.label(), s.len())).collect::<Vec<_>>())
        };
        let one = labels(Some("8b/qkv"), &[1, 64, 3]).unwrap();
        assert_eq!(one, [("llama-3-8b/qkv".to_string(), 2)]);
        assert_eq!(labels(None, &[]).unwrap().len(), LAYERS.len());
        let why = labels(Some("square"), &[1]).unwrap_err().to_string();
        assert!(why.contains("square") && why.contains("[1]"), "{why}");
    }

    #[test]
    fn every_shape_is_named_once_and_can_be_planned() {
        let mut seen = BTreeSet::new();
        for shape in LAYERS.iter().flat_map(|layer| layer.shapes()) {
            let Layer { m, k, .. } = shape.layer;
            let label = shape.layer.label();
            assert!(seen.insert((label, m, shape.n, k)), "{shape} is listed twice");
            assert!(k % 32 == 0 && m > 0 && shape.n > 0, "{shape}");
            assert!(u64::from(m) * u64::from(shape.n) < 1 << 31, "{shape}: elements of Y");
        }
        assert_eq!(seen.len(), 13 * TOKENS.len() + 6 + 8);
    }
}
