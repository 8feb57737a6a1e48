//! The data directory: is it there, whose is it, who can look into it, what is it on, is there
//! room?

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statfs, statvfs};

use super::finding::Finding;
use crate::cli::output::human_bytes;

// `f_type` of file systems, from `linux/magic.h`.
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;
const OVERLAY: i64 = 0x794c_7630;
const NFS: i64 = 0x6969;
const SMB2: i64 = 0xfe53_4d42;
const CIFS: i64 = 0xff53_4d42;
const FUSE: i64 = 0x6573_5546;

/// Bits of a mode that let others than owner and group in.
const OTHERS: u32 = 0o007;
/// What a disk may read ahead. While it reads that much at once, for a merge or a copy, the log's
/// writes wait: 1 MiB takes a slow SSD 2 ms. Linux has 128 KiB unless it was told otherwise.
const READ_AHEAD_MAX: u64 = 1 << 20;
/// sysfs(5).
const DEVICES: &str = "/sys/dev/block";
/// The file of a node that holds a part of its reserve.
const RESERVE_FILE: &str = "reserve";

/// What a directory is like.
#[derive(Debug)]
pub struct Seen {
    /// As configured.
    pub dir: PathBuf,
    /// The directory, or the nearest one above it that exists.
    pub place: PathBuf,
    /// Mode and owner of the directory itself; or why it cannot be looked at.
    pub entry: Result<(u32, u32), ErrorKind>,
    /// Something in it that belongs to another user than it does.
    pub foreign: Option<(PathBuf, u32)>,
    /// Whether this user may write to the place.
    pub writable: bool,
    /// The user that looks.
    pub user: u32,
    /// `f_type` of its file system.
    pub kind: i64,
    /// Whether its file system is in memory in the end, where that is to be seen.
    pub in_memory: bool,
    /// Whether its file system tells the disk at once what is free (`discard`).
    pub discards: bool,
    /// Bytes that its disk reads ahead; `None` where that is not known.
    pub read_ahead: Option<u64>,
    /// Bytes free and in all; 0 of 0 where that is not known.
    pub room: (u64, u64),
}

impl Seen {
    /// Where a file can be made; `None` if nowhere.
    pub fn place_to_write(&self) -> Option<&Path> {
        (self.writable && self.place.is_dir()).then_some(&*self.place)
    }
}

/// Judges a directory, of whose disk up to `reserve_mb` are kept back.
pub fn judge(seen: &Seen, reserve_mb: u64) -> Vec<Finding> {
    let mut findings = vec![entry(seen), disk(seen), room(seen, reserve_mb << 20)];
    findings.extend(read_ahead(seen));
    findings
}

fn entry(seen: &Seen) -> Finding {
    const CHECK: &str = "data";
    let dir = seen.dir.display();
    match &seen.entry {
        Err(ErrorKind::NotFound) if seen.writable => {
            Finding::ok(CHECK, format!("{dir} will be made at the first start"))
        }
        Err(ErrorKind::NotFound) => {
            let says = format!("{dir} does not exist, and user {} cannot make it", seen.user);
            let remedy =
                format!("make it: `install -d -m 700 -o USER {dir}`, USER being the node's");
            Finding::problem(CHECK, says, remedy)
        }
        Err(kind) => {
            let says = format!("{dir} cannot be looked at: {}", io::Error::from(*kind));
            Finding::problem(CHECK, says, "run this as root or as the user that the node runs as")
        }
        Ok((_, owner)) if !seen.writable => {
            let says = format!("{dir} belongs to user {owner}; user {} cannot write it", seen.user);
            let remedy = "run this as root or as the user that the node runs as; if that is you, \
                          `chown -R` it to yourself";
            Finding::problem(CHECK, says, remedy)
        }
        Ok((mode, owner)) => {
            if let Some((path, other)) = &seen.foreign {
                let says = format!(
                    "{dir} belongs to user {owner}, but {} in it to user {other}",
                    path.display()
                );
                let remedy = format!("`chown -R {owner} {dir}`, or the node cannot open its data");
                return Finding::problem(CHECK, says, remedy);
            }
            if mode & OTHERS != 0 {
                let says = format!("{dir} has mode {:03o}: everybody can read it", mode & 0o777);
                return Finding::warning(CHECK, says, format!("`chmod 700 {dir}`"));
            }
            Finding::ok(CHECK, format!("{dir}, mode {:03o}, of user {owner}", mode & 0o777))
        }
    }
}

fn disk(seen: &Seen) -> Finding {
    const CHECK: &str = "disk";
    let place = seen.place.display();
    let memory = seen.in_memory || matches!(seen.kind, TMPFS | RAMFS);
    match seen.kind {
        _ if memory => {
            let says = format!("{place} is in memory: all of it is gone when the machine restarts");
            Finding::problem(CHECK, says, "put data_dir on a disk")
        }
        OVERLAY => {
            let says = format!("{place} is in a container's own layer, which goes with it");
            Finding::warning(CHECK, says, "mount a volume there")
        }
        NFS | SMB2 | CIFS | FUSE => {
            let says = format!("{place} is not on a disk of this machine");
            let remedy = "put data_dir on a local disk: a file system over a network may keep less \
                          than fsync promises, and all machines fail with it";
            Finding::warning(CHECK, says, remedy)
        }
        _ if seen.discards => {
            let says = format!("{place} is mounted with `discard`");
            let remedy = "mount it without, and `systemctl enable --now fstrim.timer`: merges \
                          remove large files, and while the disk is told that they are free, a \
                          write may wait for 40 ms and more";
            Finding::warning(CHECK, says, remedy)
        }
        _ => Finding::ok(CHECK, format!("{place} is on a disk")),
    }
}

fn room(seen: &Seen, reserve_max: u64) -> Finding {
    const CHECK: &str = "room";
    let (free, all) = seen.room;
    // As `node/src/disk.rs` has it: never more than a tenth of the disk.
    let reserve = reserve_max.min(all / 10);
    let says = format!(
        "{} of {} free, {} are kept back",
        human_bytes(free),
        human_bytes(all),
        human_bytes(reserve)
    );
    let remedy = "make room, or use a larger disk; at the reserve ([storage] disk_reserve_mb) \
                  writes are answered 507";
    if free < reserve + reserve / 4 {
        return Finding::problem(CHECK, says, remedy);
    }
    if free < reserve * 2 || free < all / 10 {
        return Finding::warning(CHECK, says, remedy);
    }
    Finding::ok(CHECK, says)
}

fn read_ahead(seen: &Seen) -> Option<Finding> {
    const CHECK: &str = "read-ahead";
    let ahead = seen.read_ahead?;
    let says = format!("the disk of {} reads {} ahead", seen.place.display(), human_bytes(ahead));
    if ahead <= READ_AHEAD_MAX {
        return Some(Finding::ok(CHECK, says));
    }
    let remedy = "`blockdev --setra 1024 DISK`, which is 512 KiB, and a udev rule so that it lasts \
                  (docs/deploy.md), then restart the node, since open files keep what they began \
                  with: while a merge reads so much at once, writes wait for it";
    Some(Finding::warning(CHECK, says, remedy))
}

/// Looks at a directory, which need not exist.
pub fn look(dir: &Path) -> Seen {
    let entry = fs::metadata(dir);
    let place = nearest(dir);
    let place = fs::canonicalize(&place).unwrap_or(place);
    let stat = statfs(&place).map_or(0, |stat| stat.f_type);
    let foreign = entry.as_ref().ok().and_then(|entry| foreign(dir, entry));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_of(&mounts, &place);
    Seen {
        dir: dir.to_owned(),
        entry: entry.map(|dir| (dir.mode(), dir.uid())).map_err(|error| error.kind()),
        foreign,
        writable: access(&place, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        user: rustix::process::geteuid().as_raw(),
        kind: stat,
        in_memory: stat == OVERLAY && mount.is_some_and(upper_in_memory),
        discards: mount.is_some_and(|mount| options_of(mount).any(|option| option == "discard")),
        read_ahead: mount.and_then(|mount| read_ahead_of(Path::new(DEVICES), mount)),
        room: room_of(&place, dir),
        place,
    }
}

/// The directory, or the nearest one above it that exists.
fn nearest(dir: &Path) -> PathBuf {
    let found = dir.ancestors().find(|above| above.is_dir());
    found.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Bytes free and in all. What a node's own file holds is as good as free.
fn room_of(place: &Path, dir: &Path) -> (u64, u64) {
    let held = fs::metadata(dir.join(RESERVE_FILE)).map_or(0, |file| file.blocks() * 512);
    statvfs(place).map_or((0, 0), |disk| {
        (disk.f_bavail * disk.f_frsize + held, disk.f_blocks * disk.f_frsize)
    })
}

/// Something in the directory that belongs to somebody else.
fn foreign(dir: &Path, entry: &Metadata) -> Option<(PathBuf, u32)> {
    let below = ["log", "state"].map(|name| dir.join(name));
    let dirs = std::iter::once(dir).chain(below.iter().map(PathBuf::as_path));
    let entries = dirs.filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    entries.map(|file| file.path()).find_map(|path| {
        let owner = fs::symlink_metadata(&path).ok()?.uid();
        (owner != entry.uid()).then_some((path, owner))
    })
}

/// The line about what is mounted where a directory is, of `/proc/self/mountinfo`.
fn mount_of<'a>(mounts: &'a str, place: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let at = line.split(' ').nth(4)?;
        place.starts_with(at).then_some((at.len(), line))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, line)| line)
}

/// Options of the file system itself, the last field of such a line.
fn options_of(mount: &str) -> impl Iterator<Item = &str> {
    mount.rsplit(' ').next().unwrap_or_default().split(',')
}

/// Bytes that the disk below a mount reads ahead, by what is below `devices`, a directory of links
/// to all disks and their partitions by number. A partition has it from its disk.
fn read_ahead_of(devices: &Path, mount: &str) -> Option<u64> {
    let device = devices.join(mount.split(' ').nth(2)?);
    let queues = ["queue", "../queue"].map(|queue| device.join(queue).join("read_ahead_kb"));
    let kib = queues.iter().find_map(|file| fs::read_to_string(file).ok())?;
    kib.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Whether what is written to an overlay goes to memory, as far as it is visible from here.
fn upper_in_memory(mount: &str) -> bool {
    upper_of(mount)
        .and_then(|upper| statfs(upper).ok())
        .is_some_and(|stat| matches!(stat.f_type, TMPFS | RAMFS))
}

/// Where an overlay keeps what is written to it.
fn upper_of(mount: &str) -> Option<&str> {
    options_of(mount).find_map(|option| option.strip_prefix("upperdir="))
}

#[cfg(test)]
mod tests;
