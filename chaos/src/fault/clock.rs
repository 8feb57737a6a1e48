//! Clocks that jump, or run too fast or too slowly.
//!
//! Each node runs with libfaketime, which reads from a file by how much to falsify the time of day,
//! so a clock can change under a running process. The monotonic clock stays true: the kernel and
//! timers that sleep in it go by the real one, and a process whose two views of it differ tests
//! nothing but libfaketime.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use super::{Blow, FaultKind};
use crate::error::HarnessError;
use crate::ranch::Ranch;
use crate::world::network::node_name;

/// Where libfaketime may be: the package of Debian, others, and one built by hand.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];
/// In memory, in a world of its own.
const FILES: &str = "/run/clocks";
/// By how many seconds a clock may jump: from what a bad time server does to a dead battery.
const JUMPS_S: [f64; 8] =
    [-86_400.0, -3_600.0, -30.0, -0.5, 0.5, 30.0, 3_600.0, 10.0 * 365.0 * 86_400.0];
/// How fast a clock may run.
const RATES: [f64; 4] = [0.5, 0.9, 1.1, 2.0];
/// The true time.
const TRUE: &str = "+0\n";

/// Nodes whose clocks are wrong.
#[derive(Debug)]
pub struct Wrong {
    nodes: Vec<u32>,
}

/// The library, if it is installed.
#[must_use]
pub fn library() -> Option<&'static Path> {
    LIBRARIES.map(Path::new).into_iter().find(|path| path.exists())
}

/// Gives each node a clock that is true so far.
///
/// # Errors
/// When the files cannot be written.
pub fn prepare(nodes: &[u32]) -> Result<(), HarnessError> {
    let doing = || format!("making {FILES}");
    fs::create_dir(FILES).map_err(HarnessError::io(doing()))?;
    nodes.iter().try_for_each(|node| set(*node, TRUE))
}

/// What a node's process is given to go by its own clock.
#[must_use]
pub fn environment(name: &str) -> Vec<(String, String)> {
    let Some(library) = library() else { return Vec::new() };
    let file = PathBuf::from(FILES).join(name);
    [
        ("LD_PRELOAD", library.to_string_lossy()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_string_lossy()),
        // Seconds between two looks at the file.
        ("FAKETIME_CACHE_DURATION", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value.into_owned()))
    .to_vec()
}

impl Wrong {
    /// Changes the clocks of nodes, each in a way of its own.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn begin(blow: Blow<'_>, ranch: &mut Ranch, rng: &mut Rng) -> Result<Self, HarnessError> {
        let Blow { spec, nodes, .. } = blow;
        for &node in nodes {
            let age = ranch.node(node)?.age().unwrap_or_default();
            let time = match spec.kind {
                FaultKind::ClockDrift => drifting(RATES[rng.usize(..RATES.len())], age),
                _ => format!("{:+}\n", JUMPS_S[rng.usize(..JUMPS_S.len())]),
            };
            set(node, &time)?;
        }
        Ok(Self { nodes: nodes.to_vec() })
    }

    /// Sets them right, and gives the number of nodes that had looked at their wrong ones.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn heal(&self) -> Result<u64, HarnessError> {
        let mut looked = 0;
        for &node in &self.nodes {
            looked += u64::from(was_read(node)?);
            set(node, TRUE)?;
        }
        Ok(looked)
    }
}

/// A clock that is right now and runs at another rate from here on. The library counts from the
/// start of the process, so what the rate would have added since then is taken away.
fn drifting(rate: f64, age: Duration) -> String {
    let offset = -age.as_secs_f64() * (rate - 1.0);
    format!("{offset:+.3} x{rate}\n")
}

fn file(node: u32) -> PathBuf {
    PathBuf::from(FILES).join(node_name(node))
}

/// Writes a clock in one step, marked as never read.
fn set(node: u32, time: &str) -> Result<(), HarnessError> {
    let write = || {
        let new = PathBuf::from(FILES).join("new");
        fs::write(&new, time)?;
        let unread = FileTimes::new()
            .set_accessed(SystemTime::UNIX_EPOCH)
            .set_modified(SystemTime::UNIX_EPOCH);
        File::options().write(true).open(&new)?.set_times(unread)?;
        fs::rename(&new, file(node))
    };
    write().map_err(HarnessError::io(format!("setting the clock of node {node}")))
}

fn was_read(node: u32) -> Result<bool, HarnessError> {
    let read = fs::metadata(file(node)).and_then(|about| about.accessed());
    let read = read.map_err(HarnessError::io(format!("looking at the clock of node {node}")))?;
    Ok(read > SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_clock_is_right_at_first() {
        // start + offset + age * rate is start + age.
        assert_eq!(drifting(2.0, Duration::from_secs(10)), "-10.000 x2\n");
        assert_eq!(drifting(0.5, Duration::from_secs(10)), "+5.000 x0.5\n");
        assert_eq!(format!("{:+}", JUMPS_S[0]), "-86400");
    }
}
