//! Every PTX kernel in the emulator, against the f64 oracle within its bound: the committed text, the
//! cases of `suite.rs`, asynchronous work and blocks as early, as late and as random as they may be.

use libtest_mimic::Arguments;
use quickpick::kernels::Target;
use quickpick_emulator::Schedule;
use quickpick_tests::{emulated::Emulated, trials::on};
use std::process::ExitCode;
use std::sync::Arc;

const SCHEDULES: [(&str, Schedule); 5] = [
    ("early", Schedule::Early),
    ("late", Schedule::Late),
    ("random-1", Schedule::Random(1)),
    ("random-2", Schedule::Random(2)),
    ("random-3", Schedule::Random(3)),
];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (name, schedule) in SCHEDULES {
        let emulated = Arc::new(Emulated::new(schedule));
        trials.extend(on(name, emulated, |spec| spec.target == Target::Sm80));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
