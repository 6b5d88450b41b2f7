//! `cargo xtask page`: the browser's page, with a model, in one folder.

use crate::error::{Error, Result, failed};
use crate::programs;
use crate::run::quickpick;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Copies the page's files into a folder, and has `quickpick export` write the model's below,
/// and the parity program what the page can ask its GPU.
pub fn run(root: &Path, out: &Path, ticket: Option<&Path>) -> Result<()> {
    let ticket = match ticket {
        Some(file) => absolute(file)?,
        None => latest(&root.join("target/demo"))?,
    };
    let out = absolute(out)?;
    fs::create_dir_all(&out).map_err(Error::file(&out))?;
    let web = root.join("web");
    for entry in fs::read_dir(&web).map_err(Error::file(&web))? {
        let file = entry.map_err(Error::file(&web))?;
        fs::copy(file.path(), out.join(file.file_name())).map_err(Error::file(&file.path()))?;
    }
    let args: [OsString; 3] = [ticket.clone().into(), "--out".into(), out.join("model").into()];
    quickpick(root, "export", &args)?;
    let questions: [OsString; 2] = ["--questions".into(), out.clone().into()];
    programs::run(root, "parity", &questions, &[])?;
    println!("the page with {}: serve it with any static server, say", ticket.display());
    println!("  python3 -m http.server --bind 127.0.0.1 --directory {}", out.display());
    Ok(())
}

/// A file as seen from where the caller is; cargo runs in the root.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::file(path))
}

/// The newest ticket below the demo's folder.
fn latest(demo: &Path) -> Result<PathBuf> {
    let runs = fs::read_dir(demo).into_iter().flatten().flatten();
    let tickets = runs.map(|run| run.path().join("ticket.f16.safetensors"));
    let dated = tickets.filter_map(|file| Some((fs::metadata(&file).ok()?.modified().ok()?, file)));
    match dated.max_by_key(|(date, _): &(SystemTime, PathBuf)| *date) {
        Some((_, file)) => Ok(file),
        None => failed(format!(
            "there is no ticket below {}: run `cargo xtask demo` first, or give one with --ticket",
            demo.display()
        )),
    }
}
