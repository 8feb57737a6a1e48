//! Memory: enough for the nodes of this machine, and none of theirs swapped out. A node that waits
//! for its memory to come back from a disk looks dead to the others.

use std::fs;
use std::path::Path;

use ranch_proto::config::Config;

use super::finding::Finding;
use crate::cli::output::human_bytes;

/// What a node takes beside its caches and buffers: tails of logs, connections, requests.
const NODE_BYTES: u64 = 192 << 20;
/// So much of a node on swap is more than what it never touches.
const SWAPPED_MAX: u64 = 16 << 20;

const CHECK: &str = "memory";

/// What there is, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Free, or to be had at once.
    pub available: Option<u64>,
    /// What the nodes that run here occupy already.
    pub occupied: u64,
    /// What they have on swap.
    pub swapped: u64,
    /// The least that a group of processes they are in, or this one is, may use.
    pub limit: Option<u64>,
}

/// Judges the memory for so many nodes.
pub fn judge(memory: &Memory, config: &Config, nodes: usize) -> Finding {
    let storage = &config.storage;
    let each = ((storage.block_cache_mb + storage.write_buffer_mb) << 20) + NODE_BYTES;
    let needed = each * nodes.max(1) as u64;
    let Some(available) = memory.available else {
        return Finding::ok(CHECK, "it cannot be seen here how much there is");
    };
    let all = memory.limit.unwrap_or(u64::MAX).min(available + memory.occupied);
    let says = format!("{} to be had, up to {} needed", human_bytes(all), human_bytes(needed));
    let remedy = "close something, use a larger machine, raise the limit (MemoryMax= of the unit), \
                  or lower block_cache_mb and write_buffer_mb";
    if memory.swapped > SWAPPED_MAX {
        let says = format!("{} of the nodes here are on swap", human_bytes(memory.swapped));
        let remedy = "give the machine more memory, or MemorySwapMax=0 to the unit: a node that \
                      waits for swap is taken for dead";
        return Finding::warning(CHECK, says, remedy);
    }
    if all < needed {
        return Finding::problem(CHECK, says, remedy);
    }
    if all < needed * 2 {
        return Finding::warning(CHECK, says, remedy);
    }
    Finding::ok(CHECK, says)
}

/// Looks at this machine, and at the processes of its nodes.
pub fn look(pids: &[u32]) -> Memory {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let mut memory = Memory {
        available: kib(&read("/proc/meminfo".to_owned()), "MemAvailable:"),
        ..Memory::default()
    };
    for pid in pids {
        let status = read(format!("/proc/{pid}/status"));
        memory.occupied += kib(&status, "VmRSS:").unwrap_or(0);
        memory.swapped += kib(&status, "VmSwap:").unwrap_or(0);
    }
    let own = [std::process::id()];
    let grouped = if pids.is_empty() { &own[..] } else { pids };
    let limits = grouped.iter().filter_map(|pid| {
        let groups = read(format!("/proc/{pid}/cgroup"));
        let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let max = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(max).ok()?.trim().parse().ok()
    });
    memory.limit = limits.min();
    memory
}

/// A line of `/proc` such as `VmRSS:  12 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn level(memory: &Memory, nodes: usize) -> Level {
        judge(memory, &Config::default(), nodes).level
    }

    #[test]
    fn what_nodes_occupy_is_theirs_already() {
        // One node needs 256 MiB.
        let memory = Memory { available: Some(256 << 20), ..Memory::default() };
        assert_eq!(level(&memory, 1), Level::Warning);
        assert_eq!(level(&memory, 2), Level::Problem);
        let running = Memory { occupied: 256 << 20, ..memory };
        assert_eq!(level(&running, 1), Level::Ok);
    }

    #[test]
    fn a_group_of_processes_may_have_less_than_the_machine() {
        let memory =
            Memory { available: Some(8 << 30), limit: Some(128 << 20), ..Memory::default() };
        assert_eq!(level(&memory, 1), Level::Problem);
    }

    #[test]
    fn swapped_nodes_are_told() {
        let memory = Memory { available: Some(8 << 30), swapped: 64 << 20, ..Memory::default() };
        assert_eq!(level(&memory, 1), Level::Warning);
    }

    #[test]
    fn lines_of_proc_are_kibibytes() {
        let text = "MemTotal: 16 kB\nMemAvailable:    8 kB\n";
        assert_eq!(kib(text, "MemAvailable:"), Some(8 << 10));
        assert_eq!(kib(text, "VmRSS:"), None);
        assert!(look(&[std::process::id()]).occupied > 0);
    }
}
