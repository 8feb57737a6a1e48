//! Time in which this machine had no processor though it wanted one: that of a virtual machine is
//! shared with others. Requests of that time are slow, and the target is not to blame.

use std::fs;
use std::time::Duration;

/// Where `steal` is in the first line of `/proc/stat`, proc(5), counted from its name.
const STEAL: usize = 8;

/// Processor time given to other machines since this one started, of all its processors; in steps
/// of a clock tick, mostly 10 ms. `None` where the system does not tell.
pub fn until_now() -> Option<Duration> {
    steal(&fs::read_to_string("/proc/stat").ok()?)
}

fn steal(stat: &str) -> Option<Duration> {
    let all = stat.lines().next().filter(|line| line.starts_with("cpu "))?;
    let ticks: u64 = all.split_whitespace().nth(STEAL)?.parse().ok()?;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks * 1_000 / a_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_eighth_of_the_first_line() {
        let tick = 1_000 / rustix::param::clock_ticks_per_second();
        let stat = "cpu  5271000 871308 1866257 6638837 103792 0 315596 13 7 0\ncpu0 1 2 3 4\n";
        assert_eq!(steal(stat), Some(Duration::from_millis(13 * tick)));
        for other in ["", "intr 1 2 3 4 5 6 7 8 9", "cpu  1 2 3", "cpu  1 2 3 4 5 6 7 x 9"] {
            assert_eq!(steal(other), None, "{other}");
        }
        assert!(until_now().is_some(), "this system tells");
    }
}
