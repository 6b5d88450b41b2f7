//! A Hugging Face folder, written tensor by tensor; it appears whole or not at all.

use super::in_file;
use super::shards::{INDEX, SINGLE};
use crate::Error;
use quickpick_format::{Csr, DType, Element, Layout, Matrix24, Order, StoredType, TensorWriter};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Bytes of a shard, unless one tensor alone takes more: 5 GB.
pub const DEFAULT_LIMIT: u64 = 5_000_000_000;

/// A tensor that will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// All its elements.
    Dense {
        /// Its name.
        name: String,
        /// The type of its elements.
        dtype: StoredType,
        /// Extent of each dimension, outermost first.
        shape: Vec<usize>,
    },
    /// A 2:4 matrix in Quickpick's form, [`Order::RowMajor`].
    Sparse {
        /// Its name.
        name: String,
        /// The type of its elements.
        dtype: DType,
        /// Rows and columns of the dense matrix.
        shape: [usize; 2],
        /// Entries of the sparse residual beside it, of the same type, if it has one.
        residual: Option<usize>,
    },
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The folder.
    pub folder: PathBuf,
    /// Files of tensors.
    pub files: Vec<String>,
    /// Bytes of those files.
    pub bytes: u64,
}

/// A folder being filled: give it every planned tensor, in any order (in the planned one at most two
/// files are open at a time), then [`finish`](Self::finish). Until then everything lies in a folder
/// beside, `OUT.tmp`, which is removed if the writer is dropped and taken over if it was killed.
pub struct ShardWriter {
    staging: Staging,
    shards: Vec<Shard>,
    /// The shard of each tensor that safetensors will see.
    shard_of: BTreeMap<String, usize>,
    data_bytes: u64,
}

struct Shard {
    name: String,
    layout: Layout,
    state: State,
}

enum State {
    Planned,
    Open(TensorWriter<File>),
    Done,
}

impl ShardWriter {
    /// Plans a folder: one `model.safetensors` if `limit` bytes of tensors suffice, else shards
    /// filled in the order of `tensors`, and their index. Types and shapes decide everything, so the
    /// same plan and tensors make the same bytes.
    ///
    /// Errors: `out` exists and is not an empty folder, another process writes it, a name that comes
    /// twice, a tensor that the file form does not have, what the system refuses.
    pub fn create(out: &Path, tensors: &[Planned], limit: u64) -> Result<Self, Error> {
        let failed = in_file(out);
        let add = |layout: &mut Layout, tensor: &Planned| match tensor {
            Planned::Dense { name, dtype, shape } => layout.dense(name, *dtype, shape),
            Planned::Sparse { name, dtype, shape, residual } => {
                layout.sparse(name, *dtype, *shape, Order::RowMajor)?;
                residual.map_or(Ok(()), |entries| layout.residual(name, *dtype, entries))
            }
        };
        // transformers wants to know whose tensors these are
        let empty = || Layout::plain("format", "pt");
        let mut layouts = vec![(empty(), 0u64)];
        for tensor in tensors {
            let mut alone = empty();
            add(&mut alone, tensor).map_err(&failed)?;
            let bytes = alone.data_bytes().map_err(&failed)?;
            match layouts.last_mut() {
                Some((layout, sum)) if *sum == 0 || bytes <= limit.saturating_sub(*sum) => {
                    add(layout, tensor).map_err(&failed)?;
                    *sum = sum.saturating_add(bytes);
                }
                _ => layouts.push((alone, bytes)),
            }
        }
        let count = layouts.len();
        let mut shard_of = BTreeMap::new();
        let mut shards = Vec::new();
        let mut data_bytes = 0u64;
        for (i, (layout, bytes)) in layouts.into_iter().enumerate() {
            let name = match count {
                1 => SINGLE.to_owned(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
            };
            for part in layout.parts() {
                if shard_of.insert(part.to_owned(), i).is_some() {
                    return Err(Error::file(out, format!("{part} would be in two shards")));
                }
            }
            data_bytes = data_bytes.saturating_add(bytes);
            shards.push(Shard { name, layout, state: State::Planned });
        }
        Ok(Self { staging: Staging::create(out)?, shards, shard_of, data_bytes })
    }

    /// Writes the bytes of a dense tensor, row-major, little-endian. Errors: it is not planned, or
    /// comes twice; bytes that do not fill it; what the system refuses.
    pub fn raw(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write(name, name, |writer| writer.raw(name, bytes))
    }

    /// Writes a 2:4 matrix. Errors: as [`raw`](Self::raw), and another shape or type than planned.
    pub fn sparse<T: Element>(&mut self, name: &str, matrix: &Matrix24<T>) -> Result<(), Error> {
        self.write(name, &format!("{name}.values"), |writer| writer.sparse(name, matrix))
    }

    /// Writes the sparse residual of a 2:4 matrix. Errors: as [`raw`](Self::raw), and another shape, type or
    /// number of entries than planned.
    pub fn residual<T: Element>(&mut self, name: &str, residual: &Csr<T>) -> Result<(), Error> {
        let part = format!("{name}.residual");
        self.write(&part, &part, |writer| writer.residual(name, residual))
    }

    fn write(
        &mut self,
        name: &str,
        part: &str,
        write: impl FnOnce(&mut TensorWriter<File>) -> Result<(), quickpick_format::FileError>,
    ) -> Result<(), Error> {
        let Some(&shard) = self.shard_of.get(part) else {
            return Err(Error::file(&self.staging.path, format!("{name} is not planned")));
        };
        let shard = &mut self.shards[shard];
        let path = self.staging.beside.join(&shard.name);
        if let State::Planned = shard.state {
            let file = File::create_new(&path).map_err(Error::io(&path))?;
            shard.state = State::Open(shard.layout.start(file).map_err(in_file(&path))?);
        }
        let State::Open(writer) = &mut shard.state else {
            return Err(Error::file(&path, format!("{name} is written already")));
        };
        write(writer).map_err(in_file(&path))?;
        if writer.is_complete() {
            shard.close(&path)?;
        }
        Ok(())
    }

    /// Writes a small file beside the tensors, such as a configuration. Errors: a name that is no
    /// plain relative path, one that is there already, what the system refuses.
    pub fn file(&mut self, name: &Path, bytes: &[u8]) -> Result<(), Error> {
        use std::io::Write;
        if !name.components().all(|c| matches!(c, std::path::Component::Normal(_))) {
            return Err(Error::file(name, "is no path below a checkpoint's folder"));
        }
        let path = self.staging.beside.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let mut file = File::create_new(&path).map_err(Error::io(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(&path))
    }

    /// Flushes everything to the device and gives the folder its name. Errors: a planned tensor that
    /// did not come, what the system refuses; then nothing is left.
    pub fn finish(mut self) -> Result<Written, Error> {
        let mut bytes = 0;
        for shard in &mut self.shards {
            let path = self.staging.beside.join(&shard.name);
            if let State::Planned = shard.state {
                // nothing of it came, which is right if it holds nothing
                let file = File::create_new(&path).map_err(Error::io(&path))?;
                shard.state = State::Open(shard.layout.start(file).map_err(in_file(&path))?);
            }
            shard.close(&path)?;
            bytes += fs::metadata(&path).map_err(Error::io(&path))?.len();
        }
        let files: Vec<String> = self.shards.iter().map(|shard| shard.name.clone()).collect();
        if files.len() > 1 {
            let index = serde_json::json!({
                "metadata": { "total_size": self.data_bytes },
                "weight_map": self.shard_of.iter().map(|(name, &i)| (name, &files[i]))
                    .collect::<BTreeMap<_, _>>(),
            });
            self.file(Path::new(INDEX), format!("{index:#}\n").as_bytes())?;
        }
        let folder = self.staging.commit()?;
        Ok(Written { folder, files, bytes })
    }
}

impl Shard {
    fn close(&mut self, path: &Path) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Open(writer) => {
                let file = writer.finish().map_err(in_file(path))?;
                file.sync_all().map_err(Error::io(path))
            }
            State::Planned | State::Done => Ok(()),
        }
    }
}

/// A folder beside its name: `OUT.tmp`. A writer that was killed leaves it; the next one takes it over.
struct Staging {
    beside: PathBuf,
    path: PathBuf,
    committed: bool,
    /// Held while this writer lives; the system lets go of it with the process.
    _lock: Option<File>,
}

impl Staging {
    fn create(out: &Path) -> Result<Self, Error> {
        let Some(name) = out.file_name() else {
            return Err(Error::file(out, "is no name of a folder to be made"));
        };
        let there = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_some(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            Err(e) => return Err(Error::io(out)(e)),
        };
        if there {
            return Err(Error::file(out, "is there already and not empty"));
        }
        if let Some(parent) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        let mut beside = name.to_owned();
        beside.push(".tmp");
        let beside = out.with_file_name(beside);
        match fs::create_dir(&beside) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(Error::io(&beside))?,
        }
        let lock = lock(&beside)?;
        empty(&beside)?;
        Ok(Self { beside, path: out.to_owned(), committed: false, _lock: lock })
    }

    fn commit(mut self) -> Result<PathBuf, Error> {
        sync_folder(&self.beside)?;
        if self.path.is_dir() {
            // empty, or the system refuses
            fs::remove_dir(&self.path).map_err(Error::io(&self.path))?;
        }
        fs::rename(&self.beside, &self.path).map_err(Error::io(&self.path))?;
        self.committed = true;
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        sync_folder(parent.unwrap_or(Path::new(".")))?;
        Ok(self.path.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            // whoever dropped it has the error that matters
            let _ = fs::remove_dir_all(&self.beside);
        }
    }
}

/// Keeps other writers out of a folder, where folders can be locked: on Unix. Errors: another one writes
/// there, or has just given the folder its name.
#[cfg(unix)]
fn lock(folder: &Path) -> Result<Option<File>, Error> {
    use std::os::unix::fs::MetadataExt;
    let file = File::open(folder).map_err(Error::io(folder))?;
    let busy = || Error::file(folder, "is being written by another process");
    file.try_lock().map_err(|e| match e {
        fs::TryLockError::WouldBlock => busy(),
        fs::TryLockError::Error(e) => Error::io(folder)(e),
    })?;
    let place = |m: fs::Metadata| (m.dev(), m.ino());
    let held = file.metadata().map(place).map_err(Error::io(folder))?;
    match fs::metadata(folder).map(place) {
        Ok(named) if named == held => Ok(Some(file)),
        _ => Err(busy()),
    }
}

#[cfg(not(unix))]
fn lock(_: &Path) -> Result<Option<File>, Error> {
    Ok(None)
}

/// Removes what a writer that was killed has left.
fn empty(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        let is_folder = entry.file_type().map_err(Error::io(&path))?.is_dir();
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io(&path))?;
    }
    Ok(())
}

/// Makes a folder's new names last. Elsewhere than on Unix a folder cannot be opened, nor need be.
fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder))?;
    }
    Ok(())
}
