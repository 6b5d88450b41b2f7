//! Rung 7: Chromium's WebGPU replays what Rust wrote down.

use quickpick::format::Matrix24;
use quickpick::kernels::{Activation, DType, WgpuCaps};
use quickpick::script::{Script, Written};
use quickpick::{Backend, Cpu, LinearLayer, Operands, f16};
use quickpick_prune::{Magnitude, Masks, Pattern, Score, Trainer, project};
use quickpick_tests::chromium::{Chromium, web};
use quickpick_tests::skip;
use quickpick_transformer::export::export;
use quickpick_transformer::optim::AdamW;
use quickpick_transformer::{Compact, Config, Corpus, Decoder, DecoderTrainer, Settings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// The browser, or a skip that says why there is none.
fn chromium() -> Option<Chromium> {
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
    let Some(chromium) = chromium() else { return };
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

/// A decoder with 2:4 layers that has learnt a sentence.
fn decoder() -> Compact {
    let sentence = "One kernel is one row of data, and all else derives from it. ";
    let text = |bytes| Vec::from_iter(sentence.bytes().cycle().take(bytes));
    let corpus = Corpus::new(text(1 << 16), text(1 << 13), "a sentence").unwrap();
    let config = Config { dim: 64, layers: 2, ffn: 192, max_seq: 64, ..Config::tiny() };
    let tiny = Settings::tiny();
    let adam = AdamW { warmup: 5, steps: 60, lr: 1e-2, ..tiny.adam };
    let settings = Settings { adam, seq: 64, ..tiny };
    let mut trainer = DecoderTrainer::new(config, settings, Arc::new(corpus)).unwrap();
    let mut masks = Masks::new();
    for layer in trainer.layers().into_iter().filter(|layer| layer.name.contains("_proj")) {
        let scores = Magnitude.score(&layer, &trainer.weight(&layer.name).unwrap());
        let (rows, cols) = (layer.shape[0], layer.shape[1]);
        let mask = project(&scores, rows, cols, Pattern::TWO_OF_FOUR).unwrap();
        masks.insert(layer.name, mask);
    }
    trainer.hold(&masks).unwrap();
    for _ in 0..60 {
        trainer.step().unwrap();
    }
    Compact::new(&trainer.weights().unwrap(), &masks).unwrap()
}

/// The likeliest `count` tokens after a prompt on the CPU, and the least distance of a likeliest logit from
/// the next: what other sums must not reach.
fn written(model: &Compact, prompt: &str, count: usize) -> (String, f32) {
    let cpu = Cpu::new();
    let mut decoder = Decoder::new(&cpu, model).unwrap();
    let mut fed = Vec::from_iter(prompt.bytes().map(u32::from));
    let (mut bytes, mut margin) = (Vec::new(), f32::INFINITY);
    while bytes.len() < count {
        let likeliest = decoder.feed_greedy(&fed).unwrap();
        let mut logits = decoder.last_logits().unwrap();
        let top = logits.swap_remove(likeliest as usize);
        margin = logits.iter().fold(margin, |least, logit| least.min(top - logit));
        bytes.push(u8::try_from(likeliest).unwrap());
        fed = vec![likeliest];
    }
    (String::from_utf8_lossy(&bytes).into_owned(), margin)
}

#[test]
fn the_page_writes_what_the_cpu_writes_and_says_why_it_cannot() {
    let Some(chromium) = chromium() else { return };
    let (model, prompt, count) = (decoder(), "One kernel", 50);
    let (text, margin) = written(&model, prompt, count);
    // two backends keep the bound's distance from exact arithmetic, each
    let apart = 2.0 * model.logit_bound().unwrap();
    eprintln!(
        "{prompt}|{text}: the likeliest token leads by {margin:.3}, sums may move it by {apart:.3}"
    );
    assert!(f64::from(margin) > apart, "two devices may choose another token: {margin} ≤ {apart}");

    let site = folder("site");
    fs::create_dir_all(&site).unwrap();
    for entry in fs::read_dir(web()).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, site.join(file.file_name().unwrap())).unwrap();
    }
    export(&model, prompt, &site.join("model")).unwrap();
    let shots = folder("screenshots");
    let count = count.to_string();
    let args = [site.as_os_str(), shots.as_os_str(), prompt.as_ref(), count.as_ref()];
    let lines = chromium.drive("page.mjs", &args.map(Into::into)).unwrap();
    let name = |line: &Value| line["visit"].as_str().unwrap().to_owned();
    let visits = BTreeMap::from_iter(lines.iter().map(|line| (name(line), line)));
    for (name, visit) in &visits {
        assert_eq!(visit["wide"], false, "{name} is wider than its window");
        assert_eq!(visit["foreign"], Value::Array(vec![]), "{name} asks another host");
    }
    for name in ["light-wide", "light-narrow", "dark-wide", "dark-narrow"] {
        let visit = visits[name];
        assert_eq!((&visit["state"], &visit["fault"]), (&"done".into(), &Value::Null), "{name}");
        assert_eq!(
            (&visit["sparse"], &visit["dense"]),
            (&(&*text).into(), &(&*text).into()),
            "{name}"
        );
        assert_eq!(visit["same"], "Both wrote the same, token for token.");
        assert_eq!(visit["errors"], Value::Array(vec![]), "{name}");
    }
    for (name, words) in [
        ("small-limit", "maxStorageBufferBindingSize must be 1099511627776 at least, and is"),
        ("other-version", "The script is of version 2; this page reads version 1"),
        ("bad-shader", "The browser does not compile gather_f16_wgsl, line"),
        ("no-model", "There is no model beside this page"),
        ("no-webgpu", "This browser has no WebGPU"),
        ("no-adapter", "This browser has WebGPU, but no GPU for it"),
        ("lost", "The GPU was lost"),
    ] {
        let visit = visits[name];
        let fault = visit["fault"].as_str().unwrap_or_default();
        assert!(visit["state"] == "failed" && fault.contains(words), "{name}: {visit}");
    }
    eprintln!("screenshots: {}", shots.display());
}
