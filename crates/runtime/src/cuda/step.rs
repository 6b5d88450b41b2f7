//! What a run hands over: a launch, or a graph of many.
#![allow(unsafe_code)] // the graph's calls; each block says why it is sound

use super::launch::Launch;
use super::{check, driver_error};
use crate::error::{Error, Result};
use cudarc::driver::{CudaStream, sys};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError};

/// What a run hands to the driver by one call: a plan bound to buffers, or a graph of such
/// ([`Backend::record`](crate::Backend::record)). Clones share it.
#[derive(Clone, Debug)]
pub struct CudaStep(Work);

#[derive(Clone, Debug)]
enum Work {
    Launch(Arc<Launch>),
    Graph(Arc<Graph>),
}

impl CudaStep {
    pub(super) fn new(launch: Launch) -> Self {
        Self(Work::Launch(Arc::new(launch)))
    }

    /// The launches of these steps, in order, as one graph. Nothing of it runs, and no stream is captured.
    pub(super) fn recorded(stream: &Arc<CudaStream>, steps: &[Self]) -> Result<Self> {
        let launches = steps.iter().flat_map(Self::launches).cloned().collect();
        Ok(Self(Work::Graph(Arc::new(Graph::new(stream, launches)?))))
    }

    fn launches(&self) -> &[Arc<Launch>] {
        match &self.0 {
            Work::Launch(launch) => std::slice::from_ref(launch),
            Work::Graph(graph) => &graph.launches,
        }
    }

    /// Enqueues it on the stream of the backend that made it.
    pub(super) fn enqueue(&self) -> Result<()> {
        match &self.0 {
            Work::Launch(launch) => launch.enqueue(),
            Work::Graph(graph) => graph.enqueue(),
        }
    }
}

/// A chain of launches that the driver holds ready. Made node by node: to capture it, a stream and what the
/// driver forbids during captures would have to be shared with the caller.
#[derive(Debug)]
struct Graph {
    stream: Arc<CudaStream>,
    graph: sys::CUgraph,
    /// Graphs are not synchronised by the driver ("Graph objects thread safety" of its manual).
    ready: Mutex<sys::CUgraphExec>,
    /// Keeps kernels and memory alive.
    launches: Vec<Arc<Launch>>,
}

// SAFETY: the handles belong to a context, not to a thread; each call here binds the context to its thread
// first, and calls on one executable graph are one after the other.
unsafe impl Send for Graph {}
// SAFETY: as above.
unsafe impl Sync for Graph {}

impl Graph {
    fn new(stream: &Arc<CudaStream>, launches: Vec<Arc<Launch>>) -> Result<Self> {
        let count = launches.len();
        let what = || format!("recording {count} launches");
        let argument = |what, got, expected| Err(Error::Argument { what, got, expected });
        let ours = launches.iter().filter(|l| Arc::ptr_eq(l.stream(), stream)).count();
        if ours < count {
            return argument(
                format!("{}: steps of this backend", what()),
                ours as u64,
                count as u64,
            );
        }
        if is_captured(stream, what)? {
            return argument(format!("{}: captures of the backend's stream", what()), 1, 0);
        }
        // from here on, an early return releases what there is
        let ready = Mutex::new(null_mut());
        let mut this = Self { stream: stream.clone(), graph: null_mut(), ready, launches };
        // SAFETY: the handle outlives the call.
        check(what, unsafe { sys::cuGraphCreate(&mut this.graph, 0) })?;
        let mut last = None;
        for launch in &this.launches {
            // SAFETY: graph and node are of this graph's making, and nobody else's yet; it holds the launches
            // until it is destroyed.
            last = Some(unsafe { launch.add(this.graph, last) }?);
        }
        let ready = this.ready.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the graph is whole, the handle outlives the call.
        check(what, unsafe { sys::cuGraphInstantiateWithFlags(ready, this.graph, 0) })?;
        // what the first run would allocate else
        // SAFETY: the executable graph and the stream are of one context.
        check(what, unsafe { sys::cuGraphUpload(*ready, stream.cu_stream()) })?;
        Ok(this)
    }

    fn enqueue(&self) -> Result<()> {
        let what = || format!("launching a graph of {} launches", self.launches.len());
        // the manual does not say what a graph's launch is in a capture; launches become its nodes
        if is_captured(&self.stream, what)? {
            return self.launches.iter().try_for_each(|launch| launch.enqueue());
        }
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the graph is of the stream's context, and holds kernels and memory, as of
        // `Launch::enqueue`.
        check(what, unsafe { sys::cuGraphLaunch(*ready, self.stream.cu_stream()) })
    }
}

/// Whether what is enqueued now becomes part of a graph of the caller's. Binds the context to the thread.
fn is_captured(stream: &CudaStream, what: impl FnOnce() -> String) -> Result<bool> {
    use sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE as NONE;
    let status = stream.capture_status().map_err(|e| driver_error(what(), e))?;
    Ok(status != NONE)
}

impl Drop for Graph {
    fn drop(&mut self) {
        // as for `Memory`; the launches, and with them their kernels and memory, go after this
        if self.stream.context().synchronize().is_err() {
            return;
        }
        let ready = *self.ready.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !ready.is_null() {
            // SAFETY: made by `new`, destroyed once; nothing of it is in flight now.
            let _ = unsafe { sys::cuGraphExecDestroy(ready) };
        }
        if !self.graph.is_null() {
            // SAFETY: as above.
            let _ = unsafe { sys::cuGraphDestroy(self.graph) };
        }
    }
}
