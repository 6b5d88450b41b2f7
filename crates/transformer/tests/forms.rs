//! The three forms of a checkpoint: conversions between all of them, what they refuse, hostile files.

use half::{bf16, f16};
use proptest::prelude::*;
use quickpick_format::DType;
use quickpick_prune::{Pattern, Rules};
use quickpick_transformer::checkpoint::{
    Checkpoint, Conversion, Converted, Source, Target, convert, inspect, open,
};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const FORMS: [Target; 3] = [Target::Dense, Target::Quickpick, Target::Bitmask];

/// Name, type, shape, bytes.
type Tensor = (&'static str, Dtype, Vec<usize>, Vec<u8>);

const UP: &str = "model.layers.0.mlp.up_proj.weight";
const DOWN: &str = "model.layers.0.mlp.down_proj.weight";
const FULL: &str = "model.layers.1.mlp.up_proj.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

fn folder(test: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("quickpick-forms-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// 2:4, with groups of two, one and no non-zeros.
fn values(count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(|i| match (i / 4 % 3, i % 4) {
        (0, 1 | 3) | (1, 2) => 0.25 * (i % 37) as f32 - 4.125,
        _ => 0.0,
    })
}

fn bf16s(count: usize) -> Vec<u8> {
    values(count).flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect()
}

/// Two 2:4 layers, one that is not and holds what no 2:4 form could, an embedding that is 2:4 by
/// chance, a norm and integers.
fn tensors() -> Vec<Tensor> {
    let full = (0..32u8).flat_map(|i| match i {
        5 => f32::NAN.to_le_bytes(),
        6 => (-0.0f32).to_le_bytes(),
        i => f32::from(i + 1).to_le_bytes(),
    });
    vec![
        (UP, Dtype::BF16, vec![6, 16], bf16s(96)),
        (
            DOWN,
            Dtype::F16,
            vec![4, 20],
            values(80).flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        ),
        (FULL, Dtype::F32, vec![4, 8], full.collect()),
        (EMBEDDING, Dtype::BF16, vec![4, 8], bf16s(32)),
        ("model.norm.weight", Dtype::F32, vec![2], vec![0, 0, 128, 63, 0, 0, 0, 128]),
        ("position_ids", Dtype::I64, vec![1, 4], vec![7; 32]),
    ]
}

fn write(path: &Path, tensors: &[Tensor]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let pt = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    fs::write(path, safetensors::serialize(views, Some(pt)).unwrap()).unwrap();
}

/// The model as a dense folder.
fn model(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    write(&folder.join("model.safetensors"), &tensors());
    fs::write(folder.join("config.json"), "{\"torch_dtype\":\"bfloat16\", \"hidden_size\":16}")
        .unwrap();
    fs::write(folder.join("tokenizer.json"), "{ }").unwrap();
}

fn run(from: &Path, out: &Path, conversion: &Conversion) -> Result<Vec<Converted>, String> {
    let opened = open(from).map_err(|e| e.to_string())?;
    convert(opened.source.as_ref(), opened.folder.as_deref(), out, conversion, &mut |_| {})
        .map(|(tensors, _)| tensors)
        .map_err(|e| e.to_string())
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_form_becomes_every_form_bit_for_bit() {
    let folder = folder("round");
    let dense = folder.join("start");
    model(&dense);
    let bytes = |form: &Path| fs::read(form.join("model.safetensors")).unwrap();
    let first: Vec<PathBuf> = FORMS.iter().map(|form| folder.join(form.to_string())).collect();
    for (form, out) in FORMS.iter().zip(&first) {
        run(&dense, out, &Conversion::to(*form)).unwrap();
    }
    assert_eq!(bytes(&first[0]), bytes(&dense), "dense to dense is a copy");
    for from in &first {
        let source = Checkpoint::open(from).unwrap();
        assert_eq!(source.entries().len(), tensors().len());
        for (name, dtype, shape, bytes) in tensors() {
            let raw = source.raw(name).unwrap();
            assert_eq!((raw.dtype, raw.shape, raw.bytes), (dtype, shape, bytes), "{name}");
        }
        for (form, want) in FORMS.iter().zip(&first) {
            let out = folder.join("again");
            run(from, &out, &Conversion::to(*form)).unwrap();
            assert_eq!(bytes(&out), bytes(want), "{} to {form}", from.display());
            assert_eq!(json(&out.join("config.json")), json(&want.join("config.json")));
            assert_eq!(fs::read(out.join("tokenizer.json")).unwrap(), b"{ }");
            fs::remove_dir_all(&out).unwrap();
        }
    }
    // what needs no change is copied as it is
    for out in &first[..2] {
        let config = fs::read(out.join("config.json")).unwrap();
        assert_eq!(config, fs::read(dense.join("config.json")).unwrap());
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn each_tensor_says_what_became_of_it() {
    let folder = folder("says");
    let dense = folder.join("start");
    model(&dense);
    let told = run(&dense, &folder.join("q"), &Conversion::to(Target::Quickpick)).unwrap();
    let find = |told: &[Converted], name: &str| {
        let t = told.iter().find(|t| t.name == name).unwrap();
        (t.to.clone(), t.bytes_from, t.bytes_to, t.dense_because.clone())
    };
    let why = |text: &str| Some(text.to_owned());
    // 6 rows of k = 32: 16 values of 2 bytes, one word
    assert_eq!(find(&told, UP), ("2:4 BF16".into(), 192, 6 * (32 + 4), None));
    let (to, _, bytes, because) = find(&told, FULL);
    assert_eq!((to.as_str(), bytes), ("F32", 128));
    assert_eq!(because, why("not 2:4: row 0, columns from 0"));
    assert_eq!(find(&told, EMBEDDING).3, why("an embedding by its name"));
    assert_eq!(find(&told, "position_ids").3, why("a 2:4 matrix has no elements of I64"));
    let told = run(&dense, &folder.join("b"), &Conversion::to(Target::Bitmask)).unwrap();
    assert_eq!(find(&told, DOWN), ("2:4 F16 bitmask".into(), 160, 4 * (20 + 3) + 16, None));

    let source = Checkpoint::open(&folder.join("b")).unwrap();
    let stored = source.entries().iter().find(|e| e.name == DOWN).unwrap();
    assert_eq!((stored.stored.as_str(), stored.bytes), ("2:4 F16 bitmask", 4 * 23 + 16));
    let config = json(&folder.join("b/config.json"));
    let sparsity = &config["quantization_config"]["sparsity_config"];
    assert_eq!(sparsity["format"], "sparse-24-bitmask");
    let ignore = ["model.embed_tokens", "model.layers.1.mlp.up_proj", "lm_head"];
    assert_eq!(sparsity["ignore"], serde_json::json!(ignore));
    // zeros of the three sparse tensors, the −0.0 of the norm and of the full one
    let zeros =
        [96usize, 80, 32].map(|n| values(n).filter(|v| *v == 0.0).count()).iter().sum::<usize>()
            + 2;
    let share = zeros as f64 / (96 + 80 + 32 + 32 + 2 + 4) as f64;
    assert!((sparsity["global_sparsity"].as_f64().unwrap() - share).abs() < 1e-12);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_a_form_cannot_hold_is_an_error_with_its_place() {
    let folder = folder("refused");
    let path = folder.join("model.safetensors");
    let out = folder.join("out");
    let with = |at: usize, value: f32| {
        let mut data: Vec<f32> = values(32).collect();
        data[at] = value;
        write(
            &path,
            &[("a.weight", Dtype::F32, vec![2, 16], bytemuck::cast_slice(&data).to_vec())],
        );
    };
    let to = |target, positive_zeros| {
        let conversion = Conversion { positive_zeros, ..Conversion::to(target) };
        let told = run(&path, &out, &conversion);
        assert_eq!(told.is_ok(), out.exists(), "nothing is left of a failed run");
        let _ = fs::remove_dir_all(&out);
        told
    };
    for target in [Target::Quickpick, Target::Bitmask] {
        with(16, f32::NAN);
        let e = to(target, true).unwrap_err();
        assert!(e.contains("a.weight: row 1, column 0: not a finite number"), "{e}");
        with(18, -0.0);
        let e = to(target, false).unwrap_err();
        assert!(e.contains("a.weight: row 1, column 2: −0.0"), "{e}");
        assert_eq!(to(target, true).unwrap()[0].positive_zeros, 1);
        with(16, 1e30);
        let f16 = Conversion { dtype: Some(DType::F16), ..Conversion::to(target) };
        let e = run(&path, &out, &f16).unwrap_err();
        assert!(e.contains("a.weight: element 16: 1e30 exceeds f16"), "{e}");
    }
    with(16, f32::NAN);
    assert_eq!(to(Target::Dense, false).unwrap()[0].to, "F32");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "mine").unwrap();
    let e = run(&path, &out, &Conversion::to(Target::Dense)).unwrap_err();
    assert!(e.contains("is there already"), "{e}");
    fs::remove_dir_all(&folder).unwrap();
}

/// 8 rows of 16 columns; rows 1 and 5 each have a group of three and four.
fn nearly(dtype: Dtype) -> Tensor {
    let mut data: Vec<f32> = values(128).collect();
    for row in [1, 5] {
        data[16 * row..][..4].copy_from_slice(&[0.5, -1.0, 1.0, 1.0]);
        data[16 * row + 4..][..3].copy_from_slice(&[3.0, 0.25, -2.0]);
        data[16 * row + 7] = 0.0;
    }
    let bytes = match dtype {
        Dtype::F16 => data.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::BF16 => data.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(&data).to_vec(),
    };
    (UP, dtype, vec![8, 16], bytes)
}

/// Weights of [`nearly`] beyond two of four, of 128.
const BEYOND: usize = 2 * (2 + 1);

fn with_residual(residual: f64) -> Conversion {
    Conversion { residual, ..Conversion::to(Target::Quickpick) }
}

#[test]
fn what_is_nearly_24_becomes_24_with_a_residual() {
    let folder = folder("nearly");
    let (path, out) = (folder.join("model.safetensors"), folder.join("out"));
    for dtype in [Dtype::F16, Dtype::BF16] {
        let (name, _, shape, bytes) = nearly(dtype);
        let mut all = tensors();
        all[0] = nearly(dtype);
        write(&path, &all);
        let told = run(&path, &out, &with_residual(BEYOND as f64 / 128.0)).unwrap();
        let up = told.iter().find(|t| t.name == name).unwrap();
        // 8 rows of k = 32: 16 values of 2 bytes, one word; 9 row pointers, an entry a word
        let size = 8 * (32 + 4) + 4 * (9 + BEYOND as u64);
        let says = format!("2:4 {dtype} + residual, 4.7 %");
        assert_eq!((&up.to, up.bytes_to, &up.dense_because), (&says, size, &None));
        let down = told.iter().find(|t| t.name == DOWN).unwrap();
        assert_eq!(down.to, "2:4 F16", "what is 2:4 has no residual");

        let source = Checkpoint::open(&out).unwrap();
        let entry = source.entries().iter().find(|e| e.name == name).unwrap();
        assert_eq!((&entry.stored, entry.bytes), (&says, size));
        let raw = source.raw(name).unwrap();
        assert_eq!((raw.dtype, raw.shape, &raw.bytes), (dtype, shape, &bytes));
        // which of a group are the 2:4 ones: the larger, then the lower column
        let file = quickpick_format::Reader::open(&out.join("model.safetensors")).unwrap();
        let of_row = |row: usize| -> Vec<(usize, f32)> {
            match dtype {
                Dtype::F16 => {
                    let r = file.residual::<f16>(name).unwrap().unwrap();
                    r.row(row).map(|(c, v)| (c, v.to_f32())).collect()
                }
                _ => {
                    let r = file.residual::<bf16>(name).unwrap().unwrap();
                    r.row(row).map(|(c, v)| (c, v.to_f32())).collect()
                }
            }
        };
        assert_eq!(of_row(5), [(0, 0.5), (3, 1.0), (5, 0.25)]);
        assert_eq!(of_row(0), []);

        let report = inspect(&source, &Rules::new(Pattern::TWO_OF_FOUR), &mut |_| {}).unwrap();
        let up = report.tensors.iter().find(|t| t.name == name).unwrap();
        assert_eq!((&up.stored, up.bytes, &up.pattern), (&says, size, &None));
        let nonzeros = raw.bytes.chunks(2).filter(|b| **b != [0, 0]).count() as u64;
        assert_eq!(up.nonzeros, Some(nonzeros));
        assert_eq!(up.bytes_24, Some(8 * (32 + 4)));
        // back to dense, and through the same form again
        let (back, again) = (folder.join("back"), folder.join("again"));
        run(&out, &back, &Conversion::to(Target::Dense)).unwrap();
        assert_eq!(fs::read(back.join("model.safetensors")).unwrap(), fs::read(&path).unwrap());
        run(&out, &again, &with_residual(0.05)).unwrap();
        let bytes = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
        assert_eq!(bytes(&again), bytes(&out));
        for folder in [&out, &back, &again] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_has_no_room_for_a_residual_stays_dense_or_is_refused() {
    let folder = folder("no-room");
    let (path, out) = (folder.join("model.safetensors"), folder.join("out"));
    let because = |tensor: Tensor, conversion: &Conversion| {
        write(&path, &[tensor]);
        let told = run(&path, &out, conversion);
        let _ = fs::remove_dir_all(&out);
        told.map(|told| told[0].dense_because.clone().unwrap_or_default())
    };
    let why = because(nearly(Dtype::F16), &with_residual(0.046)).unwrap();
    assert_eq!(why, "not 2:4: 4.69 % beyond two of four, 4.6 % allowed");
    let why = because(nearly(Dtype::F16), &with_residual(0.0)).unwrap();
    assert_eq!(why, "not 2:4: row 1, columns from 0");
    let why = because(nearly(Dtype::F32), &with_residual(0.1)).unwrap();
    assert_eq!(why, "not 2:4, and a residual is f16 or bf16, not f32");
    let cols = (1 << 16) + 4;
    let wide = (UP, Dtype::F16, vec![1, cols], f16::ONE.to_le_bytes().repeat(cols));
    let why = because(wide, &with_residual(0.5)).unwrap();
    assert_eq!(why, "not 2:4, and a residual has 65536 columns at most");
    for target in [Target::Dense, Target::Bitmask] {
        let conversion = Conversion { residual: 0.1, ..Conversion::to(target) };
        let e = because(nearly(Dtype::F16), &conversion).unwrap_err();
        assert!(e.contains(&format!("the form {target} has no room for a residual")), "{e}");
    }
    for fraction in [-0.1, 1.5, f64::NAN] {
        let e = because(nearly(Dtype::F16), &with_residual(fraction)).unwrap_err();
        assert!(e.contains("not 0..=1"), "{e}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn casting_rounds_reals_and_leaves_integers() {
    let folder = folder("cast");
    let dense = folder.join("start");
    model(&dense);
    let out = folder.join("out");
    let conversion = Conversion { dtype: Some(DType::F32), ..Conversion::to(Target::Quickpick) };
    let told = run(&dense, &out, &conversion).unwrap();
    assert!(told.iter().all(|t| t.name == "position_ids" || t.to.ends_with("F32")), "{told:?}");
    let (before, after) = (Checkpoint::open(&dense).unwrap(), Checkpoint::open(&out).unwrap());
    for name in [UP, DOWN, EMBEDDING] {
        assert_eq!(before.tensor(name).unwrap(), after.tensor(name).unwrap(), "{name}");
    }
    assert_eq!(json(&out.join("config.json"))["torch_dtype"], "float32");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn bitmasks_with_faults_are_refused() {
    let folder = folder("bitmask");
    let path = folder.join("model.safetensors");
    let sound = || {
        let one = f16::ONE.to_le_bytes().repeat(8);
        vec![
            ("m.compressed", Dtype::F16, vec![2, 4], one),
            ("m.bitmask", Dtype::U8, vec![2, 1], vec![0x33, 0xA5]),
            (
                "m.shape",
                Dtype::I64,
                vec![2, 1],
                [2i64, 8].iter().flat_map(|n| n.to_le_bytes()).collect(),
            ),
        ]
    };
    let read = |tensors: &[_]| {
        write(&path, tensors);
        let source = Checkpoint::open(&path).map_err(|e| e.to_string())?;
        source.tensor("m.weight").map_err(|e| e.to_string())
    };
    let want = [1., 1., 0., 0., 1., 1., 0., 0., 1., 0., 1., 0., 0., 1., 0., 1.];
    assert_eq!(read(&sound()).unwrap().data, want);
    let refused = |change: &dyn Fn(&mut Vec<Tensor>), says: &str| {
        let mut tensors = sound();
        change(&mut tensors);
        let e = read(&tensors).unwrap_err();
        assert!(e.contains(says), "{e}\nshould contain\n{says}");
    };
    let shape = |rows: i64, cols: i64| [rows, cols].iter().flat_map(|n| n.to_le_bytes()).collect();
    refused(&|t| t[1].3[0] = 0x37, "row 0, columns from 0: the bitmask keeps 3 of 4");
    refused(&|t| t[0].3[1] = 0x7C, "inf is not finite");
    refused(&|t| t[2].3 = shape(2, 16), "a matrix of 2 × 16 has values of [2, 8]");
    refused(&|t| t[2].3 = shape(-1, 8), "its shape is [-1, 8]");
    refused(&|t| t[2].3 = shape(i64::MAX, i64::MAX), "a matrix of 9223372036854775807");
    refused(&|t| t[2] = ("m.shape", Dtype::I64, vec![3], vec![0; 24]), "not rows and columns");
    refused(&|t| t[1].1 = Dtype::I8, "its mask is I8");
    refused(
        &|t| (t[0].1, t[0].2, t[0].3) = (Dtype::I16, vec![2, 4], vec![0; 16]),
        "its values are I16",
    );
    refused(
        &|t| t.push(("m.weight", Dtype::F16, vec![1], vec![0; 2])),
        "m.weight is there dense and as a bitmask",
    );
    // a part alone is a tensor like any other
    refused(&|t| drop(t.pop()), "there is no m.weight");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn inspection_counts_what_is_there() {
    let folder = folder("inspect");
    let dense = folder.join("start");
    model(&dense);
    for form in FORMS {
        let out = folder.join(form.to_string());
        run(&dense, &out, &Conversion::to(form)).unwrap();
        let source = Checkpoint::open(&out).unwrap();
        let mut heard = 0;
        let rules = Rules::new(Pattern::TWO_OF_FOUR);
        let report = inspect(&source, &rules, &mut |_| heard += 1).unwrap();
        assert_eq!(heard, 6);
        let find = |name: &str| report.tensors.iter().find(|t| t.name == name).unwrap();
        let nonzeros = values(96).filter(|v| *v != 0.0).count() as u64;
        let up = find(UP);
        assert_eq!((up.elements, up.nonzeros), (96, Some(nonzeros)));
        assert_eq!(up.density, Some(nonzeros as f64 / 96.0));
        assert_eq!((up.pattern.as_deref(), up.eligible), (Some("2:4"), true));
        assert_eq!(up.bytes_24, Some(6 * (32 + 4)));
        // 20 columns are no whole groups of 8
        assert_eq!(find(DOWN).pattern.as_deref(), Some("2:4"));
        let full = find(FULL);
        assert_eq!((full.not_finite, full.negative_zeros, &full.pattern), (1, 1, &None));
        assert_eq!(find(EMBEDDING).reason.as_deref(), Some("an embedding by its name"));
        let ids = find("position_ids");
        assert_eq!((ids.nonzeros, ids.eligible), (Some(4), false));
        let totals = &report.totals;
        assert_eq!((totals.tensors, totals.eligible, totals.already_24), (6, 3, 2));
        assert_eq!(totals.eligible_elements, 96 + 80 + 32);
        assert_eq!(totals.bytes, source.entries().iter().map(|e| e.bytes).sum::<u64>());
        let whole = |t: &quickpick_transformer::checkpoint::TensorReport| t.bytes_24.unwrap_or(0);
        assert_eq!(totals.eligible_bytes_24, report.tensors.iter().map(whole).sum::<u64>());
    }
    // the tightest pattern that holds
    let path = folder.join("p.safetensors");
    let patterns: [(&str, [f32; 16]); 4] = [
        ("1:4", [0., 0., 0., 1., 1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0.]),
        ("2:8", [0., 1., 0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1., 1.]),
        ("4:8", [1., 1., 1., 1., 0., 0., 0., 0., 1., 0., 1., 0., 1., 0., 1., 0.]),
        ("8:16", [1., 1., 1., 1., 1., 1., 1., 1., 0., 0., 0., 0., 0., 0., 0., 0.]),
    ];
    for (want, data) in patterns {
        let bytes = bytemuck::cast_slice(&data).to_vec();
        write(&path, &[("a.weight", Dtype::F32, vec![1, 16], bytes)]);
        let source = Checkpoint::open(&path).unwrap();
        let report = inspect(&source, &Rules::new(Pattern::TWO_OF_FOUR), &mut |_| {}).unwrap();
        assert_eq!(report.tensors[0].pattern.as_deref(), Some(want));
    }
    fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    /// Whatever bytes of a sound file are changed: an error, or tensors of the length that their
    /// shape says; never a panic.
    #[test]
    fn changed_bytes_never_panic(
        form in 0usize..4,
        cut in prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        header in any::<bool>(),
    ) {
        static FILES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        let files = FILES.get_or_init(|| {
            let folder = folder("fuzz-start");
            model(&folder.join("start"));
            let bytes = FORMS.map(|form| {
                let out = folder.join(form.to_string());
                run(&folder.join("start"), &out, &Conversion::to(form)).unwrap();
                fs::read(out.join("model.safetensors")).unwrap()
            });
            let (path, out) = (folder.join("nearly.safetensors"), folder.join("nearly"));
            write(&path, &[nearly(Dtype::BF16)]);
            run(&path, &out, &with_residual(1.0)).unwrap();
            let nearly = fs::read(out.join("model.safetensors")).unwrap();
            fs::remove_dir_all(&folder).unwrap();
            [&bytes[..], &[nearly]].concat()
        });
        let mut bytes = files[form].clone();
        let reach = if header { bytes.len() / 2 } else { bytes.len() };
        for (at, with) in changes {
            let at = at.index(reach);
            bytes[at] = with;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let path = std::env::temp_dir().join(format!("quickpick-fuzz-{}.safetensors", std::process::id()));
        fs::write(&path, &bytes).unwrap();
        if let Ok(source) = Checkpoint::open(&path) {
            for entry in source.entries() {
                let elements: usize = entry.shape.iter().product();
                if let Ok(tensor) = source.tensor(&entry.name) {
                    prop_assert_eq!(tensor.data.len(), elements);
                }
                if let Ok(raw) = source.raw(&entry.name) {
                    prop_assert_eq!(raw.bytes.len() * 8, elements * raw.dtype.bitsize());
                }
            }
            let _ = inspect(&source, &Rules::new(Pattern::TWO_OF_FOUR), &mut |_| {});
        }
        fs::remove_file(&path).unwrap();
    }
}
