//! Five machines in a world of their own: each has a network with its own address, a host name, and
//! a root directory with its own `/etc`, `/var` and `/usr/local`, on a disk of its own where the
//! kernel has loop devices. They share the programs of this machine, and nobody else.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ranch_chaos::tool;
use ranch_chaos::world::disk::Disk;
use ranch_chaos::world::network::{Network, node_ip, node_name};

/// Their names, in the order of their addresses.
pub const NAMES: [&str; 5] = ["ranch1", "ranch2", "ranch3", "ranch4", "desk"];
/// Size of a disk, of which only what is written takes room.
const DISK_MIB: u64 = 8 << 10;
/// Longest one block of the document may take.
const BLOCK_LIMIT: &str = "120";
/// Parts of `/etc` that programs need to find libraries, users and hosts.
const ETC: [&str; 9] = [
    "passwd",
    "group",
    "shadow",
    "gshadow",
    "nsswitch.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
];

/// All of them, until this process ends: the world goes with it.
pub struct Machines {
    roots: Vec<PathBuf>,
    disks: Vec<Disk>,
    /// The way to them.
    ssh: PathBuf,
}

impl Machines {
    /// Makes them in `dir`. This process must be in a world of its own.
    pub fn build(dir: &Path) -> Self {
        Network::build(NAMES.len() as u32).unwrap();
        for names in ["/run/uts", "/run/machines"] {
            fs::create_dir(names).unwrap();
        }
        let ssh = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/stand-ins/ssh");
        let mut machines = Self { roots: Vec::new(), disks: Vec::new(), ssh };
        for (id, name) in (1..).zip(NAMES) {
            machines.add(dir, id, name);
        }
        machines.furnish_desk();
        machines
    }

    fn add(&mut self, dir: &Path, id: u32, name: &str) {
        let root = if Path::new("/dev/loop-control").exists() {
            let disk = Disk::make(dir, id, DISK_MIB).unwrap();
            let root = disk.mount.join("root");
            self.disks.push(disk);
            root
        } else {
            dir.join(name)
        };
        furnish(&root);
        symlink(node_name(id), format!("/run/netns/{name}")).unwrap();
        let uts = format!("/run/uts/{name}");
        fs::write(&uts, "").unwrap();
        let naming = format!("echo {name} > /proc/sys/kernel/hostname");
        run("unshare", &[&format!("--uts={uts}"), "sh", "-c", &naming]);
        let at = format!("/run/machines/{name}");
        fs::create_dir(&at).unwrap();
        run("mount", &["--rbind", &text(&root), &at]);
        self.roots.push(root);
    }

    /// The one with a checkout, the binary, and a way to the others.
    fn furnish_desk(&self) {
        let root = self.roots.last().unwrap();
        let checkout = root.join("root/ranch");
        fs::create_dir_all(&checkout).unwrap();
        run("mount", &["--bind", env!("CARGO_MANIFEST_DIR"), &text(&checkout)]);
        run("mount", &["-o", "remount,bind,ro", &text(&checkout)]);
        let binary = root.join("root/ranch-binary");
        // Without what only a debugger reads, which is most of it.
        let stripped = tool::run("strip", &["-o", &text(&binary), env!("CARGO_BIN_EXE_ranch")]);
        if stripped.is_err() {
            fs::copy(env!("CARGO_BIN_EXE_ranch"), &binary).unwrap();
        }
        run("mount", &["--rbind", "/run", &text(&root.join("run"))]);
        let mounted = Path::new("/run/machines/desk");
        run("mount", &["--rbind", &text(root), &text(mounted)]);
    }

    /// Runs commands on a machine, as root.
    pub fn run(&self, machine: &str, script: &str) -> Output {
        Command::new("timeout")
            .arg(BLOCK_LIMIT)
            .arg(&self.ssh)
            .args([&format!("root@{machine}"), script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What the processes of all machines have said.
    pub fn logs(&self) -> String {
        let mut said = String::new();
        for (name, root) in NAMES.iter().zip(&self.roots) {
            for unit in ["ranch-node", "ranch-router"] {
                let log = root.join(format!("var/log/{unit}.log"));
                let Ok(log) = fs::read_to_string(log) else { continue };
                let lines: Vec<_> = log.lines().rev().take(20).collect();
                let lines: Vec<_> = lines.into_iter().rev().collect();
                // Writing to a text cannot fail.
                let _ = writeln!(said, "--- {unit} on {name}\n{}", lines.join("\n"));
            }
        }
        said
    }
}

/// Makes a root directory.
fn furnish(root: &Path) {
    for dir in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var/lib", "var/log"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    for dir in ["usr", "proc", "dev", "sys"] {
        run("mount", &["--rbind", &format!("/{dir}"), &text(&root.join(dir))]);
    }
    let local = root.join("usr-local");
    fs::create_dir(&local).unwrap();
    run("mount", &["--bind", &text(&local), &text(&root.join("usr/local"))]);
    for dir in ["bin", "sbin", "lib", "lib64"].map(Path::new) {
        let host = Path::new("/").join(dir);
        match fs::read_link(&host) {
            Ok(target) => symlink(target, root.join(dir)).unwrap(),
            Err(_) if host.is_dir() => {
                fs::create_dir(root.join(dir)).unwrap();
                run("mount", &["--rbind", &text(&host), &text(&root.join(dir))]);
            }
            Err(_) => {}
        }
    }
    let etc = ETC.map(|name| format!("/etc/{name}")).into_iter();
    let etc: Vec<_> = etc.filter(|path| Path::new(path).exists()).collect();
    let to = text(&root.join("etc"));
    let words = std::iter::once("-a").chain(etc.iter().map(String::as_str)).chain([&*to]);
    run("cp", &words.collect::<Vec<_>>());
    let hosts = (1..).zip(NAMES).map(|(id, name)| format!("{} {name}\n", node_ip(id)));
    let hosts: String = std::iter::once("127.0.0.1 localhost\n".to_owned()).chain(hosts).collect();
    fs::write(root.join("etc/hosts"), hosts).unwrap();
    let stand_ins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/stand-ins");
    run("cp", &["-a", &text(&stand_ins), &text(&root.join("stand-ins"))]);
}

fn run(program: &str, args: &[&str]) {
    tool::run(program, args).unwrap();
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
