//! The file form: round trips, interchange with safetensors, hostile files.
#![cfg(feature = "std")]

use half::{bf16, f16};
use proptest::prelude::*;
use quickpick_format::{
    Csr, DType, E4m3, E5m2, Element, Error, FileError, Kind, Matrix24, Order, Reader, StoredType,
    Writer, write_atomic,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::fs;

fn matrix<T: Element>(rows: usize, cols: usize) -> Matrix24<T> {
    let dense: Vec<T> = (0..rows * cols)
        .map(|i| T::from_f32(if i * 7 % 4 < 2 { (i % 90) as f32 + 1.0 } else { 0.0 }))
        .collect();
    Matrix24::compress(&dense, rows, cols).unwrap()
}

/// What [`matrix`] drops, now and then.
fn residual<T: Element>(rows: usize, cols: usize) -> Csr<T> {
    let dense: Vec<T> = (0..rows * cols)
        .map(|i| T::from_f32(if i * 7 % 4 > 1 && i % 5 == 0 { i as f32 + 1.0 } else { 0.0 }))
        .collect();
    Csr::from_dense(&dense, rows, cols).unwrap()
}

/// Two 2:4 tensors in two orders, one with a residual, a dense tensor and a note.
fn model() -> Vec<u8> {
    let (up, down, norm) = (matrix::<f16>(5, 36), matrix::<bf16>(3, 8), [1.0f32, 2.0, 3.0]);
    let beside = residual::<f16>(5, 36);
    let mut file = Writer::new();
    file.sparse("up", &up, Order::MmaSpSm80).unwrap();
    file.residual("up", &beside).unwrap();
    file.sparse("down", &down, Order::RowMajor).unwrap();
    file.dense("norm", &norm, &[3]).unwrap();
    file.note("config", "{\"layers\": 1}");
    file.to_bytes().unwrap()
}

#[test]
fn a_model_comes_back() {
    let bytes = model();
    let file = Reader::parse(&bytes).unwrap();
    assert_eq!(file.sparse::<f16>("up").unwrap(), matrix(5, 36));
    assert_eq!(file.sparse::<bf16>("down").unwrap(), matrix(3, 8));
    assert_eq!(file.residual::<f16>("up").unwrap(), Some(residual(5, 36)));
    assert_eq!(file.residual::<bf16>("down").unwrap(), None);
    assert_eq!(file.dense::<f32>("norm").unwrap(), (vec![1.0, 2.0, 3.0], vec![3]));
    assert_eq!(file.note("config"), Some("{\"layers\": 1}"));
    assert_eq!(file.note("none"), None);
    let entries = file.entries();
    let seen: Vec<_> = entries
        .iter()
        .map(|e| (&*e.name, e.dtype, &*e.shape, e.kind, e.residual, e.bytes))
        .collect();
    let (down, up) = (Kind::Sparse24(Order::RowMajor), Kind::Sparse24(Order::MmaSpSm80));
    let beside = residual::<f16>(5, 36).bytes() as u64;
    assert_eq!(
        seen,
        [
            ("down", StoredType::BF16, &[3, 8][..], down, None, 3 * 32 + 3 * 4),
            ("norm", StoredType::F32, &[3], Kind::Dense, None, 12),
            ("up", StoredType::F16, &[5, 36], up, Some((DType::F16, 18)), 5 * 64 + 32 * 8 + beside),
        ]
    );
}

#[test]
fn every_type_and_order_comes_back() {
    fn check<T: Element>() {
        let m = matrix::<T>(17, 100);
        for order in Order::ALL {
            let mut file = Writer::new();
            match file.sparse("w", &m, order) {
                Ok(()) => {
                    let bytes = file.to_bytes().unwrap();
                    assert_eq!(Reader::parse(&bytes).unwrap().sparse::<T>("w").unwrap(), m);
                }
                Err(e) => {
                    assert_ne!(order, Order::RowMajor);
                    let Err(source) = m.pack(order) else { panic!("{e}") };
                    assert!(matches!(e, FileError::Matrix { source: s, .. } if s == source));
                }
            }
        }
    }
    check::<f16>();
    check::<bf16>();
    check::<f32>();
    check::<i8>();
    check::<E4m3>();
    check::<E5m2>();
}

#[test]
fn equal_contents_make_equal_bytes() {
    let (a, b) = (matrix::<f16>(4, 32), [0.5f32; 6]);
    let mut one = Writer::new();
    one.sparse("a", &a, Order::RowMajor).unwrap();
    one.dense("b", &b, &[2, 3]).unwrap();
    one.note("x", "1");
    one.note("y", "2");
    let mut other = Writer::new();
    other.note("y", "2");
    other.dense("b", &b, &[2, 3]).unwrap();
    other.note("x", "1");
    other.sparse("a", &a, Order::RowMajor).unwrap();
    assert_eq!(one.to_bytes().unwrap(), other.to_bytes().unwrap());
}

#[test]
fn names_are_taken_once_and_shapes_fit() {
    let (m, v) = (matrix::<f16>(4, 32), [0.5f32; 6]);
    let mut file = Writer::new();
    file.sparse("a", &m, Order::RowMajor).unwrap();
    for name in ["a", "a.values", "a.metadata"] {
        let e = file.dense(name, &v, &[6]).unwrap_err();
        assert!(matches!(e, FileError::Duplicate { .. }), "{name}: {e}");
    }
    file.dense("b.metadata", &v, &[6]).unwrap();
    let e = file.sparse("b", &m, Order::RowMajor).unwrap_err();
    assert!(matches!(e, FileError::Duplicate { name } if name == "b.metadata"));
    let e = file.dense("c", &v, &[2, 4]).unwrap_err();
    assert!(matches!(e, FileError::Shape { .. }), "{e}");
    assert_eq!(Reader::parse(&file.to_bytes().unwrap()).unwrap().entries().len(), 2);
}

#[test]
fn residuals_lie_beside_their_tensors() {
    fn check<T: Element>() {
        let (m, r, none) = (matrix::<T>(3, 8), residual::<T>(3, 8), [T::from_f32(0.0); 24]);
        let none = Csr::from_dense(&none, 3, 8).unwrap();
        for r in [&r, &none] {
            let mut file = Writer::new();
            file.sparse("w", &m, Order::RowMajor).unwrap();
            file.residual("w", r).unwrap();
            let bytes = file.to_bytes().unwrap();
            let file = Reader::parse(&bytes).unwrap();
            assert_eq!(file.sparse::<T>("w").unwrap(), m);
            assert_eq!(file.residual::<T>("w").unwrap().as_ref(), Some(r));
            assert_eq!(file.entries().len(), 1);
            let theirs = SafeTensors::deserialize(&bytes).unwrap();
            let rows = theirs.tensor("w.residual_rows").unwrap();
            assert_eq!((rows.dtype(), rows.shape()), (Dtype::U32, &[4][..]));
            let entries = theirs.tensor("w.residual").unwrap();
            assert_eq!(entries.shape(), [r.values().len()]);
            assert_eq!(entries.data(), bytemuck::cast_slice::<u32, u8>(&r.pack().unwrap()));
        }
    }
    check::<f16>();
    check::<bf16>();

    let (m, r) = (matrix::<f16>(3, 8), residual::<f16>(3, 8));
    let mut file = Writer::new();
    let e = file.residual("w", &r).unwrap_err();
    assert!(matches!(&e, FileError::Missing { name } if name == "w"), "{e}");
    file.sparse("w", &m, Order::RowMajor).unwrap();
    let other = residual::<f16>(8, 3);
    let e = file.residual("w", &other).unwrap_err();
    assert_eq!(e.to_string(), "tensor `w.residual` has shape [8, 3], [3, 8] wanted");
    let wide = residual::<f32>(3, 8);
    let e = file.residual("w", &wide).unwrap_err();
    assert!(matches!(e, FileError::Matrix { source: Error::PackedType { .. }, .. }));
    // nothing of the refused ones is there
    let bytes = file.to_bytes().unwrap();
    assert_eq!(Reader::parse(&bytes).unwrap().residual::<f16>("w").unwrap(), None);
    file.residual("w", &r).unwrap();
    for name in ["w.residual", "w.residual_rows"] {
        let e = file.dense(name, &[1.0f32], &[1]).unwrap_err();
        assert!(matches!(e, FileError::Duplicate { .. }), "{name}: {e}");
    }
    assert!(matches!(file.residual("w", &r), Err(FileError::Duplicate { .. })));
}

#[test]
fn every_malformed_residual_is_its_own_error() {
    use FileError as E;
    let refused = |file: &Forged, as_: &dyn Fn(&E) -> bool| {
        let bytes = file.bytes();
        match Reader::parse(&bytes).and_then(|file| file.residual::<f16>("w")) {
            Ok(_) => panic!("accepted"),
            Err(e) => assert!(as_(&e), "{e}"),
        }
    };
    let sound = || {
        let mut file = Forged::new().index("n\":1}", "n\":1,\"residual\":\"f16\"}");
        file.residual = Some([
            (Dtype::U32, vec![2], vec![0, 0, 0, 0, 1, 0, 0, 0]),
            (Dtype::U32, vec![1], vec![5, 0, 0, 0x3C]),
        ]);
        file
    };
    let bytes = sound().bytes();
    let file = Reader::parse(&bytes).unwrap();
    let row = file.residual::<f16>("w").unwrap().unwrap();
    assert!(row.row(0).eq([(5, f16::ONE)]));
    assert!(matches!(file.residual::<bf16>("w"), Err(E::ResidualAsked { have: DType::F16, .. })));
    assert!(matches!(file.residual::<f16>("v"), Err(E::Missing { .. })));

    let f32 = sound().index("\"f16\"", "\"f32\"");
    refused(&f32, &|e| matches!(e, E::ResidualType { have, .. } if have == "f32"));
    let mut file = sound();
    file.residual = None;
    refused(&file, &|e| matches!(e, E::Missing { name } if name == "w.residual_rows"));
    for part in 0..2 {
        let mut file = sound();
        file.parts(part).0 = Dtype::F32;
        refused(&file, &|e| matches!(e, E::WordType { have: Dtype::F32, .. }));
        file.parts(part).0 = Dtype::I32;
        assert!(Reader::parse(&file.bytes()).unwrap().residual::<f16>("w").is_ok());
        let mut file = sound();
        file.parts(part).1.push(1);
        refused(&file, &|e| matches!(e, E::Shape { .. }));
    }
    let mut file = sound();
    file.parts(0).2[4] = 2;
    let pointer = Error::RowPointer { row: 1, pointer: 2, least: 1, most: 1 };
    refused(&file, &|e| matches!(e, E::Matrix { source, .. } if *source == pointer));
    let mut file = sound();
    file.parts(1).2[0] = 32;
    let column = Error::Column { row: 0, col: 32, least: 0, cols: 32 };
    refused(&file, &|e| matches!(e, E::Matrix { source, .. } if *source == column));
    let mut file = sound();
    file.parts(1).2[3] = 0x80; // −0.0
    let zero = Error::StoredZero { row: 0, col: 5 };
    refused(&file, &|e| matches!(e, E::Matrix { source, .. } if *source == zero));

    // what the index does not call a residual is a tensor like any other
    let mut file = sound().index(",\"residual\":\"f16\"", "");
    let bytes = file.bytes();
    let names =
        Vec::from_iter(Reader::parse(&bytes).unwrap().entries().into_iter().map(|e| e.name));
    assert_eq!(names, ["w", "w.residual", "w.residual_rows"]);
    assert_eq!(file.parts(0).1, [2]);
}

#[test]
fn saving_replaces_whole_files() {
    let folder = std::env::temp_dir().join(format!("quickpick-format-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.safetensors");
    let v = [1.0f32];
    let mut file = Writer::new();
    file.dense("v", &v, &[1]).unwrap();
    write_atomic(&path, b"what was there").unwrap();
    file.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), file.to_bytes().unwrap());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside the file");
    let nowhere = folder.join("no such folder").join("model.safetensors");
    assert!(matches!(file.save(&nowhere), Err(FileError::Io { path, .. }) if path == nowhere));
    fs::remove_dir_all(&folder).unwrap();
}

/// What safetensors itself makes of our files, and we of its.
#[test]
fn safetensors_agrees() {
    let bytes = model();
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    let values = theirs.tensor("down.values").unwrap();
    assert_eq!((values.dtype(), values.shape()), (Dtype::BF16, &[3, 16][..]));
    assert_eq!(values.data(), bytemuck::cast_slice::<bf16, u8>(matrix(3, 8).values()));

    // a checkpoint from elsewhere: no index, types that are not ours
    let long = TensorView::new(Dtype::I64, vec![2], &[0; 16]).unwrap();
    let float = TensorView::new(Dtype::F32, vec![1], &[0, 0, 128, 63]).unwrap();
    let bytes = safetensors::serialize([("ids", long), ("w", float)], None).unwrap();
    let file = Reader::parse(&bytes).unwrap();
    assert_eq!(file.dense::<f32>("w").unwrap(), (vec![1.0], vec![1]));
    assert_eq!(file.entries()[0].dtype, StoredType::I64);
    let e = file.dense::<f32>("ids").unwrap_err();
    assert!(matches!(e, FileError::Type { have: StoredType::I64, .. }), "{e}");
}

/// Type, shape and bytes of a tensor.
type Part = (Dtype, Vec<usize>, Vec<u8>);

/// Builds a file whose index and parts say whatever a test likes.
struct Forged {
    index: String,
    values: Part,
    metadata: Part,
    /// Row pointers and entries.
    residual: Option<[Part; 2]>,
}

impl Forged {
    /// A sound `w` of 1 × 32 f16.
    fn new() -> Self {
        Self {
            index: r#"{"version":1,"sparse":{"w":{"pattern":"2:4","shape":[1,32],"order":"row-major","order_version":1}}}"#.into(),
            values: (Dtype::F16, vec![1, 16], vec![0; 32]),
            metadata: (Dtype::U32, vec![1, 1], vec![0x44; 4]),
            residual: None,
        }
    }

    fn index(mut self, from: &str, to: &str) -> Self {
        assert!(self.index.contains(from));
        self.index = self.index.replacen(from, to, 1);
        self
    }

    fn parts(&mut self, part: usize) -> &mut Part {
        &mut self.residual.as_mut().unwrap()[part]
    }

    fn bytes(&self) -> Vec<u8> {
        let view = |(dtype, shape, data): &Part| {
            // bytes outlive the call: each test is one small file
            TensorView::new(*dtype, shape.clone(), data.clone().leak()).unwrap()
        };
        let mut tensors =
            vec![("w.values", view(&self.values)), ("w.metadata", view(&self.metadata))];
        if let Some([rows, entries]) = &self.residual {
            tensors.extend([("w.residual_rows", view(rows)), ("w.residual", view(entries))]);
        }
        let index = HashMap::from([("quickpick".to_owned(), self.index.clone())]);
        safetensors::serialize(tensors, Some(index)).unwrap()
    }

    fn read(&self) -> Result<Matrix24<f16>, FileError> {
        Reader::parse(&self.bytes())?.sparse("w")
    }
}

#[track_caller]
fn refused(file: &Forged, as_: impl Fn(&FileError) -> bool) {
    match file.read() {
        Ok(_) => panic!("accepted"),
        Err(e) => assert!(as_(&e), "{e}"),
    }
}

#[test]
fn every_malformed_file_is_its_own_error() {
    use FileError as E;
    assert!(Forged::new().read().is_ok());

    // the index
    refused(&Forged::new().index("{", ""), |e| matches!(e, E::Index(_)));
    refused(&Forged::new().index("\"order\"", "\"ordre\""), |e| matches!(e, E::Index(_)));
    let later = Forged::new().index("{\"version\":1", "{\"new\":0,\"version\":2");
    refused(&later, |e| matches!(e, E::Version { have: 2, want: 1 }));
    refused(&Forged::new().index("2:4", "1:4"), |e| matches!(e, E::Pattern { .. }));
    refused(&Forged::new().index("row-major", "column"), |e| matches!(e, E::Order { .. }));
    let later = Forged::new().index("order_version\":1", "order_version\":7");
    refused(&later, |e| matches!(e, E::OrderVersion { have: 7, want: 1, .. }));
    let other = Forged::new().index("\"w\"", "\"v\"");
    assert!(
        matches!(Reader::parse(&other.bytes()), Err(E::Missing { name }) if name == "v.values")
    );

    // the shape
    refused(&Forged::new().index("[1,32]", "[2,32]"), |e| matches!(e, E::Shape { .. }));
    for (shape, want) in [
        ("[1,30]", Error::Columns { cols: 30 }),
        ("[0,32]", Error::Empty { rows: 0, cols: 32 }),
        ("[4611686018427387904,32]", Error::TooLarge { rows: 4_611_686_018_427_387_904, cols: 32 }),
        ("[1,18446744073709551612]", Error::TooLarge { rows: 1, cols: 18_446_744_073_709_551_612 }),
    ] {
        let forged = Forged::new().index("[1,32]", shape);
        refused(&forged, |e| matches!(e, E::Matrix { source, .. } if *source == want));
    }

    // types
    let mut file = Forged::new();
    file.metadata = (Dtype::F32, vec![1, 1], vec![0x44; 4]);
    refused(&file, |e| matches!(e, E::WordType { have: Dtype::F32, .. }));
    file.metadata.0 = Dtype::I32;
    assert!(file.read().is_ok());
    file.values.0 = Dtype::BF16;
    refused(&file, |e| matches!(e, E::Type { have: Dtype::BF16, .. }));
    file.values.0 = Dtype::I16;
    refused(&file, |e| matches!(e, E::ValueType { have: Dtype::I16, .. }));

    // contents
    let mut file = Forged::new();
    file.metadata.2 = vec![0x44, 0x40, 0x44, 0x44];
    refused(&file, |e| matches!(e, E::Matrix { source: Error::Code { row: 0, col: 8, .. }, .. }));
    let mut file = Forged::new();
    file.values.2[3] = 0x7C; // infinity, in column 1
    refused(&file, |e| {
        matches!(e, E::Matrix { source: Error::NotFinite { row: 0, col: 1, .. }, .. })
    });
    let padded = Forged::new().index("[1,32]", "[1,28]");
    assert!(padded.read().is_ok());
    let mut file = padded;
    file.metadata.2[3] = 0xE4;
    refused(&file, |e| matches!(e, E::Matrix { source: Error::Padding { row: 0, col: 28 }, .. }));
    let inf = [f32::NAN];
    let mut file = Writer::new();
    file.dense("v", &inf, &[1]).unwrap();
    let bytes = file.to_bytes().unwrap();
    let file = Reader::parse(&bytes).unwrap();
    assert!(matches!(file.dense::<f32>("v"), Err(E::NotFinite { index: 0, .. })));
    assert!(matches!(file.dense::<f32>("w"), Err(E::Missing { .. })));
    assert!(matches!(file.sparse::<f32>("v"), Err(E::Missing { .. })));

    // a dense tensor under the name of a 2:4 one
    let part = TensorView::new(Dtype::F16, vec![1, 16], &[0; 32]).unwrap();
    let words = TensorView::new(Dtype::U32, vec![1, 1], &[0x44; 4]).unwrap();
    let tensors = [("w", part.clone()), ("w.values", part), ("w.metadata", words)];
    let index = HashMap::from([("quickpick".to_owned(), Forged::new().index)]);
    let bytes = safetensors::serialize(tensors, Some(index)).unwrap();
    assert!(matches!(Reader::parse(&bytes), Err(E::Duplicate { name }) if name == "w"));
}

#[test]
fn every_truncation_is_seen() {
    let bytes = model();
    for end in 0..bytes.len() {
        let Err(e) = Reader::parse(&bytes[..end]) else { panic!("{end} bytes were enough") };
        assert!(
            matches!(e, FileError::Truncated { have, want } if have == end as u64 && want > have)
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let e = Reader::parse(&longer).err();
    assert!(matches!(e, Some(FileError::Trailing { have, want }) if have == want + 1));
}

/// Headers that attack: huge lengths, overlapping, overflowing and reversed extents, deep nesting.
#[test]
fn hostile_headers_are_refused() {
    let file = |header: &str| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes
    };
    let huge = (1u64 << 61) - 1;
    let overflowing: Vec<String> = (0..9)
        .map(|i| {
            let (from, to) = (huge.wrapping_mul(i), huge.wrapping_mul(i + 1));
            format!(r#""t{i}":{{"dtype":"U8","shape":[{huge}],"data_offsets":[{from},{to}]}}"#)
        })
        .collect();
    for header in [
        "",
        "null",
        "[]",
        r#"{"t":1}"#,
        r#"{"t":{}}"#,
        r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
        r#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,0]}}"#,
        r#"{"t":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}}"#,
        r#"{"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}"#,
        r#"{"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
        r#"{"t":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#,
        r#"{"__metadata__":{"quickpick":1}}"#,
        &format!("{{{}}}", overflowing.join(",")),
        &"[".repeat(100_000),
    ] {
        let shown: String = header.chars().take(60).collect();
        assert!(Reader::parse(&file(header)).is_err(), "{shown}");
    }
    for length in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 32] {
        let e = Reader::parse(&length.to_le_bytes()).err();
        assert!(matches!(e, Some(FileError::Truncated { have: 8, .. })));
    }
    assert!(Reader::parse(&file("{}")).unwrap().entries().is_empty());
}

proptest! {
    /// Flipped bytes give an error or a file that reads to the end; never a panic.
    #[test]
    fn flipped_bytes_never_panic(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..=255), 1..4),
    ) {
        let mut bytes = model();
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        if let Ok(file) = Reader::parse(&bytes) {
            for entry in file.entries() {
                let _ = (file.sparse::<f16>(&entry.name), file.sparse::<bf16>(&entry.name));
                let _ = (file.residual::<f16>(&entry.name), file.residual::<bf16>(&entry.name));
                let _ = (file.dense::<f32>(&entry.name), file.dense::<i8>(&entry.name));
            }
        }
    }

    /// So does noise, with and without a plausible length.
    #[test]
    fn noise_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), short in any::<bool>()) {
        if short && bytes.len() > 8 {
            let length = bytes.len() as u64 - 8;
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        prop_assert!(Reader::parse(&bytes).is_err());
    }
}
