//! One form of a checkpoint to another, tensor by tensor.

use super::bitmask::{Parts, declare, retract};
use super::inspect::{bytes_24, element, stored_24};
use super::raw::Class;
use super::{DEFAULT_LIMIT, Planned, Raw, ShardWriter, Source, Written, companions};
use crate::Error;
use crate::recovered::{check_fraction, excess, split, within};
use half::{bf16, f16};
use quickpick_format::{Csr, DType, E4m3, E5m2, Element, StoredType};
use quickpick_prune::{Eligibility, LayerInfo, Pattern, Rules};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// A form of checkpoints. All are a Hugging Face folder of safetensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Every element of every tensor: what any library reads.
    Dense,
    /// 2:4 layers in Quickpick's form (`quickpick_format`'s documentation).
    Quickpick,
    /// 2:4 layers as compressed-tensors' `sparse-24-bitmask`, which vLLM and transformers read.
    Bitmask,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dense" => Ok(Self::Dense),
            "quickpick" => Ok(Self::Quickpick),
            "bitmask" => Ok(Self::Bitmask),
            other => Err(format!("`{other}` is no form; dense, quickpick and bitmask are")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dense => "dense",
            Self::Quickpick => "quickpick",
            Self::Bitmask => "bitmask",
        })
    }
}

/// What to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// The form.
    pub target: Target,
    /// The type that real tensors are rounded to; `None` leaves each as it is, bit for bit.
    pub dtype: Option<DType>,
    /// Whether −0.0 in a layer that becomes 2:4 may turn into +0.0, which is the only zero that the
    /// form has. Otherwise it is an error.
    pub positive_zeros: bool,
    /// The most weights, as a fraction of a layer's, that a layer may have beyond two of each four and
    /// yet become 2:4 in Quickpick's form: they lie beside it, as a sparse residual. 0 allows none.
    pub residual: f64,
    /// Bytes of a shard.
    pub limit: u64,
}

impl Conversion {
    /// To a form, with everything else left as it is.
    pub fn to(target: Target) -> Self {
        Self { target, dtype: None, positive_zeros: false, residual: 0.0, limit: DEFAULT_LIMIT }
    }
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Converted {
    /// Its name.
    pub name: String,
    /// Extent of each dimension of the dense tensor, outermost first.
    pub shape: Vec<usize>,
    /// How it was stored.
    pub from: String,
    /// How it is stored now.
    pub to: String,
    /// Bytes before.
    pub bytes_from: u64,
    /// Bytes now.
    pub bytes_to: u64,
    /// If the form is one of 2:4 and the tensor stayed dense: why.
    pub dense_because: Option<String>,
    /// Elements that were −0.0 and are +0.0 now.
    pub positive_zeros: u64,
}

/// Converts a checkpoint. `companions_of` is the folder whose configuration and tokenizer are copied;
/// `config.json` is changed where the form or the type demands it. `progress` hears of each tensor,
/// twice: when it is looked at and when it is written.
///
/// A matrix becomes 2:4 if the default [`Rules`] would prune it and each of its groups of four has at
/// most two non-zeros, or nearly so ([`Conversion::residual`]): then the two of the largest magnitude, ties
/// to the lower column, are its 2:4 ones. The others stay dense, with the reason. Dense tensors are
/// copied bit for bit.
/// Memory holds one tensor at a time.
///
/// Errors: a tensor that cannot be read or does not fit the type; NaN, an infinity or, unless allowed,
/// −0.0 in a layer that becomes 2:4; a residual that is asked of another form, or is no fraction; `out` is there already; what the system refuses. Then there is no
/// `out`.
pub fn convert(
    source: &dyn Source,
    companions_of: Option<&Path>,
    out: &Path,
    conversion: &Conversion,
    progress: &mut dyn FnMut(&str),
) -> Result<(Vec<Converted>, Written), Error> {
    check_fraction(conversion.residual)?;
    if conversion.residual > 0.0 && conversion.target != Target::Quickpick {
        let why = format!("the form {} has no room for a residual", conversion.target);
        return Err(Error::Config(why));
    }
    let mut plan = Vec::new();
    let mut converted = Vec::new();
    let (mut zeros, mut elements) = (0u64, 0u64);
    for entry in source.entries() {
        progress(&entry.name);
        let raw = read(source, &entry.name, conversion)?;
        let classes = raw.classes();
        zeros += classes.iter().flatten().filter(|c| c.is_zero()).count() as u64;
        elements += classes.map_or(0, |all| all.len() as u64);
        let fate = Fate::of(&entry.name, &raw, conversion)?;
        converted.push(fate.plan(&mut plan, entry, &raw, conversion.target));
    }
    let mut writer = ShardWriter::create(out, &plan, conversion.limit)?;
    for (entry, done) in source.entries().iter().zip(&converted) {
        progress(&entry.name);
        let raw = read(source, &entry.name, conversion)?;
        match done.dense_because.is_some() || conversion.target == Target::Dense {
            true => writer.raw(&entry.name, &raw.bytes)?,
            false => write_24(&mut writer, &entry.name, &raw, conversion.target)?,
        }
    }
    if let Some(folder) = companions_of {
        let sparsity = zeros as f64 / elements.max(1) as f64;
        copy(folder, &mut writer, conversion, &converted, sparsity)?;
    }
    Ok((converted, writer.finish()?))
}

/// A tensor, in the type that is asked for.
fn read(source: &dyn Source, name: &str, conversion: &Conversion) -> Result<Raw, Error> {
    let raw = source.raw(name)?;
    match conversion.dtype {
        None => Ok(raw),
        Some(dtype) => {
            raw.cast(stored(dtype)).map_err(|why| Error::Weights(format!("{name}: {why}")))
        }
    }
}

/// What will become of a tensor.
enum Fate {
    /// It stays dense; in a form of 2:4, this is why.
    Dense(Option<String>),
    Sparse {
        dtype: DType,
        shape: [usize; 2],
        /// Weights beyond two of each four.
        residual: usize,
        positive_zeros: u64,
    },
}

impl Fate {
    fn of(name: &str, raw: &Raw, conversion: &Conversion) -> Result<Self, Error> {
        let dense = |why: String| Ok(Self::Dense(Some(why)));
        if conversion.target == Target::Dense {
            return Ok(Self::Dense(None));
        }
        let rules = Rules::new(Pattern::TWO_OF_FOUR);
        if let Eligibility::Leave(why) = rules.decide(&LayerInfo::new(name, raw.shape.as_slice())) {
            return dense(why.to_string());
        }
        let (Some(dtype), &[rows, cols], Some(classes)) =
            (element(raw.dtype), raw.shape.as_slice(), raw.classes())
        else {
            return dense(format!("a 2:4 matrix has no elements of {}", raw.dtype));
        };
        if conversion.target == Target::Bitmask && Parts::of_weight(name).is_none() {
            return dense("compressed-tensors compresses only `*.weight`".to_owned());
        }
        let residual = excess(&classes, |c| c.is_zero());
        if let Some(why) = no_room(residual, dtype, cols, &classes, conversion.residual) {
            return dense(why);
        }
        let bad = |at: usize, why: &str| {
            let (row, col) = (at / cols, at % cols);
            Err(Error::Weights(format!("{name}: row {row}, column {col}: {why}")))
        };
        if let Some(at) = classes.iter().position(|&c| c == Class::NotFinite) {
            return bad(at, "not a finite number, which no 2:4 form holds");
        }
        let negative = |&c: &Class| c == Class::NegativeZero;
        let positive_zeros = classes.iter().filter(|c| negative(c)).count() as u64;
        match classes.iter().position(negative) {
            Some(at) if !conversion.positive_zeros => {
                bad(at, "−0.0, of which a 2:4 form would make +0.0")
            }
            _ => Ok(Self::Sparse { dtype, shape: [rows, cols], residual, positive_zeros }),
        }
    }

    /// Adds what will be written of the tensor to the plan, and says it.
    fn plan(
        self,
        plan: &mut Vec<Planned>,
        entry: &super::Entry,
        raw: &Raw,
        target: Target,
    ) -> Converted {
        let name = entry.name.clone();
        let dense = |name: String, dtype, shape: &[usize]| {
            let shape = shape.to_vec();
            Planned::Dense { name, dtype, shape }
        };
        let (to, bytes_to, dense_because, positive_zeros) = match (self, Parts::of_weight(&name)) {
            (Self::Dense(why), _) => {
                plan.push(dense(name.clone(), raw.dtype, &raw.shape));
                (raw.dtype.to_string(), raw.bytes.len() as u64, why, 0)
            }
            (Self::Sparse { dtype, shape, residual: _, positive_zeros }, Some(parts))
                if target == Target::Bitmask =>
            {
                let [rows, cols] = shape;
                let mask = [rows, cols.div_ceil(8)];
                plan.push(dense(parts.values, raw.dtype, &[rows, cols / 2]));
                plan.push(dense(parts.mask, StoredType::U8, &mask));
                plan.push(dense(parts.shape, StoredType::I64, &[2, 1]));
                let bytes = rows * cols / 2 * dtype.bytes() + mask[0] * mask[1] + 16;
                (format!("2:4 {} bitmask", raw.dtype), bytes as u64, None, positive_zeros)
            }
            (Self::Sparse { dtype, shape, residual, positive_zeros }, _) => {
                let residual = Some(residual).filter(|&n| n > 0);
                plan.push(Planned::Sparse { name: name.clone(), dtype, shape, residual });
                // row pointers and packed entries
                let beside = residual.map_or(0, |n| 4 * (shape[0] as u64 + 1 + n as u64));
                let bytes = bytes_24(dtype, shape[0], shape[1]) + beside;
                (stored_24(raw.dtype, &shape, residual), bytes, None, positive_zeros)
            }
        };
        let (from, bytes_from) = (entry.stored.clone(), entry.bytes);
        Converted {
            name,
            shape: raw.shape.clone(),
            from,
            to,
            bytes_from,
            bytes_to,
            dense_because,
            positive_zeros,
        }
    }
}

/// Why a layer with weights beyond two of each four cannot become 2:4; `None` if it can.
fn no_room(
    residual: usize,
    dtype: DType,
    cols: usize,
    classes: &[Class],
    fraction: f64,
) -> Option<String> {
    let most = Csr::<f32>::PACKED_COLUMNS;
    let percent = |n: f64| 100.0 * n;
    let share = residual as f64 / classes.len().max(1) as f64;
    match dtype {
        _ if residual == 0 => None,
        _ if fraction == 0.0 => {
            let full = |g: &[Class]| excess(g, |c| c.is_zero()) > 0;
            let group = classes.chunks(4).position(full)?;
            let (row, col) = (4 * group / cols, 4 * group % cols);
            Some(format!("not 2:4: row {row}, columns from {col}"))
        }
        _ if !within(residual, classes.len(), fraction) => {
            let (have, most) = (percent(share), percent(fraction));
            Some(format!("not 2:4: {have:.2} % beyond two of four, {most} % allowed"))
        }
        DType::F16 | DType::BF16 if cols > most => {
            Some(format!("not 2:4, and a residual has {most} columns at most"))
        }
        DType::F16 | DType::BF16 => None,
        other => Some(format!("not 2:4, and a residual is f16 or bf16, not {other}")),
    }
}

fn write_24(writer: &mut ShardWriter, name: &str, raw: &Raw, target: Target) -> Result<(), Error> {
    match raw.dtype {
        StoredType::F16 => write_typed::<f16>(writer, name, raw, target),
        StoredType::BF16 => write_typed::<bf16>(writer, name, raw, target),
        StoredType::F32 => write_typed::<f32>(writer, name, raw, target),
        StoredType::I8 => write_typed::<i8>(writer, name, raw, target),
        StoredType::F8_E5M2 => write_typed::<E5m2>(writer, name, raw, target),
        // `Fate` knows no other
        _ => write_typed::<E4m3>(writer, name, raw, target),
    }
}

fn write_typed<T: Element>(
    writer: &mut ShardWriter,
    name: &str,
    raw: &Raw,
    target: Target,
) -> Result<(), Error> {
    let bad = |why: String| Error::Weights(format!("{name}: {why}"));
    let &[rows, cols] = raw.shape.as_slice() else {
        return Err(bad(format!("{:?} is no matrix", raw.shape)));
    };
    let dense: Vec<T> = bytemuck::pod_collect_to_vec(&raw.bytes);
    let (matrix, residual) = split(&dense, rows, cols).map_err(|e| bad(e.to_string()))?;
    match Parts::of_weight(name).filter(|_| target == Target::Bitmask) {
        None if residual.values().is_empty() => writer.sparse(name, &matrix),
        None => {
            writer.sparse(name, &matrix)?;
            writer.residual(name, &residual)
        }
        Some(parts) => {
            let coded = matrix.to_bitmask();
            writer.raw(&parts.values, bytemuck::cast_slice(&coded.values))?;
            writer.raw(&parts.mask, &coded.mask)?;
            writer.raw(&parts.shape, bytemuck::cast_slice(&[rows as i64, cols as i64]))
        }
    }
}

/// Copies the companions; the configuration with what the new form changes in it.
fn copy(
    folder: &Path,
    writer: &mut ShardWriter,
    conversion: &Conversion,
    converted: &[Converted],
    sparsity: f64,
) -> Result<(), Error> {
    for name in companions(folder)? {
        let path = folder.join(&name);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        match name == Path::new("config.json") {
            false => writer.file(&name, &bytes)?,
            true => {
                let changed = config(&bytes, conversion, converted, sparsity);
                let changed = changed.map_err(|why| Error::file(&path, why))?;
                writer.file(&name, changed.as_deref().unwrap_or(&bytes))?;
            }
        }
    }
    Ok(())
}

/// A configuration as the new form needs it; `None` if it may stay as it is.
fn config(
    bytes: &[u8],
    conversion: &Conversion,
    converted: &[Converted],
    sparsity: f64,
) -> Result<Option<Vec<u8>>, String> {
    let mut config: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let before = config.clone();
    match conversion.target {
        Target::Bitmask => {
            // modules that a reader would take for compressed: matrices
            let dense =
                converted.iter().filter(|t| t.dense_because.is_some() && t.shape.len() == 2);
            let mut ignore: Vec<String> =
                dense.filter_map(|t| t.name.strip_suffix(".weight")).map(str::to_owned).collect();
            // tied to the embedding in many models, and then in no file
            if !converted.iter().any(|t| t.name.starts_with("lm_head.")) {
                ignore.push("lm_head".to_owned());
            }
            declare(&mut config, &ignore, sparsity)?;
        }
        Target::Dense | Target::Quickpick => {
            retract(&mut config);
        }
    }
    if let Some(dtype) = conversion.dtype {
        let name = HashMap::from([
            (DType::F16, "float16"),
            (DType::BF16, "bfloat16"),
            (DType::F32, "float32"),
        ]);
        // transformers 5 calls it so, 4 the other
        let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        if let Some(&name) = name.get(&dtype) {
            config.insert(key.to_owned(), Value::from(name));
        }
    }
    if config == before {
        return Ok(None);
    }
    let text = serde_json::to_string_pretty(&config).map_err(|e| e.to_string())?;
    Ok(Some((text + "\n").into_bytes()))
}

fn stored(dtype: DType) -> StoredType {
    match dtype {
        DType::F16 => StoredType::F16,
        DType::BF16 => StoredType::BF16,
        DType::F32 => StoredType::F32,
        DType::I8 => StoredType::I8,
        DType::E4M3 => StoredType::F8_E4M3,
        DType::E5M2 => StoredType::F8_E5M2,
    }
}
