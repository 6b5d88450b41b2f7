//! What a tile of k costs a multiprocessor of Hopper, in clocks: the account behind `select` and behind
//! the static table of `ptx/README.md`. Nothing of it was measured on our kernels.

use crate::spec::{Form, KernelSpec, OpKind, Tile, Wgmma};
use crate::{Values, Weights};

/// Bytes that a multiprocessor's shared memory gives in a clock.
pub const SHARED_BYTES: f64 = 128.0;
/// Bytes that L2 gives each of 132 multiprocessors in a clock: 5120 to all of them (A100 whitepaper,
/// table of its L2; taken to be the same here).
pub const L2_BYTES: f64 = 5120.0 / 132.0;
/// Multiply-adds of 16-bit values in a clock: m64n256k16 in 128 (arXiv 2402.13499).
pub const MULTIPLY_ADDS: f64 = 2048.0;

/// Clocks of one tile of k of one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clocks {
    /// The tensor cores multiply.
    pub multiply: f64,
    /// They read shared memory: B in each multiply, and A unless it comes from registers.
    pub read: f64,
    /// Copies write shared memory. Whether that takes from the reads is not known.
    pub fill: f64,
    /// L2 gives what the block does not get from its cluster.
    pub l2: f64,
}

impl Clocks {
    /// Of a `wgmma` kernel; `None` for other forms.
    pub fn of(spec: &KernelSpec) -> Option<Self> {
        let (OpKind::Linear(weights), Form::Wgmma(w)) = (spec.op, spec.form) else { return None };
        let Wgmma { tile: Tile { m, n, k }, values, cluster, .. } = w;
        let (m, n, k, bytes) = (m as f64, n as f64, k as f64, spec.dtype.bytes() as f64);
        let kept = if weights == Weights::Sparse24 { k / 2.0 } else { k };
        let (a, b) = (m * kept * bytes, n * k * bytes);
        // two bits for each kept value, of whatever type
        let metadata = if weights == Weights::Sparse24 { m * k / 8.0 } else { 0.0 };
        // each 64 rows of A read all of B
        let (in_shared, slices) = (if values == Values::Shared { a } else { 0.0 }, m / 64.0);
        Some(Self {
            multiply: m * n * kept * bytes / 2.0 / MULTIPLY_ADDS,
            read: (in_shared + slices * b) / SHARED_BYTES,
            fill: (in_shared + b) / SHARED_BYTES,
            l2: (a + metadata + b / cluster as f64) / L2_BYTES,
        })
    }

    /// The same, if fills take from the reads.
    pub fn with_fills_in_the_way(self) -> Self {
        Self { read: self.read + self.fill, ..self }
    }

    /// The longest, as far as it is known.
    pub fn bound(&self) -> f64 {
        self.multiply.max(self.read).max(self.l2)
    }

    /// The share of the tensor cores' peak that the longest allows.
    pub fn share_of_peak(&self) -> f64 {
        self.multiply / self.bound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Target, Teams};

    fn clocks(weights: Weights, values: Values, n: u32, cluster: u32) -> Clocks {
        let tile = Tile { m: 128, n, k: 64 };
        let form =
            Form::Wgmma(Wgmma { tile, stages: 4, values, teams: Teams::Cooperative, cluster });
        let op = OpKind::Linear(weights);
        Clocks::of(&KernelSpec { op, dtype: DType::F16, target: Target::Sm90a, form }).unwrap()
    }

    /// 88.9 % and 80 % of the peak from shared memory, all of it from registers, as measured (arXiv
    /// 2402.13499: 144 and 128 clocks for each of four m64n256k32).
    #[test]
    fn sparse_values_in_shared_memory_cap_the_peak() {
        let c = |values, n| clocks(Weights::Sparse24, values, n, 1);
        assert_eq!((c(Values::Shared, 256).multiply, c(Values::Shared, 256).read), (512.0, 576.0));
        assert_eq!((c(Values::Shared, 128).multiply, c(Values::Shared, 128).read), (256.0, 320.0));
        assert_eq!(c(Values::Registers, 256).read, 512.0);
        let dense = clocks(Weights::Dense, Values::Shared, 128, 1);
        assert!(dense.read <= dense.multiply);
    }

    #[test]
    fn fills_may_take_from_the_reads() {
        let c = clocks(Weights::Sparse24, Values::Shared, 256, 1).with_fills_in_the_way();
        assert_eq!((c.multiply, c.read, c.fill), (512.0, 576.0 + 320.0, 320.0));
    }

    #[test]
    fn bytes_of_metadata_do_not_depend_on_the_type() {
        let tile = Tile { m: 128, n: 128, k: 128 };
        let (values, teams) = (Values::Shared, Teams::Cooperative);
        let form = Form::Wgmma(Wgmma { tile, stages: 4, values, teams, cluster: 1 });
        let op = OpKind::Linear(Weights::Sparse24);
        let spec = KernelSpec { op, dtype: DType::E4M3, target: Target::Sm90a, form };
        let bytes = (Clocks::of(&spec).unwrap().l2 * L2_BYTES).round();
        assert_eq!(bytes, (8 + 16 + 2) as f64 * 1024.0, "W's kept values, X, metadata");
    }

    #[test]
    fn a_cluster_shares_x() {
        let c = |cluster| {
            (clocks(Weights::Sparse24, Values::Shared, 256, cluster).l2 * L2_BYTES).round()
        };
        assert_eq!([c(1), c(2), c(4)], [42.0, 26.0, 18.0].map(|kib| kib * 1024.0 - 1024.0));
    }
}
