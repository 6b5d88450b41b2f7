//! Host memory that steps share: buffers, and the views of them that a running step holds.

use crate::backend::Slice;
use crate::check::check_range;
use crate::error::{Error, Result};
use bytemuck::{Pod, cast_slice, cast_slice_mut};
use memmap2::MmapMut;
use quickpick_kernels::{Access, Plan};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Zeroed memory in pages of its own, and so aligned to every vector. Huge pages, where the system gives such: a
/// layer's weights stream through for each token, and pages of 4 KB would have to be looked up each time.
pub(super) struct Memory(MmapMut);

impl Memory {
    pub(super) fn zeroed(bytes: u64) -> Result<Self> {
        let failed = |why: &dyn std::fmt::Display| Error::Device {
            backend: "cpu",
            what: format!("allocating {bytes} bytes"),
            why: why.to_string(),
        };
        // whole cache lines, and never none
        let len = usize::try_from(bytes).ok().and_then(|b| b.max(1).checked_next_multiple_of(64));
        let len = len.ok_or_else(|| failed(&"out of memory"))?;
        let map = MmapMut::map_anon(len).map_err(|why| failed(&why))?;
        #[cfg(target_os = "linux")]
        if len >= HUGE {
            // a wish; small pages serve as well, if slower
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self(map))
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A huge page of x86-64, and of AArch64 with pages of 4 KB.
#[cfg(target_os = "linux")]
const HUGE: usize = 2 << 20;

/// Memory on the host; clones share it.
#[derive(Clone)]
pub struct Buffer(Arc<Storage>);

struct Storage {
    bytes: u64,
    memory: RwLock<Memory>,
}

impl Buffer {
    pub(super) fn zeroed(bytes: u64) -> Result<Self> {
        Ok(Self(Arc::new(Storage { bytes, memory: RwLock::new(Memory::zeroed(bytes)?) })))
    }

    pub(super) fn len(&self) -> u64 {
        self.0.bytes
    }

    /// Tells buffers apart, and orders them.
    pub(super) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = self.range("write", offset, bytes.len() as u64)?;
        self.write_lock().bytes_mut()[range].copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let range = self.range("read", offset, len)?;
        Ok(self.read_lock().bytes()[range].to_vec())
    }

    fn range(&self, what: &str, offset: u64, len: u64) -> Result<Range<usize>> {
        check_range(&format!("cpu {what}"), self.0.bytes, offset, len)?;
        Ok(offset as usize..(offset + len) as usize)
    }

    // A panic elsewhere leaves bytes, which are always valid, behind a poisoned lock.
    fn read_lock(&self) -> RwLockReadGuard<'_, Memory> {
        self.0.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Memory> {
        self.0.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most operands that an operation has (rotary, a 2:4 linear layer).
const MAX_OPERANDS: usize = 8;

/// The operands of a step, grouped by buffer so that each is locked once, in the order of their
/// addresses so that steps on different threads cannot wait for each other in a circle.
pub(super) struct Bound(Vec<Lock>);

struct Lock {
    buffer: Buffer,
    exclusive: bool,
    /// The operands inside it, by their place in the plan, and their bytes. One if exclusive.
    operands: Vec<(usize, Range<usize>)>,
}

/// An operand while a step runs.
#[derive(Default)]
pub(super) enum View<'a> {
    #[default]
    Absent,
    Shared(&'a [u8]),
    Exclusive(&'a mut [u8]),
}

enum Guard<'a> {
    Shared(RwLockReadGuard<'a, Memory>),
    Exclusive(RwLockWriteGuard<'a, Memory>),
}

impl Bound {
    /// Groups operands that `check_operands` has accepted.
    pub(super) fn new(plan: &Plan, operands: &[Option<Slice<Buffer>>]) -> Result<Self> {
        if plan.bindings.len() > MAX_OPERANDS {
            return Err(Error::Bug(format!("{plan} has more than {MAX_OPERANDS} operands")));
        }
        let mut locks: Vec<Lock> = Vec::new();
        for (i, (binding, operand)) in plan.bindings.iter().zip(operands).enumerate() {
            let Some(slice) = operand.as_ref().filter(|_| binding.is_present()) else { continue };
            let range = slice.offset as usize..(slice.offset + binding.bytes) as usize;
            match locks.iter_mut().find(|lock| lock.buffer.id() == slice.buffer.id()) {
                Some(lock) => lock.operands.push((i, range)),
                None => locks.push(Lock {
                    buffer: slice.buffer.clone(),
                    exclusive: binding.access != Access::Read,
                    operands: vec![(i, range)],
                }),
            }
        }
        locks.sort_by_key(|lock| lock.buffer.id());
        Ok(Self(locks))
    }

    /// Locks all buffers and hands the views to `run`. Allocates nothing.
    pub(super) fn with(&self, run: impl FnOnce(&mut Views<'_>)) {
        let mut guards: [Option<Guard<'_>>; MAX_OPERANDS] = Default::default();
        for (guard, lock) in guards.iter_mut().zip(&self.0) {
            *guard = Some(match lock.exclusive {
                true => Guard::Exclusive(lock.buffer.write_lock()),
                false => Guard::Shared(lock.buffer.read_lock()),
            });
        }
        let mut views = Views::default();
        for (guard, lock) in guards.iter_mut().flatten().zip(&self.0) {
            match guard {
                Guard::Shared(memory) => {
                    for (i, range) in &lock.operands {
                        views.0[*i] = View::Shared(&memory.bytes()[range.clone()]);
                    }
                }
                Guard::Exclusive(memory) => {
                    if let [(i, range)] = lock.operands.as_slice() {
                        let bytes = memory.bytes_mut();
                        views.0[*i] = View::Exclusive(&mut bytes[range.clone()]);
                    }
                }
            }
        }
        run(&mut views);
    }
}

/// The operands of a running step, in the plan's order.
#[derive(Default)]
pub(super) struct Views<'a>([View<'a>; MAX_OPERANDS]);

impl<'a> Views<'a> {
    /// Takes an operand that is only read; empty if it is absent.
    pub(super) fn input<T: Pod>(&mut self, i: usize) -> &'a [T] {
        match std::mem::take(&mut self.0[i]) {
            View::Absent => &[],
            View::Shared(bytes) => cast_slice(bytes),
            View::Exclusive(bytes) => cast_slice(bytes),
        }
    }

    /// Takes an operand that is written; empty if it is absent.
    pub(super) fn output<T: Pod>(&mut self, i: usize) -> &'a mut [T] {
        match std::mem::take(&mut self.0[i]) {
            View::Exclusive(bytes) => cast_slice_mut(bytes),
            View::Absent | View::Shared(_) => &mut [],
        }
    }
}
