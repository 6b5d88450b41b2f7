//! Clocks and power beside each figure: `nvidia-smi` in a loop, where there is one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Means over a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sensors {
    /// The multiprocessors' clock, MHz.
    pub clock_mhz: f64,
    /// The board's power, W.
    pub power_w: f64,
}

type Log = Arc<Mutex<Vec<(Instant, Sensors)>>>;

/// Reads the sensors of a GPU until it is dropped.
pub struct Sampler {
    child: Child,
    log: Log,
}

impl Sampler {
    /// `id` is a PCI address. `None` where `nvidia-smi` does not start.
    pub fn start(id: &str) -> Option<Self> {
        let query = ["--query-gpu=clocks.sm,power.draw", "--format=csv,noheader,nounits"];
        let mut child = Command::new("nvidia-smi")
            .args(query)
            .args(["--loop-ms=50", &format!("--id={id}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let lines = BufReader::new(child.stdout.take()?).lines();
        let log = Log::default();
        let theirs = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(sensors) = parse(&line) {
                    let mut log = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push((Instant::now(), sensors));
                }
            }
        });
        Some(Self { child, log })
    }

    /// The means over spans of time; of the nearest reading where none fell inside.
    pub fn mean(&self, spans: &[(Instant, Instant)]) -> Option<Sensors> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let inside: Vec<Sensors> = log
            .iter()
            .filter(|(at, _)| spans.iter().any(|(from, to)| (from..=to).contains(&at)))
            .map(|(_, sensors)| *sensors)
            .collect();
        if inside.is_empty() {
            let end = spans.last()?.1;
            let distance = |at: &Instant| at.max(&end).duration_since(*at.min(&end));
            return log.iter().min_by_key(|(at, _)| distance(at)).map(|(_, sensors)| *sensors);
        }
        let mean =
            |of: fn(&Sensors) -> f64| inside.iter().map(of).sum::<f64>() / inside.len() as f64;
        Some(Sensors { clock_mhz: mean(|s| s.clock_mhz), power_w: mean(|s| s.power_w) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // it may have ended by itself; there is nobody to tell
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `1980, 312.45`.
fn parse(line: &str) -> Option<Sensors> {
    let (clock, power) = line.split_once(',')?;
    Some(Sensors { clock_mhz: clock.trim().parse().ok()?, power_w: power.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_nvidia_smi_prints() {
        assert_eq!(parse("1980, 312.45"), Some(Sensors { clock_mhz: 1980.0, power_w: 312.45 }));
        assert_eq!(parse("[N/A], 70"), None);
        assert_eq!(parse("No devices were found"), None);
    }
}
