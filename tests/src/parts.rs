//! Plans in parts: a device that binds so little at a time that small problems are cut, beside one that runs them
//! whole. What comes out is within the oracle's bound and, bit for bit, the same.

use crate::case::{Case, Rows};
use crate::check::{check, outputs};
use crate::data::Fill;
use crate::packing::{self, Bits};
use crate::shapes::{self, Make};
use crate::trials::{Cases, lacks};
use libtest_mimic::{Failed, Trial};
use quickpick::kernels::{
    ArgMax, DType, Form, Gather, KERNELS, KernelSpec, Linear, OpKind, Order, Packing, Quantize,
    RmsNorm, SpmmCsr, SwiGlu, Weights,
};
use quickpick::{Backend, Wgpu};
use std::sync::Arc;

/// Bytes that the device binds at a time: 256 rows of W of 320 bytes.
pub const LIMIT: u64 = 80 << 10;

/// A trial for each kernel of WGSL that can be cut, and shape: on `whole`, and in parts on a device that binds
/// [`LIMIT`] bytes.
pub fn trials(whole: &Arc<Wgpu>, parted: &Arc<Wgpu>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for spec in KERNELS.iter().filter(|spec| spec.target.is_wgsl()) {
        let ignored = lacks(spec, &**parted).is_some();
        for (shape, makes) in cases(spec) {
            let (whole, parted) = (whole.clone(), parted.clone());
            let test = move || {
                for make in makes {
                    let case = make();
                    both(&whole, &parted, spec, &case)
                        .map_err(|why| Failed::from(format!("{}: {why}", case.problem)))?;
                }
                Ok(())
            };
            let name = format!("wgpu-parts::{spec}::{shape}");
            trials.push(Trial::test(name, test).with_ignored_flag(ignored));
        }
    }
    trials
}

fn both(whole: &Wgpu, parted: &Wgpu, spec: &'static KernelSpec, case: &Case) -> Result<(), String> {
    let parts = |on: &Wgpu| spec.plan(&case.problem, on.caps()).map(|plan| plan.parts.len());
    match (parts(whole), parts(parted)) {
        (Ok(0), Ok(2..)) => {}
        other => return Err(format!("in parts, whole and cut: {other:?}")),
    }
    check(parted, spec, case)?;
    match outputs(whole, spec, case)? == outputs(parted, spec, case)? {
        true => Ok(()),
        false => Err("differs from what the same kernel gives in one launch".into()),
    }
}

fn cases(spec: &KernelSpec) -> Cases {
    let dtype = spec.dtype;
    match spec.op {
        OpKind::Linear(weights) => linear(spec, weights),
        OpKind::Gather => {
            // ids of every part, and one past the end
            let p = Gather { n: 300, d: 96, vocab: 600, dtype };
            vec![one("n300_d96_v600", move || Case::gather(p, Fill::Random, 1))]
        }
        OpKind::RmsNorm => {
            let p = RmsNorm { n: 150, d: 160, eps: 1e-5, out: DType::F16 };
            vec![one("n150_d160", move || Case::rmsnorm(p, Fill::Random, 2))]
        }
        OpKind::SwiGlu => {
            let p = SwiGlu { n: 150, d: 160, out: DType::F16 };
            vec![one("n150_d160", move || Case::swiglu(p, 4.0, Fill::Random, 3))]
        }
        OpKind::ArgMax => {
            let p = ArgMax { n: 200, d: 257 };
            vec![one("n200_d257", move || Case::argmax(p, Fill::Random, 4))]
        }
        OpKind::SpmmCsr => {
            let p = SpmmCsr { m: 301, n: 133, k: 96, nnz: 301 * 9, dtype, residual: true };
            let make = move || Case::spmm_csr(p, Rows::Even, Fill::Random, 5);
            vec![one("m301_n133_k96", make)]
        }
        OpKind::Quantize => {
            let p = Quantize { n: 200, d: 288, dtype: DType::F16, out: dtype };
            vec![one("n200_d288", move || Case::quantize(p, 6))]
        }
        OpKind::Rotary | OpKind::Attention => vec![],
        OpKind::Pack24 | OpKind::Unpack24 => {
            // of mma.sp's order a range of rows is no range of memory
            let orders = Order::ALL.into_iter().filter(|order| *order != Order::MmaSpSm80);
            let p = |order| Packing { m: 601, k: 160, dtype, order };
            let makes = orders.map(|order| packing::make(spec, p(order), Bits::Bad, 8));
            vec![("m601_k160".into(), makes.collect())]
        }
    }
}

fn one(name: &str, make: impl Fn() -> Case + Send + 'static) -> (String, Vec<Make>) {
    (name.into(), vec![Box::new(make)])
}

/// Every epilogue and output type: an odd m, so that two parts share words of an f16 Y; tokens of Y and of X that
/// do not fit, and rows of W. Kernels of few tokens are cut along features alone.
fn linear(spec: &KernelSpec, weights: Weights) -> Cases {
    let (m, dtype) = (301, spec.dtype);
    let k = if weights == Weights::Sparse24 { 640 } else { 320 } / dtype.bytes() as u32;
    let narrow = if dtype == DType::I8 { DType::BF16 } else { DType::F16 };
    let n = if matches!(spec.form, Form::Gemv { .. }) { 7 } else { 133 };
    let mut list = Vec::new();
    for epilogue in shapes::epilogues(spec) {
        let makes = [narrow, DType::F32].map(|out| -> Make {
            let p = Linear { m, n, k, weights, dtype, out, epilogue };
            Box::new(move || Case::linear(p, Fill::Random, 6))
        });
        list.push((format!("m{m}_n{n}_k{k}_{}", shapes::name(epilogue)), makes.into()));
    }
    list
}
