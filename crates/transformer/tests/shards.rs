//! Folders of shards: written, read, and everything that can be wrong with them.

use half::{bf16, f16};
use quickpick_format::{Csr, DType, Matrix24, StoredType};
use quickpick_transformer::Error;
use quickpick_transformer::checkpoint::{
    Checkpoint, DEFAULT_LIMIT, Planned, ShardWriter, Source, companions,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(test: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("quickpick-shards-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn dense(name: &str, dtype: StoredType, shape: &[usize]) -> Planned {
    Planned::Dense { name: name.into(), dtype, shape: shape.to_vec() }
}

/// A model of four tensors, of 48, 16, 8 and 40 bytes.
fn plan() -> Vec<Planned> {
    vec![
        dense("embed.weight", StoredType::BF16, &[6, 4]),
        Planned::Sparse {
            name: "up.weight".into(),
            dtype: DType::F16,
            shape: [1, 4],
            residual: None,
        },
        dense("norm.weight", StoredType::F32, &[2]),
        dense("ids", StoredType::I64, &[5]),
    ]
}

fn up() -> Matrix24<f16> {
    Matrix24::compress(&[0.0, 1.5, 0.0, -2.0].map(f16::from_f32), 1, 4).unwrap()
}

/// The bytes of a tensor: its name's first letter, counted up.
fn bytes(name: &str, len: usize) -> Vec<u8> {
    (0..len).map(|i| name.as_bytes()[0].wrapping_add(i as u8)).collect()
}

fn fill(writer: &mut ShardWriter) -> Result<(), Error> {
    writer.raw("norm.weight", bytemuck::cast_slice(&[1.0f32, -0.0]))?;
    writer.raw("embed.weight", &bytes("embed", 48))?;
    writer.sparse("up.weight", &up())?;
    writer.raw("ids", &bytes("ids", 40))
}

fn write(out: &Path, limit: u64) -> Vec<String> {
    let mut writer = ShardWriter::create(out, &plan(), limit).unwrap();
    writer.file(Path::new("config.json"), b"{}").unwrap();
    fill(&mut writer).unwrap();
    let written = writer.finish().unwrap();
    let on_disk = written.files.iter().map(|f| fs::metadata(out.join(f)).unwrap().len());
    assert_eq!(written.bytes, on_disk.sum::<u64>());
    written.files
}

fn names(folder: &Path) -> Vec<String> {
    let name = |e: fs::DirEntry| e.file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|e| name(e.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read_whatever_the_shards() {
    let folder = folder("round");
    for (limit, shards) in [(DEFAULT_LIMIT, 1), (100, 2), (60, 3), (1, 4)] {
        let out = folder.join(limit.to_string());
        let files = write(&out, limit);
        assert_eq!(files.len(), shards, "{files:?}");
        let index = out.join("model.safetensors.index.json");
        match shards {
            1 => assert_eq!(names(&out), ["config.json", "model.safetensors"]),
            n => {
                assert_eq!(files[0], format!("model-00001-of-{n:05}.safetensors"));
                let json: serde_json::Value =
                    serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
                assert_eq!(json["metadata"]["total_size"], 48 + 32 + 4 + 8 + 40);
                assert_eq!(json["weight_map"]["up.weight.values"], files[1.min(n / 3)]);
            }
        }
        let model = Checkpoint::open(&out).unwrap();
        let seen: Vec<_> =
            model.entries().iter().map(|e| (&*e.name, &*e.stored, e.bytes)).collect();
        let want = [
            ("embed.weight", "BF16", 48),
            ("ids", "I64", 40),
            ("norm.weight", "F32", 8),
            ("up.weight", "2:4 F16", 32 + 4),
        ];
        assert_eq!(seen, want);
        assert_eq!(model.raw("embed.weight").unwrap().bytes, bytes("embed", 48));
        assert_eq!(model.raw("ids").unwrap().bytes, bytes("ids", 40));
        let norm = model.tensor("norm.weight").unwrap().data;
        assert_eq!(norm.map_bits(), [1.0f32, -0.0].map(f32::to_bits));
        let up = model.raw("up.weight").unwrap();
        assert_eq!((up.dtype, &*up.shape), (StoredType::F16, &[1, 4][..]));
        assert_eq!(model.tensor("up.weight").unwrap().data, [0.0, 1.5, 0.0, -2.0]);
        let e = model.tensor("ids").unwrap_err().to_string();
        assert!(e.contains("ids: it is I64"), "{e}");
        assert!(model.tensor("nothing").unwrap_err().to_string().contains("there is no nothing"));
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_residual_is_planned_written_and_added() {
    let folder = folder("residual");
    let residual = |data: [f32; 4]| Csr::from_dense(&data.map(f16::from_f32), 1, 4).unwrap();
    let planned = |residual| {
        let (name, dtype) = ("up.weight".into(), DType::F16);
        [Planned::Sparse { name, dtype, shape: [1, 4], residual }]
    };
    let write = |out: &Path, entries: Option<usize>, beside: [f32; 4]| -> Result<(), Error> {
        let mut writer = ShardWriter::create(out, &planned(entries), DEFAULT_LIMIT)?;
        writer.sparse("up.weight", &up())?;
        writer.residual("up.weight", &residual(beside))?;
        writer.finish().map(drop)
    };
    let read = |data: [f32; 4]| {
        let out = folder.join("out");
        let _ = fs::remove_dir_all(&out);
        write(&out, Some(1), data).unwrap();
        Checkpoint::open(&out).unwrap()
    };
    let model = read([0.25, 0.0, 0.0, 0.0]);
    let entry = &model.entries()[0];
    assert_eq!(entry.stored, "2:4 F16 + residual, 25.0 %");
    assert_eq!((model.entries().len(), entry.bytes), (1, 32 + 4 + 8 + 4));
    assert_eq!(model.tensor("up.weight").unwrap().data, [0.25, 1.5, 0.0, -2.0]);
    // where both have a value it is the sum, which must be one of the type
    assert_eq!(read([0.0, 0.5, 0.0, 0.0]).tensor("up.weight").unwrap().data, [0.0, 2.0, 0.0, -2.0]);
    let e = read([0.0, 1e-4, 0.0, 0.0]).raw("up.weight").unwrap_err().to_string();
    assert!(e.contains("up.weight: row 0, column 1: 1.5 and its residual 0.0001"), "{e}");

    let out = folder.join("refused");
    let e = write(&out, None, [1.0, 0.0, 0.0, 0.0]).unwrap_err().to_string();
    assert!(e.contains("up.weight.residual is not planned"), "{e}");
    let e = write(&out, Some(2), [1.0, 0.0, 0.0, 0.0]).unwrap_err().to_string();
    assert!(e.contains("4 bytes, 8 wanted"), "{e}");
    let mut writer = ShardWriter::create(&out, &planned(Some(1)), DEFAULT_LIMIT).unwrap();
    writer.sparse("up.weight", &up()).unwrap();
    let e = writer.finish().unwrap_err().to_string();
    assert!(e.contains("2 tensors were not written, the first is `up.weight.residual`"), "{e}");
    assert!(!out.exists());
    fs::remove_dir_all(&folder).unwrap();
}

trait Bits {
    fn map_bits(self) -> [u32; 2];
}

impl Bits for Vec<f32> {
    fn map_bits(self) -> [u32; 2] {
        <[f32; 2]>::try_from(self).unwrap().map(f32::to_bits)
    }
}

#[test]
fn equal_models_make_equal_bytes_and_safetensors_reads_them() {
    let folder = folder("equal");
    for limit in [DEFAULT_LIMIT, 60] {
        let (a, b) = (folder.join(format!("a{limit}")), folder.join(format!("b{limit}")));
        let files = write(&a, limit);
        write(&b, limit);
        assert_eq!(names(&a), names(&b));
        for name in names(&a) {
            assert_eq!(
                fs::read(a.join(&name)).unwrap(),
                fs::read(b.join(&name)).unwrap(),
                "{name}"
            );
        }
        for file in files {
            let bytes = fs::read(a.join(file)).unwrap();
            let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
            assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_unfinished_writer_leaves_nothing() {
    let folder = folder("killed");
    let out = folder.join("model");
    // dropped midway
    for limit in [DEFAULT_LIMIT, 1] {
        let mut writer = ShardWriter::create(&out, &plan(), limit).unwrap();
        writer.raw("embed.weight", &bytes("embed", 48)).unwrap();
        assert!(!out.exists());
        drop(writer);
        assert!(names(&folder).is_empty());
        // finished too early
        let mut writer = ShardWriter::create(&out, &plan(), limit).unwrap();
        writer.raw("embed.weight", &bytes("embed", 48)).unwrap();
        let e = writer.finish().unwrap_err().to_string();
        assert!(e.contains("were not written"), "{e}");
        assert!(names(&folder).is_empty());
    }
    // what is there is not touched
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "mine").unwrap();
    let e = ShardWriter::create(&out, &plan(), 1).map(drop).unwrap_err().to_string();
    assert!(e.contains("is there already"), "{e}");
    assert_eq!(names(&folder), ["model"]);
    // an empty folder may be filled
    fs::remove_file(out.join("mine")).unwrap();
    write(&out, DEFAULT_LIMIT);
    assert_eq!(names(&folder), ["model"]);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_writer_takes_what_is_planned() {
    let folder = folder("planned");
    let out = folder.join("model");
    let mut writer = ShardWriter::create(&out, &plan(), 1).unwrap();
    let e = writer.raw("other", &[]).unwrap_err().to_string();
    assert!(e.contains("other is not planned"), "{e}");
    let e = writer.raw("embed.weight", &[0; 4]).unwrap_err().to_string();
    assert!(e.contains("4 bytes, 48 wanted"), "{e}");
    let e = writer.raw("up.weight", &[0; 8]).unwrap_err().to_string();
    assert!(e.contains("up.weight is not planned"), "{e}");
    writer.raw("embed.weight", &bytes("embed", 48)).unwrap();
    let e = writer.raw("embed.weight", &bytes("embed", 48)).unwrap_err().to_string();
    assert!(e.contains("written already"), "{e}");
    assert!(writer.file(Path::new("../config.json"), b"").is_err());
    assert!(writer.file(Path::new("/config.json"), b"").is_err());
    writer.file(Path::new("1_Pooling/config.json"), b"").unwrap();
    assert!(writer.file(Path::new("1_Pooling/config.json"), b"").is_err());
    drop(writer);
    let twice = [dense("a", StoredType::F32, &[1]), dense("a", StoredType::F32, &[1])];
    for limit in [1, DEFAULT_LIMIT] {
        assert!(ShardWriter::create(&out, &twice, limit).is_err());
    }
    let huge = [dense("a", StoredType::F32, &[usize::MAX, 2])];
    let e = ShardWriter::create(&out, &huge, 1).map(drop).unwrap_err().to_string();
    assert!(e.contains("no countable number of bytes"), "{e}");
    fs::remove_dir_all(&folder).unwrap();
}

/// One safetensors file of f32 vectors of one element.
fn shard(path: &Path, names: &[&str]) {
    let view = TensorView::new(Dtype::F32, vec![1], &[0, 0, 128, 63]).unwrap();
    let bytes = safetensors::serialize(names.iter().map(|n| (*n, view.clone())), None).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn each_fault_of_a_folder_has_its_message() {
    let folder = folder("faults");
    let at = |name: &str| folder.join(name);
    let index = |map: &str| {
        fs::write(at("model.safetensors.index.json"), format!(r#"{{"weight_map":{map}}}"#))
            .unwrap();
    };
    let refusal = || Checkpoint::open(&folder).map(drop).unwrap_err().to_string();
    let says = |what: &str| {
        let e = refusal();
        assert!(e.contains(what), "{e}\nshould contain\n{what}");
    };
    assert!(matches!(Checkpoint::open(&at("none")), Err(Error::Io { .. })));
    says("holds no model.safetensors");
    shard(&at("x.safetensors"), &["a"]);
    assert_eq!(Checkpoint::open(&folder).unwrap().entries().len(), 1);
    shard(&at("y.safetensors"), &["b"]);
    says("holds 2 *.safetensors files");

    index(r#"{"a":"x.safetensors","b":"y.safetensors"}"#);
    assert_eq!(Checkpoint::open(&folder).unwrap().entries().len(), 2);
    index(r#"{"a":"x.safetensors","b":"z.safetensors"}"#);
    assert!(
        matches!(Checkpoint::open(&folder), Err(Error::Io { path, .. }) if path == at("z.safetensors"))
    );
    index(r#"{"a":"x.safetensors","b":"x.safetensors"}"#);
    says("b should be in x.safetensors, but is in no shard");
    index(r#"{"b":"x.safetensors","a":"y.safetensors"}"#);
    says("a should be in y.safetensors, but is in x.safetensors");
    index(r#"{"a":"x.safetensors","c":"y.safetensors"}"#);
    says("b is not in the index");
    shard(&at("y.safetensors"), &["b", "a"]);
    index(r#"{"a":"x.safetensors","b":"y.safetensors"}"#);
    says("a is in ");
    for name in ["../x.safetensors", "/x.safetensors", "", ".", "..", "a/x.safetensors"] {
        index(&format!(r#"{{"a":"{name}"}}"#));
        says("is no name of a shard in this folder");
    }
    index("{}");
    says("names no tensor");
    index("[");
    says("model.safetensors.index.json");
    shard(&at("model.safetensors"), &["a"]);
    says("holds both");

    // one shard cut
    fs::remove_file(at("model.safetensors")).unwrap();
    shard(&at("y.safetensors"), &["b"]);
    index(r#"{"a":"x.safetensors","b":"y.safetensors"}"#);
    let whole = fs::read(at("y.safetensors")).unwrap();
    fs::write(at("y.safetensors"), &whole[..whole.len() - 1]).unwrap();
    says(&format!(
        "y.safetensors: the file is truncated: {} bytes of {}",
        whole.len() - 1,
        whole.len()
    ));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn every_real_type_widens_and_integers_say_what_they_are() {
    let folder = folder("types");
    let path = folder.join("types.safetensors");
    let values = [1.5f32, -0.25, 0.0];
    let of = |dtype, bytes: Vec<u8>| (dtype, bytes);
    let types = [
        of(Dtype::F64, values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect()),
        of(Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        of(Dtype::F16, values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()),
        of(Dtype::BF16, values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()),
        of(Dtype::F8_E4M3, vec![0x3C, 0xA8, 0]),
        of(Dtype::F8_E5M2, vec![0x3E, 0xB4, 0]),
    ];
    for (dtype, bytes) in types {
        let view = TensorView::new(dtype, vec![3], &bytes).unwrap();
        fs::write(&path, safetensors::serialize([("w", view)], None).unwrap()).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        assert_eq!(file.tensor("w").unwrap().data, values, "{dtype}");
        assert_eq!(file.raw("w").unwrap().bytes, bytes);
    }
    for (dtype, bytes) in [(Dtype::I8, 1), (Dtype::U8, 1), (Dtype::BOOL, 1), (Dtype::I32, 4)] {
        let data = vec![1; bytes];
        let view = TensorView::new(dtype, vec![1], &data).unwrap();
        fs::write(&path, safetensors::serialize([("w", view)], None).unwrap()).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        let e = file.tensor("w").unwrap_err().to_string();
        assert!(e.contains(&format!("w: it is {dtype}")), "{e}");
        assert_eq!(file.raw("w").unwrap().bytes, data);
    }
    let huge = 1e300f64.to_le_bytes();
    let view = TensorView::new(Dtype::F64, vec![1], &huge).unwrap();
    fs::write(&path, safetensors::serialize([("w", view)], None).unwrap()).unwrap();
    let e = Checkpoint::open(&path).unwrap().tensor("w").unwrap_err().to_string();
    assert!(e.contains("element 0: 1e300 exceeds f32"), "{e}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn companions_are_all_but_weights() {
    let folder = folder("companions");
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "merges.txt",
        "README.md",
        "LICENSE",
        "1_Pooling/config.json",
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let want = companions(&folder).unwrap();
    assert_eq!(want.len(), 7);
    for name in [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "x.gguf",
        ".hidden.json",
        "1_Pooling/deeper/config.json",
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    assert_eq!(companions(&folder).unwrap(), want);
    fs::remove_dir_all(&folder).unwrap();
}
