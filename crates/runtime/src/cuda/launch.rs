//! Kernels: compiled by the driver, launched on a stream.
#![allow(unsafe_code)]

use super::memory::CudaBuffer;
use super::tensor_map::{Encodings, Maps};
use super::{check, driver_error, words};
use crate::backend::Slice;
use crate::error::{Error, Result};
use cudarc::driver::{CudaStream, sys};
use quickpick_kernels::Plan;
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// Most arguments of one kernel: bindings, parameters and tensor maps together.
const MOST_ARGUMENTS: usize = 32;

/// Bytes of the JIT's error log.
const LOG_BYTES: usize = 16 << 10;

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct CudaKernel {
    function: Arc<Function>,
    /// Of the tensor maps that were launched last.
    encodings: Arc<Encodings>,
}

/// A plan bound to buffers.
#[derive(Debug)]
pub(super) struct Launch {
    kernel: CudaKernel,
    plan: Plan,
    pointers: Vec<u64>,
    maps: Maps,
    /// The memory behind the pointers.
    _operands: Vec<CudaBuffer>,
}

impl CudaKernel {
    /// Has the driver compile the plan's PTX; an error shows the compiler's log.
    pub(super) fn compile(stream: &Arc<CudaStream>, plan: &Plan, text: &str) -> Result<Self> {
        let name = plan.spec.to_string();
        let function = Function::compile(stream, &name, text, plan.shared_bytes)?;
        Ok(Self { function: Arc::new(function), encodings: Arc::new(Encodings::of(plan)) })
    }

    /// Binds operands that `check_operands` has passed.
    ///
    /// Errors: [`Error::Map`] if their memory suits no tensor map; [`Error::Device`] if the driver refuses
    /// one.
    pub(super) fn bind(
        &self,
        plan: &Plan,
        operands: &[Option<Slice<CudaBuffer>>],
    ) -> Result<Launch> {
        let (mut pointers, mut memory) = (vec![], vec![]);
        for (binding, operand) in plan.bindings.iter().zip(operands) {
            match operand {
                Some(slice) if binding.is_present() => {
                    pointers.push(slice.buffer.pointer() + slice.offset);
                    memory.push(slice.buffer.clone());
                }
                _ => pointers.push(0),
            }
        }
        let (kernel, plan) = (self.clone(), plan.clone());
        let maps = Maps::encode(&plan, &pointers)?;
        Ok(Launch { kernel, plan, pointers, maps, _operands: memory })
    }

    /// Enqueues one launch on a `CUstream`. `pointers` follow the plan's bindings, 0 for an absent
    /// one. Allocates nothing, waits for nothing. Tensor maps of the memory of its last launches are
    /// remembered (64 of them), so that the driver need not encode them anew.
    ///
    /// Errors: [`Error::Map`] if a pointer suits no tensor map of the plan's; [`Error::Device`] with the
    /// driver's words.
    ///
    /// # Safety
    /// - `plan` is the one that the kernel was compiled for, or another of the same `spec`.
    /// - `stream` is a stream of the context of the backend that compiled the kernel.
    /// - Each pointer is device memory of at least the binding's bytes, aligned to 16, and lives, as
    ///   the kernel does, until the work is done.
    /// - Memory that the kernel writes overlaps no other operand.
    pub unsafe fn launch_raw(
        &self,
        plan: &Plan,
        stream: *mut c_void,
        pointers: &[u64],
    ) -> Result<()> {
        let maps = self.encodings.maps(plan, pointers)?;
        // SAFETY: the obligations are the same.
        unsafe { self.function.launch(stream.cast(), plan, pointers, &maps) }
    }
}

impl Launch {
    /// The stream of the backend that made it.
    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.kernel.function.stream
    }

    /// Enqueues it on that stream.
    pub(super) fn enqueue(&self) -> Result<()> {
        let function = &self.kernel.function;
        // SAFETY: the backend's `step` checked lengths, alignment and aliasing; the launch keeps the
        // kernel and the memory alive, and both wait for the context before they go.
        unsafe {
            function.launch(function.stream.cu_stream(), &self.plan, &self.pointers, &self.maps)
        }
    }

    /// Adds it to a graph, behind another node or as the first.
    ///
    /// # Safety
    /// `graph` is a graph, used by no other thread meanwhile, `behind` a node of it. What is made of
    /// the graph is gone before this launch is.
    pub(super) unsafe fn add(
        &self,
        graph: sys::CUgraph,
        behind: Option<sys::CUgraphNode>,
    ) -> Result<sys::CUgraphNode> {
        let Self { kernel: CudaKernel { function, .. }, plan, pointers, maps, .. } = self;
        let what = || format!("recording {}", function.name);
        let [x, y, z] = plan.grid;
        let mut node = std::ptr::null_mut();
        let behind = behind.as_slice();
        function.with_arguments(what, plan, pointers, maps, |arguments| {
            let params = sys::CUDA_KERNEL_NODE_PARAMS {
                func: function.function,
                gridDimX: x,
                gridDimY: y,
                gridDimZ: z,
                blockDimX: plan.block,
                blockDimY: 1,
                blockDimZ: 1,
                sharedMemBytes: plan.shared_bytes,
                kernelParams: arguments,
                extra: std::ptr::null_mut(),
                // `func` says which kernel and context
                kern: std::ptr::null_mut(),
                ctx: std::ptr::null_mut(),
            };
            // SAFETY: as of `enqueue`; the driver copies the arguments into the node. The caller vouches
            // for graph and node.
            unsafe {
                sys::cuGraphAddKernelNode_v2(
                    &mut node,
                    graph,
                    behind.as_ptr(),
                    behind.len(),
                    &params,
                )
            }
        })?;
        Ok(node)
    }
}

/// A compiled kernel, unloaded with its last owner.
#[derive(Debug)]
struct Function {
    /// Keeps the context alive.
    stream: Arc<CudaStream>,
    module: sys::CUmodule,
    function: sys::CUfunction,
    name: String,
}

// SAFETY: the handles belong to a context, not to a thread; the driver's calls on them are
// thread-safe, and each call here binds the context to its thread first.
unsafe impl Send for Function {}
// SAFETY: as above; nothing is mutated through a shared reference on the host.
unsafe impl Sync for Function {}

impl Function {
    /// Has the driver compile PTX; an error shows the compiler's log. `name` is the entry point,
    /// `shared_bytes` its dynamic shared memory.
    fn compile(
        stream: &Arc<CudaStream>,
        name: &str,
        text: &str,
        shared_bytes: u32,
    ) -> Result<Self> {
        let what = || format!("compiling {name}");
        stream.context().bind_to_thread().map_err(|e| driver_error(what(), e))?;
        let nul = |_| Error::Bug(format!("{name}: a zero byte in its text or name"));
        let text = CString::new(text).map_err(nul)?;
        let entry = CString::new(name).map_err(nul)?;
        let mut log = vec![0u8; LOG_BYTES];
        let mut options = [
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG_BYTES as *mut c_void];
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is PTX that ends in zero; options and values have two elements each,
        // typed as cuda.h says (a buffer, and its size in the pointer's place); all outlive the call.
        let status = unsafe {
            sys::cuModuleLoadDataEx(
                &mut module,
                text.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if let Err(why) = status.result() {
            let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
            let log = String::from_utf8_lossy(&log[..end]);
            let why = format!("{}\n{}", words(why), log.trim_end()).trim_end().into();
            return Err(Error::Device { backend: "cuda", what: what(), why });
        }
        let function = std::ptr::null_mut();
        // from here on, an early return unloads the module
        let mut this = Self { stream: stream.clone(), module, function, name: name.into() };
        // SAFETY: the module is loaded, the name ends in zero, the handle outlives the call.
        check(what, unsafe {
            sys::cuModuleGetFunction(&mut this.function, module, entry.as_ptr())
        })?;
        if shared_bytes > 48 << 10 {
            // more than the default needs asking for (CUDA programming guide, "Shared Memory")
            use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MOST;
            // SAFETY: the function is loaded.
            check(what, unsafe {
                sys::cuFuncSetAttribute(this.function, MOST, shared_bytes as i32)
            })?;
        }
        Ok(this)
    }

    /// Enqueues one launch: pointers in the order of the plan's bindings, 0 for an absent one, then
    /// the plan's parameters, then its tensor maps. Allocates nothing, waits for nothing.
    ///
    /// # Safety
    /// The kernel is that of `plan`; each pointer is 0 where the plan's binding is absent, and else
    /// device memory of this context of at least the binding's bytes, aligned to 16, that lives until
    /// the work is done; `stream` is a stream of this context. Nothing written is another operand. The
    /// maps are the plan's, of these pointers.
    pub(super) unsafe fn launch(
        &self,
        stream: sys::CUstream,
        plan: &Plan,
        pointers: &[u64],
        maps: &Maps,
    ) -> Result<()> {
        let what = || format!("launching {}", self.name);
        let [x, y, z] = plan.grid;
        self.with_arguments(what, plan, pointers, maps, |arguments| {
            // SAFETY: the arguments are what the kernel's text takes, and the driver copies them before
            // it returns; the caller vouches for the pointers.
            unsafe {
                sys::cuLaunchKernel(
                    self.function,
                    x,
                    y,
                    z,
                    plan.block,
                    1,
                    1,
                    plan.shared_bytes,
                    stream,
                    arguments,
                    std::ptr::null_mut(),
                )
            }
        })
    }

    /// Has `call` give the driver a launch's arguments, each by its address: one u64 per binding, one u32
    /// per parameter, then 128 bytes per tensor map (plan/mod.rs). The driver knows their sizes from the
    /// kernel's text.
    fn with_arguments(
        &self,
        what: impl Fn() -> String,
        plan: &Plan,
        pointers: &[u64],
        maps: &Maps,
        call: impl FnOnce(*mut *mut c_void) -> sys::CUresult,
    ) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(|e| driver_error(what(), e))?;
        let count = pointers.len() + plan.params.len() + maps.addresses().len();
        if pointers.len() != plan.bindings.len() || count > MOST_ARGUMENTS {
            return Err(Error::Bug(format!(
                "{plan}: {} pointers, {count} arguments",
                pointers.len()
            )));
        }
        let mut arguments = [std::ptr::null_mut::<c_void>(); MOST_ARGUMENTS];
        let addresses = pointers.iter().map(|p| std::ptr::from_ref(p).cast_mut().cast());
        let addresses =
            addresses.chain(plan.params.iter().map(|p| std::ptr::from_ref(p).cast_mut().cast()));
        let addresses = addresses.chain(maps.addresses());
        for (argument, address) in arguments.iter_mut().zip(addresses) {
            *argument = address;
        }
        check(what, call(arguments.as_mut_ptr()))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // as for `Memory`
        if self.stream.context().synchronize().is_ok() {
            // SAFETY: loaded by `compile`, unloaded once; launches hold the function by `Arc`.
            let _ = unsafe { sys::cuModuleUnload(self.module) };
        }
    }
}
