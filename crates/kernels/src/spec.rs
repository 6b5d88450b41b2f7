//! One row describes a kernel: its file, entry point, bench id and test name are `to_string()`.

use crate::Weights;
use core::fmt;
use quickpick_format::{DType, Order};

/// Which operation a kernel performs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// [`Linear`](crate::Linear) with weights of this kind.
    Linear(Weights),
    /// [`RmsNorm`](crate::RmsNorm).
    RmsNorm,
    /// [`Rotary`](crate::Rotary).
    Rotary,
    /// [`Attention`](crate::Attention).
    Attention,
    /// [`SwiGlu`](crate::SwiGlu).
    SwiGlu,
    /// [`Gather`](crate::Gather).
    Gather,
    /// [`SpmmCsr`](crate::SpmmCsr).
    SpmmCsr,
    /// [`ArgMax`](crate::ArgMax).
    ArgMax,
    /// [`Quantize`](crate::Quantize).
    Quantize,
    /// [`Packing`](crate::Packing), from dense to 2:4.
    Pack24,
    /// [`Packing`](crate::Packing), from 2:4 to dense.
    Unpack24,
}

/// What the kernel is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// PTX, NVIDIA sm_80 and later.
    Sm80,
    /// PTX, NVIDIA sm_90a: compute capability 9.0 and no other.
    Sm90a,
    /// WGSL without any optional feature: f16 and s8 packed in u32, ≤ 16 KiB workgroup memory,
    /// ≤ 256 invocations.
    WgslPortable,
    /// WGSL with `enable f16`.
    WgslF16,
    /// WGSL with subgroups of at least [`OCTET`] lanes, within the portable limits otherwise.
    WgslSubgroups,
    /// WGSL with `enable f16` and wgpu's experimental cooperative matrices, 8×8 of f16 with sums in f32, in
    /// subgroups of 32 lanes. No such kernel has met a device.
    WgslCoop8,
    /// The same with matrices of 16×16.
    WgslCoop16,
    /// The host: SIMD chosen at run time, portable otherwise.
    Cpu,
}

impl Target {
    /// Whether it is written in PTX, for NVIDIA.
    pub const fn is_ptx(self) -> bool {
        matches!(self, Self::Sm80 | Self::Sm90a)
    }
    /// Whether it is written in WGSL.
    pub const fn is_wgsl(self) -> bool {
        !matches!(self, Self::Sm80 | Self::Sm90a | Self::Cpu)
    }
    /// Rows and columns of its cooperative matrices.
    pub const fn cooperative(self) -> Option<u32> {
        match self {
            Self::WgslCoop8 => Some(8),
            Self::WgslCoop16 => Some(16),
            _ => None,
        }
    }
}

/// Neighbouring lanes of a subgroup that share X by shuffles.
pub const OCTET: u32 = 8;

/// A tile of the problem: m output features × n tokens × k input features (logical).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Output features.
    pub m: u32,
    /// Tokens.
    pub n: u32,
    /// Input features.
    pub k: u32,
}

/// How the work is cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A tile per workgroup, `stages` tiles of k in flight, `warps.0 × warps.1` warps over (m, n).
    /// WGSL: `stages` is 1 and `warps` is the thread grid over (m, n), with subgroups that of octets,
    /// with cooperative matrices that of subgroups.
    Tiled {
        /// The workgroup's tile.
        tile: Tile,
        /// Tiles of k in flight.
        stages: u32,
        /// Warps (PTX), threads or octets (WGSL) along m and n.
        warps: (u32, u32),
    },
    /// On Hopper's warpgroups.
    Wgmma(Wgmma),
    /// For few tokens: workgroups of `warps` warps that stay, tiles of `tile.m` features × at most `tile.n`
    /// tokens, weights loaded straight to registers, k split over warps and workgroups (the plan decides).
    Skinny {
        /// Features × tokens × the k step of one warp.
        tile: Tile,
        /// Warps of a workgroup.
        warps: u32,
        /// 8-bit floats become f16 in registers, and are multiplied so: for tensor cores whose `mma` does
        /// not take them.
        halves: bool,
    },
    /// For one to a few tokens: `lanes` lanes share
    /// [`GEMV_FEATURES`](crate::plan::GEMV_FEATURES) output features, each a reduction over them.
    Gemv {
        /// Output features of a workgroup.
        rows: u32,
        /// Lanes that share output features, a power of two.
        lanes: u32,
        /// Tokens of a workgroup, which loads a weight once for all of them.
        tokens: u32,
    },
    /// One workgroup of `threads` per row (norm, gather, argmax, quantising), per row-block (SwiGLU, rotary), per (token,
    /// head) (attention), per token and block of rows (CSR) or per words of metadata (packing).
    Rowwise {
        /// Threads of a workgroup.
        threads: u32,
    },
    /// The host decides at run time.
    Host,
}

/// How the work is cut up on Hopper: blocks stay, and take one tile of Y after the other. A block has a
/// warpgroup that copies, by tensor maps, and two that multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wgmma {
    /// A block's tile.
    pub tile: Tile,
    /// Tiles of k in flight.
    pub stages: u32,
    /// Where W's values are multiplied from.
    pub values: Values,
    /// How the two warpgroups share the work.
    pub teams: Teams,
    /// Blocks of a cluster, along m, that share each tile of X: a power of two, 1 to 8.
    pub cluster: u32,
}

/// Where `wgmma` takes W's values from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Values {
    /// From shared memory, where tensor copies bring them; W lies row-major.
    Shared,
    /// From registers, straight from memory; W lies in register order
    /// ([`Order::FragmentSm80`]). Spares shared memory the reading of A.
    Registers,
}

/// How two warpgroups share the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Teams {
    /// Each takes half of the rows of every tile.
    Cooperative,
    /// They take whole tiles by turns: while one multiplies the other stores.
    PingPong,
}

impl Wgmma {
    /// Warpgroups that multiply.
    pub const CONSUMERS: u32 = 2;
    /// Threads of a block: theirs, and those of the one that copies.
    pub const THREADS: u32 = 128 * (Self::CONSUMERS + 1);

    /// Features of a tile that one warpgroup multiplies.
    pub const fn rows(&self) -> u32 {
        match self.teams {
            Teams::Cooperative => self.tile.m / Self::CONSUMERS,
            Teams::PingPong => self.tile.m,
        }
    }
    /// Warpgroups that share a tile.
    pub const fn owners(&self) -> u32 {
        match self.teams {
            Teams::Cooperative => Self::CONSUMERS,
            Teams::PingPong => 1,
        }
    }
}

/// A kernel, as a row of [`KERNELS`](crate::KERNELS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelSpec {
    /// The operation.
    pub op: OpKind,
    /// The element type: weights and activations of a linear layer, the narrow side of the others.
    pub dtype: DType,
    /// The language and its level.
    pub target: Target,
    /// How the work is cut up.
    pub form: Form,
}

impl KernelSpec {
    /// The order in which the kernel reads 2:4 weights; `None` for everything else.
    pub const fn order(&self) -> Option<Order> {
        match (self.op, self.target, self.form) {
            (OpKind::Linear(Weights::Sparse24), Target::Sm80, Form::Skinny { .. }) => {
                Some(Order::FragmentSm80)
            }
            (OpKind::Linear(Weights::Sparse24), Target::Sm80, _) => Some(Order::MmaSpSm80),
            (OpKind::Linear(Weights::Sparse24), Target::Sm90a, Form::Wgmma(w)) => {
                Some(match w.values {
                    Values::Shared => Order::WgmmaSm90,
                    Values::Registers => Order::FragmentSm80,
                })
            }
            (OpKind::Linear(Weights::Sparse24), Target::Cpu, _) => Some(Order::Strips),
            (OpKind::Linear(Weights::Sparse24), _, _) => Some(Order::RowMajor),
            _ => None,
        }
    }

    /// Whether it can multiply by scales: it has bindings of w_scale and x_scale then, between x and bias.
    pub const fn scales(&self) -> bool {
        matches!(self.form, Form::Wgmma(_) | Form::Host)
            || matches!(self.op, OpKind::Linear(_)) && self.dtype.bytes() == 1
    }

    /// The least compute capability × 10 that its PTX runs on; 0 for other languages.
    pub const fn least_sm(&self) -> u32 {
        match self.target {
            // products of 8-bit floats, and `cvt` of them
            Target::Sm80 if matches!(self.op, OpKind::Linear(_)) && self.dtype.is_float8() => 89,
            Target::Sm80 => 80,
            Target::Sm90a => 90,
            _ => 0,
        }
    }

    /// Whether it multiplies 8-bit floats as such: `mma` does from sm_89 on (PTX ISA 9.7.14.5).
    pub const fn multiplies_float8(&self) -> bool {
        let halves = matches!(self.form, Form::Skinny { halves: true, .. });
        matches!(self.op, OpKind::Linear(_)) && self.dtype.is_float8() && !halves
    }

    const fn is_sparse(&self) -> bool {
        matches!(self.op, OpKind::Linear(Weights::Sparse24))
    }

    /// What k of a linear layer is a multiple of.
    pub const fn k_multiple(&self) -> u32 {
        match (self.target, self.form) {
            // half a tile: the first one begins that much before the matrix, or not at all
            (Target::Sm80, Form::Tiled { tile, .. }) => tile.k / 2,
            // rows of dense W come in pieces of 64 bytes
            (Target::Sm80, Form::Skinny { .. }) if !self.is_sparse() => {
                64 / self.dtype.bytes() as u32
            }
            _ => 32,
        }
    }

    /// Whether it can transpose Y.
    pub const fn transposes(&self) -> bool {
        matches!(self.form, Form::Wgmma(_) | Form::Skinny { .. } | Form::Host)
    }

    /// Whether its epilogue multiplies gates and ups ([`Epilogue::gated`](crate::Epilogue::gated)).
    pub const fn gates(&self) -> bool {
        match self.form {
            Form::Skinny { .. } | Form::Host => true,
            Form::Tiled { .. } => matches!(self.target, Target::Sm80),
            _ => false,
        }
    }

    /// Blocks of a cluster, along x; 1 without clusters. The text demands as many.
    pub const fn cluster(&self) -> u32 {
        match self.form {
            Form::Wgmma(w) => w.cluster,
            _ => 1,
        }
    }

    /// The folder and ending of its file, from the repository's root; `None` for the host's rows.
    pub const fn folder(&self) -> Option<(&'static str, &'static str)> {
        match self.target {
            Target::Sm80 | Target::Sm90a => Some(("ptx", "ptx")),
            Target::WgslPortable
            | Target::WgslF16
            | Target::WgslSubgroups
            | Target::WgslCoop8
            | Target::WgslCoop16 => Some(("shaders", "wgsl")),
            Target::Cpu => None,
        }
    }
}

/// `spmm24_f16_mma_sp_sm80_128x128x64_s3`, `gemm_bf16_mma_sm80_…`, `rmsnorm_f16_wgsl`.
impl fmt::Display for KernelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sparse = self.is_sparse();
        let gemv = matches!(self.form, Form::Gemv { .. });
        f.write_str(match (self.op, gemv) {
            (OpKind::Linear(Weights::Sparse24), false) => "spmm24",
            (OpKind::Linear(Weights::Sparse24), true) => "spmv24",
            (OpKind::Linear(Weights::Dense), false) => "gemm",
            (OpKind::Linear(Weights::Dense), true) => "gemv",
            (OpKind::RmsNorm, _) => "rmsnorm",
            (OpKind::Rotary, _) => "rotary",
            (OpKind::Attention, _) => "attention",
            (OpKind::SwiGlu, _) => "swiglu",
            (OpKind::Gather, _) => "gather",
            (OpKind::SpmmCsr, _) => "spmm_csr",
            (OpKind::ArgMax, _) => "argmax",
            (OpKind::Quantize, _) => "quantize",
            (OpKind::Pack24, _) => "pack24",
            (OpKind::Unpack24, _) => "unpack24",
        })?;
        write!(f, "_{}", self.dtype)?;
        f.write_str(match (self.target, self.op) {
            (Target::Sm80, OpKind::Linear(_)) if sparse => "_mma_sp",
            (Target::Sm80, OpKind::Linear(_)) => "_mma",
            (Target::Sm90a, OpKind::Linear(_)) if sparse => "_wgmma_sp",
            (Target::Sm90a, OpKind::Linear(_)) => "_wgmma",
            (Target::Sm80 | Target::Sm90a, _) => "",
            (Target::WgslPortable, _) => "_wgsl",
            (Target::WgslF16, _) => "_wgsl_f16",
            (Target::WgslSubgroups, _) => "_wgsl_subgroups",
            (Target::WgslCoop8, _) => "_wgsl_coop8",
            (Target::WgslCoop16, _) => "_wgsl_coop16",
            (Target::Cpu, _) => "_cpu",
        })?;
        match self.target {
            Target::Sm80 => write!(f, "_sm{}", self.least_sm())?,
            Target::Sm90a => f.write_str("_sm90a")?,
            _ => {}
        }
        match self.form {
            Form::Tiled { tile, stages, .. } => {
                write!(f, "_{}x{}x{}", tile.m, tile.n, tile.k)?;
                if self.target == Target::Sm80 { write!(f, "_s{stages}") } else { Ok(()) }
            }
            Form::Wgmma(w) => {
                let Wgmma { tile, stages, values, teams, cluster } = w;
                write!(f, "_{}x{}x{}_s{stages}", tile.m, tile.n, tile.k)?;
                f.write_str(if values == Values::Registers { "_rs" } else { "" })?;
                f.write_str(if teams == Teams::PingPong { "_pp" } else { "" })?;
                if cluster > 1 { write!(f, "_c{cluster}") } else { Ok(()) }
            }
            Form::Skinny { tile, warps, halves } => {
                write!(f, "_skinny_{}x{}x{}_w{warps}", tile.m, tile.n, tile.k)?;
                f.write_str(if halves { "_f16" } else { "" })
            }
            Form::Gemv { rows, lanes, tokens } => {
                write!(f, "_{rows}x{lanes}")?;
                if tokens > 1 { write!(f, "x{tokens}") } else { Ok(()) }
            }
            Form::Rowwise { .. } | Form::Host => Ok(()),
        }
    }
}
