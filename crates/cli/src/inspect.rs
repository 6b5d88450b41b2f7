//! `quickpick inspect`: what a checkpoint holds.

use crate::columns::{Side, columns, folded, shown};
use crate::demo::report::thousands;
use crate::demo::terminal::{bar, bold, fact};
use miette::{IntoDiagnostic, Result, WrapErr};
use quickpick_prune::{Pattern, Rules};
use quickpick_transformer::checkpoint::{self, Inspection, Opened, TensorReport};
use std::path::{Path, PathBuf};

/// What to look at.
#[derive(clap::Args)]
pub struct Args {
    /// A Hugging Face folder or a safetensors file, dense or in a 2:4 form.
    path: PathBuf,
    /// The whole report as JSON, every tensor apart.
    #[arg(long)]
    json: bool,
    /// The pattern that a layer's rows must be whole groups of to be pruned.
    #[arg(long, default_value = "2:4")]
    pattern: Pattern,
    /// Every tensor on its own line; otherwise equal tensors of several layers share one.
    #[arg(long)]
    all: bool,
}

/// Reads every tensor and reports.
pub fn run(args: &Args) -> Result<()> {
    let Opened { source, .. } = open(&args.path)?;
    let bar = bar("inspect", source.entries().len() as u64);
    let rules = Rules::new(args.pattern);
    let report = checkpoint::inspect(source.as_ref(), &rules, &mut |_| bar.inc(1));
    bar.finish_and_clear();
    let report = report.into_diagnostic().wrap_err("a tensor cannot be read")?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report).into_diagnostic()?),
        false => tell(&args.path, &report, args.all),
    }
    Ok(())
}

/// Opens a checkpoint, with help for whoever named something else.
pub fn open(path: &Path) -> Result<Opened> {
    checkpoint::open(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be opened as a checkpoint", path.display()))
}

fn tell(path: &Path, report: &Inspection, all: bool) {
    println!("\n  {}\n", bold("Quickpick inspect"));
    fact("path", &shown(&path.display().to_string()));
    fact("tensors", &thousands(report.totals.tensors));
    println!();
    println!("{}", table(report, all));
    for line in findings(report) {
        println!("  {line}");
    }
    println!();
}

/// The tensors that share a line.
struct Row<'a> {
    name: String,
    first: &'a TensorReport,
    count: u64,
    bytes: u64,
    elements: u64,
    nonzeros: Option<u64>,
}

fn table(report: &Inspection, all: bool) -> String {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for t in &report.tensors {
        let name = if all { t.name.clone() } else { folded(&t.name) };
        let like = |r: &&mut Row<'_>| {
            let a = (&r.first.shape, &r.first.stored, &r.first.pattern, &r.first.reason);
            r.name == name && a == (&t.shape, &t.stored, &t.pattern, &t.reason)
        };
        match rows.iter_mut().find(like) {
            Some(row) => {
                row.count += 1;
                row.bytes += t.bytes;
                row.elements += t.elements;
                row.nonzeros = row.nonzeros.zip(t.nonzeros).map(|(a, b)| a + b);
            }
            None => rows.push(Row {
                name,
                first: t,
                count: 1,
                bytes: t.bytes,
                elements: t.elements,
                nonzeros: t.nonzeros,
            }),
        }
    }
    let cells = |row: &Row<'_>| {
        let t = row.first;
        let shape: Vec<String> = t.shape.iter().map(usize::to_string).collect();
        // alone, a tensor has its own name
        let name = if row.count == 1 { &t.name } else { &row.name };
        vec![
            shown(name),
            if row.count == 1 { String::new() } else { format!("×{}", row.count) },
            shape.join(" × "),
            t.stored.clone(),
            thousands(row.bytes),
            row.nonzeros.map_or("–".into(), |n| percent(n, row.elements)),
            t.pattern.clone().unwrap_or_else(|| "–".into()),
            match &t.reason {
                None => "yes".to_owned(),
                Some(reason) => format!("no: {reason}"),
            },
        ]
    };
    let head = [
        ("tensor", Side::Left),
        ("", Side::Right),
        ("shape", Side::Right),
        ("stored", Side::Left),
        ("bytes", Side::Right),
        ("non-zero", Side::Right),
        ("pattern", Side::Left),
        ("prunable", Side::Left),
    ];
    columns(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn percent(part: u64, of: u64) -> String {
    match of {
        0 => "–".to_owned(),
        _ => format!("{:.2} %", 100.0 * part as f64 / of as f64),
    }
}

/// What the table says, in sentences with numbers.
fn findings(report: &Inspection) -> Vec<String> {
    let t = &report.totals;
    let mut lines = vec![
        format!("{} elements in {} bytes.", thousands(t.elements), thousands(t.bytes)),
        format!(
            "{} of {} tensors can be pruned: {} elements ({}), {} of them follow 2:4 already.",
            t.eligible,
            t.tensors,
            thousands(t.eligible_elements),
            percent(t.eligible_elements, t.elements),
            t.already_24
        ),
    ];
    if t.eligible > 0 {
        lines.push(format!(
            "They take {} bytes now and would take {} as 2:4; the whole {}.",
            thousands(t.eligible_bytes),
            thousands(t.eligible_bytes_24),
            thousands(t.bytes - t.eligible_bytes + t.eligible_bytes_24)
        ));
    }
    let count = |of: fn(&TensorReport) -> u64| {
        let with = report.tensors.iter().filter(|t| of(t) > 0);
        (with.clone().map(of).sum::<u64>(), with.count())
    };
    for (what, (elements, tensors)) in [
        ("−0.0, which 2:4 forms store as +0.0", count(|t| t.negative_zeros)),
        ("NaN or infinite, which 2:4 forms refuse", count(|t| t.not_finite)),
    ] {
        if elements > 0 {
            lines
                .push(format!("{} elements in {tensors} tensors are {what}.", thousands(elements)));
        }
    }
    lines
}
