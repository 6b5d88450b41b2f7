//! What the process has taken so far, where /proc tells.

use std::fs;

/// The largest resident memory in bytes, since the start or since [`forget_peak`].
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}

/// Begins anew (proc(5): 5 in `clear_refs` resets the peak); where that cannot be, it stays the peak so far.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Seconds that cores worked for it, all threads together. proc(5), `/proc/self/stat`: fields 14 and 15, in
/// ticks, of which Linux shows 100 a second on every architecture that Rust knows.
pub fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // the second field, a name in brackets, may hold anything
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn work_takes_cpu_time() {
        let start = std::time::Instant::now();
        let before = super::cpu_seconds().unwrap();
        while super::cpu_seconds().unwrap() - before < 0.05 {
            assert!(start.elapsed().as_secs() < 60, "a minute of work is less than 0.05 s");
        }
        assert!(super::peak().unwrap() > 1 << 20);
    }
}
