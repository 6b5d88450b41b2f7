//! Pipelines on disk: what one process leaves helps the next, and nothing that lies there does harm.

use super::super::{Found, Wgpu, api};
use crate::backend::Backend;
use crate::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// An empty folder of this test's own, and a device that can keep pipelines.
fn begin(name: &str) -> Option<(Wgpu, PathBuf)> {
    let wgpu = super::open()?;
    if !wgpu.device().features().contains(api::Features::PIPELINE_CACHE) {
        eprintln!("skipped: {} keeps no pipelines", wgpu.describe());
        return None;
    }
    let folder = std::env::temp_dir().join(format!("quickpick-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder); // of an earlier process of this number
    Some((wgpu, folder))
}

fn compile(wgpu: &Wgpu) {
    let plan = super::plan(wgpu, 1);
    wgpu.adopt(&plan, super::MULTIPLY).unwrap();
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.next().unwrap();
    assert_eq!(files.next(), None, "one file, and nothing beside it");
    file
}

#[test]
fn the_next_process_finds_what_was_compiled() {
    let Some((wgpu, folder)) = begin("kept") else { return };
    assert_eq!(wgpu.save_pipelines().unwrap(), 0, "nobody asked for a folder");
    assert_eq!(wgpu.load_pipelines(&folder).unwrap(), Found::Nothing);
    assert_eq!(wgpu.save_pipelines().unwrap(), 0, "nothing was compiled");
    assert!(!folder.exists());
    compile(&wgpu);
    let bytes = wgpu.save_pipelines().unwrap();
    assert_eq!(fs::metadata(only_file(&folder)).unwrap().len(), bytes as u64);
    assert_eq!(wgpu.save_pipelines().unwrap(), 0, "it is there already");
    let next = super::open().unwrap();
    assert_eq!(next.load_pipelines(&folder).unwrap(), Found::Bytes(bytes - 16));
    compile(&next);
    assert!(next.save_pipelines().unwrap() > 0);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_damaged_is_passed_over_and_replaced() {
    let Some((wgpu, folder)) = begin("damaged") else { return };
    wgpu.load_pipelines(&folder).unwrap();
    compile(&wgpu);
    wgpu.save_pipelines().unwrap();
    let file = only_file(&folder);
    let good = fs::read(&file).unwrap();
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    // a body that is whole, and no words of the driver's
    let foreign = super::super::pipelines::sealed(b"another driver's");
    for (bytes, words) in [
        (&b""[..], "its 0 bytes do not begin as a file of pipelines does"),
        (b"something else, by another program", "do not begin as"),
        (&good[..15], "its 15 bytes do not begin as"),
        (&good[..good.len() - 1], "are not those that were written"),
        (&changed, "are not those that were written"),
        (&foreign, "pipeline cache"),
    ] {
        fs::write(&file, bytes).unwrap();
        let next = super::open().unwrap();
        let found = next.load_pipelines(&folder).unwrap();
        let Found::Useless { path, why } = &found else { panic!("{found:?}") };
        assert_eq!(path, &file);
        assert!(why.contains(words), "{why} should contain {words:?}");
        compile(&next);
        next.save_pipelines().unwrap();
        let after = super::open().unwrap().load_pipelines(&folder).unwrap();
        assert!(matches!(after, Found::Bytes(_)), "{after:?}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_that_is_none_is_an_error_with_its_path_and_kernels_still_compile() {
    let Some((wgpu, file)) = begin("no-folder") else { return };
    fs::write(&file, "a file where a folder should be").unwrap();
    let why = wgpu.load_pipelines(&file).unwrap_err();
    assert!(matches!(&why, Error::File { path, .. } if path.starts_with(&file)), "{why}");
    assert!(why.to_string().starts_with(&file.display().to_string()), "{why}");
    compile(&wgpu);
    fs::remove_file(&file).unwrap();
    // it was not there, and cannot be made
    let wgpu = super::open().unwrap();
    wgpu.load_pipelines(&file.join("below")).unwrap();
    compile(&wgpu);
    fs::write(&file, "now it is a file").unwrap();
    let why = wgpu.save_pipelines().unwrap_err();
    assert!(matches!(&why, Error::File { path, .. } if path.starts_with(&file)), "{why}");
    fs::remove_file(&file).unwrap();
    assert!(wgpu.save_pipelines().unwrap() > 0, "what was not saved is saved later");
    fs::remove_dir_all(&file).unwrap();
}

#[test]
fn a_device_that_keeps_none_says_so() {
    let Some(_) = super::open() else { return };
    let wanted = std::env::var(super::super::ADAPTER_VARIABLE).ok();
    let adapter = super::super::choose(wanted.as_deref(), true).unwrap();
    let (device, queue) = adapter.bare();
    let wgpu = Wgpu::from_device(device, queue).unwrap();
    let why = wgpu.load_pipelines(&std::env::temp_dir()).unwrap_err();
    assert!(matches!(why, Error::Unavailable { .. }), "{why}");
    assert!(why.to_string().contains("keeps no pipelines"), "{why}");
    assert_eq!(wgpu.save_pipelines().unwrap(), 0);
}
