//! What the tests across crates share: problems with data, oracles for them, and the one check that
//! judges every backend.
#![deny(unsafe_code)] // `vectors/cuda.rs` launches kernels, and allows it for itself

pub mod chromium;
pub mod emulated;
pub mod foreign;
pub mod mutants;
pub mod nvcc;
pub mod parts;
pub mod stand_in;
mod temp_dir;
pub mod trials;
pub mod twin;
pub mod vectors;

// questions and their judge are a crate of their own, for engines that embed the kernels
pub use quickpick_parity::{Case, Expected, Fill, Operand, case, check, data, packing, shapes};

pub use temp_dir::TempDir;

use std::io::Write;

/// Whether `QUICKPICK_REQUIRE`, a comma list, names this rung or `all`: then a test that cannot run
/// fails.
pub fn required(rung: &str) -> bool {
    let list = std::env::var("QUICKPICK_REQUIRE").unwrap_or_default();
    list.split(',').any(|name| name.trim() == rung || name.trim() == "all")
}

/// Reports a skip loudly, or panics where the rung is required.
pub fn skip(rung: &str, why: impl std::fmt::Display) {
    assert!(!required(rung), "QUICKPICK_REQUIRE demands {rung}, but {why}");
    eprintln!("skipped: {rung}: {why}");
    // `cargo xtask test` reads what was skipped, and why
    if let Some(log) = std::env::var_os("QUICKPICK_SKIP_LOG") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let written = file.and_then(|mut file| writeln!(file, "{rung}: {why}"));
        assert!(written.is_ok(), "QUICKPICK_SKIP_LOG cannot be written: {written:?}");
    }
}
