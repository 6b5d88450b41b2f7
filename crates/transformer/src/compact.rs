//! A model as it ships: f16, its pruned layers compressed to 2:4.

use crate::recovered::{add, check_fraction, excess, split, within};
use crate::weights::{Tensor, Tensors};
use crate::{Config, Error, Kind, Weights};
use half::f16;
use quickpick_format::{Csr, Kind as Form, Matrix24, Order, Reader, Writer};
use quickpick_prune::Masks;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The note under which a file carries its [`Config`] as JSON.
const CONFIG_NOTE: &str = "config";

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
    /// Two of each four, and some of the others (Weight-Recover-Prune, ACL 2024, long.347): the sum of
    /// both.
    Recovered {
        /// The two.
        matrix: Matrix24<f16>,
        /// The others.
        residual: Csr<f16>,
    },
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
            let narrow = narrow(&name, wide)?;
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

    /// Takes a model's tensors by name from `tensor`, one at a time, rounded to f16. A block's linear
    /// layer is compressed if at most two of each four weights in a row are not zero, or if no more than
    /// the fraction `residual` of its weights is beyond that: those it keeps beside, and of each four the
    /// two of the largest magnitude, ties to the lower column, are the 2:4 ones. Any other layer stays
    /// dense.
    ///
    /// Errors: `tensor`'s own; a `residual` outside of 0..=1; a tensor of another shape than the configuration's, a weight that is not
    /// finite or beyond f16's range.
    pub fn from_tensors(
        config: Config,
        residual: f64,
        mut tensor: impl FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        config.validate()?;
        check_fraction(residual)?;
        let mut tensors = BTreeMap::new();
        for slot in config.slots() {
            let name = slot.name;
            let wide = crate::block::checked(&name, tensor(&name)?, &slot.shape)?;
            let narrow = narrow(&name, &wide)?;
            let stored = match (slot.kind, slot.shape.as_slice()) {
                (Kind::Linear, &[rows, cols]) if is_nearly_24(&wide, cols, residual) => {
                    let parts = split(&narrow, rows, cols);
                    match parts.map_err(|e| Error::Weights(format!("{name}: {e}")))? {
                        (matrix, rest) if rest.values().is_empty() => Stored::Sparse(matrix),
                        (matrix, residual) => Stored::Recovered { matrix, residual },
                    }
                }
                _ => Stored::Dense(narrow),
            };
            tensors.insert(name, stored);
        }
        Ok(Self { config, tensors })
    }

    /// The same model for sequences of at most `max_seq` tokens, for which caches are laid out.
    ///
    /// Errors: more than the model's own, or none.
    pub fn with_max_seq(mut self, max_seq: usize) -> Result<Self, Error> {
        let most = self.config.max_seq;
        if max_seq == 0 || max_seq > most {
            return Err(Error::Config(format!("sequences of {max_seq} tokens, not 1..={most}")));
        }
        self.config.max_seq = max_seq;
        Ok(self)
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
            Stored::Sparse(_) | Stored::Recovered { .. } => {
                Err(Error::Weights(format!("{name} must not be compressed")))
            }
        }
    }

    /// The same numbers in f32, pruned weights as zeros: what a host's forward pass computes on. Errors: a
    /// residual and the weight that it is added to make no f32.
    pub fn widen(&self) -> Result<Weights, Error> {
        let wide = |values: &[f16]| values.iter().map(|x| x.to_f32()).collect();
        let mut tensors = Tensors::new();
        for slot in self.config.slots() {
            let data = match self.tensor(&slot.name)? {
                Stored::Dense(values) => wide(values),
                Stored::Sparse(matrix) => wide(&matrix.expand()),
                Stored::Recovered { matrix, residual } => {
                    let mut sum: Vec<f32> = wide(&matrix.expand());
                    let added = add(&mut sum, residual);
                    added.map_err(|e| Error::Weights(format!("{}: {e}", slot.name)))?;
                    sum
                }
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
        let head = self.dense(self.config.head())?;
        let norm = |row: &[f16]| {
            let squares = row.iter().zip(gain).map(|(w, g)| (w.to_f64() * g.to_f64()).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let largest = head.chunks(self.config.dim).map(norm).fold(0.0, f64::max);
        let places = (5 * self.config.layers + 1) as f64;
        Ok(8.0 * 2f64.powi(-11) * places.sqrt() * largest)
    }

    /// Parameters that are stored: all of a dense tensor, half of a compressed one, and what lies beside.
    pub fn kept(&self) -> usize {
        let kept = |stored: &Stored| match stored {
            Stored::Dense(values) => values.len(),
            Stored::Sparse(matrix) => matrix.rows() * matrix.cols() / 2,
            Stored::Recovered { matrix, residual } => {
                matrix.rows() * matrix.cols() / 2 + residual.values().len()
            }
        };
        self.tensors.values().map(kept).sum()
    }

    /// Bytes of all weights as they are held: 2 of each element, of a compressed layer 2 of each kept one and
    /// the metadata.
    pub fn bytes(&self) -> usize {
        let bytes = |stored: &Stored| match stored {
            Stored::Dense(values) => 2 * values.len(),
            Stored::Sparse(matrix) => matrix.bytes(),
            Stored::Recovered { matrix, residual } => matrix.bytes() + residual.bytes(),
        };
        self.tensors.values().map(bytes).sum()
    }

    /// Writes the whole model in the file form of `quickpick-format`, by atomic rename: 2:4 layers
    /// compressed in row-major order, everything else dense f16. Returns the file's bytes.
    pub fn save(&self, path: &Path) -> Result<u64, Error> {
        self.save_kinds(path, |_| true)
    }

    /// Writes the block linears alone, in the same form: pruning's own part of the bytes.
    pub fn save_linears(&self, path: &Path) -> Result<u64, Error> {
        self.save_kinds(path, |kind| kind == Kind::Linear)
    }

    fn save_kinds(&self, path: &Path, include: impl Fn(Kind) -> bool) -> Result<u64, Error> {
        let mut writer = Writer::new();
        let slots = self.config.slots();
        for slot in slots.iter().filter(|slot| include(slot.kind)) {
            match self.tensor(&slot.name)? {
                Stored::Dense(values) => writer.dense(&slot.name, values, &slot.shape),
                Stored::Sparse(matrix) => writer.sparse(&slot.name, matrix, Order::RowMajor),
                Stored::Recovered { matrix, residual } => writer
                    .sparse(&slot.name, matrix, Order::RowMajor)
                    .and_then(|()| writer.residual(&slot.name, residual)),
            }
            .map_err(|e| Error::file(path, e))?;
        }
        let config = serde_json::to_string(&self.config).map_err(|e| Error::file(path, e))?;
        writer.note(CONFIG_NOTE, &config);
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        writer.save(path).map_err(|e| Error::file(path, e))?;
        Ok(fs::metadata(path).map_err(Error::io(path))?.len())
    }

    /// Reads what [`save`](Self::save) wrote, trusting nothing in it.
    ///
    /// Errors: no such file, or one that is not exactly such a model; the message names the tensor.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        let bad = |why: String| Error::file(path, why);
        let reader = Reader::parse(&bytes).map_err(|e| Error::file(path, e))?;
        let config = reader.note(CONFIG_NOTE).ok_or_else(|| bad("it has no config".into()))?;
        let config: Config = serde_json::from_str(config).map_err(|e| Error::file(path, e))?;
        config.validate().map_err(|e| Error::file(path, e))?;
        let entries = reader.entries();
        let mut tensors = BTreeMap::new();
        for slot in config.slots() {
            let name = slot.name;
            let Some(entry) = entries.iter().find(|e| e.name == name) else {
                return Err(bad(format!("{name} is missing")));
            };
            if entry.shape != slot.shape {
                let (have, want) = (&entry.shape, &slot.shape);
                return Err(bad(format!("{name} is {have:?}, the configuration says {want:?}")));
            }
            let stored = match (entry.kind, slot.kind) {
                (Form::Dense, _) => reader.dense(&name).map(|(values, _)| Stored::Dense(values)),
                (Form::Sparse24(_), Kind::Linear) => {
                    let matrix = reader.sparse(&name).map_err(|e| Error::file(path, e))?;
                    reader.residual(&name).map(|residual| match residual {
                        None => Stored::Sparse(matrix),
                        Some(residual) => Stored::Recovered { matrix, residual },
                    })
                }
                (Form::Sparse24(_), _) => return Err(bad(format!("{name} must be dense"))),
            };
            tensors.insert(name, stored.map_err(|e| Error::file(path, e))?);
        }
        match entries.iter().find(|e| !tensors.contains_key(&e.name)) {
            Some(extra) => Err(bad(format!("the configuration calls for no {}", extra.name))),
            None => Ok(Self { config, tensors }),
        }
    }
}

/// Rounded to f16. Errors: a number beyond its range.
fn narrow(name: &str, wide: &[f32]) -> Result<Vec<f16>, Error> {
    let narrow: Vec<f16> = wide.iter().map(|&x| f16::from_f32(x)).collect();
    match narrow.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::Weights(format!("{name}[{i}] = {} exceeds f16", wide[i]))),
        None => Ok(narrow),
    }
}

/// Whether no more than a fraction of the weights is beyond two of each four in each row.
fn is_nearly_24(weight: &[f32], cols: usize, fraction: f64) -> bool {
    let beyond = excess(weight, |&w| w == 0.0);
    let packs = beyond == 0 || cols <= Csr::<f16>::PACKED_COLUMNS;
    cols.is_multiple_of(4) && packs && within(beyond, weight.len(), fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_prune::{Mask, Pattern};

    /// Every block linear masked: columns 0 and 3 of each group, then 1 and 2, in turn.
    fn masks(config: &Config) -> Masks {
        let linear = |s: &crate::Slot| s.kind == Kind::Linear;
        let mask = |s: crate::Slot| {
            let (rows, cols) = (s.shape[0], s.shape[1]);
            let keeps = |i: usize| (i / 4 % 2 == 0) == (i % 4 == 0 || i % 4 == 3);
            let kept = (0..rows * cols).map(keeps).collect();
            (s.name, Mask::new(kept, rows, cols, Pattern::TWO_OF_FOUR).unwrap())
        };
        config.slots().into_iter().filter(linear).map(mask).collect()
    }

    fn folder(test: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("quickpick-compact-{test}-{}", std::process::id()))
    }

    #[test]
    fn pruned_layers_take_at_most_57_percent_of_their_bytes_in_files() {
        let weights = Weights::init(Config::tiny(), 1).unwrap();
        let folder = folder("bytes");
        let dense = Compact::new(&weights, &Masks::new()).unwrap();
        let sparse = Compact::new(&weights, &masks(&Config::tiny())).unwrap();
        let bytes = |m: &Compact, name: &str| m.save_linears(&folder.join(name)).unwrap() as f64;
        let ratio = bytes(&sparse, "sparse") / bytes(&dense, "dense");
        assert!((0.5625..=0.57).contains(&ratio), "{ratio}");
        let linears: usize = masks(&Config::tiny()).values().map(|m| m.rows() * m.cols()).sum();
        assert_eq!(dense.kept(), Config::tiny().parameters());
        assert_eq!(sparse.kept(), dense.kept() - linears / 2);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_gives_back_the_model_and_nothing_less() {
        let config = Config { dim: 64, layers: 1, ffn: 96, max_seq: 16, ..Config::tiny() };
        let weights = Weights::init(config, 7).unwrap();
        let model = Compact::new(&weights, &masks(&config)).unwrap();
        let folder = folder("file");
        let path = folder.join("model");
        model.save(&path).unwrap();
        assert_eq!(Compact::load(&path).unwrap(), model);
        model.save_linears(&path).unwrap();
        let why = Compact::load(&path).unwrap_err().to_string();
        assert!(why.contains("model.embed_tokens.weight is missing"), "{why}");
        fs::write(&path, &fs::read(&path).unwrap()[..100]).unwrap();
        assert!(Compact::load(&path).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn widening_keeps_what_is_kept_and_zeroes_the_rest() {
        let config = Config { dim: 64, layers: 1, ffn: 96, max_seq: 16, ..Config::tiny() };
        let weights = Weights::init(config, 7).unwrap();
        let masks = masks(&config);
        let wide = Compact::new(&weights, &masks).unwrap().widen().unwrap();
        for (name, tensor) in weights.tensors() {
            let kept = |i: usize| masks.get(name).is_none_or(|m| m.kept()[i]);
            for (i, (&x, &y)) in tensor.data.iter().zip(&wide.tensors()[name].data).enumerate() {
                let want = if kept(i) { f16::from_f32(x).to_f32() } else { 0.0 };
                assert_eq!(y, want, "{name}[{i}]");
            }
        }
    }

    #[test]
    fn zeros_alone_decide_what_is_compressed() {
        let config = Config { dim: 64, layers: 1, ffn: 96, max_seq: 16, ..Config::tiny() };
        let weights = Weights::init(config, 7).unwrap();
        let pruned = Compact::new(&weights, &masks(&config)).unwrap();
        let mut tensors = pruned.widen().unwrap().into_tensors();
        let again = |tensors: &Tensors| {
            Compact::from_tensors(config, 0.0, |name| Ok(tensors[name].clone())).unwrap()
        };
        assert_eq!(again(&tensors), pruned);
        let q = crate::config::in_block(0, crate::config::Q);
        let data = &mut tensors.get_mut(&q).unwrap().data;
        data[0] = 0.0; // fewer than two of a group
        assert!(matches!(again(&tensors).tensor(&q).unwrap(), Stored::Sparse(_)));
        let data = &mut tensors.get_mut(&q).unwrap().data;
        data[8..11].fill(1e-9); // a third that f16 would round to zero is a weight all the same
        assert!(matches!(again(&tensors).tensor(&q).unwrap(), Stored::Dense(_)));
        let why = Compact::from_tensors(config, 0.0, |name| {
            Ok(Tensor { data: vec![], ..tensors[name].clone() })
        });
        assert!(why.unwrap_err().to_string().contains("with 0 elements"));
        let short = pruned.clone().with_max_seq(8).unwrap();
        assert_eq!(short.config().max_seq, 8);
        assert!(short.with_max_seq(9).is_err() && pruned.with_max_seq(0).is_err());
    }

    #[test]
    fn what_is_nearly_24_is_compressed_if_that_is_asked() {
        let config = Config { dim: 64, layers: 1, ffn: 96, max_seq: 16, ..Config::tiny() };
        let weights = Weights::init(config, 7).unwrap();
        let pruned = Compact::new(&weights, &masks(&config)).unwrap();
        let mut tensors = pruned.widen().unwrap().into_tensors();
        let q = crate::config::in_block(0, crate::config::Q);
        let data = &mut tensors.get_mut(&q).unwrap().data;
        data[8..12].copy_from_slice(&[0.25, -0.5, 0.5, 0.125]);
        data[1] = 1.0;
        let nearly =
            |fraction| Compact::from_tensors(config, fraction, |name| Ok(tensors[name].clone()));
        // of 4096 weights three are beyond two of a group
        let share = 3.0 / 4096.0;
        let without = nearly(share * 0.99).unwrap();
        assert!(matches!(without.tensor(&q).unwrap(), Stored::Dense(_)));
        assert!(nearly(1.5).unwrap_err().to_string().contains("not 0..=1"));
        let model = nearly(share).unwrap();
        let Stored::Recovered { matrix, residual } = model.tensor(&q).unwrap() else {
            panic!("{:?}", model.tensor(&q))
        };
        assert_eq!(matrix.expand()[8..12], [0.0, -0.5, 0.5, 0.0].map(f16::from_f32));
        assert_eq!(residual.values().len(), 3);
        assert_eq!(model.kept(), pruned.kept() + 3);
        let k = crate::config::in_block(0, crate::config::K);
        assert!(matches!(model.tensor(&k).unwrap(), Stored::Sparse(_)));
        assert_eq!(model.widen().unwrap().tensors(), &tensors);
        let folder = folder("recovered");
        let path = folder.join("model");
        model.save(&path).unwrap();
        assert_eq!(Compact::load(&path).unwrap(), model);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn masks_must_fit() {
        let config = Config { dim: 64, layers: 1, ffn: 96, max_seq: 16, ..Config::tiny() };
        let weights = Weights::init(config, 7).unwrap();
        let refusal = |name: &str, rows, cols| {
            let kept = (0..rows * cols).map(|i| i % 4 < 2).collect();
            let mask = Mask::new(kept, rows, cols, Pattern::TWO_OF_FOUR).unwrap();
            Compact::new(&weights, &Masks::from([(name.to_owned(), mask)])).unwrap_err().to_string()
        };
        let q = crate::config::in_block(0, crate::config::Q);
        assert!(refusal(&q, 64, 32).contains("its mask is 64 × 32"));
        assert!(refusal("rogue", 4, 4).contains("a mask for rogue"));
    }
}
