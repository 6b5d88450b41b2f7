//! `quickpick generate`: text from a checkpoint, on a backend.

use crate::demo::terminal::{dim, fact};
use miette::{IntoDiagnostic, Result, miette};
use quickpick::{Backend, Kind, Visitor};
use quickpick_transformer::checkpoint::Model;
use quickpick_transformer::{
    Compact, Decoder, Error, Generated, Sampler, Stored, Tokenizer, generate_while,
};
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;

/// What to write.
#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file or a Hugging Face folder, dense or in a 2:4 form, of the Llama family.
    model: PathBuf,
    /// What the text begins with. Nothing is put around it: for a chat, spell its tokens out.
    #[arg(long)]
    prompt: String,
    /// Most tokens to write.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// 0: always the likeliest token.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Seed of the draws at a temperature above 0.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// auto, cpu, wgpu or cuda. auto: CUDA, else a GPU through wgpu, else the CPU.
    #[arg(long, default_value = "auto")]
    backend: Kind,
    /// Most tokens of prompt and text, for which the caches are laid out; the model's own if those are fewer.
    #[arg(long, default_value_t = 1024)]
    max_seq: usize,
    /// One JSON object for machines, at the end.
    #[arg(long)]
    json: bool,
}

/// The most of a layer's weights that may lie beyond 2:4 for it to be compressed, those kept beside: Weight
/// Recover Prune adds 0.1 to 5 %, and a recovered weight takes twice a dense one's bytes.
const RECOVERED: f64 = 0.1;

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let sampler = Sampler::new(args.temperature, args.seed).into_diagnostic()?;
    let opened = quickpick::open(args.backend).into_diagnostic()?;
    let model = Model::open(&args.model).into_diagnostic()?;
    let config = model.architecture().decoder().into_diagnostic()?;
    let tokenizer = model.tokenizer().into_diagnostic()?;
    let prompt = tokenizer.encode(&args.prompt).into_diagnostic()?;
    let max_seq = args.max_seq.min(config.max_seq);
    // the last token is written, but not fed
    let longest = prompt.len() + args.tokens.saturating_sub(1);
    if prompt.is_empty() || longest > max_seq {
        return Err(miette!(
            help = "the prompt must have a token; --max-seq lays out more, up to the model's own",
            "a prompt of {} tokens and {} new ones do not fit into sequences of {max_seq}",
            prompt.len(),
            args.tokens
        ));
    }
    let ends = model.end_tokens().into_diagnostic()?;
    let compact = Compact::from_tensors(*config, RECOVERED, |name| model.source().tensor(name))
        .and_then(|compact| compact.with_max_seq(max_seq))
        .into_diagnostic()?;
    let weights = Weights::of(&compact).into_diagnostic()?;
    if !args.json {
        println!();
        fact("model", &args.model.display().to_string());
        fact("backend", &opened.device.describe());
        println!();
    }
    let stream = (!args.json).then(|| Stream::new(tokenizer, &prompt)).transpose();
    let stream = stream.into_diagnostic()?;
    let count = args.tokens;
    let task = Task { model: &compact, prompt: &prompt, count, sampler, ends: &ends, stream };
    let (written, kernels) = opened.device.visit(task).into_diagnostic()?;
    let end = written.tokens.last().filter(|token| ends.contains(token));
    let text = match end {
        Some(_) => &written.tokens[..written.tokens.len() - 1],
        None => &written.tokens,
    };
    let end = end.map(|&id| tokenizer.token(id).unwrap_or_else(|| id.to_string()));
    let (prefill, decode) = speeds(&written, prompt.len());
    if args.json {
        let all = json!({
            "model": args.model, "backend": opened.device.name(), "device": opened.device.describe(),
            "prompt": args.prompt, "text": tokenizer.decode(text).into_diagnostic()?,
            "prompt_tokens": prompt, "tokens": written.tokens, "ended_by": end,
            "prefill_tokens_per_second": prefill, "decode_tokens_per_second": decode,
            "weight_bytes": weights.bytes, "linear_layers": weights.linear,
            "sparse_layers": weights.sparse, "kernels": kernels,
        });
        println!("{}", serde_json::to_string_pretty(&all).into_diagnostic()?);
        return Ok(());
    }
    let stopped = match end {
        Some(end) => format!("the text ended itself with {end}"),
        None => format!("stopped after {} tokens", written.tokens.len()),
    };
    let speed = |speed: Option<f64>| speed.map_or("–".into(), |s| format!("{s:.1} tokens/s"));
    let line = format!(
        "prefill {} of {}, decode {} of {}; {:.1} MB of weights, {} of {} matrices 2:4; {} kernels; {stopped}",
        speed(prefill),
        prompt.len(),
        speed(decode),
        written.decoded,
        weights.bytes as f64 / 1e6,
        weights.sparse,
        weights.linear,
        kernels.len()
    );
    println!("\n\n  {}\n", dim(&line));
    Ok(())
}

/// Tokens per second that prefill and decode took; none for what did not happen.
fn speeds(written: &Generated, prompt: usize) -> (Option<f64>, Option<f64>) {
    let speed = |n: usize, seconds: f64| (n > 0 && seconds > 0.0).then(|| n as f64 / seconds);
    let prefill = speed(prompt, written.prefill_seconds);
    (prefill, speed(written.decoded, written.decode_seconds))
}

/// What the decoder holds.
struct Weights {
    bytes: usize,
    /// Matrices but the embedding.
    linear: usize,
    /// Of them, the compressed ones.
    sparse: usize,
}

impl Weights {
    fn of(model: &Compact) -> std::result::Result<Self, Error> {
        let mut sum = Self { bytes: model.bytes(), linear: 0, sparse: 0 };
        for slot in model.config().slots() {
            sum.linear += usize::from(slot.kind == quickpick_transformer::Kind::Linear);
            sum.sparse += usize::from(!matches!(model.tensor(&slot.name)?, Stored::Dense(_)));
        }
        Ok(sum)
    }
}

/// The text, on a backend; returns what was written and the names of the kernels that ran.
struct Task<'a> {
    model: &'a Compact,
    prompt: &'a [u32],
    count: usize,
    sampler: Sampler,
    ends: &'a [u32],
    stream: Option<Stream<'a>>,
}

impl Visitor for Task<'_> {
    type Output = std::result::Result<(Generated, Vec<String>), Error>;

    fn visit<B: Backend>(mut self, backend: &B) -> Self::Output {
        let mut decoder = Decoder::new(backend, self.model)?;
        let (ends, stream) = (self.ends, &mut self.stream);
        let goes_on = |tokens: &[u32]| {
            let ended = tokens.last().is_some_and(|token| ends.contains(token));
            if let (false, Some(stream)) = (ended, stream.as_mut()) {
                print!("{}", stream.more(tokens)?);
            }
            // a terminal that is gone is no fault of the text
            let _ = std::io::stdout().flush();
            Ok(!ended)
        };
        let sampler = &mut self.sampler;
        let written = generate_while(&mut decoder, self.prompt, self.count, sampler, goes_on)?;
        if let Some(stream) = &self.stream {
            print!("{}", stream.rest());
        }
        let kernels = decoder.kernels().map(str::to_owned).collect();
        Ok((written, kernels))
    }
}

/// Text as it grows: a token may end within a character, and may change how those before it are spelled.
struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    prompt: &'a [u32],
    text: String,
    /// Bytes of `text` that are out.
    shown: usize,
}

impl<'a> Stream<'a> {
    fn new(tokenizer: &'a Tokenizer, prompt: &'a [u32]) -> std::result::Result<Self, Error> {
        let mut stream = Self { tokenizer, prompt, text: String::new(), shown: 0 };
        print!("{}", stream.more(&[])?);
        Ok(stream)
    }

    /// What can be shown, now that these are the new tokens: all but an unfinished character.
    fn more(&mut self, tokens: &[u32]) -> std::result::Result<String, Error> {
        self.text = self.tokenizer.decode(&[self.prompt, tokens].concat())?;
        let whole = self.text.trim_end_matches('\u{fffd}').len();
        let new = printable(self.text.get(self.shown..whole).unwrap_or_default());
        self.shown = self.shown.max(whole);
        Ok(new)
    }

    /// What was held back, once nothing more comes.
    fn rest(&self) -> String {
        printable(self.text.get(self.shown..).unwrap_or_default())
    }
}

/// What a terminal would act on, but for line breaks and tabs, made visible.
fn printable(text: &str) -> String {
    let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars().map(|c| if acts(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token a byte; printable ASCII stands for itself, so only these letters are named by hand.
    fn bytes() -> Tokenizer {
        let mut vocab: serde_json::Map<_, _> =
            (33..=126u8).map(|b| (char::from(b).to_string(), json!(b))).collect();
        // é is C3 A9, which GPT-2's alphabet spells as these characters
        vocab.insert("Ã".into(), json!(0));
        vocab.insert("©".into(), json!(1));
        let level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        });
        let json = json!({
            "version": "1.0", "added_tokens": [], "pre_tokenizer": level, "decoder": level,
            "model": { "type": "BPE", "vocab": vocab, "merges": [] }
        });
        Tokenizer::from_json(json.to_string()).unwrap()
    }

    #[test]
    fn characters_come_whole() {
        let tokenizer = bytes();
        let prompt = tokenizer.encode("ab").unwrap();
        let mut stream = Stream::new(&tokenizer, &prompt).unwrap();
        let tokens = [u32::from(b'c'), 0, 1, u32::from(b'd'), 0];
        let parts: Vec<String> = (1..=5).map(|n| stream.more(&tokens[..n]).unwrap()).collect();
        assert_eq!(parts, ["c", "", "é", "d", ""]);
        assert_eq!(stream.rest(), "\u{fffd}");
        assert_eq!(printable("a\n\u{1b}[2J"), "a\n\u{fffd}[2J");
    }
}
