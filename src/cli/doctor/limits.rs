//! What the system allows a node: open files, and address space. Of a node that runs its own limits
//! are looked at, which a service manager may have set; otherwise those of this shell.

use std::fs;

use ranch_proto::config::{Config, NodeConfig};

use super::finding::Finding;

/// What a node opens by itself: 512 files of its state (`raft/src/state/options.rs`), its logs, a
/// few links to each other node, and as much again.
const NODE_FILES: u64 = 1_024;

/// The limits of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whose they are, in words.
    pub whose: String,
    /// Most open files; `None` for no limit.
    pub open_files: Option<u64>,
    /// Most bytes of address space; `None` for no limit.
    pub address_space: Option<u64>,
}

/// How many files a node needs at most: its own, and a connection each where it embeds a router.
pub fn files_needed(config: &Config, node: &NodeConfig) -> u64 {
    let clients = if node.listen.is_some() { config.limits.max_connections.into() } else { 0 };
    NODE_FILES + clients
}

/// Judges limits by how many files are needed.
pub fn judge(limits: &Limits, files: u64) -> Vec<Finding> {
    let Limits { whose, open_files, address_space } = limits;
    let open = match open_files {
        Some(most) if *most < files => {
            let says = format!("{whose} may open {most} files, {files} may be needed");
            let remedy = "LimitNOFILE=65536 in the unit, or `ulimit -n 65536` before the start";
            // It fails only under load, unless the node's own files do not fit.
            if *most < NODE_FILES / 2 {
                Finding::problem("open files", says, remedy)
            } else {
                Finding::warning("open files", says, remedy)
            }
        }
        Some(most) => Finding::ok("open files", format!("{whose} may open {most} files")),
        None => Finding::ok("open files", format!("{whose} may open any number of files")),
    };
    let space = address_space.map(|bytes| {
        let says = format!("{whose} may use {} MiB of addresses only", bytes >> 20);
        let remedy = "LimitAS=infinity in the unit, or `ulimit -v unlimited`: databases map files, \
                      and memory is reserved before it is used";
        Finding::warning("addresses", says, remedy)
    });
    std::iter::once(open).chain(space).collect()
}

/// Looks at the limits of a node's process, or of this one where it has none here.
pub fn look(node: &NodeConfig, pid: Option<u32>) -> Limits {
    let running = pid.and_then(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        Some(parse(&text, format!("the running {}", node.name)))
    });
    running.unwrap_or_else(|| {
        let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        parse(&text, "what is started from here".to_owned())
    })
}

/// Reads the soft limits out of `/proc/PID/limits`.
fn parse(text: &str, whose: String) -> Limits {
    let soft = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Limits { whose, open_files: soft("Max open files"), address_space: soft("Max address space") }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    const TEXT: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            1024                 1048576              files     
Max address space         unlimited            unlimited            bytes     
";

    fn level(open_files: Option<u64>, files: u64) -> Level {
        judge(&Limits { whose: String::new(), open_files, address_space: None }, files)[0].level
    }

    #[test]
    fn the_soft_limits_count() {
        let limits = parse(TEXT, "x".to_owned());
        assert_eq!((limits.open_files, limits.address_space), (Some(1_024), None));
        let less = TEXT.replace("space         unlimited", "space         1073741824");
        assert_eq!(parse(&less, "x".to_owned()).address_space, Some(1 << 30));
    }

    #[test]
    fn a_node_with_a_router_needs_a_file_for_each_client() {
        let config = Config::default();
        let mut node = NodeConfig::local(1);
        assert_eq!(files_needed(&config, &node), 1_024);
        node.listen = Some("127.0.0.1:1338".to_owned());
        assert_eq!(files_needed(&config, &node), 1_024 + 4_096);
    }

    #[test]
    fn too_few_files_are_told() {
        assert_eq!(level(Some(1_024), 1_024), Level::Ok);
        assert_eq!(level(None, 1_024), Level::Ok);
        assert_eq!(level(Some(1_024), 5_120), Level::Warning);
        assert_eq!(level(Some(256), 1_024), Level::Problem);
    }

    #[test]
    fn little_address_space_is_told() {
        let limits =
            Limits { whose: "x".to_owned(), open_files: None, address_space: Some(1 << 30) };
        assert_eq!(judge(&limits, 1).last().unwrap().level, Level::Warning);
    }
}
