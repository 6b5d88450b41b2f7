//! Tensor maps, encoded by the driver: 128 opaque bytes for each.
#![allow(unsafe_code)] // a call of the driver; its block says why it is sound

use super::words;
use crate::error::{Error, Result};
use cudarc::driver::sys;
use quickpick_kernels::{DType, Plan, TensorMap};
use std::ffi::c_void;

/// Most maps of one kernel.
pub(super) const MOST_MAPS: usize = 2;

/// A map at the strictest alignment that a cuda.h has asked for: 64 bytes in CUDA 12, 128 in 13.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Encoded(sys::CUtensorMap);

/// The maps of a plan, in its order.
#[derive(Clone, Debug)]
pub(super) struct Maps {
    encoded: [Encoded; MOST_MAPS],
    count: usize,
}

impl Maps {
    /// Has the driver encode the plan's maps of memory at these pointers, which follow its bindings.
    /// Allocates nothing; the host alone works.
    pub(super) fn encode(plan: &Plan, pointers: &[u64]) -> Result<Self> {
        let empty = Encoded(sys::CUtensorMap { opaque: [0; 16] });
        let mut maps = Self { encoded: [empty; MOST_MAPS], count: 0 };
        for (at, map) in plan.maps_of_bindings() {
            let place = maps.encoded.get_mut(maps.count);
            let (Some(place), Some(&pointer)) = (place, pointers.get(at)) else { break };
            encode(&mut place.0, map, pointer)
                .map_err(|why| why.of(&format!("{} of {}", map.name, plan.spec)))?;
            maps.count += 1;
        }
        match maps.count == plan.maps.len() {
            true => Ok(maps),
            false => Err(Error::Bug(format!(
                "{plan}: {} of {} tensor maps have a place and a pointer",
                maps.count,
                plan.maps.len()
            ))),
        }
    }

    /// Where each lies, for the driver to read at a launch.
    pub(super) fn addresses(&self) -> impl ExactSizeIterator<Item = *mut c_void> {
        let maps = self.encoded[..self.count].iter();
        maps.map(|map| std::ptr::from_ref(&map.0).cast_mut().cast())
    }
}

/// Why a map could not be encoded.
enum Refusal {
    /// The driver's word, and what it was told.
    Driver { why: String, told: String },
    /// No swizzle of the driver's spans so many bytes.
    Swizzle(u32),
}

impl Refusal {
    fn of(self, what: &str) -> Error {
        match self {
            Self::Driver { why, told } => {
                let what = format!("encoding {what}");
                Error::Device { backend: "cuda", what, why: format!("{why} ({told})") }
            }
            Self::Swizzle(bytes) => Error::Bug(format!("{what}: no swizzle of {bytes} bytes")),
        }
    }
}

fn encode(
    place: &mut sys::CUtensorMap,
    map: &TensorMap,
    pointer: u64,
) -> std::result::Result<(), Refusal> {
    use sys::CUtensorMapDataType_enum as Type;
    use sys::CUtensorMapSwizzle_enum as Swizzle;
    let dtype = match map.dtype {
        DType::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        DType::BF16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        DType::F32 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        DType::I8 | DType::E4M3 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT8,
    };
    let swizzle = match map.swizzle {
        64 => Swizzle::CU_TENSOR_MAP_SWIZZLE_64B,
        128 => Swizzle::CU_TENSOR_MAP_SWIZZLE_128B,
        other => return Err(Refusal::Swizzle(other)),
    };
    let (strides, steps) = ([map.stride], [1, 1]);
    // SAFETY: `place` has the type's size and alignment; dims, box and element strides hold one number
    // for each of two dimensions, strides one less, and all outlive the call. The driver keeps the
    // address; it reads no memory there.
    let status = unsafe {
        sys::cuTensorMapEncodeTiled(
            place,
            dtype,
            2,
            pointer as *mut c_void,
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
    status.result().map_err(|why| {
        let ([columns, rows], [box_columns, box_rows]) = (map.dims, map.tile);
        let told = format!(
            "{columns}×{rows} {} at {pointer:#x}, rows {} bytes apart, box {box_columns}×{box_rows}, \
             swizzle of {} bytes",
            map.dtype, map.stride, map.swizzle
        );
        Refusal::Driver { why: words(why), told }
    })
}
