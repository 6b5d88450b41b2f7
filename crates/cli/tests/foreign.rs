//! A pruned checkpoint in another implementation, and its compressed form on each backend. The same again
//! with SmolLM2 where its file is there (`QUICKPICK_SMOLLM2`, as in quickpick-transformer's tests).

mod common;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use common::{Scratch, json, model, quickpick, succeeded};
use quickpick_transformer::Tokenizer;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What is pruned and measured, and how.
struct Case {
    model: PathBuf,
    calibration: Vec<PathBuf>,
    text: PathBuf,
    sequences: usize,
    context: usize,
    windows: usize,
    prompt: &'static str,
}

/// Mean loss of candle-transformers' Llama, in nats, over the windows that [`quickpick eval`] says it takes:
/// `starts` in tokens, each token after a window's first predicted once.
fn loss_in_candle(folder: &Path, ids: &[u32], starts: &[usize], context: usize) -> f64 {
    let config = fs::read(folder.join("config.json")).unwrap();
    let config: LlamaConfig = serde_json::from_slice(&config).unwrap();
    let config = config.into_config(false);
    let file = folder.join("model.safetensors");
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let model = Llama::load(builder, &config).unwrap();
    let mut sum = 0.0;
    for &start in starts {
        // its forward returns the last token's logits only, so a token at a time
        let mut cache = Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
        for at in 0..context - 1 {
            let token = Tensor::new(&ids[start + at..][..1], &Device::Cpu).unwrap();
            let logits = model.forward(&token.unsqueeze(0).unwrap(), at, &mut cache).unwrap();
            let logs = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
            let next = ids[start + at + 1] as usize;
            sum -= f64::from(
                logs.flatten_all().unwrap().get(next).unwrap().to_scalar::<f32>().unwrap(),
            );
        }
    }
    sum / (starts.len() * (context - 1)) as f64
}

fn checked(case: &Case, scratch: &Scratch) {
    let out = scratch.path("pruned");
    let mut args: Vec<OsString> = vec!["prune".into(), case.model.clone().into()];
    args.extend(["--out".into(), out.clone().into(), "--method".into(), "wanda".into()]);
    args.extend(["--sequences".into(), case.sequences.to_string().into()]);
    args.extend(["--length".into(), case.context.to_string().into(), "--calibration".into()]);
    args.extend(case.calibration.iter().map(OsString::from));
    succeeded(quickpick(args));

    let number = |n: usize| OsString::from(n.to_string());
    let mut args: Vec<OsString> = vec!["eval".into(), out.clone().into(), "--json".into()];
    args.extend(["--context".into(), number(case.context)]);
    args.extend(["--windows".into(), number(case.windows)]);
    args.extend(["--text".into(), case.text.clone().into()]);
    let ours = json(quickpick(args));
    let ours = ours["evaluated"]["estimate"]["value"].as_f64().unwrap();
    let tokenizer = Tokenizer::from_file(&out.join("tokenizer.json")).unwrap();
    let ids = tokenizer.encode(&fs::read_to_string(&case.text).unwrap()).unwrap();
    let all = ids.len() / case.context;
    let starts: Vec<_> = (0..case.windows).map(|i| i * all / case.windows * case.context).collect();
    let theirs = loss_in_candle(&out, &ids, &starts, case.context).exp();
    println!("perplexity {ours} here, {theirs} in candle-transformers");
    assert!((ours / theirs - 1.0).abs() < 0.005, "{ours} and {theirs}");

    let small = scratch.path("small");
    let args = ["convert".into(), out.clone().into(), "--to".into(), "quickpick".into()];
    succeeded(quickpick(args.into_iter().chain(["--out".into(), OsString::from(&small)])));
    // without the header, whose length comes first
    let data = |folder: &Path| {
        let file = fs::read(folder.join("model.safetensors")).unwrap();
        (file.len() - 8) as u64 - u64::from_le_bytes(*file.first_chunk().unwrap())
    };
    let report = fs::read(out.join("quickpick-report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let layers = report["layers"].as_array().unwrap();
    let shape = |l: &serde_json::Value, i: usize| l["shape"][i].as_u64().unwrap();
    // of the linear layers, in f16; the rest of the file is the same in both
    let dense: u64 = layers.iter().map(|l| 2 * shape(l, 0) * shape(l, 1)).sum();
    let compressed = dense - (data(&out) - data(&small));
    println!("{dense} bytes of pruned layers became {compressed}");
    assert_eq!(compressed as f64, 0.5625 * dense as f64); // half of 16 bits, and 2 bits for each kept

    let write = |folder: &Path, backend: &str| {
        let fixed = ["--json", "--tokens", "24", "--backend", backend, "--prompt", case.prompt];
        let args = std::iter::once(OsString::from("generate")).chain([folder.into()]);
        quickpick(args.chain(fixed.map(OsString::from)))
    };
    let cpu = json(write(&small, "cpu"));
    println!("cpu: {}", cpu["text"]);
    assert_eq!(cpu["sparse_layers"].as_u64().unwrap() as usize, layers.len());
    // zeros in a dense file are the same model
    assert_eq!(cpu["tokens"], json(write(&out, "cpu"))["tokens"]);
    let wgpu = write(&small, "wgpu");
    if !wgpu.status.success() {
        return common::skip("wgpu", &String::from_utf8_lossy(&wgpu.stderr));
    }
    let wgpu = json(wgpu);
    println!("wgpu: {}", wgpu["text"]);
    assert_eq!(cpu["tokens"], wgpu["tokens"]);
}

#[test]
fn a_small_model_is_the_same_elsewhere() {
    let scratch = Scratch::new("foreign");
    let case = Case {
        model: model(&scratch),
        calibration: vec![scratch.path("a.txt")],
        text: scratch.path("b.txt"),
        sequences: 8,
        context: 96,
        windows: 7,
        prompt: "the tane ",
    };
    checked(&case, &scratch);
}

/// With two of this repository's own texts: what is compared is two programs, not methods.
#[test]
fn smollm2_is_the_same_elsewhere() {
    let Some(model) = std::env::var_os("QUICKPICK_SMOLLM2") else {
        return common::skip("smollm2", "QUICKPICK_SMOLLM2 names no file");
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let scratch = Scratch::new("foreign-smollm2");
    let case = Case {
        model: model.into(),
        calibration: vec![root.join("README.md")],
        text: root.join("ARCHITECTURE.md"),
        sequences: 8,
        context: 256,
        windows: 8,
        prompt: "The capital of France is",
    };
    checked(&case, &scratch);
}
