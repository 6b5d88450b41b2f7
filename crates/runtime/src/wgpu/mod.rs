//! Vulkan, Metal and DX12 through wgpu.
//!
//! An engine that has a device already makes the backend from it ([`Wgpu::from_device`]), binds its
//! own buffers at offsets ([`WgpuBuffer::from_raw`]) and encodes steps into its own pass
//! ([`WgpuStep::encode`]). Errors are caught by error scopes, which nest inside the caller's; nothing
//! is installed on a caller's device.

mod adapter;
mod kernel;
mod pipelines;
#[cfg(test)]
mod tests;

pub use ::wgpu as api;
pub use adapter::{ADAPTER_VARIABLE, Adapter, adapters, choose};
pub use kernel::WgpuStep;
pub use pipelines::Found;

use crate::backend::{Backend, Slice};
use crate::check::{check_operands, check_plan, check_range};
use crate::error::{Error, Result};
use kernel::Kernel;
use pipelines::Pipelines;
use quickpick_kernels::plan::ALIGNMENT;
use quickpick_kernels::{Caps, KernelSpec, Plan, Target};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use wgpu::{BufferUsages, ErrorFilter, PollType};

/// How long a read waits for the device.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long an error waits for the device to say that it is lost.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A wgpu device.
#[derive(Debug)]
pub struct Wgpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    description: String,
    caps: Caps,
    owner: Owner,
    kernels: Mutex<HashMap<KernelSpec, Kernel>>,
    /// What compiled kernels are kept in between processes, where that was asked for.
    pipelines: OnceLock<Pipelines>,
    /// Host-visible memory that reads pass through; grows, never shrinks.
    staging: Mutex<Option<wgpu::Buffer>>,
    /// Why the device was lost; only devices that we opened tell.
    lost: Arc<OnceLock<String>>,
    /// What an absent binding gets; a buffer may not be read and written in one dispatch.
    absent_read: WgpuBuffer,
    absent_written: WgpuBuffer,
    submissions: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

/// What a backend has asked of its device so far, through its [`Backend`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Submissions to the queue.
    pub submissions: u64,
    /// Bytes that were read back.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
}

/// Memory of a wgpu device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WgpuBuffer {
    raw: wgpu::Buffer,
    /// As asked for; `raw` is padded to 16.
    bytes: u64,
    /// The backend that made it; a buffer of the caller's own has none.
    owner: Option<Owner>,
}

/// Tells backends apart. wgpu's own numbers do not: each instance counts from the start, and takes the buffer of
/// another for its own of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner(u64);

impl Owner {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(COUNT.fetch_add(1, Relaxed))
    }

    /// Errors: [`Error::Foreign`], if another made it.
    fn check(self, owner: Option<Self>, what: impl FnOnce() -> String) -> Result<()> {
        match owner {
            Some(other) if other != self => Err(Error::Foreign { backend: "wgpu", what: what() }),
            _ => Ok(()),
        }
    }
}

impl WgpuBuffer {
    /// A buffer of the caller's own, with usage STORAGE; COPY_DST and COPY_SRC where it is to be
    /// written and read through the backend. It must be of the backend's device: wgpu does not tell whose it is.
    pub fn from_raw(raw: wgpu::Buffer) -> Self {
        Self { bytes: raw.size(), raw, owner: None }
    }

    /// The wgpu buffer; its size is padded to 16 bytes.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw
    }

    /// `bytes` from `offset` on. Padded to 16 where the buffer goes on that far, so that a shader
    /// may declare `array<vec4<u32>>` over an operand that ends in mid-vector.
    fn part(&self, offset: u64, bytes: u64) -> wgpu::BindingResource<'_> {
        let size = bytes.next_multiple_of(16).min(self.raw.size().saturating_sub(offset));
        let size = wgpu::BufferSize::new(size);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.raw, offset, size })
    }

    fn whole(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(self.raw.as_entire_buffer_binding())
    }
}

impl Wgpu {
    /// Opens the adapter that [`ADAPTER_VARIABLE`] names, or else the likely fastest, a software one
    /// if there is no other.
    pub fn open() -> Result<Self> {
        let wanted = std::env::var(ADAPTER_VARIABLE).ok();
        choose(wanted.as_deref(), true)?.open()
    }

    /// A backend on the caller's device. Nothing is installed on it: its uncaptured-error handler
    /// and its device-lost callback stay the caller's. Only the limits and features that it was
    /// opened with count. wgpu tells of a lost device by that callback alone, so here a run on one
    /// passes, and the next read fails. Nor does a device tell its sizes of cooperative matrices: it counts as one
    /// without.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        Self::new(device, queue, None, Arc::default())
    }

    /// A backend on a device of our own, which tells when it is lost.
    fn watched(device: wgpu::Device, queue: wgpu::Queue, cooperative: Option<u32>) -> Result<Self> {
        let lost = Arc::new(OnceLock::new());
        let told = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            let _ = told.set(format!("{reason:?}: {message}")); // the first reason is the cause
        });
        Self::new(device, queue, cooperative, lost)
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        cooperative: Option<u32>,
        lost: Arc<OnceLock<String>>,
    ) -> Result<Self> {
        let alignment = device.limits().min_storage_buffer_offset_alignment;
        if u64::from(alignment) > ALIGNMENT {
            let why = format!(
                "its bindings begin at multiples of {alignment} bytes; ours, of {ALIGNMENT}"
            );
            return Err(adapter::unavailable(why));
        }
        let owner = Owner::new();
        let absent = || allocate(&device, owner, 256, BufferUsages::STORAGE);
        let (absent_read, absent_written) =
            guarded(&device, &lost, "allocating 512 bytes", || (absent(), absent()))?;
        let info = device.adapter_info();
        Ok(Self {
            description: adapter::describe(&info),
            caps: Caps::Wgpu(adapter::caps(
                &info,
                &device.limits(),
                device.features(),
                cooperative,
            )),
            owner,
            kernels: Mutex::default(),
            pipelines: OnceLock::new(),
            staging: Mutex::default(),
            lost,
            absent_read,
            absent_written,
            submissions: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            device,
            queue,
        })
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Submissions and bytes so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            submissions: self.submissions.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
        }
    }

    /// Encodes steps of this backend in order into a pass of the caller's, who submits it. Writes made through
    /// [`Backend::write`] before that submission come before all of it.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>, steps: &[WgpuStep]) {
        steps.iter().for_each(|step| step.encode(pass));
    }

    fn guarded<T>(&self, what: &str, work: impl FnOnce() -> T) -> Result<T> {
        guarded(&self.device, &self.lost, what, work)
    }

    fn kernel(&self, plan: &Plan) -> Result<Kernel> {
        self.compiled(plan, || {
            plan.spec.text().ok_or_else(|| {
                Error::Bug(format!("{} has no shader; it is no kernel for wgpu", plan.spec))
            })
        })
    }

    /// Compiles WGSL of the caller's own for a plan, unless its spec is compiled already: a tuner's
    /// candidate, say, that is no row of the table. [`Backend::step`] finds it from then on.
    ///
    /// Errors: a plan that this device does not serve; the compiler's words.
    pub fn adopt(&self, plan: &Plan, text: &str) -> Result<()> {
        check_plan(plan, &self.caps)?;
        self.compiled(plan, || Ok(text)).map(drop)
    }

    fn compiled<'t>(&self, plan: &Plan, text: impl FnOnce() -> Result<&'t str>) -> Result<Kernel> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(plan.spec) {
            return Ok(kernel.clone());
        }
        let kernel = Kernel::compile(self, plan, text()?)?;
        kernels.insert(*plan.spec, kernel.clone());
        Ok(kernel)
    }

    /// Runs the steps, copies to the staging buffer, all in one submission, and maps that.
    fn read_staged(
        &self,
        steps: &[WgpuStep],
        buffer: &WgpuBuffer,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>> {
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let size = len.next_power_of_two().max(4096).min(self.device.limits().max_buffer_size);
        let host = match staging.take() {
            Some(host) if host.size() >= len => host,
            _ => self.guarded(&format!("allocating {size} bytes to read into"), || {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("quickpick staging"),
                    size,
                    usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            })?,
        };
        let (answer, mapped) = std::sync::mpsc::channel();
        let index = self.guarded("reading", || {
            let mut encoder = self.commands(steps);
            encoder.copy_buffer_to_buffer(&buffer.raw, offset, &host, 0, len);
            let index = self.submit(encoder);
            host.slice(..len).map_async(wgpu::MapMode::Read, move |result| {
                let _ = answer.send(result); // nobody listens only after an error
            });
            index
        })?;
        self.wait(index)?;
        // The answer may have fallen to another thread, whose submit or poll found it first and is
        // about to deliver it.
        match mapped.recv_timeout(PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(self.failed("mapping", why.to_string())),
            Err(_) => return Err(self.failed("mapping", "the device gave no answer".into())),
        }
        let range = host.slice(..len).get_mapped_range();
        let bytes = range.map(|r| r.to_vec()).map_err(|e| self.failed("mapping", e.to_string()))?;
        host.unmap();
        *staging = Some(host);
        self.bytes_read.fetch_add(len, Relaxed);
        Ok(bytes)
    }

    /// Errors: [`Error::Foreign`], if another backend bound one of them.
    fn check_steps(&self, steps: &[WgpuStep]) -> Result<()> {
        let mut owners = steps.iter().map(WgpuStep::owner).zip(0..);
        owners.try_for_each(|(owner, i)| self.owner.check(Some(owner), || format!("step {i}")))
    }

    /// An encoder with a pass of the steps.
    fn commands(&self, steps: &[WgpuStep]) -> wgpu::CommandEncoder {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        if !steps.is_empty() {
            self.encode(&mut encoder.begin_compute_pass(&Default::default()), steps);
        }
        encoder
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        self.submissions.fetch_add(1, Relaxed);
        self.queue.submit([encoder.finish()])
    }

    fn wait(&self, index: wgpu::SubmissionIndex) -> Result<()> {
        let poll = PollType::Wait { submission_index: Some(index), timeout: Some(PATIENCE) };
        // wgpu 30 panics where the driver reports a lost device in mid-wait (`handle_error_fatal`)
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(poll))) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(wgpu::PollError::Timeout)) => {
                Err(self.failed("waiting", format!("no answer within {} s", PATIENCE.as_secs())))
            }
            Ok(Err(why)) => Err(self.failed("waiting", why.to_string())),
            Err(_) => Err(self.failed("waiting", "the driver lost the device".into())),
        }
    }

    fn failed(&self, what: &str, why: String) -> Error {
        let why = self.lost.get().map_or(why, |reason| format!("the device was lost: {reason}"));
        Error::Device { backend: "wgpu", what: what.into(), why }
    }
}

impl Backend for Wgpu {
    type Buffer = WgpuBuffer;
    type Step = WgpuStep;

    fn name(&self) -> &'static str {
        "wgpu"
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn buffer(&self, bytes: u64) -> Result<WgpuBuffer> {
        let most = self.device.limits().max_buffer_size;
        if bytes > most {
            let what = "bytes of one buffer (the device's most)".into();
            return Err(Error::Argument { what, got: bytes, expected: most });
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let what = format!("allocating {bytes} bytes");
        self.guarded(&what, || allocate(&self.device, self.owner, bytes, usage))
    }

    fn len(&self, buffer: &WgpuBuffer) -> u64 {
        buffer.bytes
    }

    fn write(&self, buffer: &WgpuBuffer, offset: u64, bytes: &[u8]) -> Result<()> {
        check_range("write", buffer.bytes, offset, bytes.len() as u64)?;
        self.owner.check(buffer.owner, || "the buffer to be written".into())?;
        self.bytes_written.fetch_add(bytes.len() as u64, Relaxed);
        self.guarded("writing", || self.queue.write_buffer(&buffer.raw, offset, bytes))
    }

    fn read(&self, buffer: &WgpuBuffer, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.run_then_read(&[], buffer, offset, len)
    }

    /// One submission.
    fn run_then_read(
        &self,
        steps: &[WgpuStep],
        buffer: &WgpuBuffer,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>> {
        check_range("read", buffer.bytes, offset, len)?;
        self.owner.check(buffer.owner, || "the buffer to be read".into())?;
        if len > 0 {
            self.check_steps(steps)?;
            return self.read_staged(steps, buffer, offset, len);
        }
        if !steps.is_empty() {
            self.run(steps)?;
        }
        Ok(Vec::new())
    }

    fn step(&self, plan: &Plan, operands: &[Option<Slice<WgpuBuffer>>]) -> Result<WgpuStep> {
        check_plan(plan, &self.caps)?;
        check_operands(plan, operands, |b| b.bytes, |b| b.raw.clone())?;
        check_vectors(plan, operands)?;
        self.kernel(plan)?.bind(self, plan, operands)
    }

    fn run(&self, steps: &[WgpuStep]) -> Result<()> {
        self.check_steps(steps)?;
        self.guarded("running", || drop(self.submit(self.commands(steps))))
    }
}

/// Kernels of subgroups read metadata 16 bytes at a time; a caller's buffer may end in mid-vector.
fn check_vectors(plan: &Plan, operands: &[Option<Slice<WgpuBuffer>>]) -> Result<()> {
    if plan.spec.target != Target::WgslSubgroups {
        return Ok(());
    }
    for (binding, operand) in plan.bindings.iter().zip(operands) {
        let Some(slice) = operand.as_ref().filter(|_| binding.name == "metadata") else { continue };
        let expected = slice.offset + binding.bytes.next_multiple_of(16);
        let got = slice.buffer.raw.size();
        if got < expected {
            let what = format!("{}: bytes of metadata's buffer, whole vectors of 16", plan.spec);
            return Err(Error::Argument { what, got, expected });
        }
    }
    Ok(())
}

fn allocate(device: &wgpu::Device, owner: Owner, bytes: u64, usage: BufferUsages) -> WgpuBuffer {
    let descriptor = wgpu::BufferDescriptor {
        label: Some("quickpick"),
        size: bytes.max(4).next_multiple_of(16),
        usage,
        mapped_at_creation: false,
    };
    WgpuBuffer { raw: device.create_buffer(&descriptor), bytes, owner: Some(owner) }
}

/// Runs `work` inside error scopes of its own. A lost device raises no error in wgpu 30; it only
/// calls its callback, so that is asked too.
fn guarded<T>(
    device: &wgpu::Device,
    lost: &OnceLock<String>,
    what: &str,
    work: impl FnOnce() -> T,
) -> Result<T> {
    let filters = [ErrorFilter::Validation, ErrorFilter::OutOfMemory, ErrorFilter::Internal];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let value = work();
    // in reverse order, as wgpu demands; outside the web the futures are ready at once
    let mut errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop()));
    let first = errors.next();
    errors.for_each(drop);
    if first.is_some() && lost.get().is_none() {
        // a lost device calls back when its queue is empty, and only while somebody polls
        let poll = PollType::Wait { submission_index: None, timeout: Some(LAST_WORDS) };
        let _ = catch_unwind(AssertUnwindSafe(|| device.poll(poll)));
    }
    let lost = lost.get().map(|reason| format!("the device was lost: {reason}"));
    match lost.or_else(|| first.map(|error| error.to_string())) {
        None => Ok(value),
        Some(why) => Err(Error::Device { backend: "wgpu", what: what.into(), why }),
    }
}
