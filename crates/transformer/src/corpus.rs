//! Bytes to train on: by default the Rust source of the project's own dependencies.

use crate::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Least bytes of the training part.
pub const MIN_TRAIN: usize = 1 << 16;
/// Least bytes of the held-out part.
pub const MIN_HELD_OUT: usize = 1 << 13;
/// Most bytes taken from one crate, so that generated bindings do not drown the rest.
const MAX_CRATE: usize = 1 << 17;
/// Most bytes of one file of a crate; larger ones are tables or bindings made by a machine.
const MAX_FILE: u64 = 1 << 17;
/// Most bytes in all.
const MAX_CORPUS: usize = 1 << 25;

/// Training text and held-out text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    train: Vec<u8>,
    held_out: Vec<u8>,
    source: String,
}

/// A piece of text that is held out as a whole or not at all.
struct Piece {
    name: String,
    text: Vec<u8>,
}

impl Corpus {
    /// Text already in memory. Fails when a part is smaller than [`MIN_TRAIN`] or [`MIN_HELD_OUT`].
    pub fn new(
        train: Vec<u8>,
        held_out: Vec<u8>,
        source: impl Into<String>,
    ) -> Result<Self, Error> {
        let source = source.into();
        for (part, len, least) in
            [("training", train.len(), MIN_TRAIN), ("held-out", held_out.len(), MIN_HELD_OUT)]
        {
            if len < least {
                return Err(Error::Corpus(format!(
                    "{source}: the {part} part has {len} bytes; at least {least} are needed"
                )));
            }
        }
        Ok(Self { train, held_out, source })
    }

    /// The Rust source of the dependencies of the workspace at `manifest` (a `Cargo.toml`), as its lock
    /// file pins them for this host. A tenth of the crate families is held out; a family is what
    /// shares the name up to the first `-` or `_` (`gemm-f32`, `gemm-f16`), because such crates repeat
    /// each other and would leak.
    pub fn from_dependencies(manifest: &Path) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        let mut total = 0;
        for package in dependencies(manifest)? {
            let mut text = Vec::new();
            for path in files_below(&package.folder.join("src"), Some("rs"))? {
                let size = fs::metadata(&path).map_err(Error::io(&path))?.len();
                if size <= MAX_FILE && text.len() + size as usize <= MAX_CRATE {
                    text.extend(fs::read(&path).map_err(Error::io(&path))?);
                }
            }
            total += text.len();
            if total > MAX_CORPUS {
                break;
            }
            pieces.push(Piece { name: package.name, text });
        }
        let family =
            |piece: &Piece| piece.name.split(['-', '_']).next().map_or(0, |f| fnv1a(f.as_bytes()));
        let (held_out, train): (Vec<_>, Vec<_>) =
            pieces.into_iter().partition(|p| family(p) % 10 == 0);
        let source = format!(
            "Rust source of {} dependencies, {} of them held out",
            train.len() + held_out.len(),
            held_out.len()
        );
        let join = |pieces: Vec<Piece>| pieces.into_iter().flat_map(|p| p.text).collect();
        Self::new(join(train), join(held_out), source)
    }

    /// A file, whose last tenth is held out; or a folder, whose files are taken in the order of their
    /// paths and cut at the file boundary that is nearest to nine tenths.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        let mut text = Vec::new();
        let mut boundaries = Vec::new();
        let files = if path.is_dir() { files_below(path, None)? } else { vec![path.to_owned()] };
        for file in files {
            boundaries.push(text.len());
            text.extend(fs::read(&file).map_err(Error::io(&file))?);
            if text.len() > MAX_CORPUS {
                text.truncate(MAX_CORPUS);
                break;
            }
        }
        let aim = text.len() * 9 / 10;
        // A boundary far from the aim (a folder of one long file) would starve one part.
        let near = |b: &usize| b.abs_diff(aim) <= text.len() / 20;
        let cut =
            boundaries.into_iter().filter(near).min_by_key(|b| b.abs_diff(aim)).unwrap_or(aim);
        let held_out = text.split_off(cut);
        Self::new(text, held_out, path.display().to_string())
    }

    /// What it is, for people.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The training part.
    pub fn train(&self) -> &[u8] {
        &self.train
    }

    /// The held-out part.
    pub fn held_out(&self) -> &[u8] {
        &self.held_out
    }

    /// Identifies the text: FNV-1a of both parts.
    pub fn digest(&self) -> u64 {
        fnv1a(&self.train) ^ fnv1a(&self.held_out).rotate_left(32)
    }

    /// The training windows of a step, `rows` of `len` bytes each. They depend on (seed, step) alone,
    /// so the step's number is the whole of the data cursor.
    pub fn batch(&self, seed: u64, step: u64, rows: usize, len: usize) -> Vec<&[u8]> {
        let starts = self.train.len().saturating_sub(len) as u64 + 1;
        (0..rows as u64)
            .map(|row| {
                let at = (splitmix64(splitmix64(splitmix64(seed) ^ step) ^ row) % starts) as usize;
                &self.train[at..(at + len).min(self.train.len())]
            })
            .collect()
    }

    /// `rows` windows of `len` bytes spread evenly over the held-out part, fewer if they would overlap.
    pub fn held_out_windows(&self, rows: usize, len: usize) -> Vec<&[u8]> {
        let rows = rows.min(self.held_out.len() / len.max(1)).max(1);
        let stride = self.held_out.len() / rows;
        (0..rows)
            .map(|i| &self.held_out[i * stride..(i * stride + len).min(self.held_out.len())])
            .collect()
    }
}

struct Package {
    name: String,
    folder: PathBuf,
}

/// The packages that come from a registry, by name and version.
fn dependencies(manifest: &Path) -> Result<Vec<Package>, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = |offline: bool| {
        let mut command = Command::new(&cargo);
        command.args(["metadata", "--format-version", "1", "--locked"]);
        command.args(["--filter-platform", "host-tuple", "--manifest-path"]).arg(manifest);
        command.args(offline.then_some("--offline"));
        command.output().map_err(|e| {
            Error::Corpus(format!(
                "{} cannot be run ({e}); give a text with --corpus",
                cargo.display()
            ))
        })
    };
    // Whoever compiled this has the sources; only a partial download needs the network.
    let mut output = run(true)?;
    if !output.status.success() {
        output = run(false)?;
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Corpus(format!("cargo metadata failed: {}", said.trim())));
    }
    let odd = |why: &str| Error::Corpus(format!("cargo metadata's answer: {why}"));
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| odd(&e.to_string()))?;
    let packages = json["packages"].as_array().ok_or_else(|| odd("no packages"))?;
    let mut found = Vec::new();
    for package in packages.iter().filter(|p| !p["source"].is_null()) {
        let text = |key: &str| package[key].as_str().ok_or_else(|| odd(&format!("no {key}")));
        let folder = Path::new(text("manifest_path")?).parent().ok_or_else(|| odd("a bad path"))?;
        found.push((text("name")?.to_owned(), text("version")?.to_owned(), folder.to_owned()));
    }
    found.sort();
    Ok(found.into_iter().map(|(name, _, folder)| Package { name, folder }).collect())
}

/// The files below a folder, by path, hidden ones left out; none when it is not a folder.
fn files_below(folder: &Path, extension: Option<&str>) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let entry = entry.map_err(Error::io(&folder))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(Error::io(&folder))?);
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if kind.is_dir() && !hidden {
                folders.push(path);
            } else if kind.is_file()
                && !hidden
                && extension.is_none_or(|e| path.extension().is_some_and(|x| x == e))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// SplitMix64's output function (Steele et al. 2014, fig. 14): one call, one well-mixed number.
pub(crate) fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| splitmix64(i) as u8).collect()
    }

    #[test]
    fn dependencies_are_a_corpus() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let corpus = Corpus::from_dependencies(&manifest).unwrap();
        assert_eq!(corpus, Corpus::from_dependencies(&manifest).unwrap());
        assert!(corpus.train().len() > 1 << 20, "{}", corpus.train().len());
        assert!(corpus.held_out().len() > 1 << 17, "{}", corpus.held_out().len());
        println!("{}: {} + {}", corpus.source(), corpus.train().len(), corpus.held_out().len());
    }

    #[test]
    fn a_batch_depends_on_seed_and_step_alone() {
        let corpus = Corpus::new(text(MIN_TRAIN), text(MIN_HELD_OUT), "toy").unwrap();
        assert_eq!(corpus.batch(1, 5, 4, 33), corpus.batch(1, 5, 4, 33));
        assert_ne!(corpus.batch(1, 5, 4, 33), corpus.batch(1, 6, 4, 33));
        assert_ne!(corpus.batch(1, 5, 4, 33), corpus.batch(2, 5, 4, 33));
        assert!(corpus.batch(1, 5, 4, 33).iter().all(|w| w.len() == 33));
        assert_eq!(corpus.held_out_windows(1 << 20, 33).len(), MIN_HELD_OUT / 33);
    }

    #[test]
    fn paths_are_split_and_small_ones_refused() {
        let folder = std::env::temp_dir().join(format!("quickpick-corpus-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("a.txt"), text(90_000)).unwrap();
        fs::write(folder.join("sub/b.txt"), text(11_000)).unwrap();
        let corpus = Corpus::from_path(&folder).unwrap();
        assert_eq!((corpus.train().len(), corpus.held_out().len()), (90_000, 11_000));
        let corpus = Corpus::from_path(&folder.join("a.txt")).unwrap();
        assert_eq!((corpus.train().len(), corpus.held_out().len()), (81_000, 9_000));
        let small = Corpus::from_path(&folder.join("sub")).unwrap_err().to_string();
        assert!(small.contains("9900 bytes; at least 65536"), "{small}");
        fs::remove_dir_all(&folder).unwrap();
        assert!(Corpus::from_path(&folder).is_err());
    }
}
