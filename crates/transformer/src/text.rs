//! Token ids of plain text, for calibration and for perplexity.

use crate::corpus::{fnv1a, splitmix64};
use crate::{Error, Tokenizer};
use std::fs;
use std::path::PathBuf;

/// A text's tokens, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    tokens: Vec<u32>,
    source: String,
    digest: u64,
    tokenizer: u64,
}

impl Text {
    /// The tokens of a text in memory. `source`: what it is, for people.
    pub fn new(text: &str, source: &str, tokenizer: &Tokenizer) -> Result<Self, Error> {
        Ok(Self {
            tokens: tokenizer.encode(text)?,
            source: source.to_owned(),
            digest: fnv1a(text.as_bytes()),
            tokenizer: tokenizer.digest(),
        })
    }

    /// Plain text files, one after the other.
    ///
    /// Errors: no path, a file that cannot be read or is no UTF-8, a file that is given twice.
    pub fn read(paths: &[PathBuf], tokenizer: &Tokenizer) -> Result<Self, Error> {
        let (text, source) = read(paths)?;
        Self::new(&text, &source, tokenizer)
    }

    /// The token ids, in order.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What it is, for people.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Identifies the text: FNV-1a of its bytes.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Identifies the tokenizer: [`Tokenizer::digest`].
    pub fn tokenizer(&self) -> u64 {
        self.tokenizer
    }

    /// `count` sequences of `len` tokens, one after the other, for calibration: of the text's
    /// consecutive pieces of `len`, that many different ones in an order that `seed` chooses.
    ///
    /// Errors: the text has fewer pieces.
    pub fn sequences(&self, count: usize, len: usize, seed: u64) -> Result<Vec<u32>, Error> {
        let pieces = self.tokens.len().checked_div(len).unwrap_or(0);
        if count == 0 || pieces < count {
            let (source, tokens) = (&self.source, self.tokens.len());
            return Err(Error::Corpus(format!(
                "{source}: {count} sequences of {len} tokens from a text of {tokens}"
            )));
        }
        // Fisher and Yates's shuffle, as far as it is needed
        let mut order: Vec<usize> = (0..pieces).collect();
        let mut ids = Vec::with_capacity(count * len);
        for i in 0..count {
            let draw = splitmix64(splitmix64(seed) ^ i as u64) % (pieces - i) as u64;
            order.swap(i, i + draw as usize);
            ids.extend_from_slice(&self.tokens[order[i] * len..][..len]);
        }
        Ok(ids)
    }
}

/// What plain text files hold, one after the other, and their names. Errors: as [`Text::read`].
pub(crate) fn read(paths: &[PathBuf]) -> Result<(String, String), Error> {
    let mut text = String::new();
    let mut names = Vec::new();
    for path in paths {
        text += &fs::read_to_string(path).map_err(Error::io(path))?;
        let name = path.display().to_string();
        if names.contains(&name) {
            return Err(Error::Corpus(format!("{name} is given twice")));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err(Error::Corpus("there is no text file".into()));
    }
    Ok((text, names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tokens: usize) -> Text {
        let tokens = (0..tokens as u32).collect();
        Text { tokens, source: "counted".into(), digest: 0, tokenizer: 0 }
    }

    #[test]
    fn sequences_are_different_pieces_and_the_seeds_own() {
        let text = text(1003);
        let ids = text.sequences(100, 10, 7).unwrap();
        let mut starts: Vec<u32> = ids.chunks(10).map(|piece| piece[0]).collect();
        assert!(ids.chunks(10).all(|p| p.windows(2).all(|w| w[1] == w[0] + 1)));
        assert!(!starts.is_sorted());
        starts.sort_unstable();
        assert_eq!(starts, (0..100).map(|i| 10 * i).collect::<Vec<u32>>());
        assert_eq!(text.sequences(5, 10, 7).unwrap(), ids[..50]);
        assert_ne!(text.sequences(5, 10, 8).unwrap(), ids[..50]);
        let why = text.sequences(101, 10, 7).unwrap_err().to_string();
        assert!(why.contains("101 sequences of 10 tokens from a text of 1003"), "{why}");
        assert!(text.sequences(1, 0, 7).is_err() && text.sequences(0, 10, 7).is_err());
    }
}
