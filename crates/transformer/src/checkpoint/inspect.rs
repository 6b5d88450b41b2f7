//! What a checkpoint holds: how sparse each tensor is, in which pattern, and what 2:4 would save.

use super::raw::Class;
use super::{Entry, Raw, Source};
use crate::Error;
use quickpick_format::{DType, Order, StoredType};
use quickpick_prune::{Eligibility, LayerInfo, Rules};
use serde::Serialize;

/// The patterns that are looked for, the tightest first: by density, then by the group.
const PATTERNS: [(usize, usize); 5] = [(1, 4), (2, 8), (2, 4), (4, 8), (8, 16)];

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// Extent of each dimension of the dense tensor, outermost first.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub stored: String,
    /// Bytes in its file, all parts together.
    pub bytes: u64,
    /// Elements of the dense tensor.
    pub elements: u64,
    /// Elements that are not zero (−0.0 is zero); `None` if its type has none to be told apart.
    pub nonzeros: Option<u64>,
    /// `nonzeros` by `elements`.
    pub density: Option<f64>,
    /// Elements that are −0.0, which 2:4 forms store as +0.0.
    pub negative_zeros: u64,
    /// Elements that are NaN or infinite, which 2:4 forms refuse.
    pub not_finite: u64,
    /// Of a matrix, its residual included: the tightest pattern that every row follows, of 1:4, 2:8, 2:4, 4:8, 8:16.
    pub pattern: Option<String>,
    /// Whether the rules would prune it.
    pub eligible: bool,
    /// Why not.
    pub reason: Option<String>,
    /// If eligible: bytes in Quickpick's 2:4 form, in its element type, or in f16 if it has none of its
    /// own that a 2:4 matrix has.
    pub bytes_24: Option<u64>,
}

/// Sums over all tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Tensors.
    pub tensors: u64,
    /// Elements of all.
    pub elements: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Tensors that would be pruned.
    pub eligible: u64,
    /// Elements of those.
    pub eligible_elements: u64,
    /// Bytes of those.
    pub eligible_bytes: u64,
    /// Bytes of those in 2:4.
    pub eligible_bytes_24: u64,
    /// Tensors of those that follow 2:4 already.
    pub already_24: u64,
}

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The pattern that eligibility is about.
    pub pattern: String,
    /// Every tensor, by name.
    pub tensors: Vec<TensorReport>,
    /// Sums.
    pub totals: Totals,
}

/// Reads every tensor, one at a time, and reports. `progress` hears of each before it is read. Errors:
/// a tensor that cannot be read.
pub fn inspect(
    source: &dyn Source,
    rules: &Rules,
    progress: &mut dyn FnMut(&Entry),
) -> Result<Inspection, Error> {
    let mut tensors = Vec::new();
    let mut totals = Totals::default();
    for entry in source.entries() {
        progress(entry);
        let report = tensor(entry, &source.raw(&entry.name)?, rules);
        totals.tensors += 1;
        totals.elements += report.elements;
        totals.bytes += report.bytes;
        if let Some(bytes_24) = report.bytes_24 {
            totals.eligible += 1;
            totals.eligible_elements += report.elements;
            totals.eligible_bytes += report.bytes;
            totals.eligible_bytes_24 += bytes_24;
            let follows = |p: &str| matches!(p, "1:4" | "2:4");
            totals.already_24 += u64::from(report.pattern.as_deref().is_some_and(follows));
        }
        tensors.push(report);
    }
    Ok(Inspection { pattern: rules.pattern().to_string(), tensors, totals })
}

fn tensor(entry: &Entry, raw: &Raw, rules: &Rules) -> TensorReport {
    let classes = raw.classes();
    let count = |what: fn(Class) -> bool| {
        let all = classes.iter().flatten();
        all.filter(|&&class| what(class)).count() as u64
    };
    let elements = entry.shape.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
    let nonzeros = classes.is_some().then(|| count(|c| !c.is_zero()));
    let decided = rules.decide(&LayerInfo::new(&entry.name, entry.shape.as_slice()));
    let real = raw.widens();
    let (eligible, reason) = match decided {
        Eligibility::Prune if !real => {
            (false, Some(format!("{} is no type of weights", raw.dtype)))
        }
        Eligibility::Prune => (true, None),
        Eligibility::Leave(reason) => (false, Some(reason.to_string())),
    };
    let pattern = match (entry.shape.as_slice(), &classes) {
        (&[_, cols], Some(classes)) => tightest(classes, cols),
        _ => None,
    };
    let bytes_24 = match *entry.shape.as_slice() {
        [rows, cols] if eligible => Some(bytes_24(own_type(entry, raw), rows, cols)),
        _ => None,
    };
    TensorReport {
        name: entry.name.clone(),
        shape: entry.shape.clone(),
        stored: entry.stored.clone(),
        bytes: entry.bytes,
        elements,
        nonzeros,
        density: nonzeros.filter(|_| elements > 0).map(|n| n as f64 / elements as f64),
        negative_zeros: count(|c| c == Class::NegativeZero),
        not_finite: count(|c| c == Class::NotFinite),
        pattern: pattern.map(|(n, m)| format!("{n}:{m}")),
        eligible,
        reason,
        bytes_24,
    }
}

/// The tightest pattern of the list that every group of every row follows.
fn tightest(classes: &[Class], cols: usize) -> Option<(usize, usize)> {
    let follows = |&(n, m): &(usize, usize)| {
        cols > 0
            && cols.is_multiple_of(m)
            && classes.chunks(m).all(|g| g.iter().filter(|c| !c.is_zero()).count() <= n)
    };
    PATTERNS.into_iter().find(follows)
}

/// The element type that a tensor would have in 2:4.
fn own_type(entry: &Entry, raw: &Raw) -> DType {
    let name = raw.dtype.to_string();
    match element(raw.dtype) {
        // a quantised tensor is read as f32, but is not stored so
        Some(dtype) if entry.stored.split(' ').any(|word| word == name) => dtype,
        _ => DType::F16,
    }
}

/// The type of a 2:4 matrix's elements that a stored type is.
pub(super) fn element(dtype: StoredType) -> Option<DType> {
    Some(match dtype {
        StoredType::F16 => DType::F16,
        StoredType::BF16 => DType::BF16,
        StoredType::F32 => DType::F32,
        StoredType::I8 => DType::I8,
        StoredType::F8_E4M3 => DType::E4M3,
        StoredType::F8_E5M2 => DType::E5M2,
        _ => return None,
    })
}

/// How a tensor in Quickpick's 2:4 form is stored, in words, if so many entries lie beside it.
pub(super) fn stored_24(dtype: StoredType, shape: &[usize], residual: Option<usize>) -> String {
    let elements = shape.iter().fold(1.0, |n, &d| n * d as f64);
    match residual {
        None => format!("2:4 {dtype}"),
        Some(n) => format!("2:4 {dtype} + residual, {:.1} %", 100.0 * n as f64 / elements),
    }
}

/// Bytes of values and metadata, padding included.
pub(super) fn bytes_24(dtype: DType, rows: usize, cols: usize) -> u64 {
    let area = |[a, b]: [usize; 2]| (a as u64).saturating_mul(b as u64);
    let values = area(Order::RowMajor.values_shape(dtype, rows, cols));
    let words = area(Order::RowMajor.metadata_shape(dtype, rows, cols));
    values.saturating_mul(dtype.bytes() as u64).saturating_add(words.saturating_mul(4))
}
