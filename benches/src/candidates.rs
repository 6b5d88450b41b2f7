//! Kernels that the generator can write and the table does not have yet: what `tune` tries.

use quickpick::kernels::plan::GEMV_FEATURES;
use quickpick::kernels::{
    Caps, CudaCaps, DType, Form, KERNELS, KernelSpec, OCTET, OpKind, Target, Teams, Tile, Values,
    Weights, Wgmma,
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

/// Rows of the table and what the generator accepts besides, for linear layers of a type on a wgpu adapter:
/// tiles with 8 to 64 sums an invocation, fewer leave each load of an operand to too little arithmetic; GEMVs
/// of 32 to 256 invocations. Few, since a software adapter takes a second to compile and check each.
pub fn wgpu(weights: Weights, dtype: DType, caps: &Caps) -> Vec<KernelSpec> {
    let Caps::Wgpu(caps) = caps else { return vec![] };
    let op = OpKind::Linear(weights);
    let there = [(Target::WgslPortable, true), (Target::WgslF16, caps.f16)];
    let targets =
        Vec::from_iter(there.iter().filter(|(_, there)| *there).map(|(target, _)| *target));
    let shuffles = caps.subgroup >= OCTET;
    let mine = |row: &&KernelSpec| {
        let known =
            targets.contains(&row.target) || shuffles && row.target == Target::WgslSubgroups;
        (row.op, row.dtype) == (op, dtype) && known
    };
    let mut all: Vec<KernelSpec> = KERNELS.iter().filter(mine).copied().collect();
    let mut forms = Vec::new();
    for (m, n) in [(32, 32), (64, 16), (64, 32), (64, 64), (128, 32), (128, 64), (64, 128)] {
        for warps in [(8, 8), (8, 16), (16, 16)] {
            let sums = m * n / (warps.0 * warps.1);
            // rows of X of 64 bytes
            let tile = Tile { m, n, k: 64 / dtype.bytes() as u32 };
            let form = Form::Tiled { tile, stages: 1, warps };
            forms.extend((8..=64).contains(&sums).then_some(form));
        }
    }
    for rows in [8, 16, 32, 64] {
        for lanes in [8, 16, 32] {
            let fills = (32..=256).contains(&(rows / GEMV_FEATURES * lanes));
            let form = |tokens| Form::Gemv { rows, lanes, tokens };
            forms.extend([1, 4].map(form).into_iter().filter(|_| fills));
        }
    }
    for target in targets.iter().copied() {
        let specs = forms.iter().map(|&form| KernelSpec { op, dtype, target, form });
        let new = specs.filter(|spec| quickpick_codegen::accepts(spec) && !all.contains(spec));
        all.extend(new.collect::<Vec<_>>());
    }
    all.retain(|spec| {
        spec.shared_bytes() <= caps.workgroup_bytes && spec.threads() <= caps.invocations
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::tune;
    use quickpick::kernels::{CudaCaps, WgpuCaps};
    use quickpick_tests::emulated::Emulated;
    use rayon::prelude::*;

    /// What there is for a device, and how many of those are no rows of the table.
    fn candidates(sm: u32) -> Vec<KernelSpec> {
        let caps = Caps::Cuda(CudaCaps { name: None, sm, shared_bytes: 227 << 10, sms: 132 });
        [Weights::Sparse24, Weights::Dense].map(|weights| cuda(weights, DType::F16, &caps)).concat()
    }

    /// Those for an adapter with f16 and WebGPU's least limits, and for a smaller one.
    #[test]
    fn wgsl_candidates_are_valid_and_fit() {
        let caps = |workgroup_bytes, invocations| {
            Caps::Wgpu(WgpuCaps {
                name: None,
                f16: true,
                subgroup: OCTET,
                cooperative: None,
                software: true,
                workgroup_bytes,
                invocations,
                workgroups: 65535,
                binding_bytes: 128 << 20,
                storage_buffers: 8,
            })
        };
        // s8 is written for one target, f16 for two
        let dtypes = [(DType::F16, 40), (DType::I8, 20)];
        let both = [Weights::Sparse24, Weights::Dense].into_iter();
        for (weights, (dtype, least)) in both.flat_map(|w| dtypes.map(|d| (w, d))) {
            let all = wgpu(weights, dtype, &caps(16384, 256));
            let new = all.iter().filter(|spec| !KERNELS.contains(spec)).count();
            assert!(new >= least, "{all:?}");
            let unique: std::collections::HashSet<_> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
            for spec in &all {
                let text = quickpick_codegen::emit(spec).unwrap();
                let module = naga::front::wgsl::parse_str(&text)
                    .unwrap_or_else(|why| panic!("{spec:?}: {}", why.emit_to_string(&text)));
                let flags = naga::valid::ValidationFlags::all();
                let can = naga::valid::Capabilities::SHADER_FLOAT16
                    | naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32
                    | naga::valid::Capabilities::SUBGROUP;
                naga::valid::Validator::new(flags, can)
                    .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
                    .subgroup_operations(naga::valid::SubgroupOperationSet::all())
                    .validate(&module)
                    .unwrap_or_else(|why| panic!("{spec:?}: {}", why.emit_to_string(&text)));
            }
            assert!(wgpu(weights, DType::BF16, &caps(16384, 256)).is_empty());
            let small = wgpu(weights, dtype, &caps(4096, 64));
            assert!(!small.is_empty());
            assert!(small.iter().all(|spec| spec.shared_bytes() <= 4096 && spec.threads() <= 64));
        }
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
                let least = CudaCaps::least(&spec, 3 * spec.cluster());
                let device =
                    Emulated::with(CudaCaps { sm: 90, shared_bytes: 227 << 10, ..least }, early);
                let why = tune::checked(&device, Box::leak(Box::new(spec)), |_| Ok(())).err()?;
                Some(format!("{spec:?}: {why}"))
            })
            .collect();
        assert_eq!(wrong, Vec::<String>::new());
    }
}
