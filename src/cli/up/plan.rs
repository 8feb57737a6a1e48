//! What `ranch up` is going to start, and where.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ranch_proto::api_key::Secret;
use ranch_proto::config::host_and_port;

use super::super::error::CliError;
use super::super::local::{ADMIN_KEY_FILE, DEMO_KEY_FILE, Local};
use super::super::{key_file, local, machine, router};
use super::child::ChildSpec;
use super::orders::ROUTER;
use super::{UpArgs, UpError};

/// The ranch of this machine, before anything is started.
pub struct Plan {
    local: Local,
    /// Names of the nodes that run here, by id.
    nodes: Vec<String>,
    /// Whether all nodes of the ranch run here.
    pub is_whole: bool,
    given_key: Option<Secret>,
    data_dir: Option<PathBuf>,
    listen_flag: bool,
}

impl Plan {
    /// Reads the configuration and finds out what is to run here.
    pub fn make(args: UpArgs) -> Result<Self, CliError> {
        let mut local = Local::load(&args.local)?;
        let listen_flag = args.listen.is_some();
        router::override_with(&mut local.config, args.listen, args.tenants)?;
        let listen = &local.config.router.listen;
        if host_and_port(listen).is_some_and(|(_, port)| port == 0) {
            return Err(UpError::OpenPort { listen: listen.clone() }.into());
        }
        if let Some(tenants) = &local.config.router.tenants {
            router::check_tenants(tenants)?;
        }
        let here = local.nodes();
        if here.is_empty() {
            return Err(UpError::NoLocalNode.into());
        }
        let nodes: Vec<String> = here.iter().map(|node| node.name.clone()).collect();
        let is_whole = nodes.len() == local.config.nodes.len();
        let (given_key, data_dir) = (args.admin.admin_key, args.local.data_dir);
        Ok(Self { local, nodes, is_whole, given_key, data_dir, listen_flag })
    }

    /// The directory of keys and logs.
    pub fn root(&self) -> &Path {
        &self.local.root
    }

    /// Where the administrator's key is or will be.
    pub fn admin_key_file(&self) -> PathBuf {
        self.root().join(ADMIN_KEY_FILE)
    }

    /// Where the demo tenant's key is or will be.
    pub fn demo_key_file(&self) -> PathBuf {
        self.root().join(DEMO_KEY_FILE)
    }

    /// Whether the administrator's key was given rather than kept in a file.
    pub fn key_was_given(&self) -> bool {
        self.given_key.is_some()
    }

    /// The address of the router as a client on this machine uses it.
    pub fn url(&self) -> String {
        let listen = &self.local.config.router.listen;
        let (host, port) = host_and_port(listen).unwrap_or(("127.0.0.1", 1337));
        match host {
            "0.0.0.0" => format!("http://127.0.0.1:{port}"),
            "::" => format!("http://[::1]:{port}"),
            _ => format!("http://{listen}"),
        }
    }

    /// What is started, in words.
    pub fn describe(&self) -> String {
        format!("{} and a router", self.nodes.join(", "))
    }

    /// Makes sure that nobody listens where the processes will, which each of them would find out
    /// only later.
    pub fn check_ports(&self) -> Result<(), CliError> {
        let router = (self.local.config.router.listen.as_str(), self.listen_key().to_owned());
        let nodes = self.local.nodes();
        let nodes = nodes.iter().flat_map(|node| {
            let addr = (node.addr.as_str(), format!("[[node]] {} addr", node.name));
            let listen = node.listen.as_deref();
            let listen = listen.map(|addr| (addr, format!("[[node]] {} listen", node.name)));
            std::iter::once(addr).chain(listen)
        });
        for (addr, key) in std::iter::once(router).chain(nodes) {
            let free = addr.to_socket_addrs().and_then(|mut all| all.try_for_each(is_free));
            free.map_err(|source| machine::refusal(addr, &key, source))?;
        }
        Ok(())
    }

    /// Makes the directories.
    pub fn prepare(&self) -> Result<(), CliError> {
        let nodes = self.local.nodes();
        let dirs = nodes.iter().map(|node| node.data_dir.as_path());
        for dir in std::iter::once(self.root()).chain(dirs) {
            local::make_private(dir).map_err(CliError::file("create", dir))?;
        }
        Ok(())
    }

    /// The administrator's key: the one given, or that of this machine, made on its first start.
    pub fn admin_key(&self) -> Result<Secret, CliError> {
        match &self.given_key {
            Some(key) => Ok(key.clone()),
            None => key_file::read_or_make(&self.admin_key_file()),
        }
    }

    /// Opens the socket of the router, which outlives any one router.
    pub fn listen(&self) -> Result<Arc<TcpListener>, CliError> {
        let addr = &self.local.config.router.listen;
        let listener = TcpListener::bind(addr);
        let listener =
            listener.map_err(|source| machine::refusal(addr, self.listen_key(), source))?;
        Ok(Arc::new(listener))
    }

    fn listen_key(&self) -> &'static str {
        if self.listen_flag { "--listen" } else { "[router] listen" }
    }

    /// The processes to start: the nodes by id, then the router on its socket.
    pub fn children(
        &self,
        admin_key: &Secret,
        listener: Arc<TcpListener>,
    ) -> Result<Vec<ChildSpec>, CliError> {
        let program = std::env::current_exe()
            .map_err(CliError::file("find the program", Path::new("ranch")))?;
        let spec = |name: &str, mut args: Vec<String>, key: Option<&Secret>| {
            args.extend(self.local_args());
            ChildSpec {
                name: name.to_owned(),
                program: program.clone(),
                args,
                admin_key: key.cloned(),
                log: self.root().join(format!("{name}.log")),
                listener: None,
            }
        };
        let node = |name: &String| {
            spec(name, vec!["node".to_owned(), "--name".to_owned(), name.clone()], Some(admin_key))
        };
        let mut router = vec!["router".to_owned(), "--inherit".to_owned()];
        router.extend(["--listen".to_owned(), self.local.config.router.listen.clone()]);
        if let Some(tenants) = &self.local.config.router.tenants {
            router.extend(["--tenants".to_owned(), tenants.to_string_lossy().into_owned()]);
        }
        let nodes = self.nodes.iter().map(node);
        let router = ChildSpec { listener: Some(listener), ..spec(ROUTER, router, None) };
        Ok(nodes.chain(std::iter::once(router)).collect())
    }

    /// The flags by which a child finds the same configuration.
    fn local_args(&self) -> Vec<String> {
        let pair = |flag: &str, path: &Path| [flag.to_owned(), path.to_string_lossy().into_owned()];
        let config = self.local.config_file.iter().flat_map(|file| pair("--config", file));
        let data_dir = self.data_dir.iter().flat_map(|dir| pair("--data-dir", dir));
        config.chain(data_dir).chain(std::iter::once("--follow-parent".to_owned())).collect()
    }
}

fn is_free(addr: std::net::SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(addr).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::super::options::{AdminKeyArg, LocalArgs};
    use super::*;

    fn plan(dir: &Path, key: Option<&str>) -> Plan {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("ranch.toml");
        Plan::make(UpArgs {
            listen: Some("127.0.0.1:18080".to_owned()),
            tenants: Some("t.json".into()),
            admin: AdminKeyArg { admin_key: key.map(Secret::new) },
            local: LocalArgs { config: Some(config), data_dir: Some(dir.to_owned()) },
        })
        .unwrap()
    }

    #[test]
    fn children_get_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), None);
        plan.prepare().unwrap();
        let key = plan.admin_key().unwrap();
        assert_eq!(plan.admin_key().unwrap(), key);
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let children = plan.children(&key, listener).unwrap();
        let names: Vec<_> = children.iter().map(|child| child.name.as_str()).collect();
        assert_eq!(names, ["node1", "node2", "node3", "router"]);
        assert!(children[0].args.starts_with(&["node".into(), "--name".into(), "node1".into()]));
        assert!(children[0].args.contains(&dir.path().display().to_string()));
        assert_eq!(children[0].admin_key, Some(key));
        assert_eq!(children[0].log, dir.path().join("node1.log"));
        assert_eq!(children[3].admin_key, None);
        assert!(children[3].args.contains(&"127.0.0.1:18080".to_owned()));
        assert!(children[3].args.contains(&"t.json".to_owned()));
        assert!(children.iter().all(|child| child.args.contains(&"--follow-parent".to_owned())));
    }

    #[test]
    fn a_given_key_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), Some("pmb-v1-0123456789abcdef"));
        plan.prepare().unwrap();
        assert_eq!(plan.admin_key().unwrap().expose(), "pmb-v1-0123456789abcdef");
        assert!(!plan.admin_key_file().exists());
    }

    #[test]
    fn a_port_in_use_is_found_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut plan = plan(dir.path(), None);
        plan.local.config.router.listen = taken.local_addr().unwrap().to_string();
        let error = plan.check_ports().unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("--listen"), "{error}");
    }
}
