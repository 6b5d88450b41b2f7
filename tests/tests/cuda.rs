//! Rung 8: every PTX kernel on the NVIDIA GPU of this machine, against the f64 oracle within its bound:
//! the cases of `suite.rs`. The GPU kit's stage `correct` runs them too, a process for each kernel.

use libtest_mimic::Arguments;
use quickpick::kernels::{Caps, Target};
use quickpick::{Backend, Cuda};
use quickpick_tests::{skip, trials::on};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    match Cuda::open() {
        Ok(cuda) => {
            eprintln!("cuda: {}", cuda.describe());
            let hopper = matches!(cuda.caps(), Caps::Cuda(caps) if caps.sm == 90);
            if !hopper {
                skip("cuda", "kernels for sm_90a: the device is not of compute capability 9.0");
            }
            trials.extend(on("cuda", Arc::new(cuda), |spec| match spec.target {
                Target::Sm90a => hopper,
                target => target.is_ptx(),
            }));
        }
        Err(why) => skip("cuda", why),
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
