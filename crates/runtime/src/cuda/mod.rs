//! NVIDIA GPUs through the CUDA driver, loaded at run time; no toolkit is needed.
//!
//! An engine that has a stream already makes the backend from it ([`Cuda::from_stream`]), or
//! compiles a kernel and launches it on any stream with device pointers ([`CudaKernel::launch_raw`]).
//!
//! Steps that run again and again are [recorded](crate::Backend::record) into a graph. Or an engine captures
//! a graph of its own, in any mode: a run enqueues launches on the backend's stream, and calls nothing that a
//! capture forbids.
//!
//! ```no_run
//! use quickpick::cuda::api::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
//! use quickpick::cuda::{CudaStep, api::driver::CudaGraph};
//! use quickpick::{Backend, Cuda};
//!
//! /// `steps` must live as long as the graph, which keeps neither memory nor kernels.
//! fn captured(cuda: &Cuda, steps: &[CudaStep]) -> Result<CudaGraph, Box<dyn std::error::Error>> {
//!     let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
//!     cuda.stream().begin_capture(mode)?;
//!     let run = cuda.run(steps);
//!     // a capture ends whatever happened in it
//!     let graph = cuda.stream().end_capture(CUgraphInstantiate_flags(0))?;
//!     run?;
//!     Ok(graph.ok_or("nothing was captured")?)
//! }
//! ```
//!
//! The backend has met one GPU, an H200; the README says with which kernels. No GPU has launched its graphs yet.

mod driver;
mod launch;
mod memory;
mod recent;
mod step;
mod tensor_map;

pub use ::cudarc as api;
pub use driver::{LEAST_DRIVER, probe};
pub use launch::CudaKernel;
pub use memory::CudaBuffer;
pub use step::CudaStep;

use crate::backend::{Backend, Slice};
use crate::check::{check_operands, check_plan};
use crate::error::{Error, Result};
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{CudaContext, CudaStream, DriverError, sys};
use quickpick_kernels::{Caps, CudaCaps, KernelSpec, Plan};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The environment variable that chooses a device by its number.
pub const DEVICE_VARIABLE: &str = "QUICKPICK_CUDA_DEVICE";

/// A CUDA device and a stream of it. All work goes to that stream, in order.
#[derive(Debug)]
pub struct Cuda {
    stream: Arc<CudaStream>,
    description: String,
    caps: Caps,
    kernels: Mutex<HashMap<KernelSpec, CudaKernel>>,
}

impl Cuda {
    /// Opens the device that [`DEVICE_VARIABLE`] names, or else the first, with a stream of its own.
    pub fn open() -> Result<Self> {
        match std::env::var(DEVICE_VARIABLE) {
            Err(_) => Self::open_device(0),
            Ok(text) => {
                let number = text.parse().map_err(|_| {
                    unavailable(format!("{DEVICE_VARIABLE}={text:?} is not a number of a device"))
                })?;
                Self::open_device(number)
            }
        }
    }

    /// Opens a device by its number, with a stream of its own.
    pub fn open_device(number: usize) -> Result<Self> {
        let count = count()?;
        if number >= count {
            return Err(unavailable(match count {
                0 => "the NVIDIA driver finds no device".into(),
                _ => format!("device {number} was asked for, and there are {count}, from 0 on"),
            }));
        }
        let refused = |e| refused(number, e);
        let context = CudaContext::new(number).map_err(refused)?;
        Self::from_stream(context.new_stream().map_err(refused)?)
    }

    /// A backend on the caller's stream.
    ///
    /// Errors: [`Error::Unavailable`] if the driver is too old ([`LEAST_DRIVER`]) or the device has
    /// no sparse tensor cores (compute capability below 8.0).
    pub fn from_stream(stream: Arc<CudaStream>) -> Result<Self> {
        let version = driver::Version(probe()?);
        let asked = |e| driver_error("asking for the device's attributes".into(), e);
        let (name, caps) = facts(stream.context()).map_err(asked)?;
        let (major, minor) = (caps.sm / 10, caps.sm % 10);
        if caps.sm < 80 {
            return Err(unavailable(format!(
                "{name} has compute capability {major}.{minor}, and 8.0 is the least with sparse \
                 tensor cores"
            )));
        }
        let description = format!(
            "{name} (compute capability {major}.{minor}, {} multiprocessors, driver for CUDA \
             {version})",
            caps.sms
        );
        Ok(Self { stream, description, caps: Caps::Cuda(caps), kernels: Mutex::default() })
    }

    /// The stream, for the caller's own work, events and graph captures.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Compiles a plan's kernel, unless that is done already.
    ///
    /// Errors: the plan is not for this device; [`Error::Device`] with the driver's log.
    pub fn kernel(&self, plan: &Plan) -> Result<CudaKernel> {
        let bug = || Error::Bug(format!("{} has no PTX; it is no kernel for CUDA", plan.spec));
        self.compiled(plan, || plan.spec.text().ok_or_else(bug))
    }

    /// Compiles PTX of the caller's own for a plan, unless its spec is compiled already: a tuner's
    /// candidate, say, that is no row of the table. [`Backend::step`] finds it from then on.
    ///
    /// Errors: as of [`kernel`](Self::kernel).
    ///
    /// # Safety
    /// The text touches no more of its operands than the plan grants.
    #[allow(unsafe_code)] // it does nothing unsafe itself; what is launched later relies on the text
    pub unsafe fn adopt(&self, plan: &Plan, text: &str) -> Result<CudaKernel> {
        self.compiled(plan, || Ok(text))
    }

    fn compiled<'t>(
        &self,
        plan: &Plan,
        text: impl FnOnce() -> Result<&'t str>,
    ) -> Result<CudaKernel> {
        check_plan(plan, &self.caps)?;
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(plan.spec) {
            return Ok(kernel.clone());
        }
        let kernel = CudaKernel::compile(&self.stream, plan, text()?)?;
        kernels.insert(*plan.spec, kernel.clone());
        Ok(kernel)
    }
}

impl Backend for Cuda {
    type Buffer = CudaBuffer;
    type Step = CudaStep;

    fn name(&self) -> &'static str {
        "cuda"
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn buffer(&self, bytes: u64) -> Result<CudaBuffer> {
        let size = bytes.max(4).checked_next_multiple_of(16).and_then(|n| usize::try_from(n).ok());
        let size = size.ok_or_else(|| Error::Argument {
            what: "bytes of one buffer (the most)".into(),
            got: bytes,
            expected: usize::MAX as u64,
        })?;
        CudaBuffer::zeroed(&self.stream, bytes, size)
    }

    fn len(&self, buffer: &CudaBuffer) -> u64 {
        buffer.len()
    }

    fn write(&self, buffer: &CudaBuffer, offset: u64, bytes: &[u8]) -> Result<()> {
        buffer.write(&self.stream, offset, bytes)
    }

    fn read(&self, buffer: &CudaBuffer, offset: u64, len: u64) -> Result<Vec<u8>> {
        buffer.read(&self.stream, offset, len)
    }

    fn step(&self, plan: &Plan, operands: &[Option<Slice<CudaBuffer>>]) -> Result<CudaStep> {
        check_operands(plan, operands, CudaBuffer::len, CudaBuffer::pointer)?;
        Ok(CudaStep::new(self.kernel(plan)?.bind(plan, operands)?))
    }

    fn run(&self, steps: &[CudaStep]) -> Result<()> {
        steps.iter().try_for_each(CudaStep::enqueue)
    }

    fn record(&self, steps: &[CudaStep]) -> Result<Option<CudaStep>> {
        CudaStep::recorded(&self.stream, steps).map(Some)
    }
}

/// Names and abilities of all devices, in the order of their numbers; also of those that are too old.
pub fn devices() -> Result<Vec<(String, CudaCaps)>> {
    let found = |number| {
        let facts = CudaContext::new(number).and_then(|context| facts(&context));
        facts.map_err(|e| refused(number, e))
    };
    (0..count()?).map(found).collect()
}

fn count() -> Result<usize> {
    probe()?;
    // cuInit's CUDA_ERROR_NO_DEVICE is a sentence of the driver's own
    let count = CudaContext::device_count().map_err(|e| unavailable(words(e)))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn facts(context: &CudaContext) -> std::result::Result<(String, CudaCaps), DriverError> {
    let attribute = |which| Ok(u32::try_from(context.attribute(which)?).unwrap_or(0));
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let shared = Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
    let name = context.name()?;
    let caps = CudaCaps {
        name: Some(name.clone()),
        sm: 10 * major + minor,
        shared_bytes: attribute(shared)?,
        sms: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
    };
    Ok((name, caps))
}

fn refused(number: usize, error: DriverError) -> Error {
    unavailable(format!("device {number}: {}", words(error)))
}

fn unavailable(why: String) -> Error {
    Error::Unavailable { backend: "cuda", why }
}

fn check(what: impl FnOnce() -> String, status: sys::CUresult) -> Result<()> {
    status.result().map_err(|error| driver_error(what(), error))
}

fn driver_error(what: String, error: DriverError) -> Error {
    Error::Device { backend: "cuda", what, why: words(error) }
}

/// `CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected`. Only after the probe: this asks the
/// driver.
fn words(error: DriverError) -> String {
    let string = error.error_string().map(|s| s.to_string_lossy().into_owned());
    let string = string.unwrap_or_else(|_| "unknown to the driver".into());
    let advice = if is_lost(error.0) {
        "; work enqueued before may have caused it, and CUDA fails until the process is started anew"
    } else {
        ""
    };
    format!("{:?}: {string}{advice}", error.0)
}

/// Whether "the process must be terminated and relaunched" to use CUDA again: cuda.h says so of these.
fn is_lost(error: sys::CUresult) -> bool {
    // by number, for not every cuda.h that cudarc can be built for has 226 and 721
    matches!(error as u32, 226 | 700 | 702 | 710 | 714..=719 | 721)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_may_go_to_other_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Cuda>();
        shared::<CudaBuffer>();
        shared::<CudaKernel>();
        shared::<CudaStep>();
    }

    #[test]
    fn without_a_driver_every_door_says_so() {
        let Err(Error::Unavailable { backend: "cuda", why }) = probe() else { return };
        for error in [Cuda::open().err(), Cuda::open_device(3).err(), devices().err()] {
            assert_eq!(error.unwrap().to_string(), format!("cuda is not available: {why}"));
        }
    }
}
