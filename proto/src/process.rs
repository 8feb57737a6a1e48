//! What the system says of this process: memory, processor time, threads, open files. From
//! `/proc`, so on Linux only; elsewhere nothing is known.

use crate::schema::MetricFamily;

/// Fields of `/proc/self/stat` behind the process's name, by their number in proc(5) less 3.
const USER_TICKS: usize = 14 - 3;
const SYSTEM_TICKS: usize = 15 - 3;
const THREADS: usize = 20 - 3;
const RESIDENT_PAGES: usize = 24 - 3;

/// Metrics of this process, their names beginning with `prefix`.
#[must_use]
pub fn metrics(prefix: &str) -> Vec<MetricFamily> {
    let mut all = Vec::new();
    if let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|s| fields(&s)) {
        let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
        let page_bytes = rustix::param::page_size() as f64;
        let field = |at: usize| stat.get(at).copied().unwrap_or(0) as f64;
        let family = |name: &str, help| (format!("{prefix}_{name}"), help);
        let (name, help) = family("resident_bytes", "Memory the process occupies.");
        all.push(MetricFamily::gauge(&name, help).with(&[], field(RESIDENT_PAGES) * page_bytes));
        let (name, help) = family("cpu_seconds_total", "Processor time used, in seconds.");
        let seconds = (field(USER_TICKS) + field(SYSTEM_TICKS)) / ticks_per_s;
        all.push(MetricFamily::counter(&name, help).with(&[], seconds));
        let (name, help) = family("threads", "Threads of the process.");
        all.push(MetricFamily::gauge(&name, help).with(&[], field(THREADS)));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        let name = format!("{prefix}_open_files");
        let family = MetricFamily::gauge(&name, "Open files and sockets.");
        all.push(family.with(&[], files.count() as f64));
    }
    all
}

/// The numbers behind the process's name, which may itself hold blanks and brackets. What is no
/// number, such as the state, is 0.
fn fields(stat: &str) -> Option<Vec<u64>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_begin_behind_the_name() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 111 222 13 14 15 16 17 18 19 20 2424 21";
        let fields = fields(stat).unwrap();
        assert_eq!((fields[USER_TICKS], fields[SYSTEM_TICKS]), (111, 222));
        assert_eq!((fields[THREADS], fields[RESIDENT_PAGES]), (17, 2424));
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let metrics = metrics("x");
        let value = |name: &str| {
            metrics.iter().find(|family| family.name == name).unwrap().metrics[0].value
        };
        assert!(value("x_resident_bytes") > 1e5);
        assert!(value("x_threads") >= 1.0);
        assert!(value("x_open_files") >= 3.0);
    }
}
