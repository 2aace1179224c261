//! Processor time of everything in this run: this process, its servers and its workers.
//!
//! Rates suffer when others use the machine; what an event costs does not. Beside a rate stands this cost, and what
//! two idle processors could do at most with it.

use std::collections::{HashMap, HashSet};

/// Ticks of `/proc/…/stat` a second; fixed on Linux.
const TICKS_PER_S: f64 = 100.0;

/// Takes the processor time of something.
pub struct Stopwatch(f64);

impl Stopwatch {
    /// From now on.
    pub fn start() -> Self {
        Self(seconds())
    }

    /// Microseconds of processor time for each of `count` things.
    pub fn micros_each(&self, count: usize) -> f64 {
        (seconds() - self.0) * 1e6 / count.max(1) as f64
    }
}

/// Of this process and all below it, in seconds; zero where the system does not tell.
fn seconds() -> f64 {
    let processes: HashMap<u32, (u32, u64)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?))
        })
        .collect();
    let mut ours = HashSet::from([std::process::id()]);
    loop {
        let below = processes.iter().filter(|(_, (parent, _))| ours.contains(parent));
        let found: HashSet<u32> = below.map(|(pid, _)| *pid).collect();
        if found.is_subset(&ours) {
            break;
        }
        ours.extend(found);
    }
    let ticks: u64 = ours
        .iter()
        .filter_map(|pid| processes.get(pid))
        .map(|(_, ticks)| ticks)
        .sum();
    ticks as f64 / TICKS_PER_S
}

/// A process's parent, and the ticks that it and its children that ended have used.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields
        .get(11..15)?
        .iter()
        .filter_map(|field| field.parse::<u64>().ok());
    Some((fields.get(1)?.parse().ok()?, ticks.sum()))
}
