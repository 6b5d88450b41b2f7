//! The kernels. One kernel is one row; everything else derives from it.

use crate::DType::{self, BF16, E4M3, E5M2, F16, F32, I8};
use crate::Weights::{Dense, Sparse24};
use crate::spec::{Form, KernelSpec, OpKind, Target, Teams, Tile, Values, Wgmma};
use Target::{Cpu, Sm80, Sm90a, WgslCoop8, WgslCoop16, WgslF16, WgslPortable, WgslSubgroups};
use Teams::{Cooperative, PingPong};
use Values::{Registers, Shared};

/// Every kernel, in the order in which ties are decided: the earlier row wins.
#[rustfmt::skip] // one kernel, one line
pub const KERNELS: &[KernelSpec] = &[
    // mma.sp on Ampere and later; tiles after CUTLASS's generator (facts: gpu-kernels §5)
    tiled(Sparse24, F16,  Sm80, tile(128, 256, 64), 3, (2, 4)),
    tiled(Sparse24, F16,  Sm80, tile(128, 128, 64), 3, (2, 2)),
    tiled(Sparse24, F16,  Sm80, tile(128,  64, 64), 4, (4, 1)),
    tiled(Sparse24, F16,  Sm80, tile( 64,  64, 64), 4, (2, 2)),
    tiled(Sparse24, BF16, Sm80, tile(128, 256, 64), 3, (2, 4)),
    tiled(Sparse24, BF16, Sm80, tile(128, 128, 64), 3, (2, 2)),
    tiled(Sparse24, BF16, Sm80, tile(128,  64, 64), 4, (4, 1)),
    tiled(Sparse24, BF16, Sm80, tile( 64,  64, 64), 4, (2, 2)),
    // of 8 bits; floats from sm_89 on
    tiled(Sparse24, I8,   Sm80, tile(128, 256, 128), 3, (2, 4)),
    tiled(Sparse24, I8,   Sm80, tile(128, 128, 128), 3, (2, 2)),
    tiled(Sparse24, I8,   Sm80, tile(128,  64, 128), 4, (4, 1)),
    tiled(Sparse24, I8,   Sm80, tile( 64,  64, 128), 4, (2, 2)),
    tiled(Sparse24, E4M3, Sm80, tile(128, 128, 128), 3, (2, 2)),
    tiled(Sparse24, E4M3, Sm80, tile( 64,  64, 128), 4, (2, 2)),
    tiled(Sparse24, E5M2, Sm80, tile(128, 128, 128), 3, (2, 2)),
    tiled(Sparse24, E5M2, Sm80, tile( 64,  64, 128), 4, (2, 2)),
    // for 1 to 16 tokens, at the memory's speed; wider tiles read X less often
    skinny(Sparse24, F16,  tile(16, 16,  64), 8),
    skinny(Sparse24, F16,  tile(32, 16,  64), 8),
    skinny(Sparse24, BF16, tile(16, 16,  64), 8),
    skinny(Sparse24, BF16, tile(32, 16,  64), 8),
    skinny(Sparse24, I8,   tile(16, 16, 128), 8),
    skinny(Sparse24, I8,   tile(32, 16, 128), 8),
    skinny(Sparse24, E4M3, tile(16, 16, 128), 8),
    skinny(Sparse24, E4M3, tile(32, 16, 128), 8),
    skinny(Sparse24, E5M2, tile(16, 16, 128), 8),
    skinny(Sparse24, E5M2, tile(32, 16, 128), 8),
    // the same W multiplied as f16: for compute capability 9.0 to 11.x
    in_halves(skinny(Sparse24, E4M3, tile(16, 16, 128), 8)),
    in_halves(skinny(Sparse24, E4M3, tile(32, 16, 128), 8)),
    in_halves(skinny(Sparse24, E5M2, tile(16, 16, 128), 8)),
    in_halves(skinny(Sparse24, E5M2, tile(32, 16, 128), 8)),
    // their dense twins
    tiled(Dense, F16,  Sm80, tile(128, 256, 64), 3, (2, 4)),
    tiled(Dense, F16,  Sm80, tile(128, 128, 64), 3, (2, 2)),
    tiled(Dense, F16,  Sm80, tile(128,  64, 64), 4, (4, 1)),
    tiled(Dense, F16,  Sm80, tile( 64,  64, 64), 4, (2, 2)),
    tiled(Dense, BF16, Sm80, tile(128, 256, 64), 3, (2, 4)),
    tiled(Dense, BF16, Sm80, tile(128, 128, 64), 3, (2, 2)),
    tiled(Dense, BF16, Sm80, tile(128,  64, 64), 4, (4, 1)),
    tiled(Dense, BF16, Sm80, tile( 64,  64, 64), 4, (2, 2)),
    tiled(Dense, I8,   Sm80, tile(128, 256, 128), 3, (2, 4)),
    tiled(Dense, I8,   Sm80, tile(128, 128, 128), 3, (2, 2)),
    tiled(Dense, I8,   Sm80, tile(128,  64, 128), 4, (4, 1)),
    tiled(Dense, I8,   Sm80, tile( 64,  64, 128), 4, (2, 2)),
    tiled(Dense, E4M3, Sm80, tile(128, 128, 128), 3, (2, 2)),
    tiled(Dense, E4M3, Sm80, tile( 64,  64, 128), 4, (2, 2)),
    tiled(Dense, E5M2, Sm80, tile(128, 128, 128), 3, (2, 2)),
    tiled(Dense, E5M2, Sm80, tile( 64,  64, 128), 4, (2, 2)),
    skinny(Dense, F16,  tile(16, 16,  64), 8),
    skinny(Dense, BF16, tile(16, 16,  64), 8),
    skinny(Dense, I8,   tile(16, 16, 128), 8),
    skinny(Dense, E4M3, tile(16, 16, 128), 8),
    skinny(Dense, E5M2, tile(16, 16, 128), 8),
    // wgmma.sp on Hopper, which alone reaches its peak (facts: gpu-kernels §2.3), and dense twins
    wgmma(Sparse24, F16,  tile(128, 256,  64), 4, Shared,    Cooperative, 1),
    wgmma(Sparse24, F16,  tile(128, 256,  64), 4, Shared,    Cooperative, 2),
    wgmma(Sparse24, F16,  tile(128, 256, 128), 2, Shared,    Cooperative, 2),
    wgmma(Sparse24, F16,  tile(128, 256,  64), 6, Registers, Cooperative, 4),
    wgmma(Sparse24, F16,  tile(256, 128,  64), 6, Shared,    Cooperative, 2),
    wgmma(Sparse24, F16,  tile(128, 128, 128), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, F16,  tile( 64, 256,  64), 6, Registers, PingPong,    2),
    wgmma(Sparse24, F16,  tile( 64, 128, 128), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, BF16, tile(128, 256,  64), 4, Shared,    Cooperative, 1),
    wgmma(Sparse24, BF16, tile(128, 256,  64), 4, Shared,    Cooperative, 2),
    wgmma(Sparse24, BF16, tile(128, 256, 128), 2, Shared,    Cooperative, 2),
    wgmma(Sparse24, BF16, tile(128, 256,  64), 6, Registers, Cooperative, 4),
    wgmma(Sparse24, BF16, tile(256, 128,  64), 6, Shared,    Cooperative, 2),
    wgmma(Sparse24, BF16, tile(128, 128, 128), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, BF16, tile( 64, 256,  64), 6, Registers, PingPong,    2),
    wgmma(Sparse24, BF16, tile( 64, 128, 128), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, E4M3, tile(128, 256, 128), 4, Shared,    Cooperative, 2),
    wgmma(Sparse24, E4M3, tile(128, 128, 256), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, E4M3, tile( 64, 128, 256), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, E5M2, tile(128, 256, 128), 4, Shared,    Cooperative, 2),
    wgmma(Sparse24, E5M2, tile(128, 128, 256), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, E5M2, tile( 64, 128, 256), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, I8,   tile(128, 256, 128), 4, Shared,    Cooperative, 2),
    wgmma(Sparse24, I8,   tile(128, 128, 256), 4, Shared,    PingPong,    1),
    wgmma(Sparse24, I8,   tile( 64, 128, 256), 4, Shared,    PingPong,    1),
    wgmma(Dense,    F16,  tile(128, 256,  64), 4, Shared,    Cooperative, 2),
    wgmma(Dense,    F16,  tile(128, 128, 128), 3, Shared,    PingPong,    1),
    wgmma(Dense,    F16,  tile( 64, 128, 128), 4, Shared,    PingPong,    1),
    wgmma(Dense,    BF16, tile(128, 256,  64), 4, Shared,    Cooperative, 2),
    wgmma(Dense,    BF16, tile(128, 128, 128), 3, Shared,    PingPong,    1),
    wgmma(Dense,    BF16, tile( 64, 128, 128), 4, Shared,    PingPong,    1),
    wgmma(Dense,    E4M3, tile(128, 256, 128), 4, Shared,    Cooperative, 2),
    wgmma(Dense,    E5M2, tile(128, 256, 128), 4, Shared,    Cooperative, 2),
    wgmma(Dense,    I8,   tile(128, 256, 128), 4, Shared,    Cooperative, 2),
    // the rest of a decoder
    rowwise(OpKind::RmsNorm,   F16,  Sm80, 256),
    rowwise(OpKind::RmsNorm,   BF16, Sm80, 256),
    rowwise(OpKind::Rotary,    F16,  Sm80, 128),
    rowwise(OpKind::Rotary,    BF16, Sm80, 128),
    rowwise(OpKind::Attention, F16,  Sm80, 128),
    rowwise(OpKind::Attention, BF16, Sm80, 128),
    rowwise(OpKind::SwiGlu,    F16,  Sm80, 256),
    rowwise(OpKind::SwiGlu,    BF16, Sm80, 256),
    rowwise(OpKind::Gather,    F16,  Sm80, 256),
    rowwise(OpKind::Gather,    BF16, Sm80, 256),
    rowwise(OpKind::ArgMax,    F32,  Sm80, 256),
    // a row of 4096 columns stays in registers
    rowwise(OpKind::Quantize,  I8,   Sm80, 512),
    rowwise(OpKind::Quantize,  E4M3, Sm80, 512),
    rowwise(OpKind::Quantize,  E5M2, Sm80, 512),
    // dense weights to 2:4 and back
    rowwise(OpKind::Pack24,    F16,  Sm80, 128),
    rowwise(OpKind::Pack24,    BF16, Sm80, 128),
    rowwise(OpKind::Unpack24,  F16,  Sm80, 128),
    rowwise(OpKind::Unpack24,  BF16, Sm80, 128),

    // WGSL by shuffles of subgroups
    tiled(Sparse24, F16, WgslSubgroups, tile(256,  1, 64), 1, (4, 1)),
    tiled(Sparse24, F16, WgslSubgroups, tile(256,  4, 64), 1, (4, 1)),
    tiled(Sparse24, F16, WgslSubgroups, tile(256,  8, 64), 1, (4, 1)),
    tiled(Sparse24, F16, WgslSubgroups, tile(128, 16, 64), 1, (4, 1)),
    tiled(Dense,    F16, WgslSubgroups, tile(256,  1, 64), 1, (4, 1)),
    tiled(Dense,    F16, WgslSubgroups, tile(256,  4, 64), 1, (4, 1)),
    tiled(Dense,    F16, WgslSubgroups, tile(128,  8, 64), 1, (4, 1)),
    tiled(Dense,    F16, WgslSubgroups, tile(128, 16, 64), 1, (4, 1)),
    tiled(Sparse24, I8,  WgslSubgroups, tile(256,  1, 64), 1, (4, 1)),
    tiled(Sparse24, I8,  WgslSubgroups, tile(256,  4, 64), 1, (4, 1)),
    tiled(Sparse24, I8,  WgslSubgroups, tile(128,  8, 64), 1, (4, 1)),
    tiled(Dense,    I8,  WgslSubgroups, tile(256,  1, 64), 1, (4, 1)),
    tiled(Dense,    I8,  WgslSubgroups, tile(128,  4, 64), 1, (4, 1)),
    tiled(Dense,    I8,  WgslSubgroups, tile(128,  8, 64), 1, (4, 1)),
    // WGSL in workgroup memory and registers: what runs everywhere wins a tie, because it loads 16 bytes at a time where f16 vectors
    // end at 8
    gemv(Sparse24,  F16, WgslPortable, 32, 8, 1),
    gemv(Sparse24,  F16, WgslF16,      32, 8, 1),
    gemv(Sparse24,  F16, WgslPortable, 32, 8, 4),
    gemv(Sparse24,  F16, WgslF16,      32, 8, 4),
    tiled(Sparse24, F16, WgslPortable, tile(64, 64, 32), 1, (16, 16)),
    tiled(Sparse24, F16, WgslF16,      tile(64, 64, 32), 1, (16, 16)),
    gemv(Dense,     F16, WgslPortable, 32, 8, 1),
    gemv(Dense,     F16, WgslF16,      32, 8, 1),
    gemv(Dense,     F16, WgslPortable, 32, 8, 4),
    gemv(Dense,     F16, WgslF16,      32, 8, 4),
    tiled(Dense,    F16, WgslPortable, tile(64, 64, 32), 1, (16, 16)),
    tiled(Dense,    F16, WgslF16,      tile(64, 64, 32), 1, (16, 16)),
    // cooperative matrices, which are dense: 2:4 saves bytes there
    tiled(Sparse24, F16, WgslCoop8,  tile(64, 64, 32), 1, (2, 2)),
    tiled(Sparse24, F16, WgslCoop16, tile(64, 64, 32), 1, (2, 2)),
    tiled(Dense,    F16, WgslCoop8,  tile(64, 64, 32), 1, (2, 2)),
    tiled(Dense,    F16, WgslCoop16, tile(64, 64, 32), 1, (2, 2)),
    // s8 by dot4I8Packed
    gemv(Sparse24,  I8, WgslPortable, 32, 8, 1),
    gemv(Sparse24,  I8, WgslPortable, 32, 8, 4),
    tiled(Sparse24, I8, WgslPortable, tile(64, 64, 64), 1, (8, 16)),
    gemv(Dense,     I8, WgslPortable, 32, 8, 1),
    gemv(Dense,     I8, WgslPortable, 32, 8, 4),
    tiled(Dense,    I8, WgslPortable, tile(64, 64, 64), 1, (8, 16)),
    rowwise(OpKind::RmsNorm,   F16, WgslPortable, 64),
    rowwise(OpKind::Rotary,    F16, WgslPortable, 64),
    rowwise(OpKind::Attention, F16, WgslPortable, 64),
    rowwise(OpKind::SwiGlu,    F16, WgslPortable, 256),
    rowwise(OpKind::Gather,    F16, WgslPortable, 256),
    rowwise(OpKind::SpmmCsr,   F16, WgslPortable, 256),
    rowwise(OpKind::ArgMax,    F32, WgslPortable, 256),
    rowwise(OpKind::Quantize,  I8,  WgslPortable, 256),
    rowwise(OpKind::Pack24,    F16,  WgslPortable, 128),
    rowwise(OpKind::Pack24,    BF16, WgslPortable, 128),
    rowwise(OpKind::Unpack24,  F16,  WgslPortable, 128),
    rowwise(OpKind::Unpack24,  BF16, WgslPortable, 128),

    // the host
    host(OpKind::Linear(Sparse24), F16),
    host(OpKind::Linear(Sparse24), BF16),
    host(OpKind::Linear(Sparse24), F32),
    host(OpKind::Linear(Dense), F16),
    host(OpKind::Linear(Dense), BF16),
    host(OpKind::Linear(Dense), F32),
    host(OpKind::Linear(Sparse24), I8),
    host(OpKind::Linear(Sparse24), E4M3),
    host(OpKind::Linear(Sparse24), E5M2),
    host(OpKind::Linear(Dense), I8),
    host(OpKind::Linear(Dense), E4M3),
    host(OpKind::Linear(Dense), E5M2),
    host(OpKind::RmsNorm, F16),
    host(OpKind::RmsNorm, BF16),
    host(OpKind::RmsNorm, F32),
    host(OpKind::Rotary, F16),
    host(OpKind::Rotary, BF16),
    host(OpKind::Rotary, F32),
    host(OpKind::Attention, F16),
    host(OpKind::Attention, BF16),
    host(OpKind::Attention, F32),
    host(OpKind::SwiGlu, F16),
    host(OpKind::SwiGlu, BF16),
    host(OpKind::SwiGlu, F32),
    host(OpKind::Gather, F16),
    host(OpKind::Gather, BF16),
    host(OpKind::Gather, F32),
    host(OpKind::SpmmCsr, F16),
    host(OpKind::SpmmCsr, BF16),
    host(OpKind::ArgMax, F32),
    host(OpKind::Quantize, I8),
    host(OpKind::Quantize, E4M3),
    host(OpKind::Quantize, E5M2),
    host(OpKind::Pack24, F16),
    host(OpKind::Pack24, BF16),
    host(OpKind::Unpack24, F16),
    host(OpKind::Unpack24, BF16),
];

const fn tile(m: u32, n: u32, k: u32) -> Tile {
    Tile { m, n, k }
}

const fn tiled(
    weights: crate::Weights,
    dtype: DType,
    target: Target,
    tile: Tile,
    stages: u32,
    warps: (u32, u32),
) -> KernelSpec {
    let form = Form::Tiled { tile, stages, warps };
    KernelSpec { op: OpKind::Linear(weights), dtype, target, form }
}

const fn skinny(weights: crate::Weights, dtype: DType, tile: Tile, warps: u32) -> KernelSpec {
    let form = Form::Skinny { tile, warps, halves: false };
    KernelSpec { op: OpKind::Linear(weights), dtype, target: Sm80, form }
}

const fn in_halves(spec: KernelSpec) -> KernelSpec {
    match spec.form {
        Form::Skinny { tile, warps, .. } => {
            KernelSpec { form: Form::Skinny { tile, warps, halves: true }, ..spec }
        }
        _ => spec,
    }
}

const fn wgmma(
    weights: crate::Weights,
    dtype: DType,
    tile: Tile,
    stages: u32,
    values: Values,
    teams: Teams,
    cluster: u32,
) -> KernelSpec {
    let form = Form::Wgmma(Wgmma { tile, stages, values, teams, cluster });
    KernelSpec { op: OpKind::Linear(weights), dtype, target: Sm90a, form }
}

const fn gemv(
    weights: crate::Weights,
    dtype: DType,
    target: Target,
    rows: u32,
    lanes: u32,
    tokens: u32,
) -> KernelSpec {
    let form = Form::Gemv { rows, lanes, tokens };
    KernelSpec { op: OpKind::Linear(weights), dtype, target, form }
}

const fn rowwise(op: OpKind, dtype: DType, target: Target, threads: u32) -> KernelSpec {
    KernelSpec { op, dtype, target, form: Form::Rowwise { threads } }
}

const fn host(op: OpKind, dtype: DType) -> KernelSpec {
    KernelSpec { op, dtype, target: Cpu, form: Form::Host }
}
