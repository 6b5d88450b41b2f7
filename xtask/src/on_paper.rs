//! What Hopper's kernels may reach by their tiles and stages alone: a section of `ptx/README.md`, and,
//! with the issue slots that only SASS tells, a table of `cargo xtask sass`.

use crate::sass::multiplies;
use quickpick_kernels::clocks::{Clocks, L2_BYTES, MULTIPLY_ADDS, SHARED_BYTES};
use quickpick_kernels::{Form, KERNELS, KernelSpec, OpKind, Teams, Values, Weights, Wgmma};
use std::fmt::Write;

/// The section of the README.
pub fn section() -> String {
    let rows: Vec<_> = KERNELS.iter().map(|spec| (spec, None)).collect();
    preface() + &table(&rows)
}

fn preface() -> String {
    format!(
        "
## Hopper, on paper

What the tile, the stages and the variant of a `wgmma` kernel allow, computed (`kernels::clocks`). **Nothing
of it was measured.** Clocks are those of one `wgmma` (64 rows of W by the tile's n) on one multiprocessor.

- *multiply*: the tensor cores, {MULTIPLY_ADDS} multiply-adds of 16-bit values a clock, twice as many of 8 (arXiv
  2402.13499).
- *read*: bytes of shared memory that it reads, and their clocks at {SHARED_BYTES} bytes a clock: X, and W's
  values unless they come from registers.
- *fill*: clocks in which copies write as much to shared memory as it uses up.
- *L2*: clocks in which L2 gives its share of X, W and metadata, at {L2_BYTES:.1} bytes a clock. This is an assumption: 5120 for 132
  multiprocessors, as NVIDIA says of A100. The blocks of a cluster share X.
- *limit*: the longest of multiply, read and L2.
- *% of peak*: multiply by the longest of the three; then with the reads alone, as they are with W in shared
  memory beside W in registers (the kernel's own is bold), and with L2 alone. In parentheses: if fills share
  the port with reads, which is not known.
- *in flight*: all stages but the one that is multiplied, and for how many clocks they feed the tensor cores
  at their peak: so long may a copy take. Metadata, and W in registers, are fetched beside the stages.
- *Y*: whether the other consumer multiplies while one's Y leaves. Where not, the share is less.

`cargo xtask sass` adds *issue*, beside multiply: clocks in which each scheduler issues, for its one of the four
warps of a `wgmma`, the main loop's instructions.

"
    )
}

/// The `wgmma` kernels among these, with their main loop's instructions per `wgmma` where known. A
/// `wgmma` is issued by four warps, one on each scheduler, and takes all four tensor cores: the two
/// consumers' slots come in the clocks of two.
pub fn table(kernels: &[(&KernelSpec, Option<f64>)]) -> String {
    let rows: Vec<_> = kernels.iter().filter_map(|(spec, slots)| Row::new(spec, *slots)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::new();
    let issued = rows.iter().any(|row| row.slots.is_some());
    let [issue, dashes] = if issued { [" issue |", "--:|"] } else { [""; 2] };
    let _ = writeln!(
        out,
        "| kernel | multiply | read | fill | L2 |{issue} limit | % of peak | reads, W in shared memory | \
         reads, W in registers | L2 alone | in flight | Y |\n\
         |---|--:|--:|--:|--:|{dashes}---|--:|--:|--:|--:|--:|---|"
    );
    for row in rows {
        let _ = writeln!(out, "{}", row.line(issued));
    }
    out
}

/// A kernel, and its clocks for a tile of k.
struct Row<'a> {
    spec: &'a KernelSpec,
    w: Wgmma,
    clocks: Clocks,
    slots: Option<f64>,
}

impl<'a> Row<'a> {
    fn new(spec: &'a KernelSpec, slots: Option<f64>) -> Option<Self> {
        let Form::Wgmma(w) = spec.form else { return None };
        Some(Self { spec, w, clocks: Clocks::of(spec)?, slots })
    }

    fn line(&self, issued: bool) -> String {
        let Self { spec, w, clocks, .. } = self;
        let each = |clocks: f64| clocks / multiplies(spec, w) as f64;
        let [multiply, read, fill, l2] =
            [clocks.multiply, clocks.read, clocks.fill, clocks.l2].map(each);
        let bytes = read * SHARED_BYTES;
        let issue = match self.slots {
            Some(slots) => format!(" {slots:.1} |"),
            None if issued => " – |".to_string(),
            None => String::new(),
        };
        let limit = self.limit();
        let (all, by_l2) = (shares(*clocks), Clocks { read: 0.0, ..*clocks }.share_of_peak());
        let by_l2 = 100.0 * by_l2;
        let [shared, registers] = [Values::Shared, Values::Registers].map(|v| self.reads(v));
        let ahead = (w.stages - 1) as f64;
        let kib = ahead * clocks.fill * SHARED_BYTES / 1024.0;
        let hidden = ahead * clocks.multiply;
        let y = if w.teams == Teams::PingPong { "hidden" } else { "not hidden" };
        format!(
            "| `{spec}` | {multiply:.0} | {bytes:.0} B: {read:.0} | {fill:.0} | {l2:.0} |{issue} {limit} | {all} | \
             {shared} | {registers} | {by_l2:.0} | {kib:.0} KiB: {hidden:.0} | {y} |"
        )
    }

    fn limit(&self) -> &'static str {
        let bound = self.clocks.bound();
        match bound {
            _ if bound == self.clocks.multiply => "tensor cores",
            _ if bound == self.clocks.read => "shared memory",
            _ => "L2",
        }
    }

    /// The share of the peak that reads allow if W's values come from there; dense ones have one place.
    fn reads(&self, values: Values) -> String {
        let own = self.w.values == values;
        let form = Form::Wgmma(Wgmma { values, ..self.w });
        let sparse = self.spec.op == OpKind::Linear(Weights::Sparse24);
        match Clocks::of(&KernelSpec { form, ..*self.spec }) {
            Some(clocks) if own => format!("**{}**", shares(Clocks { l2: 0.0, ..clocks })),
            Some(clocks) if sparse => shares(Clocks { l2: 0.0, ..clocks }),
            _ => "–".to_string(),
        }
    }
}

/// Percent of the peak, and in parentheses if fills share the port.
fn shares(clocks: Clocks) -> String {
    let [free, shared] =
        [clocks, clocks.with_fills_in_the_way()].map(|c| 100.0 * c.share_of_peak());
    format!("{free:.0} ({shared:.0})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick_kernels::{DType, Target, Tile};

    fn spec(weights: Weights, values: Values) -> KernelSpec {
        let tile = Tile { m: 128, n: 256, k: 64 };
        let teams = Teams::Cooperative;
        let form = Form::Wgmma(Wgmma { tile, stages: 5, values, teams, cluster: 4 });
        KernelSpec { op: OpKind::Linear(weights), dtype: DType::F16, target: Target::Sm90a, form }
    }

    /// Clocks of one m64n256k32, as measured (arXiv 2402.13499): 144 from shared memory, 128 from
    /// registers.
    #[test]
    fn a_row_is_of_one_wgmma() {
        let line = |values| {
            let spec = spec(Weights::Sparse24, values);
            table(&[(&spec, Some(14.25))]).lines().next_back().unwrap_or_default().to_string()
        };
        let shared = line(Values::Shared);
        let want = "| 128 | 18432 B: 144 | 80 | 112 | 14.2 | shared memory | 89 (57) | \
                    **89 (57)** | 100 (67) | 100 | 160 KiB: 2048 | not hidden |";
        assert!(shared.ends_with(want), "{shared}");
        let registers = line(Values::Registers);
        let want = "| 128 | 16384 B: 128 | 64 | 112 | 14.2 | tensor cores | 100 (67) | \
                    89 (57) | **100 (67)** | 100 | 128 KiB: 2048 | not hidden |";
        assert!(registers.ends_with(want), "{registers}");
    }

    #[test]
    fn every_wgmma_kernel_has_its_row() {
        let section = section();
        for spec in KERNELS {
            let rows = section.matches(&format!("| `{spec}` |")).count();
            assert_eq!(rows, usize::from(matches!(spec.form, Form::Wgmma(_))), "{spec}");
        }
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn dense_values_come_from_shared_memory() {
        let spec = spec(Weights::Dense, Values::Shared);
        assert!(table(&[(&spec, None)]).contains(" | – | "));
    }
}
