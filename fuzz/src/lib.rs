//! How the fuzz targets change a text: by lines and words of PTX, so that most of what they try still
//! parses, and now and then by bytes, as libFuzzer does.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::sync::LazyLock;

/// Lines that kernels may be made of: those of the seeds.
static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = files.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    texts.flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>()).collect()
});

/// Numbers at the ends of ranges, in the spellings of PTX.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "4",
    "7",
    "8",
    "15",
    "16",
    "31",
    "32",
    "33",
    "63",
    "64",
    "127",
    "128",
    "255",
    "256",
    "1024",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "0x80",
    "0f3F800000",
    "0f7F800000",
    "0fFFC00000",
];

/// The mutator of both targets: `data[..size]` becomes another input, whose length is returned.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut rng = SmallRng::seed_from_u64(seed.into());
    let text = std::str::from_utf8(&data[..size]).ok().filter(|t| t.contains('\n'));
    let changed = match text {
        Some(text) if rng.random_ratio(3, 4) => changed(text, &mut rng),
        _ => return libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    };
    if changed.len() > max_size {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    data[..changed.len()].copy_from_slice(changed.as_bytes());
    changed.len()
}

/// One to four changes of lines.
fn changed(text: &str, rng: &mut SmallRng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    // the body is what may change most; now and then the head does
    let open = lines.iter().position(|l| l.trim() == "{").map_or(0, |at| at + 1);
    for _ in 0..rng.random_range(1..=4) {
        let from = if rng.random_ratio(1, 16) { 0 } else { open.min(lines.len()) };
        if from == lines.len() {
            lines.push("}".into());
        }
        let at = rng.random_range(from..lines.len());
        match rng.random_range(0..8) {
            0 => drop(lines.remove(at)),
            1 => {
                let line = lines[rng.random_range(from..lines.len())].clone();
                lines.insert(at, line);
            }
            2 => {
                let other = rng.random_range(from..lines.len());
                lines.swap(at, other);
            }
            3 | 4 => {
                if let Some(line) = LINES.choose(rng) {
                    lines.insert(at, line.clone());
                }
            }
            5 => {
                let guard = ["@%p0 ", "@!%p1 ", "@%p2 ", ""][rng.random_range(0..4)];
                let line = lines[at].trim_start();
                let bare = line.split_once(' ').filter(|_| line.starts_with('@'));
                lines[at] = format!("    {guard}{}", bare.map_or(line, |(_, rest)| rest));
            }
            _ => lines[at] = another_word(&lines[at], rng),
        }
    }
    lines.join("\n") + "\n"
}

/// The line with one of its words replaced: a register by another of its class, a number by another,
/// a modifier by one of some other line.
fn another_word(line: &str, rng: &mut SmallRng) -> String {
    let words = words(line);
    let Some(&(start, end)) = words.choose(rng) else { return line.to_string() };
    let word = &line[start..end];
    let new = if let Some(class) = word.strip_prefix('%') {
        let class = class.trim_end_matches(|c: char| c.is_ascii_digit());
        format!("%{class}{}", rng.random_range(0..9))
    } else if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        NUMBERS[rng.random_range(0..NUMBERS.len())].to_string()
    } else {
        let other = LINES.choose(rng).map_or("", String::as_str);
        let same =
            |&&(s, _): &&(usize, usize)| other[s..].starts_with('.') == word.starts_with('.');
        let all = self::words(other);
        let some: Vec<_> = all.iter().filter(same).collect();
        some.choose(rng).map_or(word, |(s, e)| &other[*s..*e]).to_string()
    };
    format!("{}{new}{}", &line[..start], &line[end..])
}

/// Where the words of a line are: `ld`, `.global`, `%r1`, `-4`.
fn words(line: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
        let inside = c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '$';
        if let Some(from) = start
            && !inside
        {
            words.push((from, at));
            start = None;
        }
        if start.is_none() && (inside || matches!(c, '.' | '%' | '-')) {
            start = Some(at);
        }
    }
    words
}
