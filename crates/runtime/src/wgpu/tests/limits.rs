//! Devices with less than a kernel needs: each limit is ours to tell, before wgpu is asked.

use super::super::{Adapter, Wgpu, api::Limits, choose};
use crate::backend::{Backend, Slice};
use crate::error::{Error, Result};
use quickpick_kernels::plan::ALIGNMENT;
use quickpick_kernels::{
    Basis, Caps, DType, Epilogue, Form, KERNELS, KernelSpec, Linear, OpKind, Plan, Problem, SwiGlu,
    Target, Unsupported, Weights, WgpuCaps, select,
};

fn adapter() -> Option<Adapter> {
    super::open()?;
    choose(std::env::var(super::super::ADAPTER_VARIABLE).ok().as_deref(), true).ok()
}

/// A device whose limits are the adapter's but for these.
fn with(change: impl FnOnce(&mut Limits)) -> Option<Wgpu> {
    let adapter = adapter()?;
    let mut limits = adapter.limits();
    change(&mut limits);
    Some(adapter.open_within(limits).expect("less than the adapter has"))
}

fn row(is: impl Fn(&KernelSpec) -> bool) -> &'static KernelSpec {
    KERNELS.iter().find(|s| s.target == Target::WgslPortable && is(s)).expect("a row")
}

fn sparse(spec: &KernelSpec) -> bool {
    spec.op == OpKind::Linear(Weights::Sparse24)
}

fn layer(m: u32, n: u32) -> Problem {
    let (weights, dtype, out) = (Weights::Sparse24, DType::F16, DType::F32);
    Problem::Linear(Linear { m, n, k: 64, weights, dtype, out, epilogue: Epilogue::NONE })
}

/// A step on memory of the plan's size.
fn step(wgpu: &Wgpu, plan: &Plan) -> Result<()> {
    let operand = |bytes| wgpu.buffer(bytes).map(|buffer| Some(Slice::from(buffer)));
    let operands = plan.bindings.iter().map(|b| match b.bytes {
        0 => Ok(None),
        bytes => operand(bytes),
    });
    wgpu.step(plan, &operands.collect::<Result<Vec<_>>>()?).map(drop)
}

/// Bound all the same, with a plan for a larger device, a kernel is refused for this limit.
#[track_caller]
fn refuses(wgpu: &Wgpu, spec: &'static KernelSpec, problem: Problem, of: &str) -> (u64, u64) {
    let unlimited = Caps::Wgpu(WgpuCaps {
        name: None,
        f16: true,
        subgroup: 8,
        cooperative: None,
        software: true,
        workgroup_bytes: u32::MAX,
        invocations: u32::MAX,
        workgroups: u32::MAX,
        binding_bytes: u64::MAX,
        storage_buffers: u32::MAX,
    });
    let plan = spec.plan(&problem, &unlimited).unwrap();
    let why = step(wgpu, &plan).expect_err("more than the device has");
    let Error::Unsupported { why: Unsupported::Limit { what, needs, has }, .. } = why else {
        panic!("{why}");
    };
    assert_eq!(what, of);
    (needs, has)
}

#[test]
fn workgroup_memory() {
    let Some(wgpu) = with(|l| l.max_compute_workgroup_storage_size = 4096) else { return };
    let spec = row(|s| sparse(s) && matches!(s.form, Form::Tiled { .. }));
    let limits = refuses(&wgpu, spec, layer(64, 64), "bytes of workgroup memory");
    assert_eq!(limits, (spec.shared_bytes().into(), 4096));
}

#[test]
fn invocations_and_a_workgroups_width() {
    let spec = row(|s| s.op == OpKind::SwiGlu);
    let problem = Problem::SwiGlu(SwiGlu { n: 1, d: 32, out: DType::F32 });
    let few: [fn(&mut Limits); 2] = [
        |l| l.max_compute_invocations_per_workgroup = 128,
        |l| l.max_compute_workgroup_size_x = 128,
    ];
    for change in few {
        let Some(wgpu) = with(change) else { return };
        assert_eq!(refuses(&wgpu, spec, problem, "invocations in a workgroup"), (256, 128));
    }
}

#[test]
fn workgroups_of_a_dispatch() {
    let Some(wgpu) = with(|l| l.max_compute_workgroups_per_dimension = 3) else { return };
    let spec = row(|s| s.op == OpKind::SwiGlu);
    let problem = |n| Problem::SwiGlu(SwiGlu { n, d: 1024, out: DType::F32 });
    let limits = refuses(&wgpu, spec, problem(4), "workgroups along one dimension");
    assert_eq!(limits, (4, 3));
    let plan = spec.plan(&problem(3), wgpu.caps()).unwrap();
    step(&wgpu, &plan).expect("three are no more than three");
}

#[test]
fn storage_buffers() {
    let Some(wgpu) = with(|l| l.max_storage_buffers_per_shader_stage = 5) else { return };
    let spec = row(|s| sparse(s) && matches!(s.form, Form::Gemv { .. }));
    assert_eq!(refuses(&wgpu, spec, layer(64, 1), "storage buffers"), (6, 5));
}

#[test]
fn a_binding_where_nothing_can_be_cut() {
    let Some(wgpu) = with(|l| l.max_storage_buffer_binding_size = 4100) else { return };
    let spec = row(|s| sparse(s) && matches!(s.form, Form::Gemv { .. }));
    // 256 rows of 32 values; whole vectors of what 4100 bytes hold
    let limits = refuses(&wgpu, spec, layer(512, 1), "bytes in one binding");
    assert_eq!(limits, (256 * 64, 4096));
}

#[test]
fn a_buffer() {
    let Some(wgpu) = with(|l| {
        l.max_buffer_size = 1 << 16;
        l.max_storage_buffer_binding_size = 1 << 16;
        l.max_uniform_buffer_binding_size = 1 << 14;
    }) else {
        return;
    };
    let why = wgpu.buffer((1 << 16) + 1).unwrap_err();
    assert!(matches!(why, Error::Argument { got: 65537, expected: 65536, .. }), "{why}");
    assert!(wgpu.buffer(1 << 16).is_ok());
}

/// Without room among the immediates parameters are a uniform buffer; without that there is no way.
#[test]
fn parameters() {
    let spec = row(|s| s.op == OpKind::SwiGlu);
    let problem = Problem::SwiGlu(SwiGlu { n: 1, d: 32, out: DType::F32 });
    let Some(wgpu) = with(|l| l.max_immediate_size = 4) else { return };
    let plan = spec.plan(&problem, wgpu.caps()).unwrap();
    let [gate, up, y] =
        [1.0f32, 3.0, 0.0].map(|v| wgpu.upload(bytemuck::cast_slice(&[v; 32])).unwrap());
    let bound = wgpu.step(&plan, &super::slices(&[&gate, &up, &y])).unwrap();
    wgpu.run(&[bound]).unwrap();
    let want = 3.0 / (1.0 + (-1f32).exp());
    let got = super::floats(&wgpu.read(&y, 0, 128).unwrap());
    assert!(got.iter().all(|y| (y - want).abs() < 1e-5), "{got:?}");

    type Change = fn(&mut Limits);
    let few: [(Change, &str, (u64, u64)); 4] = [
        (|l| l.max_uniform_buffers_per_shader_stage = 0, "uniform buffers", (1, 0)),
        (|l| l.max_uniform_buffer_binding_size = 8, "bytes in a uniform binding", (16, 8)),
        (|l| l.max_bindings_per_bind_group = 3, "bindings of a group", (4, 3)),
        (|l| l.max_bind_groups = 0, "bind groups", (1, 0)),
    ];
    for (change, of, limits) in few {
        let small = |l: &mut Limits| {
            l.max_immediate_size = 4;
            change(l);
        };
        let Some(wgpu) = with(small) else { return };
        assert_eq!(refuses(&wgpu, spec, problem, of), limits, "{of}");
    }
}

#[test]
fn an_alignment_that_no_part_honours() {
    let Some(adapter) = adapter() else { return };
    let limits = Limits { min_storage_buffer_offset_alignment: 512, ..adapter.limits() };
    let why = adapter.open_within(limits).unwrap_err();
    assert!(matches!(why, Error::Unavailable { .. }), "{why}");
    assert!(why.to_string().contains(&format!("512 bytes; ours, of {ALIGNMENT}")), "{why}");
}

/// What WebGPU guarantees suffices; what WebGL is called for is told kernel by kernel.
#[test]
fn the_least_devices() {
    let Some(adapter) = adapter() else { return };
    let least = |defaults: Limits| defaults.or_worse_values_from(&adapter.limits());
    let webgpu = adapter.open_within(least(Limits::default())).unwrap();
    let chosen = select(&layer(301, 3), webgpu.caps()).unwrap();
    assert!(matches!(chosen.basis, Basis::Cost(_) | Basis::Tuned { .. }));
    step(&webgpu, &chosen.plan).unwrap();
    for defaults in [Limits::downlevel_defaults(), Limits::downlevel_webgl2_defaults()] {
        let small = match adapter.open_within(least(defaults)) {
            Ok(small) => small,
            Err(why) => {
                // not even a buffer
                assert!(matches!(why, Error::Unavailable { .. } | Error::Device { .. }), "{why}");
                continue;
            }
        };
        let why = select(&layer(301, 3), small.caps()).unwrap_err();
        assert!(!why.considered.is_empty());
        for c in why.considered.iter().filter(|c| c.spec.dtype == DType::F16) {
            let reason = c.outcome.unwrap_err();
            assert!(
                matches!(reason, Unsupported::Limit { .. } | Unsupported::Feature(_))
                    || matches!(reason, Unsupported::Range { .. }),
                "{}: {reason}",
                c.spec
            );
        }
    }
}
