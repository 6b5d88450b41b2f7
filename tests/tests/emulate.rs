//! Every PTX kernel in the emulator, against the f64 oracle within its bound: the committed text, the
//! cases of `suite.rs`, blocks first first and last first.

use libtest_mimic::Arguments;
use quickpick::kernels::Target;
use quickpick_tests::{emulated::Emulated, trials::on};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (name, reversed) in [("emulator", false), ("emulator-reversed", true)] {
        let emulated = Arc::new(Emulated::new(reversed));
        trials.extend(on(name, emulated, |spec| spec.target == Target::Sm80));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
