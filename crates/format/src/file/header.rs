//! The header of a safetensors file: what it says, with every rule checked, and how it is written.

use super::FileError;
use safetensors::Dtype;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of the header's length, in front of it.
pub(super) const LENGTH: u64 = 8;

/// The longest header that safetensors' own reader takes.
const LONGEST: u64 = 100_000_000;

/// The key of the string metadata.
const METADATA: &str = "__metadata__";

/// A tensor as safetensors knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Bytes of the file, the first and the one after the last.
    pub start: u64,
    pub end: u64,
}

impl Part {
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// What a header says. Its parts fill the rest of the file without a gap, each as long as its type
/// and shape want.
pub(super) struct Header {
    pub parts: BTreeMap<String, Part>,
    pub metadata: BTreeMap<String, String>,
}

/// An entry in the file. Offsets count from the end of the header.
#[derive(Serialize, Deserialize)]
struct Info {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The length of the header of a file of `have` bytes, from its first eight. Errors: the file is
/// shorter, the header longer than any reader takes.
pub(super) fn header_length(first: Option<&[u8; 8]>, have: u64) -> Result<usize, FileError> {
    let length = u64::from_le_bytes(*first.ok_or(FileError::Truncated { have, want: LENGTH })?);
    match length.saturating_add(LENGTH) {
        want if want > have => Err(FileError::Truncated { have, want }),
        _ if length > LONGEST => Err(FileError::LongHeader { have: length, most: LONGEST }),
        // at most 100 MB by now
        _ => Ok(length as usize),
    }
}

impl Header {
    /// Parses a header's JSON, of a file of `have` bytes.
    pub fn parse(json: &[u8], have: u64) -> Result<Self, FileError> {
        let Listed { tensors, metadata } =
            serde_json::from_slice(json).map_err(FileError::Header)?;
        let data = LENGTH + json.len() as u64;
        let end = tensors.values().map(|info| info.data_offsets.1).max().unwrap_or(0);
        match data.saturating_add(end) {
            want if want > have => return Err(FileError::Truncated { have, want }),
            want if want < have => return Err(FileError::Trailing { have, want }),
            _ => {}
        }
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let mut parts = BTreeMap::new();
        let mut free = 0;
        for (name, Info { dtype, shape, data_offsets: (start, end) }) in tensors {
            if start != free || end < start {
                return Err(FileError::Extent { name, start, end, free });
            }
            let Some(want) = data_bytes(dtype, &shape) else {
                return Err(FileError::Overflow { name, dtype, shape });
            };
            if end - start != want {
                return Err(FileError::Size { name, dtype, shape, have: end - start, want });
            }
            free = end;
            // no more than `have`, as was checked
            let (start, end) = (data + start, data + end);
            parts.insert(name, Part { dtype, shape, start, end });
        }
        Ok(Self { parts, metadata })
    }
}

/// Bytes of a tensor; `None` if they cannot be counted, or are no whole number (types of 4 and 6
/// bits).
pub(super) fn data_bytes(dtype: Dtype, shape: &[usize]) -> Option<u64> {
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64))?;
    let bits = count.checked_mul(dtype.bitsize() as u64)?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// A file's first bytes, up to its data, and where each part of the data lies. Data starts at a
/// multiple of 8; larger types come first, then names in order: as the safetensors library does it.
pub(super) fn lay_out(
    tensors: &BTreeMap<String, (Dtype, Vec<usize>)>,
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, BTreeMap<String, Part>), FileError> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by(|(_, (a, _)), (_, (b, _))| b.cmp(a)); // stable: names stay in order
    let mut infos = Vec::with_capacity(order.len());
    let mut free = 0u64;
    for (name, (dtype, shape)) in order {
        let end = data_bytes(*dtype, shape).and_then(|n| free.checked_add(n));
        let Some(end) = end.filter(|end| end.checked_add(LENGTH + LONGEST).is_some()) else {
            let (name, shape) = (name.clone(), shape.clone());
            return Err(FileError::Overflow { name, dtype: *dtype, shape });
        };
        let info = Info { dtype: *dtype, shape: shape.clone(), data_offsets: (free, end) };
        infos.push((name, info));
        free = end;
    }
    let json = serde_json::to_string(&Ordered { metadata, infos: &infos });
    let mut json = json.map_err(FileError::Header)?.into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let length = json.len() as u64;
    if length > LONGEST {
        return Err(FileError::LongHeader { have: length, most: LONGEST });
    }
    let data = LENGTH + length;
    let parts = infos.into_iter().map(|(name, Info { dtype, shape, data_offsets: (s, e) })| {
        (name.clone(), Part { dtype, shape, start: data + s, end: data + e })
    });
    let parts = parts.collect();
    Ok(([&length.to_le_bytes(), json.as_slice()].concat(), parts))
}

/// A header's JSON as it is written.
struct Ordered<'a> {
    metadata: &'a BTreeMap<String, String>,
    infos: &'a [(&'a String, Info)],
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA, self.metadata)?;
        }
        for (name, info) in self.infos {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

/// A header's JSON as it is read: no name may come twice.
struct Listed {
    tensors: BTreeMap<String, Info>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Listed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut metadata: Option<BTreeMap<String, String>> = None;
                while let Some(name) = map.next_key::<String>()? {
                    let twice = match name == METADATA {
                        true => metadata.replace(map.next_value()?).is_some(),
                        false => tensors.insert(name.clone(), map.next_value()?).is_some(),
                    };
                    if twice {
                        return Err(A::Error::custom(format_args!("`{name}` is named twice")));
                    }
                }
                Ok(Listed { tensors, metadata: metadata.unwrap_or_default() })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
