//! The process's largest resident memory, where /proc tells.

use std::fs;

/// Since the start, or since [`forget`].
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}

/// Begins anew (proc(5): 5 in `clear_refs` resets the peak); where that cannot be, it stays the peak so far.
pub fn forget() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}
