//! Tensor maps: what a launch tells the copy engine of Hopper about an operand, by value.

use super::bytes;
use super::wgmma::STORE_PIECE;
use crate::spec::{Form, KernelSpec, Tile};
use crate::{DType, Linear, OpKind, Unsupported, Values, Weights};
use alloc::vec;
use alloc::vec::Vec;

/// A map of a binding's memory that a launch passes by value (128 bytes, aligned to 64) after the
/// parameters: the arguments of `cuTensorMapEncodeTiled`, of rank 2, without interleave, with element
/// strides of 1, and zeros for what lies outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// Its name in the kernel's text.
    pub name: &'static str,
    /// The binding whose memory it describes.
    pub binding: &'static str,
    /// The elements' type.
    pub dtype: DType,
    /// Elements along each dimension, the innermost first.
    pub dims: [u64; 2],
    /// Bytes between two rows.
    pub stride: u64,
    /// Elements of the box that one copy brings, the innermost first.
    pub tile: [u32; 2],
    /// Bytes of a row of the box, over which 16-byte pieces are permuted: 32, 64 or 128.
    pub swizzle: u32,
}

/// Most bytes of a row of a box: the widest swizzle.
const BOX_BYTES: u32 = 128;

impl TensorMap {
    /// A row-major matrix of `rows × cols`, in boxes of `tile_rows` rows and at most 128 bytes.
    fn new(
        (name, binding): (&'static str, &'static str),
        dtype: DType,
        [cols, rows]: [u64; 2],
        [tile_cols, tile_rows]: [u32; 2],
    ) -> Self {
        let tile = [tile_cols.min(BOX_BYTES / dtype.bytes() as u32), tile_rows];
        let swizzle = tile[0] * dtype.bytes() as u32;
        Self { name, binding, dtype, dims: [cols, rows], stride: bytes(dtype, cols), tile, swizzle }
    }

    /// Bytes of a box, whether or not it lies within the matrix: what a copy brings to shared memory.
    pub const fn box_bytes(&self) -> u32 {
        self.tile[0] * self.tile[1] * self.dtype.bytes() as u32
    }
}

/// The maps of a linear layer's kernel: of the stored values, unless they come to registers, of x, y and
/// the residual (or y again, where there is none); no maps for the other forms.
pub(super) fn linear(spec: &KernelSpec, p: &Linear) -> Result<Vec<TensorMap>, Unsupported> {
    let (OpKind::Linear(weights), Form::Wgmma(w)) = (spec.op, spec.form) else {
        return Ok(vec![]);
    };
    let stored = |k: u32| if weights == Weights::Sparse24 { k / 2 } else { k };
    let Tile { m, n, k } = w.tile;
    let mut maps = vec![];
    if w.values == Values::Shared {
        let values = [stored(p.k).into(), p.m.into()];
        maps.push(TensorMap::new(("map_values", "values"), p.dtype, values, [stored(k), m]));
    }
    let x = [p.k.into(), p.n.into()];
    maps.push(TensorMap::new(("map_x", "x"), p.dtype, x, [k, n / w.cluster]));
    // 64 features, and as many tokens as fill a piece
    let tokens = STORE_PIECE / 64 / p.out.bytes() as u32;
    let (y, tile) = match p.epilogue.transposed {
        false => ([p.m.into(), p.n.into()], [64, tokens]),
        true => ([p.n.into(), p.m.into()], [tokens, 64]),
    };
    let residual = if p.epilogue.residual { "residual" } else { "y" };
    for names in [("map_y", "y"), ("map_residual", residual)] {
        maps.push(TensorMap::new(names, p.out, y, tile));
    }
    maps.iter().try_for_each(TensorMap::check)?;
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Caps, CudaCaps, Epilogue, MapError, MapRule, Plan, Problem, Target, Teams, Wgmma};
    use alloc::{format, string::ToString};

    const fn wgmma(weights: Weights, tile: Tile, stages: u32, cluster: u32) -> KernelSpec {
        let (values, teams) = (Values::Shared, Teams::Cooperative);
        let form = Form::Wgmma(Wgmma { tile, stages, values, teams, cluster });
        KernelSpec { op: OpKind::Linear(weights), dtype: DType::F16, target: Target::Sm90a, form }
    }

    static DEEP: KernelSpec = wgmma(Weights::Sparse24, Tile { m: 128, n: 128, k: 128 }, 4, 1);
    static WIDE: KernelSpec = wgmma(Weights::Sparse24, Tile { m: 128, n: 256, k: 64 }, 4, 2);
    static DENSE: KernelSpec = wgmma(Weights::Dense, Tile { m: 128, n: 256, k: 64 }, 3, 1);

    fn planned(
        spec: &'static KernelSpec,
        sm: u32,
        (m, n, k): (u32, u32, u32),
        out: DType,
        epilogue: Epilogue,
    ) -> Result<Plan, Unsupported> {
        let OpKind::Linear(weights) = spec.op else { return Err(Unsupported::Operation) };
        let problem =
            Problem::Linear(Linear { m, n, k, weights, dtype: DType::F16, out, epilogue });
        spec.plan(
            &problem,
            &Caps::Cuda(CudaCaps { name: None, sm, shared_bytes: 227 << 10, sms: 132 }),
        )
    }

    fn plan(
        spec: &'static KernelSpec,
        sm: u32,
        shape: (u32, u32, u32),
    ) -> Result<Plan, Unsupported> {
        planned(spec, sm, shape, DType::F16, Epilogue::NONE)
    }

    #[test]
    fn every_number_of_a_launch() {
        assert_eq!(DEEP.to_string(), "spmm24_f16_wgmma_sp_sm90a_128x128x128_s4");
        assert_eq!(WIDE.to_string(), "spmm24_f16_wgmma_sp_sm90a_128x256x64_s4_c2");
        assert_eq!(DENSE.to_string(), "gemm_f16_wgmma_sm90a_128x256x64_s3");
        let p = plan(&DEEP, 90, (200, 300, 160)).unwrap();
        assert_eq!((p.grid, p.block), ([6, 1, 1], 384));
        assert_eq!(p.shared_bytes, 4 * (128 * 64 * 2 + 128 * 128 * 2) + 16384 + 128);
        let granted = |name| p.bindings.iter().find(|b| b.name == name).map(|b| b.bytes);
        assert_eq!(granted("values"), Some(200 * 80 * 2), "rows are not padded, k to 32");
        assert_eq!(granted("metadata"), Some(256 * 256 / 8), "m padded to 64, k to 128");
        assert_eq!(p.params, [200, 300, 160, Epilogue::NONE.flags(DType::F16), 0, 0]);
        let map = |name, binding, dims: [u64; 2], tile, swizzle| {
            let (dtype, stride) = (DType::F16, 2 * dims[0]);
            TensorMap { name, binding, dtype, dims, stride, tile, swizzle }
        };
        let maps = [
            map("map_values", "values", [80, 200], [64, 128], 128),
            map("map_x", "x", [160, 300], [64, 128], 128),
            map("map_y", "y", [200, 300], [64, 32], 128),
            map("map_residual", "y", [200, 300], [64, 32], 128),
        ];
        assert_eq!(p.maps, maps);
        assert_eq!(p.maps[0].box_bytes(), 128 * 128);
    }

    #[test]
    fn a_box_of_sparse_weights_is_half_as_wide_and_a_cluster_shares_x() {
        let p = plan(&WIDE, 90, (128, 256, 64)).unwrap();
        assert_eq!((p.maps[0].tile, p.maps[0].swizzle), ([32, 128], 64));
        assert_eq!((p.maps[1].tile, p.maps[1].swizzle), ([64, 128], 128));
        assert_eq!(p.grid, [2, 1, 1], "a cluster, the second block of which has no rows");
        let p = plan(&DENSE, 90, (128, 256, 64)).unwrap();
        assert_eq!(
            (p.maps[0].dims, p.maps[0].tile, p.maps[0].swizzle),
            ([64, 128], [64, 128], 128)
        );
    }

    #[test]
    fn y_goes_by_pieces_of_4_kib() {
        let shape = (128, 24, 64);
        let y = |out, transposed| {
            let epilogue = Epilogue { transposed, residual: true, ..Epilogue::NONE };
            let p = planned(&WIDE, 90, shape, out, epilogue).unwrap();
            assert_eq!((p.maps[2].dims, p.maps[2].tile), (p.maps[3].dims, p.maps[3].tile));
            assert_eq!((p.maps[2].binding, p.maps[3].binding), ("y", "residual"));
            (p.maps[2].dims, p.maps[2].tile, p.maps[2].swizzle)
        };
        assert_eq!(y(DType::F16, false), ([128, 24], [64, 32], 128));
        assert_eq!(y(DType::F32, false), ([128, 24], [32, 16], 128));
        assert_eq!(y(DType::F16, true), ([24, 128], [32, 64], 64));
        assert_eq!(y(DType::F32, true), ([24, 128], [16, 64], 64));
    }

    /// `sm_90a` is of 9.0 alone: it runs on no older device, and on no newer one.
    #[test]
    fn only_compute_capability_9_0_runs_it() {
        for sm in [80, 89, 100, 120] {
            let why = plan(&DEEP, sm, (128, 128, 128)).unwrap_err();
            assert!(why.to_string().contains(&format!("{sm}")), "{why}");
            assert!(why.to_string().contains("90"), "{why}");
        }
    }

    #[test]
    fn the_drivers_rules_are_errors() {
        static TALL: KernelSpec = wgmma(Weights::Dense, Tile { m: 64, n: 320, k: 64 }, 1, 1);
        let why = plan(&TALL, 90, (64, 64, 64)).unwrap_err();
        let rule = MapRule::Box { dim: "rows", size: 320 };
        assert_eq!(why, MapError { map: "map_x", rule }.into());
        static NARROW: KernelSpec = wgmma(Weights::Sparse24, Tile { m: 64, n: 64, k: 16 }, 1, 1);
        let why = plan(&NARROW, 90, (64, 64, 64)).unwrap_err();
        assert!(why.to_string().contains("32, 64 or 128 bytes, not 16"), "{why}");
        let why = plan(&DEEP, 90, (100, 64, 64)).unwrap_err();
        assert_eq!(
            why,
            MapError { map: "map_y", rule: MapRule::StrideMultiple { stride: 200 } }.into()
        );
        static LARGE: KernelSpec = wgmma(Weights::Dense, Tile { m: 128, n: 256, k: 128 }, 3, 1);
        let why = plan(&LARGE, 90, (64, 64, 64)).unwrap_err();
        let needs = 3 * (128 * 256 + 256 * 256) + 16384 + 128;
        assert_eq!(
            why,
            Unsupported::Limit { what: "bytes of shared memory", needs, has: 227 << 10 }
        );
    }
}
