//! What comes home from a machine: one dated folder, a CSV file per stage, `machine.json`.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of records.
#[derive(Clone, Debug)]
pub struct Record {
    folder: PathBuf,
}

const MACHINE: &str = "machine.json";

/// One contender on one shape. Stages `time` and `peers` write them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Timing {
    /// `cpu`, `wgpu` or `cuda`.
    pub backend: String,
    /// The model, `square` or `ragged`.
    pub family: String,
    /// The layer.
    pub layer: String,
    /// Output features.
    pub m: u32,
    /// Tokens.
    pub n: u32,
    /// Input features.
    pub k: u32,
    /// Element type.
    pub dtype: String,
    /// `2:4`, `dense` (its twin), or a peer's name.
    pub rival: String,
    /// The kernel or algorithm.
    pub kernel: String,
    /// Median of one launch, microseconds; absent where there is no figure.
    pub us: Option<f64>,
    /// Lower quartile.
    pub us_low: Option<f64>,
    /// Upper quartile.
    pub us_high: Option<f64>,
    /// Dense-equivalent 10¹² operations per second.
    pub tflops: Option<f64>,
    /// Samples.
    pub rounds: u32,
    /// Launches of a sample.
    pub launches: u32,
    /// Copies of the inputs, run in turn.
    pub copies: u32,
    /// The largest error as a share of its bound.
    pub error: Option<f64>,
    /// The multiprocessors' mean clock, MHz.
    pub clock_mhz: Option<f64>,
    /// The board's mean power, W.
    pub power_w: Option<f64>,
    /// `ok`, or why there is no figure.
    pub status: String,
    /// What else a reader must know.
    pub note: String,
}

/// A ceiling of the machine.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Ceiling {
    /// `cpu`, `wgpu` or `cuda`.
    pub backend: String,
    /// `copy`, in 10⁹ bytes per second, read plus written; `matmul f16`, …, in 10¹² operations.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// Who measured it.
    pub by: String,
}

impl Record {
    /// Makes the folder, or goes on with what an earlier run of the same day, code and machine left.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The rows of a file, none if it does not exist.
    pub fn rows<T: DeserializeOwned>(&self, file: &str) -> Result<Vec<T>> {
        let path = self.folder.join(file);
        if !path.exists() {
            return Ok(vec![]);
        }
        let mut reader = csv::Reader::from_path(&path).map_err(broken(&path))?;
        reader.deserialize().collect::<std::result::Result<_, _>>().map_err(broken(&path))
    }

    /// Writes a file of rows, beside and by rename: whoever is killed leaves whole files.
    pub fn write<T: Serialize>(&self, file: &str, rows: &[T]) -> Result<()> {
        let path = self.folder.join(file);
        let mut writer = csv::Writer::from_writer(vec![]);
        for row in rows {
            writer.serialize(row).map_err(broken(&path))?;
        }
        let bytes = writer.into_inner().map_err(|why| {
            let why = std::io::Error::other(why.to_string());
            Error::File { path: path.clone(), source: why }
        })?;
        self.replace(&path, &bytes)
    }

    /// The facts of `machine.json`, none if it does not exist.
    pub fn known(&self) -> Result<BTreeMap<String, String>> {
        let path = self.folder.join(MACHINE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|why| {
                let source = std::io::Error::other(why);
                Error::File { path: path.clone(), source }
            }),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(why) => Err(Error::file(&path)(why)),
        }
    }

    /// Adds facts to `machine.json`; newer ones replace older ones.
    pub fn facts(&self, facts: impl IntoIterator<Item = (String, String)>) -> Result<()> {
        let path = self.folder.join(MACHINE);
        let mut all = self.known()?;
        all.extend(facts);
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        self.replace(&path, (text + "\n").as_bytes())
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let beside = path.with_extension("new");
        fs::write(&beside, bytes).map_err(Error::file(&beside))?;
        fs::rename(&beside, path).map_err(Error::file(path))
    }
}

fn broken(path: &Path) -> impl Fn(csv::Error) -> Error + '_ {
    move |why| Error::File { path: path.to_path_buf(), source: std::io::Error::other(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_facts_are_read_back() {
        let folder = std::env::temp_dir().join(format!("quickpick-record-{}", std::process::id()));
        let record = Record::open(&folder).unwrap();
        assert!(record.rows::<Timing>("time.csv").unwrap().is_empty());
        let row = Timing {
            rival: "2:4".into(),
            us: Some(1.5),
            status: "wrong: y[0][1] is 2, not 3".into(),
            ..Timing::default()
        };
        record.write("time.csv", &[row.clone(), Timing::default()]).unwrap();
        assert_eq!(record.rows::<Timing>("time.csv").unwrap(), [row, Timing::default()]);
        let fact = |key: &str, value: &str| [(key.to_string(), value.to_string())];
        record.facts(fact("a", "1")).unwrap();
        record.facts(fact("b", "2")).unwrap();
        let text = fs::read_to_string(folder.join("machine.json")).unwrap();
        assert_eq!(text, "{\n  \"a\": \"1\",\n  \"b\": \"2\"\n}\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
