//! A model's tensors on the host, and their file: safetensors, written by atomic rename.

use crate::{Config, Error, Kind};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

/// The metadata key under which a model's file carries its [`Config`] as JSON.
const CONFIG_KEY: &str = "config";

/// A dense f32 tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extent of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// `shape` elements, row-major.
    pub data: Vec<f32>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A decoder: its shape and every tensor that the shape calls for.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    config: Config,
    tensors: Tensors,
}

impl Weights {
    /// Takes exactly the tensors that `config` calls for, finite and of the right shapes.
    pub fn new(config: Config, tensors: Tensors) -> Result<Self, Error> {
        config.validate()?;
        let slots = config.slots();
        for slot in &slots {
            let t = tensors
                .get(&slot.name)
                .ok_or_else(|| Error::Weights(format!("{} is missing", slot.name)))?;
            if t.shape != slot.shape || t.data.len() != slot.shape.iter().product::<usize>() {
                return Err(Error::Weights(format!(
                    "{} is {:?} with {} elements, but the configuration calls for {:?}",
                    slot.name,
                    t.shape,
                    t.data.len(),
                    slot.shape
                )));
            }
            if let Some(i) = t.data.iter().position(|x| !x.is_finite()) {
                return Err(Error::Weights(format!("{}[{i}] is {}", slot.name, t.data[i])));
            }
        }
        if tensors.len() != slots.len() {
            let known = |name: &&String| slots.iter().any(|s| s.name == **name);
            let extra: Vec<_> = tensors.keys().filter(|n| !known(n)).take(4).collect();
            return Err(Error::Weights(format!("unknown tensors: {extra:?}")));
        }
        Ok(Self { config, tensors })
    }

    /// Fresh weights, normal with mean 0; gains of one. Deviations: 1/(2√in); of the two projections
    /// into the residual stream 1/√(2·layers·in) (GPT-2 §2.3); of the embedding 1, so that a byte
    /// stays recognisable in the stream beside what the blocks add (0.02 costs several times the
    /// steps), or that of a head where it is one. The same seed gives the same weights on every machine.
    pub fn init(config: Config, seed: u64) -> Result<Self, Error> {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        config.validate()?;
        let mut rng = StdRng::seed_from_u64(seed);
        let into_stream = 1.0 / (2.0 * config.layers as f32).sqrt();
        let mut tensors = Tensors::new();
        for slot in config.slots() {
            let len = slot.shape.iter().product();
            let inputs = *slot.shape.last().unwrap_or(&1) as f32;
            let into_residual =
                slot.name.ends_with(crate::config::O) || slot.name.ends_with(crate::config::DOWN);
            let std = match slot.kind {
                Kind::Norm => 0.0,
                Kind::Embedding if !config.tie_word_embeddings => 1.0,
                Kind::Linear if into_residual => into_stream / inputs.sqrt(),
                Kind::Linear | Kind::Head | Kind::Embedding => 0.5 / inputs.sqrt(),
            };
            // Irwin–Hall: the sum of twelve uniforms has variance 1 and mean 6. Additions only, so no
            // machine's logarithm or cosine can change a bit.
            let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
            let data = match slot.kind {
                Kind::Norm => vec![1.0; len],
                _ => (0..len).map(|_| std * normal()).collect(),
            };
            tensors.insert(slot.name, Tensor { shape: slot.shape, data });
        }
        Self::new(config, tensors)
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One tensor, by name.
    pub fn get(&self, name: &str) -> Result<&Tensor, Error> {
        self.tensors.get(name).ok_or_else(|| Error::Weights(format!("there is no {name}")))
    }

    /// Every tensor, by name.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// Gives the tensors away.
    pub fn into_tensors(self) -> Tensors {
        self.tensors
    }

    /// Writes a safetensors file that holds its own configuration, by atomic rename.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let config = serde_json::to_string(&self.config).map_err(|e| Error::file(path, e))?;
        save_tensors(path, &self.tensors, CONFIG_KEY, config)
    }

    /// Reads what [`Self::save`] wrote. F16 and BF16 tensors are widened.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let (tensors, metadata) = load_tensors(path)?;
        let config = metadata
            .get(CONFIG_KEY)
            .ok_or_else(|| Error::file(path, "its metadata has no \"config\""))?;
        let config = serde_json::from_str(config).map_err(|e| Error::file(path, e))?;
        Self::new(config, tensors).map_err(|e| Error::file(path, e))
    }
}

/// Writes f32 tensors and one line of metadata as safetensors, by atomic rename. Equal input writes
/// equal bytes: one line, because safetensors keeps several in a hash map's order.
pub fn save_tensors(path: &Path, tensors: &Tensors, key: &str, value: String) -> Result<(), Error> {
    let views = tensors
        .iter()
        .map(|(name, t)| {
            TensorView::new(Dtype::F32, t.shape.clone(), bytemuck::cast_slice(&t.data))
                .map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Error::file(path, e))?;
    let metadata = HashMap::from([(key.to_owned(), value)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| Error::file(path, e))?;
    write_atomic(path, &bytes)
}

/// Reads a safetensors file of F32, F16 or BF16 tensors, and its metadata.
pub fn load_tensors(path: &Path) -> Result<(Tensors, HashMap<String, String>), Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let bad = |e: safetensors::SafeTensorError| Error::file(path, e);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(bad)?;
    let file = SafeTensors::deserialize(&bytes).map_err(bad)?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        let raw = view.data();
        let f32_of = |b: &[u8; 4]| f32::from_le_bytes(*b);
        let data = match view.dtype() {
            Dtype::F32 => raw.as_chunks().0.iter().map(f32_of).collect(),
            Dtype::F16 => {
                raw.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()
            }
            Dtype::BF16 => {
                raw.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()
            }
            other => {
                return Err(Error::file(
                    path,
                    format!("{name} is {other:?}; F32, F16 or BF16 can be read"),
                ));
            }
        };
        tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

/// Writes beside `path` and renames, so that a reader finds the old file or the new, never half.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let mut file = fs::File::create(&part).map_err(Error::io(&part))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(&part))?;
    drop(file);
    fs::rename(&part, path).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HEAD, Q, in_block};

    fn small() -> Config {
        Config { dim: 32, layers: 1, heads: 2, kv_heads: 1, ffn: 32, max_seq: 16, ..Config::tiny() }
    }

    #[test]
    fn a_file_gives_back_what_was_saved() {
        let path = std::env::temp_dir().join(format!("quickpick-weights-{}", std::process::id()));
        let weights = Weights::init(small(), 7).unwrap();
        weights.save(&path).unwrap();
        assert_eq!(Weights::load(&path).unwrap(), weights);

        let bytes = fs::read(&path).unwrap();
        for cut in [0, 4, 100, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).unwrap();
            assert!(matches!(Weights::load(&path), Err(Error::File { .. })), "cut at {cut}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(Weights::load(&path), Err(Error::Io { .. })));
    }

    #[test]
    fn wrong_tensors_are_named() {
        let good = Weights::init(small(), 7).unwrap().into_tensors();
        let refusal = |change: &dyn Fn(&mut Tensors)| {
            let mut tensors = good.clone();
            change(&mut tensors);
            Weights::new(small(), tensors).unwrap_err().to_string()
        };
        let q = in_block(0, Q);
        assert!(refusal(&|t| drop(t.remove(HEAD))).contains("lm_head.weight is missing"));
        assert!(
            refusal(&|t| t.get_mut(&q).unwrap().data[3] = f32::NAN)
                .contains("q_proj.weight[3] is NaN")
        );
        assert!(refusal(&|t| t.get_mut(&q).unwrap().shape = vec![16, 64]).contains("[16, 64]"));
        let extra = Tensor { shape: vec![1], data: vec![0.0] };
        assert!(refusal(&|t| drop(t.insert("rogue".into(), extra.clone()))).contains("rogue"));
    }

    #[test]
    fn init_depends_on_the_seed_alone() {
        assert_eq!(Weights::init(small(), 1).unwrap(), Weights::init(small(), 1).unwrap());
        assert_ne!(Weights::init(small(), 1).unwrap(), Weights::init(small(), 2).unwrap());
    }
}
