//! The driver library, asked before cudarc is touched: cudarc 0.19 panics where libcuda or one of
//! its symbols is missing.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use libloading::Library;
use std::ffi::c_int;
use std::sync::OnceLock;

/// The oldest driver, as CUDA's major × 1000 + minor × 10: the kernels' `.version 8.5`
/// (`mma.sp::ordered_metadata`) came with CUDA 12.5 (PTX ISA, "Release Notes").
pub const LEAST_DRIVER: u32 = 12_050;

/// Names that cudarc tries too, in its order: so what opens here is what opens there, also where a
/// toolkit's stub, libcuda.so, lies beside the driver's libcuda.so.1.
const LIBRARIES: [&str; 3] = ["libcuda.so", "libcuda.so.1", "nvcuda.dll"];

/// Every symbol that this backend reaches, through cudarc or itself, and no other:
/// tests/tests/cuda_faults takes each away.
const SYMBOLS: [&str; 35] = [
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDriverGetVersion",
    "cuFuncSetAttribute",
    "cuGetErrorString",
    "cuGraphAddKernelNode_v2",
    "cuGraphCreate",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamIsCapturing",
    "cuStreamSynchronize",
    "cuTensorMapEncodeTiled",
];

/// The driver's CUDA version, major × 1000 + minor × 10. No driver, one without a symbol, or one
/// older than [`LEAST_DRIVER`] is [`Error::Unavailable`].
pub fn probe() -> Result<u32> {
    static PROBE: OnceLock<std::result::Result<(Library, u32), String>> = OnceLock::new();
    match PROBE.get_or_init(|| load(&LIBRARIES)) {
        Ok((_, version)) => Ok(*version),
        Err(why) => Err(Error::Unavailable { backend: "cuda", why: why.clone() }),
    }
}

fn load(names: &[&str]) -> std::result::Result<(Library, u32), String> {
    // SAFETY: opening the driver runs its initialisers, which every CUDA program does.
    let found = names.iter().find_map(|&name| unsafe { Library::new(name) }.ok());
    let library = found
        .ok_or_else(|| format!("no NVIDIA driver: none of {} can be loaded", names.join(", ")))?;
    for symbol in SYMBOLS {
        // SAFETY: the symbol is looked up, not called.
        if unsafe { library.get::<*const ()>(symbol.as_bytes()) }.is_err() {
            return Err(format!("the NVIDIA driver lacks {symbol}; it is too old or not whole"));
        }
    }
    let mut version: c_int = 0;
    // SAFETY: the signature is cuda.h's, `CUresult cuDriverGetVersion(int *)`; it may come before
    // cuInit, and writes one int.
    let status = unsafe {
        let ask = library
            .get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDriverGetVersion")
            .map_err(|why| why.to_string())?;
        ask(&mut version)
    };
    let version = u32::try_from(version).unwrap_or(0);
    match status {
        0 if version >= LEAST_DRIVER => Ok((library, version)),
        0 => Err(format!(
            "the NVIDIA driver serves CUDA {}, and {} is needed: please update the driver",
            Version(version),
            Version(LEAST_DRIVER)
        )),
        // CUDA_ERROR_STUB_LIBRARY
        34 => {
            Err("the libcuda that is found is a toolkit's stub, no driver: please take its folder \
                   off the library path"
                .into())
        }
        _ => Err(format!("the NVIDIA driver does not tell its version (CUresult {status})")),
    }
}

/// `12.5` for 12050.
pub(super) struct Version(pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_and_a_foreign_one_are_told_apart() {
        let why = load(&["libno-such-thing.so"]).unwrap_err();
        assert_eq!(why, "no NVIDIA driver: none of libno-such-thing.so can be loaded");
        if cfg!(target_os = "linux") {
            let why = load(&["libc.so.6"]).unwrap_err();
            assert!(why.contains("lacks cuCtxGetCurrent"), "{why}");
        }
        assert_eq!(Version(LEAST_DRIVER).to_string(), "12.5");
    }

    #[test]
    fn symbols_are_sorted_and_single() {
        assert!(SYMBOLS.windows(2).all(|w| w[0] < w[1]));
    }
}
