//! Calm lines on the terminal: a header, stages, progress, texts side by side.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Bold, where the terminal can.
pub fn bold(text: &str) -> String {
    styled("1", text)
}

/// Dim, where the terminal can.
pub fn dim(text: &str) -> String {
    styled("2", text)
}

/// Green, where the terminal can.
pub fn green(text: &str) -> String {
    styled("32", text)
}

fn styled(code: &str, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    if plain || !std::io::stdout().is_terminal() {
        text.to_owned()
    } else {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A fact of the header; further lines of `value` go under its first.
pub fn fact(name: &str, value: &str) {
    for (i, line) in value.lines().enumerate() {
        println!("  {} {line}", dim(&format!("{:<9}", if i == 0 { name } else { "" })));
    }
}

/// A finished stage, with the time since its start.
pub fn done(stage: &str, what: &str, start: Instant) {
    let time = dim(&format!("{:>12}", seconds(start.elapsed().as_secs_f64())));
    println!("  {} {stage:<14} {what:<58} {time}", green("✓"));
}

/// A bar for a stage of `length` steps.
pub fn bar(stage: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let template =
        "  {spinner:.cyan} {prefix:<14} {bar:32.cyan/dim} {pos:>4}/{len}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_prefix(stage.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// `1 min 12 s`, `48.3 s`.
pub fn seconds(t: f64) -> String {
    if t < 60.0 {
        format!("{t:.1} s")
    } else {
        format!("{} min {:02} s", t as u64 / 60, t as u64 % 60)
    }
}

/// Two texts beside each other, each wrapped to `width` columns.
pub fn side_by_side(left: (&str, &str), right: (&str, &str), width: usize) -> String {
    let (a, b) = (wrap(left.1, width), wrap(right.1, width));
    let pad =
        |text: &str| format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())));
    let mut out = format!("  {}   {}\n", bold(&pad(left.0)), bold(right.0));
    for i in 0..a.len().max(b.len()) {
        let line = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
        out += format!("  {} {} {}", pad(&line(&a)), dim("│"), line(&b)).trim_end();
        out.push('\n');
    }
    out
}

/// Lines of at most `width` characters; what a terminal would act on becomes visible instead.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let shown: Vec<char> = line
            .replace('\t', "    ")
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        match shown.len() {
            0 => lines.push(String::new()),
            _ => lines.extend(shown.chunks(width).map(|part| part.iter().collect())),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_their_width() {
        let text = side_by_side(("dense", "abcdefgh\n\tx"), ("ticket", "é\u{1b}[2J"), 6);
        let want = ["  dense    ticket", "  abcdef │ é\u{fffd}[2J", "  gh     │", "      x  │"];
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn times_read_well() {
        assert_eq!([seconds(3.12345), seconds(72.9)], ["3.1 s", "1 min 12 s"]);
    }
}
