//! Choosing a backend at run time, and machines that lack one.

use quickpick::{Backend, Error, Kind, Visitor, open};
use std::process::Command;

/// Set in the process that has no Vulkan driver.
const CHILD: &str = "QUICKPICK_TEST_CHILD";

#[test]
fn kinds_are_read_as_they_are_written() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let why = "gpu".parse::<Kind>().unwrap_err().to_string();
    assert_eq!(why, "\"gpu\" is no backend; auto, cpu, wgpu and cuda are");
}

#[test]
fn a_backend_is_there_or_says_why_not() {
    for kind in [Kind::Cpu, Kind::Wgpu, Kind::Cuda] {
        match open(kind) {
            Ok(opened) => {
                assert_eq!(opened.device.name(), kind.name());
                assert!(opened.by_name && opened.passed_over.is_empty());
            }
            Err(Error::Unavailable { backend, why }) => {
                assert_eq!(backend, kind.name());
                assert!(!why.is_empty());
            }
            Err(other) => panic!("{kind}: {other}"),
        }
    }
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
#[test]
fn a_backend_that_was_not_built_names_its_feature() {
    let kind = if cfg!(feature = "wgpu") { Kind::Cuda } else { Kind::Wgpu };
    let why = open(kind).unwrap_err().to_string();
    assert!(why.contains(&format!("without quickpick's feature \"{kind}\"")), "{why}");
}

#[cfg(feature = "cpu")]
#[test]
fn auto_tells_what_it_passed_over() {
    let opened = open(Kind::Auto).unwrap();
    let story = opened.to_string();
    let passed = match opened.device.name() {
        "cuda" => 0,
        "wgpu" => 1,
        _ => 2,
    };
    assert_eq!(opened.passed_over.len(), passed, "{story}");
    assert_eq!(story.matches("passed over: ").count(), passed, "{story}");
    assert!(story.contains("(chosen by auto)"), "{story}");
}

/// Writes a word and reads it back.
struct RoundTrip;

impl Visitor for RoundTrip {
    type Output = Vec<u8>;
    fn visit<B: Backend>(self, backend: &B) -> Vec<u8> {
        let buffer = backend.upload(&[1, 2, 3, 4]).unwrap();
        backend.read(&buffer, 0, 4).unwrap()
    }
}

#[test]
fn a_visitor_runs_on_whatever_is_there() {
    for kind in Kind::ALL {
        if let Ok(opened) = open(kind) {
            assert_eq!(opened.device.visit(RoundTrip), [1, 2, 3, 4], "{opened}");
        }
    }
}

/// Runs only in the process that `without_vulkan` starts.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for kind in Kind::ALL {
        match open(kind) {
            Ok(opened) => println!("{kind} -> {opened}"),
            Err(why) => println!("{kind} -> error: {why}"),
        }
    }
}

#[cfg(all(feature = "wgpu", feature = "cpu", target_os = "linux"))]
#[test]
fn without_vulkan() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["choosing::child", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .env_remove("QUICKPICK_ADAPTER")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let wgpu = "wgpu -> error: wgpu is not available: no adapter: no Vulkan, Metal or DX12 driver";
    assert!(said.contains(wgpu), "{said}");
    let no_cuda = said.contains("cuda -> error: cuda is not available: ");
    let auto = if no_cuda { "auto -> cpu: " } else { "auto -> cuda: " };
    assert!(said.contains(auto), "{said}");
}
