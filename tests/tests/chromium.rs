//! Rung 7: Chromium's WebGPU replays what Rust wrote down.

use quickpick::format::Matrix24;
use quickpick::kernels::{Activation, DType, WgpuCaps};
use quickpick::script::{Script, Written};
use quickpick::{Backend, LinearLayer, Operands, f16};
use quickpick_tests::{chromium::Chromium, skip};
use std::path::PathBuf;

/// The browser, or a skip that says why there is none.
fn browser() -> Option<Chromium> {
    Chromium::find().map_err(|why| skip("chromium", why)).ok()
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chromium").join(name)
}

/// Y = X·Wᵀ of small integers, which every order of sums gives exactly: what Y is, and the script.
fn product(caps: &WgpuCaps, [m, n, k]: [usize; 3]) -> (Vec<f32>, Written) {
    let small = |i: usize, of: usize| ((i * 7 + i / 5) % of) as f32 - (of / 2) as f32;
    let w = Vec::from_iter((0..m * k).map(|i| match i % 4 {
        0 | 3 => small(i, 9),
        _ => 0.0,
    }));
    let x = Vec::from_iter((0..n * k).map(|i| small(i, 7)));
    let dot = |row: usize, token: usize| (0..k).map(|c| w[row * k + c] * x[token * k + c]).sum();
    let y = (0..n * m).map(|i| dot(i % m, i / m)).collect();
    let narrow = |wide: &[f32]| Vec::from_iter(wide.iter().map(|&v| f16::from_f32(v)));
    let script = Script::new(caps.clone());
    let weight = Matrix24::compress(&narrow(&w), m, k).unwrap();
    let mut layer = LinearLayer::sparse(&script, weight, None).unwrap();
    let tokens = n as u32;
    let plan = layer.select(&script, tokens, DType::F32, Activation::None, false).unwrap().plan;
    let operands = Operands {
        x: script.upload(bytemuck::cast_slice(&narrow(&x))).unwrap().into(),
        x_scale: None,
        residual: None,
        y: script.buffer(4 * (n * m) as u64).unwrap().into(),
        workspace: None,
        sum: None,
    };
    script.name("y", &operands.y.buffer).unwrap();
    let step = layer.step(&script, &plan, &operands).unwrap();
    script.run(&[step]).unwrap();
    (y, script.finish())
}

#[test]
fn a_script_gives_its_product_whole_and_in_parts() {
    let Some(chromium) = browser() else { return };
    let whole = WgpuCaps::webgpu();
    let parts = WgpuCaps { binding_bytes: 16384, ..whole.clone() };
    let cases = [(&whole, [96, 1, 64]), (&whole, [70, 67, 96]), (&parts, [512, 1, 64])];
    let (expected, scripts): (Vec<_>, Vec<_>) =
        cases.into_iter().map(|(caps, shape)| product(caps, shape)).unzip();
    assert_eq!(scripts[2].form.launches.len(), 2);
    let mut scripts =
        Vec::from_iter(scripts.into_iter().zip(0..).map(|(s, i)| (format!("s{i}"), s)));
    // what a device lacks is told with both numbers, and what the browser's compiler objects to with its words
    let mut huge = scripts[0].1.clone();
    huge.form.needs.limits.insert("maxStorageBufferBindingSize", 1 << 50);
    let mut lanes = scripts[0].1.clone();
    lanes.form.needs.subgroup = 1024;
    let mut short = scripts[0].1.clone();
    short.data.pop();
    for (name, script) in [("huge", huge), ("lanes", lanes), ("short", short)] {
        scripts.push((name.into(), script));
    }
    let (device, replayed) = chromium.replay(&folder("product"), &scripts).unwrap();
    eprintln!("{device}");
    for (replayed, expected) in replayed.iter().zip(&expected) {
        let y = &replayed.as_ref().unwrap()["y"];
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(y), *expected);
    }
    let faults = Vec::from_iter(replayed[3..].iter().map(|r| r.as_ref().unwrap_err()));
    let [(huge, why), (lanes, less), (short, bytes)] = faults.as_slice() else { panic!() };
    assert!(huge == "limit" && why.contains("must be 1125899906842624 at least, and is"), "{why}");
    assert!(lanes == "limit" && less.contains("subgroups of 1024 lanes, and it has"), "{less}");
    assert!(short == "script" && bytes.contains("were expected"), "{bytes}");
}
