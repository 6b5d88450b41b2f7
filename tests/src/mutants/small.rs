//! Kernels for warpgroups of which mutants are made: the generator's smallest that have each of its parts,
//! for a mutant of a large tile takes as much longer as the tile is larger.

use quickpick::kernels::Teams::{self, Cooperative, PingPong};
use quickpick::kernels::Values::{self, Registers, Shared};
use quickpick::kernels::Weights::{self, Dense, Sparse24};
use quickpick::kernels::{DType, Form, KernelSpec, OpKind, Target, Tile, Wgmma};

#[rustfmt::skip] // a kernel, a line
pub static SMALL: [KernelSpec; 5] = [
    small(Sparse24, DType::F16,  [128, 128,  64], 4, Shared,    Cooperative, 1), // half a metadata block a tile
    small(Sparse24, DType::F16,  [128,  64, 128], 2, Shared,    Cooperative, 2),
    small(Sparse24, DType::BF16, [128,  64,  64], 6, Registers, Cooperative, 1),
    small(Sparse24, DType::F16,  [ 64,  64,  64], 3, Registers, PingPong,    2),
    small(Dense,    DType::I8,   [ 64,  64, 256], 2, Shared,    PingPong,    1),
];

const fn small(
    weights: Weights,
    dtype: DType,
    [m, n, k]: [u32; 3],
    stages: u32,
    values: Values,
    teams: Teams,
    cluster: u32,
) -> KernelSpec {
    let form = Form::Wgmma(Wgmma { tile: Tile { m, n, k }, stages, values, teams, cluster });
    KernelSpec { op: OpKind::Linear(weights), dtype, target: Target::Sm90a, form }
}

#[cfg(test)]
mod tests {
    use super::SMALL;

    #[test]
    fn the_generator_makes_them() {
        for spec in &SMALL {
            assert!(quickpick_codegen::accepts(spec), "{spec}");
        }
    }
}
