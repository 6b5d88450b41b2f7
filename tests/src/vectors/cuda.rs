//! A CUDA device. The one file of this crate that launches kernels, so the one with `unsafe`.
#![allow(unsafe_code)]

use super::device::{Device, Failure, buffers, split};
use super::forms::{Form, Target};
use super::probe::{ENTRY, Probe};
use super::sweep::Inputs;
use quickpick::cuda::api::driver::{CudaFunction, LaunchConfig, PushKernelArg, sys};
use quickpick::kernels::Caps;
use quickpick::{Backend, Cuda};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};

/// A GPU, through the CUDA driver.
#[derive(Debug)]
pub struct CudaDevice {
    cuda: Cuda,
    /// Compute capability × 10.
    sm: u32,
    /// Compiled probes, by their text.
    compiled: Mutex<HashMap<String, CudaFunction>>,
}

/// Bytes of the compiler's log.
const LOG_BYTES: usize = 16 << 10;

impl CudaDevice {
    /// Opens the device that `QUICKPICK_CUDA_DEVICE` names, or else the first.
    pub fn open() -> quickpick::Result<Self> {
        let cuda = Cuda::open()?;
        let sm = match cuda.caps() {
            Caps::Cuda(caps) => caps.sm,
            _ => 0, // the backend's caps are CUDA's
        };
        Ok(Self { cuda, sm, compiled: Mutex::default() })
    }

    fn supports(&self, form: &Form) -> Result<(), Failure> {
        let (has, needs) = (self.sm, form.target);
        let runs = match needs {
            Target::From(sm) => has >= sm,
            Target::Exactly(sm) => has == sm,
        };
        let why = || format!("{} needs {needs}, and this device is sm_{has}", form.name);
        if runs { Ok(()) } else { Err(Failure::Unsupported(why())) }
    }

    fn compile(&self, probe: &Probe) -> Result<CudaFunction, Failure> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = compiled.get(&probe.text) {
            return Ok(function.clone());
        }
        let module = self.cuda.stream().context().load_module(probe.text.as_str().into());
        let module = module.map_err(|error| {
            let log = self.log(&probe.text).unwrap_or_default();
            Failure::Failed(format!("compiling {}: {error}: {log}", probe.form.name))
        })?;
        let function = module.load_function(ENTRY).map_err(failed("finding the entry point"))?;
        compiled.insert(probe.text.clone(), function.clone());
        Ok(function)
    }

    /// What the driver's compiler says of a text that it refused: cudarc's own call keeps no log.
    fn log(&self, text: &str) -> Option<String> {
        let text = CString::new(text).ok()?;
        let mut log = vec![0u8; LOG_BYTES];
        let mut options = [
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG_BYTES as *mut c_void];
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is text that ends in zero; options and values have two elements each,
        // typed as cuda.h says (a buffer, and its size in the pointer's place); all outlive the call.
        // A refused text gives no module to unload; `compile` bound the context to this thread.
        let status = unsafe {
            sys::cuModuleLoadDataEx(
                &mut module,
                text.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if status.result().is_ok() {
            // SAFETY: the module was loaded just now, and nothing refers to it.
            let _ = unsafe { sys::cuModuleUnload(module) };
        }
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        Some(String::from_utf8_lossy(&log[..end]).trim_end().to_string())
    }
}

impl Device for CudaDevice {
    fn name(&self) -> String {
        self.cuda.describe()
    }

    fn run(&self, probe: &Probe, trials: &[Inputs]) -> Result<Vec<Vec<u32>>, Failure> {
        let form = probe.form;
        self.supports(form)?;
        let function = self.compile(probe)?;
        let cuda = &self.cuda;
        // buffers live until D is read, which waits for the launch
        let mut memory = Vec::new();
        for (name, words) in buffers(form, trials) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            memory.push(cuda.upload(&bytes).map_err(failed(name))?);
        }
        let d_bytes = 4 * (form.d_words() * trials.len()) as u64;
        // poison: a device that writes nothing must not pass for one that answers zeros
        memory.push(cuda.upload(&vec![0xFF; d_bytes as usize]).map_err(failed("d"))?);
        let pointers: Vec<u64> = memory.iter().map(|buffer| buffer.pointer()).collect();
        let stream = cuda.stream();
        let mut launch = stream.launch_builder(&function);
        for pointer in &pointers {
            launch.arg(pointer);
        }
        let config = LaunchConfig {
            grid_dim: (trials.len() as u32, 1, 1),
            block_dim: (form.lanes() as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the kernel takes one u64 per pointer, in this order (`Probe::text`); block i < grid
        // touches the i-th trial of each buffer only, and the buffers hold one part per trial.
        unsafe { launch.launch(config) }.map_err(failed("launching"))?;
        let d = memory.last().map(|d| cuda.read(d, 0, d_bytes));
        d.map_or(Ok(vec![]), |bytes| Ok(split(form, &bytes.map_err(failed("running"))?)))
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Failed(format!("{what}: {error}"))
}
