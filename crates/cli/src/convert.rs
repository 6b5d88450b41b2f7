//! `quickpick convert`: one form of a checkpoint to another.

use crate::columns::{Side, columns, folded, shown};
use crate::demo::report::thousands;
use crate::demo::terminal::{bar, bold, done, fact};
use crate::inspect::open;
use miette::{Result, miette};
use quickpick_format::DType;
use quickpick_transformer::checkpoint::{
    Conversion, Converted, DEFAULT_LIMIT, Opened, Target, convert,
};
use std::path::PathBuf;
use std::time::Instant;

/// What to convert.
#[derive(clap::Args)]
pub struct Args {
    /// A Hugging Face folder or a safetensors file, dense or in a 2:4 form.
    path: PathBuf,
    /// dense: what any library reads. quickpick: 2:4 layers in Quickpick's form. bitmask: 2:4 layers
    /// as compressed-tensors' sparse-24-bitmask, for vLLM and transformers.
    #[arg(long)]
    to: Target,
    /// The folder to make; it must not exist, or be empty.
    #[arg(long)]
    out: PathBuf,
    /// Round every real tensor to this type. Without it, elements stay as they are, bit for bit.
    #[arg(long, value_parser = dtype)]
    dtype: Option<DType>,
    /// Let −0.0 in layers that become 2:4 turn into +0.0. Multiplying a negative weight by a mask
    /// makes −0.0.
    #[arg(long)]
    positive_zeros: bool,
    /// Store a layer as 2:4 even if at most this fraction of its weights is beyond two of each four:
    /// those lie beside it, as a sparse residual (Weight-Recover-Prune). Only --to quickpick, F16 and BF16.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0)]
    residual: f64,
    /// The most bytes of a shard.
    #[arg(long, default_value_t = DEFAULT_LIMIT)]
    shard_bytes: u64,
}

fn dtype(text: &str) -> Result<DType, String> {
    [DType::F16, DType::BF16, DType::F32]
        .into_iter()
        .find(|dtype| dtype.to_string() == text)
        .ok_or_else(|| format!("`{text}` is none of f16, bf16, f32"))
}

/// Converts, and says what became of every tensor.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let Opened { source, folder } = open(&args.path)?;
    println!("\n  {}\n", bold("Quickpick convert"));
    fact("from", &shown(&args.path.display().to_string()));
    fact("to", &format!("{} in {}", args.to, shown(&args.out.display().to_string())));
    if folder.is_none() {
        fact("config", "none: no config.json belongs to this file, so none is written");
    }
    println!();
    let conversion = Conversion {
        target: args.to,
        dtype: args.dtype,
        positive_zeros: args.positive_zeros,
        residual: args.residual,
        limit: args.shard_bytes,
    };
    // every tensor is looked at, then written
    let bar = bar("convert", 2 * source.entries().len() as u64);
    let result =
        convert(source.as_ref(), folder.as_deref(), &args.out, &conversion, &mut |_| bar.inc(1));
    bar.finish_and_clear();
    let (tensors, written) = result.map_err(|e| {
        let why = e.to_string();
        match why.contains("−0.0") {
            true => miette!(help = "--positive-zeros lets them turn into +0.0", "{why}"),
            false => miette!("{why}"),
        }
    })?;
    println!("{}", table(&tensors));
    let sparse = tensors.iter().filter(|t| t.to.starts_with("2:4")).count();
    let beside = tensors.iter().filter(|t| t.to.contains("residual")).count();
    let zeros: u64 = tensors.iter().map(|t| t.positive_zeros).sum();
    let before: u64 = tensors.iter().map(|t| t.bytes_from).sum();
    let after: u64 = tensors.iter().map(|t| t.bytes_to).sum();
    println!("  {sparse} of {} tensors are stored as 2:4.", tensors.len());
    if beside > 0 {
        println!("  {beside} of those have a residual beside them.");
    }
    println!("  {} bytes of tensors before, {} now.", thousands(before), thousands(after));
    if zeros > 0 {
        println!("  {} elements that were −0.0 are +0.0 now.", thousands(zeros));
    }
    println!();
    let what = format!("{} files, {} bytes", written.files.len(), thousands(written.bytes));
    done("convert", &what, start);
    println!();
    Ok(())
}

/// What became of the tensors; equal ones of several layers share a line.
fn table(tensors: &[Converted]) -> String {
    let mut rows: Vec<(String, &Converted, u64, [u64; 2])> = Vec::new();
    for t in tensors {
        let name = folded(&t.name);
        let reason = |t: &Converted| t.dense_because.clone();
        let like = |(n, first, ..): &&mut (String, &Converted, u64, [u64; 2])| {
            *n == name && (&first.from, &first.to, reason(first)) == (&t.from, &t.to, reason(t))
        };
        match rows.iter_mut().find(like) {
            Some((_, _, count, bytes)) => {
                *count += 1;
                *bytes = [bytes[0] + t.bytes_from, bytes[1] + t.bytes_to];
            }
            None => rows.push((name, t, 1, [t.bytes_from, t.bytes_to])),
        }
    }
    let cells = |(name, first, count, bytes): &(String, &Converted, u64, [u64; 2])| {
        let alone = *count == 1;
        vec![
            shown(if alone { &first.name } else { name }),
            if alone { String::new() } else { format!("×{count}") },
            first.from.clone(),
            thousands(bytes[0]),
            first.to.clone(),
            thousands(bytes[1]),
            first.dense_because.as_ref().map_or(String::new(), |why| format!("dense: {why}")),
        ]
    };
    let head = [
        ("tensor", Side::Left),
        ("", Side::Right),
        ("from", Side::Left),
        ("bytes", Side::Right),
        ("to", Side::Left),
        ("bytes", Side::Right),
        ("", Side::Left),
    ];
    columns(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}
