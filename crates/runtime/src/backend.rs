//! What a backend does: hold memory, bind plans to it, run them.

use crate::error::Result;
use quickpick_kernels::{Caps, Plan};

/// A device that runs plans.
///
/// The life of an operation: `select` or `spec.plan` makes a [`Plan`]; [`Backend::step`] compiles it
/// (once per kernel) and binds buffers; [`Backend::run`] runs a list of steps in order, as often as
/// is wanted. A run allocates nothing and waits for nothing; [`Backend::read`] waits.
pub trait Backend {
    /// Device memory, zeroed when made; clones share it.
    type Buffer: Clone;
    /// A plan bound to buffers.
    type Step;

    /// `cpu`, `wgpu` or `cuda`.
    fn name(&self) -> &'static str;

    /// The device in words: model, driver, version.
    fn describe(&self) -> String;

    /// What the device can do.
    fn caps(&self) -> &Caps;

    /// Allocates zeroed memory.
    fn buffer(&self, bytes: u64) -> Result<Self::Buffer>;

    /// Bytes of a buffer, as they were asked for.
    fn len(&self, buffer: &Self::Buffer) -> u64;

    /// Copies from the host, in order with runs. `offset` and the length are multiples of 4.
    fn write(&self, buffer: &Self::Buffer, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Waits for all runs so far, then copies to the host. `offset` and `len` are multiples of 4.
    fn read(&self, buffer: &Self::Buffer, offset: u64, len: u64) -> Result<Vec<u8>>;

    /// Compiles the plan's kernel, unless that is done already, and binds one slice per binding of
    /// the plan, in order; `None` for an absent one. Checks every length, and that nothing that is
    /// written shares a buffer with another operand.
    fn step(&self, plan: &Plan, operands: &[Option<Slice<Self::Buffer>>]) -> Result<Self::Step>;

    /// Enqueues the steps in order. Allocates nothing, waits for nothing.
    fn run(&self, steps: &[Self::Step]) -> Result<()>;

    /// One step that does what these do, in order, and costs the host one call each time it is run: on CUDA
    /// a graph. It keeps what they hold. `None` where the backend has nothing better than the list.
    ///
    /// ```
    /// # use quickpick::{Backend, Result};
    /// /// Runs the same steps again and again, as cheaply as the backend can.
    /// fn repeat<B: Backend>(backend: &B, steps: &[B::Step], times: u32) -> Result<()> {
    ///     let recorded = backend.record(steps)?;
    ///     let steps = recorded.as_ref().map_or(steps, std::slice::from_ref);
    ///     (0..times).try_for_each(|_| backend.run(steps))
    /// }
    /// ```
    ///
    /// Errors: a step of another backend; on CUDA also while the backend's stream is being captured.
    fn record(&self, steps: &[Self::Step]) -> Result<Option<Self::Step>> {
        let _ = steps;
        Ok(None)
    }

    /// [`run`](Self::run), then [`read`](Self::read): of what the steps wrote, say. A backend for which a
    /// hand-over is dear makes one of both.
    fn run_then_read(
        &self,
        steps: &[Self::Step],
        buffer: &Self::Buffer,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>> {
        self.run(steps)?;
        self.read(buffer, offset, len)
    }

    /// Allocates memory that holds `bytes`.
    fn upload(&self, bytes: &[u8]) -> Result<Self::Buffer> {
        let padded = bytes.len().next_multiple_of(4);
        let buffer = self.buffer(padded.max(4) as u64)?;
        if padded == bytes.len() {
            self.write(&buffer, 0, bytes)?;
        } else {
            let mut copy = bytes.to_vec();
            copy.resize(padded, 0);
            self.write(&buffer, 0, &copy)?;
        }
        Ok(buffer)
    }
}

/// A part of a buffer, from `offset` bytes on. Offsets honour 256 bytes, the largest alignment that
/// a storage binding may demand.
#[derive(Clone, Debug)]
pub struct Slice<B> {
    /// The buffer.
    pub buffer: B,
    /// Where the operand starts, bytes.
    pub offset: u64,
}

impl<B> From<B> for Slice<B> {
    fn from(buffer: B) -> Self {
        Self { buffer, offset: 0 }
    }
}
