//! How long the disk takes to have something for good, measured as the log writer needs it: 4 KiB
//! over a file that has its blocks already, as in a log that is recycled, and `fdatasync`.
//!
//! Every write waits for one on two machines at least, and every vote for one on each voter, while
//! the group does nothing else. So the limits come from the timers of `[cluster]`.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use ranch_proto::config::ClusterConfig;

use super::finding::{Finding, ms};

/// How often it is measured: a hundred show the slowest in a hundred.
const TIMES: usize = 100;
/// A page of a log.
const BYTES: usize = 4 << 10;
/// A disk that is slower than this may be measured less often, so that nobody waits for minutes.
const LIMIT: Duration = Duration::from_secs(10);
/// No disk that keeps what it is given is faster: the flush of a good SSD with power-loss
/// protection takes about this, and memory takes a microsecond.
const BELIEVABLE: Duration = Duration::from_micros(10);
/// A disk that turns takes this for each, and a write of Ranch takes longer.
const SLOW: Duration = Duration::from_millis(10);

/// How long one took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How often it was measured.
    pub times: usize,
    /// The middle one.
    pub p50: Duration,
    /// All but one in a hundred took no longer.
    pub p99: Duration,
}

/// The disks that were measured.
#[derive(Default)]
pub struct Disks(BTreeSet<u64>);

impl Disks {
    /// Whether the disk of a directory is one that was not asked for before.
    pub fn is_new(&mut self, dir: &Path) -> bool {
        fs::metadata(dir).is_ok_and(|dir| self.0.insert(dir.dev()))
    }
}

/// Judges what was measured in a directory.
pub fn judge(dir: &Path, measured: &io::Result<Measured>, cluster: &ClusterConfig) -> Finding {
    let Measured { times, p50, p99 } = match measured {
        Ok(measured) => *measured,
        Err(error) => {
            let says = format!("cannot write to the disk of {}: {error}", dir.display());
            return Finding::problem("fsync", says, "see `dmesg` for what is wrong with the disk");
        }
    };
    let figures = format!("{}: p50 {}, p99 {} of {times}", dir.display(), ms(p50), ms(p99));
    let unseats = Duration::from_millis(cluster.election_min_ms / 2);
    if p50 < BELIEVABLE {
        let says = format!("{figures}: no disk is that fast, so nothing is safe from a power cut");
        let remedy = "put the data on a real disk, and have its cache and the virtual machine \
                      honour flushes (no cache=unsafe, no nobarrier)";
        return Finding::problem("fsync", says, remedy);
    }
    if p99 >= unseats {
        let says = format!(
            "{figures}: a vote waits for one, and followers lose patience after {} ms",
            cluster.election_min_ms
        );
        let remedy = "use a faster disk (an SSD of its own), or raise election_min_ms and \
                      election_max_ms in [cluster] to at least four times this p99, everywhere";
        return Finding::problem("fsync", says, remedy);
    }
    if p50 >= SLOW {
        let says = format!("{figures}: every write takes longer than that");
        return Finding::warning("fsync", says, "an SSD takes less than a tenth of this");
    }
    if p99 >= Duration::from_millis(cluster.heartbeat_ms) {
        let says = format!("{figures}: the slow ones are longer than heartbeat_ms");
        let remedy = "see who else writes to this disk (`iostat -x 1`), and give Ranch its own";
        return Finding::warning("fsync", says, remedy);
    }
    Finding::ok("fsync", figures)
}

/// Measures in a directory.
pub async fn measure(dir: &Path) -> io::Result<Measured> {
    let path = dir.join(format!(".ranch-doctor-{}", std::process::id()));
    let measuring = tokio::task::spawn_blocking(move || {
        let measured = times(&path);
        // Whatever came of it, nothing is left behind.
        let _ = fs::remove_file(&path);
        measured
    });
    let times = measuring.await.map_err(io::Error::other)??;
    Ok(Measured { times: times.len(), p50: rank(&times, 50), p99: rank(&times, 99) })
}

/// How long each took, ascending.
fn times(path: &Path) -> io::Result<Vec<Duration>> {
    let file = make(path)?;
    let block = [0x5a_u8; BYTES];
    for at in 0..TIMES {
        file.write_all_at(&block, (at * BYTES) as u64)?;
    }
    file.sync_all()?;
    let began = Instant::now();
    let mut times = Vec::with_capacity(TIMES);
    for at in 0..TIMES {
        let before = Instant::now();
        file.write_all_at(&block, (at * BYTES) as u64)?;
        file.sync_data()?;
        times.push(before.elapsed());
        if began.elapsed() > LIMIT {
            break;
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The value of sorted ones below which so many of a hundred lie (nearest rank).
fn rank(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100);
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn level(p50_us: u64, p99_us: u64) -> Level {
        let (p50, p99) = (Duration::from_micros(p50_us), Duration::from_micros(p99_us));
        let measured = Ok(Measured { times: 100, p50, p99 });
        judge(Path::new("/d"), &measured, &ClusterConfig::default()).level
    }

    #[test]
    fn the_limits_come_from_the_timers() {
        assert_eq!(level(200, 4_000), Level::Ok);
        assert_eq!(level(200, 100_000), Level::Warning, "slower than a heartbeat");
        assert_eq!(level(200, 150_000), Level::Problem, "half of election_min_ms");
        assert_eq!(level(12_000, 20_000), Level::Warning, "a disk that turns");
        assert_eq!(level(2, 5), Level::Problem, "memory");
    }

    #[test]
    fn a_disk_that_fails_is_a_problem() {
        let failed = Err(io::Error::from(io::ErrorKind::StorageFull));
        let finding = judge(Path::new("/d"), &failed, &ClusterConfig::default());
        assert_eq!(finding.level, Level::Problem);
    }

    #[test]
    fn ranks_are_nearest_ones() {
        let times: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        assert_eq!(rank(&times, 50), Duration::from_micros(50));
        assert_eq!(rank(&times, 99), Duration::from_micros(99));
        assert_eq!(rank(&times[..1], 99), Duration::from_micros(1));
        assert_eq!(rank(&[], 99), Duration::ZERO);
    }

    #[tokio::test]
    async fn measuring_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let measured = measure(dir.path()).await.unwrap();
        assert!(measured.times > 0 && measured.p50 <= measured.p99, "{measured:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(measure(&dir.path().join("none")).await.is_err());
    }
}
