//! Compiled kernels kept on disk between processes, where the driver hands them out (Vulkan).
//!
//! A file per kind of device: its name is wgpu's key for that. Before what the driver gave stand a word that says
//! whose file it is and a hash, for neither wgpu nor every driver tells a damaged body from a sound one.
#![allow(unsafe_code)] // a call whose contract is that the bytes are its own from before

use super::Wgpu;
use crate::error::{Error, Result};
use quickpick_format::write_atomic;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use wgpu::{Features, PipelineCache, PipelineCacheDescriptor};

/// The first bytes of a file.
const MAGIC: [u8; 8] = *b"qp-pipes";

/// The cache of a backend, and where it is kept.
#[derive(Debug)]
pub(super) struct Pipelines {
    cache: PipelineCache,
    path: PathBuf,
    /// Whether a kernel was compiled that the file may lack.
    grown: AtomicBool,
}

/// What a folder of compiled kernels held for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No file yet.
    Nothing,
    /// So many bytes of compiled kernels.
    Bytes(usize),
    /// A file that is of no use; the next save replaces it.
    Useless {
        /// The file.
        path: PathBuf,
        /// Why it was passed over.
        why: String,
    },
}

impl Pipelines {
    /// The cache, for the compilation of a kernel.
    pub(super) fn compiling(&self) -> &PipelineCache {
        self.grown.store(true, Relaxed);
        &self.cache
    }
}

impl Wgpu {
    /// Compiles kernels with the help of what earlier processes left in `folder`; kernels that are compiled
    /// already stay as they are. Nothing is written before [`save_pipelines`](Self::save_pipelines). A backend has
    /// one folder: of a second call only the answer counts.
    ///
    /// Only a driver's own words are safe to give back to it: whoever may write to the folder may make the driver
    /// do anything, so it should be the user's own.
    ///
    /// Errors, after which the backend works as before: [`Error::Unavailable`] where the device's API keeps no
    /// pipelines, or a caller's device was opened without `Features::PIPELINE_CACHE`; [`Error::File`] for a file
    /// that is there and cannot be read; the device's.
    pub fn load_pipelines(&self, folder: &Path) -> Result<Found> {
        let key = wgpu::util::pipeline_cache_key(&self.device.adapter_info())
            .filter(|_| self.device.features().contains(Features::PIPELINE_CACHE));
        let Some(key) = key else {
            let why = format!("{} keeps no pipelines for another process", self.description);
            return Err(Error::Unavailable { backend: "wgpu", why });
        };
        let path = folder.join(key);
        let file = match std::fs::read(&path) {
            Ok(file) => Some(file),
            Err(why) if why.kind() == ErrorKind::NotFound => None,
            Err(why) => return Err(Error::File { path, why }),
        };
        let useless = |why| Found::Useless { path: path.clone(), why };
        let (cache, found) = match file.as_deref().map(|file| self.reopened(file)) {
            Some(Ok((cache, bytes))) => (cache, Found::Bytes(bytes)),
            Some(Err(why)) => (self.pipeline_cache(None)?, useless(why)),
            None => (self.pipeline_cache(None)?, Found::Nothing),
        };
        let _ = self.pipelines.set(Pipelines { cache, path, grown: AtomicBool::new(false) });
        Ok(found)
    }

    /// Writes what [`load_pipelines`](Self::load_pipelines) and kernels compiled since have brought together, by
    /// atomic rename; makes the folder. Bytes of the file, 0 if there is nothing to write.
    ///
    /// Errors: [`Error::File`] with the path; the backend works on.
    pub fn save_pipelines(&self) -> Result<usize> {
        let Some(pipelines) = self.pipelines.get() else { return Ok(0) };
        if !pipelines.grown.swap(false, Relaxed) {
            return Ok(0);
        }
        let Some(data) = pipelines.cache.get_data() else { return Ok(0) };
        let file = sealed(&data);
        let folder = pipelines.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.and_then(|()| write_atomic(&pipelines.path, &file)).map_err(|why| {
            pipelines.grown.store(true, Relaxed);
            Error::File { path: pipelines.path.clone(), why }
        })?;
        Ok(file.len())
    }

    /// A cache of what a file holds, and how many bytes that is; or why there is none.
    fn reopened(&self, file: &[u8]) -> std::result::Result<(PipelineCache, usize), String> {
        let data = opened(file)?;
        let cache = self.pipeline_cache(Some(data)).map_err(|why| why.to_string())?;
        Ok((cache, data.len()))
    }

    /// A cache, empty or of the body of a file.
    fn pipeline_cache(&self, data: Option<&[u8]>) -> Result<PipelineCache> {
        let descriptor =
            PipelineCacheDescriptor { label: Some("quickpick"), data, fallback: false };
        self.guarded("making a pipeline cache", || {
            // SAFETY: wgpu asks for bytes that came from its own `get_data`. Those of a file that names itself ours
            // and has not changed since, by its hash, did; its folder is the caller's to guard, as the docs of
            // `load_pipelines` say. Those of another driver or device wgpu refuses itself.
            unsafe { self.device.create_pipeline_cache(&descriptor) }
        })
    }
}

/// The file of a body.
pub(super) fn sealed(data: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &hash(data).to_le_bytes(), data].concat()
}

/// The body of a file, or why it is none of ours.
fn opened(file: &[u8]) -> std::result::Result<&[u8], String> {
    let Some((head, data)) =
        file.split_first_chunk::<16>().filter(|(head, _)| head.starts_with(&MAGIC))
    else {
        return Err(format!("its {} bytes do not begin as a file of pipelines does", file.len()));
    };
    if head[8..] != hash(data).to_le_bytes() {
        return Err(format!("its {} bytes are not those that were written", file.len()));
    }
    Ok(data)
}

/// Another release of Rust may hash otherwise: then the file is written anew.
fn hash(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}
