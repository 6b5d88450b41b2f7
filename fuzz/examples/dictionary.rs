//! Writes libFuzzer's dictionary, `ptx.dict`: the words of the instruction table's templates, and of
//! the directives around them.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example dictionary > fuzz/ptx.dict`

use quickpick_ptx::TABLE;
use std::collections::BTreeSet;

const AROUND: &[&str] = &[
    ".version ",
    ".target sm_",
    ".address_size 64",
    ".visible .entry ",
    ".param .",
    ".maxntid ",
    ".reqntid ",
    ".extern .shared ",
    ".shared ",
    ".align ",
    ".b8 ",
    ".reg .",
    ".pred ",
    "<8>",
    "%tid.x",
    "%ntid.x",
    "%ctaid.x",
    "%nctaid.x",
    "%laneid",
    "@%p1 ",
    "@!%p1 ",
    "$L",
    "0f3F800000",
    "0x7FFFFFFF",
    "4294967295",
    "-2147483648",
    "// ",
    "_",
];

fn main() {
    let mut words: BTreeSet<String> = AROUND.iter().map(|w| w.to_string()).collect();
    for row in TABLE {
        // operands stand in braces; what is between them are mnemonics and their modifiers
        for piece in row.template.split(['{', '}', ' ', ',', ';']).filter(|p| p.len() > 1) {
            words.insert(piece.to_string());
            words.extend(
                piece.split_inclusive('.').skip(1).map(|m| format!(".{}", m.trim_end_matches('.'))),
            );
        }
    }
    for word in words.iter().filter(|w| w.len() > 1) {
        println!("{word:?}");
    }
}
