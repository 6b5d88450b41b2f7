//! Rung 3: somebody else's compiler judges every shader. naga parses, validates and writes each to
//! SPIR-V, MSL and HLSL; what its module declares is compared with the row's plan; and what it wrote, others
//! judge ([`judges`]).

mod judges;

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess};
use quickpick_kernels::{
    Access, ArgMax, Attention, Caps, DType, Epilogue, Gather, KERNELS, KernelSpec, Linear, OpKind,
    Order, Packing, Plan, Problem, Quantize, RmsNorm, Rotary, SpmmCsr, SwiGlu, Target, WgpuCaps,
};

fn shaders() -> impl Iterator<Item = (&'static KernelSpec, String)> {
    KERNELS
        .iter()
        .filter(|s| s.target.is_wgsl())
        .map(|spec| (spec, quickpick_codegen::emit(spec).expect("a WGSL row has text")))
}

/// Only what the row's target allows.
fn capabilities(target: Target) -> Capabilities {
    // unpack2x16float and its inverse; every WebGPU implementation has them
    let portable = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    match target {
        Target::WgslF16 => portable | Capabilities::SHADER_FLOAT16,
        Target::WgslSubgroups => portable | Capabilities::SUBGROUP,
        Target::WgslCoop8 | Target::WgslCoop16 => {
            let matrices = Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP;
            portable | Capabilities::SHADER_FLOAT16 | matrices
        }
        _ => portable,
    }
}

fn validated(spec: &KernelSpec, text: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|e| panic!("{spec}: {}", e.emit_to_string(text)));
    let info = Validator::new(ValidationFlags::all(), capabilities(spec.target))
        .validate(&module)
        .unwrap_or_else(|e| panic!("{spec}: {}", e.emit_to_string(text)));
    (module, info)
}

/// Any problem of the row's operation: bindings and parameters do not depend on the shape.
fn sample_plan(spec: &'static KernelSpec) -> Plan {
    let (n, d, dtype, out) = (3, 64, spec.dtype, DType::F32);
    let (heads, kv_heads, head_dim, max_seq, cache) = (4, 2, 16, 32, spec.dtype);
    let problem = match spec.op {
        OpKind::Linear(weights) => {
            let epilogue = Epilogue::NONE;
            Problem::Linear(Linear { m: 48, n, k: d, weights, dtype, out, epilogue })
        }
        OpKind::RmsNorm => Problem::RmsNorm(RmsNorm { n, d, eps: 1e-5, out }),
        OpKind::Rotary => Problem::Rotary(Rotary { n, heads, kv_heads, head_dim, max_seq, cache }),
        OpKind::Attention => {
            Problem::Attention(Attention { n, heads, kv_heads, head_dim, max_seq, cache, out })
        }
        OpKind::SwiGlu => Problem::SwiGlu(SwiGlu { n, d, out }),
        OpKind::Gather => Problem::Gather(Gather { n, d, vocab: 256, dtype }),
        OpKind::SpmmCsr => {
            Problem::SpmmCsr(SpmmCsr { m: 48, n, k: d, nnz: 7, dtype, residual: true })
        }
        OpKind::ArgMax => Problem::ArgMax(ArgMax { n, d }),
        OpKind::Quantize => Problem::Quantize(Quantize { n, d, dtype: out, out: dtype }),
        OpKind::Pack24 => Problem::Pack24(Packing { m: 48, k: d, dtype, order: Order::RowMajor }),
        OpKind::Unpack24 => Problem::Unpack24(Packing { m: 48, k: d, dtype, order: Order::Strips }),
    };
    // WebGPU's guaranteed limits
    let caps = Caps::Wgpu(WgpuCaps {
        name: None,
        f16: spec.target == Target::WgslF16 || spec.target.cooperative().is_some(),
        subgroup: if spec.target == Target::WgslSubgroups { 8 } else { 0 },
        cooperative: spec.target.cooperative(),
        software: false,
        workgroup_bytes: 16384,
        invocations: 256,
        workgroups: 65535,
        binding_bytes: 128 << 20,
        storage_buffers: 8,
    });
    spec.plan(&problem, &caps).unwrap_or_else(|why| panic!("{spec}: {why}"))
}

/// SPIR-V as wgpu asks for it on Vulkan 1.1.
fn spirv(spec: &KernelSpec, text: &str) -> Vec<u32> {
    let (module, info) = validated(spec, text);
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    spv::write_vec(&module, &info, &options, None).unwrap_or_else(|e| panic!("{spec}: SPIR-V: {e}"))
}

/// HLSL of shader model 6.2, the first with 16-bit types. naga 30 cannot write cooperative matrices.
fn hlsl(spec: &KernelSpec, text: &str) -> Option<String> {
    if spec.target.cooperative().is_some() {
        return None;
    }
    let (module, info) = validated(spec, text);
    let shader_model = hlsl::ShaderModel::V6_2;
    let options = hlsl::Options { shader_model, ..Default::default() };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &Default::default())
        .write(&module, &info, None)
        .unwrap_or_else(|e| panic!("{spec}: HLSL: {e}"));
    Some(text)
}

fn msl(spec: &KernelSpec, text: &str) -> String {
    let (module, info) = validated(spec, text);
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    let written = msl::write_string(&module, &info, &options, &Default::default());
    written.unwrap_or_else(|e| panic!("{spec}: MSL: {e}")).0
}

#[test]
fn every_shader_is_written_to_three_languages() {
    // Metal's cooperative matrices are of 8×8: naga writes a type of 16×16 that is none
    let msl_has = |target: Target| target != Target::WgslCoop16;
    for (spec, text) in shaders() {
        let words = spirv(spec, &text);
        // magic number, then more than a header
        assert!(words[0] == 0x0723_0203 && words.len() > 100, "{spec}: empty SPIR-V");

        let metal = msl(spec, &text);
        assert!(metal.contains(&format!("kernel void {spec}")), "{spec}: no MSL kernel");
        assert_eq!(metal.contains("simdgroup_half16x16"), !msl_has(spec.target), "{spec}: MSL");

        if let Some(direct3d) = hlsl(spec, &text) {
            assert!(direct3d.contains(&format!("void {spec}")), "{spec}: no HLSL kernel");
        }
    }
}

#[test]
fn limits_are_those_of_the_plan() {
    for (spec, text) in shaders() {
        let (module, _) = validated(spec, &text);
        let plan = sample_plan(spec);
        let workgroup: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == AddressSpace::WorkGroup)
            .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
            .sum();
        assert_eq!(workgroup, plan.shared_bytes, "{spec}: bytes of workgroup memory");
        assert!(workgroup <= 16384, "{spec}: {workgroup} bytes of workgroup memory");

        assert_eq!(module.entry_points.len(), 1, "{spec}: entry points");
        let entry = &module.entry_points[0];
        assert_eq!(entry.name, spec.to_string());
        assert_eq!(entry.workgroup_size, [plan.block, 1, 1], "{spec}: workgroup");
        assert!(plan.block <= 256, "{spec}: {} invocations", plan.block);
        assert!(module.overrides.is_empty(), "{spec}: sizes are not to be overridden");
    }
}

#[test]
fn bindings_are_those_of_the_plan() {
    for (spec, text) in shaders() {
        let (module, _) = validated(spec, &text);
        let plan = sample_plan(spec);
        let mut bound: Vec<_> =
            module.global_variables.iter().filter_map(|(_, v)| Some((v.binding?, v))).collect();
        bound.sort_by_key(|(at, _)| (at.group, at.binding));
        assert_eq!(bound.len(), plan.bindings.len() + 1, "{spec}: bindings");
        for (i, (at, variable)) in bound.iter().enumerate() {
            assert_eq!((at.group, at.binding), (0, i as u32), "{spec}");
            let Some(planned) = plan.bindings.get(i) else {
                assert_eq!(variable.space, AddressSpace::Uniform, "{spec}: the last binding");
                let naga::TypeInner::Struct { members, .. } = &module.types[variable.ty].inner
                else {
                    panic!("{spec}: the parameters are not a struct");
                };
                assert_eq!(members.len(), plan.params.len(), "{spec}: parameters");
                continue;
            };
            assert_eq!(variable.name.as_deref(), Some(planned.name), "{spec}: binding {i}");
            let AddressSpace::Storage { access } = variable.space else {
                panic!("{spec}: {} is not in storage", planned.name);
            };
            let written = access.contains(StorageAccess::STORE);
            assert_eq!(written, planned.access != Access::Read, "{spec}: {}", planned.name);
        }
    }
}

/// What naga accepts and Chrome does not, or the row's target forbids.
#[test]
fn shaders_use_no_extension_but_their_targets() {
    for (spec, text) in shaders() {
        let enables: Vec<_> = text.lines().filter(|l| l.starts_with("enable ")).collect();
        let cooperative = spec.target.cooperative().is_some();
        let native = spec.target == Target::WgslF16 || cooperative;
        let allowed: &[&str] = match (native, cooperative) {
            (_, true) => &["enable f16;", "enable wgpu_cooperative_matrix;"],
            (true, _) => &["enable f16;"],
            _ => &[],
        };
        assert_eq!(enables, allowed, "{spec}");
        let subgroups = text.lines().any(|l| l.contains("subgroupShuffle("));
        assert_eq!(subgroups, spec.target == Target::WgslSubgroups, "{spec}: subgroups");
        let allowed = |word: &&str| match *word {
            "subgroup" => subgroups || cooperative,
            "coop_mat" => cooperative,
            _ => false,
        };
        for word in ["subgroup", "coop_mat", "requires ", "f64", "i64", "u64"] {
            assert!(allowed(&word) || !text.contains(word), "{spec}: {word}");
        }
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        assert_eq!(code.replace("enable f16;", "").contains("<f16>"), native, "{spec}: f16 types");
    }
}
