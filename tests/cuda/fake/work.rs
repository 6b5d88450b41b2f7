//! What was handed to the fake driver: launches, graphs of them, captures. Each launch that would run is a
//! line of stderr, whichever way it came: `launch STREAM KERNEL GRID BLOCK SHARED PARAMETERS`. What no
//! caller may do is one as well: `misuse WHAT`.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_void};
use std::fmt;
use std::sync::{Mutex, PoisonError};

const INVALID_VALUE: u32 = 1;
const ILLEGAL_STATE: u32 = 401;
const NOT_FOUND: u32 = 500;
const CAPTURE_UNSUPPORTED: u32 = 900;
const CAPTURE_INVALIDATED: u32 = 901;

/// A kernel of a loaded module: its name, and the bytes of each of its parameters, as its text says.
struct Kernel {
    module: usize,
    name: String,
    sizes: Vec<usize>,
}

/// One launch, with copies of its parameters, in hexadecimal digits as they lie.
#[derive(Clone)]
struct Launch {
    module: usize,
    pointers: Vec<u64>,
    text: String,
}

/// What a graph holds: each launch is behind the one before.
type Graph = Vec<Launch>;

struct Capture {
    graph: Graph,
    /// Other threads, too, are held to what captures allow.
    global: bool,
    invalid: bool,
}

struct State {
    kernels: BTreeMap<usize, Kernel>,
    memory: BTreeMap<u64, u64>,
    graphs: BTreeMap<usize, Graph>,
    ready: BTreeMap<usize, Graph>,
    captures: BTreeMap<usize, Capture>,
}

static STATE: Mutex<State> = Mutex::new(State {
    kernels: BTreeMap::new(),
    memory: BTreeMap::new(),
    graphs: BTreeMap::new(),
    ready: BTreeMap::new(),
    captures: BTreeMap::new(),
});

fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn misuse(what: fmt::Arguments<'_>) -> u32 {
    eprintln!("misuse {what}");
    INVALID_VALUE
}

/// A handle that is nothing but different from others.
pub fn handle() -> *mut c_void {
    Box::into_raw(Box::new(0u64)).cast()
}

/// Memory comes and goes.
pub fn allocated(pointer: u64, size: usize) {
    with(|s| s.memory.insert(pointer, size as u64));
}

/// Answers whether it may go.
pub fn freed(pointer: u64) -> u32 {
    with(|s| {
        let Some(size) = s.memory.remove(&pointer) else {
            return misuse(format_args!("freeing {pointer:#x} twice"));
        };
        let within = |at: &u64| (pointer..pointer + size).contains(at);
        let used = s.ready.values().flatten().find(|launch| launch.pointers.iter().any(within));
        used.map_or(0, |launch| misuse(format_args!("freeing memory of a graph's {}", launch.text)))
    })
}

/// Finds a kernel in a module's text.
pub fn function(module: usize, text: &str, name: &str) -> Result<*mut c_void, u32> {
    let (_, rest) = text.split_once(&format!(".entry {name}(")).ok_or(NOT_FOUND)?;
    let (list, _) = rest.split_once(')').ok_or(NOT_FOUND)?;
    let size = |param: &str| match param {
        _ if param.contains(".u64") => 8,
        _ if param.contains(".u32") || param.contains(".f32") => 4,
        _ => {
            param.split(['[', ']']).nth(1).and_then(|n| n.parse().ok()).expect("an array of bytes")
        }
    };
    let sizes = list.split(',').map(size).collect();
    let kernel = Kernel { module, name: name.into(), sizes };
    let function = handle();
    with(|s| s.kernels.insert(function as usize, kernel));
    Ok(function)
}

/// A module goes, and its kernels with it.
pub fn unloaded(module: usize) -> u32 {
    with(|s| {
        s.kernels.retain(|_, kernel| kernel.module != module);
        let used = s.ready.values().flatten().find(|launch| launch.module == module);
        used.map_or(0, |launch| misuse(format_args!("unloading a graph's {}", launch.text)))
    })
}

impl State {
    /// # Safety
    /// `arguments` points to the address of each parameter.
    unsafe fn launch(
        &self,
        function: *mut c_void,
        grid: [c_uint; 3],
        block: [c_uint; 3],
        shared: c_uint,
        arguments: *mut *mut c_void,
    ) -> Result<Launch, u32> {
        let threads: c_uint = block.iter().product();
        if grid.iter().product::<c_uint>() == 0 || threads == 0 || threads > 1024 {
            return Err(INVALID_VALUE);
        }
        let Some(kernel) = self.kernels.get(&(function as usize)) else {
            return Err(misuse(format_args!("launching what is not loaded")));
        };
        let (mut pointers, mut text) = (vec![], String::new());
        for (i, &size) in kernel.sizes.iter().enumerate() {
            // SAFETY: the caller vouches for the address, the kernel's text for the size.
            let bytes =
                unsafe { std::slice::from_raw_parts((*arguments.add(i)).cast::<u8>(), size) };
            if let Ok(pointer) = bytes.try_into().map(u64::from_ne_bytes) {
                pointers.push(pointer);
            }
            text.push(' ');
            bytes.iter().for_each(|byte| text += &format!("{byte:02x}"));
        }
        let allocated = |at: &u64| {
            let below = self.memory.range(..=at).next_back();
            *at == 0 || below.is_some_and(|(from, size)| *at < from + size)
        };
        if let Some(at) = pointers.iter().find(|at| !allocated(at)) {
            return Err(misuse(format_args!("{} takes {at:#x}, which is no memory", kernel.name)));
        }
        let text = format!("{} {grid:?} {block:?} {shared}{text}", kernel.name).replace(", ", ",");
        Ok(Launch { module: kernel.module, pointers, text })
    }
}

/// # Safety
/// As of `cuLaunchKernel`.
pub unsafe fn launch(
    function: *mut c_void,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: *mut c_void,
    arguments: *mut *mut c_void,
) -> u32 {
    with(|s| {
        // SAFETY: the caller vouches for the arguments.
        let launch = match unsafe { s.launch(function, grid, block, shared, arguments) } {
            Ok(launch) => launch,
            Err(code) => return code,
        };
        match s.captures.get_mut(&(stream as usize)) {
            Some(capture) if capture.invalid => return CAPTURE_INVALIDATED,
            Some(capture) => capture.graph.push(launch),
            None => eprintln!("launch {stream:p} {}", launch.text),
        }
        0
    })
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
pub struct NodeParams {
    function: *mut c_void,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
    kernel: *mut c_void,
    context: *mut c_void,
}

/// A graph without a node.
pub fn graph() -> *mut c_void {
    with(|s| s.insert(vec![]))
}

impl State {
    fn insert(&mut self, graph: Graph) -> *mut c_void {
        let made = handle();
        self.graphs.insert(made as usize, graph);
        made
    }
}

/// Adds a launch behind the last one; a node is its place, from 1 on.
///
/// # Safety
/// As of `cuGraphAddKernelNode_v2`.
pub unsafe fn add(graph: *mut c_void, behind: &[usize], params: &NodeParams) -> Result<usize, u32> {
    with(|s| {
        let NodeParams { function, grid, block, shared, arguments, .. } = *params;
        if !(params.extra.is_null() && params.kernel.is_null() && params.context.is_null()) {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller vouches for the arguments.
        let launch = unsafe { s.launch(function, grid, block, shared, arguments) }?;
        let graph = s.graphs.get_mut(&(graph as usize)).ok_or(INVALID_VALUE)?;
        let last = graph.len();
        let in_order = if last == 0 { behind.is_empty() } else { behind == [last] };
        if !in_order {
            return Err(misuse(format_args!("node {} is behind {behind:?}", last + 1)));
        }
        graph.push(launch);
        Ok(last + 1)
    })
}

/// An executable copy of a graph.
pub fn instantiate(graph: *mut c_void) -> Result<*mut c_void, u32> {
    with(|s| {
        let copy = s.graphs.get(&(graph as usize)).ok_or(INVALID_VALUE)?.clone();
        let ready = handle();
        s.ready.insert(ready as usize, copy);
        Ok(ready)
    })
}

/// Puts a ready graph on a stream; runs it there, if that is wanted.
pub fn enqueue(ready: *mut c_void, stream: *mut c_void, run: bool) -> u32 {
    with(|s| {
        if s.captures.contains_key(&(stream as usize)) {
            return misuse(format_args!("a graph on a stream that is captured"));
        }
        let Some(graph) = s.ready.get(&(ready as usize)) else {
            return misuse(format_args!("a graph that is none, or none any more"));
        };
        let launches = graph.iter().filter(|_| run);
        launches.for_each(|launch| eprintln!("launch {stream:p} {}", launch.text));
        0
    })
}

/// Destroys a ready graph.
pub fn forget_ready(ready: *mut c_void) -> u32 {
    with(|s| s.ready.remove(&(ready as usize)).map_or(INVALID_VALUE, |_| 0))
}

/// Destroys a graph.
pub fn forget(graph: *mut c_void) -> u32 {
    with(|s| s.graphs.remove(&(graph as usize)).map_or(INVALID_VALUE, |_| 0))
}

/// `CUstreamCaptureStatus`.
pub fn capture_status(stream: *mut c_void) -> c_int {
    with(|s| s.captures.get(&(stream as usize)).map_or(0, |c| 1 + c_int::from(c.invalid)))
}

/// What a capture does not allow: of its stream, or (`None`) of the whole device. It invalidates the capture.
pub fn forbidden(stream: Option<*mut c_void>) -> u32 {
    with(|s| {
        let mut code = 0;
        for (of, capture) in &mut s.captures {
            if stream.map_or(capture.global, |stream| stream as usize == *of) {
                capture.invalid = true;
                code = CAPTURE_UNSUPPORTED;
            }
        }
        code
    })
}

/// Begins a capture, of a caller's own.
pub fn begin(stream: *mut c_void, mode: c_uint) -> u32 {
    with(|s| {
        if s.captures.contains_key(&(stream as usize)) {
            return ILLEGAL_STATE;
        }
        let capture = Capture { graph: vec![], global: mode == 0, invalid: false };
        s.captures.insert(stream as usize, capture);
        0
    })
}

/// Ends it.
pub fn end(stream: *mut c_void) -> Result<*mut c_void, u32> {
    with(|s| match s.captures.remove(&(stream as usize)) {
        None => Err(ILLEGAL_STATE),
        Some(capture) if capture.invalid => Err(CAPTURE_INVALIDATED),
        Some(capture) => Ok(s.insert(capture.graph)),
    })
}
