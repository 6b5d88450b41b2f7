//! A model as it ships: f16, its pruned layers compressed to 2:4.

use crate::weights::{Tensor, Tensors};
use crate::{Config, Error, Weights};
use half::f16;
use quickpick_format::Matrix24;
use quickpick_prune::Masks;
use std::collections::BTreeMap;

/// A decoder in f16. What it does not compress it holds row-major, in the shapes of
/// [`Config::slots`].
#[derive(Clone, Debug, PartialEq)]
pub struct Compact {
    config: Config,
    tensors: BTreeMap<String, Stored>,
}

/// How a tensor is held.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// Every element, row-major.
    Dense(Vec<f16>),
    /// Two of each four.
    Sparse(Matrix24<f16>),
}

impl Compact {
    /// Rounds every tensor to f16 and compresses the layers that have a mask.
    ///
    /// Errors: a weight beyond f16's range, a mask of another shape or pattern than 2:4, a mask
    /// without a layer.
    pub fn new(weights: &Weights, masks: &Masks) -> Result<Self, Error> {
        let config = *weights.config();
        let mut tensors = BTreeMap::new();
        for slot in config.slots() {
            let name = slot.name;
            let wide = &weights.tensors()[&name].data;
            let narrow: Vec<f16> = wide.iter().map(|&x| f16::from_f32(x)).collect();
            if let Some(i) = narrow.iter().position(|x| !x.is_finite()) {
                return Err(Error::Weights(format!("{name}[{i}] = {} exceeds f16", wide[i])));
            }
            let stored = match (masks.get(&name), slot.shape.as_slice()) {
                (None, _) => Stored::Dense(narrow),
                (Some(mask), &[rows, cols]) if (mask.rows(), mask.cols()) == (rows, cols) => {
                    let matrix = Matrix24::from_mask(&narrow, mask.kept(), rows, cols);
                    Stored::Sparse(matrix.map_err(|e| Error::Weights(format!("{name}: {e}")))?)
                }
                (Some(mask), shape) => {
                    let (rows, cols) = (mask.rows(), mask.cols());
                    let why = format!("{name} is {shape:?}, its mask is {rows} × {cols}");
                    return Err(Error::Weights(why));
                }
            };
            tensors.insert(name, stored);
        }
        match masks.keys().find(|&name| !tensors.contains_key(name)) {
            Some(name) => Err(Error::Weights(format!("there is a mask for {name}, but no tensor"))),
            None => Ok(Self { config, tensors }),
        }
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A tensor. Errors: the configuration calls for none of this name.
    pub fn tensor(&self, name: &str) -> Result<&Stored, Error> {
        self.tensors.get(name).ok_or_else(|| Error::Weights(format!("there is no {name}")))
    }

    /// Rows and columns of a linear layer, a table or the head. Errors: no such tensor, or a vector.
    pub fn matrix_shape(&self, name: &str) -> Result<(usize, usize), Error> {
        let slots = self.config.slots();
        match slots.iter().find(|s| s.name == name).map(|s| s.shape.as_slice()) {
            Some(&[rows, cols]) => Ok((rows, cols)),
            Some(shape) => Err(Error::Weights(format!("{name} is {shape:?}, not a matrix"))),
            None => Err(Error::Weights(format!("there is no {name}"))),
        }
    }

    /// A tensor that is never compressed: the embedding, a gain. Errors: it is missing or sparse.
    pub fn dense(&self, name: &str) -> Result<&[f16], Error> {
        match self.tensor(name)? {
            Stored::Dense(values) => Ok(values),
            Stored::Sparse(_) => Err(Error::Weights(format!("{name} must not be compressed"))),
        }
    }

    /// The same numbers in f32, pruned weights as zeros: what a host's forward pass computes on.
    pub fn widen(&self) -> Result<Weights, Error> {
        let wide = |values: &[f16]| values.iter().map(|x| x.to_f32()).collect();
        let mut tensors = Tensors::new();
        for slot in self.config.slots() {
            let data = match self.tensor(&slot.name)? {
                Stored::Dense(values) => wide(values),
                Stored::Sparse(matrix) => wide(&matrix.expand()),
            };
            tensors.insert(slot.name, Tensor { shape: slot.shape, data });
        }
        Weights::new(self.config, tensors)
    }

    /// How far a backend's logits may lie from exact arithmetic on the same f16 weights.
    ///
    /// A backend rounds to f16 (unit roundoff u = 2⁻¹¹) at five places of each block (two norms'
    /// outputs, k and v, attention's output, SwiGLU's output) and before the head. Each place moves
    /// the head's input h by about u·|hᵢ| an element, independently, and so a logit w·h by a
    /// deviation of about u·‖w∘h‖₂; since h is `gain` times a vector of mean square 1, that is about
    /// u·‖w∘gain‖₂. Places add as squares. The factor 8 covers the largest of a million logits
    /// (5.3 deviations) and some growth through the blocks that follow a rounding. Sums in f32 add
    /// far less. Two backends round at the same places, so they keep the same distance.
    pub fn logit_bound(&self) -> Result<f64, Error> {
        let gain = self.dense(crate::config::FINAL_NORM)?;
        let head = self.dense(crate::config::HEAD)?;
        let norm = |row: &[f16]| {
            let squares = row.iter().zip(gain).map(|(w, g)| (w.to_f64() * g.to_f64()).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let largest = head.chunks(self.config.dim).map(norm).fold(0.0, f64::max);
        let places = (5 * self.config.layers + 1) as f64;
        Ok(8.0 * 2f64.powi(-11) * places.sqrt() * largest)
    }

    /// Parameters that are stored: all of a dense tensor, half of a compressed one.
    pub fn kept(&self) -> usize {
        let kept = |stored: &Stored| match stored {
            Stored::Dense(values) => values.len(),
            Stored::Sparse(matrix) => matrix.rows() * matrix.cols() / 2,
        };
        self.tensors.values().map(kept).sum()
    }
}
