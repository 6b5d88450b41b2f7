//! What machine this is, in facts that a figure needs beside it. No host name, no path.

use quickpick::{Backend, Cpu};
use std::fs;
use std::process::Command;

/// Facts of the machine and of this program, by name.
pub fn facts(revision: &str) -> Vec<(String, String)> {
    let mut facts = vec![
        ("quickpick.version", env!("CARGO_PKG_VERSION").to_string()),
        ("quickpick.revision", revision.to_string()),
        ("date", now("%Y-%m-%dT%H:%M:%SZ")),
        ("cpu", cpu()),
        ("cpu.backend", Cpu::new().describe()),
        ("cpu.threads", rayon::current_num_threads().to_string()),
        ("os", os()),
    ];
    if let Some(load) = load() {
        facts.push(("load", load));
    }
    if let Some(memory) = memory_gib() {
        facts.push(("memory.gib", memory));
    }
    let mut facts: Vec<(String, String)> =
        facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    facts.extend(gpu());
    for (i, adapter) in quickpick::wgpu::adapters().iter().enumerate() {
        facts.push((format!("wgpu.adapter.{i}"), adapter.to_string()));
    }
    facts
}

/// The time in UTC, in a format of `strftime`.
pub fn now(format: &str) -> String {
    jiff::Timestamp::now().strftime(format).to_string()
}

/// A name for the record's folder: the first GPU's, else the processor's; `nvidia-h200`, `amd-epyc`.
pub fn slug() -> String {
    let name = gpu().into_iter().find(|(fact, _)| fact == "gpu.name").map_or_else(cpu, |(_, v)| v);
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<_> = words.take(4).map(str::to_ascii_lowercase).collect();
    if words.is_empty() { "unknown".into() } else { words.join("-") }
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or(std::env::consts::ARCH, |(_, model)| model).trim().to_string()
}

fn os() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or(std::env::consts::OS, |name| name.trim_matches('"')).to_string()
}

/// Threads that ran or wanted to when this stage began, in the mean of a minute: above `cpu.threads` the
/// figures are of a machine that others were using.
fn load() -> Option<String> {
    let average = fs::read_to_string("/proc/loadavg").ok()?;
    average.split_whitespace().next().map(str::to_string)
}

fn memory_gib() -> Option<String> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some((kib >> 20).to_string())
}

/// What decides a GPU's speed, from `nvidia-smi`; nothing where there is none.
fn gpu() -> Vec<(String, String)> {
    const QUERY: [&str; 12] = [
        "name",
        "driver_version",
        "vbios_version",
        "memory.total",
        "clocks.sm",
        "clocks.max.sm",
        "clocks.max.mem",
        "power.draw",
        "power.limit",
        "ecc.mode.current",
        "temperature.gpu",
        "clocks_event_reasons.active",
    ];
    let query = format!("--query-gpu={}", QUERY.join(","));
    let out = Command::new("nvidia-smi").args([&query, "--format=csv,noheader", "--id=0"]).output();
    let Some(out) = out.ok().filter(|out| out.status.success()) else { return vec![] };
    let text = String::from_utf8_lossy(&out.stdout);
    let values = text.lines().next().unwrap_or_default().split(", ");
    QUERY.iter().zip(values).map(|(name, value)| (format!("gpu.{name}"), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_is_plain() {
        let slug = slug();
        assert!(slug.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{slug}");
        assert_eq!(now("%Y-%m-%d").len(), 10);
        assert!(
            facts("abc").iter().any(|(name, value)| name.ends_with("revision") && value == "abc")
        );
    }
}
