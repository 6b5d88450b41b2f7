//! Lines and blocks: what is needed to write WGSL, and no more.

use core::fmt::Display;

/// Text with an indentation.
#[derive(Default)]
pub(super) struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    /// One line.
    pub(super) fn line(&mut self, line: impl Display) {
        for _ in 0..self.depth {
            self.text.push_str("    ");
        }
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }

    /// A comment, line by line.
    pub(super) fn note(&mut self, note: impl Display) {
        for line in note.to_string().split('\n') {
            self.line(format!("// {line}").trim_end());
        }
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// `head {`, the indented body, `}`.
    pub(super) fn block(&mut self, head: impl Display, body: impl FnOnce(&mut Self)) {
        self.line(format!("{head} {{").trim_start());
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    /// The text so far.
    pub(super) fn finish(self) -> String {
        self.text
    }
}
