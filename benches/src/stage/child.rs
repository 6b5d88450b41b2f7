//! A process for each kernel or form: a fault on a GPU spoils the context of the whole process, and what
//! hangs is killed without the others.

use crate::error::{Error, Result};
use std::io::Read;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Threads of the host.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does some of `count` pieces of work at once, each on a thread: `done` gets each piece's number and outcome
/// as they end, on the caller's thread; after its first error no piece is begun.
pub fn at_once<T: Send>(
    count: usize,
    jobs: usize,
    work: impl Fn(usize) -> T + Sync,
    mut done: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let (next, work) = (AtomicUsize::new(0), &work);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for tell in vec![tell; jobs.clamp(1, count.max(1))] {
            let next = &next;
            scope.spawn(move || {
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && at < count
                    // nobody listens behind an error
                    && tell.send((at, work(at))).is_ok()
                {}
            });
        }
        told.into_iter().try_for_each(|(at, outcome)| done(at, outcome))
    })
}

/// Runs this program again with other arguments, on so many threads; returns what it printed.
///
/// Errors: it does not start, ends badly, or takes longer than `patience`. Its output may be no larger
/// than a pipe holds (64 KiB on Linux): nobody reads before it ends.
pub fn run(args: &[&str], threads: usize, patience: Duration) -> Result<String> {
    let failed = |why: String| Error::Failed(why);
    let program = std::env::current_exe().map_err(|why| failed(why.to_string()))?;
    let mut child = Command::new(program)
        .args(args)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| failed(format!("its process does not start: {why}")))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|why| failed(why.to_string()))? {
            Some(status) => break status,
            None if start.elapsed() < patience => thread::sleep(Duration::from_millis(5)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn work_is_done_at_once_and_all_of_it() {
        for (count, jobs) in [(0, 3), (1, 3), (7, 1), (9, 3)] {
            let mut got = vec![];
            // each waits for others: done one by one, it would not end
            let together = Barrier::new(if count > jobs { jobs } else { 1 });
            let work = |at| {
                if at < count / jobs * jobs {
                    together.wait();
                }
                at * at
            };
            let done = |at, square| {
                got.push((at, square));
                Ok(())
            };
            at_once(count, jobs, work, done).unwrap();
            got.sort();
            assert_eq!(got, Vec::from_iter((0..count).map(|at| (at, at * at))));
        }
    }

    #[test]
    fn an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = |at| {
            begun.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
            at
        };
        let why = at_once(1000, 2, work, |_, _| Err(Error::Failed("no room".into()))).unwrap_err();
        assert_eq!(why.cell(), "no room");
        assert!(begun.into_inner() < 100);
    }
}
