//! The tuned table that `select` asks, `crates/kernels/src/generated/tuned.rs`, from every record's `tune.csv`.

use crate::error::{Result, failed};
use quickpick_kernels::{
    DType, Form, KERNELS, KernelSpec, OpKind, Target, Teams, Tile, Values, Weights, Wgmma,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The file, from the root.
pub const FILE: &str = "crates/kernels/src/generated/tuned.rs";

/// A row of `tune.csv`, as the kit writes it (benches/src/stage/tune.rs).
#[derive(Clone, Debug, Deserialize)]
struct Cells {
    backend: String,
    device: String,
    weights: String,
    dtype: String,
    m: u32,
    n: u32,
    k: u32,
    kernel: String,
    warps: String,
    us: Option<f64>,
    rank: u32,
}

/// What was tuned, in the table's order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    interface: Interface,
    device: String,
    dense: bool,
    dtype: DType,
    m: u32,
    k: u32,
    n: u32,
}

/// What names a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Interface {
    Cuda,
    Wgpu,
}

/// A candidate that was measured, or that failed.
#[derive(Clone, Debug)]
pub struct Candidate {
    key: Key,
    kernel: String,
    /// Whether it is a row of [`KERNELS`]; the others are what the generator can write besides.
    is_row: bool,
    us: Option<f64>,
    /// 1 for the fastest of its key, 0 without a figure.
    rank: u32,
}

/// The candidates in a record's `tune.csv`, none if it has no such file. Rows of the host are left out: it
/// has one kernel for each type.
///
/// Errors name file and line: a row that is none; a kernel that is neither in [`KERNELS`] nor could be
/// written; a device that `machine.json` does not know.
pub fn read(path: &Path, machine: &BTreeMap<String, String>) -> Result<Vec<Candidate>> {
    if !path.exists() {
        return Ok(vec![]);
    }
    let (mut found, file) = (Vec::new(), path.display());
    let mut reader = match csv::Reader::from_path(path) {
        Ok(reader) => reader,
        Err(why) => return failed(format!("{file}: {why}")),
    };
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(why) => return failed(format!("{file}: {why}")),
    };
    for record in reader.records() {
        let cells = record.and_then(|record| {
            let line = record.position().map_or(0, |at| at.line());
            record.deserialize::<Cells>(Some(&headers)).map(|cells| (line, cells))
        });
        let (line, cells) = match cells {
            Ok(read) => read,
            Err(why) => return failed(format!("{file}: {why}")), // csv says the line
        };
        match cells.candidate(machine) {
            Ok(candidate) => found.extend(candidate),
            Err(why) => return failed(format!("{file}:{line}: {why}")),
        }
    }
    Ok(found)
}

impl Cells {
    fn candidate(self, machine: &BTreeMap<String, String>) -> Result<Option<Candidate>> {
        let dense = match self.weights.as_str() {
            "2:4" => false,
            "dense" => true,
            other => return failed(format!("weights are 2:4 or dense, not {other:?}")),
        };
        let weights = if dense { Weights::Dense } else { Weights::Sparse24 };
        let Some(dtype) = DType::ALL.into_iter().find(|dtype| dtype.to_string() == self.dtype)
        else {
            return failed(format!("{:?} is no type of our kernels", self.dtype));
        };
        let warps = pair(&self.warps);
        // names leave out the warps
        let same = |spec: &&KernelSpec| {
            let of_warps = match spec.form {
                Form::Tiled { warps: own, .. } => warps == Some(own),
                _ => true,
            };
            let of_layer = spec.op == OpKind::Linear(weights) && spec.dtype == dtype;
            of_layer && of_warps && spec.to_string() == self.kernel
        };
        let row = KERNELS.iter().find(same);
        if row.is_none() && writable(weights, dtype, &self.kernel, warps).is_none() {
            return failed(format!(
                "{:?} is no kernel for {weights} {dtype}: neither in KERNELS nor what the generator could write",
                self.kernel
            ));
        }
        let interface = match self.backend.as_str() {
            "cpu" => return Ok(None),
            "cuda" => Interface::Cuda,
            "wgpu" => Interface::Wgpu,
            other => return failed(format!("{other:?} is no backend")),
        };
        let tells = |(fact, value): (&String, &String)| {
            let of_devices = match interface {
                Interface::Cuda => fact == "cuda" || fact == "gpu.name",
                Interface::Wgpu => fact == "wgpu" || fact.starts_with("wgpu.adapter."),
            };
            let name = value.strip_prefix(&self.device);
            of_devices && name.is_some_and(|more| more.is_empty() || more.starts_with(" ("))
        };
        if self.device.is_empty() || !machine.iter().any(tells) {
            return failed(format!(
                "the record's machine.json tells of no device {:?}",
                self.device
            ));
        }
        let Self { device, m, k, n, kernel, us, rank, .. } = self;
        let key = Key { interface, device, dense, dtype, m, k, n };
        Ok(Some(Candidate { key, kernel, is_row: row.is_some(), us, rank }))
    }
}

/// `2×4`.
fn pair(warps: &str) -> Option<(u32, u32)> {
    let (m, n) = warps.split_once('×')?;
    Some((m.parse().ok()?, n.parse().ok()?))
}

/// The kernel of this name that is no row of the table, if the generator accepts it.
fn writable(
    weights: Weights,
    dtype: DType,
    kernel: &str,
    warps: Option<(u32, u32)>,
) -> Option<KernelSpec> {
    let size = |text: &str| text.parse::<u32>().ok().filter(|size| (1..=1024).contains(size));
    let small = |(m, n): &(u32, u32)| (1..=32).contains(m) && (1..=32).contains(n);
    let warps = warps.filter(small);
    let named = |target, form| {
        let spec = KernelSpec { op: OpKind::Linear(weights), dtype, target, form };
        (spec.to_string() == kernel && quickpick_codegen::accepts(&spec)).then_some(spec)
    };
    if let Some((_, cut)) = kernel.split_once("_wgsl_") {
        let prefixed = |(prefix, target)| Some((target, cut.strip_prefix(prefix)?));
        let prefixes = [
            ("f16_", Target::WgslF16),
            ("subgroups_", Target::WgslSubgroups),
            ("coop8_", Target::WgslCoop8),
            ("coop16_", Target::WgslCoop16),
        ];
        let found = prefixes.into_iter().find_map(prefixed);
        let (target, cut) = found.unwrap_or((Target::WgslPortable, cut));
        let sizes: Vec<u32> = cut.split('x').map(size).collect::<Option<_>>()?;
        let form = match (sizes.as_slice(), warps) {
            (&[m, n, k], Some(warps)) => Form::Tiled { tile: Tile { m, n, k }, stages: 1, warps },
            (&[rows, lanes, tokens], None) => Form::Gemv { rows, lanes, tokens },
            (&[rows, lanes], None) => Form::Gemv { rows, lanes, tokens: 1 },
            _ => return None,
        };
        return named(target, form);
    }
    let hopper = kernel.split_once("_sm90a_");
    let ampere = ["_sm80_", "_sm89_"].into_iter().find_map(|sm| kernel.split_once(sm));
    let (_, cut) = hopper.or(ampere)?;
    let mut words = cut.split('_');
    let sizes: Vec<u32> = words.next()?.split('x').map(size).collect::<Option<_>>()?;
    let &[m, n, k] = sizes.as_slice() else { return None };
    let (tile, stages) = (Tile { m, n, k }, size(words.next()?.strip_prefix('s')?)?);
    let (target, form) = if hopper.is_some() {
        let (values, teams) = (Values::Shared, Teams::Cooperative);
        let mut w = Wgmma { tile, stages, values, teams, cluster: 1 };
        for word in words {
            match word {
                "rs" => w.values = Values::Registers,
                "pp" => w.teams = Teams::PingPong,
                _ => w.cluster = size(word.strip_prefix('c')?)?,
            }
        }
        (Target::Sm90a, Form::Wgmma(w))
    } else {
        (Target::Sm80, Form::Tiled { tile, stages, warps: warps? })
    };
    named(target, form)
}

/// The generated file, of records from the oldest to the newest, and what a developer should know of it.
/// Of each layer and number of tokens the device's newest record counts.
pub fn table(records: &[(&str, &[Candidate])]) -> (String, Vec<String>) {
    let mut newest: BTreeMap<&Key, (&str, Vec<&Candidate>)> = BTreeMap::new();
    for &(record, candidates) in records {
        for candidate in candidates {
            let (of, all) = newest.entry(&candidate.key).or_insert((record, vec![]));
            if *of != record {
                (*of, *all) = (record, vec![]);
            }
            all.push(candidate);
        }
    }
    let mut notes = Vec::new();
    let mut fastest: Vec<(&Key, &str, &str)> = Vec::new();
    for (key, (record, mut all)) in newest {
        all.retain(|candidate| candidate.rank > 0);
        all.sort_by_key(|candidate| candidate.rank);
        let row = all.iter().find(|candidate| candidate.is_row);
        fastest.extend(row.map(|row| (key, row.kernel.as_str(), record)));
        let note = match (all.first(), row) {
            (Some(first), _) if first.is_row => continue,
            (Some(first), Some(row)) => {
                let times = row.us.zip(first.us).map_or(0.0, |(row, first)| row / first);
                format!(
                    "{} is no row of KERNELS; {} takes {times:.2}× its time",
                    first.kernel, row.kernel
                )
            }
            (Some(first), None) => format!("{} is no row of KERNELS, nor is another", first.kernel),
            (None, _) => "no candidate has a figure".into(),
        };
        notes.push(format!("{key}: {note}"));
    }
    (text(&fastest), notes)
}

fn text(fastest: &[(&Key, &str, &str)]) -> String {
    let mut out = String::from(
        "// Generated by `cargo xtask record` from the records below benches/record, each row from the one that\n\
         // it names; do not edit by hand.\n\n\
         use super::*;\n\n\
         #[rustfmt::skip]\n\
         pub(crate) const TABLES: Tables = Tables {\n",
    );
    // writing to a String cannot fail
    for (interface, field) in [(Interface::Cuda, "cuda"), (Interface::Wgpu, "wgpu")] {
        let _ = writeln!(out, "    {field}: &[");
        let mine: Vec<_> = fastest.iter().filter(|(key, ..)| key.interface == interface).collect();
        for rows in mine.chunk_by(|a, b| a.0.device == b.0.device) {
            let _ = writeln!(out, "        Device {{ name: {:?}, fastest: &[", rows[0].0.device);
            for (Key { dense, dtype, m, k, n, .. }, kernel, record) in rows {
                let weights = if *dense { Weights::Dense } else { Weights::Sparse24 };
                let _ = writeln!(
                    out,
                    "            Fastest {{ weights: Weights::{weights:?}, dtype: DType::{dtype:?}, m: {m}, \
                     k: {k}, n: {n}, kernel: {kernel:?} }}, // {record}"
                );
            }
            out.push_str("        ] },\n");
        }
        out.push_str("    ],\n");
    }
    out + "};\n"
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, dense, dtype, m, k, n, .. } = self;
        let weights = if *dense { Weights::Dense } else { Weights::Sparse24 };
        write!(f, "{device}, {weights} {dtype} {m}×{k} at {n} tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "backend,device,weights,dtype,m,n,k,kernel,warps,us,rank,status";

    /// What a file of these lines is read as, on a machine with GPUs A and W.
    fn read_lines(name: &str, lines: &[&str]) -> Result<Vec<Candidate>> {
        let path =
            std::env::temp_dir().join(format!("quickpick-{name}-{}.csv", std::process::id()));
        std::fs::write(&path, format!("{HEAD}\n{}\n", lines.join("\n"))).unwrap();
        let fact = |name: &str, value: &str| (name.to_string(), value.to_string());
        let machine = BTreeMap::from([
            fact("gpu.name", "GPU A"),
            fact("wgpu.adapter.0", "GPU W (Vulkan, driver 1)"),
            fact("cpu", "GPU C"),
        ]);
        let found = read(&path, &machine);
        std::fs::remove_file(&path).unwrap();
        found
    }

    const SMALL: &str =
        "cuda,GPU A,2:4,f16,4096,64,4096,spmm24_f16_mma_sp_sm80_64x64x64_s4,2×2,10,1,ok";
    const GEMV: &str = "wgpu,GPU W,dense,f16,4096,1,4096,gemv_f16_wgsl_32x8,,5,1,ok";

    #[test]
    fn the_table_is_sorted_and_each_row_says_its_record() {
        let found =
            read_lines("sorted", &[GEMV, SMALL, &SMALL.replace(",64,4096,", ",16,4096,")]).unwrap();
        let (text, notes) = table(&[("r1", &found)]);
        let want = "pub(crate) const TABLES: Tables = Tables {
    cuda: &[
        Device { name: \"GPU A\", fastest: &[
            Fastest { weights: Weights::Sparse24, dtype: DType::F16, m: 4096, k: 4096, n: 16, kernel: \"spmm24_f16_mma_sp_sm80_64x64x64_s4\" }, // r1
            Fastest { weights: Weights::Sparse24, dtype: DType::F16, m: 4096, k: 4096, n: 64, kernel: \"spmm24_f16_mma_sp_sm80_64x64x64_s4\" }, // r1
        ] },
    ],
    wgpu: &[
        Device { name: \"GPU W\", fastest: &[
            Fastest { weights: Weights::Dense, dtype: DType::F16, m: 4096, k: 4096, n: 1, kernel: \"gemv_f16_wgsl_32x8\" }, // r1
        ] },
    ],
};
";
        assert!(text.ends_with(want), "{text}");
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn the_newest_record_of_a_shape_counts_and_others_stay() {
        let old = read_lines("old", &[SMALL, GEMV]).unwrap();
        let large = SMALL.replace("64x64x64_s4,2×2", "128x128x64_s3,2×2");
        let new = read_lines("new", &[&large]).unwrap();
        let (text, _) = table(&[("old", &old), ("new", &new)]);
        assert!(text.contains("spmm24_f16_mma_sp_sm80_128x128x64_s3\" }, // new"), "{text}");
        assert!(text.contains("gemv_f16_wgsl_32x8\" }, // old"), "{text}");
        assert!(!text.contains("64x64x64_s4"), "{text}");
    }

    #[test]
    fn a_candidate_that_is_no_row_leaves_its_place_to_the_fastest_row() {
        let faster = SMALL.replace("64x64x64_s4,2×2,10,1", "64x128x64_s4,2×2,8,1");
        // a row's name, with other warps: another kernel
        let warps = SMALL.replace("64x64x64_s4,2×2,10,1", "128x256x64_s3,4×2,9,2");
        let own = SMALL.replace(",10,1", ",10,3");
        let (text, notes) = table(&[("r", &read_lines("rows", &[&own, &warps, &faster]).unwrap())]);
        assert_eq!(text.matches("spmm24").count(), 1, "{text}");
        assert_eq!(
            notes,
            [
                "GPU A, 2:4 f16 4096×4096 at 64 tokens: spmm24_f16_mma_sp_sm80_64x128x64_s4 is no row of KERNELS; \
              spmm24_f16_mma_sp_sm80_64x64x64_s4 takes 1.25× its time"
            ]
        );
        let (text, notes) = table(&[("r", &read_lines("none", &[&warps]).unwrap())]);
        assert!(!text.contains("spmm24") && notes[0].contains("nor is another"), "{notes:?}");
        let failed = SMALL.replace(",10,1,ok", ",,0,wrong");
        let (text, notes) = table(&[("r", &read_lines("failed", &[&failed]).unwrap())]);
        assert!(!text.contains("spmm24") && notes[0].contains("no candidate"), "{notes:?}");
    }

    #[test]
    fn what_is_unknown_is_an_error_with_its_line() {
        for (from, to, part) in [
            ("64x64x64_s4", "64x60x64_s4", "is no kernel for 2:4 f16"),
            ("64x64x64_s4", "0x0x0_s4", "is no kernel"),
            ("spmm24", "gemm", "is no kernel"),
            ("2:4,f16", "2:4,bf16", "is no kernel for 2:4 bf16"),
            ("2:4,f16", "2:4,f12", "\"f12\" is no type"),
            ("2:4", "1:2", "\"1:2\""),
            ("GPU A", "GPU W", "tells of no device \"GPU W\""),
            ("GPU A", "GPU", "tells of no device"),
            ("GPU A", "", "tells of no device \"\""),
            ("cuda", "rocm", "\"rocm\" is no backend"),
            (",4096,64,", ",many,64,", "invalid digit"),
        ] {
            let line = SMALL.replacen(from, to, 1);
            assert_ne!(line, SMALL);
            let why = read_lines("unknown", &[GEMV, &line]).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
            assert!(why.contains(".csv:3: ") || why.contains("line: 3"), "{why}");
        }
        let host = "cpu,,2:4,f16,4096,1,4096,spmm24_f16_cpu,,5,1,ok";
        assert!(read_lines("host", &[host]).unwrap().is_empty());
        assert!(read("no such file".as_ref(), &BTreeMap::new()).unwrap().is_empty());
    }

    #[test]
    fn names_of_what_the_generator_can_write_are_read() {
        let known = |kernel: &str| writable(Weights::Sparse24, DType::F16, kernel, Some((2, 2)));
        for row in KERNELS.iter().filter(|s| s.op == OpKind::Linear(Weights::Sparse24)) {
            let warps = match row.form {
                Form::Tiled { warps, .. } => Some(warps),
                _ => None,
            };
            // what the generator can write besides rows is of their kinds
            let candidate =
                matches!(row.form, Form::Tiled { .. } | Form::Wgmma(_) | Form::Gemv { .. });
            let read = writable(Weights::Sparse24, row.dtype, &row.to_string(), warps);
            assert_eq!(read, candidate.then_some(*row));
        }
        assert!(known("spmm24_f16_mma_sp_sm80_64x128x64_s4").is_some());
        let gemv = writable(Weights::Dense, DType::F16, "gemv_f16_wgsl_f16_16x32", None);
        assert_eq!(gemv.unwrap().form, Form::Gemv { rows: 16, lanes: 32, tokens: 1 });
        assert!(known("spmm24_f16_wgsl_64x33x32").is_none());
        for none in [
            "",
            "_wgsl_",
            "spmv24_f16_wgsl_3x8",
            "spmv24_f16_wgsl_32x7",
            "_sm90a_",
            "spmm24_f16_wgmma_sp_sm90a_128x256x64_s4_c0",
            "a_sm80_1x1_s1",
        ] {
            assert_eq!(known(none), None, "{none}");
        }
    }
}
