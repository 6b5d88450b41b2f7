//! What is decided: every number that a launch needs, computed once, printable.
//!
//! The call of a kernel is the same in every language. PTX takes one 64-bit pointer per binding, in
//! order, then the parameters as `.u32`, then the tensor maps by value. WGSL has one storage buffer
//! per binding, in order, in group 0, then one uniform buffer of the parameters, padded to 16 bytes.
//! The host's functions take both as slices. An absent binding is a null pointer, a small buffer of
//! the runtime's, or an empty slice; a tensor map of an absent binding is 128 zero bytes, which the kernel
//! does not use.
//!
//! Where a device of wgpu binds less at a time than an operand has, a plan is several such launches:
//! [`Plan::launches`].

mod csr;
mod linear;
mod map_rule;
mod packing;
mod parts;
mod quantize;
mod rows;
mod skinny;
mod split;
mod tensor_map;
mod wgmma;

use crate::{Caps, DType, Form, KernelSpec, OCTET, OpKind, Problem, Target, Unsupported, Wgmma};
use alloc::vec::Vec;
use core::fmt;
pub use csr::CSR_LANES;
pub use linear::{COOP_LANES, COOP_STRIDE, GEMV_FEATURES};
pub use map_rule::{MapError, MapRule};
pub use packing::order_number;
pub use parts::{ALIGNMENT, Part};
pub(crate) use skinny::SKINNY_RESIDENT;
pub use skinny::skinny_stages;
pub(crate) use split::resident;
pub use tensor_map::TensorMap;
pub use wgmma::{STORE_BYTES, STORE_PIECE, whole_blocks};

/// Largest dimension: 32-bit element indices of the kernels stay below 2³¹.
const MAX_DIM: u32 = 1 << 24;

/// Largest head of the attention and rotary kernels, elements.
pub const MAX_HEAD_DIM: u32 = 128;

/// Positions that each invocation of the WGSL attention scores at a time.
pub const ATTENTION_POSITIONS: u32 = 4;

/// Invocations that combine the parts of a reduction in WGSL.
pub const REDUCERS: u32 = 8;

/// How a kernel touches a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    Read,
    /// Only written, every element of it.
    Write,
    /// Read and written, or written in part.
    ReadWrite,
}

/// One operand in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// Its name in the kernel's text.
    pub name: &'static str,
    /// How it is touched.
    pub access: Access,
    /// Bytes that the kernel may touch; 0 where the problem has no such operand.
    pub bytes: u64,
}

impl Binding {
    pub(crate) const fn read(name: &'static str, bytes: u64) -> Self {
        Self { name, access: Access::Read, bytes }
    }
    pub(crate) const fn write(name: &'static str, bytes: u64) -> Self {
        Self { name, access: Access::Write, bytes }
    }
    pub(crate) const fn read_write(name: &'static str, bytes: u64) -> Self {
        Self { name, access: Access::ReadWrite, bytes }
    }
    /// Whether the problem has this operand.
    pub const fn is_present(&self) -> bool {
        self.bytes > 0
    }
}

/// Every number that a launch needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The kernel.
    pub spec: &'static KernelSpec,
    /// The problem that it was planned for.
    pub problem: Problem,
    /// Workgroups (x, y, z).
    pub grid: [u32; 3],
    /// Threads of a workgroup, along x.
    pub block: u32,
    /// Dynamic shared memory (PTX) or workgroup memory (WGSL), bytes.
    pub shared_bytes: u32,
    /// The operands in device memory, in the kernel's order.
    pub bindings: Vec<Binding>,
    /// The parameters; an f32 goes by its bits.
    pub params: Vec<u32>,
    /// The tensor maps that follow the parameters; none before Hopper.
    pub maps: Vec<TensorMap>,
    /// The launches that take its place where it binds more than the device does at a time; else none. See
    /// [`launches`](Self::launches).
    pub parts: Vec<Part>,
}

impl Plan {
    /// Bytes of the workspace binding, 0 without one. The caller owns it, zeroes it once, and shares it at most
    /// between equal plans that do not run at the same time: counters lie behind the sums, zero again after each
    /// run, where another plan would have sums.
    pub fn workspace_bytes(&self) -> u64 {
        self.bindings.iter().find(|b| b.name == "workspace").map_or(0, |b| b.bytes)
    }
}

impl KernelSpec {
    /// Threads of a workgroup.
    pub const fn threads(&self) -> u32 {
        let lanes_of_warp = match self.target {
            Target::Sm80 => 32,
            Target::WgslSubgroups => OCTET,
            Target::WgslCoop8 | Target::WgslCoop16 => COOP_LANES,
            _ => 1,
        };
        match self.form {
            Form::Tiled { warps, .. } => warps.0 * warps.1 * lanes_of_warp,
            Form::Wgmma(_) => Wgmma::THREADS,
            Form::Skinny { warps, .. } => warps * lanes_of_warp,
            Form::Gemv { rows, lanes, .. } => rows / GEMV_FEATURES * lanes,
            Form::Rowwise { threads } => threads,
            Form::Host => 1,
        }
    }

    /// Plans this kernel for a problem on a device, or says which rule forbids it.
    pub fn plan(&'static self, problem: &Problem, caps: &Caps) -> Result<Plan, Unsupported> {
        // another operation's row has nothing to say of the device
        if self.op != operation(problem) {
            return Err(Unsupported::Operation);
        }
        self.check_language(caps)?;
        let mut plan = self.whole(problem, caps)?;
        if let Caps::Wgpu(w) = caps {
            plan.parts = parts::parts(&plan, w.binding_bytes, |part| self.whole(part, caps))?;
        }
        plan.check_limits(caps)?;
        Ok(plan)
    }

    /// The plan as one launch, whatever the device's limits.
    fn whole(&'static self, problem: &Problem, caps: &Caps) -> Result<Plan, Unsupported> {
        match (self.op, problem) {
            (OpKind::Linear(weights), Problem::Linear(p)) if weights == p.weights => {
                linear::plan(self, p, caps)
            }
            (OpKind::RmsNorm, Problem::RmsNorm(p)) => rows::rmsnorm(self, p),
            (OpKind::Rotary, Problem::Rotary(p)) => rows::rotary(self, p),
            (OpKind::Attention, Problem::Attention(p)) => rows::attention(self, p),
            (OpKind::SwiGlu, Problem::SwiGlu(p)) => rows::swiglu(self, p),
            (OpKind::Gather, Problem::Gather(p)) => rows::gather(self, p),
            (OpKind::SpmmCsr, Problem::SpmmCsr(p)) => csr::spmm(self, p),
            (OpKind::ArgMax, Problem::ArgMax(p)) => rows::argmax(self, p),
            (OpKind::Quantize, Problem::Quantize(p)) => quantize::plan(self, p),
            (OpKind::Pack24, Problem::Pack24(p)) | (OpKind::Unpack24, Problem::Unpack24(p)) => {
                packing::packing(self, p)
            }
            _ => Err(Unsupported::Operation),
        }
    }

    fn check_language(&self, caps: &Caps) -> Result<(), Unsupported> {
        match (self.target, caps) {
            (Target::Cpu, Caps::Cpu) | (Target::WgslPortable, Caps::Wgpu(_)) => Ok(()),
            (Target::WgslF16, Caps::Wgpu(w)) if w.f16 => Ok(()),
            (Target::WgslF16, Caps::Wgpu(_)) => Err(Unsupported::Feature("shader-f16")),
            (Target::WgslSubgroups, Caps::Wgpu(w)) => match w.subgroup {
                0 => Err(Unsupported::Feature("subgroups")),
                lanes => range("lanes of a subgroup", lanes, OCTET, u32::MAX),
            },
            (Target::WgslCoop8 | Target::WgslCoop16, Caps::Wgpu(w)) => {
                match self.target.cooperative() == w.cooperative && w.f16 {
                    true => Ok(()),
                    false => Err(Unsupported::Feature("cooperative matrices of its size")),
                }
            }
            // ptxas rewrites such products for 9.x to 11.x as several of f16, and runs out of registers
            (Target::Sm80, Caps::Cuda(c))
                if self.multiplies_float8() && (90..120).contains(&c.sm) =>
            {
                Err(Unsupported::Feature("tensor cores whose `mma` takes 8-bit floats"))
            }
            (Target::Sm80, Caps::Cuda(c)) if c.sm >= self.least_sm() => Ok(()),
            (Target::Sm80, Caps::Cuda(c)) => Err(Unsupported::Limit {
                what: "compute capability × 10",
                needs: self.least_sm() as u64,
                has: c.sm as u64,
            }),
            (Target::Sm90a, Caps::Cuda(c)) => range("compute capability × 10", c.sm, 90, 90),
            _ => Err(Unsupported::Language { needs: self.target }),
        }
    }
}

const fn operation(problem: &Problem) -> OpKind {
    match problem {
        Problem::Linear(p) => OpKind::Linear(p.weights),
        Problem::RmsNorm(_) => OpKind::RmsNorm,
        Problem::Rotary(_) => OpKind::Rotary,
        Problem::Attention(_) => OpKind::Attention,
        Problem::SwiGlu(_) => OpKind::SwiGlu,
        Problem::Gather(_) => OpKind::Gather,
        Problem::SpmmCsr(_) => OpKind::SpmmCsr,
        Problem::ArgMax(_) => OpKind::ArgMax,
        Problem::Quantize(_) => OpKind::Quantize,
        Problem::Pack24(_) => OpKind::Pack24,
        Problem::Unpack24(_) => OpKind::Unpack24,
    }
}

impl Plan {
    /// wgpu does not check workgroup memory itself (wgpu 30), so the plan does.
    fn check_limits(&self, caps: &Caps) -> Result<(), Unsupported> {
        let launches = self.launches();
        let grid = launches.iter().flat_map(|part| part.grid).max().unwrap_or(0) as u64;
        let ranges = launches.iter().flat_map(|part| &part.ranges);
        let binding = ranges.map(|range| range.end - range.start).max().unwrap_or(0);
        let rules: &[(&'static str, u64, u64)] = match caps {
            Caps::Cpu => &[],
            Caps::Wgpu(w) => &[
                ("bytes of workgroup memory", self.shared_bytes as u64, w.workgroup_bytes as u64),
                ("invocations in a workgroup", self.block as u64, w.invocations as u64),
                ("workgroups along one dimension", grid, w.workgroups as u64),
                ("bytes in one binding", binding, w.binding_bytes),
                ("storage buffers", self.bindings.len() as u64, w.storage_buffers as u64),
            ],
            Caps::Cuda(c) => &[
                ("bytes of shared memory", self.shared_bytes as u64, c.shared_bytes as u64),
                ("blocks along y or z", self.grid[1].max(self.grid[2]) as u64, 65535),
            ],
        };
        for &(what, needs, has) in rules {
            if needs > has {
                return Err(Unsupported::Limit { what, needs, has });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.grid;
        write!(
            f,
            "{}: grid {x}×{y}×{z}, block {}, shared {} B",
            self.spec, self.block, self.shared_bytes
        )?;
        if self.workspace_bytes() > 0 {
            write!(f, ", workspace {} B", self.workspace_bytes())?;
        }
        if !self.parts.is_empty() {
            write!(f, ", in {} parts", self.parts.len())?;
        }
        Ok(())
    }
}

pub(crate) fn bytes(dtype: DType, elements: u64) -> u64 {
    dtype.bytes() as u64 * elements
}

pub(crate) fn multiple(dim: &'static str, size: u32, of: u32) -> Result<(), Unsupported> {
    if !size.is_multiple_of(of) { Err(Unsupported::Multiple { dim, size, of }) } else { Ok(()) }
}

pub(crate) fn range(dim: &'static str, size: u32, min: u32, max: u32) -> Result<(), Unsupported> {
    if size < min || size > max { Err(Unsupported::Range { dim, size, min, max }) } else { Ok(()) }
}

pub(crate) fn same_type(
    what: &'static str,
    kernel: DType,
    asked: DType,
) -> Result<(), Unsupported> {
    if kernel != asked { Err(Unsupported::Type { what, kernel, asked }) } else { Ok(()) }
}
