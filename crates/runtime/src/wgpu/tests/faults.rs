//! What can go wrong on a device that is there: each an error with its words, after which the device works.
//! README's table of faults names these tests.

use super::{MULTIPLY, floats, open, plan, slices};
use crate::backend::Backend;
use crate::error::Error;
use crate::wgpu::kernel::Kernel;
use crate::wgpu::{Wgpu, WgpuBuffer, adapters};
use quickpick_kernels::{
    DType, Epilogue, Linear, Plan, Problem, Target, Unsupported, Weights, select,
};
use std::process::Command;
use wgpu::BufferUsages;

/// Set in the processes that these tests start.
const CHILD: &str = "QUICKPICK_FAULTS_CHILD";

/// The device still multiplies.
fn works(wgpu: &Wgpu) {
    let plan = plan(wgpu, 2);
    let kernel = Kernel::compile(wgpu, &plan, MULTIPLY).unwrap();
    let gate = wgpu.upload(bytemuck::cast_slice(&[3f32; 64])).unwrap();
    let up = wgpu.upload(bytemuck::cast_slice(&[5f32; 64])).unwrap();
    let y = wgpu.buffer(256).unwrap();
    let step = kernel.bind(wgpu, &plan, &slices(&[&gate, &up, &y])).unwrap();
    let bytes = wgpu.run_then_read(&[step], &y, 0, 256).unwrap();
    assert_eq!(floats(&bytes), [15f32; 64]);
}

/// What a test of this name says in a process of its own that may have so many KiB of memory.
fn child(test: &str, kib: Option<u64>) -> String {
    let own = std::env::current_exe().unwrap();
    let limit = kib.map_or("unlimited".into(), |kib| kib.to_string());
    let line = format!("ulimit -v {limit}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &line])
        .arg(own)
        .args([&format!("wgpu::tests::faults::{test}"), "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_mapping_that_fails() {
    let Some(wgpu) = open() else { return };
    let buffer = wgpu.buffer(256).unwrap();
    // staging memory that cannot be mapped
    let descriptor = wgpu::BufferDescriptor {
        label: None,
        size: 4096,
        usage: BufferUsages::COPY_DST,
        mapped_at_creation: false,
    };
    *wgpu.staging.lock().unwrap() = Some(wgpu.device().create_buffer(&descriptor));
    let error = wgpu.read(&buffer, 0, 256).unwrap_err();
    assert!(matches!(error, Error::Device { backend: "wgpu", .. }), "{error}");
    assert!(error.to_string().contains("MAP_READ"), "{error}");
    assert_eq!(wgpu.read(&buffer, 0, 256).unwrap(), [0; 256], "the next read has new memory");
    works(&wgpu);
}

/// Also of one instance each: wgpu itself takes the buffer of another instance for its own of that number.
#[test]
fn two_devices_at_once() {
    let (Some(one), Some(other)) = (open(), open()) else { return };
    let plan = plan(&one, 2);
    let kernel = Kernel::compile(&one, &plan, MULTIPLY).unwrap();
    let [own, y] = [256, 256].map(|n| one.buffer(n).unwrap());
    let foreign = other.buffer(256).unwrap();
    let step = kernel.bind(&one, &plan, &slices(&[&own, &own, &y])).unwrap();
    let steps = std::slice::from_ref(&step);
    for (error, what) in [
        (
            kernel.bind(&one, &plan, &slices(&[&own, &foreign, &y])).map(drop),
            "swiglu_f16_wgsl's up",
        ),
        (one.write(&foreign, 0, &[0; 4]), "the buffer to be written"),
        (one.read(&foreign, 0, 4).map(drop), "the buffer to be read"),
        (other.run(steps), "step 0"),
        (other.run_then_read(steps, &foreign, 0, 4).map(drop), "step 0"),
    ] {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Foreign { backend: "wgpu", .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    works(&one);
    works(&other);
}

#[test]
fn lost_in_mid_run() {
    let Some(wgpu) = open() else { return };
    let plan = plan(&wgpu, 2);
    let kernel = Kernel::compile(&wgpu, &plan, MULTIPLY).unwrap();
    let [a, b] = [256, 256].map(|n| wgpu.buffer(n).unwrap());
    let step = kernel.bind(&wgpu, &plan, &slices(&[&a, &a, &b])).unwrap();
    wgpu.run(&[step]).unwrap();
    wgpu.device().destroy();
    let error = wgpu.read(&b, 0, 256).unwrap_err();
    assert!(error.to_string().contains("the device was lost"), "{error}");
    // a device more is a device that works
    works(&Wgpu::open().unwrap());
}

/// Selection falls back to kernels without the feature, and says of the others why not.
#[test]
fn no_f16() {
    let Some(adapter) = adapters().into_iter().next() else { return };
    let (device, queue) = adapter.bare();
    let wgpu = Wgpu::from_device(device, queue).unwrap();
    let (weights, dtype, epilogue) = (Weights::Sparse24, DType::F16, Epilogue::NONE);
    let layer = Linear { m: 512, n: 64, k: 512, weights, dtype, out: dtype, epilogue };
    let selection = select(&Problem::Linear(layer), wgpu.caps()).unwrap();
    assert_eq!(selection.plan.spec.target, Target::WgslPortable, "{selection}");
    assert!(selection.to_string().contains("needs shader-f16"), "{selection}");
    let native = quickpick_kernels::KERNELS
        .iter()
        .find(|k| k.target == Target::WgslF16 && k.op == selection.plan.spec.op)
        .unwrap();
    let refused = native.plan(&Problem::Linear(layer), wgpu.caps());
    assert!(matches!(refused, Err(Unsupported::Feature(_))), "{refused:?}");
    // and a plan that was made for another device is refused, not run
    let Some(able) = open() else { return };
    if let Ok(plan) = native.plan(&Problem::Linear(layer), able.caps()) {
        let error = bound(&wgpu, &plan).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    works(&wgpu);
}

fn bound(wgpu: &Wgpu, plan: &Plan) -> crate::Result<()> {
    let operand = |b: &quickpick_kernels::Binding| -> crate::Result<_> {
        Ok(if b.is_present() { Some(wgpu.buffer(b.bytes)?.into()) } else { None })
    };
    let operands = plan.bindings.iter().map(operand).collect::<crate::Result<Vec<_>>>()?;
    wgpu.step(plan, &operands).map(drop)
}

/// In a process that may have 8 GiB: buffers until there are no more.
#[cfg(target_os = "linux")]
#[test]
fn out_of_memory() {
    if open().is_none() {
        return;
    }
    if !is_child() {
        let said = child("out_of_memory", Some(8 << 20));
        assert!(said.contains("refused after"), "{said}");
        return;
    }
    let wgpu = Wgpu::open().unwrap();
    let mut held: Vec<WgpuBuffer> = Vec::new();
    let error = loop {
        match wgpu.buffer(128 << 20) {
            Ok(buffer) => held.push(buffer),
            Err(error) => break error,
        }
        assert!(held.len() < 128, "16 GiB where there are 8");
    };
    assert!(matches!(error, Error::Device { backend: "wgpu", .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("allocating 134217728 bytes"), "{words}");
    assert!(words.to_lowercase().contains("memory"), "{words}");
    println!("refused after {} buffers: {words}", held.len());
    drop(held);
    let _ = wgpu.device().poll(wgpu::PollType::Poll); // what was dropped is freed
    works(&wgpu);
}

/// In a process of its own, after errors of every kind: not a word.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_printed() {
    let Some(wgpu) = open() else { return };
    if !is_child() {
        let said = child("nothing_is_printed", None);
        let (_, after) = said.split_once("errors begin\n").expect("the child's mark");
        let (between, _) = after.split_once("errors end").expect("the child's other mark");
        assert_eq!(between, "", "{said}");
        assert!(said.lines().any(|line| line.contains("test result: ok")), "{said}");
        return;
    }
    println!("errors begin");
    let plan = plan(&wgpu, 2);
    assert!(Kernel::compile(&wgpu, &plan, "nonsense").is_err());
    assert!(wgpu.buffer(u64::MAX).is_err());
    let buffer = wgpu.buffer(256).unwrap();
    assert!(wgpu.write(&buffer, 252, &[0; 8]).is_err());
    let Some(other) = open() else { return };
    assert!(other.write(&buffer, 0, &[0; 4]).is_err());
    wgpu.device().destroy();
    assert!(wgpu.read(&buffer, 0, 256).is_err());
    println!("errors end");
}
