//! `quickpick export`: what the browser's page runs.

use miette::{IntoDiagnostic, Result};
use quickpick_transformer::{Compact, export};
use std::path::PathBuf;

/// What to export.
#[derive(clap::Args)]
pub struct Args {
    /// A 2:4 model whose tokens are bytes: `ticket.f16.safetensors` of the demo.
    model: PathBuf,
    /// The folder of the model's files.
    #[arg(long)]
    out: PathBuf,
    /// What the page offers to begin with.
    #[arg(long, default_value = crate::demo::PROMPT)]
    prompt: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let model = Compact::load(&args.model).into_diagnostic()?;
    export::export(&model, &args.prompt, &args.out).into_diagnostic()?;
    println!("{}", args.out.display());
    Ok(())
}
