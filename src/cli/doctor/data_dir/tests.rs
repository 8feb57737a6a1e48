//! Directories of every kind, judged.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::finding::Level;
use super::*;

const EXT4: i64 = 0xef53;

fn seen() -> Seen {
    Seen {
        dir: "/data/node1".into(),
        place: "/data/node1".into(),
        entry: Ok((0o040_700, 7)),
        foreign: None,
        writable: true,
        user: 7,
        kind: EXT4,
        in_memory: false,
        discards: false,
        read_ahead: Some(128 << 10),
        room: (80 << 30, 100 << 30),
    }
}

fn levels(seen: &Seen) -> [Level; 4] {
    let levels: Vec<_> = judge(seen, 512).iter().map(|finding| finding.level).collect();
    levels.try_into().unwrap()
}

#[test]
fn a_good_directory_is_well() {
    assert_eq!(levels(&seen()), [Level::Ok; 4]);
    let to_be_made = Seen { entry: Err(ErrorKind::NotFound), ..seen() };
    assert_eq!(levels(&to_be_made), [Level::Ok; 4]);
}

#[test]
fn what_cannot_be_written_is_a_problem() {
    for seen in [
        Seen { entry: Err(ErrorKind::NotFound), writable: false, ..seen() },
        Seen { entry: Err(ErrorKind::PermissionDenied), ..seen() },
        Seen { writable: false, ..seen() },
        Seen { foreign: Some(("/data/node1/log/LOCK".into(), 0)), ..seen() },
    ] {
        assert_eq!(levels(&seen)[0], Level::Problem, "{seen:?}");
    }
}

#[test]
fn what_everybody_can_read_is_a_warning() {
    let open = Seen { entry: Ok((0o040_755, 7)), ..seen() };
    assert_eq!(levels(&open)[0], Level::Warning);
    assert_eq!(judge(&open, 512)[0].remedy.as_deref(), Some("`chmod 700 /data/node1`"));
    let group = Seen { entry: Ok((0o040_750, 7)), ..seen() };
    assert_eq!(levels(&group)[0], Level::Ok);
}

#[test]
fn memory_is_no_disk() {
    for kind in [TMPFS, RAMFS] {
        assert_eq!(levels(&Seen { kind, ..seen() })[1], Level::Problem);
    }
    assert_eq!(levels(&Seen { kind: OVERLAY, ..seen() })[1], Level::Warning);
    let overlay = Seen { kind: OVERLAY, in_memory: true, ..seen() };
    assert_eq!(levels(&overlay)[1], Level::Problem);
    assert_eq!(levels(&Seen { kind: NFS, ..seen() })[1], Level::Warning);
}

#[test]
fn room_is_judged_by_the_reserve() {
    let with =
        |free_mib: u64, all_mib: u64| Seen { room: (free_mib << 20, all_mib << 20), ..seen() };
    assert_eq!(levels(&with(600, 5_120))[2], Level::Problem, "the reserve and a quarter");
    assert_eq!(levels(&with(700, 5_120))[2], Level::Warning);
    assert_eq!(levels(&with(2_000, 5_120))[2], Level::Ok);
    assert_eq!(levels(&with(90, 500))[2], Level::Warning, "a tenth of a small disk is kept back");
    assert_eq!(levels(&with(9_000, 100_000))[2], Level::Warning, "less than a tenth");
}

#[test]
fn a_directory_is_looked_at_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let canonical = fs::canonicalize(dir.path()).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o710)).unwrap();
    let seen = look(dir.path());
    assert_eq!(seen.entry.map(|(mode, _)| mode & 0o777), Ok(0o710));
    assert_eq!((seen.place_to_write(), seen.foreign.is_none()), (Some(&*canonical), true));
    assert!(seen.room.0 > 0 && seen.room.0 <= seen.room.1);
    let none = dir.path().join("a/b");
    let seen = look(&none);
    assert_eq!((seen.entry, &*seen.place), (Err(ErrorKind::NotFound), &*canonical));
}

#[test]
fn a_disk_that_is_told_at_once_what_is_free_is_a_warning() {
    let discards = Seen { discards: true, ..seen() };
    assert_eq!(levels(&discards)[1], Level::Warning);
    assert!(judge(&discards, 512)[1].remedy.as_deref().unwrap().contains("fstrim"));
}

#[test]
fn a_disk_that_reads_far_ahead_is_a_warning() {
    let reads = |ahead| Seen { read_ahead: Some(ahead), ..seen() };
    assert_eq!(levels(&reads(1 << 20))[3], Level::Ok);
    assert_eq!(levels(&reads(8 << 20))[3], Level::Warning);
    let far = judge(&reads(8 << 20), 512).pop().unwrap();
    assert_eq!(far.says, "the disk of /data/node1 reads 8.00 MiB ahead");
    assert!(far.remedy.unwrap().contains("--setra"));
    assert_eq!(judge(&Seen { read_ahead: None, ..seen() }, 512).len(), 3, "nothing is said");
}

#[test]
fn what_a_disk_reads_ahead_is_found_by_the_mount() {
    let sys = tempfile::tempdir().unwrap();
    let (disk, devices) = (sys.path().join("devices/sda"), sys.path().join("dev/block"));
    for dir in [&disk.join("queue"), &disk.join("sda1"), &devices] {
        fs::create_dir_all(dir).unwrap();
    }
    fs::write(disk.join("queue/read_ahead_kb"), "128\n").unwrap();
    symlink("../../devices/sda", devices.join("8:0")).unwrap();
    symlink("../../devices/sda/sda1", devices.join("8:1")).unwrap();
    let ahead = |device: &str| {
        let mount = format!("27 1 {device} / /data rw - ext4 /dev/x rw");
        read_ahead_of(&devices, &mount)
    };
    assert_eq!(ahead("8:0"), Some(128 << 10), "a whole disk");
    assert_eq!(ahead("8:1"), Some(128 << 10), "a partition has it from its disk");
    assert_eq!(ahead("0:27"), None, "no disk");
}

#[test]
fn this_system_says_what_its_disks_read_ahead() {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    // Of loop devices it may change at any time: other tests have some.
    let lasting = disks.filter(|disk| !disk.file_name().to_string_lossy().starts_with("loop"));
    let known = lasting.filter_map(|disk| {
        let kib = fs::read_to_string(disk.path().join("queue/read_ahead_kb")).ok()?;
        let device = fs::read_to_string(disk.path().join("dev")).ok()?;
        Some((device.trim().to_owned(), kib.trim().parse::<u64>().ok()? << 10))
    });
    for (device, ahead) in known {
        let mount = format!("27 1 {device} / /data rw - ext4 /dev/x rw");
        assert_eq!(read_ahead_of(Path::new(DEVICES), &mount), Some(ahead), "{device}");
    }
}

#[test]
fn a_mount_says_where_it_is_written_and_how() {
    let mounts = "\
22 1 0:1 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/up,workdir=/w
23 22 0:2 / /data rw,noatime shared:1 - ext4 /dev/sda1 rw,discard,errors=remount-ro
24 22 0:3 / /srv rw - btrfs /dev/sdb1 rw,discard=async,space_cache=v2
";
    let of = |place: &str| mount_of(mounts, Path::new(place)).unwrap();
    assert_eq!(upper_of(of("/var/lib")), Some("/up"));
    assert_eq!(upper_of(of("/data/node1")), None);
    let discards = |place| options_of(of(place)).any(|option| option == "discard");
    assert!(discards("/data/node1"));
    assert!(!discards("/srv/node1") && !discards("/database"), "not at once; another directory");
}
