//! A small checkpoint of our own making, and the program run on it.
#![allow(dead_code)] // each test file uses its part

use quickpick_transformer::{Config, Weights};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Six blocks, so that a kill finds some finished and some not.
pub const CONFIG: Config = Config {
    dim: 96,
    layers: 6,
    heads: 6,
    kv_heads: 2,
    ffn: 160,
    vocab: 256,
    max_seq: 128,
    rope_theta: 10_000.0,
    eps: 1e-5,
    tie_word_embeddings: true,
    rope_scaling: None,
};

/// A folder that goes with its owner.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quickpick-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a Hugging Face folder: random weights, a tokenizer of bytes. And two texts, `a.txt` and `b.txt`.
pub fn model(scratch: &Scratch) -> PathBuf {
    let folder = scratch.path("model");
    Weights::init(CONFIG, 5).unwrap().save(&folder.join("model.safetensors")).unwrap();
    let write = |name: &str, json: &serde_json::Value| {
        fs::write(folder.join(name), serde_json::to_vec_pretty(json).unwrap()).unwrap();
    };
    write("config.json", &CONFIG.to_hugging_face().unwrap());
    write("tokenizer.json", &bytes_as_tokens());
    for (name, seed) in [("a.txt", 1u32), ("b.txt", 2)] {
        fs::write(scratch.path(name), prose(seed, 6000)).unwrap();
    }
    folder
}

/// A byte-level BPE without merges. Letters are GPT-2's: printable bytes stand for themselves, others for
/// the code points from 256 on.
fn bytes_as_tokens() -> serde_json::Value {
    let printable = |b: &u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let others = (0..256).filter(|b| !printable(b)).zip(256u32..);
    let letters = (0..256u32).filter(printable).map(|b| (b, b)).chain(others);
    let vocab: BTreeMap<String, u32> =
        letters.map(|(byte, c)| (char::from_u32(c).unwrap().to_string(), byte)).collect();
    serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    })
}

/// Words of a few syllables, so that some bytes are likelier than others.
fn prose(seed: u32, len: usize) -> String {
    const SYLLABLES: [&str; 12] =
        ["ta", "ne", "ri", "so", " ", "the", ". ", "mu", "lo", " an", "ing", ", "];
    let mut state = seed;
    let mut text = String::new();
    while text.len() < len {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        text += SYLLABLES[(state >> 16) as usize % SYLLABLES.len()];
    }
    text
}

/// The program with these arguments, run to its end.
pub fn quickpick<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    command(args).output().unwrap()
}

pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickpick"));
    command.args(args);
    command
}

/// What it prints, if it succeeds.
#[track_caller]
pub fn succeeded(output: Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The one JSON object that it prints.
#[track_caller]
pub fn json(output: Output) -> serde_json::Value {
    serde_json::from_str(&succeeded(output)).unwrap()
}

/// Its words, if it fails as it should.
#[track_caller]
pub fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "it must fail with an error, not succeed or panic");
    // miette breaks lines
    let words = String::from_utf8(output.stderr).unwrap();
    words
        .split(|c: char| c.is_whitespace() || c == '│')
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Every file below a folder by its relative path, but those whose names are in `without`.
pub fn files(folder: &Path, without: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder_now) = open.pop() {
        for entry in fs::read_dir(&folder_now).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !without.iter().any(|name| path.ends_with(name)) {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Reports a skip by name and reason, to the test's output and to the ladder; fails if it is required.
#[track_caller]
pub fn skip(name: &str, why: &str) {
    let required = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|r| r == name || r == "all");
    assert!(!required, "{name} is required: {why}");
    eprintln!("skipped: {name}: {why}");
    if let Some(log) = std::env::var_os("QUICKPICK_SKIP_LOG") {
        let mut log = fs::File::options().append(true).create(true).open(log).unwrap();
        let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
        std::io::Write::write_all(&mut log, format!("{name}: {line}\n").as_bytes()).unwrap();
    }
}
