//! What every PTX file must be, whatever its kernel: readable back, and called as its plan says.

use quickpick_kernels::{
    Activation, ArgMax, Attention, Caps, CudaCaps, DType, Epilogue, Gather, KERNELS, KernelSpec,
    Linear, OpKind, Order, Packing, Plan, Problem, Quantize, RmsNorm, Rotary, SpmmCsr, SwiGlu,
    Target,
};
use quickpick_ptx::{Module, Param, ParamKind, parse};

fn rows() -> impl Iterator<Item = (&'static KernelSpec, String, Module)> {
    KERNELS.iter().filter(|spec| spec.target.is_ptx()).map(|spec| {
        let text = crate::emit(spec).unwrap_or_else(|| panic!("{spec}: no text"));
        let module = parse(&text).unwrap_or_else(|error| panic!("{spec}: {error}"));
        (spec, text, module)
    })
}

/// A plan of this kernel; enough of k for several splits.
fn plan(spec: &'static KernelSpec) -> Plan {
    let (n, d, dtype) = (3, 4096, spec.dtype);
    let (heads, kv_heads, head_dim, max_seq) = (4, 2, 64, 128);
    let epilogue =
        Epilogue { bias: true, activation: Activation::Silu, residual: true, ..Epilogue::NONE };
    let problem = match spec.op {
        OpKind::Linear(weights) => Problem::Linear(Linear {
            m: 104,
            n,
            k: d,
            weights,
            dtype,
            out: Linear::narrow_out(dtype),
            epilogue,
        }),
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
        OpKind::SpmmCsr => {
            Problem::SpmmCsr(SpmmCsr { m: 104, n, k: d, nnz: 7, dtype, residual: true })
        }
        OpKind::ArgMax => Problem::ArgMax(ArgMax { n, d }),
        OpKind::Quantize => Problem::Quantize(Quantize { n, d, dtype: DType::F16, out: dtype }),
        OpKind::Pack24 => Problem::Pack24(Packing { m: 104, k: d, dtype, order: Order::RowMajor }),
        OpKind::Unpack24 => {
            Problem::Unpack24(Packing { m: 104, k: d, dtype, order: Order::Strips })
        }
    };
    let caps = Caps::Cuda(CudaCaps::least(spec, 108));
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
        // pointers, words, maps, in this order
        let params = &module.kernel.params;
        let (pointers, rest) = params.split_at_checked(plan.bindings.len()).expect("pointers");
        let (words, maps) = rest.split_at_checked(plan.params.len()).expect("words");
        let names =
            |params: &[Param]| params.iter().map(|p| p.name.to_string()).collect::<Vec<_>>();
        let wanted: Vec<_> = plan.bindings.iter().map(|b| b.name).collect();
        assert_eq!(names(pointers), wanted, "{spec}");
        assert!(pointers.iter().all(|p| p.kind == ParamKind::U64), "{spec}");
        assert!(words.iter().all(|p| p.kind.bytes() == 4), "{spec}");
        let wanted: Vec<_> = plan.maps.iter().map(|m| m.name).collect();
        assert_eq!(names(maps), wanted, "{spec}");
        let map = ParamKind::Bytes { align: 64, len: 128 };
        assert!(maps.iter().all(|p| p.kind == map), "{spec}");
        assert_eq!(module.kernel.limits.threads, Some(plan.block.into()), "{spec}");
        let dynamic = module.kernel.shared.iter().any(|s| s.bytes.is_none());
        assert_eq!(dynamic, plan.shared_bytes > 0, "{spec}");
    }
}

/// `.version` and `.target` follow from the instructions: only `ordered_metadata` asks for 8.5, only
/// `wgmma` for sm_90a, only 8-bit floats for sm_89.
#[test]
fn only_sparse_kernels_ask_for_ptx_8_5() {
    for (spec, _, module) in rows() {
        let hopper = spec.target == Target::Sm90a;
        let ordered = spec.order().is_some() && !hopper;
        assert_eq!(module.kernel.isa() >= 85, ordered, "{spec}");
        let wanted = if hopper { "sm_90a".into() } else { format!("sm_{}", spec.least_sm()) };
        assert_eq!(module.kernel.target().to_string(), wanted, "{spec}");
    }
}
