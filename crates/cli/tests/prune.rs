//! `quickpick prune` on models that it cannot run, by grams or by weights alone; and under a budget.

mod common;

use common::{Scratch, json, model, quickpick, refused, succeeded};
use quickpick_format::StoredType;
use quickpick_transformer::checkpoint::{Checkpoint, Planned, ShardWriter, Source};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

const SHAPES: [(&str, [usize; 2]); 3] =
    [("blocks.0.mix.weight", [12, 32]), ("blocks.1.mix.weight", [20, 24]), ("wte.weight", [9, 8])];

fn random(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| draw()).collect()
}

/// Tensors of f32, and one of integers.
fn write(folder: &Path, tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>, integer: (&str, i64)) {
    let mut plan =
        vec![Planned::Dense { name: integer.0.into(), dtype: StoredType::I64, shape: vec![1] }];
    plan.extend(tensors.iter().map(|(name, (shape, _))| Planned::Dense {
        name: name.clone(),
        dtype: StoredType::F32,
        shape: shape.clone(),
    }));
    let mut writer = ShardWriter::create(folder, &plan, u64::MAX).unwrap();
    writer.raw(integer.0, &integer.1.to_le_bytes()).unwrap();
    for (name, (_, data)) in tensors {
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        writer.raw(name, &bytes).unwrap();
    }
    writer.file(Path::new("config.json"), br#"{"model_type": "mamba"}"#).unwrap();
    writer.finish().unwrap();
}

/// A model of a kind that nobody here knows.
fn strange(scratch: &Scratch) {
    let tensors = SHAPES.iter().zip(1..).map(|((name, [rows, cols]), seed)| {
        (name.to_string(), (vec![*rows, *cols], random(rows * cols, seed)))
    });
    let mut tensors: BTreeMap<_, _> = tensors.collect();
    tensors.insert("blocks.0.decay".into(), (vec![5], random(5, 9)));
    write(&scratch.path("strange"), &tensors, ("steps", -3));
}

/// Grams of 40 inputs of each layer, features of very different size; and the features' squares.
fn grams(scratch: &Scratch, name: &str, layers: &[(&str, usize)]) -> BTreeMap<String, Vec<f64>> {
    let (mut tensors, mut squares) = (BTreeMap::new(), BTreeMap::new());
    for ((layer, k), seed) in layers.iter().zip(77..) {
        let mut x = random(40 * k, seed);
        x.iter_mut().enumerate().for_each(|(i, x)| *x *= 1.5f32.powi((i % k) as i32 % 7));
        let sum = |i: usize, j: usize| -> f64 {
            x.chunks(*k).map(|row| f64::from(row[i]) * f64::from(row[j])).sum()
        };
        let gram: Vec<f32> = (0..k * k).map(|at| sum(at / k, at % k) as f32).collect();
        squares.insert(layer.to_string(), (0..*k).map(|i| sum(i, i)).collect());
        tensors.insert(layer.to_string(), (vec![*k, *k], gram));
    }
    write(&scratch.path(name), &tensors, ("tokens", 40));
    squares
}

fn prune(scratch: &Scratch, model: &str, out: &str, more: &[&str]) -> std::process::Output {
    let start = [OsString::from("prune"), scratch.path(model).into(), "--out".into()];
    let args = start.into_iter().chain([scratch.path(out).into()]);
    quickpick(args.chain(more.iter().map(OsString::from)))
}

fn path(scratch: &Scratch, name: &str) -> String {
    scratch.path(name).to_str().unwrap().to_owned()
}

#[test]
fn weights_alone_choose_as_they_do_beside_a_text() {
    let scratch = Scratch::new("alone");
    model(&scratch);
    let text = path(&scratch, "a.txt");
    let few = ["--method", "magnitude", "--sequences", "2", "--length", "64"];
    succeeded(prune(&scratch, "model", "seen", &[&few[..], &["--calibration", &text]].concat()));
    succeeded(prune(&scratch, "model", "unseen", &["--method", "magnitude"]));
    let tensors = |out: &str| fs::read(scratch.path(out).join("model.safetensors")).unwrap();
    assert!(tensors("seen") == tensors("unseen"));
}

#[test]
fn a_model_of_any_kind_is_pruned_by_its_weights() {
    let scratch = Scratch::new("strange");
    strange(&scratch);
    let report = json(prune(
        &scratch,
        "strange",
        "out",
        &["--method", "magnitude", "--dtype", "f32", "--json"],
    ));
    let decisions: BTreeMap<&str, &str> = report["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (l["name"].as_str().unwrap(), l["decision"].as_str().unwrap()))
        .collect();
    assert_eq!(decisions["blocks.0.mix.weight"], "pruned");
    assert_eq!(decisions["wte.weight"], "dense: an embedding by its name");
    let [old, new] = ["strange", "out"].map(|name| Checkpoint::open(&scratch.path(name)).unwrap());
    for name in ["wte.weight", "blocks.0.decay", "steps"] {
        assert_eq!(new.raw(name).unwrap(), old.raw(name).unwrap(), "{name}");
    }
    for name in ["blocks.0.mix.weight", "blocks.1.mix.weight"] {
        let [old, new] = [&old, &new].map(|c| c.tensor(name).unwrap().data);
        for (old, new) in old.chunks(4).zip(new.chunks(4)) {
            let mut sizes: Vec<f32> = old.iter().map(|w| w.abs()).collect();
            sizes.sort_by(f32::total_cmp);
            for (old, new) in old.iter().zip(new) {
                assert_eq!(*new, if old.abs() >= sizes[2] { *old } else { 0.0 });
            }
        }
    }
    assert!(scratch.path("out/config.json").exists());
}

#[test]
fn grams_of_another_framework_stand_in_for_a_text() {
    let scratch = Scratch::new("grams");
    strange(&scratch);
    let layers = [("blocks.0.mix.weight", 32), ("blocks.1.mix.weight", 24)];
    let squares = grams(&scratch, "grams", &layers);
    let file = path(&scratch, "grams/model.safetensors");
    let fixed = ["--dtype", "f32", "--json", "--grams", &file, "--method"];
    let run =
        |method: &str| json(prune(&scratch, "strange", method, &[&fixed[..], &[method]].concat()));
    let error = |report: &serde_json::Value| -> f64 {
        let layers = report["layers"].as_array().unwrap();
        layers.iter().filter_map(|l| l["pruned"]["error"].as_f64()).sum()
    };
    let wanda = run("wanda");
    assert_eq!(wanda["layers"][0]["pruned"]["tokens"], 40);
    let [old, new] =
        ["strange", "wanda"].map(|name| Checkpoint::open(&scratch.path(name)).unwrap());
    for (name, k) in layers {
        let [old, new] = [&old, &new].map(|c| c.tensor(name).unwrap().data);
        let score = |at: usize| f64::from(old[at].abs()) * squares[name][at % k].sqrt();
        for group in (0..old.len()).step_by(4) {
            let mut scores: Vec<f64> = (group..group + 4).map(score).collect();
            scores.sort_by(f64::total_cmp);
            for at in group..group + 4 {
                let want = if score(at) >= scores[2] { old[at] } else { 0.0 };
                assert_eq!(new[at], want, "{name}[{at}]");
            }
        }
    }
    let (magnitude, alps) = (run("magnitude"), run("alps"));
    assert!(error(&alps) < 0.8 * error(&wanda) && error(&wanda) < 0.8 * error(&magnitude));
}

#[test]
fn what_is_missing_is_said() {
    let scratch = Scratch::new("missing");
    strange(&scratch);
    model(&scratch);
    grams(&scratch, "one", &[("blocks.0.mix.weight", 32)]);
    grams(&scratch, "small", &[("blocks.0.mix.weight", 16), ("blocks.1.mix.weight", 24)]);
    grams(&scratch, "other", &[("blocks.7.mix.weight", 32)]);
    let [one, small, other] =
        ["one", "small", "other"].map(|name| path(&scratch, &format!("{name}/model.safetensors")));
    let (text, no_grams) = (path(&scratch, "a.txt"), path(&scratch, "strange/model.safetensors"));
    let text = text.as_str();
    for (model, args, words) in [
        (
            "strange",
            &["--method", "wanda"][..],
            "wanda looks at the layers' inputs, and nothing shows them",
        ),
        ("strange", &["--calibration", text], "model_type is \"mamba\""),
        ("strange", &["--grams", &one], "has no gram of blocks.1.mix.weight"),
        ("strange", &["--grams", &small], "has 32 input features, its gram is [16, 16]"),
        ("strange", &["--grams", &other], "blocks.7.mix.weight is no matrix of the checkpoint"),
        ("strange", &["--grams", &no_grams], "tokens"),
        ("strange", &["--method", "magnitude", "--permute"], "--permute needs --calibration"),
        (
            "strange",
            &["--method", "magnitude", "--density", "0.6"],
            "--density needs --calibration",
        ),
        ("strange", &["--method", "magnitude", "--eval", text], "model_type is \"mamba\""),
        (
            "model",
            &["--calibration", text, "--sequences", "4", "--length", "64", "--density", "0.4"],
            "the sparsest choices keep 0.5 of all weights, more than 0.4",
        ),
    ] {
        let why = refused(prune(&scratch, model, "out", args));
        assert!(why.contains(words), "{args:?}: {why}");
        assert!(!scratch.path("out").exists());
        let _ = fs::remove_dir_all(scratch.path("out.run"));
    }
}

#[test]
fn a_budget_spares_and_softens_the_most_sensitive_layers() {
    let scratch = Scratch::new("budget");
    model(&scratch);
    let text = path(&scratch, "a.txt");
    let fixed = [
        "--json",
        "--method",
        "wanda",
        "--sequences",
        "4",
        "--length",
        "64",
        "--calibration",
        &text,
    ];
    let run = |out: &str, more: &[&str]| {
        json(prune(&scratch, "model", out, &[&fixed[..], more].concat()))
    };
    let share = |report: &serde_json::Value| -> f64 {
        let (mut kept, mut all) = (0, 0);
        for layer in report["layers"].as_array().unwrap() {
            let n = layer["shape"][0].as_u64().unwrap() * layer["shape"][1].as_u64().unwrap();
            all += n;
            kept += layer["pruned"]["kept"].as_u64().unwrap_or(n);
        }
        kept as f64 / all as f64
    };
    let plain = run("plain", &[]);
    let spared = run("spared", &["--density", "0.6"]);
    let softened = run("softened", &["--density", "0.6", "--soften", "6:8"]);
    assert_eq!(share(&plain), 0.5);
    let layers = |report: &serde_json::Value, what: &str, key: &str| -> Vec<String> {
        let all = report["layers"].as_array().unwrap().iter();
        let found = all.filter(|l| l[key] == what || l["pruned"][key] == what);
        found.map(|l| l["name"].as_str().unwrap().to_owned()).collect()
    };
    let whole = layers(&spared, "dense: the budget spares it", "decision");
    assert!(!whole.is_empty() && whole.len() < 42, "{whole:?}");
    let softer = layers(&softened, "6:8", "pattern");
    assert!(!softer.is_empty(), "{softened}");
    for report in [&spared, &softened] {
        assert!((0.55..=0.6).contains(&share(report)), "{}", share(report));
    }
    let page = fs::read_to_string(scratch.path("softened/quickpick-report.html")).unwrap();
    assert!(page.contains("2:4 runs on sparse tensor cores"));
    assert!(page.contains("No hardware runs 6:8"));
    // and the bytes count each layer as what it is
    let bytes = |report: &serde_json::Value| report["bytes"]["compressed"].as_u64().unwrap();
    assert!(bytes(&plain) < bytes(&spared));
}
