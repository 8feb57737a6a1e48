//! Disks that fill up, each a small file system of a node's own. Needs root, for mounting them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ranch_chaos::Cluster;
use ranch_chaos::layout::{Layout, scratch_dir};
use ranch_chaos::ranch::Ranch;
use ranch_chaos::wait::until;
use tempfile::TempDir;

use crate::support::BINARY;
use crate::{LIMIT, TENANT, judge, leader_and_follower, load};

/// Size of a node's disk, a tenth of which is kept back.
const DISK_MIB: u64 = 1_024;
/// R8: a write is refused within a second; here on a busy machine, unoptimised.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);
/// R8: service is back so soon after there is room.
const BACK_WITHIN: Duration = Duration::from_secs(10);
const AT: &str = "1.1.1/1.1.1/1.1.1";

/// A mounted file system; unmounted when dropped.
struct Disk {
    mount: PathBuf,
}

impl Disk {
    fn make(dir: &Path, node: u32) -> Self {
        let (image, mount) = (dir.join(format!("{node}.img")), dir.join(format!("{node}")));
        fs::create_dir(&mount).unwrap();
        fs::File::create(&image).unwrap().set_len(DISK_MIB << 20).unwrap();
        let run = |program: &str, args: &[&str], path: &Path| {
            let done = Command::new(program).args(args).arg(&image).arg(path).status().unwrap();
            assert!(done.success(), "{program}");
        };
        let made = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image).status().unwrap();
        assert!(made.success(), "mkfs.ext4");
        run("mount", &["-o", "loop"], &mount);
        fs::create_dir(mount.join("data")).unwrap();
        Self { mount }
    }

    /// Takes all the room there is, but for a few blocks.
    fn fill(&self) {
        let stat = rustix::fs::statvfs(&self.mount).unwrap();
        let room = stat.f_bavail * stat.f_frsize;
        let filler = fs::File::create(self.mount.join("filler")).unwrap();
        // Some of it goes into describing the file.
        let taken = (0..64).any(|less| {
            let flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(&filler, flags, 0, room - (less << 16)).is_ok()
        });
        assert!(taken, "the disk can be filled");
    }

    fn free(&self) {
        fs::remove_file(self.mount.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

/// A ranch whose nodes have disks of their own, and a tenant's key. `None` where that takes rights
/// this user has not.
async fn ranch_on_disks() -> Option<(Ranch, String, Vec<Disk>, TempDir)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount the small file systems of this test");
        return None;
    }
    let place = scratch_dir().unwrap();
    let mut ranch = Ranch::prepare(BINARY, &Layout::default()).unwrap();
    let disks: Vec<_> = ranch.node_ids().iter().map(|id| Disk::make(place.path(), *id)).collect();
    for (id, disk) in ranch.node_ids().into_iter().zip(&disks) {
        symlink(disk.mount.join("data"), &ranch.node_place(id).unwrap().data_dir).unwrap();
    }
    ranch.start_all().unwrap();
    ranch.wait_ready().await.unwrap();
    let key = ranch.add_tenant(TENANT).await.unwrap();
    Some((ranch, key, disks, place))
}

/// Waits until no replica is behind; a node that ends is started again.
async fn whole_again(ranch: &mut Ranch) {
    let whole = until("every replica to catch up", LIMIT, async || {
        ranch.start_all().unwrap();
        ranch.cluster().await.ok().filter(Cluster::is_whole)
    });
    whole.await.unwrap();
}

/// R8: with all disks full, writes are refused soon and in words, reads and deletes go on, and
/// with room again service is back by itself. A process that was just writing may end, and is
/// started again as `ranch up` and systemd would.
#[tokio::test]
async fn full_disks_refuse_writes_and_nothing_else() {
    let Some((mut ranch, key, disks, _place)) = ranch_on_disks().await else { return };
    let mut client = ranch.client(Some(&key)).with_limit(LIMIT);
    for number in 1..=20 {
        let at = format!("1.1.1/1.1.1/1.1.{number}");
        assert_eq!(client.write("p", &at, "x".repeat(10_000)).await.unwrap().status, 200);
    }
    disks.iter().for_each(Disk::fill);
    let filled = Instant::now();
    let mut client_ro = ranch.client(Some(&key)).with_limit(LIMIT);
    let refused = until("writes to be refused", LIMIT, async || {
        ranch.start_all().unwrap();
        let answer = client.write("p", AT, "more").await.ok()?;
        (answer.status == 507).then_some(answer)
    });
    let refused = refused.await.unwrap();
    assert!(filled.elapsed() < REFUSED_WITHIN, "refused after {:?}", filled.elapsed());
    assert!(refused.text().contains("the disk of node"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    let asked = Instant::now();
    assert_eq!(client.write("p", AT, "more").await.unwrap().status, 507);
    assert!(asked.elapsed() < Duration::from_secs(1), "refused at once");
    assert_eq!(client_ro.read("p", "1.1.1/1.1.1/1.1.7").await.unwrap().text().len(), 10_000);
    // Another node may lead the meta group, and see its own disk a moment later. A tenant it took
    // before that is there, so each attempt has a name of its own.
    let mut attempts = 0..;
    let refused = until("tenants to be refused", LIMIT, async || {
        let error = ranch.add_tenant(&format!("late{}", attempts.next()?)).await.err()?;
        error.to_string().contains("507").then_some(())
    });
    refused.await.unwrap();
    let gone = client.delete("p", "1.1.1/1.1.1/1.1.9").await.unwrap();
    assert_eq!(gone.status, 200, "what makes room goes in: {}", gone.text());
    assert_eq!(client_ro.read("p", "1.1.1/1.1.1/1.1.9").await.unwrap().status, 404);
    let said = ranch.cluster().await.unwrap().problems.join("\n");
    assert!(said.contains("is full"), "{said}");
    disks.iter().for_each(Disk::free);
    let freed = Instant::now();
    let taken = until("writes to be taken", LIMIT, async || {
        ranch.start_all().unwrap();
        (client.write("p", AT, "more").await.ok()?.status == 200).then_some(())
    });
    taken.await.unwrap();
    assert!(freed.elapsed() < BACK_WITHIN, "service was back after {:?}", freed.elapsed());
    ranch.add_tenant("another").await.unwrap();
    whole_again(&mut ranch).await;
}

/// R6, R8: one full disk costs no write, whoever leads; and the node catches up by itself.
#[tokio::test]
async fn one_full_disk_is_done_without() {
    let Some((mut ranch, key, disks, _place)) = ranch_on_disks().await else { return };
    let running = load(&ranch, &key, 31).await;
    let (leader, follower) = leader_and_follower(&ranch).await;
    for full in [follower, leader] {
        let disk = &disks[full as usize - 1];
        disk.fill();
        let elsewhere = |cluster: &ranch_chaos::Cluster| {
            cluster.leader_of(TENANT).is_some_and(|now| now != full)
        };
        ranch.wait_cluster("a leader with room", LIMIT, elsewhere).await.unwrap();
        ranch.start_all().unwrap();
        running.progress(100, LIMIT).await.expect("service goes on");
        disk.free();
        whole_again(&mut ranch).await;
    }
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&ranch, running).await;
}
