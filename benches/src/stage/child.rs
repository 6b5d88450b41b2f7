//! A process for each kernel or form: a fault on a GPU spoils the context of the whole process, and what
//! hangs is killed without the others.

use crate::error::{Error, Result};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs this program again with other arguments; returns what it printed.
///
/// Errors: it does not start, ends badly, or takes longer than `patience`. Its output may be no larger
/// than a pipe holds (64 KiB on Linux): nobody reads before it ends.
pub fn run(args: &[&str], patience: Duration) -> Result<String> {
    let failed = |why: String| Error::Failed(why);
    let program = std::env::current_exe().map_err(|why| failed(why.to_string()))?;
    let mut child = Command::new(program)
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| failed(format!("its process does not start: {why}")))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|why| failed(why.to_string()))? {
            Some(status) => break status,
            None if start.elapsed() < patience => std::thread::sleep(Duration::from_millis(5)),
            None => {
                // it hangs; whether it dies of this shows in nothing that we could do about it
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("hangs: killed after {} s", patience.as_secs())));
            }
        }
    };
    let mut out = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut out).map_err(|why| failed(why.to_string()))?;
    }
    match status.success() {
        true => Ok(out),
        false => Err(failed(format!("its process ended with {status}"))),
    }
}
