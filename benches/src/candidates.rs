//! Kernels that the generator can write and the table does not have yet: what `tune` tries.

use quickpick::kernels::{DType, Form, KERNELS, KernelSpec, OpKind, Target, Tile, Weights};

/// Rows of the table and all others that the generator accepts, for CUDA linear layers of a type.
///
/// A tile per block: 64 to 256 features, 32 to 256 tokens, 3 to 5 stages; four or eight warps with 32
/// to 128 accumulators a thread: fewer starve the tensor cores, and sm_80 has 255 registers. The set is
/// kept small, since a driver takes about half a second to compile each.
pub fn cuda(weights: Weights, dtype: DType) -> Vec<KernelSpec> {
    let mine = |spec: &&KernelSpec| {
        (spec.op, spec.dtype, spec.target) == (OpKind::Linear(weights), dtype, Target::Sm80)
    };
    let mut all: Vec<KernelSpec> = KERNELS.iter().filter(mine).copied().collect();
    for m in [64, 128, 256] {
        for n in [32, 64, 128, 256] {
            for stages in 3..=5 {
                for warps in [(1, 4), (2, 2), (4, 1), (2, 4), (4, 2)] {
                    let form = Form::Tiled { tile: Tile { m, n, k: 64 }, stages, warps };
                    let spec = KernelSpec {
                        op: OpKind::Linear(weights),
                        dtype,
                        target: Target::Sm80,
                        form,
                    };
                    let accumulators = m * n / (warps.0 * warps.1 * 32);
                    let fits =
                        (32..=128).contains(&accumulators) && quickpick_codegen::accepts(&spec);
                    if fits && !all.contains(&spec) {
                        all.push(spec);
                    }
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::tune;
    use quickpick_tests::emulated::Emulated;
    use rayon::prelude::*;

    #[test]
    fn the_tables_rows_come_first_and_nothing_twice() {
        for weights in [Weights::Sparse24, Weights::Dense] {
            let all = cuda(weights, DType::F16);
            assert!(all[..4].iter().all(|spec| KERNELS.contains(spec)));
            assert!(all[4..].iter().all(|spec| !KERNELS.contains(spec)), "{all:?}");
            let unique: std::collections::HashSet<_> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
        }
    }

    /// What makes `Tunable::adopt` safe on a device: the emulator grants each operand no byte more than
    /// the plan does, and traps on races and unwritten memory.
    #[test]
    fn every_candidate_is_right_in_the_emulator() {
        let device = Emulated::new(quickpick_emulator::Schedule::Early);
        let all = [Weights::Sparse24, Weights::Dense].map(|weights| cuda(weights, DType::F16));
        let wrong: Vec<String> = all
            .concat()
            .into_par_iter()
            .filter(|spec| !KERNELS.contains(spec))
            .filter_map(|spec| {
                let why = tune::checked(&device, Box::leak(Box::new(spec)), |_| Ok(())).err()?;
                Some(format!("{spec:?}: {why}"))
            })
            .collect();
        assert_eq!(wrong, Vec::<String>::new());
    }
}
