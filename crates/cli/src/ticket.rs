//! `quickpick ticket`: a lottery ticket from two checkpoints of one training.
//!
//! The final weights θ_T choose by magnitude what stays, the early ones θ_k are what is trained again (Frankle
//! et al., ICML 2020: linear mode connectivity): θ_k ⊙ mask(|θ_T|).

use crate::columns::{Side, columns, shown};
use crate::demo::terminal::{bold, dim};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use quickpick_format::StoredType;
use quickpick_prune::{
    Eligibility, LayerInfo, Mask, Masks, Pattern, Rules, masks_to_bytes, project,
};
use quickpick_transformer::checkpoint::{
    DEFAULT_LIMIT, Entry, Opened, Planned, Raw, ShardWriter, Source, companions, open,
};
use std::path::{Path, PathBuf};

/// Which checkpoints.
#[derive(clap::Args)]
pub struct Args {
    /// Weights soon after the start, which the ticket keeps: a Hugging Face folder or a safetensors file.
    #[arg(long, value_name = "CHECKPOINT")]
    early: PathBuf,
    /// Weights of the same model after training, which choose.
    #[arg(long = "final", value_name = "CHECKPOINT")]
    last: PathBuf,
    /// The ticket's folder; must not exist yet.
    #[arg(long)]
    out: PathBuf,
    /// N:M, along the input features. Sparse tensor cores run 2:4.
    #[arg(long, default_value = "2:4")]
    pattern: Pattern,
    /// Leave these layers dense; `*` stands for any text. May be given more than once.
    #[arg(long, value_name = "NAMES")]
    leave: Vec<String>,
}

/// Where the masks lie, beside the weights.
const MASKS: &str = "masks.safetensors";

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let at = |path: &Path| open(path).into_diagnostic();
    let (early, last) = (at(&args.early)?, at(&args.last)?);
    same(&early, &last).wrap_err("the two are not of one model")?;
    let entries = early.source.entries();
    let rules = args.leave.iter().fold(Rules::new(args.pattern), |rules, names| rules.leave(names));
    let infos: Vec<LayerInfo> =
        entries.iter().map(|e| LayerInfo::new(e.name.as_str(), e.shape.as_slice())).collect();
    if let Some(names) = rules.unmatched(&infos).first() {
        return Err(miette!("--leave {names} matches no tensor of the model"));
    }
    let mut plan = Vec::new();
    for entry in entries {
        let dtype = early.source.raw(&entry.name).into_diagnostic()?.dtype;
        let (name, shape) = (entry.name.clone(), entry.shape.clone());
        plan.push(Planned::Dense { name, dtype, shape });
    }
    let mut writer = ShardWriter::create(&args.out, &plan, DEFAULT_LIMIT).into_diagnostic()?;
    let (mut masks, mut rows) = (Masks::new(), Vec::new());
    for (entry, info) in entries.iter().zip(&infos) {
        let mut raw = early.source.raw(&entry.name).into_diagnostic()?;
        let (decision, kept) = match rules.decide(info) {
            Eligibility::Prune if !is_real(raw.dtype) => {
                (format!("dense: {} are no weights", raw.dtype), None)
            }
            Eligibility::Prune => {
                let mask = mask(&*last.source, entry, args.pattern)?;
                apply(&mask, &mut raw).wrap_err_with(|| entry.name.clone())?;
                let kept = mask.count();
                masks.insert(entry.name.clone(), mask);
                (Eligibility::Prune.to_string(), Some(kept))
            }
            dense => (dense.to_string(), None),
        };
        writer.raw(&entry.name, &raw.bytes).into_diagnostic()?;
        let count = info.len();
        let shape: Vec<String> = entry.shape.iter().map(usize::to_string).collect();
        rows.push(vec![
            shown(&entry.name),
            shape.join(" × "),
            kept.unwrap_or(count).to_string(),
            shown(&decision),
        ]);
    }
    if masks.is_empty() {
        return Err(miette!("no tensor of the model can be pruned to {}", args.pattern));
    }
    writer.file(Path::new(MASKS), &masks_to_bytes(&masks).into_diagnostic()?).into_diagnostic()?;
    if let Some(folder) = &early.folder {
        for name in companions(folder).into_diagnostic()? {
            let bytes = std::fs::read(folder.join(&name))
                .into_diagnostic()
                .wrap_err_with(|| folder.join(&name).display().to_string())?;
            writer.file(&name, &bytes).into_diagnostic()?;
        }
    }
    let written = writer.finish().into_diagnostic()?;
    let head =
        [("tensor", Side::Left), ("shape", Side::Right), ("kept", Side::Right), ("", Side::Left)];
    println!("\n  {}\n\n{}", bold("Quickpick ticket"), columns(&head, &rows));
    println!("  {} of {} tensors pruned to {}", masks.len(), rows.len(), args.pattern);
    println!("  {}  {}", dim("ticket"), written.folder.display());
    println!("  {}   {}\n", dim("masks"), args.out.join(MASKS).display());
    Ok(())
}

/// The first difference in names and shapes is an error.
fn same(early: &Opened, last: &Opened) -> Result<()> {
    let find = |of: &Opened, name: &str| {
        of.source.entries().iter().find(|e| e.name == name).map(|e| e.shape.clone())
    };
    for Entry { name, shape, .. } in early.source.entries() {
        match find(last, name) {
            None => return Err(miette!("--final has no {name}")),
            Some(other) if other != *shape => {
                return Err(miette!("{name} is {shape:?} in --early, {other:?} in --final"));
            }
            Some(_) => {}
        }
    }
    match last.source.entries().iter().find(|e| find(early, &e.name).is_none()) {
        Some(entry) => Err(miette!("--early has no {}", entry.name)),
        None => Ok(()),
    }
}

fn is_real(dtype: StoredType) -> bool {
    use StoredType::{BF16, F8_E4M3, F8_E5M2, F16, F32, F64};
    matches!(dtype, BF16 | F8_E4M3 | F8_E5M2 | F16 | F32 | F64)
}

/// By magnitude.
fn mask(source: &dyn Source, entry: &Entry, pattern: Pattern) -> Result<Mask> {
    let tensor = source.tensor(&entry.name).into_diagnostic()?;
    let &[rows, cols] = tensor.shape.as_slice() else {
        return Err(miette!("{} is {:?}, not a matrix", entry.name, tensor.shape));
    };
    let scores: Vec<f32> = tensor.data.iter().map(|w| w.abs()).collect();
    project(&scores, rows, cols, pattern).into_diagnostic().wrap_err_with(|| entry.name.clone())
}

/// Zeros what is dropped; the rest stays bit for bit.
fn apply(mask: &Mask, raw: &mut Raw) -> Result<()> {
    let kept = mask.kept();
    let element = raw.bytes.len() / kept.len().max(1);
    if element == 0 || element * kept.len() != raw.bytes.len() {
        return Err(miette!("{} bytes for {} elements", raw.bytes.len(), kept.len()));
    }
    for (bytes, _) in raw.bytes.chunks_exact_mut(element).zip(kept).filter(|(_, kept)| !**kept) {
        bytes.fill(0);
    }
    Ok(())
}
