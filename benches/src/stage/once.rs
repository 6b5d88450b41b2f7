//! Stage `once`: one kernel on one shape, a few launches, for a profiler or a sanitizer around it.

use crate::clock::Timed;
use crate::contender::Method;
use crate::error::{Error, Result};
use crate::ours::{Ours, Uploaded, problem};
use crate::weights::random;
use quickpick::kernels::{OpKind, Plan, select};
use std::time::Duration;

/// The size of a linear layer's problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Output features.
    pub m: u32,
    /// Tokens.
    pub n: u32,
    /// Input features.
    pub k: u32,
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers: std::result::Result<Vec<u32>, _> =
            text.split(',').map(|part| part.trim().parse()).collect();
        match numbers.as_deref() {
            Ok(&[m, n, k]) => Ok(Self { m, n, k }),
            _ => Err(format!("{text:?}: m,n,k are wanted, as in 4096,16,4096")),
        }
    }
}

/// Runs the kernel of that name, or the chosen one, checks its answer, and prints its plan and time.
pub fn run<B: Timed>(backend: &B, kernel: Option<&str>, size: Size) -> Result<()> {
    let plan = plan(backend, kernel, size)?;
    let weight = random(plan.spec.dtype, size.m, size.k, 1)?;
    let method = Method { rounds: 1, sample: Duration::ZERO, rotate_bytes: 0 };
    let mut uploaded = Uploaded::new(backend, &*weight, method);
    let mut ours = Ours::new(&mut uploaded, &plan)?;
    let us = crate::contender::Contender::sample(&mut ours)?;
    println!("{plan}: {us:.2} µs");
    Ok(())
}

fn plan<B: Timed>(backend: &B, kernel: Option<&str>, Size { m, n, k }: Size) -> Result<Plan> {
    let of = |weights, dtype| problem(weights, dtype, m, n, k);
    let Some(name) = kernel else {
        let problem = of(quickpick::kernels::Weights::Sparse24, quickpick::kernels::DType::F16);
        return Ok(select(&problem, backend.caps()).map_err(quickpick::Error::from)?.plan);
    };
    let spec = super::correct::kernels(backend.caps()).find(|spec| spec.to_string() == name);
    let spec = spec.ok_or_else(|| Error::Failed(format!("no kernel is called {name}")))?;
    let OpKind::Linear(weights) = spec.op else {
        return Err(Error::Failed(format!("{name} is no linear layer")));
    };
    let plan = spec.plan(&of(weights, spec.dtype), backend.caps());
    plan.map_err(|why| quickpick::Error::Unsupported { kernel: name.into(), why }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickpick::Cpu;

    #[test]
    fn names_and_sizes_are_checked() {
        let cpu = Cpu::new();
        let size: Size = "33, 2, 64".parse().unwrap();
        assert!(run(&cpu, None, size).is_ok());
        assert!(run(&cpu, Some("spmm24_bf16_cpu"), size).is_ok());
        for (name, word) in [("nonsense", "no kernel"), ("rotary_f16_cpu", "no linear layer")] {
            let why = run(&cpu, Some(name), size).unwrap_err().to_string();
            assert!(why.contains(word), "{why}");
        }
        assert!("1,2".parse::<Size>().is_err());
    }
}
