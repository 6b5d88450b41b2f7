//! Sentences of plain text, as an encoder takes them.

use crate::corpus::fnv1a;
use crate::text::read;
use crate::{Error, Tokenizer};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Fewer words are a heading or a cry.
const WORDS: usize = 4;

/// Different sentences, tokenised and framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentences {
    ids: Vec<Vec<u32>>,
    protocol: String,
}

impl Sentences {
    /// Of plain text files: `most` at most, spread evenly over them, each cut after `longest` tokens, its frame
    /// included.
    ///
    /// Errors: no path, a file that cannot be read or is no UTF-8, a file that is given twice, fewer than three
    /// sentences, a tokenizer that puts no frame around a text, a `longest` that holds no token besides.
    pub fn read(
        paths: &[PathBuf],
        tokenizer: &Tokenizer,
        most: usize,
        longest: usize,
    ) -> Result<Self, Error> {
        let (text, source) = read(paths)?;
        let [start, end] = tokenizer.frame()?;
        let all = split(&text);
        let count = all.len().min(most);
        let room = longest.saturating_sub(2);
        if count < 3 || room == 0 {
            return Err(Error::Corpus(format!(
                "{source}: {count} sentences of at most {longest} tokens; at least 3 of 3 are needed"
            )));
        }
        let mut ids = Vec::with_capacity(count);
        for i in 0..count {
            let tokens = tokenizer.encode(&all[i * all.len() / count])?;
            let inner = &tokens[..tokens.len().min(room)];
            ids.push([&[start], inner, &[end]].concat());
        }
        let protocol = format!(
            "{source} (text {:016x}, tokenizer {:016x}), {count} of its {} different sentences of at least {WORDS} \
             words spread evenly over it, cut after {longest} tokens; the mean of a sentence's last hidden states, \
             in f32",
            fnv1a(text.as_bytes()),
            tokenizer.digest(),
            all.len()
        );
        Ok(Self { ids, protocol })
    }

    /// Token ids of each.
    pub fn ids(&self) -> &[Vec<u32>] {
        &self.ids
    }

    /// What they are and what is made of them, exactly enough to be repeated.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }
}

/// The different sentences of a text in their order, white space made single spaces. One ends at `.`, `!` or `?`,
/// closing quotes and brackets counted in, and at an empty line; not after a title or an initial.
fn split(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    let mut words: Vec<&str> = Vec::new();
    let mut close = |words: &mut Vec<&str>| {
        let sentence = words.join(" ");
        if words.len() >= WORDS && seen.insert(sentence.clone()) {
            all.push(sentence);
        }
        words.clear();
    };
    for line in text.lines() {
        if line.trim().is_empty() {
            close(&mut words);
        }
        for word in line.split_whitespace() {
            words.push(word);
            if ends(word) {
                close(&mut words);
            }
        }
    }
    close(&mut words);
    all
}

/// Whether a sentence ends with this word.
fn ends(word: &str) -> bool {
    let word = word.trim_end_matches(['"', '\'', '”', '’', ')', ']', '_']);
    match word.strip_suffix('.') {
        // `Mr.`, `St.`, `J.`
        Some(stem) => stem.chars().count() > 3 || !stem.starts_with(char::is_uppercase),
        None => word.ends_with(['!', '?']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        let text = "CHAPTER I\n\nMr. J. Smith came\r\nin late. \"Who is it now?\" he asked of them. No!\n\
                    It is he\nwho came\n\nMr. J. Smith came in late. And then they all";
        let want = [
            "Mr. J. Smith came in late.",
            "\"Who is it now?\"",
            "he asked of them.",
            "It is he who came",
            "And then they all",
        ];
        assert_eq!(split(text), want);
    }
}
