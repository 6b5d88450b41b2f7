//! Device memory, and the copies to and from it.
#![allow(unsafe_code)]

use super::{check, driver_error};
use crate::check::check_range;
use crate::error::Result;
use cudarc::driver::{CudaStream, sys};
use std::ffi::c_void;
use std::sync::Arc;

/// Memory of a CUDA device.
#[derive(Clone, Debug)]
pub struct CudaBuffer {
    pointer: sys::CUdeviceptr,
    /// As asked for; an allocation of ours is padded to 16.
    bytes: u64,
    /// `None` for memory of the caller's.
    _owner: Option<Arc<Memory>>,
}

/// An allocation, freed with its last owner, after the work of its context.
#[derive(Debug)]
struct Memory {
    stream: Arc<CudaStream>,
    pointer: sys::CUdeviceptr,
}

impl CudaBuffer {
    /// Memory of the caller's own, aligned to 256 bytes.
    ///
    /// # Safety
    /// `pointer..pointer + bytes` is device memory of the backend's context, and lives as long as
    /// the buffer, its clones, the steps made with them, and their work.
    pub unsafe fn from_raw(pointer: u64, bytes: u64) -> Self {
        Self { pointer, bytes, _owner: None }
    }

    /// The `CUdeviceptr`.
    pub fn pointer(&self) -> u64 {
        self.pointer
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes
    }

    /// `size` bytes, zeroed in the stream's order, of which `bytes` were asked for.
    pub(super) fn zeroed(stream: &Arc<CudaStream>, bytes: u64, size: usize) -> Result<Self> {
        let what = || format!("allocating {size} bytes");
        stream.context().bind_to_thread().map_err(|e| driver_error(what(), e))?;
        let mut pointer = 0;
        // SAFETY: `pointer` outlives the call, which writes it.
        let status = unsafe { sys::cuMemAlloc_v2(&mut pointer, size) };
        let with_room = || match stream.context().mem_get_info() {
            Ok((free, total)) => format!("{} ({free} of {total} bytes are free)", what()),
            Err(_) => what(),
        };
        check(with_room, status)?;
        let memory = Memory { stream: stream.clone(), pointer };
        // SAFETY: the allocation is `size` long and ours alone.
        check(what, unsafe { sys::cuMemsetD8Async(pointer, 0, size, stream.cu_stream()) })?;
        Ok(Self { pointer, bytes, _owner: Some(Arc::new(memory)) })
    }

    /// Copies from the host in the stream's order and waits: pageable memory may be read after an
    /// asynchronous copy has returned (CUDA driver API, "API synchronization behavior").
    pub(super) fn write(&self, stream: &CudaStream, offset: u64, bytes: &[u8]) -> Result<()> {
        check_range("write", self.bytes, offset, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let what = || format!("writing {} bytes", bytes.len());
        stream.context().bind_to_thread().map_err(|e| driver_error(what(), e))?;
        let source = bytes.as_ptr().cast::<c_void>();
        // SAFETY: the source is `bytes`, which lives beyond the synchronise; the target was checked.
        check(what, unsafe {
            sys::cuMemcpyHtoDAsync_v2(
                self.pointer + offset,
                source,
                bytes.len(),
                stream.cu_stream(),
            )
        })?;
        stream.synchronize().map_err(|e| driver_error(what(), e))
    }

    /// Waits for the stream's work and copies to the host.
    pub(super) fn read(&self, stream: &CudaStream, offset: u64, len: u64) -> Result<Vec<u8>> {
        check_range("read", self.bytes, offset, len)?;
        let mut bytes = vec![0u8; len as usize];
        if len == 0 {
            return Ok(bytes);
        }
        let what = || format!("reading {len} bytes");
        stream.context().bind_to_thread().map_err(|e| driver_error(what(), e))?;
        let target = bytes.as_mut_ptr().cast::<c_void>();
        // SAFETY: the target is `bytes`, which lives beyond the synchronise; the source was checked.
        check(what, unsafe {
            sys::cuMemcpyDtoHAsync_v2(
                target,
                self.pointer + offset,
                bytes.len(),
                stream.cu_stream(),
            )
        })?;
        stream.synchronize().map_err(|e| driver_error(what(), e))?;
        Ok(bytes)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Steps in flight may still use it. After a failed synchronise the context is lost and the
        // memory with it; a destructor has nobody to tell.
        if self.stream.context().synchronize().is_ok() {
            // SAFETY: allocated by `zeroed`, freed once, and nothing in flight uses it now.
            let _ = unsafe { sys::cuMemFree_v2(self.pointer) };
        }
    }
}
