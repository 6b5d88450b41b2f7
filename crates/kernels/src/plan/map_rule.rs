//! The rules of tensor maps, each with its error, for all who make a map or encode one.
//!
//! Source: CUDA driver API, "Tensor Map Object Management", `cuTensorMapEncodeTiled`; of its rules, those
//! that a map of rank 2 without interleave, with element strides of 1 and zero fill, can break. Where
//! ours are stricter, the rule says why. The driver itself answers `CUDA_ERROR_INVALID_VALUE` to all.

use super::{Plan, TensorMap};

/// A tensor map that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{map}: {rule}")]
pub struct MapError {
    /// The map's name in the kernel's text.
    pub map: &'static str,
    /// The rule, with the numbers that break it.
    pub rule: MapRule,
}

/// What a tensor map breaks. All but the last three depend on the plan alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapRule {
    /// A matrix has 1 to 2³² elements along a dimension.
    #[error("{size} {dim} of the matrix are not 1 to 2^32")]
    Dim {
        /// `columns` or `rows`.
        dim: &'static str,
        /// Their number.
        size: u64,
    },
    /// Rows are a multiple of 16 bytes apart.
    #[error("rows {stride} bytes apart, which is not a multiple of 16")]
    StrideMultiple {
        /// Bytes between two rows.
        stride: u64,
    },
    /// Rows are less than 2⁴⁰ bytes apart.
    #[error("rows {stride} bytes apart, which is not below 2^40")]
    StrideLimit {
        /// Bytes between two rows.
        stride: u64,
    },
    /// Rows do not overlap. The driver asks for it in words only; a stride given in elements breaks it.
    #[error("rows {stride} bytes apart, which is less than their {row} bytes")]
    StrideOverlap {
        /// Bytes between two rows.
        stride: u64,
        /// Bytes of one.
        row: u64,
    },
    /// A box has 1 to 256 elements along a dimension.
    #[error("{size} {dim} of the box are not 1 to 256")]
    Box {
        /// `columns` or `rows`.
        dim: &'static str,
        /// Their number.
        size: u32,
    },
    /// A row of the box is a multiple of 16 bytes.
    #[error("a row of the box has {bytes} bytes, which is not a multiple of 16")]
    BoxMultiple {
        /// Bytes of a row of the box.
        bytes: u32,
    },
    /// A swizzle spans 32, 64 or 128 bytes. The driver also has none at all, which none of ours uses.
    #[error("a swizzle spans 32, 64 or 128 bytes, not {bytes}")]
    Swizzle {
        /// Bytes asked for.
        bytes: u32,
    },
    /// A row of the box has the bytes that the swizzle spans. The driver allows fewer, but no manual says
    /// where such rows lie in shared memory.
    #[error("a row of the box has {bytes} bytes, its swizzle spans {span}")]
    BoxSpan {
        /// Bytes of a row of the box.
        bytes: u32,
        /// Bytes of the swizzle.
        span: u32,
    },
    /// The plan has a binding of the map's name, and a pointer for it: for whoever builds a plan by hand.
    #[error("{binding} has no pointer")]
    Binding {
        /// The name.
        binding: &'static str,
    },
    /// The matrix starts at a multiple of 16 bytes.
    #[error("{binding} is at {address:#x}, which is not a multiple of 16")]
    Address {
        /// The binding.
        binding: &'static str,
        /// Where its memory starts.
        address: u64,
    },
    /// The matrix lies within its binding: the driver knows no lengths, and copies stop at the map's.
    #[error("{binding} needs {needs} bytes and has {has}")]
    Memory {
        /// The binding.
        binding: &'static str,
        /// Bytes from the matrix's first to its last.
        needs: u64,
        /// Bytes of the binding.
        has: u64,
    },
}

/// The most elements along a dimension.
const MOST_ELEMENTS: u64 = 1 << 32;
/// Strides are below this, bytes.
const STRIDE_LIMIT: u64 = 1 << 40;
/// The most elements of a box along a dimension.
const MOST_OF_BOX: u32 = 256;
/// Addresses, strides and a box's rows are multiples of this, bytes.
const PIECE: u64 = 16;
/// What a swizzle may span, bytes.
const SPANS: [u32; 3] = [32, 64, 128];

impl TensorMap {
    /// Whether the map keeps the rules that depend on nothing but itself.
    ///
    /// Errors: the first rule that it breaks, in the order of [`MapRule`].
    pub fn check(&self) -> Result<(), MapError> {
        first_broken(self.name, &self.rules())
    }

    /// Whether the map can be one of `bytes` bytes of memory at `address`.
    ///
    /// Errors: [`MapRule::Address`], [`MapRule::Memory`].
    pub fn check_memory(&self, address: u64, bytes: u64) -> Result<(), MapError> {
        let (binding, needs) = (self.binding, self.extent());
        first_broken(
            self.name,
            &[
                (!address.is_multiple_of(PIECE), MapRule::Address { binding, address }),
                (needs > bytes, MapRule::Memory { binding, needs, has: bytes }),
            ],
        )
    }

    /// Bytes from the first of the matrix to the last; `u64::MAX` if there are more.
    pub const fn extent(&self) -> u64 {
        let before_last = self.dims[1].saturating_sub(1).saturating_mul(self.stride);
        before_last.saturating_add(self.row())
    }

    /// Bytes of a row of the matrix.
    const fn row(&self) -> u64 {
        self.dims[0].saturating_mul(self.dtype.bytes() as u64)
    }

    /// Every rule of the map alone, and whether it is broken.
    fn rules(&self) -> [(bool, MapRule); 10] {
        let Self { dims: [columns, rows], stride, tile, swizzle: span, .. } = *self;
        let (row, bytes) = (self.row(), tile[0].saturating_mul(self.dtype.bytes() as u32));
        let dim = |dim, size| (!(1..=MOST_ELEMENTS).contains(&size), MapRule::Dim { dim, size });
        let boxed = |dim, size| (!(1..=MOST_OF_BOX).contains(&size), MapRule::Box { dim, size });
        [
            dim("columns", columns),
            dim("rows", rows),
            (!stride.is_multiple_of(PIECE), MapRule::StrideMultiple { stride }),
            (stride >= STRIDE_LIMIT, MapRule::StrideLimit { stride }),
            (stride < row, MapRule::StrideOverlap { stride, row }),
            boxed("columns", tile[0]),
            boxed("rows", tile[1]),
            (!u64::from(bytes).is_multiple_of(PIECE), MapRule::BoxMultiple { bytes }),
            (!SPANS.contains(&span), MapRule::Swizzle { bytes: span }),
            (bytes != span, MapRule::BoxSpan { bytes, span }),
        ]
    }
}

fn first_broken(map: &'static str, rules: &[(bool, MapRule)]) -> Result<(), MapError> {
    match rules.iter().find(|(broken, _)| *broken) {
        Some(&(_, rule)) => Err(MapError { map, rule }),
        None => Ok(()),
    }
}

impl Plan {
    /// The maps in their order, with the address of the memory that each is of; `None` where the problem
    /// has no such operand. `pointers` follow the bindings.
    ///
    /// Errors: in a map's place, the rule that it or its memory breaks. The map's own are asked again, for
    /// a plan's fields are public.
    pub fn bound_maps<'a>(
        &'a self,
        pointers: &'a [u64],
    ) -> impl Iterator<Item = Result<(&'a TensorMap, Option<u64>), MapError>> {
        self.maps.iter().map(move |map| {
            let mut bound = self.bindings.iter().zip(pointers);
            let Some((binding, &address)) = bound.find(|(b, _)| b.name == map.binding) else {
                let rule = MapRule::Binding { binding: map.binding };
                return Err(MapError { map: map.name, rule });
            };
            map.check()?;
            if !binding.is_present() {
                return Ok((map, None));
            }
            map.check_memory(address, binding.bytes)?;
            Ok((map, Some(address)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Caps, CudaCaps, DType, Epilogue, KERNELS, Linear, OpKind, Problem, Target};
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    /// 100 rows of 80 halves, 256 bytes apart, in boxes of 64 bytes.
    const GOOD: TensorMap = TensorMap {
        name: "map_x",
        binding: "x",
        dtype: DType::F16,
        dims: [80, 100],
        stride: 256,
        tile: [32, 128],
        swizzle: 64,
    };

    /// What the map breaks: exactly one rule, in these words.
    #[track_caller]
    fn breaks_only(map: TensorMap, rule: MapRule, words: &str) {
        let broken: Vec<_> = map.rules().into_iter().filter(|(b, _)| *b).map(|(_, r)| r).collect();
        assert_eq!(broken, [rule]);
        assert_eq!(map.check(), Err(MapError { map: "map_x", rule }));
        assert_eq!(map.check().unwrap_err().to_string(), words);
    }

    #[test]
    fn a_good_map_and_those_at_the_limits_break_none() {
        let most = [1 << 32, 1 << 32];
        let wide = TensorMap { dims: most, stride: (1 << 40) - 16, ..GOOD };
        let least = TensorMap { dims: [1, 1], stride: 16, tile: [16, 1], swizzle: 32, ..GOOD };
        let bytes = TensorMap { dtype: DType::I8, tile: [128, 256], swizzle: 128, ..GOOD };
        let floats = TensorMap { dtype: DType::F32, dims: [64, 2], ..GOOD };
        let floats = TensorMap { tile: [8, 1], swizzle: 32, ..floats };
        for map in [GOOD, wide, least, bytes, floats] {
            assert_eq!(map.check(), Ok(()), "{map:?}");
        }
    }

    #[test]
    fn columns_are_1_to_2_to_the_32() {
        let none = TensorMap { dims: [0, 100], ..GOOD };
        let (dim, many) = ("columns", (1 << 32) + 1);
        let words = "map_x: 0 columns of the matrix are not 1 to 2^32";
        breaks_only(none, MapRule::Dim { dim, size: 0 }, words);
        let words = "map_x: 4294967297 columns of the matrix are not 1 to 2^32";
        let far = TensorMap { dims: [many, 100], stride: 1 << 39, ..GOOD };
        breaks_only(far, MapRule::Dim { dim, size: many }, words);
    }

    #[test]
    fn rows_are_1_to_2_to_the_32() {
        let (dim, many) = ("rows", (1 << 32) + 1);
        let words = "map_x: 0 rows of the matrix are not 1 to 2^32";
        breaks_only(TensorMap { dims: [80, 0], ..GOOD }, MapRule::Dim { dim, size: 0 }, words);
        let words = "map_x: 4294967297 rows of the matrix are not 1 to 2^32";
        let long = TensorMap { dims: [80, many], ..GOOD };
        breaks_only(long, MapRule::Dim { dim, size: many }, words);
    }

    #[test]
    fn a_stride_is_a_multiple_of_16() {
        let rule = MapRule::StrideMultiple { stride: 168 };
        let words = "map_x: rows 168 bytes apart, which is not a multiple of 16";
        breaks_only(TensorMap { stride: 168, ..GOOD }, rule, words);
    }

    #[test]
    fn a_stride_is_below_2_to_the_40() {
        let rule = MapRule::StrideLimit { stride: 1 << 40 };
        let words = "map_x: rows 1099511627776 bytes apart, which is not below 2^40";
        breaks_only(TensorMap { stride: 1 << 40, ..GOOD }, rule, words);
    }

    #[test]
    fn rows_do_not_overlap() {
        let rule = MapRule::StrideOverlap { stride: 80, row: 160 };
        let words = "map_x: rows 80 bytes apart, which is less than their 160 bytes";
        breaks_only(TensorMap { stride: 80, ..GOOD }, rule, words);
    }

    #[test]
    fn a_box_has_1_to_256_rows() {
        for size in [0, 257] {
            let rule = MapRule::Box { dim: "rows", size };
            let words = alloc::format!("map_x: {size} rows of the box are not 1 to 256");
            breaks_only(TensorMap { tile: [32, size], ..GOOD }, rule, &words);
        }
    }

    /// No box of so many columns can have the bytes of a swizzle, so the span is broken as well, but is
    /// not what is said. Here, and in the next.
    #[test]
    fn a_box_has_1_to_256_columns() {
        for size in [0, 257, u32::MAX] {
            let why = TensorMap { tile: [size, 128], ..GOOD }.check().unwrap_err();
            assert_eq!(why.rule, MapRule::Box { dim: "columns", size });
            let words = alloc::format!("map_x: {size} columns of the box are not 1 to 256");
            assert_eq!(why.to_string(), words);
        }
    }

    #[test]
    fn a_row_of_the_box_is_a_multiple_of_16_bytes() {
        let why = TensorMap { tile: [20, 128], ..GOOD }.check().unwrap_err();
        assert_eq!(why.rule, MapRule::BoxMultiple { bytes: 40 });
        let words = "map_x: a row of the box has 40 bytes, which is not a multiple of 16";
        assert_eq!(why.to_string(), words);
    }

    #[test]
    fn a_swizzle_spans_32_64_or_128_bytes() {
        for bytes in [16, 48, 256] {
            let words = alloc::format!("map_x: a swizzle spans 32, 64 or 128 bytes, not {bytes}");
            let map = TensorMap { tile: [bytes / 2, 128], swizzle: bytes, ..GOOD };
            breaks_only(map, MapRule::Swizzle { bytes }, &words);
        }
    }

    #[test]
    fn a_row_of_the_box_is_what_the_swizzle_spans() {
        for (columns, bytes) in [(16, 32), (64, 128)] {
            let words =
                alloc::format!("map_x: a row of the box has {bytes} bytes, its swizzle spans 64");
            let map = TensorMap { tile: [columns, 128], ..GOOD };
            breaks_only(map, MapRule::BoxSpan { bytes, span: 64 }, &words);
        }
    }

    #[test]
    fn memory_starts_at_a_multiple_of_16() {
        let why = GOOD.check_memory(0x1008, u64::MAX).unwrap_err();
        assert_eq!(why.rule, MapRule::Address { binding: "x", address: 0x1008 });
        assert_eq!(why.to_string(), "map_x: x is at 0x1008, which is not a multiple of 16");
    }

    #[test]
    fn the_matrix_lies_within_its_memory() {
        let needs = 99 * 256 + 160;
        assert_eq!(GOOD.extent(), needs, "what follows the last row is not needed");
        assert_eq!(GOOD.check_memory(0x1000, needs), Ok(()));
        let why = GOOD.check_memory(0x1000, needs - 1).unwrap_err();
        assert_eq!(why.rule, MapRule::Memory { binding: "x", needs, has: needs - 1 });
        assert_eq!(why.to_string(), "map_x: x needs 25504 bytes and has 25503");
        let endless = TensorMap { dims: [1 << 32; 2], stride: (1 << 40) - 16, ..GOOD };
        assert!(endless.check_memory(0x1000, u64::MAX - 1).is_err(), "no sum wraps around");
    }

    /// A plan with maps.
    fn planned() -> Plan {
        let hopper = Caps::Cuda(CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 });
        let plans = KERNELS.iter().filter(|spec| spec.target == Target::Sm90a).filter_map(|spec| {
            let OpKind::Linear(weights) = spec.op else { return None };
            let (dtype, epilogue) = (spec.dtype, Epilogue::NONE);
            let p = Linear { m: 200, n: 304, k: 160, weights, dtype, out: dtype, epilogue };
            spec.plan(&Problem::Linear(p), &hopper).ok()
        });
        plans.into_iter().next().expect("a row for sm_90a")
    }

    #[test]
    fn a_plan_binds_its_maps_to_its_pointers() {
        let plan = planned();
        let pointers: Vec<_> = (1..=plan.bindings.len() as u64).map(|at| at << 20).collect();
        let bound: Vec<_> = plan.bound_maps(&pointers).map(Result::unwrap).collect();
        assert_eq!(bound.len(), plan.maps.len());
        for ((map, address), own) in bound.into_iter().zip(&plan.maps) {
            let at = plan.bindings.iter().position(|b| b.name == own.binding).unwrap();
            let present = plan.bindings[at].is_present();
            assert_eq!((map, address), (own, present.then_some(pointers[at])));
        }
    }

    #[test]
    fn a_plan_says_what_is_wrong_with_a_pointer() {
        let mut plan = planned();
        plan.maps = vec![TensorMap { binding: plan.bindings[0].name, ..GOOD }];
        let [binding, absent] = [0, 1].map(|at: usize| plan.bindings[at].name);
        let rule = |plan: &Plan, pointers: &[u64]| {
            let first = plan.bound_maps(pointers).next().expect("a map");
            first.map(|(_, address)| address).map_err(|why| why.rule)
        };
        plan.bindings[0].bytes = GOOD.extent();
        assert_eq!(rule(&plan, &[0x1000]), Ok(Some(0x1000)));
        assert_eq!(rule(&plan, &[0x1004]), Err(MapRule::Address { binding, address: 0x1004 }));
        assert_eq!(rule(&plan, &[]), Err(MapRule::Binding { binding }));
        plan.bindings[0].bytes = 100;
        let needs = GOOD.extent();
        assert_eq!(rule(&plan, &[0x1000]), Err(MapRule::Memory { binding, needs, has: 100 }));
        // an operand that the problem does not have has no memory to check
        plan.bindings[1].bytes = 0;
        plan.maps[0].binding = absent;
        assert_eq!(rule(&plan, &[0x1000, 0]), Ok(None));
        plan.maps[0].stride = 168;
        assert_eq!(rule(&plan, &[0x1000, 0]), Err(MapRule::StrideMultiple { stride: 168 }));
        plan.maps[0].binding = "z";
        let why = plan.bound_maps(&[0x1000]).next().unwrap().unwrap_err();
        assert_eq!(why.to_string(), "map_x: z has no pointer");
    }
}
