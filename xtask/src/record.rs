//! `cargo xtask record`: the README's tables of figures, from the newest record of each backend, and the
//! table of the fastest kernels that `select` asks.

use crate::error::{Error, Result, failed};
use crate::run::RECORDS;
use crate::{decode, gen_kernels, marks, tuned};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const REMEDY: &str = "cargo xtask record";
/// What is no rival but a bound (benches/src/floor.rs).
const FLOOR: &str = "reading W";
/// The backends that the README has a table of, and the layers that it shows.
const BACKENDS: [&str; 3] = ["cuda", "cpu", "wgpu"];
const SHOWN: [&str; 3] = ["llama-3-8b", "llama-2-7b", "square"];

/// A row of `time.csv`, as the kit writes it (benches/src/record.rs).
#[derive(Clone, Debug, Default, Deserialize)]
struct Timing {
    backend: String,
    family: String,
    layer: String,
    m: u32,
    n: u32,
    k: u32,
    dtype: String,
    rival: String,
    us: Option<f64>,
    tflops: Option<f64>,
    status: String,
}

/// A row of `ceilings.csv`.
#[derive(Clone, Debug, Deserialize)]
struct Ceiling {
    backend: String,
    what: String,
    value: f64,
}

/// A row of `correct.csv`.
#[derive(Clone, Debug, Deserialize)]
struct Verdict {
    backend: String,
    cases: u32,
    failed: u32,
    worst: f64,
}

/// One folder below `benches/record`.
struct Record {
    name: String,
    machine: BTreeMap<String, String>,
    timings: Vec<Timing>,
    ceilings: Vec<Ceiling>,
    verdicts: Vec<Verdict>,
    tuned: Vec<tuned::Candidate>,
    decoded: Vec<decode::Decoded>,
}

/// Writes, or with `check` compares, what derives from the records.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let records = records(root)?;
    let read = |file: &str| {
        let path = root.join(file);
        fs::read_to_string(&path).map(|text| text.replace("\r\n", "\n")).map_err(Error::file(&path))
    };
    let mut readme = read("README.md")?;
    for backend in BACKENDS {
        let newest = records.iter().rev().find(|r| r.timings.iter().any(|t| t.backend == backend));
        let table = match newest {
            Some(record) => record.table(backend),
            None => "Not measured: there is no record yet.\n".into(),
        };
        readme = marks::replace(&readme, &format!("measured {backend}"), &table)?;
    }
    readme = marks::replace(&readme, "decode", &decoders(&records))?;
    let candidates: Vec<_> = records.iter().map(|r| (r.name.as_str(), &*r.tuned)).collect();
    let (tuned, notes) = tuned::table(&candidates);
    notes.iter().for_each(|note| println!("{note}"));
    for (file, new) in [("README.md", readme), (tuned::FILE, tuned)] {
        match (read(file)? == new, check) {
            (true, _) => println!("{file} is what {} records say", records.len()),
            (false, true) => {
                return failed(format!("{file} is not what the records say; to mend: {REMEDY}"));
            }
            (false, false) => {
                gen_kernels::write(&root.join(file), &new)?;
                println!("{file}: written from {} records", records.len());
            }
        }
    }
    Ok(())
}

/// Whole decoders: a table for each backend that has a record of them, the newest.
fn decoders(records: &[Record]) -> String {
    let mut tables = Vec::new();
    for backend in BACKENDS {
        let of = |r: &&Record| r.decoded.iter().any(|d| d.backend == backend);
        if let Some(record) = records.iter().rev().find(of) {
            let rows: Vec<_> = record.decoded.iter().filter(|d| d.backend == backend).collect();
            let folder = format!("{RECORDS}/{}", record.name);
            tables.push(decode::table(
                &format!("{backend}: {}", record.device(backend)),
                &folder,
                &rows,
            ));
        }
    }
    match tables.is_empty() {
        true => "Not measured: there is no record yet.\n".into(),
        false => tables.join("\n"),
    }
}

/// All records, the oldest first: by the time that the machine's facts tell.
fn records(root: &Path) -> Result<Vec<Record>> {
    let folder = root.join(RECORDS);
    let mut records = Vec::new();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(records),
        Err(why) => return Err(Error::file(&folder)(why)),
    };
    for entry in entries {
        let path = entry.map_err(Error::file(&folder))?.path();
        if path.is_dir() {
            records.push(Record::read(&path)?);
        }
    }
    let key = |r: &Record| (r.machine.get("date").cloned().unwrap_or_default(), r.name.clone());
    records.sort_by_key(key);
    Ok(records)
}

fn rows<T: DeserializeOwned>(path: PathBuf) -> Result<Vec<T>> {
    if !path.exists() {
        return Ok(vec![]);
    }
    let broken = |why: csv::Error| Error::Failed(format!("{}: {why}", path.display()));
    let mut reader = csv::Reader::from_path(&path).map_err(broken)?;
    reader.deserialize().collect::<std::result::Result<_, _>>().map_err(broken)
}

impl Record {
    fn read(path: &Path) -> Result<Self> {
        let file = path.join("machine.json");
        let text = fs::read_to_string(&file).map_err(Error::file(&file))?;
        let machine = serde_json::from_str(&text)
            .map_err(|why| Error::Failed(format!("{}: {why}", file.display())))?;
        Ok(Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            tuned: tuned::read(&path.join("tune.csv"), &machine)?,
            machine,
            timings: rows(path.join("time.csv"))?,
            ceilings: rows(path.join("ceilings.csv"))?,
            verdicts: rows(path.join("correct.csv"))?,
            decoded: rows(path.join("decode.csv"))?,
        })
    }

    fn fact(&self, name: &str) -> &str {
        self.machine.get(name).map_or("?", String::as_str)
    }

    /// The largest of what several have measured.
    fn ceiling(&self, backend: &str, what: &str) -> Option<f64> {
        let mine = self.ceilings.iter().filter(|c| c.backend == backend && c.what == what);
        mine.map(|c| c.value).max_by(f64::total_cmp)
    }

    /// The device in words.
    fn device(&self, backend: &str) -> String {
        match backend {
            "cuda" => {
                format!("{}, driver {}", self.fact("gpu.name"), self.fact("gpu.driver_version"))
            }
            "wgpu" => self.fact("wgpu.adapter.0").to_owned(),
            _ => format!("{}, {}", self.fact("cpu"), self.fact("cpu.backend")),
        }
    }

    /// What the machine is and what it can do at most, then a table for each element type.
    fn table(&self, backend: &str) -> String {
        let mut out = format!("{}. Record `{RECORDS}/{}`.", self.device(backend), self.name);
        if let Some(torch) = self.machine.get(&format!("peers.{backend}.torch")) {
            let library = ["cublas", "cusparselt", "onednn"].into_iter().filter_map(|name| {
                let version = self.machine.get(&format!("peers.{backend}.{name}"))?;
                (version != "null").then(|| format!(", {name} {version}"))
            });
            let _ = write!(out, " Peers: PyTorch {torch}{}.", library.collect::<String>());
        }
        // writing to a String cannot fail
        let judged: Vec<_> = self.verdicts.iter().filter(|v| v.backend == backend).collect();
        if !judged.is_empty() {
            let sum = |of: fn(&Verdict) -> u32| judged.iter().map(|v| of(v)).sum::<u32>();
            let worst = judged.iter().map(|v| v.worst).fold(0.0, f64::max);
            let _ = write!(
                out,
                " {} kernels against the f64 oracle: {} of {} cases failed, the largest error is {worst:.2} \
                 of its bound.",
                judged.len(),
                sum(|v| v.failed),
                sum(|v| v.cases),
            );
        }
        let mine: Vec<&Timing> = self.timings.iter().filter(|t| t.backend == backend).collect();
        let mut dtypes: Vec<&str> = Vec::new();
        for timing in &mine {
            if !dtypes.contains(&timing.dtype.as_str()) {
                dtypes.push(&timing.dtype);
            }
        }
        for dtype in dtypes {
            let of_type: Vec<&Timing> = mine.iter().copied().filter(|t| t.dtype == dtype).collect();
            self.one_type(&mut out, backend, dtype, &of_type);
        }
        out
    }

    fn one_type(&self, out: &mut String, backend: &str, dtype: &str, timings: &[&Timing]) {
        let (copy, matmul) =
            (self.ceiling(backend, "copy"), self.ceiling(backend, &format!("matmul {dtype}")));
        let mut rivals: Vec<&str> = Vec::new();
        for timing in timings.iter().filter(|t| t.rival != "2:4" && t.us.is_some()) {
            if !rivals.contains(&timing.rival.as_str()) {
                rivals.push(&timing.rival);
            }
        }
        let figure = |value: Option<f64>, unit: &str| match value {
            Some(value) => format!("{} {unit}", significant(value)),
            None => "not measured".into(),
        };
        out.truncate(out.trim_end().len());
        let _ = writeln!(
            out,
            "\n\n{dtype}; ceilings: copy {}, dense product {}.\n",
            figure(copy, "GB/s"),
            figure(matmul, "TFLOP/s")
        );
        let names: Vec<String> = rivals.iter().map(|r| format!("{r} ÷ 2:4")).collect();
        let _ = writeln!(
            out,
            "| layer (m×k) | tokens | 2:4 µs | of copy | of dense product | {} |",
            names.join(" | ")
        );
        let _ = writeln!(out, "|---|---|---|---|---|{}", "---|".repeat(rivals.len()));
        let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for ours in timings.iter().filter(|t| t.rival == "2:4") {
            let Some(us) = ours.us else { continue };
            let ratio = |rival: &&str| {
                let same = |t: &&&Timing| {
                    (&t.family, &t.layer, t.m, t.n, t.k, t.rival.as_str())
                        == (&ours.family, &ours.layer, ours.m, ours.n, ours.k, rival)
                };
                Some(timings.iter().find(same)?.us? / us)
            };
            let found: Vec<Option<f64>> = rivals.iter().map(ratio).collect();
            for (rival, ratio) in rivals.iter().zip(&found) {
                ratios.entry(rival).or_default().extend(ratio);
            }
            if SHOWN.contains(&ours.family.as_str()) {
                let of = |part: f64, whole: Option<f64>| {
                    whole.map_or("–".into(), |whole| format!("{:.0} %", 100.0 * part / whole))
                };
                let cells: Vec<String> = found.iter().map(|r| times(*r)).collect();
                let _ = writeln!(
                    out,
                    "| {} {} ({}×{}) | {} | {} | {} | {} | {} |",
                    ours.family,
                    ours.layer,
                    ours.m,
                    ours.k,
                    ours.n,
                    significant(us),
                    of(ours.bytes() / us / 1e3, copy),
                    of(ours.tflops.unwrap_or(0.0), matmul),
                    cells.join(" | ")
                );
            }
        }
        let means: Vec<String> = rivals
            .iter()
            .map(|rival| match ratios.get(rival) {
                // of a floor, a mean over numbers of tokens says nothing
                Some(ratios) if *rival != FLOOR => times(geometric_mean(ratios)),
                _ => times(None),
            })
            .collect();
        let count = timings.iter().filter(|t| t.rival == "2:4" && t.us.is_some()).count();
        let _ = writeln!(
            out,
            "| geometric mean of all {count} shapes | | | | | {} |",
            means.join(" | ")
        );
        let absent = timings.iter().filter(|t| t.status.starts_with("not reached")).count();
        if absent > 0 {
            let _ = writeln!(out, "\nShapes that were not reached in the time given: {absent}.");
        }
    }
}

impl Timing {
    /// The least that must be moved: kept values and positions, X, Y.
    fn bytes(&self) -> f64 {
        let element = match self.dtype.as_str() {
            "f32" => 4.0,
            "s8" | "e4m3" | "e5m2" => 1.0,
            _ => 2.0,
        };
        let (m, n, k) = (f64::from(self.m), f64::from(self.n), f64::from(self.k));
        m * k * (element / 2.0 + 1.0 / 8.0) + element * n * (k + m)
    }
}

/// `1.53×`, or a dash.
fn times(ratio: Option<f64>) -> String {
    ratio.map_or("–".into(), |ratio| format!("{ratio:.2}×"))
}

fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some((values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp())
}

/// Three significant digits, without an exponent.
fn significant(value: f64) -> String {
    let magnitude = value.abs().max(1e-9).log10().floor() as i32;
    format!("{value:.*}", (2 - magnitude).clamp(0, 6) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(rival: &str, n: u32, us: Option<f64>) -> Timing {
        Timing {
            backend: "cpu".into(),
            family: "square".into(),
            layer: "square".into(),
            m: 1024,
            n,
            k: 1024,
            dtype: "f16".into(),
            rival: rival.into(),
            us,
            tflops: us.map(|us| 2.0 * 1024.0 * 1024.0 * f64::from(n) / us / 1e6),
            status: "ok".into(),
        }
    }

    #[test]
    fn a_table_has_ratios_shares_and_a_mean() {
        let record = Record {
            name: "2026-01-02_abc_cpu".into(),
            machine: BTreeMap::from([("cpu".into(), "A CPU".into())]),
            timings: vec![
                timing("2:4", 1, Some(100.0)),
                timing("dense", 1, Some(200.0)),
                timing("2:4", 16, Some(100.0)),
                timing("dense", 16, Some(50.0)),
                timing("candle", 16, None),
            ],
            ceilings: vec![Ceiling { backend: "cpu".into(), what: "copy".into(), value: 59.4 }],
            verdicts: vec![Verdict { backend: "cpu".into(), cases: 9, failed: 1, worst: 0.5 }],
            tuned: vec![],
            decoded: vec![],
        };
        let table = record.table("cpu");
        // 1024² × 9/8 + 4096 bytes in 100 µs are 11.8 GB/s
        assert!(
            table.contains("| square square (1024×1024) | 1 | 100 | 20 % | – | 2.00× |"),
            "{table}"
        );
        assert!(table.contains("| 16 | 100 | 21 % | – | 0.50× |"), "{table}");
        assert!(table.contains("| geometric mean of all 2 shapes | | | | | 1.00× |"), "{table}");
        assert!(!table.contains("candle"), "a rival without a figure has no column: {table}");
        assert!(table.contains("dense product not measured"), "{table}");
        assert!(
            table.contains(" 1 kernels against the f64 oracle: 1 of 9 cases failed"),
            "{table}"
        );
    }

    #[test]
    fn figures_have_three_digits() {
        let texts = [0.01234, 1.0, 12.345, 123.4, 1234.5].map(significant);
        assert_eq!(texts, ["0.0123", "1.00", "12.3", "123", "1234"]);
    }
}
