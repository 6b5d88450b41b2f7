//! Files written tensor by tensor, and read tensor by tensor.
#![cfg(feature = "std")]

use half::f16;
use proptest::prelude::*;
use quickpick_format::{
    AtomicFile, Csr, DType, Element, Error, FileError, Layout, Matrix24, Order, Reader, StoredType,
    Writer,
};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::HashMap;
use std::fs;
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::PathBuf;

fn matrix<T: Element>(rows: usize, cols: usize) -> Matrix24<T> {
    let dense: Vec<T> = (0..rows * cols)
        .map(|i| T::from_f32(if i * 7 % 4 < 2 { (i % 90) as f32 + 1.0 } else { 0.0 }))
        .collect();
    Matrix24::compress(&dense, rows, cols).unwrap()
}

fn residual<T: Element>(rows: usize, cols: usize) -> Csr<T> {
    let value = |i: usize| if i % 7 == 3 { i as f32 + 1.0 } else { 0.0 };
    let dense: Vec<T> = (0..rows * cols).map(|i| T::from_f32(value(i))).collect();
    Csr::from_dense(&dense, rows, cols).unwrap()
}

/// Entries of `residual(5, 36)`.
const ENTRIES: usize = 26;

fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("quickpick-{test}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

const NORM: [f32; 3] = [1.0, 2.0, 3.0];

/// A layout and the same file from memory.
fn both() -> (Layout, Vec<u8>) {
    let (up, down) = (matrix::<f16>(5, 36), matrix::<i8>(3, 8));
    let beside = residual::<f16>(5, 36);
    let mut file = Writer::new();
    file.sparse("up", &up, Order::MmaSpSm80).unwrap();
    file.residual("up", &beside).unwrap();
    file.sparse("down", &down, Order::RowMajor).unwrap();
    file.dense("norm", &NORM, &[3]).unwrap();
    file.note("config", "{}");
    let mut layout = Layout::new();
    layout.note("config", "{}");
    layout.dense("norm", StoredType::F32, &[3]).unwrap();
    layout.sparse("down", DType::I8, [3, 8], Order::RowMajor).unwrap();
    layout.sparse("up", DType::F16, [5, 36], Order::MmaSpSm80).unwrap();
    layout.residual("up", DType::F16, ENTRIES).unwrap();
    (layout, file.to_bytes().unwrap())
}

/// The tensors of [`both`], one after the other. What to do with the writer in the end is the
/// caller's.
fn fill<W: Write + Seek>(layout: &Layout, out: W) -> Result<W, FileError> {
    let mut file = layout.start(out)?;
    file.residual("up", &residual::<f16>(5, 36))?;
    file.sparse("up", &matrix::<f16>(5, 36))?;
    file.raw("norm", bytemuck::cast_slice(&NORM))?;
    file.sparse("down", &matrix::<i8>(3, 8))?;
    file.finish()
}

#[test]
fn a_stream_makes_the_bytes_that_memory_makes() {
    let (layout, bytes) = both();
    assert_eq!(fill(&layout, Cursor::new(Vec::new())).unwrap().into_inner(), bytes);
    let beside = 4 * (6 + ENTRIES as u64);
    assert_eq!(layout.data_bytes().unwrap(), 12 + 5 * 64 + 32 * 8 + 3 * 16 + 3 * 4 + beside);
    assert!(bytes.len() as u64 > layout.data_bytes().unwrap());
}

#[test]
fn a_plain_layout_makes_the_bytes_that_safetensors_makes() {
    let long = TensorView::new(Dtype::I64, vec![2], &[7; 16]).unwrap();
    let float = TensorView::new(Dtype::BF16, vec![1, 1], &[128, 63]).unwrap();
    let flag = TensorView::new(Dtype::BOOL, vec![], &[1]).unwrap();
    let none = TensorView::new(Dtype::F32, vec![0, 3], &[]).unwrap();
    let tensors = [("w\"\n", float), ("ids", long), ("b", flag.clone()), ("a", flag), ("n", none)];
    let pt = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let theirs = safetensors::serialize(tensors.clone(), Some(pt)).unwrap();
    let mut layout = Layout::plain("format", "pt");
    for (name, t) in &tensors {
        layout.dense(name, t.dtype(), t.shape()).unwrap();
    }
    let mut file = layout.start(Cursor::new(Vec::new())).unwrap();
    for (name, t) in &tensors {
        file.raw(name, t.data()).unwrap();
    }
    assert_eq!(file.finish().unwrap().into_inner(), theirs);
    assert_eq!(Reader::parse(&theirs).unwrap().metadata("format"), Some("pt"));
}

#[test]
fn a_writer_takes_each_tensor_of_its_layout_once() {
    let (layout, _) = both();
    let mut file = layout.start(Cursor::new(Vec::new())).unwrap();
    let e = file.raw("nrom", &[]).unwrap_err();
    assert!(matches!(e, FileError::Missing { .. }), "{e}");
    let e = file.raw("norm", &[0; 8]).unwrap_err();
    assert!(matches!(e, FileError::Size { have: 8, want: 12, .. }), "{e}");
    let e = file.sparse("norm", &matrix::<f16>(5, 36)).unwrap_err();
    assert!(matches!(e, FileError::Missing { .. }), "{e}");
    let e = file.sparse("up", &matrix::<f16>(5, 32)).unwrap_err();
    assert!(matches!(e, FileError::Shape { .. }), "{e}");
    let e = file.sparse("up", &matrix::<i8>(5, 36)).unwrap_err();
    assert!(matches!(e, FileError::Type { have: StoredType::F16, .. }), "{e}");
    let e = file.residual("down", &residual::<f16>(3, 8)).unwrap_err();
    assert!(matches!(&e, FileError::Missing { name } if name == "down.residual"), "{e}");
    let e = file.residual("up", &residual::<f16>(5, 32)).unwrap_err();
    assert!(matches!(e, FileError::Shape { .. }), "{e}");
    let e = file.residual("up", &residual::<half::bf16>(5, 36)).unwrap_err();
    assert!(matches!(e, FileError::ResidualAsked { have: DType::F16, .. }), "{e}");
    let more = Csr::from_dense(&[f16::ONE; 180], 5, 36).unwrap();
    let e = file.residual("up", &more).unwrap_err();
    assert!(matches!(e, FileError::Size { have: 720, want: 104, .. }), "{e}");
    file.raw("norm", &[0; 12]).unwrap();
    let e = file.raw("norm", &[0; 12]).unwrap_err();
    assert!(matches!(e, FileError::Duplicate { .. }), "{e}");
    let e = file.finish().map(drop).unwrap_err();
    assert!(matches!(e, FileError::Unwritten { count: 6, ref name } if name == "down.metadata"));

    let mut layout = Layout::new();
    layout.dense("a.values", StoredType::F32, &[1]).unwrap();
    let e = layout.sparse("a", DType::F16, [4, 32], Order::RowMajor).unwrap_err();
    assert!(matches!(e, FileError::Duplicate { .. }), "{e}");
    let e = layout.sparse("b", DType::F16, [4, 30], Order::RowMajor).unwrap_err();
    assert!(matches!(e, FileError::Matrix { .. }), "{e}");
    let e = layout.sparse("b", DType::F32, [4, 32], Order::MmaSpSm80).unwrap_err();
    assert!(matches!(e, FileError::Matrix { .. }), "{e}");
    let e = layout.residual("b", DType::F16, 1).unwrap_err();
    assert!(matches!(&e, FileError::Missing { name } if name == "b"), "{e}");
    layout.sparse("b", DType::F16, [4, 1 << 17], Order::RowMajor).unwrap();
    for (dtype, columns) in [(DType::F16, true), (DType::F32, false)] {
        let e = layout.residual("b", dtype, 1).unwrap_err();
        let FileError::Matrix { source, .. } = e else { panic!("{e}") };
        let as_ = match columns {
            true => matches!(source, Error::PackedColumns { .. }),
            false => matches!(source, Error::PackedType { .. }),
        };
        assert!(as_, "{source}");
    }
    layout.dense("c", StoredType::F32, &[usize::MAX, 2]).unwrap();
    let e = layout.start(Cursor::new(Vec::new())).map(drop).unwrap_err();
    assert!(matches!(e, FileError::Overflow { .. }), "{e}");
}

/// Takes so many bytes, then says what a full disk says.
struct Full {
    file: AtomicFile,
    left: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.left);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left -= n;
        self.file.write(&bytes[..n])
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let folder = folder("full");
    let path = folder.join("model.safetensors");
    fs::write(&path, b"before").unwrap();
    let (layout, bytes) = both();
    let go = |left: usize| {
        let file = AtomicFile::create(&path).unwrap();
        fill(&layout, Full { file, left })
    };
    for left in 0..bytes.len() {
        let e = go(left).map(drop).unwrap_err();
        let full = |e: &io::Error| e.kind() == io::ErrorKind::StorageFull;
        assert!(matches!(&e, FileError::Write { source, .. } if full(source)), "{left}: {e}");
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside the file");
    }
    drop(go(bytes.len()).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"before", "whole, but not committed");
    go(bytes.len()).unwrap().file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_open_file_reads_as_its_bytes_do() {
    let folder = folder("open");
    let path = folder.join("model.safetensors");
    let (_, bytes) = both();
    fs::write(&path, &bytes).unwrap();
    let (file, memory) = (Reader::open(&path).unwrap(), Reader::parse(&bytes).unwrap());
    assert_eq!(file.entries(), memory.entries());
    assert_eq!(file.sparse::<f16>("up").unwrap(), matrix(5, 36));
    assert_eq!(file.sparse::<i8>("down").unwrap(), matrix(3, 8));
    assert_eq!(file.residual::<f16>("up").unwrap(), Some(residual(5, 36)));
    assert_eq!(file.residual::<i8>("down").unwrap(), None);
    assert_eq!(file.dense::<f32>("norm").unwrap(), (NORM.to_vec(), vec![3]));
    for name in ["norm", "up.values", "down.metadata"] {
        assert_eq!(file.raw(name).unwrap(), memory.raw(name).unwrap(), "{name}");
    }
    assert!(matches!(file.raw("up"), Err(FileError::Missing { .. })));
    for end in 0..bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let e = Reader::open(&path).err();
        let have = end as u64;
        assert!(matches!(e, Some(FileError::Truncated { have: h, .. }) if h == have), "{end}");
    }
    // cut after it was opened
    fs::write(&path, &bytes).unwrap();
    let file = Reader::open(&path).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200).unwrap();
    assert!(matches!(file.raw("norm"), Err(FileError::Io { .. })));
    assert!(matches!(Reader::open(&folder), Err(FileError::Io { .. })));
    fs::remove_dir_all(&folder).unwrap();
}

/// Headers by hand: each fault has its own error, with the numbers.
#[test]
fn each_fault_of_a_header_has_its_message() {
    let refusal = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        Reader::parse(&bytes).err().unwrap().to_string()
    };
    let f32 = |name: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let two = |a: String, b: String| format!("{{{a},{b}}}");
    let overlap = two(f32("a", "[2]", "[0,8]"), f32("b", "[1]", "[4,8]"));
    let says = "tensor `b` lies at 4..8 of the data; the one before it ends at 8";
    assert_eq!(refusal(&overlap, 8), says);
    let gap = two(f32("a", "[1]", "[0,4]"), f32("b", "[1]", "[8,12]"));
    assert!(refusal(&gap, 12).contains("`b` lies at 8..12"));
    let twice = two(f32("a", "[1]", "[0,4]"), f32("a", "[1]", "[4,8]"));
    assert!(refusal(&twice, 8).contains("`a` is named twice"));
    let small = format!("{{{}}}", f32("a", "[3]", "[0,8]"));
    assert_eq!(refusal(&small, 8), "tensor `a`, F32 of [3]: 8 bytes, 12 wanted");
    let absurd = format!("{{{}}}", f32("a", "[4294967296,4294967296]", "[0,8]"));
    assert!(refusal(&absurd, 8).contains("is no countable number of bytes"));
    let far = format!("{{{}}}", f32("a", "[1]", "[0,100000000000]"));
    assert!(refusal(&far, 8).contains("truncated"));
    let other = r#"{"a":{"dtype":"F99","shape":[],"data_offsets":[0,0]}}"#;
    assert!(refusal(other, 0).contains("F99"));
}

#[test]
fn a_long_header_is_refused_before_it_is_read() {
    let folder = folder("long");
    let path = folder.join("long.safetensors");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&200_000_000u64.to_le_bytes()).unwrap();
    file.set_len(300_000_000).unwrap(); // a hole: takes no disk
    let e = Reader::open(&path).err();
    assert!(matches!(e, Some(FileError::LongHeader { have: 200_000_000, most: 100_000_000 })));
    fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    /// What safetensors writes, we read as it does; what we refuse, it refuses or misreads.
    #[test]
    fn flipped_headers_are_judged_as_safetensors_judges_them(
        at in any::<prop::sample::Index>(), with in 1u8..=255,
    ) {
        let (_, mut bytes) = both();
        let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        let at = at.index(header + 8);
        bytes[at] ^= with;
        if let Ok(reader) = Reader::parse(&bytes) {
            let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            for name in theirs.names() {
                let (raw, data) = (reader.raw(name).unwrap(), theirs.tensor(name).unwrap());
                prop_assert_eq!(&raw, data.data());
            }
        }
    }
}
