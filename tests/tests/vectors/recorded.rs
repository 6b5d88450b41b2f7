//! What was recorded on hardware.

use crate::closed_form::ClosedForm;
use quickpick_tests::vectors::file::{self, EXTENSION};
use quickpick_tests::vectors::{Device, Emulated, Failure, File, codes, replay};
use std::path::{Path, PathBuf};

/// Forms whose metadata map the manual gives only as a figure, which no source that we could read
/// confirms: the closed form guesses it. Where hardware disagrees, that is news and no fault.
const UNCONFIRMED: [&str; 2] = ["mma_sp_m16n8k32_s8", "mma_sp_m16n8k8_tf32"];

/// Differences that are printed of one file.
const SHOWN: usize = 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// The files, in the order of their names.
fn files() -> Vec<(PathBuf, File)> {
    let Ok(entries) = std::fs::read_dir(folder()) else { return vec![] };
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == EXTENSION)).collect();
    paths.sort();
    let load = |path: PathBuf| {
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let file = file::read(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert_eq!(path, file::path(&folder(), file.form), "a file is named for its form");
        (path, file)
    };
    paths.into_iter().map(load).collect()
}

/// Holds every file against a device; says what was compared, what was skipped, what differs.
fn hold_against(device: &dyn Device, may_differ: &[&str]) {
    let files = files();
    if files.is_empty() {
        eprintln!("skipped: no vectors are recorded in tests/data yet; that needs a GPU");
        return;
    }
    let mut faults = Vec::new();
    for (path, file) in files {
        let (name, by) = (file.form.name, device.name());
        match replay(&file, device) {
            Ok(list) if list.is_empty() => eprintln!("{name}: {} and {by} agree", file.device),
            Ok(list) => {
                let mut lines: Vec<String> =
                    list.iter().take(SHOWN).map(ToString::to_string).collect();
                let more = list.len().saturating_sub(SHOWN);
                lines.push(format!("{}: {more} more words differ", path.display()));
                if may_differ.contains(&name) {
                    eprintln!("{name}: its map was not confirmed, and {by} guessed it otherwise:");
                    eprintln!("{}", lines.join("\n"));
                } else {
                    faults.extend(lines);
                }
            }
            Err(Failure::Unsupported(why)) => eprintln!("skipped: {name}: {why}"),
            Err(Failure::Failed(why)) => faults.push(format!("{}: {why}", path.display())),
        }
    }
    assert!(faults.is_empty(), "{} does not agree:\n{}", device.name(), faults.join("\n"));
}

#[test]
fn the_emulator_gives_what_hardware_gave() {
    hold_against(&Emulated, &[]);
}

#[test]
fn the_closed_form_gives_what_hardware_gave() {
    hold_against(&ClosedForm, &UNCONFIRMED);
}

/// Undefined codes are compared with nothing: each device may do as it likes. They are shown.
#[test]
fn what_hardware_does_with_every_code_is_shown() {
    for (_, file) in files() {
        for line in codes(&file).into_iter().flatten() {
            eprintln!("{}: {line}", file.form.name);
        }
    }
}
