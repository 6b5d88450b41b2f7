//! D as short text: the elements that differ from a reference, in runs.
//!
//! ```text
//! 16:3,-7,x7fc00000     words 16, 17, 18
//! 16+4*3:5+2            words 16, 20, 24, which are 5, 7, 9
//! ```
//!
//! A number is an integer, of s32 or of an f32 that holds one; any other f32 is `x` and its bits.

use std::fmt::Write;

/// How the 32 bits of a word are a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// f32.
    F32,
    /// s32.
    S32,
}

impl Numbers {
    /// The integer that the word is, if it is one that gives the same word back.
    fn integer(self, word: u32) -> Option<i64> {
        let value = match self {
            Self::S32 => return Some(word as i32 as i64),
            Self::F32 => f32::from_bits(word),
        };
        // beyond 2^24 neighbours are no longer all integers' own; -0 is not 0
        let small = value.abs() < (1 << 24) as f32 && (value as i64 as f32).to_bits() == word;
        small.then_some(value as i64)
    }

    fn word(self, integer: i64) -> Option<u32> {
        let word = match self {
            Self::S32 => i32::try_from(integer).ok()? as u32,
            Self::F32 => (integer as f32).to_bits(),
        };
        (self.integer(word) == Some(integer)).then_some(word)
    }

    /// As a run writes it.
    pub fn show(self, word: u32) -> String {
        match self.integer(word) {
            Some(integer) => integer.to_string(),
            None => format!("x{word:08x}"),
        }
    }

    fn read(self, text: &str) -> Result<u32, String> {
        let word = match text.strip_prefix('x') {
            Some(bits) => u32::from_str_radix(bits, 16).ok(),
            None => text.parse().ok().and_then(|integer| self.word(integer)),
        };
        word.ok_or_else(|| format!("`{text}` is no number of D"))
    }
}

/// Fewest words that a progression is worth its notation for.
const LEAST: usize = 3;

/// Writes the words of `d` that differ from `reference`.
pub fn write(d: &[u32], reference: &[u32], numbers: Numbers) -> String {
    let differs = |i: &usize| d[*i] != reference[*i];
    let words: Vec<(usize, u32)> = (0..d.len()).filter(differs).map(|i| (i, d[i])).collect();
    let mut out = String::new();
    let mut i = 0;
    while i < words.len() {
        if i > 0 {
            out.push(' ');
        }
        let count = progression(&words[i..], numbers);
        let (at, first) = words[i];
        // writing to a String cannot fail
        let _ = write!(out, "{at}");
        if count >= LEAST {
            let (next, second) = words[i + 1];
            let _ = write!(out, "+{}*{count}:{}", next - at, numbers.show(first));
            if let (Some(a), Some(b)) = (numbers.integer(first), numbers.integer(second))
                && a != b
            {
                let _ = write!(out, "{:+}", b - a);
            }
            i += count;
            continue;
        }
        let _ = write!(out, ":{}", numbers.show(first));
        i += 1;
        while i < words.len()
            && words[i].0 == words[i - 1].0 + 1
            && progression(&words[i..], numbers) < LEAST
        {
            let _ = write!(out, ",{}", numbers.show(words[i].1));
            i += 1;
        }
    }
    out
}

/// How many words at the front are equally far apart, in place and in value.
fn progression(words: &[(usize, u32)], numbers: Numbers) -> usize {
    let [a, b, ..] = words else { return words.len() };
    let step = |x: &(usize, u32), y: &(usize, u32)| {
        let value = match (numbers.integer(x.1), numbers.integer(y.1)) {
            (Some(x), Some(y)) => Some(y - x),
            _ => (x.1 == y.1).then_some(0),
        };
        value.map(|value| (y.0 - x.0, value))
    };
    let Some(first) = step(a, b) else { return 1 };
    2 + words[1..].windows(2).take_while(|w| step(&w[0], &w[1]) == Some(first)).count()
}

/// Reads what [`write`] wrote.
pub fn read(text: &str, reference: &[u32], numbers: Numbers) -> Result<Vec<u32>, String> {
    let mut d = reference.to_vec();
    let mut put = |at: usize, word: u32| match d.get_mut(at) {
        Some(slot) => {
            *slot = word;
            Ok(())
        }
        None => Err(format!("word {at} of D, which has {}", reference.len())),
    };
    for run in text.split_whitespace() {
        let (place, values) =
            run.split_once(':').ok_or_else(|| format!("`{run}` lacks a colon"))?;
        let count =
            |text: &str| text.parse().map_err(|_| format!("`{text}` of `{run}` is no count"));
        let Some((start, steps)) = place.split_once('+') else {
            let start: usize = count(place)?;
            for (i, value) in values.split(',').enumerate() {
                put(start.saturating_add(i), numbers.read(value)?)?;
            }
            continue;
        };
        let (step, times) =
            steps.split_once('*').ok_or_else(|| format!("`{run}` lacks its count"))?;
        let (start, step, times): (usize, usize, usize) =
            (count(start)?, count(step)?, count(times)?);
        // the sign of the step stands after the first character
        let sign = values.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'));
        let (first, rise) = values.split_at(sign.map_or(values.len(), |(i, _)| i));
        let first = numbers.read(first)?;
        let rise: i64 = match rise {
            "" => 0,
            text => text.parse().map_err(|_| format!("`{text}` of `{run}` is no step"))?,
        };
        for i in 0..times.min(reference.len() + 1) {
            let word = match (rise, numbers.integer(first)) {
                (0, _) => Some(first),
                (_, None) => None,
                (_, Some(v)) => rise.checked_mul(i as i64).and_then(|r| numbers.word(v + r)),
            };
            let word = word.ok_or_else(|| format!("`{run}` leaves the integers of D"))?;
            put(start.saturating_add(step.saturating_mul(i)), word)?;
        }
    }
    Ok(d)
}

#[cfg(test)]
mod tests {
    use super::Numbers::{F32, S32};
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let ints = |v: &[i32]| v.iter().map(|v| *v as u32).collect::<Vec<_>>();
        let floats = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let cases = [
            (ints(&[0, 0, 5, 7, 9, 11, 0, 0, 3]), S32, "2+1*4:5+2 8:3"),
            (ints(&[1, -3, 8, 8, 8, 8]), S32, "0:1,-3 2+1*4:8"),
            (ints(&[9, 0, 6, 0, 3, 0, 0]), S32, "0+2*3:9-3"),
            (floats(&[1.0, 0.5, f32::NAN, -0.0]), F32, "0:1,x3f000000,x7fc00000,x80000000"),
            (floats(&[0.5, 0.5, 0.5, 0.0]), F32, "0+1*3:x3f000000"),
            (ints(&[0; 4]), F32, ""),
            (ints(&[i32::MIN, i32::MAX]), S32, "0:-2147483648,2147483647"),
        ];
        for (d, numbers, text) in cases {
            let zero = vec![0; d.len()];
            assert_eq!(write(&d, &zero, numbers), text);
            assert_eq!(read(text, &zero, numbers), Ok(d.clone()));
            // against another reference
            let other = vec![8; d.len()];
            assert_eq!(read(&write(&d, &other, numbers), &other, numbers), Ok(d));
        }
    }

    #[test]
    fn damage_is_named() {
        let said = |text: &str| read(text, &[0; 4], F32).unwrap_err();
        assert_eq!(said("1"), "`1` lacks a colon");
        assert_eq!(said("4:1"), "word 4 of D, which has 4");
        assert_eq!(said("0:one"), "`one` is no number of D");
        assert_eq!(said("0+1:1"), "`0+1:1` lacks its count");
        assert_eq!(said("0+1*9:1"), "word 4 of D, which has 4");
        assert_eq!(said("0+1*2:16777215+1"), "`0+1*2:16777215+1` leaves the integers of D");
    }
}
