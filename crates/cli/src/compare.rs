//! `quickpick compare`: which method suits a model, by perplexity or embeddings, error, time and memory.

use crate::columns::{Side, columns};
use crate::demo::terminal::{bold, dim, seconds};
use crate::metric::{self, Dense, Metric, Outcome};
use crate::prune::{How, Plan, Setting, process};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use quickpick_prune::Method;
use quickpick_transformer::checkpoint::Model;
use quickpick_transformer::oneshot::Existing;
use quickpick_transformer::weights::write_atomic;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What to compare.
#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file or a Hugging Face folder, of the Llama or the BERT family.
    model: PathBuf,
    /// Methods, as `quickpick prune --method` takes them; `permute:` before one lets features change places.
    #[arg(long, required = true, value_delimiter = ',', value_name = "METHOD,…")]
    methods: Vec<String>,
    /// Draws of the calibration text; each method runs with each.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "SEED,…")]
    seeds: Vec<u64>,
    #[command(flatten)]
    setting: Setting,
    #[command(flatten)]
    metric: metric::Args,
    /// The folder of the record and its `table.md`; rows that it holds already are not run again.
    #[arg(long)]
    out: PathBuf,
    /// Print the record, `compare.json`, instead of a table.
    #[arg(long)]
    json: bool,
}

/// The record: everything that was asked alike, and a row for each method and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    /// Model, pattern, calibration, type.
    setting: String,
    dense: Dense,
    rows: Vec<Row>,
}

/// One pruned model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    method: String,
    seed: u64,
    #[serde(flatten)]
    outcome: Outcome,
    /// Mean of the layers' errors.
    error: f64,
    /// Weights beyond the pattern, as a share of all.
    recovered: f64,
    /// Bytes of the pruned layers, compressed, over dense.
    bytes: f64,
    seconds: f64,
    cpu_seconds: Option<f64>,
    peak_bytes: Option<u64>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let methods = args.methods.iter().map(|text| parse(text)).collect::<Result<Vec<_>>>()?;
    let model = Model::open(&args.model).into_diagnostic()?;
    let file = args.out.join("compare.json");
    let digest = model.digest().into_diagnostic()?;
    let setting = format!("model {digest:016x}, {}", args.setting.text());
    let known = match fs::read(&file) {
        Ok(bytes) => Some(resumed(&file, &bytes, &setting)?),
        Err(_) => None,
    };
    let metric = Metric::new(&model, &args.metric, known.as_ref().map(|record| &record.dense))?;
    let dense = || metric.dense();
    let mut record = known.unwrap_or_else(|| Record { setting, dense: dense(), rows: vec![] });
    save(&file, &record)?;
    if !args.json {
        println!("\n  {}\n", bold("Quickpick compare"));
    }
    for &seed in &args.seeds {
        for (name, permute, method) in &methods {
            if record.rows.iter().any(|row| row.method == *name && row.seed == seed) {
                continue;
            }
            let setting = args.setting.clone();
            let how = How { method: *method, permute: *permute, seed, setting };
            let row = one(args, &model, &metric, &how, name)?;
            if !args.json {
                println!("  {name}, seed {seed}: {}", row.outcome.cells().join(", "));
            }
            record.rows.push(row);
            save(&file, &record)?;
        }
    }
    let table = args.out.join("table.md");
    write_atomic(&table, markdown(&record).as_bytes()).into_diagnostic()?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&record).into_diagnostic()?),
        false => {
            println!("\n{}", columns(&head(&record), &cells(&record)));
            println!("  {}\n  {}\n", dim(&record.setting), dim(record.dense.protocol()));
        }
    }
    Ok(())
}

/// `permute:alps` → its name, whether features change places, the method.
fn parse(text: &str) -> Result<(String, bool, Method)> {
    let (permute, method) = match text.strip_prefix("permute:") {
        Some(method) => (true, method),
        None => (false, text),
    };
    let method: Method = method.parse().into_diagnostic()?;
    let name = if permute { format!("permute:{method}") } else { method.to_string() };
    Ok((name, permute, method))
}

fn resumed(file: &Path, bytes: &[u8], setting: &str) -> Result<Record> {
    let record: Record = serde_json::from_slice(bytes)
        .into_diagnostic()
        .wrap_err_with(|| file.display().to_string())?;
    match record.setting == setting {
        true => Ok(record),
        false => Err(miette!(
            help = "name another folder with --out",
            "{} is the record of another setting: {}, now {setting}",
            file.display(),
            record.setting
        )),
    }
}

fn save(file: &Path, record: &Record) -> Result<()> {
    let json = serde_json::to_vec_pretty(record).into_diagnostic()?;
    write_atomic(file, &json).into_diagnostic()
}

/// Prunes, measures what came out as it was written, and removes it.
fn one(args: &Args, model: &Model, metric: &Metric, how: &How, name: &str) -> Result<Row> {
    let out = args.out.join(format!("{}-{}", name.replace([':', '='], "-"), how.seed));
    if out.exists() {
        fs::remove_dir_all(&out).into_diagnostic()?; // a row that was killed between writing and measuring
    }
    process::forget_peak();
    let (report, folder) = Plan::new(model, &args.model, how)?.prune(&out, Existing::Resume)?;
    let peak_bytes = process::peak();
    let pruned = Model::open(&out).into_diagnostic()?;
    let outcome = metric.outcome(&pruned, name)?;
    drop(pruned);
    fs::remove_dir_all(&out).into_diagnostic()?;
    folder.remove().into_diagnostic()?;
    let pruned: Vec<_> =
        report.layers.iter().filter_map(|l| Some((l, l.pruned.as_ref()?))).collect();
    let weights: usize = pruned.iter().map(|(l, _)| l.shape[0] * l.shape[1]).sum();
    let recovered: usize = pruned.iter().map(|(_, p)| p.recovered).sum();
    Ok(Row {
        method: name.to_owned(),
        seed: how.seed,
        outcome,
        error: pruned.iter().map(|(_, p)| p.error).sum::<f64>() / pruned.len().max(1) as f64,
        recovered: recovered as f64 / weights.max(1) as f64,
        bytes: report.bytes.compressed as f64 / report.bytes.dense.max(1) as f64,
        seconds: report.seconds,
        cpu_seconds: report.cpu_seconds,
        peak_bytes,
    })
}

fn head(record: &Record) -> Vec<(&'static str, Side)> {
    let measured = record.dense.head().iter().copied();
    let others =
        ["layer error", "bytes", "pruning", "core time", "peak"].map(|name| (name, Side::Right));
    [("method", Side::Left), ("seed", Side::Right)]
        .into_iter()
        .chain(measured)
        .chain(others)
        .collect()
}

/// The dense model, then the pruned ones, the worst first.
fn cells(record: &Record) -> Vec<Vec<String>> {
    let around = |first: [String; 2], measured: Vec<String>, last: [String; 5]| {
        first.into_iter().chain(measured).chain(last).collect()
    };
    let dense = around(
        ["dense", ""].map(String::from),
        record.dense.cells(),
        ["0", "1", "", "", ""].map(String::from),
    );
    let row = |row: &Row| {
        let method = match row.recovered {
            0.0 => row.method.clone(),
            share => format!("{} ({:.2} % more)", row.method, 100.0 * share),
        };
        let last = [
            format!("{:.4}", row.error),
            format!("{:.4}×", row.bytes),
            seconds(row.seconds),
            row.cpu_seconds.map_or("–".into(), seconds),
            row.peak_bytes.map_or("–".into(), |b| format!("{:.2} GB", b as f64 / 1e9)),
        ];
        around([method, row.seed.to_string()], row.outcome.cells(), last)
    };
    let mut rows: Vec<&Row> = record.rows.iter().collect();
    rows.sort_by(|a, b| b.outcome.damage().total_cmp(&a.outcome.damage()));
    std::iter::once(dense).chain(rows.into_iter().map(row)).collect()
}

fn markdown(record: &Record) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let head = head(record);
    let mut text = line(head.iter().map(|(name, _)| *name).collect());
    let rule = |(_, side): &(_, Side)| if *side == Side::Left { "---" } else { "---:" };
    text += &line(head.iter().map(rule).collect());
    for row in cells(record) {
        text += &line(row.iter().map(String::as_str).collect());
    }
    format!("{text}\n{}\n\n{}\n", record.setting, record.dense.protocol())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed ones: a decoder's and an encoder's.
    #[test]
    fn records_are_read_back_and_make_their_tables() {
        let pruning = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/pruning");
        for (model, measure) in [("smollm2-135m", "perplexity"), ("minilm-l6", "cosine")] {
            let read = |name| fs::read(pruning.join(model).join(name)).unwrap();
            let record: Record = serde_json::from_slice(&read("compare.json")).unwrap();
            let again = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
            for record in [&record, &again] {
                let same = markdown(record).as_bytes() == read("table.md");
                assert!(same, "{model}: its table is not of its record");
            }
            let head = head(&record);
            assert_eq!(head[2].0, measure);
            assert!(cells(&record).iter().all(|row| row.len() == head.len()), "{model}");
        }
    }

    #[test]
    fn methods_are_read_with_and_without_their_orders() {
        let (name, permute, method) = parse("permute:wanda+recover=0.2").unwrap();
        assert_eq!((name.as_str(), permute), ("permute:wanda+recover=0.2", true));
        assert_eq!(method.to_string(), "wanda+recover=0.2");
        assert!(!parse("alps").unwrap().1);
        assert!(parse("permute").unwrap_err().to_string().contains("magnitude"));
    }
}
