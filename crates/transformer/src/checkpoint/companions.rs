//! What lies beside a checkpoint's tensors: configuration, tokenizer, README.

use crate::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// How the names of companions end. Weights in other formats, which may be large and would not
/// belong to the new ones, are left behind.
const ENDINGS: [&str; 9] =
    ["json", "txt", "md", "model", "jinja", "tiktoken", "bpe", "vocab", "py"];
/// Whole names of companions, with any ending.
const NAMES: [&str; 4] = ["README", "LICENSE", "LICENCE", "NOTICE"];

/// The files of a folder that a new checkpoint made from it should have too, as paths relative to it:
/// those of the folder and of its subfolders (sentence-transformers keeps its pooling in one), sorted.
/// Hidden files, weights and their indices are none. Errors: what the system refuses.
pub fn companions(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for (path, is_folder) in list(folder)? {
        match is_folder {
            false => found.extend(kept(folder, &path)),
            true => {
                let below = list(&path)?.into_iter().filter(|(_, is_folder)| !is_folder);
                found.extend(below.filter_map(|(path, _)| kept(folder, &path)));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Everything in a folder, and whether it is one itself. Links to files count as files, for the Hugging
/// Face cache consists of such; links to folders are not followed, for they may lead in circles.
fn list(folder: &Path) -> Result<Vec<(PathBuf, bool)>, Error> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io(&path))?;
        if kind.is_dir() || path.is_file() {
            all.push((path, kind.is_dir()));
        }
    }
    Ok(all)
}

fn kept(folder: &Path, path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let stem = name.split('.').next()?;
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let wanted = NAMES.contains(&stem) || ENDINGS.contains(&ending);
    (wanted && !name.starts_with('.') && !name.ends_with(".index.json"))
        .then(|| path.strip_prefix(folder).ok().map(Path::to_owned))?
}
