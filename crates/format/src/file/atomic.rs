//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file being written beside its name, which it takes when it is [committed](Self::commit).
/// Dropped before that, it leaves nothing; what was there under the name stays until then.
#[derive(Debug)]
pub struct AtomicFile {
    /// `None` once committed.
    file: Option<File>,
    beside: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Opens an empty file beside `path`, in the same folder. Errors: the system's, a path that
    /// names no file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        };
        let mut beside = name.to_owned();
        beside.push(format!(".{}.tmp", std::process::id()));
        let beside = path.with_file_name(beside);
        let file = Some(File::create(&beside)?);
        Ok(Self { file, beside, path: path.to_owned() })
    }

    /// Flushes to the device, then renames.
    pub fn commit(mut self) -> io::Result<()> {
        self.open()?.sync_all()?;
        fs::rename(&self.beside, &self.path)?;
        self.file = None;
        Ok(())
    }

    fn open(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("the file is committed"))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open()?.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.open()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.open()?.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // whoever dropped it has the error that matters
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Writes a file that appears under its name whole or not at all: a new file beside it, flushed to
/// the device, then renamed. What was there stays until then, and stays on an error.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}
