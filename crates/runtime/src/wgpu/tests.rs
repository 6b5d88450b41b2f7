//! The backend alone, with small shaders of its own: memory, order, every error.

mod faults;
mod limits;
mod pipelines;

use super::kernel::Kernel;
use super::{Wgpu, WgpuBuffer, adapters};
use crate::backend::{Backend, Slice};
use crate::error::Error;
use quickpick_kernels::{
    ArgMax, Basis, Caps, DType, Epilogue, KERNELS, Linear, OpKind, Plan, Problem, SwiGlu, Target,
    Untuned, Weights, WgpuCaps, select,
};

/// `gate · up` in place of SwiGLU: binding order, parameters and absent operands are what is tested.
const MULTIPLY: &str = r"
struct Params { elements: u32, out_is_f32: u32 }
@group(0) @binding(0) var<storage, read> gate: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> up: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;
@compute @workgroup_size(256)
fn swiglu_f16_wgsl(@builtin(global_invocation_id) id: vec3<u32>) {
    if (4u * id.x < params.elements) { y[id.x] = gate[id.x] * up[id.x]; }
}
";

fn open() -> Option<Wgpu> {
    if adapters().is_empty() {
        let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
        let must = required.split(',').any(|rung| rung == "wgpu" || rung == "all");
        assert!(!must, "QUICKPICK_REQUIRE={required}, and there is no adapter");
        eprintln!("skipped: no wgpu adapter on this machine");
        return None;
    }
    Some(Wgpu::open().unwrap())
}

fn plan(wgpu: &Wgpu, n: u32) -> Plan {
    let row = |k: &&quickpick_kernels::KernelSpec| {
        k.op == OpKind::SwiGlu && k.target == Target::WgslPortable
    };
    let spec = KERNELS.iter().find(row).unwrap();
    spec.plan(&Problem::SwiGlu(SwiGlu { n, d: 32, out: DType::F32 }), wgpu.caps()).unwrap()
}

/// Measured or not, selection has looked for this adapter: lavapipe was measured, an unknown GPU is told.
#[test]
fn the_adapters_name_is_what_selection_looks_up() {
    let Some(wgpu) = open() else { return };
    let name = wgpu.caps().name().unwrap();
    assert!(wgpu.describe().starts_with(name), "{} is not {name}", wgpu.describe());
    let (weights, dtype, epilogue) = (Weights::Sparse24, DType::F16, Epilogue::NONE);
    let layer = Linear { m: 4096, n: 4, k: 4096, weights, dtype, out: dtype, epilogue };
    let selection = select(&Problem::Linear(layer), wgpu.caps()).unwrap();
    eprintln!("{selection}");
    match selection.basis {
        Basis::Tuned { device, .. } => assert_eq!(device, name),
        Basis::Cost(Untuned::Device { device }) => assert_eq!(device, name),
        Basis::Cost(Untuned::Layer { device, .. }) => assert_eq!(device, name),
        Basis::Cost(why) => panic!("{why}"),
    }
}

fn slices(list: &[&WgpuBuffer]) -> Vec<Option<Slice<WgpuBuffer>>> {
    list.iter().map(|&b| Some(Slice::from(b.clone()))).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}

#[test]
fn memory_is_zeroed_written_in_order_and_read_back() {
    let Some(wgpu) = open() else { return };
    let buffer = wgpu.buffer(20).unwrap();
    assert_eq!(wgpu.len(&buffer), 20);
    assert_eq!(wgpu.read(&buffer, 0, 20).unwrap(), [0; 20]);
    wgpu.write(&buffer, 8, &[1, 2, 3, 4]).unwrap();
    wgpu.write(&buffer, 8, &[5, 6]).unwrap_err();
    wgpu.write(&buffer, 12, &[7; 8]).unwrap();
    assert_eq!(wgpu.read(&buffer, 4, 12).unwrap(), [0, 0, 0, 0, 1, 2, 3, 4, 7, 7, 7, 7]);
    assert!(wgpu.read(&buffer, 20, 0).unwrap().is_empty());
    // larger than the staging buffer was, then smaller again
    let large = wgpu.upload(&[9; 100_003]).unwrap();
    assert_eq!(wgpu.read(&large, 0, 100_004).unwrap()[99_996..], [9, 9, 9, 9, 9, 9, 9, 0]);
    assert_eq!(wgpu.read(&large, 4, 4).unwrap(), [9; 4]);
}

#[test]
fn steps_run_in_order_with_writes_at_offsets_and_again() {
    let Some(wgpu) = open() else { return };
    let plan = plan(&wgpu, 2);
    let kernel = Kernel::compile(&wgpu, &plan, MULTIPLY).unwrap();
    let (a, b, c) =
        (wgpu.buffer(1024).unwrap(), wgpu.buffer(256).unwrap(), wgpu.buffer(512).unwrap());
    let at = |b: &WgpuBuffer, offset| Some(Slice { buffer: b.clone(), offset });
    // b = a[512..] · a[0..], then c[256..] = b · b
    let first = kernel.bind(&wgpu, &plan, &[at(&a, 512), at(&a, 0), at(&b, 0)]).unwrap();
    let second = kernel.bind(&wgpu, &plan, &[at(&b, 0), at(&b, 0), at(&c, 256)]).unwrap();
    let steps = [first, second];
    let ones_to = |n: u32| Vec::from_iter((0..n).map(|i| i as f32));
    for scale in [1.0f32, 2.0] {
        wgpu.write(&a, 0, bytemuck::cast_slice(&ones_to(64))).unwrap();
        wgpu.write(&a, 512, bytemuck::cast_slice(&[scale; 64])).unwrap();
        wgpu.run(&steps).unwrap();
        let want = Vec::from_iter(ones_to(64).iter().map(|x| (scale * x).powi(2)));
        assert_eq!(floats(&wgpu.read(&c, 256, 256).unwrap()), want);
        assert_eq!(wgpu.read(&c, 0, 256).unwrap(), [0; 256], "below the offset");
    }
    // the same in a pass of the caller's, and a caller's buffer
    wgpu.write(&c, 256, &[0; 256]).unwrap();
    let mut encoder = wgpu.device().create_command_encoder(&Default::default());
    wgpu.encode(&mut encoder.begin_compute_pass(&Default::default()), &steps);
    wgpu.queue().submit([encoder.finish()]);
    let same = WgpuBuffer::from_raw(c.raw().clone());
    assert_eq!(floats(&wgpu.read(&same, 256, 256).unwrap())[63], (2.0f32 * 63.0).powi(2));
}

#[test]
fn a_wrong_shader_is_an_error_with_the_compilers_words_and_the_device_lives_on() {
    let Some(wgpu) = open() else { return };
    let plan = plan(&wgpu, 1);
    for (text, words) in [
        ("fn main( {", "parsing"),
        (&MULTIPLY.replace("swiglu_f16_wgsl", "other"), "entry point"),
        (&MULTIPLY.replace("binding(3)", "binding(7)"), "layout"),
        (&MULTIPLY.replace("storage, read>", "storage, read_write>"), "layout"),
    ] {
        let error = Kernel::compile(&wgpu, &plan, text).unwrap_err();
        let Error::Device { backend: "wgpu", what, why } = &error else { panic!("{error}") };
        assert_eq!(what, "compiling swiglu_f16_wgsl");
        assert!(why.to_lowercase().contains(words), "{why} should contain {words:?}");
    }
    assert!(Kernel::compile(&wgpu, &plan, MULTIPLY).is_ok());
}

#[test]
fn wrong_operands_are_the_callers_fault_with_the_numbers() {
    let Some(wgpu) = open() else { return };
    let plan = plan(&wgpu, 2);
    let [a, b, c] = [256, 256, 252].map(|n| wgpu.buffer(n).unwrap());
    let said = |operands: &[Option<Slice<WgpuBuffer>>]| {
        wgpu.step(&plan, operands).unwrap_err().to_string()
    };
    assert_eq!(said(&slices(&[&a, &b])), "swiglu_f16_wgsl: operands: 2 given, 3 expected");
    assert_eq!(
        said(&slices(&[&a, &b, &c])),
        "swiglu_f16_wgsl: bytes of y: 252 given, 256 expected"
    );
    let absent = [Some(a.clone().into()), None, Some(b.clone().into())];
    assert_eq!(said(&absent), "swiglu_f16_wgsl: bytes of up: 0 given, 256 expected");
    let mut crooked = slices(&[&a, &b, &c]);
    crooked[1] = Some(Slice { buffer: wgpu.buffer(512).unwrap(), offset: 16 });
    assert_eq!(
        said(&crooked),
        "swiglu_f16_wgsl: remainder of up's offset by 256: 16 given, 0 expected"
    );
    assert!(said(&slices(&[&a, &b, &a])).contains("share a buffer"));

    // a plan for a larger device, a plan for another language, a plan that somebody altered
    let Caps::Wgpu(caps) = wgpu.caps() else { panic!("{:?}", wgpu.caps()) };
    let larger = WgpuCaps { binding_bytes: u64::MAX, workgroups: u32::MAX, ..caps.clone() };
    let larger = Caps::Wgpu(larger);
    let groups = ArgMax { n: caps.workgroups + 1, d: 1 };
    let foreign = select(&Problem::ArgMax(groups), &larger).unwrap().plan;
    let refused = |plan: &Plan| wgpu.step(plan, &slices(&[&a, &b, &c])).unwrap_err().to_string();
    assert!(refused(&foreign).contains(", the device has"));
    let host = select(&plan.problem, &Caps::Cpu).unwrap().plan;
    assert!(refused(&host).starts_with("swiglu_f16_cpu: "), "{}", refused(&host));
    let altered = Plan { grid: [u32::MAX, 1, 1], ..plan.clone() };
    assert!(refused(&altered).contains("it was altered, or made for another"));
    // whole there, in parts here
    let rows = SwiGlu { n: (caps.binding_bytes >> 22) as u32 + 1, d: 1 << 20, out: DType::F32 };
    let whole = plan.spec.plan(&Problem::SwiGlu(rows), &larger).unwrap();
    assert!(refused(&whole).contains("it was altered, or made for another"));

    let most = wgpu.device().limits().max_buffer_size;
    let huge = wgpu.buffer(most + 1).unwrap_err();
    assert!(
        matches!(huge, Error::Argument { got, expected, .. } if got == most + 1 && expected == most)
    );
    for (offset, len) in [(2, 4), (0, 6), (0, 260), (256, 4), (u64::MAX - 3, 8)] {
        assert!(matches!(wgpu.read(&a, offset, len), Err(Error::Argument { .. })));
    }
    assert!(matches!(wgpu.write(&a, 252, &[0; 8]), Err(Error::Argument { .. })));
}

#[test]
fn a_lost_device_is_an_error_that_says_so() {
    let Some(wgpu) = open() else { return };
    let plan = plan(&wgpu, 2);
    let kernel = Kernel::compile(&wgpu, &plan, MULTIPLY).unwrap();
    let [a, b] = [256, 256].map(|n| wgpu.buffer(n).unwrap());
    let step = kernel.bind(&wgpu, &plan, &slices(&[&a, &a, &b])).unwrap();
    wgpu.device().destroy();
    let _ = wgpu.device().poll(super::PollType::Poll); // the callback fires here at the latest
    for error in [
        wgpu.buffer(4).unwrap_err(),
        wgpu.write(&a, 0, &[0; 4]).unwrap_err(),
        wgpu.read(&b, 0, 4).unwrap_err(),
        wgpu.run(&[step]).unwrap_err(),
        Kernel::compile(&wgpu, &plan, MULTIPLY).unwrap_err(),
    ] {
        assert!(error.to_string().contains("lost"), "{error}");
    }
}

#[test]
fn a_callers_lost_device_fails_the_next_read() {
    let Some(ours) = open() else { return };
    let theirs = Wgpu::from_device(ours.device().clone(), ours.queue().clone()).unwrap();
    let buffer = theirs.buffer(256).unwrap();
    assert!(theirs.read(&buffer, 0, 256).is_ok());
    ours.device().destroy();
    for len in [256, 1 << 20] {
        let error = theirs.read(&theirs.buffer(len).unwrap_or(buffer.clone()), 0, 256).unwrap_err();
        assert!(matches!(error, Error::Device { backend: "wgpu", .. }), "{error}");
    }
}

#[test]
fn a_callers_device_keeps_its_handlers_and_its_scopes() {
    let Some(ours) = open() else { return };
    let (device, queue) = (ours.device().clone(), ours.queue().clone());
    let heard = std::sync::Arc::new(std::sync::Mutex::new(0));
    let told = heard.clone();
    device.on_uncaptured_error(std::sync::Arc::new(move |_| *told.lock().unwrap() += 1));
    let outer = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let theirs = Wgpu::from_device(device.clone(), queue).unwrap();
    let plan = plan(&theirs, 1);
    assert!(Kernel::compile(&theirs, &plan, "nonsense").is_err());
    assert!(pollster::block_on(outer.pop()).is_none(), "ours stayed in our scope");
    assert_eq!(*heard.lock().unwrap(), 0);
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE; // not allowed
    let descriptor =
        wgpu::BufferDescriptor { label: None, size: 4, usage, mapped_at_creation: false };
    drop(device.create_buffer(&descriptor));
    assert_eq!(*heard.lock().unwrap(), 1, "the caller's handler still hears");
}

#[test]
fn a_callers_buffer_without_the_usages_is_an_error() {
    let Some(wgpu) = open() else { return };
    let usage = wgpu::BufferUsages::UNIFORM;
    let descriptor =
        wgpu::BufferDescriptor { label: None, size: 256, usage, mapped_at_creation: false };
    let raw = WgpuBuffer::from_raw(wgpu.device().create_buffer(&descriptor));
    assert!(matches!(wgpu.write(&raw, 0, &[0; 4]), Err(Error::Device { .. })));
    assert!(matches!(wgpu.read(&raw, 0, 4), Err(Error::Device { .. })));
    let plan = plan(&wgpu, 2);
    let kernel = Kernel::compile(&wgpu, &plan, MULTIPLY).unwrap();
    let y = wgpu.buffer(256).unwrap();
    let bound = kernel.bind(&wgpu, &plan, &slices(&[&raw, &raw, &y]));
    assert!(matches!(bound, Err(Error::Device { .. })));
}

#[test]
fn metadata_that_ends_in_mid_vector_is_an_error() {
    let Some(wgpu) = open() else { return };
    let spec = KERNELS
        .iter()
        .find(|k| k.target == Target::WgslSubgroups && k.op == OpKind::Linear(Weights::Sparse24))
        .expect("a row");
    let (weights, dtype, out) = (Weights::Sparse24, DType::F16, DType::F32);
    let problem = Linear { m: 5, n: 1, k: 64, weights, dtype, out, epilogue: Epilogue::NONE };
    let Ok(plan) = spec.plan(&Problem::Linear(problem), wgpu.caps()) else { return };
    let sized = |padded: u64| {
        let operand = |bytes: u64| {
            let (usage, size) = (wgpu::BufferUsages::STORAGE, bytes.next_multiple_of(padded));
            let descriptor =
                wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
            Slice::from(WgpuBuffer::from_raw(wgpu.device().create_buffer(&descriptor)))
        };
        let operands = plan.bindings.iter().map(|b| b.is_present().then(|| operand(b.bytes)));
        wgpu.step(&plan, &Vec::from_iter(operands))
    };
    // 5 rows of two words
    let refused = sized(4).expect_err("40 bytes are no whole vectors");
    assert!(matches!(refused, Error::Argument { got: 40, expected: 48, .. }), "{refused}");
    assert!(sized(16).is_ok());
}
