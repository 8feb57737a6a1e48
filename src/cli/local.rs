//! What belongs to this machine: its configuration, the directory of its data, and which of the
//! configured nodes run here.

use std::fs;
use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ranch_proto::config::{Config, NodeConfig};

use super::error::CliError;
use super::options::LocalArgs;

/// File in the data directory that holds the administrator's key.
pub const ADMIN_KEY_FILE: &str = "admin.key";
/// File in the data directory that holds the demo tenant's key.
pub const DEMO_KEY_FILE: &str = "demo.key";
/// The configurations looked for, in this order, when none is named.
const CONFIG_FILES: [&str; 2] = ["ranch.toml", "/etc/ranch/ranch.toml"];

/// The configuration in force on this machine.
#[derive(Clone, Debug)]
pub struct Local {
    /// Validated, with data directories as `--data-dir` has them.
    pub config: Config,
    /// The file it was read from; `None` for the built-in defaults.
    pub config_file: Option<PathBuf>,
    /// The directory that holds keys, logs of processes and, usually, the nodes' directories.
    pub root: PathBuf,
}

impl Local {
    /// Finds and reads the configuration.
    pub fn load(args: &LocalArgs) -> Result<Self, CliError> {
        let found = || CONFIG_FILES.map(PathBuf::from).into_iter().find(|file| file.exists());
        let config_file = args.config.clone().or_else(found);
        let mut config = Config::load(config_file.as_deref())?;
        if let Some(dir) = &args.data_dir {
            for node in &mut config.nodes {
                node.data_dir = dir.join(&node.name);
            }
        }
        let root = args.data_dir.clone().unwrap_or_else(|| root_of(&config));
        Ok(Self { config, config_file, root })
    }

    /// The nodes whose address is one of this machine's, by id.
    pub fn nodes(&self) -> Vec<&NodeConfig> {
        let mut nodes: Vec<_> =
            self.config.nodes.iter().filter(|node| is_this_machine(&node.addr)).collect();
        nodes.sort_by_key(|node| node.id);
        nodes
    }
}

/// Where keys are kept when no directory is named: beside the nodes' own directories.
fn root_of(config: &Config) -> PathBuf {
    let nodes = &config.nodes;
    let here = nodes.iter().find(|node| is_this_machine(&node.addr)).or(nodes.first());
    let parent = here.and_then(|node| node.data_dir.parent());
    match parent {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Makes a directory that only its owner can look into, since tenants' texts are in it. One that
/// exists is left as it is.
pub fn make_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether `host:port` is an address of this machine: exactly those can be bound.
pub fn is_this_machine(addr: &str) -> bool {
    let Ok(mut addrs) = addr.to_socket_addrs() else { return false };
    addrs.any(|addr| UdpSocket::bind((addr.ip(), 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(data_dir: Option<&str>, config: &Path) -> LocalArgs {
        LocalArgs { config: Some(config.to_owned()), data_dir: data_dir.map(PathBuf::from) }
    }

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(CONFIG_FILES[0])
    }

    #[test]
    fn the_shipped_ranch_is_all_on_this_machine() {
        let local = Local::load(&args(None, &shipped())).unwrap();
        assert_eq!(local.root, Path::new("data"));
        let nodes = local.nodes();
        assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_data_directory_moves_every_node() {
        let local = Local::load(&args(Some("/d"), &shipped())).unwrap();
        assert_eq!(local.root, Path::new("/d"));
        assert_eq!(local.config.nodes[2].data_dir, Path::new("/d/node3"));
    }

    #[test]
    fn other_machines_are_told_apart() {
        assert!(is_this_machine("127.0.0.1:7101"));
        // Reserved for documentation (RFC 5737), so no machine has it.
        assert!(!is_this_machine("192.0.2.1:7101"));
    }
}
