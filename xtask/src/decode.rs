//! The README's table of whole decoders, from `decode.csv` of the newest records.

use serde::Deserialize;
use std::fmt::Write;

/// A row of `decode.csv`, as the kit writes it (benches/src/stage/decode.rs).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Decoded {
    pub backend: String,
    model: String,
    weights: String,
    bytes: u64,
    prompt: usize,
    tokens: usize,
    rate: f64,
    us: f64,
    linear_us: f64,
    attention_us: f64,
    norm_us: f64,
    rotary_us: f64,
    swiglu_us: f64,
    ends_us: f64,
    rest_us: f64,
}

impl Decoded {
    /// Shares of a token's time.
    fn shares(&self) -> String {
        let Self {
            linear_us, attention_us, norm_us, rotary_us, swiglu_us, ends_us, rest_us, ..
        } = *self;
        let parts = [linear_us, attention_us, norm_us, rotary_us, swiglu_us, ends_us, rest_us];
        parts.map(|part| format!("{:.0} %", 100.0 * part / self.us)).join(" | ")
    }
}

/// The rows of one backend in one record: a line for each model, of the 2:4 form beside the dense one.
pub fn table(device: &str, record: &str, rows: &[&Decoded]) -> String {
    let mut out = format!("{device}. Record `{record}`.\n\n");
    out.push_str(
        "| model | tokens | 2:4 tokens/s | dense tokens/s | 2:4 ÷ dense | bytes dense ÷ 2:4 | linear | attention \
         | norm | rotary | SwiGLU | ends | rest |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for sparse in rows.iter().filter(|row| row.weights == "2:4") {
        let same = |row: &&&Decoded| row.weights == "dense" && row.model == sparse.model;
        let Some(dense) = rows.iter().find(same) else { continue };
        // writing to a String cannot fail
        let _ = writeln!(
            out,
            "| {} | {} to {} | {:.1} | {:.1} | {:.2}× | {:.2}× | {} |",
            sparse.model,
            sparse.prompt,
            sparse.prompt + sparse.tokens,
            sparse.rate,
            dense.rate,
            sparse.rate / dense.rate,
            dense.bytes as f64 / sparse.bytes as f64,
            sparse.shares()
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_model_in_both_forms() {
        let row = |model: &str, weights: &str, rate, bytes| Decoded {
            model: model.into(),
            weights: weights.into(),
            bytes,
            prompt: 3,
            tokens: 4,
            rate,
            us: 200.0,
            linear_us: 150.0,
            rest_us: -10.0,
            ..Decoded::default()
        };
        let rows =
            [row("a", "2:4", 30.0, 900), row("a", "dense", 20.0, 1600), row("b", "2:4", 1.0, 1)];
        let text = table("A CPU", "r", &rows.each_ref());
        let line = "| a | 3 to 7 | 30.0 | 20.0 | 1.50× | 1.78× | 75 % | 0 % | 0 % | 0 % | 0 % | 0 % | -5 % |";
        assert!(text.starts_with("A CPU. Record `r`.\n") && text.contains(line), "{text}");
        assert!(!text.contains("| b |"), "one without a twin has no ratio: {text}");
    }
}
