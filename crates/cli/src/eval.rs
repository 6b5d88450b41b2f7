//! `quickpick eval`: perplexity, with the protocol stated.

use crate::demo::terminal::{bar, dim, fact};
use miette::{IntoDiagnostic, Result};
use quickpick_transformer::checkpoint::Model;
use quickpick_transformer::perplexity::{Estimate, Perplexity, Windows, perplexity};
use quickpick_transformer::{Config, Error, Tensor, Text};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How perplexity is measured; the same for every command that does.
#[derive(clap::Args, Clone, Debug)]
pub struct Protocol {
    /// Tokens of a window.
    #[arg(long, default_value_t = 512)]
    pub context: usize,
    /// Tokens from one window's start to the next's; as long as a window if not said.
    #[arg(long)]
    stride: Option<usize>,
    /// Most windows, spread evenly over the text.
    #[arg(long, default_value_t = 48)]
    windows: usize,
}

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file or a Hugging Face folder, of the Llama family.
    model: PathBuf,
    /// Plain text, which no model has been calibrated on; several are read one after the other.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    text: Vec<PathBuf>,
    /// Another model, compared window by window.
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    #[command(flatten)]
    protocol: Protocol,
    /// One JSON object for machines.
    #[arg(long)]
    json: bool,
}

/// A model's perplexity, as reports keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Perplexity with its 95 % interval.
    pub estimate: Estimate,
    /// What was measured, in words.
    pub protocol: String,
    /// Losses by window.
    pub measured: Perplexity,
}

impl Evaluated {
    /// `31.2 (29.9 to 32.6)`
    pub fn figure(&self) -> String {
        interval(&self.estimate)
    }

    /// `1.42× of it (1.40 to 1.44)`, paired over windows.
    pub fn against(&self, other: &Self) -> String {
        match self.measured.ratio(&other.measured) {
            Ok(ratio) => format!("{}× by windows in pairs", interval(&ratio)),
            Err(why) => why.to_string(),
        }
    }
}

/// A value and its interval, with as many digits as say something.
fn interval(e: &Estimate) -> String {
    let digits = match e.value {
        v if v < 10.0 => 3,
        v if v < 100.0 => 2,
        v if v < 1000.0 => 1,
        _ => 0,
    };
    format!("{:.digits$} ({:.digits$} to {:.digits$})", e.value, e.low, e.high)
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let evaluated = open(&args.model, &args.text, &args.protocol)?;
    let other = match &args.against {
        Some(other) => Some(open(other, &args.text, &args.protocol)?),
        None => None,
    };
    if args.json {
        let all = serde_json::json!({
            "model": args.model, "evaluated": evaluated, "against": args.against, "other": other,
            "ratio": other.as_ref().map(|o| evaluated.measured.ratio(&o.measured)).transpose()
                .into_diagnostic()?,
        });
        println!("{}", serde_json::to_string_pretty(&all).into_diagnostic()?);
        return Ok(());
    }
    println!();
    fact("model", &args.model.display().to_string());
    fact("protocol", &evaluated.protocol);
    fact("perplexity", &format!("{}, 95 % interval over windows", evaluated.figure()));
    if let Some(other) = &other {
        fact("other", &other.figure());
        fact("ratio", &evaluated.against(other));
    }
    println!("\n  {}\n", dim("Figures of another protocol are not to be compared with these."));
    Ok(())
}

fn open(path: &Path, text: &[PathBuf], protocol: &Protocol) -> Result<Evaluated> {
    let model = Model::open(path).into_diagnostic()?;
    let text = Text::read(text, model.tokenizer().into_diagnostic()?).into_diagnostic()?;
    evaluate(&model, &text, protocol, &path.display().to_string())
}

/// Measures a model, with a bar.
pub fn evaluate(model: &Model, text: &Text, protocol: &Protocol, name: &str) -> Result<Evaluated> {
    let config = model.architecture().decoder().into_diagnostic()?;
    let tensor = |name: &str| model.source().tensor(name);
    evaluate_tensors(config, &tensor, text, protocol, name)
}

/// Measures the model whose tensors `tensor` gives by name, with a bar.
pub fn evaluate_tensors(
    config: &Config,
    tensor: &dyn Fn(&str) -> std::result::Result<Tensor, Error>,
    text: &Text,
    protocol: &Protocol,
    name: &str,
) -> Result<Evaluated> {
    let windows = Windows {
        context: protocol.context,
        stride: protocol.stride.unwrap_or(protocol.context),
        most: protocol.windows,
    };
    let bar = bar("perplexity", 1);
    bar.set_message(name.to_owned());
    let measured = perplexity(config, tensor, text, windows, &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })
    .into_diagnostic()?;
    bar.finish_and_clear();
    let (estimate, protocol) = (measured.estimate(), measured.protocol.to_string());
    Ok(Evaluated { estimate, protocol, measured })
}
