//! What a kernel's main loop may be made of, and what of it is a fault.

use super::code::{Code, MainLoop, Registers};
use quickpick_kernels::{DType, Form, KernelSpec, OpKind, Tile, Weights, Wgmma};
use std::collections::BTreeSet;

/// What a tile's main loop may issue per MMA, sparse and dense, beside what CUTLASS issues if sparse.
///
/// CUTLASS's sm_80 kernels of the same tile and stages, of 16 bits and of s8, at commit 7107b055, through the
/// same assembler (13.5; 12.9 agrees), counted in the same way. Tiles are 128 bytes of X deep.
const PER_MMA: &[Budget] = &[
    Budget { m: 128, n: 256, cutlass: [Some(3.12), None], sparse: 2.0, dense: 1.6 },
    Budget { m: 128, n: 128, cutlass: [Some(3.31), Some(3.30)], sparse: 2.0, dense: 1.6 },
    Budget { m: 128, n: 64, cutlass: [None, None], sparse: 2.6, dense: 2.0 },
    Budget { m: 64, n: 64, cutlass: [Some(7.50), None], sparse: 3.3, dense: 2.3 },
];

struct Budget {
    m: u32,
    n: u32,
    /// Of 16 bits, of s8.
    cutlass: [Option<f64>; 2],
    sparse: f64,
    dense: f64,
}

/// What CUTLASS's sparse kernels for sm_90 issue per `wgmma` in a consumer's main loop, through assembler
/// 13.5, counted in the same way: of 16-bit values with n = 128 and 256, which serve integers and
/// the tiles that CUTLASS lacks too; of E4M3 on average, taken for E5M2 too.
fn per_wgmma(dtype: DType, n: u32) -> f64 {
    match dtype {
        DType::E4M3 | DType::E5M2 => 46.5,
        _ if n <= 128 => 13.3,
        _ => 15.5,
    }
}

/// What CUTLASS issues per MMA for the same, if it is sparse.
pub(super) fn cutlass(spec: &KernelSpec) -> Option<f64> {
    match (spec.op, spec.form) {
        (OpKind::Linear(Weights::Sparse24), Form::Tiled { tile, .. }) => {
            let [half, s8] = budget(tile)?.cutlass;
            match spec.dtype {
                DType::I8 => s8,
                DType::E4M3 | DType::E5M2 => None,
                _ => half,
            }
        }
        (OpKind::Linear(Weights::Sparse24), Form::Wgmma(w)) => {
            Some(per_wgmma(spec.dtype, w.tile.n))
        }
        _ => None,
    }
}

fn budget(tile: Tile) -> Option<&'static Budget> {
    PER_MMA.iter().find(|budget| (budget.m, budget.n) == (tile.m, tile.n))
}

/// Whether the main loop of a linear layer issues too much.
pub(super) fn too_many(spec: &KernelSpec, main: &MainLoop) -> Option<String> {
    let OpKind::Linear(weights) = spec.op else { return None };
    let per_mma = main.per_mma();
    match (spec.form, weights) {
        (Form::Tiled { tile, .. }, _) => {
            let Some(budget) = budget(tile) else {
                return Some("its tile has no limit".to_string());
            };
            let limit = if weights == Weights::Sparse24 { budget.sparse } else { budget.dense };
            (per_mma > limit).then(|| format!("{per_mma:.2} instructions per MMA, limit {limit}"))
        }
        (Form::Wgmma(_), Weights::Sparse24) => {
            let limit = cutlass(spec).filter(|limit| per_mma >= *limit)?;
            Some(format!("{per_mma:.2} instructions per GMMA, not below CUTLASS's {limit}"))
        }
        _ => None,
    }
}

/// What is wrong with a linear layer's code: in the main loop, and with registers.
pub(super) fn judge(spec: &KernelSpec, code: &Code<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let OpKind::Linear(weights) = spec.op else { return faults };
    let Some(main) = code.main_loop() else {
        return vec!["no loop with tensor-core instructions".to_string()];
    };
    let sparse = if weights == Weights::Sparse24 { main.mma } else { 0 };
    if main.sparse_mma != sparse {
        faults.push(format!("{} of {} MMAs are sparse", main.sparse_mma, main.mma));
    }
    if main.ldgsts.0 != main.ldgsts.1 {
        faults.push(format!("{} of {} LDGSTS are of 128 bits", main.ldgsts.1, main.ldgsts.0));
    }
    let staged = main.ldgsts.1 > 0 && main.ldsm.1 > 0 && main.lds.0 == main.lds.1;
    match spec.form {
        Form::Tiled { .. } if !staged => {
            faults.push(format!("operands not staged in 128-bit pieces: {main:?}"));
        }
        Form::Skinny { .. } if main.ldg.1 == 0 => faults.push("no 128-bit global load".to_string()),
        Form::Wgmma(w) => faults.extend(wgmma(spec, &w, &main, &code.registers())),
        _ => {}
    }
    faults
}

fn wgmma(spec: &KernelSpec, w: &Wgmma, main: &MainLoop, sides: &[Registers]) -> Vec<String> {
    let mut faults = Vec::new();
    let expected = w.stages * multiplies(spec, w) * w.rows() / w.tile.m;
    if main.mma != expected {
        faults.push(format!("{} GMMAs in the main loop, {expected} round the ring", main.mma));
    }
    let stops: BTreeSet<_> = main.stops.iter().collect();
    faults.extend(stops.iter().map(|text| format!("the main loop stops at `{text}`")));
    if sides.len() != 2 {
        faults.push(format!("{} times USETMAXREG, for consumers and producer", sides.len()));
    }
    for side in sides.iter().filter(|side| side.used > side.allowed) {
        faults.push(format!("R{} used, of {} registers", side.used - 1, side.allowed));
    }
    faults
}

/// Multiplies of a block's tile of k: each takes 64 rows, and 32 bytes of theirs as they are stored.
pub fn multiplies(spec: &KernelSpec, w: &Wgmma) -> u32 {
    let halved = if spec.op == OpKind::Linear(Weights::Sparse24) { 2 } else { 1 };
    w.tile.m / 64 * w.tile.k * spec.dtype.bytes() as u32 / (32 * halved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_kernels::{Target, Teams, Values};

    /// Two multiplies in each of two stages.
    fn spec(weights: Weights, dtype: DType) -> KernelSpec {
        let tile = Tile { m: 128, n: 256, k: 128 / dtype.bytes() as u32 };
        let (values, teams) = (Values::Shared, Teams::Cooperative);
        let form = Form::Wgmma(Wgmma { tile, stages: 2, values, teams, cluster: 1 });
        KernelSpec { op: OpKind::Linear(weights), dtype, target: Target::Sm90a, form }
    }

    const HGMMA: &str = "HGMMA.SP.64x256x32.F32 R24, gdesc[UR8], R24, UP0, R161, 0x0";

    /// A kernel with this in its main loop.
    fn sass(body: &[&str]) -> String {
        let mut lines = vec!["USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xe8", ".L_x_0:"];
        lines.extend(body);
        lines.extend([
            "WARPGROUP.DEPBAR.LE gsb0, 0x1",
            "@P0 BRA `(.L_x_0)",
            "WARPGROUP.DEPBAR.LE gsb0, 0x0",
            "MEMBAR.ALL.GPU",
            "EXIT",
            "USETMAXREG.DEALLOC.CTAPOOL 0x28",
            "MOV R39, R2",
            "EXIT",
        ]);
        let line = |line: &str| match line.ends_with(':') {
            true => format!("{line}\n"),
            false => format!("        /*0000*/  {line} ;\n"),
        };
        lines.into_iter().map(line).collect()
    }

    fn faults(spec: &KernelSpec, body: &[&str]) -> Vec<String> {
        let text = sass(body);
        let code = Code::parse(&text);
        let mut faults = judge(spec, &code);
        faults.extend(code.main_loop().and_then(|main| too_many(spec, &main)));
        faults
    }

    fn one_fault(body: &[&str], about: &str) {
        let faults = faults(&spec(Weights::Sparse24, DType::F16), body);
        assert!(matches!(&faults[..], [one] if one.contains(about)), "{about}: {faults:?}");
    }

    #[test]
    fn a_good_loop_has_no_fault() {
        assert_eq!(faults(&spec(Weights::Sparse24, DType::F16), &[HGMMA; 4]), [""; 0]);
    }

    #[test]
    fn all_multiplies_are_there_and_of_one_kind() {
        one_fault(&[HGMMA; 3], "3 GMMAs in the main loop, 4 round the ring");
        let dense = "HGMMA.64x256x16.F32 R24, gdesc[UR8], R24, UP0";
        one_fault(&[HGMMA, HGMMA, HGMMA, dense], "3 of 4 MMAs are sparse");
        let as_dense = faults(&spec(Weights::Dense, DType::F16), &[HGMMA; 8]);
        assert!(matches!(&as_dense[..], [one] if one.contains("8 of 8 MMAs are sparse")));
    }

    #[test]
    fn more_instructions_than_cutlass_are_a_fault() {
        let body = |op: &'static str, others| {
            [&[op; 4][..], &["UIADD3 UR8, UR6, 0x2, URZ"].repeat(others)].concat()
        };
        // two close the loop
        assert_eq!(faults(&spec(Weights::Sparse24, DType::F16), &body(HGMMA, 55)), [""; 0]);
        one_fault(&body(HGMMA, 56), "15.50 instructions per GMMA, not below CUTLASS's 15.5");
        let qgmma = "QGMMA.SP.64x256x64.F32.E4M3.E4M3 R24, gdesc[UR8], R24, UP0, R161, 0x0";
        let e4m3 = spec(Weights::Sparse24, DType::E4M3);
        assert_eq!(faults(&e4m3, &body(qgmma, 179)), [""; 0]);
        assert_eq!(faults(&e4m3, &body(qgmma, 180)).len(), 1);
    }

    #[test]
    fn nothing_stops_the_main_loop() {
        for stop in [
            "WARPGROUP.DEPBAR.LE gsb0, 0x0",
            "MEMBAR.ALL.GPU",
            "MEMBAR.ALL.CTA",
            "BAR.SYNC.DEFER_BLOCKING 0x1, 0x80",
            "DEPBAR.LE SB0, 0x1",
        ] {
            one_fault(&[HGMMA, HGMMA, HGMMA, HGMMA, stop], stop);
        }
    }

    #[test]
    fn registers_stay_within_setmaxnreg() {
        one_fault(&[HGMMA, HGMMA, HGMMA, HGMMA, "MOV R232, R1"], "R232 used, of 232");
        let high = "HGMMA.SP.64x256x32.F32 R112, gdesc[UR8], R112, UP0, R2, 0x0";
        one_fault(&[HGMMA, HGMMA, HGMMA, high], "R239 used, of 232");
        let text = sass(&[HGMMA; 4]).replace("R39", "R40");
        let faults = judge(&spec(Weights::Sparse24, DType::F16), &Code::parse(&text));
        assert!(matches!(&faults[..], [one] if one.contains("R40 used, of 40")), "{faults:?}");
        let text = sass(&[HGMMA; 4]).replace("USETMAXREG.DEALLOC", "NOP");
        let faults = judge(&spec(Weights::Sparse24, DType::F16), &Code::parse(&text));
        assert!(matches!(&faults[..], [one] if one.contains("1 times USETMAXREG")), "{faults:?}");
    }
}
