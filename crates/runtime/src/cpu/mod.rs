//! The host as a backend: SIMD chosen at run time, threads from rayon's current pool.
//!
//! Every element of an output is one thread's work in one fixed order, so results do not depend on
//! the number of threads. Accumulation is in f32, of 8-bit integers in i32.

mod attention;
mod epilogue;
mod linear;
mod math;
mod memory;
mod packing;
mod quantize;
mod rows;
#[allow(unsafe_code)] // intrinsics and raw loads; each block says why it is sound
mod simd;
mod spmm_csr;
#[cfg(test)]
mod tests;

use crate::backend::{Backend, Slice};
use crate::check::check_operands;
use crate::error::{Error, Result};
pub use memory::Buffer;
use memory::{Bound, Memory, Views};
use quickpick_kernels::{Caps, DType, Plan, Problem};
use simd::Isa;
pub use simd::Path;
use std::sync::{Mutex, PoisonError};

/// The host's processor.
///
/// Work runs in the rayon pool that is current where [`Backend::run`] is called: the global one, or
/// `pool.install(|| cpu.run(…))`.
#[derive(Clone, Debug)]
pub struct Cpu {
    isa: Isa,
    caps: Caps,
}

impl Cpu {
    /// The host with the widest instructions that it has.
    pub fn new() -> Self {
        Self { isa: Isa::best(), caps: Caps::Cpu }
    }

    /// The host with this instruction set, or an error if it lacks it.
    pub fn with_path(path: Path) -> Result<Self> {
        let isa = Isa::new(path).ok_or_else(|| Error::Unavailable {
            backend: "cpu",
            why: format!("the processor or this build lacks {path} ({})", path.needs()),
        })?;
        Ok(Self { isa, caps: Caps::Cpu })
    }

    /// The instruction set in use.
    pub fn path(&self) -> Path {
        self.isa.path()
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

/// What runs a step: its operands in the plan's order, and scratch memory.
type Run = fn(Isa, &Problem, &mut Views<'_>, &mut [f32]);

/// A plan bound to buffers, with the scratch memory that it needs.
pub struct Step {
    problem: Problem,
    run: Run,
    operands: Bound,
    scratch: Mutex<Memory>,
}

impl Backend for Cpu {
    type Buffer = Buffer;
    type Step = Step;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn describe(&self) -> String {
        let threads = rayon::current_num_threads();
        let s = if threads == 1 { "" } else { "s" };
        format!("{} CPU, {}, {threads} thread{s}", std::env::consts::ARCH, self.path())
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn buffer(&self, bytes: u64) -> Result<Buffer> {
        Buffer::zeroed(bytes)
    }

    fn len(&self, buffer: &Buffer) -> u64 {
        buffer.len()
    }

    fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        buffer.write(offset, bytes)
    }

    fn read(&self, buffer: &Buffer, offset: u64, len: u64) -> Result<Vec<u8>> {
        buffer.read(offset, len)
    }

    fn step(&self, plan: &Plan, operands: &[Option<Slice<Buffer>>]) -> Result<Step> {
        check_operands(plan, operands, Buffer::len, Buffer::id)?;
        let unknown = || Error::Bug(format!("the CPU has no function for {plan}"));
        let (run, scratch) = function(&plan.problem, self.isa).ok_or_else(unknown)?;
        Ok(Step {
            problem: plan.problem,
            run,
            operands: Bound::new(plan, operands)?,
            scratch: Mutex::new(Memory::zeroed(4 * scratch as u64)?),
        })
    }

    fn run(&self, steps: &[Step]) -> Result<()> {
        // one hand-over to the pool for the whole list, not one for each loop in it
        rayon::scope(|_| {
            for step in steps {
                let mut scratch = step.scratch.lock().unwrap_or_else(PoisonError::into_inner);
                let scratch = bytemuck::cast_slice_mut(scratch.bytes_mut());
                step.operands.with(|views| (step.run)(self.isa, &step.problem, views, scratch));
            }
        });
        Ok(())
    }
}

/// The function of a problem with these types, and the f32s of scratch that it needs.
fn function(problem: &Problem, isa: Isa) -> Option<(Run, usize)> {
    use DType::{BF16, E4M3, E5M2, F16, F32, I8};
    use half::{bf16, f16};
    use quickpick_format::{E4m3, E5m2};
    let run: Run = match problem {
        Problem::Linear(p) => match (p.dtype, p.out) {
            (F16, F16) => linear::run::<f16, f16>,
            (F16, F32) => linear::run::<f16, f32>,
            (BF16, BF16) => linear::run::<bf16, bf16>,
            (BF16, F32) => linear::run::<bf16, f32>,
            (F32, F32) => linear::run::<f32, f32>,
            (E4M3, F16) => linear::run::<E4m3, f16>,
            (E4M3, BF16) => linear::run::<E4m3, bf16>,
            (E4M3, F32) => linear::run::<E4m3, f32>,
            (E5M2, F16) => linear::run::<E5m2, f16>,
            (E5M2, BF16) => linear::run::<E5m2, bf16>,
            (E5M2, F32) => linear::run::<E5m2, f32>,
            (I8, F16) => linear::run::<i8, f16>,
            (I8, BF16) => linear::run::<i8, bf16>,
            (I8, F32) => linear::run::<i8, f32>,
            _ => return None,
        },
        Problem::RmsNorm(p) => match p.out {
            F16 => rows::rmsnorm::<f16>,
            BF16 => rows::rmsnorm::<bf16>,
            F32 => rows::rmsnorm::<f32>,
            _ => return None,
        },
        Problem::Rotary(p) => match p.cache {
            F16 => rows::rotary::<f16>,
            BF16 => rows::rotary::<bf16>,
            F32 => rows::rotary::<f32>,
            _ => return None,
        },
        Problem::Attention(p) => match (p.cache, p.out) {
            (F16, F16) => attention::run::<f16, f16>,
            (F16, F32) => attention::run::<f16, f32>,
            (BF16, BF16) => attention::run::<bf16, bf16>,
            (BF16, F32) => attention::run::<bf16, f32>,
            (F32, F32) => attention::run::<f32, f32>,
            _ => return None,
        },
        Problem::SwiGlu(p) => match p.out {
            F16 => rows::swiglu::<f16>,
            BF16 => rows::swiglu::<bf16>,
            F32 => rows::swiglu::<f32>,
            _ => return None,
        },
        Problem::Gather(p) => match p.dtype {
            F16 => rows::gather::<f16>,
            BF16 => rows::gather::<bf16>,
            F32 => rows::gather::<f32>,
            _ => return None,
        },
        Problem::SpmmCsr(p) => match p.dtype {
            F16 => spmm_csr::run::<f16>,
            BF16 => spmm_csr::run::<bf16>,
            _ => return None,
        },
        Problem::ArgMax(_) => rows::argmax,
        Problem::Quantize(p) => match (p.dtype, p.out) {
            (F16, I8) => quantize::run::<f16, i8>,
            (BF16, I8) => quantize::run::<bf16, i8>,
            (F32, I8) => quantize::run::<f32, i8>,
            (F16, E4M3) => quantize::run::<f16, E4m3>,
            (BF16, E4M3) => quantize::run::<bf16, E4m3>,
            (F32, E4M3) => quantize::run::<f32, E4m3>,
            (F16, E5M2) => quantize::run::<f16, E5m2>,
            (BF16, E5M2) => quantize::run::<bf16, E5m2>,
            (F32, E5M2) => quantize::run::<f32, E5m2>,
            _ => return None,
        },
        Problem::Pack24(p) if matches!(p.dtype, F16 | BF16) => packing::pack,
        Problem::Unpack24(p) if matches!(p.dtype, F16 | BF16) => packing::unpack,
        Problem::Pack24(_) | Problem::Unpack24(_) => return None,
    };
    let scratch = match problem {
        Problem::Linear(p) => linear::scratch(p, isa),
        Problem::SpmmCsr(p) => spmm_csr::scratch(p),
        _ => 0,
    };
    Some((run, scratch))
}
