//! A plan as a launch of the emulator. The one place where the two meet, for whoever runs a plan there:
//! neither may know of the other (ARCHITECTURE.md).
//!
//! The calling convention is that of `quickpick_kernels::plan`, as the CUDA driver is told it: pointers of
//! the bindings, parameters, tensor maps by value.
#![forbid(unsafe_code)]

use quickpick_emulator::{
    self as emulator, Arg, Interleave, Launch, OobFill, Swizzle, TensorMapError, TensorType,
    TiledMap,
};
use quickpick_kernels::{DType, MapError, Plan, TensorMap};

/// Why a plan cannot be launched on its memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// By a rule of the kernels' own, which every backend keeps.
    #[error(transparent)]
    Rule(#[from] MapError),
    /// By the emulator, which derives the driver's rules on its own.
    #[error("{map}: {why}")]
    Emulator {
        /// The map's name in the kernel's text.
        map: &'static str,
        /// The rule.
        why: TensorMapError,
    },
}

/// The launch of a plan on memory at `pointers`, which follow its bindings, 0 for an absent one.
///
/// Errors: a tensor map that breaks a rule of the driver's.
pub fn launch(plan: &Plan, pointers: &[u64]) -> Result<Launch, Refused> {
    let mut args: Vec<_> = pointers.iter().map(|at| Arg::U64(*at)).collect();
    args.extend(plan.params.iter().map(|p| Arg::U32(*p)));
    for bound in plan.bound_maps(pointers) {
        let bytes = match bound? {
            (map, Some(address)) => {
                let encoded = encode(map, address);
                encoded.map_err(|why| Refused::Emulator { map: map.name, why })?.encode()
            }
            (_, None) => [0; 128],
        };
        args.push(Arg::Bytes(bytes.to_vec()));
    }
    let shared_bytes = plan.shared_bytes;
    let cluster = [plan.spec.cluster(), 1, 1];
    Ok(Launch { shared_bytes, cluster, ..Launch::new(plan.grid, plan.block, args) })
}

/// A map that has kept its rules, as the emulator would have it.
fn encode(map: &TensorMap, address: u64) -> Result<emulator::TensorMap, TensorMapError> {
    let element = match map.dtype {
        DType::F16 => TensorType::F16,
        DType::BF16 => TensorType::Bf16,
        DType::F32 => TensorType::F32,
        // the others have 8 bits, at which no copy looks
        _ => TensorType::U8,
    };
    let swizzle = match map.swizzle {
        32 => Swizzle::B32,
        64 => Swizzle::B64,
        // by `MapRule::Swizzle`
        _ => Swizzle::B128,
    };
    emulator::TensorMap::tiled(TiledMap {
        element,
        address,
        dims: &map.dims,
        strides: &[map.stride],
        box_dims: &map.tile,
        element_strides: &[1, 1],
        interleave: Interleave::None,
        swizzle,
        oob: OobFill::Zero,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_kernels::{
        Caps, CudaCaps, Epilogue, KERNELS, Linear, MapRule, OpKind, Problem, Target,
    };

    /// Plans of the table's kernels with maps, for problems small and large, ragged and not.
    fn plans() -> Vec<Plan> {
        let hopper = Caps::Cuda(CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 });
        let mut plans = vec![];
        for spec in KERNELS.iter().filter(|spec| spec.target == Target::Sm90a) {
            let OpKind::Linear(weights) = spec.op else { continue };
            for (m, n, k) in [(1, 1, 32), (129, 7, 160), (200, 304, 96), (1008, 304, 4096)] {
                let (dtype, epilogue) = (spec.dtype, Epilogue::NONE);
                let p = Linear { m, n, k, weights, dtype, out: dtype, epilogue };
                plans.extend(spec.plan(&Problem::Linear(p), &hopper));
            }
        }
        assert!(!plans.is_empty());
        plans
    }

    fn pointers(plan: &Plan) -> Vec<u64> {
        (1..=plan.bindings.len() as u64).map(|at| at << 32).collect()
    }

    /// The emulator keeps the driver's rules, so what a plan says of its memory must pass them.
    #[test]
    fn maps_of_plans_keep_the_drivers_rules() {
        for plan in plans() {
            let launch = launch(&plan, &pointers(&plan)).unwrap();
            assert_eq!((launch.grid, launch.block), (plan.grid, [plan.block, 1, 1]));
            assert_eq!(launch.shared_bytes, plan.shared_bytes);
            let (values, maps) = launch.args.split_at(plan.bindings.len() + plan.params.len());
            assert!(values.iter().all(|arg| matches!(arg, Arg::U64(_) | Arg::U32(_))));
            assert_eq!(maps.len(), plan.maps.len());
            assert!(maps.iter().all(|arg| matches!(arg, Arg::Bytes(b) if b.len() == 128)));
        }
    }

    #[test]
    fn a_map_that_breaks_a_rule_is_refused_by_name() {
        for plan in plans() {
            let askew: Vec<_> = pointers(&plan).iter().map(|at| at + 8).collect();
            let why = launch(&plan, &askew).unwrap_err();
            assert!(why.to_string().starts_with(plan.maps[0].name), "{why}");
            let Refused::Rule(MapError { rule, .. }) = why else { panic!("{why}") };
            assert!(matches!(rule, MapRule::Address { .. }), "{rule}");
        }
    }

    #[test]
    fn the_map_of_an_absent_binding_is_128_zeros() {
        let mut plan = plans().remove(0);
        let absent = plan.bindings.iter().find(|b| !b.is_present()).expect("no bias");
        plan.maps[0].binding = absent.name;
        let launch = launch(&plan, &pointers(&plan)).unwrap();
        let at = plan.bindings.len() + plan.params.len();
        assert_eq!(launch.args[at], Arg::Bytes(vec![0; 128]));
    }

    /// Two derivations of the driver's rules, the kernels' and the emulator's, on maps at the limits and
    /// past them. Only of a box narrower than its swizzle the kernels ask more: the emulator objects when
    /// it is copied.
    #[test]
    fn both_derivations_of_the_rules_agree() {
        let good = TensorMap {
            name: "map_x",
            binding: "x",
            dtype: DType::F16,
            dims: [80, 100],
            stride: 256,
            tile: [32, 128],
            swizzle: 64,
        };
        let dims = [0, 1, 1 << 32, (1 << 32) + 1];
        let strides = [0, 8, 144, 160, 168, 1 << 33, (1 << 40) - 16, 1 << 40, u64::MAX - 15];
        let tiles = [0, 1, 8, 12, 16, 32, 64, 128, 256, 257];
        let mut maps = vec![good.clone()];
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::I8] {
            let good = TensorMap { dtype, ..good.clone() };
            for size in dims {
                maps.push(TensorMap { dims: [size, 100], ..good.clone() });
                maps.push(TensorMap { dims: [size, 100], stride: 1 << 36, ..good.clone() });
                maps.push(TensorMap { dims: [80, size], stride: 1 << 20, ..good.clone() });
            }
            maps.extend(strides.map(|stride| TensorMap { stride, ..good.clone() }));
            for (size, swizzle) in
                tiles.into_iter().flat_map(|s| [32, 64, 128].map(|span| (s, span)))
            {
                maps.push(TensorMap { tile: [size, 128], swizzle, ..good.clone() });
                maps.push(TensorMap { tile: [32, size], swizzle, ..good.clone() });
            }
        }
        let (mut kept, mut broken) = (0, 0);
        for map in maps {
            for address in [0x1000, 0x1010, 0x1008] {
                let ours = map.check().and_then(|()| map.check_memory(address, u64::MAX));
                let theirs = encode(&map, address);
                let narrow = matches!(
                    ours,
                    Err(MapError { rule: MapRule::BoxSpan { bytes, span }, .. }) if bytes < span
                );
                match ours {
                    Ok(()) => kept += 1,
                    Err(_) => broken += 1,
                }
                let agree = ours.is_ok() == theirs.is_ok() || narrow;
                assert!(agree, "{map:?} at {address:#x}: {ours:?}, {theirs:?}");
            }
        }
        assert!(kept > 50 && broken > 50, "{kept} kept, {broken} broken");
    }
}
