//! What every PTX file must be, whatever its kernel: readable back, and called as its plan says.

use quickpick_kernels::{
    Activation, Attention, Caps, CudaCaps, Epilogue, Gather, KERNELS, KernelSpec, Linear, OpKind,
    Plan, Problem, RmsNorm, Rotary, SwiGlu, Target,
};
use quickpick_ptx::{Module, Param, ParamKind, parse};

fn rows() -> impl Iterator<Item = (&'static KernelSpec, String, Module)> {
    KERNELS.iter().filter(|spec| spec.target == Target::Sm80).map(|spec| {
        let text = super::emit(spec);
        let module = parse(&text).unwrap_or_else(|error| panic!("{spec}: {error}"));
        (spec, text, module)
    })
}

/// A plan of this kernel; enough of k for several splits.
fn plan(spec: &'static KernelSpec) -> Plan {
    let (n, d, dtype) = (3, 4096, spec.dtype);
    let (heads, kv_heads, head_dim, max_seq) = (4, 2, 64, 128);
    let epilogue = Epilogue { bias: true, activation: Activation::Silu, residual: true };
    let problem = match spec.op {
        OpKind::Linear(weights) => {
            Problem::Linear(Linear { m: 100, n, k: d, weights, dtype, out: dtype, epilogue })
        }
        OpKind::RmsNorm => Problem::RmsNorm(RmsNorm { n, d, eps: 1e-5, out: dtype }),
        OpKind::Rotary => {
            Problem::Rotary(Rotary { n, heads, kv_heads, head_dim, max_seq, cache: dtype })
        }
        OpKind::Attention => {
            let (cache, out) = (dtype, dtype);
            Problem::Attention(Attention { n, heads, kv_heads, head_dim, max_seq, cache, out })
        }
        OpKind::SwiGlu => Problem::SwiGlu(SwiGlu { n, d, out: dtype }),
        OpKind::Gather => Problem::Gather(Gather { n, d, vocab: 100, dtype }),
    };
    let caps = Caps::Cuda(CudaCaps { sm: 80, shared_bytes: 163 << 10, sms: 108 });
    spec.plan(&problem, &caps).unwrap_or_else(|why| panic!("{spec}: {why}"))
}

#[test]
fn reads_back() {
    for (spec, text, module) in rows() {
        assert_eq!(module.to_string(), text, "{spec}");
        assert_eq!(module.kernel.name, spec.to_string());
        assert_eq!(module.header.first(), Some(&spec.to_string()));
        assert!(module.header.iter().any(|l| l.contains("do not edit by hand")), "{spec}");
    }
}

#[test]
fn is_called_as_planned() {
    for (spec, _, module) in rows() {
        let plan = plan(spec);
        let (pointers, words): (Vec<Param>, Vec<Param>) =
            module.kernel.params.iter().partition(|p| p.kind == ParamKind::U64);
        let names: Vec<_> = pointers.iter().map(|p| p.name.to_string()).collect();
        let wanted: Vec<_> = plan.bindings.iter().map(|b| b.name).collect();
        assert_eq!(names, wanted, "{spec}");
        assert_eq!(words.len(), plan.params.len(), "{spec}");
        assert!(module.kernel.params[..pointers.len()].iter().all(|p| p.kind == ParamKind::U64));
        assert_eq!(module.kernel.limits.threads, Some(plan.block.into()), "{spec}");
        let dynamic = module.kernel.shared.iter().any(|s| s.bytes.is_none());
        assert_eq!(dynamic, plan.shared_bytes > 0, "{spec}");
    }
}

/// `.version` follows from the instructions: only `ordered_metadata` asks for 8.5.
#[test]
fn only_sparse_kernels_ask_for_ptx_8_5() {
    for (spec, _, module) in rows() {
        assert_eq!(module.kernel.isa() >= 85, spec.order().is_some(), "{spec}");
        assert_eq!(module.kernel.sm(), 80, "{spec}");
    }
}
