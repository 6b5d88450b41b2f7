//! Tensor maps, encoded by the driver: 128 opaque bytes for each, remembered for the next launch.
#![allow(unsafe_code)] // a call of the driver; its block says why it is sound

use super::recent::Recent;
use super::words;
use crate::error::{Error, Result};
use cudarc::driver::sys;
use quickpick_kernels::{DType, Plan, TensorMap};
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

/// Most maps of one kernel.
pub(super) const MOST_MAPS: usize = 4;

/// Encodings that a kernel remembers: those of 16 launches or more, 16 KiB in all.
const MOST_ENCODINGS: usize = 64;

/// A map at the strictest alignment that a cuda.h has asked for: 64 bytes in CUDA 12, 128 in 13.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Encoded(sys::CUtensorMap);

/// What is passed for the map of an absent binding, which no kernel uses.
const ABSENT: Encoded = Encoded(sys::CUtensorMap { opaque: [0; 16] });

/// The driver's words, and what it was told.
type Refusal = String;

/// The maps of a plan, in its order.
#[derive(Clone, Debug)]
pub(super) struct Maps {
    encoded: [Encoded; MOST_MAPS],
    count: usize,
}

impl Maps {
    /// Has the driver encode the plan's maps of memory at these pointers, which follow its bindings.
    /// Allocates nothing; the host alone works.
    ///
    /// Errors: [`Error::Map`] by the map's rules; [`Error::Device`] if the driver has another.
    pub(super) fn encode(plan: &Plan, pointers: &[u64]) -> Result<Self> {
        Self::with(plan, pointers, encode)
    }

    fn with(
        plan: &Plan,
        pointers: &[u64],
        mut encode: impl FnMut(&TensorMap, u64) -> std::result::Result<Encoded, Refusal>,
    ) -> Result<Self> {
        let count = plan.maps.len();
        if count > MOST_MAPS {
            return Err(Error::Bug(format!("{plan}: {count} tensor maps, of {MOST_MAPS} at most")));
        }
        let mut maps = Self { encoded: [ABSENT; MOST_MAPS], count };
        for (place, bound) in maps.encoded.iter_mut().zip(plan.bound_maps(pointers)) {
            let of_plan = |why| Error::Map { kernel: plan.spec.to_string(), why };
            let (map, Some(address)) = bound.map_err(of_plan)? else { continue };
            *place = encode(map, address).map_err(|why| {
                let what = format!("encoding {} of {}", map.name, plan.spec);
                Error::Device { backend: "cuda", what, why }
            })?;
        }
        Ok(maps)
    }

    /// Where each lies, for the driver to read at a launch.
    pub(super) fn addresses(&self) -> impl ExactSizeIterator<Item = *mut c_void> {
        let maps = self.encoded[..self.count].iter();
        maps.map(|map| std::ptr::from_ref(&map.0).cast_mut().cast())
    }
}

/// The encodings of a kernel's last launches. One depends on the map and the address alone, so that it
/// stays true when the memory there is freed and allocated anew.
#[derive(Debug)]
pub(super) struct Encodings(Mutex<Recent<(u64, TensorMap), Encoded>>);

impl Encodings {
    /// None yet, and room for the kernel of this plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let most = if plan.maps.is_empty() { 0 } else { MOST_ENCODINGS };
        Self(Mutex::new(Recent::new(most)))
    }

    /// As [`Maps::encode`], but what is remembered is not encoded anew.
    pub(super) fn maps(&self, plan: &Plan, pointers: &[u64]) -> Result<Maps> {
        self.maps_with(plan, pointers, encode)
    }

    fn maps_with(
        &self,
        plan: &Plan,
        pointers: &[u64],
        mut encode: impl FnMut(&TensorMap, u64) -> std::result::Result<Encoded, Refusal>,
    ) -> Result<Maps> {
        Maps::with(plan, pointers, |map, address| {
            // nothing is half-done behind a panic; a map's clone allocates nothing
            let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            recent.get(&(address, map.clone()), || encode(map, address))
        })
    }
}

/// Encodes a map that has kept its rules.
fn encode(map: &TensorMap, address: u64) -> std::result::Result<Encoded, Refusal> {
    use sys::CUtensorMapDataType_enum as Type;
    use sys::CUtensorMapSwizzle_enum as Swizzle;
    let dtype = match map.dtype {
        DType::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        DType::BF16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        DType::F32 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        // the others have 8 bits, at which no copy looks
        _ => Type::CU_TENSOR_MAP_DATA_TYPE_UINT8,
    };
    let swizzle = match map.swizzle {
        32 => Swizzle::CU_TENSOR_MAP_SWIZZLE_32B,
        64 => Swizzle::CU_TENSOR_MAP_SWIZZLE_64B,
        // by `MapRule::Swizzle`
        _ => Swizzle::CU_TENSOR_MAP_SWIZZLE_128B,
    };
    let mut encoded = ABSENT;
    let (strides, steps) = ([map.stride], [1, 1]);
    // SAFETY: the map's place has the type's size and alignment; dims, box and element strides hold one
    // number for each of two dimensions, strides one less, and all outlive the call. The driver keeps
    // the address; it reads no memory there.
    let status = unsafe {
        sys::cuTensorMapEncodeTiled(
            &mut encoded.0,
            dtype,
            2,
            address as *mut c_void,
            map.dims.as_ptr(),
            strides.as_ptr(),
            map.tile.as_ptr(),
            steps.as_ptr(),
            sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
            sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    match status.result() {
        Ok(()) => Ok(encoded),
        Err(why) => {
            let ([columns, rows], [box_columns, box_rows]) = (map.dims, map.tile);
            Err(format!(
                "{} ({columns}×{rows} {} at {address:#x}, rows {} bytes apart, box \
                 {box_columns}×{box_rows}, swizzle of {} bytes)",
                words(why),
                map.dtype,
                map.stride,
                map.swizzle
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_kernels::{
        Caps, CudaCaps, Epilogue, KERNELS, Linear, MapRule, OpKind, Problem, Target,
    };

    /// A plan with maps, and a pointer for each of its bindings.
    fn planned() -> (Plan, Vec<u64>) {
        let hopper = Caps::Cuda(CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 });
        let hoppers = KERNELS.iter().filter(|spec| spec.target == Target::Sm90a);
        let mut plans = hoppers.filter_map(|spec| {
            let OpKind::Linear(weights) = spec.op else { return None };
            let (dtype, epilogue) = (spec.dtype, Epilogue::NONE);
            let p = Linear { m: 200, n: 304, k: 160, weights, dtype, out: dtype, epilogue };
            spec.plan(&Problem::Linear(p), &hopper).ok()
        });
        let plan = plans.next().expect("a row for sm_90a");
        let pointers = (1..=plan.bindings.len() as u64).map(|at| at << 20).collect();
        (plan, pointers)
    }

    /// An encoding that tells its address.
    fn fake(address: u64) -> Encoded {
        Encoded(sys::CUtensorMap { opaque: [address; 16] })
    }

    fn told(maps: &Maps) -> Vec<u64> {
        maps.encoded[..maps.count].iter().map(|map| map.0.opaque[15]).collect()
    }

    /// Launches with these pointers; what had to be encoded, and what is passed.
    fn launched(known: &Encodings, plan: &Plan, pointers: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let mut encoded = vec![];
        let maps = known.maps_with(plan, pointers, |_, address| {
            encoded.push(address);
            Ok(fake(address))
        });
        (encoded, told(&maps.unwrap()))
    }

    #[test]
    fn a_launch_encodes_only_what_is_new() {
        let (plan, pointers) = planned();
        let known = Encodings::of(&plan);
        let (encoded, passed) = launched(&known, &plan, &pointers);
        assert_eq!(passed.len(), plan.maps.len());
        assert_eq!(encoded, passed.iter().copied().filter(|at| *at != 0).collect::<Vec<_>>());
        assert_eq!(launched(&known, &plan, &pointers), (vec![], passed.clone()), "the same again");

        let mut moved = pointers.clone();
        let x = plan.bindings.iter().position(|b| b.name == "x").unwrap();
        moved[x] = 77 << 20;
        let (encoded, _) = launched(&known, &plan, &moved);
        assert_eq!(encoded, [77 << 20], "the weights stay where they are");
        assert_eq!(launched(&known, &plan, &pointers), (vec![], passed), "both are remembered");

        let mut other = plan.clone();
        other.maps[0].dims[1] -= 1;
        let at = other.bindings.iter().position(|b| b.name == other.maps[0].binding).unwrap();
        let (encoded, _) = launched(&known, &other, &pointers);
        assert_eq!(encoded, [pointers[at]], "another matrix at the same address");
    }

    #[test]
    fn a_map_of_an_absent_binding_is_zeros() {
        let (mut plan, mut pointers) = planned();
        let absent = plan.bindings.iter().position(|b| !b.is_present()).expect("no bias");
        plan.maps.truncate(2);
        plan.maps[0].binding = plan.bindings[absent].name;
        pointers[absent] = 0;
        let known = Encodings::of(&plan);
        let (encoded, passed) = launched(&known, &plan, &pointers);
        assert_eq!((encoded.len(), passed[0], passed.len()), (1, 0, 2));
    }

    #[test]
    fn what_breaks_a_rule_never_reaches_the_driver() {
        let (mut plan, pointers) = planned();
        let never = |_: &TensorMap, _: u64| -> std::result::Result<Encoded, Refusal> {
            panic!("it was encoded")
        };
        let askew: Vec<_> = pointers.iter().map(|at| at + 8).collect();
        let why = Maps::with(&plan, &askew, never).unwrap_err();
        let text = why.to_string();
        let Error::Map { kernel, why } = why else { panic!("{text}") };
        assert!(matches!(why.rule, MapRule::Address { .. }), "{text}");
        assert!(text.starts_with(&format!("{kernel}: {}: ", plan.maps[0].name)), "{text}");
        assert!(text.ends_with("is not a multiple of 16"), "{text}");
        let why = Maps::with(&plan, &[], never).unwrap_err().to_string();
        assert!(why.ends_with("has no pointer"), "{why}");
        plan.maps = vec![plan.maps[0].clone(); MOST_MAPS + 1];
        let why = Maps::with(&plan, &pointers, never).unwrap_err().to_string();
        assert!(why.contains("5 tensor maps, of 4 at most"), "{why}");
    }

    #[test]
    fn a_refusal_of_the_drivers_names_map_and_kernel() {
        let (plan, pointers) = planned();
        let known = Encodings::of(&plan);
        let refuse = |_: &TensorMap, _: u64| Err("no".to_string());
        let why = known.maps_with(&plan, &pointers, refuse).unwrap_err().to_string();
        assert_eq!(why, format!("cuda: encoding {} of {}: no", plan.maps[0].name, plan.spec));
        let (encoded, passed) = launched(&known, &plan, &pointers);
        assert_eq!(encoded.len(), passed.iter().filter(|at| **at != 0).count(), "nothing is kept");
    }
}
