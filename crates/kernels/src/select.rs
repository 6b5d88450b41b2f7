//! Selection that explains itself: what was measured decides, else the costs; each row says what it costs
//! or why it cannot serve.

use crate::cost;
use crate::spec::{Form, OpKind};
use crate::tuned::{TABLES, Tables, Tuned, Untuned};
use crate::{Caps, KERNELS, KernelSpec, Plan, Problem, Target, Unsupported, Weights};
use alloc::vec::Vec;
use core::fmt;

/// One row's answer to a problem.
#[derive(Clone, Debug)]
pub struct Considered {
    /// The row.
    pub spec: &'static KernelSpec,
    /// Its cost (smaller is better; no unit), or why it cannot serve.
    pub outcome: Result<f64, Unsupported>,
}

/// The chosen plan and every row that was considered for it.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The plan.
    pub plan: Plan,
    /// Why its row was taken.
    pub basis: Basis,
    /// The rows of the operation in the device's languages, in the table's order.
    pub considered: Vec<Considered>,
}

/// On what a choice rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The row was the fastest of all that were measured.
    Tuned {
        /// On this device.
        device: &'static str,
        /// At this number of tokens.
        n: u32,
    },
    /// The row is the cheapest of those considered, since no measurement decides.
    Cost(Untuned),
}

/// No row serves the problem; each says why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no kernel serves {problem}{}", Reasons(.considered))]
pub struct NoKernel {
    /// What was asked.
    pub problem: Problem,
    /// The rows of the operation in the device's languages.
    pub considered: Vec<Considered>,
}

/// Chooses the kernel for a problem on a device: the one that was measured fastest there for this layer at the
/// nearest number of tokens ([`REACH`](crate::REACH)); else the cheapest, of equals the earlier row.
pub fn select(problem: &Problem, caps: &Caps) -> Result<Selection, NoKernel> {
    select_by(&TABLES, problem, caps)
}

/// The same with other measurements.
pub(crate) fn select_by(
    tables: &Tables,
    problem: &Problem,
    caps: &Caps,
) -> Result<Selection, NoKernel> {
    let mut best: Option<(f64, Plan)> = None;
    let mut considered = Vec::new();
    for spec in KERNELS {
        let outcome = spec.plan(problem, caps).map(|plan| {
            let cost = cost(&plan, caps);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, plan));
            }
            cost
        });
        // a row of another operation, or in a language that the device does not run, explains nothing
        if !matches!(outcome, Err(Unsupported::Operation | Unsupported::Language { .. })) {
            considered.push(Considered { spec, outcome });
        }
    }
    match (tables.plan(problem, caps), best) {
        (Ok(Tuned { plan, device, n }), _) => {
            Ok(Selection { plan, basis: Basis::Tuned { device, n }, considered })
        }
        (Err(why), Some((_, plan))) => Ok(Selection { plan, basis: Basis::Cost(why), considered }),
        (Err(_), None) => Err(NoKernel { problem: *problem, considered }),
    }
}

/// Relative time of a plan: on CUDA in clocks (`cost`); of shaders the workgroups that fall to one multiprocessor
/// × the work of one.
///
/// A workgroup's work is its multiply-adds, or the bytes of its weights where those weigh more
/// (16 multiply-adds to a byte, about the balance of the machines in question).
fn cost(plan: &Plan, caps: &Caps) -> f64 {
    let (OpKind::Linear(weights), Problem::Linear(p)) = (plan.spec.op, plan.problem) else {
        return 1.0;
    };
    // wgpu does not tell how many multiprocessors there are
    let multiprocessors = match caps {
        Caps::Cuda(c) => return cost::clocks(plan, c),
        Caps::Wgpu(w) if !w.software => 32.0,
        Caps::Wgpu(_) | Caps::Cpu => 1.0,
    };
    let (tile_m, tile_n, stretch) = match plan.spec.form {
        Form::Tiled { tile, .. } => {
            let stretch = match plan.spec.target {
                Target::WgslSubgroups => shuffling(caps),
                Target::WgslCoop8 | Target::WgslCoop16 => COOPERATIVE,
                _ => 1.0,
            };
            (tile.m as f64, tile.n as f64, stretch)
        }
        Form::Gemv { rows, tokens, .. } => (rows as f64, tokens as f64, 1.0),
        _ => return 1.0,
    };
    let k = p.k as f64 * if weights == Weights::Sparse24 { 0.5 } else { 1.0 };
    let groups = plan.grid.iter().map(|&g| g as f64).product::<f64>();
    let multiply = tile_m * tile_n * k;
    let bytes = 16.0 * tile_m * k * p.dtype.bytes() as f64;
    libm::ceil(groups / multiprocessors) * multiply.max(bytes) * stretch
}

/// How long cooperative matrices take, as a share of what the f32 units do. Reckoned low, for no device has been
/// measured: NVIDIA's tensor cores have eight times the rate, Apple's GPUs multiply them on the f32 units, but
/// with fewer loads.
const COOPERATIVE: f64 = 0.5;

/// How much longer a kernel takes that shuffles, than one that loads from workgroup memory.
///
/// GPUs shuffle at about a quarter of the rate at which they multiply and add (32 lanes a clock of a
/// multiprocessor against 128, CUDA's programming guide, arithmetic instructions). On the host's processor
/// a shuffle is an instruction and a load is a loop over the lanes: four times as fast on Mesa's lavapipe
/// (benches/record).
fn shuffling(caps: &Caps) -> f64 {
    match caps {
        Caps::Wgpu(w) if w.software => 0.25,
        _ => 4.0,
    }
}

struct Reasons<'a>(&'a [Considered]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(": none is written for this kind of device yet");
        }
        for c in self.0 {
            match c.outcome {
                Ok(cost) => write!(f, "\n  {}: cost {cost:.3e}", c.spec)?,
                Err(why) => write!(f, "\n  {}: {why}", c.spec)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tuned { device, n } => {
                write!(f, "the fastest measured on {device}, at {n} tokens")
            }
            Self::Cost(why) => write!(f, "the cheapest; {why}"),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, basis, considered } = self;
        write!(f, "{} for {}: {basis}{}", plan.spec, plan.problem, Reasons(considered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CudaCaps, DType, Epilogue, Linear, Tile, Values, WgpuCaps};

    const A100: CudaCaps = CudaCaps { name: None, sm: 80, shared_bytes: 163 << 10, sms: 108 };
    const H100: CudaCaps = CudaCaps { name: None, sm: 90, shared_bytes: 227 << 10, sms: 132 };
    const B200: CudaCaps = CudaCaps { name: None, sm: 100, shared_bytes: 227 << 10, sms: 148 };

    fn selected(caps: CudaCaps, (m, n, k): (u32, u32, u32), weights: Weights) -> Selection {
        let (dtype, out, epilogue) = (DType::F16, DType::F16, Epilogue::NONE);
        let problem = Problem::Linear(Linear { m, n, k, weights, dtype, out, epilogue });
        select(&problem, &Caps::Cuda(caps)).unwrap()
    }

    /// The tile chosen on an A100.
    fn chosen(m: u32, n: u32, k: u32, weights: Weights) -> Tile {
        match selected(A100, (m, n, k), weights).plan.spec.form {
            Form::Tiled { tile, .. } | Form::Skinny { tile, .. } => tile,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_hopper_takes_wgmma_and_not_for_few_tokens() {
        for weights in [Weights::Sparse24, Weights::Dense] {
            let target = |caps, shape| selected(caps, shape, weights).plan.spec.target;
            assert_eq!(target(H100, (8192, 8192, 4096)), Target::Sm90a);
            assert_eq!(target(H100, (4096, 1, 4096)), Target::Sm80);
            for other in [A100, B200] {
                assert_eq!(target(other, (8192, 8192, 4096)), Target::Sm80);
            }
        }
    }

    /// The kernel of a 4096 × 4096 layer on an adapter with everything.
    fn on_wgpu(software: bool, n: u32, weights: Weights) -> &'static KernelSpec {
        let caps = Caps::Wgpu(WgpuCaps {
            name: None,
            f16: true,
            subgroup: if software { 8 } else { 32 },
            cooperative: None,
            software,
            workgroup_bytes: 16 << 10,
            invocations: 256,
            workgroups: 65535,
            binding_bytes: 1 << 27,
            storage_buffers: 8,
        });
        let (m, k, dtype, out, epilogue) = (4096, 4096, DType::F16, DType::F16, Epilogue::NONE);
        let problem = Problem::Linear(Linear { m, n, k, weights, dtype, out, epilogue });
        select(&problem, &caps).unwrap().plan.spec
    }

    #[test]
    fn shuffles_are_for_the_hosts_processor_and_tiles_as_wide_as_the_tokens() {
        for weights in [Weights::Sparse24, Weights::Dense] {
            for (n, tokens) in [(1, 1), (2, 4), (4, 4), (8, 8), (16, 16), (1024, 16)] {
                let spec = on_wgpu(true, n, weights);
                assert_eq!(spec.target, Target::WgslSubgroups, "{n} tokens: {spec}");
                assert!(
                    matches!(spec.form, Form::Tiled { tile, .. } if tile.n == tokens),
                    "{spec}"
                );
            }
            for (n, tokens) in [(1, Some(1)), (2, Some(4)), (4, Some(4)), (16, None)] {
                let spec = on_wgpu(false, n, weights);
                assert_ne!(spec.target, Target::WgslSubgroups, "{n} tokens: {spec}");
                let together = match spec.form {
                    Form::Gemv { tokens, .. } => Some(tokens),
                    _ => None,
                };
                assert_eq!(together, tokens, "{n} tokens: {spec}");
            }
        }
    }

    #[test]
    fn large_problems_take_large_tiles() {
        for weights in [Weights::Sparse24, Weights::Dense] {
            assert_eq!(chosen(8192, 8192, 4096, weights), Tile { m: 128, n: 256, k: 64 });
            assert_eq!(chosen(4096, 64, 4096, weights), Tile { m: 128, n: 64, k: 64 });
            assert_eq!(chosen(4096, 1, 4096, weights), Tile { m: 16, n: 16, k: 64 });
        }
    }

    #[test]
    fn many_tokens_and_features_read_x_once_for_more_features() {
        for (m, tokens, rows) in [(28672, 1, 16), (28672, 16, 32), (4096, 1, 16), (4096, 16, 16)] {
            let spec = selected(H100, (m, tokens, 4096), Weights::Sparse24).plan.spec;
            assert!(
                matches!(spec.form, Form::Skinny { tile, .. } if tile.m == rows),
                "{m}: {spec}"
            );
        }
    }

    /// Where `mma` takes no 8-bit floats, they are multiplied as f16; elsewhere as they are.
    #[test]
    fn few_tokens_of_8_bit_floats_have_a_kernel_everywhere() {
        let ada = CudaCaps { name: None, sm: 89, shared_bytes: 99 << 10, sms: 128 };
        let blackwell = CudaCaps { name: None, sm: 120, shared_bytes: 99 << 10, sms: 170 };
        let devices = [(H100, true), (B200, true), (ada, false), (blackwell, false)];
        for dtype in [DType::E4M3, DType::E5M2] {
            for (caps, as_f16) in &devices {
                for n in [1, 16] {
                    let (m, k, out) = (4096, 4096, DType::BF16);
                    let (weights, epilogue) = (Weights::Sparse24, Epilogue::NONE);
                    let p = Linear { m, n, k, weights, dtype, out, epilogue };
                    let chosen = select(&Problem::Linear(p), &Caps::Cuda(caps.clone())).unwrap();
                    let spec = chosen.plan.spec;
                    assert!(
                        matches!(spec.form, Form::Skinny { halves, .. } if halves == *as_f16),
                        "{}, {n} tokens: {spec}",
                        caps.sm
                    );
                }
            }
        }
    }

    /// Slower than dense on the one H200 that ran them.
    #[test]
    fn w_in_registers_is_not_chosen_on_hopper() {
        for n in [64, 256, 1024, 4096] {
            let spec = selected(H100, (4096, n, 4096), Weights::Sparse24).plan.spec;
            let registers = matches!(spec.form, Form::Wgmma(w) if w.values == Values::Registers);
            assert!(!registers, "{n}: {spec}");
        }
    }
}
