//! `cargo xtask bundle`: the GPU kit, one folder that needs no Rust, no network and no installation.

use crate::error::{Error, Result, failed};
use crate::run::{cargo, revision};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a lent GPU host takes, the tracked tree and the kit together.
const MOST_BYTES: u64 = 64 << 20;
/// Debian 12's; the programs may not need a newer one.
const GLIBC: (u32, u32) = (2, 36);
const PROGRAMS: [&str; 2] = ["kit", "quickpick"];

/// Builds the programs and lays the folder out at `out`, whole or not at all.
pub fn run(root: &Path, out: &Path) -> Result<()> {
    check_out(out)?;
    let built = cargo(root)
        .args(["build", "--release", "--workspace", "--bins"])
        .status()
        .map_err(Error::file("cargo".as_ref()))?;
    if !built.success() {
        return failed(format!("cargo build: {built}"));
    }
    let partial = out.with_extension("partial");
    remove(&partial)?;
    for name in PROGRAMS {
        let to = partial.join("bin").join(name);
        copy(&root.join("target/release").join(name), &to)?;
        strip(&to)?;
        check_glibc(&to)?;
    }
    for file in ["run.sh", "peers.py"] {
        copy(&root.join("benches/kit").join(file), &partial.join(file))?;
    }
    // the programs hold every kernel's text: a quarter of their bytes packed. run.sh unpacks them
    pack(&partial, &["bin"], &partial.join("bin.tar.gz"))?;
    remove(&partial.join("bin"))?;
    pack(root, &["ptx", "shaders"], &partial.join("sources.tar.gz"))?;
    // what the demo trains on there: there are no dependencies' sources
    copy_all(&root.join("codegen/src"), &partial.join("corpus"))?;
    let revision = revision(root)?;
    let file = partial.join("revision");
    fs::write(&file, format!("{revision}\n")).map_err(Error::file(&file))?;
    let (bytes, tree) = (size(&partial)?, tracked(root)?);
    let left = MOST_BYTES.checked_sub(bytes + tree).ok_or_else(|| {
        Error::Failed(format!(
            "the kit has {bytes} bytes, the tracked tree {tree}; {MOST_BYTES} are the most for both"
        ))
    })?;
    remove(out)?;
    fs::rename(&partial, out).map_err(Error::file(out))?;
    let [kit, tree, left] = [bytes, tree, left].map(|bytes| bytes as f64 / 1e6);
    println!("{}: {kit:.1} MB, revision {revision}", out.display());
    println!("beside the tracked tree's {tree:.1} MB, a lent GPU host takes {left:.1} MB more");
    println!("on a GPU host: ./run.sh all; then unpack its record below benches/record here");
    Ok(())
}

/// Only an earlier kit is replaced, and none that holds records.
fn check_out(out: &Path) -> Result<()> {
    let shown = out.display();
    if out.exists() && !(out.join("run.sh").exists() && out.join("revision").exists()) {
        return failed(format!("{shown} exists and is no kit; give another folder with --out"));
    }
    if out.join("record").exists() {
        return failed(format!("{shown}/record holds records: move them away first"));
    }
    Ok(())
}

/// binutils' own: Rust links through it, so that it is there wherever this was built.
fn strip(program: &Path) -> Result<()> {
    match Command::new("strip").arg(program).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed(format!("strip {}: {status}", program.display())),
        Err(why) => failed(format!("strip (of binutils) does not start: {why}")),
    }
}

/// Packs folders of `root`: texts, and programs, which hold them all, are several times smaller so.
fn pack(root: &Path, folders: &[&str], to: &Path) -> Result<()> {
    // a relative `to` is one of this process's folder
    match Command::new("tar").arg("czf").arg(to).arg("-C").arg(root).args(folders).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed(format!("tar czf {}: {status}", to.display())),
        Err(why) => failed(format!("tar does not start: {why}")),
    }
}

/// The symbol versions that a program asks of the C library are words in its file: `GLIBC_2.34`.
fn check_glibc(program: &Path) -> Result<()> {
    let bytes = fs::read(program).map_err(Error::file(program))?;
    match newest_glibc(&bytes) {
        Some(version) if version > GLIBC => failed(format!(
            "{} needs glibc {}.{}, and the kit promises {}.{}: build it on Debian 12",
            program.display(),
            version.0,
            version.1,
            GLIBC.0,
            GLIBC.1
        )),
        _ => Ok(()),
    }
}

fn newest_glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    const WORD: &[u8] = b"GLIBC_";
    let versions = bytes.windows(WORD.len()).enumerate().filter(|(_, w)| *w == WORD);
    let parsed = versions.filter_map(|(at, _)| {
        let rest = bytes[at + WORD.len()..].split(|b| *b == 0).next()?;
        let (major, minor) = std::str::from_utf8(rest).ok()?.split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    });
    parsed.max()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    fs::copy(from, to).map(drop).map_err(Error::file(from))
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for path in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() { copy_all(&path, &target)? } else { copy(&path, &target)? }
    }
    Ok(())
}

fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in entries(folder)? {
        bytes += match path.is_dir() {
            true => size(&path)?,
            false => fs::metadata(&path).map_err(Error::file(&path))?.len(),
        };
    }
    Ok(bytes)
}

/// Bytes of the files that git tracks, as they lie here.
fn tracked(root: &Path) -> Result<u64> {
    let listed = Command::new("git").current_dir(root).args(["ls-files", "-z"]).output();
    let listed = listed.map_err(Error::file("git".as_ref()))?;
    let names = String::from_utf8_lossy(&listed.stdout);
    let files = names.split('\0').filter(|name| !name.is_empty());
    // one that is deleted, but not yet for git, has none
    Ok(files.filter_map(|name| Some(fs::metadata(root.join(name)).ok()?.len())).sum())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::file(folder))?;
    let paths: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    paths.map_err(Error::file(folder))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::file(folder)(why)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_out, newest_glibc};
    use std::fs;

    #[test]
    fn only_a_kit_without_records_is_replaced() {
        let out = std::env::temp_dir().join(format!("quickpick-kit-{}", std::process::id()));
        assert!(check_out(&out).is_ok());
        fs::create_dir_all(&out).unwrap();
        assert!(check_out(&out).unwrap_err().to_string().contains("is no kit"));
        for file in ["run.sh", "revision"] {
            fs::write(out.join(file), "").unwrap();
        }
        assert!(check_out(&out).is_ok());
        fs::create_dir(out.join("record")).unwrap();
        assert!(check_out(&out).unwrap_err().to_string().contains("holds records"));
        fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let text = b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBCXX_3.4\0";
        assert_eq!(newest_glibc(text), Some((2, 34)));
        assert_eq!(newest_glibc(b"static"), None);
    }
}
