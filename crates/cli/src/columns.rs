//! Aligned columns of text, and names of layers folded into one line.

use crate::demo::terminal::{bold, dim};

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a head, columns two spaces apart.
pub fn columns(head: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let chars = |text: &str| text.chars().count();
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|row| row.get(c)).map(|cell| chars(cell));
        cells.chain([chars(head[c].0)]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let mut out = String::new();
        for ((cell, &width), (_, side)) in cells.iter().zip(&widths).zip(head) {
            let pad = " ".repeat(width.saturating_sub(chars(cell)));
            out += &match side {
                Side::Left => format!("  {cell}{pad}"),
                Side::Right => format!("  {pad}{cell}"),
            };
        }
        out.trim_end().to_owned()
    };
    let names: Vec<&str> = head.iter().map(|(name, _)| *name).collect();
    let rule = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    let mut out = format!("{}\n  {}\n", bold(&line(&names)), dim(&"─".repeat(rule)));
    for row in rows {
        out += &line(&row.iter().map(String::as_str).collect::<Vec<_>>());
        out.push('\n');
    }
    out
}

/// A tensor's name with `*` for each number in it: equal for the same tensor of all layers.
pub fn folded(name: &str) -> String {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let part = |part| if number(part) { "*" } else { part };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// What a terminal would act on, made visible: names come from files of strangers.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows =
            [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "23456".to_owned()]];
        let text = columns(&[("name", Side::Left), ("n", Side::Right)], &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["  name      n", "  ───────────", "  a         1", "  bcd   23456"]);
    }

    #[test]
    fn layers_fold() {
        assert_eq!(
            folded("model.layers.12.mlp.up_proj.weight"),
            "model.layers.*.mlp.up_proj.weight"
        );
        assert_eq!(folded("h2.w"), "h2.w");
        assert_eq!(shown("a\u{1b}[2J"), "a\u{fffd}[2J");
    }
}
