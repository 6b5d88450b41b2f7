//! Kernels that the generator can write and the table does not have yet: what `tune` tries.

use quickpick::kernels::{
    Caps, CudaCaps, DType, Form, KERNELS, KernelSpec, OpKind, Target, Teams, Tile, Values, Weights,
    Wgmma,
};

/// Rows of the table and all others that the generator accepts, for linear layers of a type on a CUDA
/// device. On Hopper those for its warpgroups come first.
pub fn cuda(weights: Weights, dtype: DType, caps: &Caps) -> Vec<KernelSpec> {
    let Caps::Cuda(caps) = caps else { return vec![] };
    let mut all = if caps.sm == 90 { warpgroups(weights, dtype, caps) } else { vec![] };
    all.extend(tiles(weights, dtype));
    all.retain(|spec| spec.shared_bytes() <= caps.shared_bytes);
    all
}

/// 64 to 256 features and tokens with 64 or 128 accumulators a thread, rows of X of 128 or 256 bytes, as
/// many stages as shared memory holds, at most 8.
fn warpgroups(weights: Weights, dtype: DType, caps: &CudaCaps) -> Vec<KernelSpec> {
    let op = OpKind::Linear(weights);
    let spec = |form| KernelSpec { op, dtype, target: Target::Sm90a, form: Form::Wgmma(form) };
    let mine = |row: &&KernelSpec| (row.op, row.dtype, row.target) == (op, dtype, Target::Sm90a);
    let mut all: Vec<KernelSpec> = KERNELS.iter().filter(mine).copied().collect();
    for (m, n) in [(64, 128), (64, 256), (128, 64), (128, 128), (128, 256), (256, 64), (256, 128)] {
        for (bytes, cluster) in [(128, 1), (128, 2), (128, 4), (256, 1), (256, 2), (256, 4)] {
            for values in [Values::Shared, Values::Registers] {
                for teams in [Teams::Cooperative, Teams::PingPong] {
                    let tile = Tile { m, n, k: bytes / dtype.bytes() as u32 };
                    let most = (2..=8)
                        .rev()
                        .map(|stages| spec(Wgmma { tile, stages, values, teams, cluster }));
                    let fits = |spec: &KernelSpec| {
                        spec.shared_bytes() <= caps.shared_bytes && quickpick_codegen::accepts(spec)
                    };
                    all.extend(most.into_iter().find(fits).filter(|spec| !all.contains(spec)));
                }
            }
        }
    }
    all
}

/// A tile per block: 64 to 256 features, 32 to 256 tokens, 3 to 5 stages; four or eight warps with 32
/// to 128 accumulators a thread: fewer starve the tensor cores, and sm_80 has 255 registers. The set is
/// kept small, since a driver takes about half a second to compile each.
fn tiles(weights: Weights, dtype: DType) -> Vec<KernelSpec> {
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

    /// What there is for a device, and how many of those are no rows of the table.
    fn candidates(sm: u32) -> Vec<KernelSpec> {
        let caps = Caps::Cuda(CudaCaps { name: None, sm, shared_bytes: 227 << 10, sms: 132 });
        [Weights::Sparse24, Weights::Dense].map(|weights| cuda(weights, DType::F16, &caps)).concat()
    }

    #[test]
    fn the_tables_rows_are_there_and_nothing_twice() {
        for sm in [80, 90] {
            let all = candidates(sm);
            let row = |spec: &KernelSpec| KERNELS.contains(spec);
            assert!(all.iter().filter(|spec| row(spec)).count() >= 8);
            assert!(all.iter().filter(|spec| !row(spec)).count() >= 20, "{all:?}");
            assert_eq!(all.iter().any(|spec| spec.target == Target::Sm90a), sm == 90);
            let unique: std::collections::HashSet<_> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
        }
    }

    /// What makes `Tunable::adopt` safe on a device: the emulator grants each operand no byte more than
    /// the plan does, and traps on races and unwritten memory.
    #[test]
    fn every_candidate_is_right_in_the_emulator() {
        let wrong: Vec<String> = candidates(90)
            .into_par_iter()
            .filter(|spec| !KERNELS.contains(spec))
            .filter_map(|spec| {
                let early = quickpick_emulator::Schedule::Early;
                let device = Emulated::hopper(spec.cluster(), early);
                let why = tune::checked(&device, Box::leak(Box::new(spec)), |_| Ok(())).err()?;
                Some(format!("{spec:?}: {why}"))
            })
            .collect();
        assert_eq!(wrong, Vec::<String>::new());
    }
}
