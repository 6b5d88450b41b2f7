//! What was measured: on which device which kernel is fastest for a layer at a number of tokens. The table
//! derives from the records below `benches/record`; `cargo xtask record` writes it.

use crate::{
    Caps, DType, KERNELS, KernelSpec, Linear, OpKind, Plan, Problem, Unsupported, Weights,
};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

#[path = "generated/tuned.rs"]
mod table;

pub(crate) use table::TABLES;

/// The devices that were measured, by the interface that names them.
pub(crate) struct Tables {
    /// Behind the CUDA driver.
    pub(crate) cuda: &'static [Device],
    /// Behind wgpu.
    pub(crate) wgpu: &'static [Device],
}

/// What was measured on a device.
pub(crate) struct Device {
    /// Its name, as [`Caps::name`] has it.
    pub(crate) name: &'static str,
    /// A row for each layer and number of tokens.
    pub(crate) fastest: &'static [Fastest],
}

/// The fastest row of [`KERNELS`] for a layer at a number of tokens.
#[derive(Debug)]
pub(crate) struct Fastest {
    weights: Weights,
    dtype: DType,
    m: u32,
    k: u32,
    n: u32,
    /// Its name: a row's place in the table changes, and the table may lag behind [`KERNELS`].
    kernel: &'static str,
}

/// A measurement speaks for other numbers of tokens as well, up to so many times fewer or more: the step
/// between those that are tuned (1, 4, 16, …), so that any between two of them is near to both.
pub const REACH: u32 = 4;

/// Why no measurement decides for a problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untuned {
    /// It is no linear layer.
    #[error("only linear layers are tuned")]
    Operation,
    /// The device is the host.
    #[error("the host has one kernel for each type, there is nothing to tune")]
    Host,
    /// The device has no name to look up.
    #[error("the device's name is not known, so there is nothing to look up in the tuned table")]
    Nameless,
    /// Nothing was measured on the device.
    #[error("{device} is not in the tuned table")]
    Device {
        /// Its name.
        device: String,
    },
    /// This layer was not measured there.
    #[error("the tuned table of {device} has no layer of {m}×{k}, {weights}, {dtype}")]
    Layer {
        /// The device.
        device: &'static str,
        /// Output features.
        m: u32,
        /// Input features.
        k: u32,
        /// How W is stored.
        weights: Weights,
        /// The type of W and X.
        dtype: DType,
    },
    /// It was measured only at numbers of tokens that are more than [`REACH`] times off.
    #[error(
        "the tuned table of {device} has this layer at {nearest} tokens, the nearest to {n}, which is \
         more than {REACH} times off"
    )]
    Tokens {
        /// The device.
        device: &'static str,
        /// The tokens asked for.
        n: u32,
        /// The nearest that were measured.
        nearest: u32,
    },
    /// What was fastest within reach cannot serve the problem, for its epilogue or types, say.
    #[error("{kernel}, the fastest measured on {device} at {n} tokens, cannot serve: {why}")]
    Unserved {
        /// The device.
        device: &'static str,
        /// The tokens it was measured at, the nearest to those asked for.
        n: u32,
        /// The kernel.
        kernel: &'static KernelSpec,
        /// The rule that forbids it.
        why: Unsupported,
    },
    /// The table is older than [`KERNELS`]; `cargo xtask record` mends it.
    #[error("{kernel}, the fastest measured on {device} at {n} tokens, is no kernel any more")]
    Gone {
        /// The device.
        device: &'static str,
        /// The tokens it was measured at.
        n: u32,
        /// The kernel's name.
        kernel: &'static str,
    },
}

/// A plan that a measurement speaks for.
pub(crate) struct Tuned {
    pub(crate) plan: Plan,
    pub(crate) device: &'static str,
    /// The tokens at which its kernel was the fastest.
    pub(crate) n: u32,
}

impl Tables {
    /// The plan of the kernel that was measured fastest for this layer at the nearest number of tokens,
    /// by their ratio (fewer if two are as near), whose fastest kernel serves the problem.
    ///
    /// The next nearest counts too, within [`REACH`]: at 17 tokens what won at 16 may serve 16 at most,
    /// and what won at 64 was at least measured here.
    pub(crate) fn plan(&self, problem: &Problem, caps: &Caps) -> Result<Tuned, Untuned> {
        let Problem::Linear(p) = problem else { return Err(Untuned::Operation) };
        let devices = match caps {
            Caps::Cpu => return Err(Untuned::Host),
            Caps::Wgpu(_) => self.wgpu,
            Caps::Cuda(_) => self.cuda,
        };
        let name = caps.name().ok_or(Untuned::Nameless)?;
        let known = devices.iter().find(|device| device.name == name);
        let Device { name: device, fastest } =
            *known.ok_or_else(|| Untuned::Device { device: name.into() })?;
        let Linear { m, n, k, weights, dtype, .. } = *p;
        let mut rows: Vec<&Fastest> = fastest
            .iter()
            .filter(|f| (f.m, f.k, f.weights, f.dtype) == (m, k, weights, dtype))
            .collect();
        rows.sort_by(|a, b| nearer(n, a.n, b.n));
        let Some(nearest) = rows.first() else {
            return Err(Untuned::Layer { device, m, k, weights, dtype });
        };
        let mut why = Untuned::Tokens { device, n, nearest: nearest.n };
        let reach = |f: &&&Fastest| n.max(f.n) as u64 <= REACH as u64 * n.min(f.n) as u64;
        for row in rows.iter().filter(reach) {
            let of = row.n;
            let outcome = match row.spec() {
                None => Err(Untuned::Gone { device, n: of, kernel: row.kernel }),
                Some(kernel) => (kernel.plan(problem, caps)).map_err(|why| Untuned::Unserved {
                    device,
                    n: of,
                    kernel,
                    why,
                }),
            };
            match outcome {
                Ok(plan) => return Ok(Tuned { plan, device, n: of }),
                // the nearest one's reason is told
                Err(reason) if row.n == nearest.n => why = reason,
                Err(_) => {}
            }
        }
        Err(why)
    }
}

/// Which of two numbers of tokens is nearer to n, by the ratio of the larger to the smaller.
fn nearer(n: u32, a: u32, b: u32) -> core::cmp::Ordering {
    let ratio = |x: u32| (n.max(x) as u64, n.min(x) as u64);
    let ((a_high, a_low), (b_high, b_low)) = (ratio(a), ratio(b));
    (a_high * b_low).cmp(&(b_high * a_low)).then(a.cmp(&b))
}

impl Fastest {
    fn spec(&self) -> Option<&'static KernelSpec> {
        let op = OpKind::Linear(self.weights);
        let mut rows = KERNELS.iter().filter(|s| (s.op, s.dtype) == (op, self.dtype));
        rows.find(|spec| spec.to_string() == self.kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType::{BF16, F16};
    use crate::Weights::{Dense, Sparse24};
    use crate::{Basis, CudaCaps, Epilogue, Target, WgpuCaps};
    use alloc::collections::BTreeSet;
    use alloc::format;

    const SKINNY: &str = "spmm24_f16_mma_sp_sm80_skinny_16x16x64_w8";
    const SMALL: &str = "spmm24_f16_mma_sp_sm80_64x64x64_s4";
    const HOPPER: &str = "spmm24_f16_wgmma_sp_sm90a_128x256x64_s4_c2";

    const fn row(n: u32, kernel: &'static str) -> Fastest {
        Fastest { weights: Sparse24, dtype: F16, m: 4096, k: 4096, n, kernel }
    }

    const MEASURED: Tables = Tables {
        cuda: &[
            Device {
                name: "GPU A",
                fastest: &[row(1, SKINNY), row(4, SKINNY), row(16, SKINNY), row(64, SMALL)],
            },
            Device { name: "GPU H", fastest: &[row(16, SKINNY), row(64, HOPPER)] },
            Device { name: "GPU O", fastest: &[row(16, "spmm24_f16_mma_sp_sm80_8x8x8_s9")] },
        ],
        wgpu: &[Device { name: "GPU W", fastest: &[row(4, "spmv24_f16_wgsl_32x8")] }],
    };

    fn cuda(name: &str, sm: u32) -> Caps {
        let name = Some(name.into());
        Caps::Cuda(CudaCaps { name, sm, shared_bytes: 227 << 10, sms: 108 })
    }

    fn wgpu(name: &str) -> Caps {
        Caps::Wgpu(WgpuCaps {
            name: Some(name.into()),
            f16: true,
            subgroup: 0,
            cooperative: None,
            software: false,
            workgroup_bytes: 16 << 10,
            invocations: 256,
            workgroups: 65535,
            binding_bytes: 1 << 32,
            storage_buffers: 8,
        })
    }

    fn layer(n: u32) -> Linear {
        let (dtype, out, epilogue) = (F16, F16, Epilogue::NONE);
        Linear { m: 4096, n, k: 4096, weights: Sparse24, dtype, out, epilogue }
    }

    fn plan(p: Linear, caps: &Caps) -> Result<(String, u32), Untuned> {
        let tuned = MEASURED.plan(&Problem::Linear(p), caps)?;
        assert_eq!(tuned.plan.problem, Problem::Linear(p), "the plan is of what was asked");
        Ok((tuned.plan.spec.to_string(), tuned.n))
    }

    #[test]
    fn the_nearest_number_of_tokens_decides() {
        let at = |n| plan(layer(n), &cuda("GPU A", 80)).unwrap();
        for (n, kernel, measured) in [
            (1, SKINNY, 1),
            (2, SKINNY, 1), // as near to 4
            (3, SKINNY, 4),
            (16, SKINNY, 16),
            (33, SMALL, 64),
            (64, SMALL, 64),
            (256, SMALL, 64),
        ] {
            assert_eq!(at(n), (kernel.into(), measured), "{n} tokens");
        }
        // 16 is nearer, but what won there serves no more than 16
        assert_eq!(at(17), (SMALL.into(), 64));
    }

    #[test]
    fn measurements_too_far_away_say_nothing() {
        let why = plan(layer(257), &cuda("GPU A", 80)).unwrap_err();
        assert_eq!(why, Untuned::Tokens { device: "GPU A", n: 257, nearest: 64 });
        assert!(why.to_string().contains("at 64 tokens, the nearest to 257"), "{why}");
        assert!(matches!(plan(layer(0), &cuda("GPU A", 80)), Err(Untuned::Tokens { n: 0, .. })));
    }

    #[test]
    fn a_kernel_that_cannot_serve_is_passed_over_with_its_reason() {
        let scales = Epilogue { scales: true, ..Epilogue::NONE };
        let asked = Linear { epilogue: scales, ..layer(16) };
        let why = plan(asked, &cuda("GPU A", 80)).unwrap_err();
        let said = why.to_string();
        assert!(said.contains("at 16 tokens, cannot serve: has no scales"), "{said}");
        // the next within reach can
        assert_eq!(plan(asked, &cuda("GPU H", 90)), Ok((HOPPER.into(), 64)));
        // the name is the same, the device is not
        let why = plan(layer(64), &cuda("GPU H", 80)).unwrap_err();
        let rule =
            Unsupported::Range { dim: "compute capability × 10", size: 80, min: 90, max: 90 };
        assert!(matches!(why, Untuned::Unserved { n: 64, why, .. } if why == rule), "{why}");
    }

    #[test]
    fn what_was_not_measured_is_told() {
        let at = |p, caps: &Caps| plan(p, caps).unwrap_err().to_string();
        let a = cuda("GPU A", 80);
        assert_eq!(at(layer(1), &cuda("GPU B", 80)), "GPU B is not in the tuned table");
        let narrow = Linear { m: 4100, ..layer(1) };
        let of_a = "the tuned table of GPU A has no layer of ";
        assert_eq!(at(narrow, &a), format!("{of_a}4100×4096, 2:4, f16"));
        let twin = Linear { weights: Dense, ..layer(1) };
        assert_eq!(at(twin, &a), format!("{of_a}4096×4096, dense, f16"));
        let bf16 = Linear { dtype: BF16, out: BF16, ..layer(1) };
        assert_eq!(at(bf16, &a), format!("{of_a}4096×4096, 2:4, bf16"));
        let unnamed = CudaCaps { name: None, sm: 80, shared_bytes: 163 << 10, sms: 108 };
        assert_eq!(plan(layer(1), &Caps::Cuda(unnamed)), Err(Untuned::Nameless));
        assert_eq!(plan(layer(1), &Caps::Cpu), Err(Untuned::Host));
        assert!(at(layer(16), &cuda("GPU O", 80)).contains("is no kernel any more"));
        let gather = crate::Gather { n: 1, d: 32, vocab: 9, dtype: F16 };
        assert_eq!(MEASURED.plan(&Problem::Gather(gather), &a).err(), Some(Untuned::Operation));
    }

    #[test]
    fn a_selection_tells_its_basis() {
        let select = |n, caps: &Caps| {
            let problem = Problem::Linear(layer(n));
            crate::select::select_by(&MEASURED, &problem, caps).unwrap()
        };
        let tuned = select(4, &wgpu("GPU W"));
        assert_eq!(tuned.plan.spec.to_string(), "spmv24_f16_wgsl_32x8");
        assert_eq!(tuned.basis, Basis::Tuned { device: "GPU W", n: 4 });
        assert!(
            tuned.to_string().contains(": the fastest measured on GPU W, at 4 tokens\n  "),
            "{tuned}"
        );
        let other = select(4, &wgpu("GPU X"));
        assert_ne!(
            other.plan.spec, tuned.plan.spec,
            "one that loads a weight once for four tokens"
        );
        assert!(
            other.to_string().contains(": the cheapest; GPU X is not in the tuned table\n  "),
            "{other}"
        );
        assert_eq!(other.considered.len(), tuned.considered.len());
    }

    #[test]
    fn every_row_of_the_committed_table_is_a_kernel_for_its_layer() {
        for (devices, ptx) in [(TABLES.cuda, true), (TABLES.wgpu, false)] {
            let names: BTreeSet<_> = devices.iter().map(|device| device.name).collect();
            assert_eq!(names.len(), devices.len(), "a device is listed twice");
            for Device { name, fastest } in devices {
                assert!(!fastest.is_empty(), "{name}");
                let mut seen = BTreeSet::new();
                for row in *fastest {
                    let spec = row.spec().unwrap_or_else(|| panic!("{name}: {row:?} is no kernel"));
                    assert_eq!(spec.target.is_ptx(), ptx, "{name}: {row:?}");
                    assert_ne!(spec.target, Target::Cpu, "{name}: {row:?}");
                    let (weights, dtype, out) =
                        (row.weights, row.dtype, Linear::narrow_out(row.dtype));
                    let key = (weights == Dense, dtype, row.m, row.k, row.n);
                    assert!(seen.insert(key), "{name}: {row:?} is listed twice");
                    let (m, n, k, epilogue) = (row.m, row.n, row.k, Epilogue::NONE);
                    let problem =
                        Problem::Linear(Linear { m, n, k, weights, dtype, out, epilogue });
                    let caps = match spec.target {
                        Target::Sm90a => cuda(name, 90),
                        Target::Sm80 => cuda(name, 80),
                        _ => wgpu(name),
                    };
                    spec.plan(&problem, &caps)
                        .unwrap_or_else(|why| panic!("{name}: {row:?}: {why}"));
                }
            }
        }
    }
}
