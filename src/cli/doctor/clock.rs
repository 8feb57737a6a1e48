//! Clocks: this machine's against those of the nodes that answer, and who keeps it right.
//!
//! Ranch does not order anything by clocks. The leader of a shard stamps writes with its own,
//! though, and goes by it for the ends of keys and for days and seconds of tenants' limits; so a
//! clock that is wrong shows whenever a leadership moves. Certificates begin and end by clocks,
//! too.

use std::time::Duration;

use super::finding::{Finding, ms};

/// More than a network's jitter and anything NTP leaves.
const NOTICED: Duration = Duration::from_millis(500);
/// Keys and days end noticeably wrong.
const WRONG: Duration = Duration::from_secs(10);
/// Longest wait for the tool that knows.
const TOOL_LIMIT: Duration = Duration::from_secs(2);

/// Another node's clock, less this machine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Whose clock it is.
    pub node: String,
    /// How far it is ahead, in microseconds; behind if negative.
    pub ahead_us: i64,
    /// By how much that may be off, in microseconds: half the way there and back.
    pub error_us: u64,
}

impl Offset {
    /// How far it is off at least.
    fn surely(&self) -> Duration {
        Duration::from_micros(self.ahead_us.unsigned_abs().saturating_sub(self.error_us))
    }
}

/// Judges the clock by what others say, and by whether something keeps it right, where known.
pub fn judge(offsets: &[Offset], synchronized: Option<bool>) -> Finding {
    let remedy = "set it and keep it right: `timedatectl set-ntp true`, or install chrony";
    let kept = match synchronized {
        Some(true) => "kept right by NTP",
        Some(false) => "not synchronized",
        None => "it cannot be seen here who keeps it right",
    };
    let worst = offsets.iter().max_by_key(|offset| offset.surely());
    if let Some(worst) = worst.filter(|worst| worst.surely() >= NOTICED) {
        let off = Duration::from_micros(worst.ahead_us.unsigned_abs());
        let way = if worst.ahead_us > 0 { "ahead of" } else { "behind" };
        let many = offsets.iter().filter(|offset| offset.surely() >= NOTICED).count();
        let blame = if many > 1 && many == offsets.len() {
            "; it differs from all others, so this one is wrong"
        } else {
            ""
        };
        let says = format!("that of {} is {} {way} this machine's{blame}", worst.node, ms(off));
        let remedy = format!("on whichever is wrong: {remedy}");
        return if worst.surely() >= WRONG {
            Finding::problem("clock", says, remedy)
        } else {
            Finding::warning("clock", says, remedy)
        };
    }
    let compared = match worst {
        None => "no other node to compare with".to_owned(),
        Some(worst) => {
            let off = Duration::from_micros(worst.ahead_us.unsigned_abs());
            let count = offsets.len();
            let nodes = if count == 1 { "node" } else { "nodes" };
            format!("within {} of {count} other {nodes}", ms(off))
        }
    };
    let says = format!("{compared}, {kept}");
    if synchronized == Some(false) {
        return Finding::warning("clock", says, remedy);
    }
    Finding::ok("clock", says)
}

/// Whether something keeps the clock right; `None` where that cannot be seen.
pub async fn synchronized() -> Option<bool> {
    if std::path::Path::new("/run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    let asked = tokio::process::Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true)
        .output();
    let answered = tokio::time::timeout(TOOL_LIMIT, asked).await.ok()?.ok()?;
    match String::from_utf8_lossy(&answered.stdout).trim() {
        "yes" if answered.status.success() => Some(true),
        "no" if answered.status.success() => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    /// Of so many milliseconds.
    fn offset(node: &str, ahead: i64, error: u64) -> Offset {
        Offset { node: node.to_owned(), ahead_us: ahead * 1_000, error_us: error * 1_000 }
    }

    #[test]
    fn clocks_that_agree_are_well() {
        let finding = judge(&[offset("a", 3, 1), offset("b", -7, 1)], Some(true));
        assert_eq!((finding.level, finding.remedy), (Level::Ok, None));
        assert!(finding.says.contains("within 7.00 ms of 2 other nodes"), "{}", finding.says);
        assert_eq!(judge(&[], None).level, Level::Ok);
    }

    #[test]
    fn the_worst_one_is_named_with_its_side() {
        let finding = judge(&[offset("a", 900, 1), offset("b", -12_000, 1)], Some(true));
        assert_eq!(finding.level, Level::Problem);
        assert!(finding.says.contains("b is 12000 ms behind"), "{}", finding.says);
        assert!(finding.says.contains("this one is wrong"), "{}", finding.says);
        let finding = judge(&[offset("a", 900, 1), offset("b", 0, 1)], Some(true));
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.says.contains("a is 900 ms ahead"), "{}", finding.says);
        assert!(!finding.says.contains("this one"), "{}", finding.says);
    }

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        assert_eq!(judge(&[offset("a", 900, 800)], Some(true)).level, Level::Ok);
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_a_warning() {
        assert_eq!(judge(&[offset("a", 1, 1)], Some(false)).level, Level::Warning);
    }
}
