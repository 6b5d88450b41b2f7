//! A Hugging Face folder, or one safetensors file: dense tensors, 2:4 ones of Quickpick's form and of
//! compressed-tensors' `sparse-24-bitmask`.

use super::bitmask::Parts;
use super::inspect::stored_24;
use super::{Entry, Raw, Source, in_file};
use crate::recovered::add;
use crate::{Error, Tensor};
use half::{bf16, f16};
use quickpick_format::{
    Csr, DType, E4m3, E5m2, Element, FileError, Kind, Matrix24, Reader, StoredType,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file that says which shard holds which tensor.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// The file of a model that has no shards.
pub(super) const SINGLE: &str = "model.safetensors";
/// The longest index that is read: safetensors allows headers of this length.
const LONGEST_INDEX: u64 = 100_000_000;

/// A checkpoint, open: all headers are read and agree with each other and with the index; tensors
/// are read when they are asked for, one at a time.
pub struct Checkpoint {
    path: PathBuf,
    shards: Vec<Shard>,
    entries: Vec<Entry>,
    places: BTreeMap<String, Place>,
}

struct Shard {
    path: PathBuf,
    reader: Reader<'static>,
}

/// Where a tensor is, and how it is stored.
struct Place {
    shard: usize,
    dtype: StoredType,
    shape: Vec<usize>,
    form: Form,
    bytes: u64,
}

enum Form {
    Dense,
    /// Quickpick's; the type and number of its sparse residual's entries.
    Sparse(Option<(DType, usize)>),
    /// Its mask may lie in another shard.
    Bitmask {
        parts: Parts,
        mask_shard: usize,
    },
}

/// What the index file says; other fields are its writer's.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a folder with `model.safetensors.index.json` and its shards or with one safetensors
    /// file, or such a file itself.
    ///
    /// Errors: no such file; a header that is malformed or does not fit its file; a shard that the
    /// index names and the folder lacks; a tensor that the index, but not its shard, has, or the
    /// other way round; a tensor in two shards.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let about = fs::metadata(path).map_err(Error::io(path))?;
        if !about.is_dir() {
            return Self::of(path, vec![Shard::open(path.to_owned())?]);
        }
        let (index, single) = (path.join(INDEX), path.join(SINGLE));
        match (index.is_file(), single.is_file()) {
            (true, true) => {
                let why = format!("holds both {INDEX} and {SINGLE}: which is the model?");
                Err(Error::file(path, why))
            }
            (true, false) => {
                let map = read_index(&index)?;
                let mut names: Vec<&String> = map.values().collect();
                names.sort();
                names.dedup();
                let open = |name: &String| Shard::open(path.join(plain(&index, name)?));
                let shards = names.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
                check_index(&index, &map, &shards)?;
                Self::of(path, shards)
            }
            (false, true) => Self::of(path, vec![Shard::open(single)?]),
            (false, false) => Self::of(path, vec![Shard::open(only(path)?)?]),
        }
    }

    fn of(path: &Path, shards: Vec<Shard>) -> Result<Self, Error> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for (shard, Shard { path, reader }) in shards.iter().enumerate() {
            for e in reader.entries() {
                let form = match e.kind {
                    Kind::Dense => Form::Dense,
                    Kind::Sparse24(_) => Form::Sparse(e.residual),
                };
                let place = Place { shard, dtype: e.dtype, shape: e.shape, form, bytes: e.bytes };
                if let Some(other) = places.insert(e.name.clone(), place) {
                    let other = shards[other.shard].path.display();
                    return Err(Error::file(path, format!("{} is in {other} too", e.name)));
                }
            }
        }
        join_bitmasks(&mut places, &shards)?;
        let entry = |(name, place): (&String, &Place)| {
            let stored = match place.form {
                Form::Dense => place.dtype.to_string(),
                Form::Sparse(residual) => {
                    stored_24(place.dtype, &place.shape, residual.map(|(_, count)| count))
                }
                Form::Bitmask { .. } => format!("2:4 {} bitmask", place.dtype),
            };
            Entry { name: name.clone(), shape: place.shape.clone(), stored, bytes: place.bytes }
        };
        let entries = places.iter().map(entry).collect();
        Ok(Self { path: path.to_owned(), shards, entries, places })
    }

    /// The folder whose configuration and tokenizer belong to the tensors: the one that was opened, or
    /// that of a `model.safetensors` with a `config.json` beside it. A file of another name may lie
    /// anywhere.
    pub fn folder(&self) -> Option<&Path> {
        if self.path.is_dir() {
            return Some(&self.path);
        }
        let folder = self.path.parent().filter(|p| p.join("config.json").is_file())?;
        (self.path.file_name()? == SINGLE).then_some(folder)
    }

    /// The files of tensors.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.path.as_path())
    }

    fn place(&self, name: &str) -> Result<(&Place, &Shard), Error> {
        let place = self.places.get(name);
        let place = place.ok_or_else(|| Error::file(&self.path, format!("there is no {name}")))?;
        Ok((place, &self.shards[place.shard]))
    }
}

impl Source for Checkpoint {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let (_, shard) = self.place(name)?;
        let why = |why: String| Error::file(&shard.path, format!("{name}: {why}"));
        self.raw(name)?.widen().map_err(why)
    }

    fn raw(&self, name: &str) -> Result<Raw, Error> {
        let (place, shard) = self.place(name)?;
        let bytes = match place.form {
            Form::Dense => shard.reader.raw(name).map_err(in_file(&shard.path)),
            _ => match place.dtype {
                StoredType::F16 => self.expand::<f16>(name),
                StoredType::BF16 => self.expand::<bf16>(name),
                StoredType::F32 => self.expand::<f32>(name),
                StoredType::I8 => self.expand::<i8>(name),
                StoredType::F8_E5M2 => self.expand::<E5m2>(name),
                // whoever made the place knows no other
                _ => self.expand::<E4m3>(name),
            },
        };
        Ok(Raw { dtype: place.dtype, shape: place.shape.clone(), bytes: bytes? })
    }
}

impl Checkpoint {
    fn expand<T: Element>(&self, name: &str) -> Result<Vec<u8>, Error> {
        let (place, Shard { path, reader }) = self.place(name)?;
        let matrix = match &place.form {
            Form::Bitmask { parts, mask_shard } => {
                let Shard { path: mask_path, reader: mask_reader } = &self.shards[*mask_shard];
                let values: Vec<T> = reader.dense(&parts.values).map_err(in_file(path))?.0;
                let mask = mask_reader.raw(&parts.mask).map_err(in_file(mask_path))?;
                Matrix24::from_bitmask(&values, &mask, place.shape[0], place.shape[1])
                    .map_err(|source| FileError::Matrix { name: name.to_owned(), source })
            }
            Form::Dense | Form::Sparse(_) => reader.sparse::<T>(name),
        };
        let mut dense = matrix.map_err(in_file(path))?.expand();
        if let Form::Sparse(Some((dtype, _))) = place.form {
            let added = match dtype {
                DType::F16 => add(&mut dense, &self.residual::<f16>(name)?),
                // the format knows no other
                _ => add(&mut dense, &self.residual::<bf16>(name)?),
            };
            added.map_err(|why| Error::file(path, format!("{name}: {why}")))?;
        }
        Ok(bytemuck::cast_slice(&dense).to_vec())
    }

    fn residual<R: Element>(&self, name: &str) -> Result<Csr<R>, Error> {
        let (_, Shard { path, reader }) = self.place(name)?;
        let missing = || Error::file(path, format!("{name}: its residual is not there"));
        reader.residual(name).map_err(in_file(path))?.ok_or_else(missing)
    }
}

/// Puts the parts of each bitmask tensor together, under the name of the tensor that they are.
fn join_bitmasks(places: &mut BTreeMap<String, Place>, shards: &[Shard]) -> Result<(), Error> {
    let all = places.keys().filter_map(|name| Parts::of_values(name));
    let found: Vec<Parts> =
        all.filter(|p| places.contains_key(&p.mask) && places.contains_key(&p.shape)).collect();
    for parts in found {
        let name = parts.weight.clone();
        let mut take = |part: &str| places.remove(part);
        let (Some(values), Some(mask), Some(shape)) =
            (take(&parts.values), take(&parts.mask), take(&parts.shape))
        else {
            continue;
        };
        let path = &shards[values.shard].path;
        let bad = |why: String| Error::file(path, format!("{name}: {why}"));
        let data = shards[shape.shard].reader.raw(&parts.shape).map_err(in_file(path))?;
        let rows_cols = parts
            .check((values.dtype, &values.shape), (mask.dtype, &mask.shape), (shape.dtype, &data))
            .map_err(bad)?;
        let place = Place {
            shard: values.shard,
            dtype: values.dtype,
            shape: rows_cols.to_vec(),
            form: Form::Bitmask { parts, mask_shard: mask.shard },
            bytes: values.bytes + mask.bytes + shape.bytes,
        };
        if places.insert(name.clone(), place).is_some() {
            return Err(Error::file(path, format!("{name} is there dense and as a bitmask")));
        }
    }
    Ok(())
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let reader = Reader::open(&path).map_err(in_file(&path))?;
        Ok(Self { path, reader })
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let bytes = fs::metadata(path).map_err(Error::io(path))?.len();
    if bytes > LONGEST_INDEX {
        return Err(Error::file(
            path,
            format!("{bytes} bytes; an index has {LONGEST_INDEX} at most"),
        ));
    }
    let text = fs::read(path).map_err(Error::io(path))?;
    let Index { weight_map } = serde_json::from_slice(&text).map_err(|e| Error::file(path, e))?;
    match weight_map.is_empty() {
        true => Err(Error::file(path, "its weight_map names no tensor")),
        false => Ok(weight_map),
    }
}

/// A shard's name, which must be a file's in the same folder and nowhere else.
fn plain<'a>(index: &Path, name: &'a str) -> Result<&'a str, Error> {
    match Path::new(name).file_name().is_some_and(|file| file == name) {
        true => Ok(name),
        false => Err(Error::file(index, format!("{name:?} is no name of a shard in this folder"))),
    }
}

/// Whether index and shards hold the same tensors, each in one place.
fn check_index(
    index: &Path,
    map: &BTreeMap<String, String>,
    shards: &[Shard],
) -> Result<(), Error> {
    let mut found: BTreeMap<&str, &Path> = BTreeMap::new();
    for Shard { path, reader } in shards {
        for name in reader.parts() {
            if let Some(other) = found.insert(name, path) {
                return Err(Error::file(path, format!("{name} is in {} too", other.display())));
            }
            if !map.contains_key(name) {
                return Err(Error::file(path, format!("{name} is not in the index {INDEX}")));
            }
        }
    }
    for (name, shard) in map {
        match found.get(name.as_str()).and_then(|path| path.file_name()) {
            Some(file) if *file == **shard => {}
            Some(file) => {
                let file = file.display();
                let why = format!("{name} should be in {shard}, but is in {file}");
                return Err(Error::file(index, why));
            }
            None => {
                let why = format!("{name} should be in {shard}, but is in no shard");
                return Err(Error::file(index, why));
            }
        }
    }
    Ok(())
}

/// The one safetensors file of a folder.
fn only(folder: &Path) -> Result<PathBuf, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_some_and(|e| e == "safetensors") && path.is_file() {
            found.push(path);
        }
    }
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] => Err(Error::file(folder, format!("holds no {SINGLE}, no {INDEX}, no *.safetensors"))),
        many => {
            let why = format!("holds {} *.safetensors files and no {INDEX}", many.len());
            Err(Error::file(folder, why))
        }
    }
}
