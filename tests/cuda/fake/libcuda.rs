//! A CUDA driver of host memory, with faults on order: what `tests/tests/cuda_faults` loads in place of
//! libcuda.so. Memory is the host's, copies are copies, kernels do nothing; but what would run is told, and
//! so is what no caller may do ([`work`]).
//!
//! This file exports exactly the functions that the backend reaches. Each call, and what it answered, is a line
//! of stderr: `fake cuInit 0`.
//!
//! `QUICKPICK_FAKE_CUDA` holds words: `devices=2`, `capability=75`, `driver=12020`, `log=none` or
//! `log=full` (what the JIT writes when it refuses), and faults. `cuMemAlloc_v2:3:2` answers the third
//! call of that function with `CUresult` 2 and does nothing; `cuLaunchKernel:1:700:lost` does so, and
//! loses the context too: from then on, every call that needs one says 700.
#![allow(non_snake_case, clippy::missing_safety_doc)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::{copy_nonoverlapping, null_mut, write_bytes};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;

/// What the JIT writes when it refuses.
const JIT_LOG: &[u8] =
    b"ptxas application ptx input, line 7; error   : Unknown modifier '.frobnicate'\n\
    ptxas fatal   : Ptx assembly aborted due to errors\0";

/// Bytes of the device's memory.
const MEMORY: usize = 1 << 30;

thread_local! {
    /// The context that the calling thread has bound.
    static CURRENT: Cell<*mut c_void> = const { Cell::new(null_mut()) };
}
/// What every call says once the context is lost.
static LOST: AtomicU32 = AtomicU32::new(0);

fn words() -> Vec<String> {
    let plan = std::env::var("QUICKPICK_FAKE_CUDA").unwrap_or_default();
    plan.split_whitespace().map(String::from).collect()
}

fn setting(key: &str) -> Option<String> {
    words().iter().find_map(|word| Some(word.strip_prefix(key)?.strip_prefix('=')?.to_string()))
}

fn number(key: &str, usual: c_int) -> c_int {
    setting(key).map_or(usual, |text| text.parse().expect("a number"))
}

/// The `CUresult` that the plan orders for this call of a function, the `nth` from 1 on.
fn ordered(name: &str, nth: u32) -> Option<u32> {
    words().iter().find_map(|word| {
        let parts: Vec<_> = word.split(':').collect();
        let [function, at, code, ref rest @ ..] = parts[..] else { return None };
        if function != name || at.parse() != Ok(nth) {
            return None;
        }
        let code = code.parse().expect("a CUresult");
        if rest == ["lost"] {
            LOST.store(code, SeqCst);
        }
        Some(code)
    })
}

/// Answers one call: as ordered, or as a lost context does, or by doing it.
fn answer(name: &str, calls: &AtomicU32, work: impl FnOnce() -> u32) -> u32 {
    let nth = 1 + calls.fetch_add(1, SeqCst);
    // errors have words, and the library a version, without a context
    let free = name.starts_with("cuGetError") || name == "cuDriverGetVersion";
    let lost = if free { 0 } else { LOST.load(SeqCst) };
    let code = ordered(name, nth).unwrap_or_else(|| if lost == 0 { work() } else { lost });
    eprintln!("fake {name} {code}");
    code
}

/// Exported functions: each answers 0 after its block, unless that returns another `CUresult`.
macro_rules! driver {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?) $work:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> u32 {
            static CALLS: AtomicU32 = AtomicU32::new(0);
            // SAFETY: the caller keeps cuda.h's contract of this function.
            #[allow(unused_unsafe, unreachable_code, clippy::unused_unit)] // some blocks are safe, some return
            answer(stringify!($name), &CALLS, || unsafe { $work; 0 })
        }
    )*};
}

mod caller;
mod work;

use work::handle;

driver! {
    fn cuDriverGetVersion(version: *mut c_int) { *version = number("driver", 12_080) }
    fn cuInit(_flags: c_uint) {}
    fn cuDeviceGetCount(count: *mut c_int) { *count = number("devices", 1) }
    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) { *device = ordinal }
    fn cuDeviceGetName(name: *mut c_char, length: c_int, _device: c_int) {
        let text = b"Fake GPU\0";
        copy_nonoverlapping(text.as_ptr().cast(), name, text.len().min(length as usize))
    }
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) {
        let capability = number("capability", 90);
        *value = match attribute {
            16 => 132,       // multiprocessors
            75 => capability / 10,
            76 => capability % 10,
            97 => 227 << 10, // shared memory of a block that opts in
            115 => 1,        // memory pools
            _ => return INVALID_VALUE,
        }
    }

    fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) {
        // a device has one, whoever retains it
        *context = (0x1000 * (1 + device as usize)) as *mut c_void
    }
    fn cuDevicePrimaryCtxRelease_v2(_device: c_int) {}
    fn cuCtxGetCurrent(context: *mut *mut c_void) { *context = CURRENT.get() }
    fn cuCtxSetCurrent(context: *mut c_void) { CURRENT.set(context) }
    fn cuCtxSynchronize() { return work::forbidden(None) }
    fn cuStreamCreate(stream: *mut *mut c_void, _flags: c_uint) { *stream = handle() }
    fn cuStreamSynchronize(stream: *mut c_void) { return work::forbidden(Some(stream)) }
    fn cuStreamIsCapturing(stream: *mut c_void, status: *mut c_int) {
        *status = work::capture_status(stream)
    }
    fn cuStreamDestroy_v2(_stream: *mut c_void) {}

    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        *free = MEMORY / 4;
        *total = MEMORY
    }
    fn cuMemAlloc_v2(pointer: *mut u64, size: usize) {
        if size > MEMORY / 4 {
            return OUT_OF_MEMORY;
        }
        let forbidden = work::forbidden(None);
        if forbidden != 0 {
            return forbidden;
        }
        // the size lies before the memory, which is aligned as a device's is
        let base = alloc_zeroed(layout(size));
        base.cast::<usize>().write(size);
        // nobody may rely on zeros
        write_bytes(base.add(HEAD), 0xa5, size);
        *pointer = base.add(HEAD) as u64;
        work::allocated(*pointer, size)
    }
    fn cuMemFree_v2(pointer: u64) {
        let code = work::freed(pointer);
        if code != 0 {
            return code;
        }
        let base = (pointer as *mut u8).sub(HEAD);
        dealloc(base, layout(base.cast::<usize>().read()))
    }
    fn cuMemsetD8Async(pointer: u64, value: u8, size: usize, _stream: *mut c_void) {
        write_bytes(pointer as *mut u8, value, size)
    }
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, size: usize, _stream: *mut c_void) {
        eprintln!("copy up {size}");
        copy_nonoverlapping(from, to as *mut u8, size)
    }
    fn cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, size: usize, _stream: *mut c_void) {
        eprintln!("copy down {size}");
        copy_nonoverlapping(from as *const u8, to, size)
    }

    fn cuModuleGetFunction(function: *mut *mut c_void, module: *mut c_void, name: *const c_char) {
        // a module is its text
        let text = CStr::from_ptr(*module.cast::<*const c_char>()).to_string_lossy();
        match work::function(module as usize, &text, &CStr::from_ptr(name).to_string_lossy()) {
            Ok(found) => *function = found,
            Err(code) => return code,
        }
    }
    fn cuModuleUnload(module: *mut c_void) { return work::unloaded(module as usize) }
    fn cuFuncSetAttribute(_function: *mut c_void, attribute: c_int, value: c_int) {
        // dynamic shared memory, beyond what needs no asking
        if attribute != 8 || value <= 48 << 10 {
            return INVALID_VALUE;
        }
    }
    fn cuLaunchKernel(
        function: *mut c_void,
        x: c_uint, y: c_uint, z: c_uint,
        block_x: c_uint, block_y: c_uint, block_z: c_uint,
        shared: c_uint,
        stream: *mut c_void,
        arguments: *mut *mut c_void,
        _extra: *mut *mut c_void,
    ) {
        let (grid, block) = ([x, y, z], [block_x, block_y, block_z]);
        return work::launch(function, grid, block, shared, stream, arguments)
    }

    fn cuGraphCreate(graph: *mut *mut c_void, _flags: c_uint) { *graph = work::graph() }
    fn cuGraphAddKernelNode_v2(
        node: *mut usize,
        graph: *mut c_void,
        behind: *const usize, count: usize,
        params: *const work::NodeParams,
    ) {
        let behind = if count == 0 { &[] } else { slice::from_raw_parts(behind, count) };
        match work::add(graph, behind, &*params) {
            Ok(made) => *node = made,
            Err(code) => return code,
        }
    }
    fn cuGraphInstantiateWithFlags(ready: *mut *mut c_void, graph: *mut c_void, _flags: u64) {
        match work::instantiate(graph) {
            Ok(made) => *ready = made,
            Err(code) => return code,
        }
    }
    fn cuGraphUpload(ready: *mut c_void, stream: *mut c_void) {
        return work::enqueue(ready, stream, false)
    }
    fn cuGraphLaunch(ready: *mut c_void, stream: *mut c_void) {
        return work::enqueue(ready, stream, true)
    }
    fn cuGraphExecDestroy(ready: *mut c_void) { return work::forget_ready(ready) }
    fn cuGraphDestroy(graph: *mut c_void) { return work::forget(graph) }

    fn cuTensorMapEncodeTiled(
        map: *mut u64,
        _dtype: c_int, rank: c_uint, address: u64,
        dims: *const u64, _strides: *const u64, _tile: *const c_uint, _steps: *const c_uint,
        _interleave: c_int, _swizzle: c_int, _promotion: c_int, _fill: c_int,
    ) {
        if address % 16 != 0 || rank != 2 {
            return INVALID_VALUE;
        }
        *map = address;
        *map.add(1) = *dims
    }

    fn cuGetErrorString(code: u32, text: *mut *const c_char) {
        let words = match code {
            2 => c"out of memory",
            100 => c"no CUDA-capable device is detected",
            218 => c"a PTX JIT compilation failed",
            222 => c"the provided PTX was compiled with an unsupported toolchain.",
            700 => c"an illegal memory access was encountered",
            719 => c"unspecified launch failure",
            999 => c"unknown error",
            _ => return INVALID_VALUE,
        };
        *text = words.as_ptr()
    }
}

const HEAD: usize = 256;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(HEAD + size, 256).expect("a size below the memory's")
}

/// Loads nothing; if a fault is ordered, writes the log where the options say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut *mut c_void,
    image: *const c_char,
    count: c_uint,
    options: *const c_int,
    values: *const *mut c_void,
) -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // SAFETY: the image ends in zero and outlives nothing here: it is copied.
    let load = || unsafe {
        let text = CStr::from_ptr(image).to_owned().into_raw();
        *module = Box::into_raw(Box::new(text)).cast();
        0
    };
    let code = answer("cuModuleLoadDataEx", &CALLS, load);
    // SAFETY: `count` options and values, typed as cuda.h says.
    let at = |option| (0..count as usize).find(|i| unsafe { *options.add(*i) } == option);
    // 5: the error log's buffer; 6: its size, in the pointer's place
    if let (true, Some(buffer), Some(size)) = (code != 0, at(5), at(6)) {
        // SAFETY: as above; no more than the size is written.
        unsafe {
            let (buffer, size) = ((*values.add(buffer)).cast::<u8>(), *values.add(size) as usize);
            match setting("log").as_deref() {
                Some("none") => {}
                Some("full") => write_bytes(buffer, b'x', size),
                _ => copy_nonoverlapping(JIT_LOG.as_ptr(), buffer, JIT_LOG.len().min(size)),
            }
        }
    }
    code
}
